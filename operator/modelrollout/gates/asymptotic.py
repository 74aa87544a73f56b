"""A confidence sequence for what is not a rate against a rate: valid at every look, by the central limit theorem.

A statistic that is smooth in sums (a drift, a mean) moves like a sum of increments ``g_t``, one per interval: the
influence of the interval's events, judged with what was known before it. Such a sum is nearly a random walk, and a
random walk may be watched for ever behind the boundary of a normal mixture. Three things are here: that boundary, the
variance of a correlated sum from batches of intervals, and the number of samples that a decision takes.

Sources: the mixture goes back to H. Robbins, "Statistical methods related to the law of the iterated logarithm",
Annals of Mathematical Statistics 41 (1970); its one-sided form and the choice of its parameter are from S. Howard et
al., "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021), arXiv
1810.08240; that it holds asymptotically with an estimated variance is from I. Waudby-Smith et al., "Time-uniform
central limit theory and asymptotic confidence sequences", arXiv 2103.06476. Variance from batch means: C. Geyer,
"Practical Markov chain Monte Carlo", Statistical Science 7 (1992). The derivations are in ``docs/drift.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

__all__ = ["BatchVariance", "half_width", "mixture_parameter", "planning_constant", "short"]

BATCH_LENGTHS: Final = (1, 4, 16)
"""Intervals in a batch. One sees what intervals do alone; sixteen see what lasts for minutes."""
_FEWEST_BATCHES: Final = 8
_ROOT_2: Final = math.sqrt(2.0)


def mixture_parameter(planned: float, alpha: float) -> float:
    """The mixture's parameter that makes the boundary narrowest at the planned information.

    ``planned`` is the information (one over the variance of the estimate) at which a decision is expected, fixed
    beforehand. Any value keeps the guarantee; a wrong one by a factor of ten costs a few percent of width.
    """
    level = -2.0 * math.log(2.0 * alpha)
    return planned / (level + math.log1p(level))


def half_width(variance: float, planned: float, alpha: float) -> float:
    """How far the estimate may stray to one side, at any look of a sequence, with probability ``1 - alpha``.

    The boundary of the half-normal mixture: ``x`` solves ``x² = ln((I+ρ)/ρ) - 2 ln(2αΦ(x))`` and the width is
    ``x √(I+ρ) / I`` with the information ``I = 1 / variance``. Same unit as the estimate.

    Raises
    ------
    ValueError
        If the variance is not positive or alpha not between 0 and 0.5.
    """
    if not variance > 0.0:
        raise ValueError(f"variance is {variance}: it must be positive")
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}: give a probability between 0 and 0.5")
    information = 1.0 / variance
    rho = mixture_parameter(planned, alpha)
    constant = math.log1p(information / rho) - 2.0 * math.log(2.0 * alpha)
    x = math.sqrt(constant)
    for _ in range(_FIXED_POINT_STEPS):
        x = math.sqrt(constant - 2.0 * math.log(0.5 * math.erfc(-x / _ROOT_2)))
    return x * math.sqrt(information + rho) / information


_FIXED_POINT_STEPS: Final = 8
"""The map contracts by φ(x)/xΦ(x), which is below 0.2 for every alpha up to 0.2: eight steps are exact to 1e-6."""


@cache
def planning_constant(alpha: float, power: float = 0.8) -> float:
    """``c`` in ``samples = c · variance per sample / distance²``: what it takes to be decided with this power.

    The distance is that from the limit. Counted as one look at the planned information, so a little pessimistic: the
    looks before it decide some of the cases.
    """
    return (half_width(1.0, 1.0, alpha) + NormalDist().inv_cdf(power)) ** 2


def short(value: float) -> float:
    """Rounded to seven digits: a sum that is kept so is short in status, and the same when it was read back."""
    return float(f"{value:.7g}")


@dataclass(frozen=True, slots=True)
class BatchVariance:
    """The variance of ``Σ g_t`` when neighbouring increments may be correlated, in ten numbers.

    ``units`` are what the increments weigh (samples), so that an estimate from closed batches can be carried over to
    the open one.
    """

    intervals: int = 0
    units: float = 0.0
    squares: tuple[float, ...] = (0.0,) * len(BATCH_LENGTHS)
    closed_units: tuple[float, ...] = (0.0,) * len(BATCH_LENGTHS)
    open_sums: tuple[float, ...] = (0.0,) * len(BATCH_LENGTHS)

    def add(self, increment: float, units: float) -> BatchVariance:
        """The same with one more interval."""
        intervals, total = self.intervals + 1, self.units + units
        squares, closed, open_sums = list(self.squares), list(self.closed_units), list(self.open_sums)
        for i, length in enumerate(BATCH_LENGTHS):
            open_sums[i] = short(open_sums[i] + increment)
            if intervals % length == 0:
                squares[i] = short(squares[i] + open_sums[i] ** 2)
                closed[i], open_sums[i] = total, 0.0
        return BatchVariance(intervals, total, tuple(squares), tuple(closed), tuple(open_sums))

    def estimate(self) -> float:
        """The variance of the sum of all increments: the largest that any length of batches shows.

        A length counts from eight closed batches on; the longer ones are raised by their own standard error,
        ``√(2/batches)``, because few batches often show too little.
        """
        largest = 0.0
        for length, squares, closed in zip(BATCH_LENGTHS, self.squares, self.closed_units, strict=True):
            batches = self.intervals // length
            if batches < _FEWEST_BATCHES or closed <= 0.0:
                continue
            caution = 1.0 + math.sqrt(2.0 / batches) if length > 1 else 1.0
            largest = max(largest, squares * self.units / closed * caution)
        return largest
