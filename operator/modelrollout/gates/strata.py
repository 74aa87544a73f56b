"""Two streams of bucketed events compared stratum by stratum, in sums of a fixed size.

Traffic changes its mix over the day and its split from step to step. Pooled counts would then show a drift between two
equal models (Simpson's paradox), so each stretch of time counts in both arms with the candidate's number of events:
the baseline's shares are the average of its shares per stratum, weighted like the candidate's. What both arms go
through together cancels. How much clumped requests (a user who asks five times) widen the difference is estimated
from the scatter of the strata, which is the design effect of J. Rao and A. Scott, "The analysis of categorical data
from complex sample surveys", Journal of the American Statistical Association 76 (1981); the effective size of a
weighted sample is L. Kish, "Survey Sampling" (1965).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from modelrollout.gates.asymptotic import BatchVariance, short

__all__ = ["Comparison", "Gradient", "read_numbers", "write_numbers"]

_FEWEST_PER_STRATUM: Final = 20
"""Below this, weighing the baseline like the candidate wastes samples: the weights would be mostly chance."""
_LONGEST_STRATUM: Final = 40
"""Intervals after which a stratum is closed with whatever both arms have."""

Cells = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The sums. "Ours" is the candidate (or whatever is compared), "theirs" the baseline or ``fixed`` shares.

    Entries are per cell of the measure. For stratum t with n of ours and m of theirs: ``h = nm/(n+m)`` (n against
    fixed shares) and d the difference of the shares.
    """

    size: int
    fixed: Cells | None = None
    counts: Cells = ()
    """Σ of our events."""
    theirs: Cells = ()
    """Σ n · their share; empty against fixed shares."""
    moved: Cells = ()
    """Σ h · d; empty against fixed shares."""
    squares: Cells = ()
    """Σ h · d²."""
    samples: float = 0.0
    their_samples: float = 0.0
    thinning: float = 0.0
    """Σ n²/m: what the weights cost."""
    weight: float = 0.0
    """Σ h."""
    strata: int = 0
    batches: BatchVariance = field(default_factory=BatchVariance)
    open_ours: Cells = ()
    open_theirs: Cells = ()
    open_samples: float = 0.0
    open_their_samples: float = 0.0
    open_intervals: int = 0

    @classmethod
    def empty(cls, size: int, fixed: Cells | None = None) -> Comparison:
        """Nothing seen yet, in so many cells."""
        zeros = (0.0,) * size
        pair = () if fixed else zeros
        return cls(size, fixed, zeros, pair, pair, zeros, open_ours=zeros, open_theirs=pair)

    @property
    def effective_theirs(self) -> float:
        """The number of their events that the weighted shares are worth; infinite against fixed shares."""
        return float("inf") if self.thinning <= 0.0 else self.samples**2 / self.thinning

    @property
    def per_sample(self) -> float:
        """``1/n + 1/m``: the variance of a difference of shares, in units of ``p(1-p)``."""
        return 1.0 / self.samples + self.thinning / self.samples**2

    def our_shares(self) -> Cells:
        """Our shares, zeros before the first stratum."""
        return tuple(count / max(self.samples, 1.0) for count in self.counts)

    def their_shares(self) -> Cells:
        """Their shares, weighted like ours."""
        return self.fixed or tuple(count / max(self.samples, 1.0) for count in self.theirs)

    def middle_shares(self) -> Cells:
        """Shares to which the variance of the difference is proportional: the smaller arm weighs more."""
        ours, theirs = 1.0 / self.samples, self.thinning / self.samples**2
        pairs = zip(self.our_shares(), self.their_shares(), strict=True)
        return tuple((p * ours + q * theirs) / (ours + theirs) for p, q in pairs)

    def scatter(self) -> Cells:
        """Per cell, the weighted scatter of the strata's differences around their mean, over its degrees of freedom.

        Equals the cell's ``p(1-p)`` on average when requests are independent, and more when they come in clumps.
        """
        moved = self.moved
        if self.fixed:
            moved = tuple(c - self.samples * q for c, q in zip(self.counts, self.fixed, strict=True))
        freedom = max(self.strata - 1, 1)
        pairs = zip(self.squares, moved, strict=True)
        return tuple(max(square - sum_**2 / self.weight, 0.0) / freedom for square, sum_ in pairs)

    def add(self, ours: Cells, samples: float, theirs: Cells, their_samples: float, gradient: Gradient) -> Comparison:
        """One more interval. ``theirs`` is ignored against fixed shares."""
        grown = replace(
            self,
            open_ours=_sum(self.open_ours, ours),
            open_theirs=() if self.fixed else _sum(self.open_theirs, theirs),
            open_samples=self.open_samples + samples,
            open_their_samples=self.open_their_samples + (0.0 if self.fixed else their_samples),
            open_intervals=self.open_intervals + 1,
        )
        fewest = grown.open_samples if self.fixed else min(grown.open_samples, grown.open_their_samples)
        enough = _FEWEST_PER_STRATUM if grown.open_intervals < _LONGEST_STRATUM else 1
        return grown._closed(gradient) if fewest >= enough else grown

    def cut(self, gradient: Gradient) -> Comparison:
        """The open stratum ends here, because the split changes; what only one arm saw is left out."""
        fewest = self.open_samples if self.fixed else min(self.open_samples, self.open_their_samples)
        if fewest >= 1.0:
            return self._closed(gradient)
        zeros = (0.0,) * self.size
        opened = () if self.fixed else zeros
        return replace(
            self, open_ours=zeros, open_theirs=opened, open_samples=0.0, open_their_samples=0.0, open_intervals=0
        )

    def _closed(self, gradient: Gradient) -> Comparison:
        n, m = self.open_samples, self.open_their_samples
        ours = tuple(count / n for count in self.open_ours)
        theirs = self.fixed or tuple(count / m for count in self.open_theirs)
        h = n if self.fixed else n * m / (n + m)
        apart = tuple(p - q for p, q in zip(ours, theirs, strict=True))
        zeros = (0.0,) * self.size
        return replace(
            self,
            counts=_sum(self.counts, self.open_ours),
            theirs=() if self.fixed else _short(_sum(self.theirs, tuple(n * q for q in theirs))),
            moved=() if self.fixed else _short(_sum(self.moved, tuple(h * d for d in apart))),
            squares=_short(_sum(self.squares, tuple(h * d * d for d in apart))),
            samples=self.samples + n,
            their_samples=self.their_samples + m,
            thinning=self.thinning + (0.0 if self.fixed else n * n / m),
            weight=self.weight + h,
            strata=self.strata + 1,
            batches=self._batched(ours, theirs, n, gradient),
            open_ours=zeros,
            open_theirs=() if self.fixed else zeros,
            open_samples=0.0,
            open_their_samples=0.0,
            open_intervals=0,
        )

    def dump(self) -> str:
        """The sums as text; ``fixed`` is left out."""
        batches = self.batches
        scalars = (self.samples, self.their_samples, self.thinning, self.weight, self.strata)
        opened = (self.open_samples, self.open_their_samples, self.open_intervals)
        lists: tuple[Iterable[float], ...] = (self.counts, self.theirs, self.moved, self.squares)
        lists += (self.open_ours, self.open_theirs, scalars, opened)
        lists += ((batches.intervals, batches.units), batches.squares, batches.closed_units, batches.open_sums)
        return "|".join(write_numbers(numbers) for numbers in lists)

    def load(self, text: str) -> Comparison:
        """The comparison that was dumped, with the cells and fixed shares of this one.

        Raises
        ------
        ValueError
            If the text is not that of a comparison of so many cells.
        """
        lists = [read_numbers(part) for part in text.split("|")]
        pair = 0 if self.fixed else self.size
        sizes = [self.size, pair, pair, self.size, self.size, pair, 5, 3, 2, *(len(self.batches.squares),) * 3]
        if [len(numbers) for numbers in lists] != sizes:
            raise ValueError("the state does not hold the sums of this comparison")
        counts, theirs, moved, squares, open_ours, open_theirs, scalars, opened, units, *batches = lists
        return replace(
            self,
            counts=counts,
            theirs=theirs,
            moved=moved,
            squares=squares,
            samples=scalars[0],
            their_samples=scalars[1],
            thinning=scalars[2],
            weight=scalars[3],
            strata=int(scalars[4]),
            batches=BatchVariance(int(units[0]), units[1], *batches),
            open_ours=open_ours,
            open_theirs=open_theirs,
            open_samples=opened[0],
            open_their_samples=opened[1],
            open_intervals=int(opened[2]),
        )

    def _batched(self, ours: Cells, theirs: Cells, n: float, gradient: Gradient) -> BatchVariance:
        """The batches with what this stratum adds to the statistic, to first order.

        The slopes are those of the strata before it, so that the sum stays a martingale.
        """
        slopes = gradient(self)
        if slopes is None:
            return self.batches
        by_ours, by_theirs = slopes
        rises = zip(by_ours, ours, self.our_shares(), by_theirs, theirs, self.their_shares(), strict=True)
        rise: float = sum(dp * (p - past_p) + dq * (q - past_q) for dp, p, past_p, dq, q, past_q in rises)
        return self.batches.add(n * rise, n)

    def batch_variance(self) -> float:
        """The variance of the statistic as batches of strata show it; zero while there are too few."""
        units = self.batches.units
        return self.batches.estimate() / (units * self.samples) if units > 0.0 else 0.0


Gradient = Callable[[Comparison], tuple[Cells, Cells] | None]
"""The slopes of a statistic by our shares and by their shares; None while they cannot be told."""


def _sum(one: Cells, other: Cells) -> Cells:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _short(values: Cells) -> Cells:
    return tuple(short(value) for value in values)


def write_numbers(values: Iterable[float]) -> str:
    """Numbers as text that reads back to the very same numbers."""
    return ",".join(
        f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else repr(value) for value in values
    )


def read_numbers(text: str) -> tuple[float, ...]:
    """The numbers that were written.

    Raises
    ------
    ValueError
        If one of them is no number.
    """
    values = tuple(float(part) for part in text.split(",") if part)
    if any(math.isnan(value) for value in values):
        raise ValueError("a state holds numbers only")
    return values
