"""One gate in all runs at once: the operator's own tests, along their axis of runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.api.enums import Verdict
from modelrollout.gates import eprocess, noise, sequential
from modelrollout.gates.catastrophe import catastrophic
from modelrollout.gates.eprocess import Array
from modelrollout.gates.rate import RateTest
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import BASELINE, CANDIDATE
from modelrollout.lab.past import first_state, quantiles, slower
from modelrollout.lab.policy import Bound, Buckets
from modelrollout.lab.source import Source

__all__ = ["MOST_EVIDENCE", "GateResults", "GateRuns"]

_BETA: Final = 0.05
_UNLATCH: Final = math.log(10.0)
_LEAN: Final = 2.0
MOST_EVIDENCE: Final = 700.0
"""Nats above which a number is too large to be told."""


@dataclass(frozen=True, slots=True)
class GateResults:
    """What one gate said at the end, for each run. ``value`` and ``baseline`` are shares of what it counts (for a
    latency: of slow requests), the baseline's weighted over the steps like the candidate's traffic; ``samples`` are
    the candidate's events that were judged; ``log_evidence`` is against the limit, in nats."""

    name: str
    verdict: NDArray[np.object_]
    value: Array
    baseline: Array
    samples: Array
    log_evidence: Array


class GateRuns:
    """One gate in all runs."""

    def __init__(self, bound: Bound, source: Source, catastrophe: tuple[float, int], floor: float | None) -> None:
        runs = source.runs
        self.bound, self.source, self.test = bound, source, bound.test
        self.design = bound.test.design
        self._unguarded = replace(self.design, guard=False)
        """At 100 % nothing is left to compare with: the limit alone counts."""
        self.state = first_state(bound, source.history, source.runs, floor)
        self.present = np.zeros(runs, dtype=np.bool_)
        self.requests = np.zeros(runs)
        self.last = np.zeros((4, runs))
        self._past = np.zeros((4, runs))
        """Of steps before: requests and bad ones of the candidate, of the baseline by the candidate's requests."""
        self._memory: Array | None = None
        self._limits_of_catastrophe = catastrophe
        self.disaster = np.zeros(runs, dtype=np.bool_)
        """Where the interval was a catastrophe."""
        self._alone = np.zeros(runs, dtype=np.bool_)
        """Where nobody is left to compare with."""
        self._known = np.ones(runs, dtype=np.bool_)
        """Whether the limit of a latency is known: one relative to the baseline is not before the first interval."""

    def take(self, alive: Mask, judged: Mask, share: Array) -> None:
        """Count one interval; judge it where ``judged``."""
        ours, theirs = self._events(CANDIDATE), self._events(BASELINE)
        alone = (share >= 1.0) & ~(theirs[0] > 0.0)
        self.present = np.isfinite(ours[0]) & (np.isfinite(theirs[0]) | alone)
        nc, xc, yc = (np.where(self.present, values, 0.0) for values in ours)
        nb, xb, _ = (np.where(self.present & ~alone, values, 0.0) for values in theirs)
        self.requests, self.last = nc, np.stack([nc, xc, nb, xb])
        slot = sequential.Slot(nc, xc, yc, nb, xb)
        self.disaster = self._catastrophe()
        self._alone = alone
        wanted = judged & self.present
        if self.design.line.relative:
            wanted = wanted & ~alone
        before, folded = self.state, sequential.fold(self.state, self.design, slot, wanted)
        if self.design.guard and alone.any():
            folded = sequential.fold(before, self._unguarded, slot, wanted).rows(alone, folded)
        self.state = folded.rows(self._known, before)

    def _events(self, arm: str) -> tuple[Array, Array, Array]:
        """Requests, bad ones, and bad ones with every doubt, of one arm."""
        if not isinstance(self.bound.source, Buckets):
            events, total = self.bound.source.counted(self.source.counts(arm, self.bound.source.columns))
            bad = total - events if self.test.good else events
            return total, bad, bad
        counts = np.stack(self.source.counts(arm, self.bound.source.columns), axis=1)
        limits = self._limits()
        self._known = known = np.isfinite(limits)
        slow, doubtful = slower(counts, self.bound.source, np.where(known, limits, np.inf))
        if arm == BASELINE and self.test.limit.relative:
            self._remember(counts)
        return np.where(known, counts[:, -1], np.nan), slow, doubtful

    def _limits(self) -> Array:
        """The limit of a latency in seconds, for each run; NaN while the baseline is not known."""
        limit, source = self.test.limit, self.bound.source
        if not limit.relative:
            return np.full(self.source.runs, limit.offset)
        if self._memory is None or not isinstance(source, Buckets):
            return np.full(self.source.runs, np.nan)
        return limit.factor * quantiles(self._memory, source, self.test.quantile or 0.0) + limit.offset

    def _remember(self, counts: Array) -> None:
        kept = 0.0 if self._memory is None else self._memory * sequential.MEMORY
        self._memory = np.asarray(kept + np.nan_to_num(counts))

    def begin_step(self, where: Mask) -> None:
        """Another weight begins."""
        self._past = np.where(where, self._past + self._weighted(), self._past)
        self.state = sequential.seal(self.state, self.design, where)

    def look(self, where: Mask) -> None:
        """The hold is over."""
        if where.any():
            self.state = sequential.look(self.state, self.design, where)

    @property
    def log_breach(self) -> Array:
        """Evidence against the limit, in nats; where nobody is left to compare with, the limit alone counts."""
        found = sequential.log_breach(self.state, self.design)
        if not (self.design.guard and self._alone.any()):
            return found
        return np.where(self._alone, sequential.log_against_line(self.state), found)

    @property
    def stake(self) -> Array:
        """How much of the gate's part of the allowed errors the evidence has earned; 1 is a breach."""
        return np.asarray(self.test.alpha * np.exp(np.minimum(self.log_breach, MOST_EVIDENCE / 2.0)))

    @property
    def breached(self) -> Mask:
        """Whether evidence has reached what a breach needs."""
        return np.asarray(self.log_breach >= math.log(1.0 / self.test.alpha))

    @property
    def broken(self) -> Mask:
        """Whether the limit was ever found broken, by evidence or by a planned look."""
        return np.asarray(self.breached | (self.state.beyond > 0.0))

    def _catastrophe(self) -> Mask:
        """Where this interval alone is enough, by what was known before it; only of a ratio of bad events."""
        if self.test.good or self.test.quantile is not None:
            return np.zeros_like(self.present)
        share, requests = self._limits_of_catastrophe
        memory = self.state.memory
        return catastrophic(
            *self.last,
            share=share,
            requests=requests,
            expected=np.where(memory[:, 0] > 0.0, memory[:, 1] / np.maximum(memory[:, 0], 1e-300), 0.0),
            floor=sequential.floor_of(self.state, self.design) / self.test.seconds,
        )

    def holds(self, where: Mask, share: Array) -> Mask:
        """Where the step may not end yet because of this gate."""
        step = self.state.step
        nc, nb = step[:, 0] + self.state.pending[:, 0], step[:, 2] + self.state.pending[:, 3]
        alone = (share >= 1.0) & (nb <= 0.0)
        few = nc < self.test.min_samples
        if self.test.limit.relative:
            few |= nb < self.test.min_samples
        with np.errstate(divide="ignore", invalid="ignore"):
            leans = step[:, 4] / np.sqrt(step[:, 5]) >= _LEAN
        held = few | leans | self._shared
        if self.bound.counted.waits_for_proof:
            held |= ~self._proven
        held |= self._unseen(where & ~held & ~self._proven)
        return np.asarray(held & ~(alone & self.design.line.relative))

    @property
    def _shared(self) -> Mask:
        """Where an absolute limit is broken by both arms."""
        if not self.design.guard:
            return np.zeros_like(self.present)
        return np.asarray(sequential.log_against_line(self.state) >= math.log(1.0 / self.test.alpha))

    @property
    def _proven(self) -> Mask:
        proven = sequential.log_proof(self.state) >= math.log(1.0 / _BETA)
        return np.asarray(proven & (self.log_breach <= _UNLATCH))

    def _unseen(self, where: Mask) -> Mask:
        """Where a candidate as bad as ``mustSee`` (without one: as bad as can be) would not have been noticed for
        sure."""
        unseen = np.zeros_like(where)
        floor = sequential.floor_of(self.state, self.design) / self.test.seconds
        for i in np.flatnonzero(where):
            unseen[i] = not _would_have_seen(self.test, self.state, int(i), float(floor[i]))
        return unseen

    def _weighted(self) -> Array:
        """This step's counts; the baseline's as if it had had the candidate's traffic."""
        step, pending = self.state.step, self.state.pending
        nc, xc = step[:, 0] + pending[:, 0], step[:, 1] + pending[:, 1]
        nb, xb = step[:, 2] + pending[:, 3], step[:, 3] + pending[:, 4]
        worth = np.where(nb > 0.0, nc, 0.0)
        return np.stack([nc, xc, worth, worth * xb / np.maximum(nb, 1.0)])

    def results(self, felled: Mask) -> GateResults:
        """What the gate says now; where one interval alone ``felled`` the candidate before it was judged, that one."""
        counts = self._past + self._weighted()
        nc, xc, worth, bad = np.where(felled & (counts[0] <= 0.0), self.last, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            value, baseline = xc / nc, bad / worth
        if self.test.good:
            value, baseline = 1.0 - value, 1.0 - baseline
        few = nc < self.test.min_samples
        if self.design.line.relative:
            few |= worth <= 0.0
        verdict = np.select(
            [self.broken | self._shared | felled, nc <= 0.0, few, self._proven],
            [Verdict.BREACHED, Verdict.BLIND, Verdict.TOO_EARLY, Verdict.PROVEN],
            Verdict.NO_HARM_SEEN,
        ).astype(object)
        return GateResults(self.bound.counted.name, verdict, value, baseline, nc, self.log_breach)


def _would_have_seen(test: RateTest, state: sequential.State, run: int, floor: float) -> bool:
    """Whether a candidate on ``mustSee`` would have been caught by now, four of five times."""
    requests, bad = state.memory[run, :2]
    base = float(bad / requests) if requests > 0.0 else 0.0
    wanted = 1.0 if test.quantile is not None or test.must_see is None else _line_at(test, base)
    n_ours, n_theirs, intervals = (float(state.step[run, i]) for i in (0, 2, 6))
    share = base if test.line.relative else test.line.at(0.0)
    event = 1.0 - share if test.good else share
    phi_c, phi_b = (
        float(noise.dispersion(np.array(n / max(intervals, 1.0)), event, share, floor)) for n in (n_ours, n_theirs)
    )
    seen = eprocess.smallest_seen(
        n_ours,
        base,
        test.line,
        alpha=test.alpha,
        ratio=n_ours / max(n_theirs, 1.0),
        phi_c=phi_c,
        phi_b=phi_b,
    )
    return seen is not None and seen <= wanted


def _line_at(test: RateTest, base: float) -> float:
    """``mustSee`` as a share of bad events."""
    assert test.must_see is not None
    factor, offset = test.must_see.factor, test.must_see.offset
    return eprocess.Line(factor, 1.0 - factor - offset if test.good else offset).at(base)
