"""How much burstier than coin flips a rate is: the noise floor. Pure numerics.

Requests come in sessions, caches warm up, a pod stutters: the share of bad events wanders from interval to interval
more than independent events would make it. A test that does not know this rolls back good models. So the excess is
measured on the baseline against itself and enters every test as the factor ``φ = 1 + n·τ²/(p(1-p))`` by which counts
vary more than a binomial.

The floor is kept as relative variance times time, ``κ²·Δt`` in seconds: for intervals that are independent of each
other this product is the same for every interval's length. Where they are not (a slow wander), long batches show more
than short ones; the largest of several batch lengths is taken.

Two ways to measure it. Where the baseline's pods can be told apart, two halves are compared: what hits both at once
(a dependency that fails) cancels, as it does between the arms of a rollout. Where they cannot, the series is compared
with itself by second differences, which a steady drift does not disturb; what would have hit both arms alike counts as
noise then, which costs time to see harm and never a good model.

Source of the quasi-binomial factor: P. McCullagh, J. Nelder, "Generalized Linear Models" (1989), §4.5.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from modelrollout.gates.eprocess import Array

__all__ = ["UNKNOWN", "between_halves", "dispersion", "dispersion_of_one", "unknown", "within_series"]

UNKNOWN: Final = 9.0
"""κ²·Δt in seconds that is assumed, to begin with, of a service of which nothing is known: a coefficient of variation
of 0.77 in each interval of 15 s. It fades as the rollout itself teaches (docs/statistics.md says what that costs)."""
UNKNOWN_IN_ONE: Final = 0.6
"""The most κ² that is assumed of one interval, however short."""
_BATCHES: Final = (1, 4, 16, 64)
_FEWEST: Final = 6
_SIGNIFICANT: Final = 2.0


def unknown(seconds: float) -> float:
    """κ²·Δt in seconds that is assumed, to begin with, of a service of which nothing is known."""
    return min(UNKNOWN, UNKNOWN_IN_ONE * seconds)


def dispersion(requests: Array, events: Array | float, share: Array | float, floor: Array | float) -> Array:
    """The factor φ ≥ 1 for an arm with so many requests in one stratum.

    ``events``: expected share of the events that are counted; ``share``: expected share of bad events; ``floor``: κ²
    of a stratum of this length.
    """
    variance = np.maximum(np.asarray(share) * (1.0 - np.asarray(share)), 1e-12)
    return np.asarray(1.0 + requests * floor * np.square(events) / variance)


def dispersion_of_one(requests: float, event: float, share: float, floor: float) -> float:
    """The same for a single arm, without arrays."""
    return 1.0 + requests * floor * (event * event) / max(share * (1.0 - share), 1e-12)


def between_halves(n1: Array, x1: Array, n2: Array, x2: Array, seconds: float, *, good: bool = False) -> float:
    """κ²·Δt from two halves of the baseline over intervals of ``seconds``; 0 where nothing significant is seen.

    All of shape (intervals,); ``x``: bad events; ``good``: whether the events that are counted are the good ones.
    """
    found = []
    event = _event_share(n1 + n2, x1 + x2, good)
    for size in _BATCHES:
        m1, m2 = _batched(n1, size), _batched(n2, size)
        y1, y2 = _batched(x1, size), _batched(x2, size)
        seen = (m1 > 0.0) & (m2 > 0.0)
        if seen.sum() < _FEWEST or event <= 0.0:
            continue
        m1, m2, y1, y2 = m1[seen], m2[seen], y1[seen], y2[seen]
        spread = 1.0 / m1 + 1.0 / m2
        found.append(_excess(np.square(y1 / m1 - y2 / m2), spread, size, n1 + n2, x1 + x2, event))
    return _over_any_time(found) * seconds


def within_series(n: Array, x: Array, seconds: float, *, good: bool = False) -> float:
    """κ²·Δt from one series of the baseline, by second differences of batches; see :func:`between_halves`."""
    found = []
    event = _event_share(n, x, good)
    for size in _BATCHES:
        m, y = _batched(n, size), _batched(x, size)
        m, y = _triples(m), _triples(y)
        seen = (m > 0.0).all(axis=1)
        if seen.sum() < _FEWEST or event <= 0.0:
            continue
        m, y = m[seen], y[seen]
        rate = y / m
        bend = np.square(rate[:, 0] - 2.0 * rate[:, 1] + rate[:, 2]) / 3.0
        spread = (1.0 / m[:, 0] + 4.0 / m[:, 1] + 1.0 / m[:, 2]) / 3.0
        found.append(_excess(bend, spread, size, n, x, event, repeated=3.0, doubt=2.0))
    return _over_any_time(found) * seconds


def _over_any_time(found: list[tuple[float, float]]) -> float:
    """The largest of the careful estimates for each batch length, and a third of what the longest adds to the one
    before: where noise that is correlated for a while falls short by an amount that is inverse to the batch's length,
    batches four times as long fall short by a quarter of it."""
    if not found:
        return 0.0
    growing = found[-1][0] - found[-2][0] if len(found) > 1 and found[-2][0] > 0.0 else 0.0
    return max(careful for _, careful in found) + max(growing, 0.0) / 3.0


def _triples(values: Array) -> Array:
    """Every three successive values; each value is in up to three of them."""
    if len(values) < 3:
        return np.zeros((0, 3))
    return np.stack([values[:-2], values[1:-1], values[2:]], axis=1)


def _event_share(n: Array, x: Array, good: bool) -> float:
    total = float(n.sum())
    bad = float(x.sum()) / total if total > 0.0 else 0.0
    return 1.0 - bad if good else bad


def _batched(values: Array, size: int) -> Array:
    count = len(values) // size
    return np.asarray(values[: count * size].reshape(count, size).sum(axis=1))


def _excess(
    squares: Array,
    spread: Array,
    size: int,
    n: Array,
    x: Array,
    event: float,
    *,
    repeated: float = 1.0,
    doubt: float = 1.0,
) -> tuple[float, float]:
    """κ² of one interval, and so many standard errors above it, from squared differences of batches; 0 when it is not
    significant. ``spread``: what a binomial of variance 1 would give each square; ``repeated``: how often each batch is
    used."""
    bad = float(x.sum()) / float(n.sum())
    weights = 1.0 / spread
    over = squares - bad * (1.0 - bad) * spread
    mean = float(np.average(over, weights=weights))
    error = math.sqrt(repeated * float(np.square(weights * (over - mean)).sum())) / float(weights.sum())
    if mean <= _SIGNIFICANT * error:
        return 0.0, 0.0
    unit = size / (2.0 * event * event)
    return unit * mean, unit * (mean + doubt * error)
