"""The bet that a gate makes against a candidate, interval by interval, and what may be expected of it. Pure numerics.

A gate states that the candidate's share of bad events is within a line, ``θc ≤ a·θb + d``. For one interval (a
*stratum*) with counts of both arms, :func:`log_evidence` gives the logarithm of a number that is at most 1 on average
whenever the statement is true, whatever the rates are and however they move from interval to interval. Products of
such numbers may be looked at continuously (Ville's inequality): the chance that one ever exceeds ``1/α`` is at most
``α``. The derivation is in ``docs/statistics.md``.

Everything works on arrays: a leading axis of runs (one in the operator, thousands in the laboratory) and a last axis
of bets. So the laboratory runs the very functions that the operator runs.

Sources: R. Turner, A. Ly, P. Grünwald, "Generic E-variables for exact sequential k-sample tests" (2024, arXiv
2106.02693) and R. Turner, P. Grünwald (2023, arXiv 2302.11401) for stratified 2×2 tables; J. Shin, A. Ramdas,
A. Rinaldo, "E-detectors" (2022, arXiv 2203.03532) for restarts; A. Wald (1945) for what one bet can do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BETS",
    "Array",
    "Line",
    "bets",
    "cap",
    "divergence",
    "log_evidence",
    "needed_to_breach",
    "needed_to_prove",
    "prior",
    "smallest_seen",
]

Array = NDArray[np.float64]

BETS: Final = 10
"""How many effect sizes a gate bets on at once."""
_LARGEST_SHIFT: Final = 6.0
_TINY: Final = 1e-9
_MOST_STAKED: Final = 0.98
_CAP_SLACK: Final = 3.7
_JUST_SHORT: Final = 0.999
_STEPS_TO_ROOT: Final = 30
_NEAR_ENOUGH: Final = 1e-5
"""A step of Newton's, as a part of where it leads, after which the next would be its square."""
_FOUR_IN_FIVE: Final = 0.8416
"""Normal quantile of four chances in five."""
_NATS_OF_MIXING: Final = 0.5
"""What mixing over bets and restarts costs a breach; measured, see ``tests/bench/plan.py``."""
_NATS_TO_PROVE: Final = 2.2
"""Beyond ``ln(1/β)``: what mixing over bets and four chances in five cost; measured likewise."""


@dataclass(frozen=True, slots=True)
class Line:
    """The limit as a line on shares of bad events: ``candidate ≤ factor · baseline + offset``."""

    factor: float
    offset: float

    @property
    def relative(self) -> bool:
        """Whether the baseline enters."""
        return self.factor > 0.0

    def at(self, baseline: float) -> float:
        """The limit, as a share, at a baseline's share."""
        return _within(self.factor * baseline + self.offset)


def _within(share: float) -> float:
    """The nearest share that is neither 0 nor 1."""
    return _TINY if share < _TINY else 1.0 - _TINY if share > 1.0 - _TINY else share


@cache
def prior(count: int) -> Array:
    """Weights of the bets, the smallest shift first: small shifts are what the time is needed for."""
    weights: Array = np.maximum(0.65 ** np.arange(count), 0.02)
    weights /= weights.sum()
    weights.setflags(write=False)
    return weights


def bets(smallest: Array) -> Array:
    """Shifts in log-odds to bet on, one row for each smallest shift that matters: evenly spaced on a logarithmic scale
    from 0.7 of it."""
    low = np.clip(0.7 * smallest, 1e-3, _LARGEST_SHIFT / 2.0)[..., None]
    return np.asarray(low * (_LARGEST_SHIFT / low) ** np.linspace(0.0, 1.0, BETS))


def cap(alpha: float, intervals: int) -> float:
    """The most that one interval may add, in nats, so that a breach takes at least so many intervals, and an outage no
    more than that."""
    needed = math.log(1.0 / alpha)
    usual = (needed + _CAP_SLACK) / max(1, intervals)
    return usual if intervals < 2 else min(usual, _JUST_SHORT * needed / (intervals - 1))


