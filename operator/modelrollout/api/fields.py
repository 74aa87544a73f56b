"""The kinds of text that fields of a manifest hold, each with the CEL rule that says how to write it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from modelrollout.api.grammar import (
    DURATION_PATTERN,
    LIMIT_PATTERN,
    LOOKS_PATTERN,
    MATCHERS_PATTERN,
    PERCENT_PATTERN,
    RISKS,
    SELECTOR_PATTERN,
)
from modelrollout.api.meta import rule

__all__ = [
    "SHOWN",
    "Duration",
    "HistogramSelector",
    "LimitText",
    "Looks",
    "Matchers",
    "MetricSelector",
    "ObjectName",
    "Percent",
    "Risk",
    "RoleName",
    "SomeTime",
    "cel",
    "patterned",
    "ruled",
]


def cel(pattern: str) -> str:
    """A pattern as a CEL raw string literal."""
    return "r'''" + pattern + "'''"


SHOWN: Final[dict[str, JsonValue]] = {"default": {}}
"""Lets the API server fill in what is below a field that was left out, so that `kubectl get -o yaml` shows it."""


def ruled(*rules: dict[str, Any], max_length: int) -> Any:
    """A text with rules of its own."""
    return Field(min_length=1, max_length=max_length, json_schema_extra={"x-kubernetes-validations": list(rules)})


def patterned(pattern: str, what: str, *, max_length: int) -> Any:
    """A text that matches a pattern; ``what`` says what it is not and how to write it."""
    return ruled(rule(f"self.matches({cel(pattern)})", what), max_length=max_length)


Duration = Annotated[
    str, patterned(DURATION_PATTERN, "is not a duration; write it like 30s, 15m, 1h30m or 168h", max_length=24)
]
SomeTime = Annotated[
    str,
    ruled(
        rule(f"self.matches({cel(DURATION_PATTERN)})", "is not a duration; write it like 30s, 15m, 1h30m or 168h"),
        rule(
            f"!self.matches({cel(DURATION_PATTERN)}) || duration(self) >= duration('1s')",
            "is too short; write at least 1s",
        ),
        max_length=24,
    ),
]
"""A duration that makes no sense below a second."""
Percent = Annotated[str, patterned(PERCENT_PATTERN, "is not a percentage; write it like 25% or 0.5%", max_length=16)]
Risk = Annotated[
    str,
    ruled(
        rule(f"self.matches({cel(PERCENT_PATTERN)})", "is not a percentage; write it like 1% or 0.5%"),
        rule(
            f"!self.matches({cel(PERCENT_PATTERN)}) || "
            f"[double(self.replace('%', '')) / 100.0].all(risk, {RISKS[0]} <= risk && risk <= {RISKS[1]})",
            "is out of reach; write at least 0.01% (less needs more traffic than a rollout has) and at most 20% (more "
            "rolls back good models as a habit)",
        ),
        max_length=16,
    ),
]
"""How often a wrong decision is accepted."""
Looks = Annotated[
    str,
    ruled(
        rule(f"self.matches({cel(LOOKS_PATTERN)})", 'is not a number of looks; write it like "3 of 5"'),
        rule(
            f"!self.matches({cel(LOOKS_PATTERN)}) || int(self.split(' of ')[0]) <= int(self.split(' of ')[1])",
            'wants more looks than it looks at; write the smaller number first, like "3 of 5"',
        ),
        max_length=8,
    ),
]
ObjectName = Annotated[
    str,
    patterned(
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "is not the name of an object; write its metadata.name: small letters, digits, dashes and dots, without "
        "namespace and kind",
        max_length=253,
    ),
]
"""The name of an object in the rollout's namespace."""
RoleName = Annotated[
    str,
    patterned(
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "is not a role; write small letters, digits and dashes, like risk or model-owner",
        max_length=40,
    ),
]
"""In which role a person approves; part of the verb ``approve-<role>``."""
_SELECTOR_RULES = (
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
MetricSelector = Annotated[str, ruled(*_SELECTOR_RULES, max_length=512)]
HistogramSelector = Annotated[
    str,
    ruled(
        *_SELECTOR_RULES,
        rule("!self.matches('^[^{]*_bucket([{]|$)')", "names the buckets; leave _bucket out"),
        rule(
            "!self.matches('(^[^{]*[{]|,) *le *(=|!)')",
            "names the label le; leave it out, the operator chooses the buckets that it needs",
        ),
        max_length=512,
    ),
]
Matchers = Annotated[
    str,
    ruled(
        rule(
            f"self.matches({cel(MATCHERS_PATTERN)})",
            'is no list of label matchers; write it like \'model="ranker", version=~"1|2"\'',
        ),
        rule(
            "!self.matches('(^|,) *(namespace|le) *(=|!)')",
            "names the label namespace or le; leave it out, the operator adds these itself",
        ),
        max_length=256,
    ),
]
LimitText = Annotated[
    str,
    ruled(
        rule(
            "!self.matches('^baseline [+-] [0-9.]+%$')",
            'has two readings; write "baseline + 0.2pp" for percentage points or "100.2% of baseline" for a '
            "relative difference",
        ),
        rule(
            f"self.matches('^baseline [+-] [0-9.]+%$') || self.matches({cel(LIMIT_PATTERN)})",
            'is not a limit; write it like 200ms, 1%, 0.02, "99% of baseline" or "baseline + 0.2pp"',
        ),
        max_length=64,
    ),
]
