"""Python's garbage collector, told what kind of program this is.

Nearly everything here dies by its last reference; few objects stand in circles. But every answer of Prometheus makes a
hundred thousand objects at once, which the collector takes for a leak: it went through all that lives several times in
each look at a few hundred rollouts.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["calm"]

_NEW: Final = 100_000
"""Containers that are made, and not gone, before the youngest are searched; some 20 MB."""
_OFTEN: Final = 10
_WHOLE: Final = 50
"""Searches of the younger before one of the older."""


def calm() -> None:
    """What was made at the start lives as long as the process, and is not searched any more; the rest rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW, _OFTEN, _WHOLE)
