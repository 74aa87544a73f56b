"""One pod is not the model: whether a breach is carried by a single pod of several.

A node with a broken disk, a pod that got a truncated artifact: its users suffer, but another pod of the same model
would not make them. So a breach that one pod alone carries replaces that pod once before it counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from modelrollout.gates.eprocess import Line
from modelrollout.gates.evidence import Counts

__all__ = ["carried_by_one"]

_STANDARD_ERRORS: Final = 3.0
_ITS_PART: Final = 0.8
_FEWEST: Final = 10.0


def carried_by_one(pods: Mapping[str, Counts], line: Line, baseline: float) -> str:
    """Name of the pod that alone carries the candidate beyond the line; empty when it is not one alone.

    ``baseline``: its share of bad events. The others together must be within the limit, the pod must be worse than
    they are by three standard errors, and carry four fifths of what is beyond.
    """
    limit = line.at(baseline)
    known = {name: counts for name, counts in pods.items() if counts.total > 0.0}
    if len(known) < 2:
        return ""
    excess = {name: counts.bad - limit * counts.total for name, counts in known.items()}
    worst = max(excess, key=lambda name: excess[name])
    its = known[worst]
    others = sum((counts for name, counts in known.items() if name != worst), Counts(0.0, 0.0))
    if min(its.total, others.total) < _FEWEST or (others.rate or 0.0) > limit:
        return ""
    beyond = sum(max(0.0, value) for value in excess.values())
    if excess[worst] <= 0.0 or excess[worst] < _ITS_PART * beyond:
        return ""
    pooled = (its.bad + others.bad + 0.5) / (its.total + others.total + 1.0)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / its.total + 1.0 / others.total))
    return worst if (its.rate or 0.0) - (others.rate or 0.0) >= _STANDARD_ERRORS * error else ""
