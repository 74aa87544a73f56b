"""One look at an estimate: is a number with a standard error within its limit?

A report is written once, so there is no sequence to guard: a z-test for "beyond" at alpha and one for "within" at
beta. Where the error is not given it follows from the samples, taken *at the limit* and not at the estimate (a score
test): a luckily high estimate would otherwise seem more certain than it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from modelrollout.api.grammar import Limit
from modelrollout.gates.report_format import Estimate, Samples

__all__ = ["Distance", "auc_error", "distance", "share_error"]

_POWER_80: Final = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far beyond the limit, positive is worse, with its standard error (zero for exact numbers)."""

    beyond: float
    error: float

    def low(self, alpha: float) -> float:
        """The distance is larger than this, but for an error of probability alpha."""
        return self.beyond - NormalDist().inv_cdf(1.0 - alpha) * self.error

    def high(self, beta: float) -> float:
        """The distance is smaller than this, but for an error of probability beta."""
        return self.beyond + NormalDist().inv_cdf(1.0 - beta) * self.error

    def would_have_seen(self, alpha: float) -> float:
        """A distance that would have been shown with 80 % power."""
        return (NormalDist().inv_cdf(1.0 - alpha) + _POWER_80) * self.error


def share_error(share: float, samples: int) -> float:
    """The binomial standard error of a share."""
    return math.sqrt(share * (1.0 - share) / samples)


def auc_error(auc: float, positives: int, negatives: int) -> float:
    """The standard error of the area under a ROC curve, from the numbers of examples alone.

    Source: J. Hanley, B. McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", Radiology 143 (1982): exact for exponential scores, and rather too large than too small for normal ones.
    """
    q1, q2 = auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc)
    variance = auc * (1.0 - auc) + (positives - 1) * (q1 - auc * auc) + (negatives - 1) * (q2 - auc * auc)
    return math.sqrt(variance / (positives * negatives))


def distance(estimate: Estimate, limit: Limit, *, at_least: bool, place: str) -> Distance:
    """The estimate's distance beyond ``factor · baseline + offset``.

    Raises
    ------
    ValueError
        If the limit needs a number that the report does not give; the message names it.
    """
    if limit.relative and estimate.baseline is None:
        raise ValueError(f'{place}.baseline is missing: the limit "{limit.text}" needs it')
    at = limit.at(estimate.baseline)
    if at is None:
        raise ValueError(f'the limit "{limit.text}" cannot be told')
    beyond = at - estimate.candidate if at_least else estimate.candidate - at
    if estimate.exact:
        return Distance(beyond, 0.0)
    if estimate.candidate_error is None and estimate.difference_error is None:
        return Distance(beyond, _from_samples(estimate, at, limit.factor, place))
    return Distance(beyond, _from_errors(estimate, limit, place))


def _from_errors(estimate: Estimate, limit: Limit, place: str) -> float:
    ours, theirs, paired = estimate.candidate_error, estimate.baseline_error, estimate.difference_error
    if not limit.relative:
        if ours is None:
            raise ValueError(
                f'{place}.stderr.candidate is missing: the limit "{limit.text}" is about the candidate alone'
            )
        return ours
    if paired is not None and limit.factor == 1.0:
        return paired
    if ours is None or theirs is None:
        raise ValueError(f'{place}.stderr: the limit "{limit.text}" needs candidate and baseline')
    factor = limit.factor
    twice_shared = 0.0 if paired is None else ours**2 + theirs**2 - paired**2
    return math.sqrt(max(ours**2 + factor**2 * theirs**2 - factor * twice_shared, 0.0))


def _from_samples(estimate: Estimate, at: float, factor: float, place: str) -> float:
    """Both arms' errors from the samples, as if they were independent: too large rather than too small."""
    samples = estimate.samples
    if samples is None:
        raise ValueError(f"{place}: give stderr.candidate or samples")
    error = _sampled(at, samples, place)
    if factor <= 0.0 or estimate.baseline is None:
        return error
    return math.hypot(error, factor * _sampled(estimate.baseline, samples, place))


def _sampled(value: float, samples: Samples, place: str) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{place}.samples: {value:g} is neither a share nor an AUC: give stderr instead")
    inside = min(max(value, 0.5 / samples.total), 1.0 - 0.5 / samples.total)
    if samples.positives is None:
        return share_error(inside, samples.total)
    return auc_error(inside, samples.positives, samples.total - samples.positives)