def log_evidence(
    nc: Array,
    xc: Array,
    nb: Array,
    xb: Array,
    *,
    line: Line,
    share: Array,
    phi_c: Array,
    phi_b: Array,
    shifts: Array,
) -> Array:
    """Logarithm of the evidence of one stratum against the limit, for each bet.

    ``nc, xc, nb, xb``: requests and bad ones of candidate and baseline; ``share``: the baseline's share of bad events
    expected beforehand; ``phi_*``: how much more the counts vary than coin flips do (at least 1). ``shifts``:
    log-odds beyond the limit that are bet on; negative ones bet that the candidate is within, and give evidence for
    that. All shapes that broadcast to that of the bets will do. Zero where an arm that is needed has no events.
    """
    if not line.relative:
        limit = line.at(0.0)
        qc = _bet(math.log(limit / (1.0 - limit)), shifts)
        return _log_wealth(nc, xc, phi_c, qc / limit - 1.0, 1.0 - (1.0 - qc) / (1.0 - limit))
    qb = np.minimum(np.maximum(share, _TINY), 1.0 - _TINY)
    limits = np.minimum(np.maximum(line.factor * qb + line.offset, _TINY), 1.0 - _TINY)
    mc, mb = nc / phi_c, np.maximum(nb / phi_b, _TINY)
    qc = _bet(np.log(limits / (1.0 - limits)), shifts)
    tb, tc = _margin_point(mc, mb, qc, qb, line)
    ub, uc = 1.0 - tb, 1.0 - tc
    stake_c = (qc - tc) / (tc * uc)
    stake_b = stake_c * mc / mb * -line.factor
    good_b, bad_b = stake_b * tb, stake_b * ub
    scale = _MOST_STAKED / np.maximum(np.maximum(good_b, -bad_b), _MOST_STAKED)
    stake_c = stake_c * scale
    value = _log_wealth(nc, xc, phi_c, stake_c * uc, stake_c * tc)
    value += _log_wealth(nb, xb, phi_b, bad_b * scale, good_b * scale)
    value[np.broadcast_to(nb, value.shape) <= 0.0] = 0.0
    return value


def _bet(log_odds: Array | float, shifts: Array) -> Array:
    """The candidate's share of bad events that is bet on."""
    return np.asarray(1.0 / (1.0 + np.exp(-(log_odds + shifts))))


def _log_wealth(n: Array, x: Array, phi: Array, gain: Array, loss: Array) -> Array:
    """What the events of one arm bring: every bad one pays ``gain``, every good one costs ``loss``."""
    return np.asarray((x * np.log1p(gain) + (n - x) * np.log1p(-loss)) / phi)


def _margin_point(mc: Array, mb: Array, qc: Array, qb: Array, line: Line) -> tuple[Array, Array]:
    """The pair of shares on the limit's line that is nearest to the bet, weighted by information: (baseline's,
    candidate's). Three fixed-point steps; how near it is costs power, never validity."""
    a, d = line.factor, line.offset
    low, high = max(_TINY, (_TINY - d) / a), min(1.0 - _TINY, (1.0 - _TINY - d) / a)
    weight_c = a * a * mc
    pull_b, pull_c = mb * qb, a * mc * (qc - d)
    tb = (pull_b + pull_c) / (mb + weight_c)
    for _ in range(2):
        tb = np.minimum(np.maximum(tb, low), high)
        tc = a * tb + d
        vb, vc = tb * (1.0 - tb), tc * (1.0 - tc)
        tb = (pull_b * vc + pull_c * vb) / (mb * vc + weight_c * vb)
    tb = np.minimum(np.maximum(tb, low), high)
    return tb, a * tb + d


def _binary_divergence(p: float, q: float) -> float:
    """Kullback–Leibler divergence of two shares, in nats."""
    p, q = _within(p), _within(q)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def divergence(
    candidate: float, baseline: float, line: Line, *, ratio: float, phi_c: float = 1.0, phi_b: float = 1.0
) -> float:
    """Nats that one candidate request brings on average against the limit, when it is broken (or for it, when not).

    ``ratio``: candidate requests for one of the baseline.
    """
    if not line.relative:
        return _binary_divergence(candidate, line.at(0.0)) / phi_c
    if candidate == line.at(baseline):
        return 0.0
    point = _nearest(candidate, baseline, line, ratio, phi_c, phi_b)
    return _binary_divergence(candidate, line.at(point)) / phi_c + _binary_divergence(baseline, point) / (ratio * phi_b)


