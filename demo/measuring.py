"""How fast a bad version was taken away, from what was scraped and what the route said; no input or output.

"Shown" is a point in time that no controller decides about: the first scrape after which the candidate's counters,
taken as they are, lie beyond the limit, with at least as many samples as a 95th percentile needs to exist.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "ENOUGH",
    "MARGIN",
    "Point",
    "Release",
    "RouteChange",
    "Series",
    "Share",
    "Users",
    "first_below",
    "raised_and_zero",
]

ENOUGH: Final = 20
"""Samples that the candidate needs to show anything: a 95th percentile exists from one in twenty on."""
MARGIN: Final = 3.0
"""Seconds before the first request from which counters are read: clocks differ, and a counter needs a value before."""


@dataclass(frozen=True)
class Point:
    """One scraped value of a counter."""

    at: float
    value: float


Series = list[Point]


@dataclass(frozen=True)
class RouteChange:
    """The weights by backend that the HTTPRoute carried from a time on."""

    at: float
    weights: Mapping[str, int]


@dataclass(frozen=True)
class Share:
    """How many of some events were good, from the raw samples of two counters (each: one series per pod)."""

    good: Sequence[Series]
    total: Sequence[Series]
    since: float
    late: float = 0.0
    """Good events come so much later than the events they belong to."""

    def at(self, time: float) -> tuple[float, float]:
        """The share of good events from ``since`` until then, and out of how many."""
        total = increase(self.total, self.since - self.late, time - self.late)
        return (increase(self.good, self.since, time) / total if total else 1.0), total

    def scrapes(self) -> list[float]:
        """When something new was scraped."""
        return sorted({point.at for series in self.good for point in series if point.at >= self.since})


@dataclass(frozen=True)
class Users:
    """Requests of users during a release."""

    asked: float
    failed: float


@dataclass(frozen=True)
class Release:
    """What the closing table says of one release."""

    version: str
    promoted: bool
    seen: str
    users: Users
    peak: int
    raised_at: float | None = None
    shown_at: float | None = None
    judged_at: float | None = None
    zero_at: float | None = None

    def to_zero(self, since: float | None) -> float | None:
        """Seconds from a moment to the route giving the candidate nothing."""
        return None if since is None or self.zero_at is None else self.zero_at - since


def increase(all_series: Iterable[Series], begin: float, end: float) -> float:
    """How much a counter grew in total; a series that begins in between began at 0, as a new pod's does."""
    return sum(max(0.0, _value(series, end) - _value(series, begin)) for series in all_series)


def _value(series: Series, time: float) -> float:
    index = bisect_right(series, time, key=lambda point: point.at)
    return series[index - 1].value if index else 0.0


def first_below(share: Share, floor: Callable[[float], float]) -> float | None:
    """The first scrape that shows a share of good events below its floor."""
    for time in share.scrapes():
        value, samples = share.at(time)
        if samples >= ENOUGH and value < floor(time):
            return time
    return None


def raised_and_zero(changes: Sequence[RouteChange], backend: str) -> tuple[float | None, float | None]:
    """When the route first gave a backend traffic, and when it then gave it none."""
    raised = next((change.at for change in changes if change.weights.get(backend, 0) > 0), None)
    if raised is None:
        return None, None
    later = (change.at for change in changes if change.at > raised and change.weights.get(backend, 0) == 0)
    return raised, next(later, None)
