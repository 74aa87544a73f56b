"""A policy run over intervals of counts, many runs at once: the laboratory's engine.

It turns the same tests (:mod:`modelrollout.gates.sequential`) as the operator, in the same order within an interval:
count, look at the ends of holds, roll back, go up. What needs a cluster (pods, routes, people) is left out. Runs lie
along the leading axis of every array; a run that has ended stays in the arrays and is judged no further.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

import numpy as np

from modelrollout.api.gate import OnBreach, OnUndecided
from modelrollout.gates.eprocess import Array
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import Ints, Recording
from modelrollout.lab.gate_runs import MOST_EVIDENCE, GateResults, GateRuns
from modelrollout.lab.past import taught
from modelrollout.lab.policy import Policy
from modelrollout.lab.source import Replay, Source

__all__ = ["Cause", "Event", "Outcome", "Replay", "Results", "Source", "Trace", "run", "taught"]

_EPSILON: Final = 1e-6


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
                    "evidence": _number(math.exp(min(float(one.log_evidence[run]), MOST_EVIDENCE))),
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
            GateRuns(bound, source, policy.catastrophe, floor.get(bound.counted.name))
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
