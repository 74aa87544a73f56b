"""Gates on any number that a query gives: one query for each arm, at the ends of the intervals.

These are asked one by one, not with everybody's: an expensive query of one team must not keep others waiting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from modelrollout.metrics.base import Arm
from modelrollout.metrics.client import Answer, Client, NotYetError, RefusedQueryError, SourceDownError
from modelrollout.metrics.identity import pods_pattern

__all__ = ["NOT_ALLOWED", "readings", "substituted"]

NOT_ALLOWED: Final = (
    "raw PromQL can read every namespace's series, so it is off here; whoever runs the operator can allow it with "
    "MODELROLLOUT_ALLOW_PROMQL=true, or for one source with allowPromql: true. ratio, latency and drift need no PromQL"
)
_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_POINTS: Final = 1_000
_LONGEST_WORDS: Final = 300
_ONE: Final = "write a query that gives exactly one number, for example with sum() or max()"


def substituted(promql: str, arm: Arm) -> str:
    """The query for one arm. What is put in are names that the API server checked, so they close no quote.

    Raises
    ------
    RefusedQueryError
        If a placeholder is unknown.
    """
    values = {
        "namespace": arm.namespace,
        "revision": arm.revision,
        "service": arm.service,
        "pods": pods_pattern(arm),
    }

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in values:
            known = ", ".join("{" + one + "}" for one in values)
            raise RefusedQueryError(f"value.promql has an unknown placeholder {{{name}}}: use {known}")
        return values[name]

    return _PLACEHOLDER.sub(value, promql)


async def readings(
    client: Client, promql: str, arm: Arm, start: datetime, end: datetime, step: timedelta
) -> tuple[dict[datetime, float], datetime]:
    """The numbers at the ends of the intervals from ``start`` to ``end``, as far as there are any, and the last instant
    that Prometheus' clock has reached.

    Raises
    ------
    RefusedQueryError
        If the query is refused or gives something else than one number.
    SourceDownError, NotYetError
    """
    query = substituted(promql, arm)
    count = (end - start) // step if step else 1
    try:
        if count <= 1:
            answer = await client.instant(query, end)
            number = _at_one_instant(answer)
            _refuse_future(answer, end)
            return ({} if number is None else {end: number}), end
        found: dict[datetime, float] = {}
        until = start
        for first in range(1, count + 1, _POINTS):
            low, high = start + first * step, start + min(first + _POINTS - 1, count) * step
            answer = await client.range(query, low, high, step)
            if first == 1:
                _refuse_future(answer, low)
            until = high if answer.clock is None or answer.clock >= high else low + (answer.clock - low) // step * step
            found |= {at: number for at, number in _at_instants(answer, low, step).items() if at <= until}
            if until < high:
                break
        return found, until
    except SourceDownError as error:
        if error.kind == "execution":  # it cannot be evaluated, however often it is asked
            raise RefusedQueryError(str(error)) from error
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        text = f"Prometheus at {client.url} gave an answer to value.promql that is none: {error!r}"[:_LONGEST_WORDS]
        raise SourceDownError(text) from error


def _refuse_future(answer: Answer, at: datetime) -> None:
    if answer.clock is not None and answer.clock < at:
        raise NotYetError((at - answer.clock).total_seconds())


def _at_one_instant(answer: Answer) -> float | None:
    if answer.kind == "scalar":
        return _number(answer.result)
    if answer.kind != "vector":
        raise RefusedQueryError(f"value.promql gives a {_shape(answer.kind)}: {_ONE}")
    series = _only(answer)
    if series is None:
        return None
    if "histogram" in series:
        raise RefusedQueryError(f"value.promql gives a histogram: {_ONE}")
    return _number(series["value"])


def _at_instants(answer: Answer, low: datetime, step: timedelta) -> dict[datetime, float]:
    series = _only(answer)
    if series is None:
        return {}
    if "histograms" in series:
        raise RefusedQueryError(f"value.promql gives a histogram: {_ONE}")
    found = {}
    for sample in series["values"]:
        number = _number(sample)
        if number is not None:
            found[low + round((float(sample[0]) - low.timestamp()) / step.total_seconds()) * step] = number
    return found


def _only(answer: Answer) -> Mapping[str, Any] | None:
    if len(answer.result) > 1:
        raise RefusedQueryError(f"value.promql gives {len(answer.result)} series: {_ONE}")
    one = answer.result[0] if answer.result else None
    if one is not None and not isinstance(one, dict):
        raise TypeError("a series is no object")
    return one


def _number(sample: Any) -> float | None:
    number = float(sample[1])
    return number if math.isfinite(number) else None


def _shape(kind: str) -> str:
    return "range of samples" if kind == "matrix" else kind
