"""How other controllers would have decided on the same counts: their rules as they document them.

Each gets the same limit as ours and the same counts, and is read in its own favour where its documentation leaves a
choice: an interval without requests is no check (Flagger counts one as failed), and a check is made every minute, not
at each of our intervals.

Sources: Flagger, docs.flagger.app, "Deployment Strategies" and "Metrics Analysis" (``interval: 1m``, ``threshold``:
"max number of failed metric checks before rollback", counted over the whole analysis). Argo Rollouts,
argo-rollouts.readthedocs.io, "Analysis & Progressive Delivery" (a metric fails when more than ``failureLimit``
measurements have failed; default 0). Kayenta, github.com/spinnaker/kayenta, "canary-config" and "judge"
(``MannWhitneyClassifier`` with tolerance 0.25 and confidence 0.98 on points of 60 s; one failing metric fails a canary
of one metric).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from modelrollout.gates.eprocess import Array, Line
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import Ints

__all__ = ["NEVER", "Arms", "argo", "checks", "flagger", "kayenta"]

NEVER: Final = -1
CHECK_SECONDS: Final = 60.0
KAYENTA_JUDGES_EVERY: Final = 600.0
_KAYENTA_TOLERANCE: Final = 0.25
_KAYENTA_CONFIDENCE: Final = 0.98


@dataclass(frozen=True, slots=True)
class Arms:
    """Counts of both arms per interval: requests and bad ones, of shape (runs, T); NaN where not measured.
    ``interval`` in seconds."""

    nc: Array
    xc: Array
    nb: Array
    xb: Array
    interval: float

    def per(self, seconds: float) -> tuple[Arms, int]:
        """The same in longer intervals, and of how many of these each consists."""
        size = max(1, round(seconds / self.interval))
        count = self.nc.shape[1] // size

        def sums(values: Array) -> Array:
            return np.asarray(np.nansum(values[:, : count * size].reshape(len(values), count, size), axis=2))

        return Arms(sums(self.nc), sums(self.xc), sums(self.nb), sums(self.xb), size * self.interval), size

    def since(self, first: int) -> Arms:
        """The intervals from this one on."""
        return Arms(self.nc[:, first:], self.xc[:, first:], self.nb[:, first:], self.xb[:, first:], self.interval)

    def first(self, runs: int) -> Arms:
        """The first so many runs."""
        return Arms(self.nc[:runs], self.xc[:runs], self.nb[:runs], self.xb[:runs], self.interval)

    def shares(self) -> tuple[Array, Array]:
        """Shares of bad events of candidate and baseline; NaN without requests."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.xc / self.nc, self.xb / self.nb


def checks(arms: Arms, line: Line) -> tuple[Array, int]:
    """Which checks fail (1), of shape (runs, checks), and how many of our intervals one spans."""
    checked, size = arms.per(CHECK_SECONDS)
    ours, theirs = checked.shares()
    limit = line.offset + (line.factor * theirs if line.relative else 0.0)
    with np.errstate(invalid="ignore"):
        return (ours > limit).astype(np.float64), size


def flagger(gates: Sequence[Arms], lines: Sequence[Line], *, threshold: int = 5) -> Ints:
    """Index of the interval in which Flagger rolls back, of shape (runs,): at the ``threshold``-th check that fails for
    any of the gates."""
    found = [checks(arms, line) for arms, line in zip(gates, lines, strict=True)]
    failed = np.max([one for one, _ in found], axis=0)
    return _first(np.cumsum(failed, axis=1) >= threshold, found[0][1])


def argo(gates: Sequence[Arms], lines: Sequence[Line], *, failure_limit: int = 0) -> Ints:
    """Index of the interval in which an Argo Rollouts analysis fails: one of its metrics failed more often than
    ``failureLimit``."""
    found = [checks(arms, line) for arms, line in zip(gates, lines, strict=True)]
    reached = np.any([np.cumsum(one, axis=1) > failure_limit for one, _ in found], axis=0)
    return _first(reached, found[0][1])


def kayenta(gates: Sequence[Arms]) -> Ints:
    """Index of the interval in which Kayenta fails the canary, judged every ten minutes over everything so far.

    It has no limit: any shift upwards of the share of bad events counts. The classifier calls a metric high when the
    lower confidence bound of the shift exceeds the tolerance times the estimated shift.
    """
    found = np.full(len(gates[0].nc), NEVER, dtype=np.int64)
    points = [arms.per(CHECK_SECONDS) for arms in gates]
    shares = [one.shares() for one, _ in points]
    every = max(1, round(KAYENTA_JUDGES_EVERY / points[0][0].interval))
    for last in range(every, shares[0][0].shape[1] + 1, every):
        for run in np.flatnonzero(found == NEVER):
            if any(_shifted(ours[run, :last], theirs[run, :last]) for ours, theirs in shares):
                found[run] = last * points[0][1] - 1
    return found


def _shifted(ours: Array, theirs: Array) -> bool:
    """Whether the candidate's points lie higher, by the Hodges–Lehmann shift and its confidence interval."""
    ours, theirs = ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]
    n, m = len(ours), len(theirs)
    if n < 2 or m < 2:
        return False
    z = NormalDist().inv_cdf(0.5 + _KAYENTA_CONFIDENCE / 2.0)
    rank = max(0, math.floor(n * m / 2.0 - z * math.sqrt(n * m * (n + m + 1) / 12.0)))
    # The lower bound is the pair's difference of this rank. Counting those not above zero is quick, and mostly enough.
    if (m - np.searchsorted(np.sort(theirs), ours)).sum() > rank:
        return False
    apart = np.sort((ours[:, None] - theirs[None, :]).ravel())
    return bool(apart[rank] > _KAYENTA_TOLERANCE * abs(float(np.median(apart))))


def _first(reached: Mask, size: int) -> Ints:
    """The interval that ends the first check in which something is true."""
    found = reached.argmax(axis=1)
    return np.where(reached.any(axis=1), (found + 1) * size - 1, NEVER)
