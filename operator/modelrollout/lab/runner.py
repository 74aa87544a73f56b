"""A policy run over intervals of counts, many runs at once: the laboratory's engine.

It turns the same tests (:mod:`modelrollout.gates.sequential`) as the operator, in the same order within an interval:
count, look at the ends of holds, roll back, go up. What needs a cluster (pods, routes, people) is left out. Runs lie
along the leading axis of every array; a run that has ended stays in the arrays and is judged no further.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import OnBreach, OnUndecided
from modelrollout.gates import eprocess, noise, sequential
from modelrollout.gates.catastrophe import catastrophic
from modelrollout.gates.eprocess import Array
from modelrollout.gates.rate import RateTest
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import BASELINE, CANDIDATE, Ints, Recording
from modelrollout.lab.moves import moves
from modelrollout.lab.past import first_state, quantiles, slower, taught
from modelrollout.lab.policy import Bound, Buckets, Policy

__all__ = ["Cause", "Event", "Outcome", "Replay", "Results", "Source", "Trace", "run", "taught"]

_BETA: Final = 0.05
_UNLATCH: Final = math.log(10.0)
_LEAN: Final = 2.0
_EPSILON: Final = 1e-6
_MOST_EVIDENCE: Final = 700.0


class Outcome(StrEnum):
    """How a run ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolledBack"
    UNDECIDED = "undecided"


class Cause(IntEnum):
    """What rolled a run back."""

    NOTHING = 0
    EVIDENCE = 1
    """Evidence that grew from interval to interval, of one gate or of several together."""
    LOOK = 2
    """The planned look at the end of a step."""
    CATASTROPHE = 3
    """One interval with so many failures that no more was waited for."""
    UNDECIDED = 4
    """A gate that says so was still undecided after its longest hold."""


class Source(Protocol):
    """Where counts come from: a recording, or traffic that follows the weights."""

    @property
    def runs(self) -> int:
        """How many runs go side by side."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        ...

    @property
    def times(self) -> Array:
        """Seconds from the candidate's first interval to each interval that can be asked for."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is counted."""
        ...

    @property
    def history(self) -> Recording | None:
        """What came before the candidate's first interval."""
        ...

    @property
    def moved(self) -> Mask:
        """Where another split began with this interval although the policy did not ask for it, shape (runs,)."""
        ...

    def advance(self, share: Array) -> None:
        """Go to the next interval, in which the candidate has these shares of the traffic, shape (runs,)."""
        ...

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """An arm's increments in this interval, each of shape (runs,); NaN where it was not measured."""
        ...


class Replay:
    """A recording as it is: what the policy decides changes nothing about the traffic."""

    def __init__(self, recording: Recording) -> None:
        begins = recording.begins
        if begins is None:
            raise ValueError(
                "the recording has no row of the candidate: at least one is needed, rows before it are history"
            )
        self.history = recording.between(0, begins)
        self._recording = recording.between(begins, len(recording.times))
        self.times: Array = self._recording.times - self._recording.times[0]
        self.runs, self.interval, self.columns = recording.runs, recording.interval, recording.columns
        self._at = -1
        self._cache: dict[tuple[str, ...], list[Array]] = {}
        self._moves = self._find_moves()

    def _find_moves(self) -> Mask:
        """Where the recorded split changed, by the column with the most events; shape (runs, T)."""
        totals = {name: self._recording.counts(BASELINE, [name])[0] for name in self.columns}
        busiest = max(totals, key=lambda name: float(np.nansum(totals[name])))
        ours = self._recording.counts(CANDIDATE, [busiest])[0]
        return np.stack([moves(one, other) for one, other in zip(ours, totals[busiest], strict=True)])

    @property
    def moved(self) -> Mask:
        """See :class:`Source`."""
        return self._moves[:, self._at]

    def advance(self, share: Array) -> None:
        """See :class:`Source`."""
        self._at += 1

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """See :class:`Source`."""
        key = (arm, *columns)
        if key not in self._cache:
            self._cache[key] = self._recording.counts(arm, columns)
        return [values[:, self._at] for values in self._cache[key]]


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


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the traced run, ``at`` seconds after the candidate's first interval."""

    at: float
    text: str
    gate: str | None = None


