"""A gate's state after the intervals that were read: which of them count, where a step begins, when a look is taken.

What is folded depends on nothing but the spans and the counts, so that evidence that is read again, all at once, makes
the very state that it made little by little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from modelrollout.api.gate import Gate
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import ModelRolloutStatus, Span
from modelrollout.engine.gate_tests import compiled, is_relative
from modelrollout.engine.looking import begins_step, is_judged, lag_of, place_of, stay_of
from modelrollout.engine.model import Ahead, Measurement
from modelrollout.gates.base import GateTest
from modelrollout.gates.evidence import Interval
from modelrollout.gates.rate import RateTest
from modelrollout.gates.together import Job, fold_together

__all__ = ["Folder", "fold_ahead", "folded"]


@dataclass(slots=True)
class Folder:
    """Folds one gate's intervals; the first one may have been folded already, together with other rollouts'."""

    test: GateTest[Any]
    checkpoint: str
    """The state before, as text; empty for a fresh one."""
    ahead: Ahead | None = None

    def fold(self, state: Any, interval: Interval, *, judged: bool) -> Any:
        """The state after one more interval."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None and ahead.fits(self.test, self.checkpoint, interval, judged=judged):
            return ahead.state
        return self.test.fold(state, interval, judged=judged)

    def end_hold(self, state: Any) -> Any:
        """The state after a planned look."""
        self.ahead = None
        return self.test.end_hold(state)

    def begin_step(self, state: Any) -> Any:
        """The state when another weight begins."""
        self.ahead = None
        return self.test.begin_step(state)


def fold_ahead(
    those: Sequence[tuple[ModelRolloutSpec, ModelRolloutStatus, Measurement]],
) -> list[dict[str, Ahead]]:
    """What the next decisions about some rollouts will most likely fold, folded at once: by gate for each rollout.

    A guess that is wrong costs a little time: :class:`Folder` takes only what is exactly what it would do itself.
    """
    jobs: list[tuple[int, str, str, Job]] = []
    for number, (spec, status, measurement) in enumerate(those):
        jobs += [(number, *one) for one in _likely(spec, status, measurement)]
    try:
        states = fold_together([job for *_, job in jobs])
    except TypeError:  # whoever brings the wrong kind of evidence is told by its own decision
        return [{} for _ in those]
    found: list[dict[str, Ahead]] = [{} for _ in those]
    for (number, gate, checkpoint, job), state in zip(jobs, states, strict=True):
        found[number][gate] = Ahead(job.test, checkpoint, job.interval, job.judged, state)
    return found


def _likely(
    spec: ModelRolloutSpec, status: ModelRolloutStatus, measurement: Measurement
) -> Iterator[tuple[str, str, Job]]:
    """One more interval of each gate over counts, judged unless labels are still coming in."""
    known = {gate.name: gate.checkpoint for gate in status.gates}
    stay = stay_of(status.spans)
    for gate in spec.gates:
        seen, checkpoint = measurement.gates.get(gate.name), known.get(gate.name, "")
        if seen is None or len(seen.intervals) != 1 or not checkpoint or gate.kind not in ("ratio", "latency"):
            continue
        interval = seen.intervals[0]
        if seen.problem is not None or not stay or not _has_data(interval, gate):
            continue
        test = compiled(gate, spec)
        assert isinstance(test, RateTest)
        if status.weight == 100:
            interval = replace(interval, baseline=None, halves=None)
        try:
            state = test.load(checkpoint)
        except ValueError:
            continue
        judged = interval.start >= stay[0].start + lag_of(gate)
        yield gate.name, checkpoint, Job(test, state, interval, judged)


def folded(
    folder: Folder, state: Any, gate: Gate, intervals: Sequence[Interval], spans: list[Span], *, resumed: bool
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
            state, looks = folder.end_hold(state), looks[1:]
        if begins_step(spans, before, place):
            state = folder.begin_step(state)
        before = place
        judged = is_judged(spans, place, interval.start, lag)
        alone = spans[place].weight == 100
        state = folder.fold(state, replace(interval, baseline=None, halves=None) if alone else interval, judged=judged)
        covered += (interval.end - interval.start).total_seconds() if judged and place >= stay else 0.0
    for _ in looks:
        state = folder.end_hold(state)
    return state, covered


def _looks_after(spans: list[Span], begin: datetime) -> list[datetime]:
    """When planned looks were taken after some instant."""
    return [span.looked_at for span in spans if span.looked_at is not None and span.looked_at > begin]


def _place_before(spans: list[Span], begin: datetime) -> int:
    """The place of the span that was judged before some instant; -1 when there was none."""
    return max((n for n, span in enumerate(spans) if span.start < begin), default=-1)


def _has_data(interval: Interval, gate: Gate) -> bool:
    return interval.candidate is not None and not (is_relative(gate) and interval.baseline is None)
