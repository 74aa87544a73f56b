"""The test that decides: a score-like interval on the difference of two shares, wide enough to be looked at often.

Every gate is one linear statement on shares of bad events, ``candidate ≤ factor · baseline + offset``. The distance
from that line, ``D = xc/nc − factor · xb/nb − offset``, gets an interval of ±4 standard errors, with one bad event
and one good one added to each arm so that zero events are not taken for certainty. A gate is breached when the whole
interval lies on the bad side and proven when it lies on the good side.

Four standard errors are two-sided 1 in 16,000 at a single look of independent requests; that leaves room for looking
at every interval, not a guarantee for it. The interface (counts in, verdict with its numbers out, state as plain sums)
is what the rest of the house relies on, so that a test with such a guarantee can take this one's place.

Source: A. Agresti, B. Caffo, "Simple and effective confidence intervals for proportions and differences of proportions
result from adding two successes and two failures", The American Statistician 54 (2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from modelrollout.gates.evidence import Counts

__all__ = ["STANDARD_ERRORS", "Distance", "distance"]

STANDARD_ERRORS: Final = 4.0
_POWER_80: Final = 0.84


@dataclass(frozen=True, slots=True)
class Distance:
    """How far the candidate is beyond the limit's line, in shares of bad events; positive is worse."""

    estimate: float
    low: float
    high: float
    would_have_seen: float

    @property
    def breached(self) -> bool:
        """The whole interval lies beyond the limit."""
        return self.low > 0.0

    @property
    def proven(self) -> bool:
        """The whole interval lies within the limit."""
        return self.high < 0.0


def _shrunk(counts: Counts) -> tuple[float, float]:
    """Share and its variance, with one bad and one good event added."""
    total = counts.total + 2.0
    share = (counts.bad + 1.0) / total
    return share, share * (1.0 - share) / total


def distance(
    candidate: Counts, baseline: Counts | None, *, factor: float, offset: float, offset_variance: float = 0.0
) -> Distance:
    """The candidate's distance from ``factor · baseline + offset``.

    ``baseline`` may be None when factor is 0. ``offset_variance`` is for an offset that was itself measured.
    """
    share, variance = _shrunk(candidate)
    estimate = (candidate.rate or 0.0) - offset
    centre = share - offset
    if baseline is not None and factor > 0.0:
        base, base_variance = _shrunk(baseline)
        estimate -= factor * (baseline.rate or 0.0)
        centre -= factor * base
        variance += factor * factor * base_variance
    error = math.sqrt(variance + offset_variance)
    return Distance(
        estimate=estimate,
        low=centre - STANDARD_ERRORS * error,
        high=centre + STANDARD_ERRORS * error,
        would_have_seen=(STANDARD_ERRORS + _POWER_80) * error,
    )
