"""The sample-ratio check: did the traffic really split as asked?

A comparison of two arms means nothing when the gateway sends them other shares than asked (retries that land on the
other arm, sticky sessions, callers that bypass the route). Looked at at every interval, so it asks for five standard
errors and a difference that matters.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["split_differs"]

_STANDARD_ERRORS: Final = 5.0
_TOLERATED_SHARE: Final = 0.02
_MIN_REQUESTS: Final = 200


def split_differs(candidate: float, baseline: float, *, weight: int) -> bool:
    """Whether the observed counts contradict the asked weight (percent) of the candidate."""
    total = candidate + baseline
    if total < _MIN_REQUESTS:
        return False
    asked = weight / 100.0
    error = math.sqrt(max(asked * (1.0 - asked), 1.0 / total) / total)
    return abs(candidate / total - asked) > _TOLERATED_SHARE + _STANDARD_ERRORS * error