@dataclass(slots=True)
class Trace:
    """One run in full: for each interval its time, the candidate's share, and each gate's evidence in nats."""

    at: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    evidence: dict[str, list[float]] = field(default_factory=dict)
    needed: dict[str, float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Results:
    """How every run ended; all arrays of shape (runs,).

    ``at``: seconds from the candidate's first interval to the one that decided (NaN while undecided); ``intervals``:
    how many intervals that took; ``gate``: index of the gate that decided, -1 for none; ``step``: index of the step
    that was reached; ``exposed``: requests that the candidate got.
    """

    promoted: Mask
    rolled_back: Mask
    at: Array
    intervals: Ints
    cause: Ints
    gate: Ints
    step: Ints
    exposed: Array
    gates: tuple[GateResults, ...]
    trace: Trace
    counts: tuple[Array, ...] = ()
    """For each gate, when asked for: requests and bad ones of the candidate, then of the baseline, as they were judged;
    of shape (4, runs, T), zero where nothing was measured."""

    def outcome(self, run: int = 0) -> Outcome:
        """How one run ended."""
        if self.rolled_back[run]:
            return Outcome.ROLLED_BACK
        return Outcome.PROMOTED if self.promoted[run] else Outcome.UNDECIDED

    def summary(self, run: int = 0) -> dict[str, Any]:
        """One run as JSON takes it; the evidence is the number itself, not its logarithm."""
        gate = int(self.gate[run])
        return {
            "outcome": str(self.outcome(run)),
            "at": _number(self.at[run]),
            "gate": self.gates[gate].name if gate >= 0 else None,
            "gates": {
                one.name: {
                    "verdict": str(one.verdict[run]),
                    "value": _number(one.value[run]),
                    "baseline": _number(one.baseline[run]),
                    "samples": int(one.samples[run]),
                    "evidence": _number(math.exp(min(float(one.log_evidence[run]), _MOST_EVIDENCE))),
                }
                for one in self.gates
            },
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")


def run(
    policy: Policy,
    source: Source | Recording,
    *,
    floor: dict[str, float] | None = None,
    traced: bool = True,
    counted: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Results:
    """Run the policy.

    ``floor``: κ²·Δt of gates (in seconds) that is to be used instead of what history shows. ``traced``: the first run
    is told in full. ``counted``: counts are kept, and go on after the runs have ended for as long as the policy takes
    when nothing holds it up, so that other rules can be tried on them. ``progress`` is told the part that is done.

    Raises
    ------
    ValueError
        If a gate's metric is not among the columns, or a recording has no candidate.
    """
    feed = Replay(source) if isinstance(source, Recording) else source
    going = _Going(policy, feed, floor or {}, traced)
    wanted = math.ceil(policy.planned / feed.interval) if counted else 0
    for number, at in enumerate(feed.times):
        if going.ended.all() and number >= wanted:
            break
        going.take(float(at))
        if counted:
            going.keep()
        if progress is not None:
            progress(min(1.0, (number + 1) * feed.interval / max(policy.planned, feed.interval)))
    return going.results()


class _Going:
    """The runs under way."""

    def __init__(self, policy: Policy, source: Source, floor: dict[str, float], traced: bool) -> None:
        runs = source.runs
        self.policy, self.source = policy, source
        self.gates = [
            _GateRuns(bound, source, policy.catastrophe, floor.get(bound.counted.name))
            for bound in policy.bind(source.columns, source.interval)
        ]
        self.shares = np.array([step.share for step in policy.steps])
        self.holds = np.array([step.hold for step in policy.steps])
        self.step: Ints = np.zeros(runs, dtype=np.int64)
        self.age, self.held, self.waited = np.zeros(runs), np.zeros(runs), np.zeros(runs)
        self.settled = np.full(runs, np.inf)
        """Seconds since the split changed without the policy's doing."""
        self.looked, self.paused = np.zeros(runs, dtype=np.bool_), np.zeros(runs, dtype=np.bool_)
        self.ended, self.promoted = np.zeros(runs, dtype=np.bool_), np.zeros(runs, dtype=np.bool_)
        self.at, self.exposed = np.full(runs, np.nan), np.zeros(runs)
        self.cause: Ints = np.zeros(runs, dtype=np.int64)
        self.gate: Ints = np.full(runs, -1, dtype=np.int64)
        self.intervals: Ints = np.zeros(runs, dtype=np.int64)
        self.traced, self.trace = traced, Trace()
        self._waiting_for: str | None = None
        self._kept: list[list[Array]] = [[] for _ in self.gates]

    def take(self, at: float) -> None:
        """One interval."""
        share = self.shares[self.step]
        alive = ~self.ended
        self.source.advance(share)
        self._say_step(at, alive)
        self._note_moves(at)
        since = np.minimum(self.age * self.source.interval, self.settled)
        warm = alive & (since >= self.policy.warmup - _EPSILON)
        data = np.ones_like(alive)
        for gate in self.gates:
            gate.take(alive, warm & (since >= self.policy.warmup + gate.bound.counted.labels - _EPSILON), share)
            if gate.bound.counted.gate.required:
                data &= gate.present
        self.exposed += np.where(alive, self._requests(), 0.0)
        self.held += np.where(warm & data & ~self.paused, self.source.interval, 0.0)
        over = warm & ~self.looked & (self.held >= self.holds[self.step] - _EPSILON)
        for gate in self.gates:
            gate.look(over)
        self.looked |= over
        self.age += 1.0
        self.settled += self.source.interval
        self.intervals += alive
        self._trace(at, alive, share)
        self._roll_back(at, alive)
        self._go_up(at, ~self.ended & self.looked & data)

    def _note_moves(self, at: float) -> None:
        """What is recorded took another split: counts of different splits are never mixed."""
        moved = self.source.moved & ~self.ended
        if not moved.any():
            return
        self.settled[moved] = 0.0
        for gate in self.gates:
            gate.begin_step(moved)
        if self.traced and moved[0]:
            self.trace.events.append(Event(at, "the recorded split changes; warm-up and late labels are waited for"))

    def _requests(self) -> Array:
        if not self.gates:
            return np.zeros_like(self.exposed)
        return np.asarray(np.max([gate.requests for gate in self.gates], axis=0))

    def _roll_back(self, at: float, alive: Mask) -> None:
        """Where the limits are shown to be broken, or one interval is a catastrophe."""
        acting = [(i, gate) for i, gate in enumerate(self.gates) if gate.bound.counted.rolls_back]
        for gate in self.gates:
            if gate.bound.counted.gate.on_breach is OnBreach.PAUSE:
                self.paused |= alive & gate.broken
        if not acting:
            return
        stakes = np.array([gate.stake for _, gate in acting])
        by_evidence = (stakes.sum(axis=0) >= 1.0) | np.any([gate.breached for _, gate in acting], axis=0)
        by_look = np.any([gate.broken for _, gate in acting], axis=0)
        catastrophes = np.array([gate.disaster for _, gate in acting])
        by_catastrophe = catastrophes.any(axis=0)
        strongest = np.where(by_catastrophe & ~by_evidence, catastrophes.argmax(axis=0), stakes.argmax(axis=0))
        looks = np.array([gate.broken & ~gate.breached for _, gate in acting])
        strongest = np.where(by_look & ~by_evidence & ~by_catastrophe, looks.argmax(axis=0), strongest)
        index = np.array([i for i, _ in acting])
        cause = np.select(
            [by_evidence, by_catastrophe, by_look], [Cause.EVIDENCE, Cause.CATASTROPHE, Cause.LOOK], Cause.NOTHING
        )
        self._end(at, alive & (cause > 0), cause, index[strongest])

    def _end(self, at: float, where: Mask, cause: Ints, gate: Ints) -> None:
        self.cause = np.where(where, cause, self.cause)
        self.gate = np.where(where, gate, self.gate)
        self.at = np.where(where, at, self.at)
        self.ended |= where
        if self.traced and where[0]:
            name = self.gates[int(gate[0])].bound.counted.name
            self.trace.events.append(Event(at, f"rolled back ({Cause(int(cause[0])).name.lower()})", name))

    def _go_up(self, at: float, done: Mask) -> None:
        """Where the hold is over and no gate holds: the next step, or promotion."""
        if not done.any():
            return
        free = done & ~self.paused
        blocked = np.zeros_like(done)
        share = self.shares[self.step]
        for i, gate in enumerate(self.gates):
            if not gate.bound.counted.gate.required:
                continue
            holds = free & gate.holds(free, share)
            late = holds & (self.waited >= gate.bound.counted.max_hold - _EPSILON)
            if gate.bound.counted.on_undecided is OnUndecided.ROLLBACK:
                every = np.full_like(self.cause, Cause.UNDECIDED)
                self._end(at, late & ~self.ended, every, np.full_like(self.gate, i))
            if gate.bound.counted.on_undecided is OnUndecided.PAUSE:
                self.paused |= late
            if gate.bound.counted.on_undecided is OnUndecided.ADVANCE:
                holds &= ~late
            self._say_waiting(at, gate.bound.counted.name, bool(holds[0]) and not self.ended[0])
            blocked |= holds
        self.waited += np.where(free & blocked, self.source.interval, 0.0)
        up = free & ~blocked & ~self.ended & ~self.paused
        last = up & (self.step == len(self.shares) - 1)
        self.promoted |= last
        self.at = np.where(last, at, self.at)
        self.ended |= last
        if self.traced and last[0]:
            self.trace.events.append(Event(at, "promoted"))
        self._begin_step(up & ~last)

    def _begin_step(self, where: Mask) -> None:
        if not where.any():
            return
        for gate in self.gates:
            gate.begin_step(where)
        self.step = np.where(where, self.step + 1, self.step)
        for values in (self.age, self.held, self.waited):
            values[where] = 0.0
        self.looked &= ~where

    def _say_step(self, at: float, alive: Mask) -> None:
        if self.traced and alive[0] and self.age[0] == 0.0:
            step = self.policy.steps[int(self.step[0])]
            self.trace.events.append(Event(at, f"step {step.name}: {step.share:.0%} of the traffic"))

    def _say_waiting(self, at: float, gate: str, waits: bool) -> None:
        if not self.traced:
            return
        if waits and self._waiting_for is None:
            self._waiting_for = gate
            self.trace.events.append(Event(at, "the hold is over; the step goes on", gate))
        elif not waits and self._waiting_for == gate:
            self._waiting_for = None

    def _trace(self, at: float, alive: Mask, share: Array) -> None:
        if not (self.traced and alive[0]):
            return
        self.trace.at.append(at)
        self.trace.share.append(float(share[0]))
        for gate in self.gates:
            name = gate.bound.counted.name
            self.trace.evidence.setdefault(name, []).append(float(gate.log_breach[0]))
            self.trace.needed[name] = math.log(1.0 / gate.bound.test.alpha)

    def keep(self) -> None:
        """Remember this interval's counts."""
        for gate, kept in zip(self.gates, self._kept, strict=True):
            kept.append(gate.last)

    def results(self) -> Results:
        """Everything, as it is now."""
        return Results(
            promoted=self.promoted,
            rolled_back=self.ended & ~self.promoted,
            at=self.at,
            intervals=self.intervals,
            cause=self.cause,
            gate=self.gate,
            step=self.step,
            exposed=self.exposed,
            gates=tuple(
                gate.results((self.cause == Cause.CATASTROPHE) & (self.gate == i)) for i, gate in enumerate(self.gates)
            ),
            trace=self.trace,
            counts=tuple(np.stack(kept, axis=2) for kept in self._kept if kept),
        )


class _GateRuns:
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
            events, total = self.source.counts(arm, self.bound.source.columns)
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
        return np.asarray(self.test.alpha * np.exp(np.minimum(self.log_breach, _MOST_EVIDENCE / 2.0)))

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
