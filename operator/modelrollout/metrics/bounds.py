"""Which buckets a histogram has, found out once per revision: a revision's bounds do not change while it lives.

A latency with a fixed limit needs the two bounds around it and a few to show, not all twenty or hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from modelrollout.api.memo import once
from modelrollout.metrics.base import Arm
from modelrollout.metrics.batch import Batch
from modelrollout.metrics.buckets import around
from modelrollout.metrics.readings import HistogramReading, absolute_limit, owner, want
from modelrollout.metrics.snapshot import Kind, Snapshot, Want

__all__ = ["Bounds"]

_KEPT: Final = 16_384
"""Histograms of revisions: of a thousand rollouts with a handful of such gates each. Fewer, and they would be asked for
at every look."""
_KNOWN_FOR: Final = timedelta(minutes=10)


class Bounds:
    """Remembers the bounds of each revision's histograms."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._known: dict[tuple[Want, str, str], tuple[datetime, frozenset[str]]] = {}

    async def around_limit(
        self, reading: HistogramReading, arms: Sequence[Arm], at: datetime, step: timedelta
    ) -> tuple[str, ...]:
        """The buckets to read, as written; nothing when all are needed, or when no bounds are known yet.

        Raises
        ------
        SourceDownError, RefusedQueryError, NotYetError
        """
        limit = absolute_limit(reading.gate)
        if limit is None:
            return ()
        asked = _question(reading)
        keys = [(asked, arm.namespace, owner(reading.gate, arm)) for arm in arms]
        if any(key not in self._known or not -_KNOWN_FOR <= at - self._known[key][0] <= _KNOWN_FOR for key in keys):
            found = await self._batch.at((asked,), arms[0].namespace, at, step)
            for key in keys:
                bounds = frozenset().union(*(line.shape.bounds for line in found.of(asked, key[2])))
                if bounds:
                    self._known.pop(key, None)
                    self._known[key] = (at, bounds)
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        known = [self._known[key][1] for key in keys if key in self._known]
        return _around(frozenset().union(*known), limit, reading.unit) if known else ()

    def forget_if_changed(self, reading: HistogramReading, after: Snapshot, arms: Sequence[Arm]) -> None:
        """Find out anew when an arm does not have the buckets it was thought to have."""
        for arm in arms:
            key = (_question(reading), arm.namespace, owner(reading.gate, arm))
            known = self._known.get(key)
            if known is None or not reading.bounds:
                continue
            wanted = known[1].intersection(reading.bounds)
            found = reading.buckets_of(after, arm)
            if found and not wanted <= found:
                del self._known[key]


_around = lru_cache(maxsize=256)(around)


@once
def _question(reading: HistogramReading) -> Want:
    return want(reading.gate, reading.selector, "_bucket", kind=Kind.BOUNDS)
