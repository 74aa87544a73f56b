"""The breach that one interval is enough for: half the requests fail.

It must not wait for a second interval, so nothing guards it against chance but its own size: the share has to be far
beyond the baseline's, by more nats than chance and the noise floor give in all the looks of a long rollout together.

On arrays with a leading axis of runs, as everything in :mod:`modelrollout.gates.sequential`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates.eprocess import Array

__all__ = ["catastrophic"]

_TIMES_THE_BASELINE: Final = 2.0
_NATS: Final = 16.0
"""e^-16 at each of the 5,760 looks of a day, and twice that between two looks: 0.2 %, a part of falseRollbackRate that
its default has room for."""
_SMALLEST: Final = 1e-6


def catastrophic(
    nc: Array, xc: Array, nb: Array, xb: Array, *, share: float, requests: int, expected: Array, floor: Array
) -> NDArray[np.bool_]:
    """Where one interval shows so many bad events of the candidate that no more need be waited for.

    ``nc, xc, nb, xb``: requests and bad ones of both arms; ``share`` and ``requests``: how bad and how many there must
    be; ``expected``: the baseline's share of bad events so far; ``floor``: κ² of an interval of this length. The
    candidate must fail at least twice as often as the baseline, now and before: a dependency that is down for both is
    no reason to roll back.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(nc > 0.0, xc / nc, 0.0)
        base = np.maximum(expected, np.where(nb > 0.0, xb / nb, 0.0))
        base = np.clip(base, _SMALLEST, 1.0 - _SMALLEST)
        bounded = np.clip(rate, _SMALLEST, 1.0 - _SMALLEST)
        nats = bounded * np.log(bounded / base) + (1.0 - bounded) * np.log((1.0 - bounded) / (1.0 - base))
        burst = 1.0 + nc * floor * base / (1.0 - base)
        beyond = (rate > share) & (nc >= requests) & (rate >= _TIMES_THE_BASELINE * base)
        return np.asarray(beyond & (nc * nats / burst >= _NATS))
