"""The gates of many rollouts folded at once.

What a fold costs is calls of numpy, each of which takes a thousand runs in the time of one. The results are bit for bit
those of :meth:`modelrollout.gates.rate.RateTest.fold`: every operation on a run is the same, whoever stands beside it.
Where several intervals wait (after an absence of the operator), the first ones of all are folded, then the second ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modelrollout.gates import sequential
from modelrollout.gates.evidence import Interval
from modelrollout.gates.lessons import SPLIT
from modelrollout.gates.packed import pack_all
from modelrollout.gates.rate import RateState, RateTest, Worked, keep
from modelrollout.gates.sequential import Conclusions, Design, Slot, State

__all__ = ["Job", "Link", "fold_together"]


class Link(NamedTuple):
    """An interval to be folded, and whether the candidate is judged by it."""

    interval: Interval
    judged: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A state and what is to be folded into it, in this order; see :meth:`modelrollout.gates.rate.RateTest.fold`."""

    test: RateTest
    state: RateState
    links: tuple[Link, ...]


class _Fold(NamedTuple):
    test: RateTest
    state: RateState
    link: Link


def fold_together(jobs: Sequence[Job]) -> list[RateState]:
    """The states after the intervals, each with what follows from it.

    Raises
    ------
    TypeError
        If an interval holds another kind of evidence than its gate judges.
    """
    states = [job.state for job in jobs]
    for place in range(max((len(job.links) for job in jobs), default=0)):
        there = [number for number, job in enumerate(jobs) if place < len(job.links)]
        folds = [_Fold(jobs[number].test, states[number], jobs[number].links[place]) for number in there]
        for number, state in zip(there, _folded(folds), strict=True):
            states[number] = state
    return _with_what_follows([job.test for job in jobs], states)


def _folded(folds: Sequence[_Fold]) -> list[RateState]:
    """One interval each."""
    counted = [fold.test.counted(fold.state, fold.link.interval) for fold in folds]
    counts = [fold.state.counts for fold in folds]
    known = [number for number, found in enumerate(counted) if found is not None]
    for design, members in _alike(known, counts, lambda n: folds[n].test.against(folds[n].link.interval.baseline)):
        slot = Slot(*np.array([counted[number] for number in members]).T.copy())
        judged = np.array([folds[number].link.judged for number in members])
        whole = sequential.fold(_stacked([counts[number] for number in members]), design, slot, judged)
        for row, number in enumerate(members):
            counts[number] = State(whole.table[row : row + 1].copy(), whole.lessons[row : row + 1].copy())
    return [
        fold.test.folded(fold.state, fold.link.interval, own, judged=fold.link.judged)
        for fold, own in zip(folds, counts, strict=True)
    ]


def _with_what_follows(tests: Sequence[RateTest], states: Sequence[RateState]) -> list[RateState]:
    counts = [state.counts for state in states]
    concluded: dict[int, Conclusions] = {}
    for design, members in _alike(range(len(states)), counts, lambda number: tests[number].design):
        whole = _stacked([counts[number] for number in members])
        concluded |= dict(zip(members, sequential.conclusions(whole, design), strict=True))
    texts = keep(states, pack_all([state.parts for state in states]))
    return [
        RateState(state.counts, state.candidate, state.baseline, state.memory, Worked(concluded[number], text))
        for number, (state, text) in enumerate(zip(states, texts, strict=True))
    ]


def _alike(
    numbers: Sequence[int], counts: Sequence[State], design: Callable[[int], Design]
) -> list[tuple[Design, list[int]]]:
    """Those that can be worked on at once: of the very same design, with as many bets, and all or none with a floor
    from halves (who has one learns nothing more of it)."""
    groups: dict[tuple[int, int, bool], tuple[Design, list[int]]] = {}
    for number in numbers:
        of, table = design(number), counts[number].table
        alike = id(of), table.shape[1], bool(counts[number].floor[0, 1] == SPLIT)
        groups.setdefault(alike, (of, []))[1].append(number)
    return list(groups.values())


def _stacked(states: Sequence[State]) -> State:
    return State(np.concatenate([state.table for state in states]), np.concatenate([state.lessons for state in states]))
