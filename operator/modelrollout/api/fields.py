"""The kinds of text that fields of a manifest hold, each with the CEL rule that says how to write it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from modelrollout.api.grammar import DURATION_PATTERN, LIMIT_PATTERN, PERCENT_PATTERN, SELECTOR_PATTERN
from modelrollout.api.meta import rule

__all__ = [
    "SELECTOR_RULES",
    "SHOWN",
    "Duration",
    "LimitText",
    "MetricSelector",
    "Percent",
    "SomeTime",
    "cel",
    "patterned",
]


def cel(pattern: str) -> str:
    """A pattern as a CEL raw string literal."""
    return "r'''" + pattern + "'''"


SHOWN: Final[dict[str, JsonValue]] = {"default": {}}
"""Lets the API server fill in what is below a field that was left out, so that `kubectl get -o yaml` shows it."""


def patterned(pattern: str, what: str, *, max_length: int) -> Any:
    return Field(
        min_length=1,
        max_length=max_length,
        json_schema_extra={"x-kubernetes-validations": [rule(f"self.matches({cel(pattern)})", what)]},
    )


Duration = Annotated[
    str, patterned(DURATION_PATTERN, "is not a duration; write it like 30s, 15m, 1h30m or 168h", max_length=24)
]
SomeTime = Annotated[
    str,
    Field(
        min_length=1,
        max_length=24,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"self.matches({cel(DURATION_PATTERN)})",
                    "is not a duration; write it like 30s, 15m, 1h30m or 168h",
                ),
                rule(
                    f"!self.matches({cel(DURATION_PATTERN)}) || duration(self) >= duration('1s')",
                    "is too short; write at least 1s",
                ),
            ]
        },
    ),
]
"""A duration that makes no sense below a second."""
Percent = Annotated[str, patterned(PERCENT_PATTERN, "is not a percentage; write it like 25% or 0.5%", max_length=16)]
SELECTOR_RULES = (
    rule(
        f"self.matches({cel(SELECTOR_PATTERN)})",
        "is not a metric selector; write a metric name with optional label matchers, like "
        'requests_total{code=~"5.."} (functions and ranges are added by the operator)',
    ),
    rule(
        "!self.matches('(^[^{]*[{]|,) *namespace *(=|!)')",
        "names the label namespace; leave it out, the operator adds the namespace of the rollout",
    ),
)
MetricSelector = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"x-kubernetes-validations": [*SELECTOR_RULES]}),
]
LimitText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!self.matches('^baseline [+-] [0-9.]+%$')",
                    'has two readings; write "baseline + 0.2pp" for percentage points or "100.2% of baseline" for a '
                    "relative difference",
                ),
                rule(
                    f"self.matches('^baseline [+-] [0-9.]+%$') || self.matches({cel(LIMIT_PATTERN)})",
                    'is not a limit; write it like 200ms, 1%, 0.02, "99% of baseline" or "baseline + 0.2pp"',
                ),
            ]
        },
    ),
]
