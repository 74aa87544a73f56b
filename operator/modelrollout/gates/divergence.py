"""How far two distributions are apart: PSI and KS of a comparison, with bounds that hold at every look.

Both are positive even between samples of the same distribution. PSI is therefore corrected for its bias before it may
breach a limit, and left uncorrected where it is to prove one, since it errs upward only. KS is watched at each edge by
itself: one edge beyond the limit is a breach (the edges share alpha), and all of them within it are a proof (a
distribution beyond the limit is beyond it at some edge, and that one errs with probability beta).

The formulae are derived in ``docs/drift.md``. Sources: PSI and its distribution under equality from B. Yurdakul, J.
Naranjo, "Statistical properties of the population stability index", Journal of Risk Model Validation 14 (2020); the
half event added to each bucket is Jeffreys' prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from modelrollout.gates.asymptotic import half_width, planning_constant
from modelrollout.gates.strata import Cells, Comparison

__all__ = ["Bounds", "ks_bounds", "ks_design_effect", "ks_gradient", "psi", "psi_bias", "psi_bounds", "psi_gradient"]
__all__ += ["psi_design_effect"]

_POWER_80: Final = NormalDist().inv_cdf(0.8)
_FIXED_POINT_STEPS: Final = 12
_BISECTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Bounds:
    """A measure with its bounds, all in the measure's own unit."""

    value: float
    """As measured."""
    estimate: float
    """Without its bias."""
    low: float
    """Above the limit when the distance is shown to be beyond it, whatever the look."""
    high: float
    """Below the limit when the distance is shown to be within it."""
    error: float
    """Standard error of the estimate."""
    would_have_seen: float
    """A distance this much beyond the limit would have been shown with 80 % power by now."""


# PSI


def psi(p: Cells, q: Cells) -> float:
    """The population stability index ``Σ (p-q) ln(p/q)`` of two lists of positive shares."""
    return sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def psi_slopes(p: Cells, q: Cells) -> tuple[Cells, Cells]:
    """The slopes of PSI by p and by q."""
    pairs = list(zip(p, q, strict=True))
    by_p = tuple(math.log(a / b) + 1.0 - b / a for a, b in pairs)
    return by_p, tuple(math.log(b / a) + 1.0 - a / b for a, b in pairs)


def psi_bias(p: Cells, q: Cells, per_p: float, per_q: float) -> float:
    """How much the PSI of samples exceeds that of their distributions, to second order.

    ``per_p`` and ``per_q`` are design effect over sample size. Under equality this is ``(B-1)(per_p + per_q)``.
    """
    pairs = list(zip(p, q, strict=True))
    ours = sum((1.0 + b / a) * (1.0 - a) for a, b in pairs)
    theirs = sum((1.0 + a / b) * (1.0 - b) for a, b in pairs)
    return 0.5 * (per_p * ours + per_q * theirs)


def psi_gradient(compared: Comparison) -> tuple[Cells, Cells]:
    """The slopes at what was seen so far."""
    return psi_slopes(*_smoothed(compared))


def psi_design_effect(compared: Comparison) -> float:
    """How many times wider than for independent requests the difference scatters; 1 at least."""
    pairs = [(s, pi) for s, pi in zip(compared.scatter(), compared.middle_shares(), strict=True) if pi > 0.0]
    freedom = max(len(pairs) - 1, 1)
    doubt = 1.0 + math.sqrt(2.0 / (freedom * max(compared.strata - 1, 1)))
    return max(1.0, sum(scatter / share for scatter, share in pairs) / freedom * doubt)


def psi_bounds(compared: Comparison, limit: float, alpha: float, beta: float) -> Bounds:
    """PSI with its bounds, both for the question whether a PSI *at the limit* could look like this.

    Variance and bias are therefore those of a distribution on the limit: near equality the slopes vanish and with them
    the variance that they predict, and where a bucket is all but empty they grow beyond measure. A PSI above the limit
    is moved onto it along the straight line to the other arm; below, the variance has a floor. For a breach what the
    slopes leave out is added, the variance of the quadratic part.
    """
    p, q = _smoothed(compared)
    value = psi(p, q)
    effect = psi_design_effect(compared)
    per_p, per_q = effect / compared.samples, effect * compared.thinning / compared.samples**2
    predicted = _psi_variance(p, q, per_p, per_q)
    uneven = max(1.0, compared.batch_variance() / predicted) if predicted > 0.0 else 1.0
    on_limit = p if value <= limit else _moved_to(limit, p, q)
    variance = max(_psi_variance(on_limit, q, per_p, per_q) * uneven, 4.0 * limit * (per_p + per_q))
    planned = planning_constant(alpha) / limit**2
    estimate = value - psi_bias(on_limit, q, per_p, per_q)
    curved = 2.0 * (compared.size - 1) * (per_p + per_q) ** 2
    to_breach = _psi_to_breach(variance + curved, limit, alpha)
    return Bounds(
        value,
        estimate,
        estimate - to_breach,
        value + half_width(variance, planned, beta),
        math.sqrt(variance),
        _visible_psi(variance, limit, alpha, per_p + per_q, curved),
    )


