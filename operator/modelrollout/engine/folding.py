"""A gate's state after the intervals that were read: which of them count, where a step begins, when a look is taken.

What is folded depends on nothing but the spans and the counts, so that evidence that is read again, all at once, makes
the very state that it made little by little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from modelrollout.api.gate import Gate
from modelrollout.api.status import Span
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.looking import begins_step, is_judged, lag_of, place_of, stay_of
from modelrollout.gates.base import GateTest
from modelrollout.gates.evidence import Interval

__all__ = ["folded"]


def folded(
    test: GateTest[Any], state: Any, gate: Gate, intervals: Sequence[Interval], spans: list[Span], *, resumed: bool
) -> tuple[Any, float]:
    """The state after some intervals, and for how many seconds of this stay at this weight there were data to judge.

    ``resumed``: the state is one that was kept, not a fresh one. What lies outside of the spans or has no data leaves
    it as it is.
    """
    if not intervals:
        return state, 0.0
    stay, lag, begin = len(spans) - len(stay_of(spans)), lag_of(gate), intervals[0].start
    looks = _looks_after(spans, begin)
    before, covered = _place_before(spans, begin) if resumed else -1, 0.0
    for interval in intervals:
        place = place_of(spans, interval.start)
        if place is None or not _has_data(interval, gate):
            continue
        while looks and looks[0] <= interval.start:
            state, looks = test.end_hold(state), looks[1:]
        if begins_step(spans, before, place):
            state = test.begin_step(state)
        before = place
        judged = is_judged(spans, place, interval.start, lag)
        alone = spans[place].weight == 100
        state = test.fold(state, replace(interval, baseline=None, halves=None) if alone else interval, judged=judged)
        covered += (interval.end - interval.start).total_seconds() if judged and place >= stay else 0.0
    for _ in looks:
        state = test.end_hold(state)
    return state, covered


def _looks_after(spans: list[Span], begin: datetime) -> list[datetime]:
    """When planned looks were taken after some instant."""
    return [span.looked_at for span in spans if span.looked_at is not None and span.looked_at > begin]


def _place_before(spans: list[Span], begin: datetime) -> int:
    """The place of the span that was judged before some instant; -1 when there was none."""
    return max((n for n, span in enumerate(spans) if span.start < begin), default=-1)


def _has_data(interval: Interval, gate: Gate) -> bool:
    return interval.candidate is not None and not (is_relative(gate) and interval.baseline is None)
