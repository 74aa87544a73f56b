"""The gates of many rollouts folded at once.

What a fold costs is calls of numpy, each of which takes a thousand runs in the time of one. The results are bit for bit
those of :meth:`modelrollout.gates.rate.RateTest.fold`: every operation on a run is the same, whoever stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelrollout.gates import sequential
from modelrollout.gates.evidence import Interval
from modelrollout.gates.lessons import SPLIT
from modelrollout.gates.packed import pack_all
from modelrollout.gates.rate import RateState, RateTest, Worked, keep
from modelrollout.gates.sequential import Conclusions, Design, Slot, State

__all__ = ["Job", "fold_together"]


@dataclass(frozen=True, slots=True)
class Job:
    """A state and what is to be folded into it; see :meth:`modelrollout.gates.rate.RateTest.fold`."""

    test: RateTest
    state: RateState
    interval: Interval
    judged: bool


_Group = tuple[Design, Design, int, bool]


def fold_together(jobs: Sequence[Job]) -> list[RateState]:
    """The states after the intervals, each with what follows from it.

    Raises
    ------
    TypeError
        If an interval holds another kind of evidence than its gate judges.
    """
    groups: dict[_Group, list[int]] = {}
    counted = [job.test.counted(job.state, job.interval) for job in jobs]
    for number, job in enumerate(jobs):
        if counted[number] is not None:
            groups.setdefault(_group_of(job), []).append(number)
    counts: list[State] = [job.state.counts for job in jobs]
    concluded: dict[int, Conclusions] = {}
    for (design, shown, _, _), members in groups.items():
        slot = Slot(*np.array([counted[number] for number in members]).T.copy())
        judged = np.array([jobs[number].judged for number in members])
        whole = sequential.fold(_stacked([counts[number] for number in members]), design, slot, judged)
        for row, (number, found) in enumerate(zip(members, sequential.conclusions(whole, shown), strict=True)):
            counts[number] = State(whole.table[row : row + 1].copy(), whole.lessons[row : row + 1].copy())
            concluded[number] = found
    states = [
        job.test.folded(job.state, job.interval, own, judged=job.judged) for job, own in zip(jobs, counts, strict=True)
    ]
    texts = keep(states, pack_all([state.parts for state in states]))
    return [
        replace(state, worked=Worked(concluded[number], texts[number])) if number in concluded else state
        for number, state in enumerate(states)
    ]


def _group_of(job: Job) -> _Group:
    """Those that can be folded at once: judged alike, with as many bets, and all or none with a floor from halves (who
    has one learns nothing more of it)."""
    table = job.state.counts.table
    design = job.test.against(job.interval.baseline)
    return design, job.test.design, table.shape[1], bool(job.state.counts.floor[0, 1] == SPLIT)


def _stacked(states: Sequence[State]) -> State:
    return State(np.concatenate([state.table for state in states]), np.concatenate([state.lessons for state in states]))
