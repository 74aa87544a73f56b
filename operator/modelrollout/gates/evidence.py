"""What a gate is judged from: exact counts of one interval, for both arms.

A ratio brings *bad* events and all events; a gate that counts good events is turned around on entry, so that every
gate reads "bad events of the candidate ≤ factor · bad events of the baseline + offset". A latency or a drift brings a
histogram, a value whatever number its query gave.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import datetime

__all__ = ["Arm", "Counts", "Histogram", "Interval", "Reading"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Events of one arm: ``bad`` of ``total``. In one interval of a gate with late labels ``bad`` may be negative or
    above ``total`` (a click of an earlier impression); sums over enough intervals are not."""

    bad: float
    total: float

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.bad + other.bad, self.total + other.total)

    @property
    def rate(self) -> float | None:
        """Share of bad events; None without events."""
        return self.bad / self.total if self.total > 0 else None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations of one arm: ``counts[i]`` requests took at most ``bounds[i]`` seconds; the last bound is infinity."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]

    def __add__(self, other: Histogram) -> Histogram:
        if not self.bounds:
            return other
        if not other.bounds:
            return self
        if self.bounds == other.bounds:
            return Histogram(self.bounds, tuple(map(operator.add, self.counts, other.counts)))
        common = tuple(bound for bound in self.bounds if bound in other.bounds)
        mine = dict(zip(self.bounds, self.counts, strict=True))
        theirs = dict(zip(other.bounds, other.counts, strict=True))
        return Histogram(common, tuple(mine[bound] + theirs[bound] for bound in common))

    @property
    def total(self) -> float:
        """All requests."""
        return self.counts[-1] if self.counts else 0.0

    def slower_than(self, bound: float) -> Counts:
        """Requests slower than one of the histogram's own bounds; none is slower than infinity."""
        if bound == float("inf"):
            return Counts(0.0, self.total)
        return Counts(self.total - self.counts[self.bounds.index(bound)], self.total)

    def bound_at_or_above(self, limit: float) -> float:
        """The smallest own bound that is not below the limit (possibly infinity)."""
        return next((bound for bound in self.bounds if bound >= limit - 1e-12), float("inf"))

    def bound_at_or_below(self, limit: float) -> float | None:
        """The largest own bound that is not above the limit."""
        return next((bound for bound in reversed(self.bounds) if bound <= limit + 1e-12), None)

    def quantile(self, q: float) -> float | None:
        """The quantile in seconds by linear interpolation inside its bucket, for people to read; never judged.

        Source: the documented behaviour of PromQL's ``histogram_quantile`` for classic histograms.
        """
        if self.total <= 0:
            return None
        rank, below, low = q * self.total, 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank:
                if bound == float("inf"):
                    return low
                inside = count - below
                return low + (bound - low) * ((rank - below) / inside if inside > 0 else 1.0)
            below, low = count, bound
        return low

    def share_above(self, seconds: float) -> float | None:
        """Share of requests that took longer, by linear interpolation inside a bucket; None without requests."""
        if self.total <= 0:
            return None
        below, low = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if bound >= seconds:
                part = 0.0 if bound == float("inf") else (seconds - low) / (bound - low)
                return 1.0 - (below + part * (count - below)) / self.total
            below, low = count, bound
        return 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A number as a query gave it at the end of an interval; there is nothing to add up."""

    value: float


Arm = Counts | Histogram | Reading


@dataclass(frozen=True, slots=True)
class Interval:
    """What both arms did between two aligned instants, ``start`` exclusive. An arm that was not measured is None."""

    start: datetime
    end: datetime
    candidate: Arm | None
    baseline: Arm | None
    halves: tuple[Arm, Arm] | None = None
    """The baseline's pods in two halves (by a stable split of their names); None where pods cannot be told apart."""