def _psi_to_breach(variance: float, limit: float, alpha: float) -> float:
    """How far beyond the limit PSI has to be; the second term is the test on the scale of its root (see the docs)."""
    width = half_width(variance, planning_constant(alpha) / limit**2, alpha)
    return width + width**2 / (4.0 * limit)


def _moved_to(limit: float, p: Cells, q: Cells) -> Cells:
    """The shares on the line from q to p whose PSI to q is the limit; it lies between them."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        moved = tuple(b + middle * (a - b) for a, b in zip(p, q, strict=True))
        low, high = (middle, high) if psi(moved, q) < limit else (low, middle)
    return tuple(b + high * (a - b) for a, b in zip(p, q, strict=True))


def _visible_psi(variance: float, limit: float, alpha: float, per_sample: float, curved: float) -> float:
    """The excess over the limit that is seen with 80 % power; its own variance grows with it, hence the iteration.

    A shift of a normal distribution to PSI x has the variance ``4x(1+x)`` per sample.
    """
    there = max(variance, 4.0 * limit * (1.0 + limit) * per_sample)
    excess = to_breach = _psi_to_breach(there + curved, limit, alpha)
    for _ in range(_FIXED_POINT_STEPS):
        far = limit + excess
        excess = to_breach + _POWER_80 * math.sqrt(4.0 * far * (1.0 + far) * per_sample + curved)
    return excess


def _psi_variance(p: Cells, q: Cells, per_p: float, per_q: float) -> float:
    """The variance of PSI to first order (the delta method)."""
    by_p, by_q = psi_slopes(p, q)
    return per_p * _variance(p, by_p) + per_q * _variance(q, by_q)


def _variance(shares: Cells, slopes: Cells) -> float:
    """The variance of a slope over the buckets."""
    mean = sum(share * slope for share, slope in zip(shares, slopes, strict=True))
    return sum(share * (slope - mean) ** 2 for share, slope in zip(shares, slopes, strict=True))


def _smoothed(compared: Comparison) -> tuple[Cells, Cells]:
    """Both arms' shares with half an event added to each bucket, so that none is empty."""
    half = 0.5 * compared.size
    ours = tuple((count + 0.5) / (compared.samples + half) for count in compared.counts)
    if compared.fixed:
        return ours, compared.fixed
    worth = compared.effective_theirs
    return ours, tuple((worth * share + 0.5) / (worth + half) for share in compared.their_shares())


# KS


def ks_gradient(compared: Comparison) -> tuple[Cells, Cells]:
    """The slopes of the largest distance at what was seen so far."""
    apart = _apart(compared)
    widest = max(range(len(apart)), key=lambda i: abs(apart[i]))
    by_p = tuple(math.copysign(1.0, apart[i]) if i == widest else 0.0 for i in range(len(apart)))
    return by_p, tuple(-slope for slope in by_p)


def ks_design_effect(compared: Comparison) -> float:
    """How many times wider than for independent requests the cumulative differences scatter; 1 at least."""
    expected = sum(share * (1.0 - share) for share in compared.middle_shares())
    return max(1.0, sum(compared.scatter()) / expected) if expected > 0.0 else 1.0


def ks_bounds(compared: Comparison, limit: float, alpha: float, beta: float) -> Bounds:
    """The largest distance of the cumulative shares, with bounds from the sequences of all edges.

    An edge's variance is never taken below the smallest that a distance at the limit can have, ``D(1-D)`` in the arm
    with more samples.
    """
    apart, effect = _apart(compared), ks_design_effect(compared)
    ours, theirs = effect / compared.samples, effect * compared.thinning / compared.samples**2
    floor = limit * (1.0 - limit) * (min(ours, theirs) if theirs > 0.0 else ours)
    widest = max(range(len(apart)), key=lambda i: abs(apart[i]))
    planned = planning_constant(alpha) / limit**2
    low, high, most, error = -math.inf, 0.0, floor, 0.0
    for i, (p, q) in enumerate(zip(compared.our_shares(), compared.their_shares(), strict=True)):
        variance = max(p * (1.0 - p) * ours + q * (1.0 - q) * theirs, floor)
        if i == widest:
            variance = max(variance, compared.batch_variance())
            error = math.sqrt(variance)
        most = max(most, variance)
        low = max(low, abs(apart[i]) - half_width(variance, planned, alpha / (2 * len(apart))))
        high = max(high, abs(apart[i]) + half_width(variance, planned, beta))
    seen = half_width(most, planned, alpha / (2 * len(apart))) + _POWER_80 * math.sqrt(most)
    return Bounds(abs(apart[widest]), abs(apart[widest]), low, high, error, seen)


def _apart(compared: Comparison) -> Cells:
    return tuple(p - q for p, q in zip(compared.our_shares(), compared.their_shares(), strict=True))
