"""Where the split of a recording changed: the weights of the past, which no column tells.

Labels that come late mislead right after every change of weight, and pods that just got traffic are cold, whoever
changed it. A policy that is replayed has to pass over that time as it would have then.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates.eprocess import Array

__all__ = ["moves"]

_WINDOW: Final = 6
"""Intervals before and after that are compared, by their medians: a burst is no change of weight."""
_LEAST: Final = 0.25
"""The smallest change of the odds, as a logarithm, that is one: from 20 % to 24 %."""
_CLEARLY: Final = 3.0


def moves(candidate: Array, baseline: Array) -> NDArray[np.bool_]:
    """True at each interval with which another split begins; requests of both arms, of shape (T,), NaN where they were
    not recorded."""
    found = np.zeros(len(candidate), dtype=np.bool_)
    known = np.flatnonzero(np.isfinite(candidate) & np.isfinite(baseline))
    if len(known) < 2 * _WINDOW:
        return found
    odds = np.log((candidate[known] + 0.5) / (baseline[known] + 0.5))
    steps = np.abs(np.diff(odds))
    noise = 1.05 * float(np.median(steps))
    jumps = np.zeros(len(odds))
    for t in range(2, len(odds) - 2):
        jumps[t] = np.median(odds[t : t + _WINDOW]) - np.median(odds[max(0, t - _WINDOW) : t])
    clear = np.abs(jumps) > max(_LEAST, _CLEARLY * noise)
    at = 0
    while at < len(odds):
        if not clear[at]:
            at += 1
            continue
        end = at
        while end < len(odds) and clear[end] and np.sign(jumps[end]) == np.sign(jumps[at]):
            end += 1
        first = at + int(np.argmax(steps[at - 1 : end - 1]))
        found[known[first]] = True
        at = end
    return found
