"""What a rollout itself teaches about the noise floor of a gate, stratum by stratum. Pure numerics.

History is the better teacher (:mod:`modelrollout.gates.noise`). But a baseline whose pods cannot be told apart shows
also what hits both arms alike, which cancels between the arms and is no noise to a gate; and a service without history
shows nothing. Rates of successive batches are compared here while the rollout runs: between the arms, where what hits
both cancels, and of the baseline alone, which has the more requests and flows during the warm-up too. Every rate is
taken in units of the arm's own mean, so that a constant effect of the candidate is no noise.

Memory is one small table for each gate, in single precision: enough for a variance, and half as long in status.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates import noise
from modelrollout.gates.eprocess import Array

__all__ = ["SERIES", "SPLIT", "Lessons", "believed", "blank", "excusable", "learn"]

Lessons = NDArray[np.float32]
Mask = NDArray[np.bool_]

SPLIT: Final = 2.0
"""Kind of a floor: history compared two halves of the baseline."""
SERIES: Final = 1.0
"""Kind of a floor: history compared the baseline with itself."""

_BATCHES: Final = np.array([1.0, 4.0, 16.0])
"""Lengths of the batches, in intervals."""
_DOUBT: Final = 2.0
"""Standard errors by which what a rollout has learnt is raised."""
_FEWEST_PAIRS: Final = 8.0
_FEWEST_LONG: Final = 4.0
"""Pairs of the longest batches before which their noise is foreseen from that of shorter ones."""
_FADING: Final = 32.0
"""After so many pairs of intervals the doubt of a service without history has halved."""

_COUNTS: Final = slice(0, 5)
_BEFORE: Final = slice(5, 9)
_BETWEEN: Final = slice(9, 13)
_ALONE: Final = slice(13, 16)
_WIDTH: Final = 16
"""Columns for each length: of the batch that is being filled nc, xc, nb, xb and its age; of the batch before the arms'
difference, the baseline's rate and the binomial variances of both rates; of the arms' difference the number of pairs,
Σ weight, Σ weight·excess and Σ (weight·excess)²; of the baseline alone the latter three."""


def blank(runs: int) -> Lessons:
    """Nothing learnt yet."""
    return np.zeros((runs, len(_BATCHES), _WIDTH), dtype=np.float32)


def learn(lessons: Lessons, counts: Array, past: Array, *, good: bool) -> Lessons:
    """What is known after one more stratum.

    ``counts``: nc, xc, nb, xb and age in intervals; ``past``: requests and bad ones of the baseline and of the
    candidate before it, fading; ``good``: whether the events that are counted are the good ones.
    """
    table = lessons.astype(np.float64)
    table[:, :, _COUNTS] += counts[:, None, :]
    batch = table[:, :, _COUNTS]
    full = (batch[:, :, 4] >= _BATCHES) & (batch[:, :, 2] > 0.0)
    if not full.any():
        return table.astype(np.float32)
    before = table[:, :, _BEFORE]
    now = np.nan_to_num(_rates(batch, past, good), nan=0.0, posinf=0.0)  # without requests: no variance, so no pair
    between = _excess(now[..., 0] - before[..., 0], now[..., 2:4].sum(axis=2) + before[..., 2:4].sum(axis=2))
    alone = _excess(now[..., 1] - before[..., 1], now[..., 3] + before[..., 3])
    pair = full & (before[..., 3] > 0.0)
    both = pair & (batch[:, :, 0] > 0.0) & (before[..., 2] > 0.0)
    table[:, :, _BETWEEN] += np.where(both[..., None], np.stack([np.ones_like(between[0]), *between], axis=2), 0.0)
    table[:, :, _ALONE] += np.where(pair[..., None], np.stack(alone, axis=2), 0.0)
    table[:, :, _BEFORE] = np.where(full[..., None], now, before)
    table[:, :, _COUNTS] = np.where(full[..., None], 0.0, batch)
    return table.astype(np.float32)


def believed(lessons: Lessons, history: Array, kind: Array, seconds: float) -> Array:
    """κ²·Δt in seconds as it is believed now.

    ``history``: what it says; ``kind``: where that is from (SPLIT, SERIES, or 0 when there is none). From halves: as
    history says. From a series: the part of it that the rollout shows between its arms. Without history: the most that
    the rollout leaves possible, and doubt that fades. Noise that grows from short batches to longer ones is expected
    to grow as much again, by four at most: batches four times as long cannot be more alike than the same.
    """
    told = lessons[:, :, 9:].astype(np.float64)
    pairs, weight, over, weight_alone, alone = (told[..., i] for i in (0, 1, 2, 4, 5))
    most = np.maximum(over + _DOUBT * np.sqrt(told[..., 3]), 0.0)
    surely = alone > 2.0 * np.sqrt(told[..., 6])
    with np.errstate(divide="ignore", invalid="ignore"):
        compared = (pairs >= _FEWEST_PAIRS) & surely
        parts = np.maximum(most / weight / (2.0 * alone / weight_alone), 1.0 / pairs)
        part = np.select(list(compared.T[::-1]), list(parts.T[::-1]), 1.0)
        one, four, sixteen = np.where(weight > 0.0, _BATCHES * most / weight / 4.0, 0.0).T
        grown = np.where(pairs[:, 2] < _FEWEST_LONG, np.fmin(np.square(four) / one, 4.0 * four), 0.0)
        longer = np.fmin(np.square(sixteen) / four, 4.0 * sixteen)
        known = np.fmax(np.maximum(np.maximum(one, four), sixteen), np.fmax(grown, longer))
    doubt = noise.unknown(seconds) * _FADING / (_FADING + pairs[:, 0])
    shown = known * seconds + doubt
    series = np.where(part < 0.5, np.minimum(history * part, shown), history)
    return np.asarray(np.where(kind == SPLIT, history, np.where(kind == SERIES, series, shown)))


def excusable(lessons: Lessons, seconds: float) -> Array:
    """κ²·Δt in seconds that may at most excuse one interval of the candidate where there is no history: what is assumed
    of a service of which nothing is known, or what the baseline alone has shown. What the candidate did stays out: its
    first bad moment would be a lesson in noise, and excuse the moments after it.
    """
    weight, over, squares = (lessons[:, :, 13 + i].astype(np.float64) for i in range(3))
    most = np.maximum(over + _DOUBT * np.sqrt(squares), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.where(weight > 0.0, _BATCHES * most / weight / 2.0, 0.0).max(axis=1)
    return np.asarray(np.maximum(noise.unknown(seconds), shown * seconds))


def _rates(batch: Array, past: Array, good: bool) -> Array:
    """The arms' difference, the baseline's rate, and the binomial variances of both rates, each rate of the events
    that are counted in units of what the arm has shown so far; of a candidate with fewer of them than the baseline, in
    the baseline's, because its own few would make any noise seem possible."""
    shares = [((past[:, bad] + 0.5) / (past[:, requests] + 1.0))[:, None] for requests, bad in ((2, 3), (0, 1))]
    units = [1.0 - share if good else share for share in shares]
    units[0] = np.maximum(units[0], units[1])
    rates, spreads = [], []
    for share, unit, n, x in zip(shares, units, (0, 2), (1, 3), strict=True):
        events = batch[..., n] - batch[..., x] if good else batch[..., x]
        rates.append(events / batch[..., n] / unit)
        spreads.append(share * (1.0 - share) / np.square(unit) / batch[..., n])
    return np.stack([rates[0] - rates[1], rates[1], *spreads], axis=2)


def _excess(difference: Array, spread: Array) -> tuple[Array, Array, Array]:
    """Weight of a pair of batches, and its weighted excess over the binomial, as it is and squared."""
    weight = 1.0 / spread
    excess = weight * (np.square(difference) - spread)
    return weight, excess, np.square(excess)
