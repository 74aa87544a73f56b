"""Numbers as people read them in a gate's sentence."""

from __future__ import annotations

from collections.abc import Callable

from modelrollout.api.grammar import Limit

__all__ = ["limit", "maybe", "milliseconds", "percent", "plain"]

Show = Callable[[float], str]


def percent(share: float) -> str:
    """A share: ``0.2 %``."""
    return f"{share * 100:.3g} %"


def milliseconds(seconds: float) -> str:
    """A duration: ``200 ms``."""
    return "∞" if seconds == float("inf") else f"{seconds * 1000:.4g} ms"


def plain(value: float) -> str:
    """A number without a unit."""
    return f"{value:.4g}"


def maybe(value: float | None, show: Show) -> str:
    """A number that may not be there."""
    return "nothing" if value is None else show(value)


def limit(said: Limit, baseline: float | None, *, at_least: bool, show: Show) -> str:
    """The limit echoed in numbers: "may fall to 2.97 % (99% of baseline, 3 %)"."""
    verb = "may fall to" if at_least else "may rise to"
    at = said.at(baseline)
    if at is None:
        return f"{verb} {said.text}"
    if not said.relative:
        return f"{verb} {show(at)}"
    return f"{verb} {show(at)} ({said.text}, {maybe(baseline, show)})"
