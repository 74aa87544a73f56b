"""A gate's state after the intervals that were read: which of them count, where a step begins, when a look is taken.

What is folded depends on nothing but the spans and the counts, so that evidence that is read again, all at once, makes
the very state that it made little by little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from modelrollout.gates.together import Job, Link, fold_together

__all__ = ["Folder", "fold_ahead", "folded"]


class Folder:
    """Folds one gate's intervals; the first ones may have been folded already, together with other rollouts'."""

    def __init__(self, test: GateTest[Any], state: Any, checkpoint: str, ahead: Ahead | None) -> None:
        """``checkpoint``: the state as text; empty for a fresh one."""
        self._test = test
        self._state = state
        self._checkpoint = checkpoint
        self._ahead = ahead
        self._links: list[Link] = []

    def fold(self, interval: Interval, *, judged: bool) -> None:
        """One more interval."""
        self._links.append(Link(interval, judged))

    def end_hold(self) -> None:
        """A planned look."""
        self._state = self._test.end_hold(self.state())

    def begin_step(self) -> None:
        """Another weight begins."""
        self._state = self._test.begin_step(self.state())

    def state(self) -> Any:
        """The state after all of it."""
        links, self._links = self._links, []
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.fits(self._test, self._checkpoint, links):
            self._state, links = ahead.state, links[len(ahead.links) :]
        for link in links:
            self._state = self._test.fold(self._state, link.interval, judged=link.judged)
        return self._state


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
        found[number][gate] = Ahead(job.test, checkpoint, job.links, state)
    return found


def _likely(
    spec: ModelRolloutSpec, status: ModelRolloutStatus, measurement: Measurement
) -> Iterator[tuple[str, str, Job]]:
    """All that was read of each gate over counts, judged unless labels are still coming in."""
    known = {gate.name: gate.checkpoint for gate in status.gates}
    stay = stay_of(status.spans)
    for gate in spec.gates:
        seen, checkpoint = measurement.gates.get(gate.name), known.get(gate.name, "")
        if seen is None or seen.problem is not None or not checkpoint or gate.kind not in ("ratio", "latency"):
            continue
        intervals = [_of_one_arm(one, status.weight) for one in seen.intervals if _has_data(one, gate)]
        if not stay or not intervals:
            continue
        test = compiled(gate, spec)
        assert isinstance(test, RateTest)
        try:
            state = test.load(checkpoint)
        except ValueError:
            continue
        begin = stay[0].start + lag_of(gate)
        yield gate.name, checkpoint, Job(test, state, tuple(Link(one, one.start >= begin) for one in intervals))


def folded(
    folder: Folder, gate: Gate, intervals: Sequence[Interval], spans: list[Span], *, resumed: bool
) -> tuple[Any, float]:
    """The state after some intervals, and for how many seconds of this stay at this weight there were data to judge.

    ``resumed``: the state is one that was kept, not a fresh one. What lies outside of the spans or has no data leaves
    it as it is.
    """
    if not intervals:
        return folder.state(), 0.0
    stay, lag, begin = len(spans) - len(stay_of(spans)), lag_of(gate), intervals[0].start
    looks = _looks_after(spans, begin)
    before, covered = _place_before(spans, begin) if resumed else -1, 0.0
    for interval in intervals:
        place = place_of(spans, interval.start)
        if place is None or not _has_data(interval, gate):
            continue
        while looks and looks[0] <= interval.start:
            folder.end_hold()
            looks = looks[1:]
        if begins_step(spans, before, place):
            folder.begin_step()
        before = place
        judged = is_judged(spans, place, interval.start, lag)
        folder.fold(_of_one_arm(interval, spans[place].weight), judged=judged)
        covered += (interval.end - interval.start).total_seconds() if judged and place >= stay else 0.0
    for _ in looks:
        folder.end_hold()
    return folder.state(), covered


def _of_one_arm(interval: Interval, weight: int) -> Interval:
    """At 100 % nobody is left to compare with, whoever still answers."""
    return replace(interval, baseline=None, halves=None) if weight == 100 else interval


def _looks_after(spans: list[Span], begin: datetime) -> list[datetime]:
    """When planned looks were taken after some instant."""
    return [span.looked_at for span in spans if span.looked_at is not None and span.looked_at > begin]


def _place_before(spans: list[Span], begin: datetime) -> int:
    """The place of the span that was judged before some instant; -1 when there was none."""
    return max((n for n, span in enumerate(spans) if span.start < begin), default=-1)


def _has_data(interval: Interval, gate: Gate) -> bool:
    return interval.candidate is not None and not (is_relative(gate) and interval.baseline is None)