def _nearest(candidate: float, baseline: float, line: Line, ratio: float, phi_c: float, phi_b: float) -> float:
    """The baseline's share at the point of the limit that is nearest to both arms."""
    a, d = line.factor, line.offset
    least, most = max(_TINY, (_TINY - d) / a), min(1.0 - _TINY, (1.0 - _TINY - d) / a)
    low, high = sorted(min(max(end, least), most) for end in (baseline, (candidate - d) / a))
    # Where the sum's slope is zero, times t(1 - t) and the limit's own l(1 - l): a cubic in the baseline's share t.
    p0, p1, p2 = d * (1.0 - d), a * (1.0 - 2.0 * d), -a * a
    k, e = a * ratio * phi_b, d - candidate
    c3, c2 = phi_c * p2 - k * a, phi_c * (p1 - baseline * p2) + k * (a - e)
    c1, c0 = phi_c * (p0 - baseline * p1) + k * e, -phi_c * baseline * p0
    point = (phi_c * baseline - k * e) / (phi_c + k * a)  # as if both arms scattered alike
    point = point if low < point < high else (low + high) / 2.0
    for _ in range(_STEPS_TO_ROOT):
        value = ((c3 * point + c2) * point + c1) * point + c0
        low, high = (point, high) if value < 0.0 else (low, point)
        slope = (3.0 * c3 * point + 2.0 * c2) * point + c1
        guess = point - value / slope if slope > 0.0 else low
        last, point = point, guess if low < guess < high else (low + high) / 2.0
        if abs(point - last) <= _NEAR_ENOUGH**2 * point:
            break
    return point


def needed_to_breach(nats: float, alpha: float) -> float:
    """Candidate requests after which four of five candidates that bring so many nats a request are caught.

    The evidence is a walk whose variance is twice its drift (both in nats, for small effects), so that after a drift
    of x nats four of five walks are above ``x - 0.84·√(2x)``; this solves for the level that is needed.
    """
    level = math.log(1.0 / alpha) + _NATS_OF_MIXING
    root = (_FOUR_IN_FIVE * math.sqrt(2.0) + math.sqrt(2.0 * _FOUR_IN_FIVE**2 + 4.0 * level)) / 2.0
    return root * root / max(nats, 1e-15)


def needed_to_prove(nats: float, beta: float) -> float:
    """Candidate requests after which four of five candidates that bring so many nats a request are proven."""
    return (math.log(1.0 / beta) + _NATS_TO_PROVE) / max(nats, 1e-15)


def smallest_seen(
    requests: float,
    baseline: float,
    line: Line,
    *,
    alpha: float,
    ratio: float,
    phi_c: float = 1.0,
    phi_b: float = 1.0,
) -> float | None:
    """The smallest share of bad events of a candidate that four of five times is caught within so many of its
    requests; None when not even a candidate that fails always is."""
    low, high = line.at(baseline), 1.0 - _TINY
    if requests <= 0.0 or low >= high:
        return None
    enough = needed_to_breach(1.0, alpha) / requests
    spread = phi_c * low * (1.0 - low) + line.factor**2 * ratio * phi_b * baseline * (1.0 - baseline)
    share = min(low + math.sqrt(2.0 * enough * spread), (low + high) / 2.0)
    for _ in range(_STEPS_TO_ROOT):  # Newton's, on the root of the nats: of a share's distance nearly a straight line
        point = _nearest(share, baseline, line, ratio, phi_c, phi_b) if line.relative else baseline
        limit = line.at(point)
        nats = _binary_divergence(share, limit) / phi_c
        if line.relative:
            nats += _binary_divergence(baseline, point) / (ratio * phi_b)
        low, high = (share, high) if nats < enough else (low, share)
        slope = (math.log(share / (1.0 - share)) - math.log(limit / (1.0 - limit))) / phi_c
        guess = share - 2.0 * (nats - math.sqrt(nats * enough)) / slope if slope > 0.0 else low
        if guess >= 1.0 and divergence(1.0 - _TINY, baseline, line, ratio=ratio, phi_c=phi_c, phi_b=phi_b) < enough:
            return None
        last, share = share, guess if low < guess < high else (low + high) / 2.0
        if abs(share - last) <= _NEAR_ENOUGH * (share - limit):
            break
    return share
