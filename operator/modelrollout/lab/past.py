"""What is known of the baseline before the candidate's first interval: its noise floor and its rate.

Also the reading of histograms for many runs at once, which the past and the runner share.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelrollout.gates import noise, sequential
from modelrollout.gates.eprocess import Array
from modelrollout.lab.columns import BASELINE, Recording
from modelrollout.lab.policy import Bound, Buckets

__all__ = ["UNKNOWN", "first_state", "quantiles", "slower", "taught"]

UNKNOWN: Final = -1.0
"""Stands for a noise floor that history is too short to tell."""
_FEWEST: Final = 30
_SHORTEST: Final = 3600.0
_EPSILON: Final = 1e-6


def first_state(bound: Bound, history: Recording | None, runs: int, floor: float | None = None) -> sequential.State:
    """A gate's state before the first interval. ``floor``: κ²·Δt in seconds instead of what history shows."""
    if history is None or not len(history.times):
        return sequential.start(runs, floor=floor)
    total, bad, floors = taught(bound, history)
    if floor is not None:
        floors = np.full(runs, floor)
    fading = sequential.MEMORY ** np.arange(len(history.times))[::-1]
    requests, faded = (np.nan_to_num(total) * fading).sum(axis=1), (bad * fading).sum(axis=1)
    split = floor is not None or history.halves(bound.source.columns) is not None
    unknown = sequential.start(runs, requests=requests, bad=faded)
    known = sequential.start(runs, floor=np.maximum(floors, 0.0), split=split, requests=requests, bad=faded)
    return known.rows(floors >= 0.0, unknown)


def taught(bound: Bound, history: Recording) -> tuple[Array, Array, Array]:
    """What the baseline's history teaches a gate: requests (NaN where there is no data) and bad ones, of shape (runs,
    T), and κ²·Δt in seconds of each run (:data:`UNKNOWN` where history is too short)."""
    total, bad = _counted(bound, history.counts(BASELINE, bound.source.columns))
    return total, bad, _floors(bound, history, total, bad)


def _counted(bound: Bound, counts: list[Array]) -> tuple[Array, Array]:
    """Requests (NaN where there is no data) and bad ones of the baseline, of shape (runs, T)."""
    if not isinstance(bound.source, Buckets):
        events, total = bound.source.counted(counts)
        return total, np.nan_to_num(total - events if bound.test.good else events)
    stacked = np.nan_to_num(np.stack(counts, axis=2))
    limit, runs = bound.test.limit, len(stacked)
    limits = np.full(runs, limit.offset)
    if limit.relative:
        limits = limits + limit.factor * quantiles(stacked.sum(axis=1), bound.source, bound.test.quantile or 0.0)
    flat = stacked.reshape(-1, stacked.shape[2])
    slow, _ = slower(flat, bound.source, np.repeat(np.where(np.isfinite(limits), limits, np.inf), stacked.shape[1]))
    return counts[-1], slow.reshape(stacked.shape[:2])


def _floors(bound: Bound, history: Recording, total: Array, bad: Array) -> Array:
    seconds, good = history.interval, bound.test.good
    found = np.full(len(total), UNKNOWN)
    if len(history.times) * seconds < _SHORTEST - _EPSILON:
        return found
    halves = history.halves(bound.source.columns)
    sides = None if halves is None else [_counted(bound, side) for side in halves]
    for i in range(len(total)):
        if (np.nan_to_num(total[i]) > 0.0).sum() < _FEWEST:
            continue
        if sides is not None:
            (n1, x1), (n2, x2) = sides
            found[i] = noise.between_halves(
                np.nan_to_num(n1[i]), x1[i], np.nan_to_num(n2[i]), x2[i], seconds, good=good
            )
        else:
            found[i] = noise.within_series(np.nan_to_num(total[i]), bad[i], seconds, good=good)
    return found


def slower(counts: Array, source: Buckets, limits: Array) -> tuple[Array, Array]:
    """Requests slower than the limit: beyond doubt (than the bound at or above it), and with every doubt."""
    bounds = np.array(source.bounds)
    above = np.searchsorted(bounds, limits - 1e-12)
    below = np.searchsorted(bounds, limits + 1e-12, side="right") - 1
    rows = np.arange(len(counts))
    total = counts[:, -1]
    within = counts[rows, np.minimum(above, len(bounds) - 1)]
    surely = np.where(below >= 0, counts[rows, np.maximum(below, 0)], 0.0)
    return np.asarray(total - within), np.asarray(total - surely)


def quantiles(counts: Array, source: Buckets, quantile: float) -> Array:
    """A quantile in seconds by linear interpolation inside its bucket, for each run; NaN without requests.

    Source: the documented behaviour of PromQL's ``histogram_quantile`` for classic histograms.
    """
    total = counts[:, -1]
    rank = quantile * total
    inside = np.argmax(counts >= rank[:, None], axis=1)
    bounds = np.array(source.bounds)
    rows = np.arange(len(counts))
    low = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0)
    under = np.where(inside > 0, counts[rows, np.maximum(inside - 1, 0)], 0.0)
    held = counts[rows, inside] - under
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(held > 0.0, (rank - under) / held, 1.0)
        found = np.where(np.isfinite(bounds[inside]), low + (bounds[inside] - low) * part, low)
    return np.asarray(np.where(total > 0.0, found, np.nan))
