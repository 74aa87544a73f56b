"""The sequential test of a gate over counts: what it remembers, and what one more interval changes. Pure numerics.

One process per gate runs over the whole rollout. It is stratified by interval, so changing weights mislead nobody
(Simpson's paradox); deflated by the noise floor; each interval may add only so much, and what a single burst added is
taken back, so that one burst breaches nothing; and it starts again at every interval with a little of its mass, so
that harm which begins late is found soon. A second look of another kind (a z-score over everything) is taken at ends
of steps only, which are fixed beforehand: it sees effects near the limit of what can be seen at all.

State has a leading axis of runs: one in the operator, thousands in the laboratory. It is a fixed set of numbers,
whatever the number of intervals.

Sources: see :mod:`modelrollout.gates.eprocess`; spending of error over planned looks: K. Lan, D. DeMets, Biometrika 70
(1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates import eprocess, noise
from modelrollout.gates.eprocess import BETS, Array, Line
from modelrollout.gates.lessons import SERIES, SPLIT, Lessons, believed, blank, excusable, learn

__all__ = [
    "MEMORY",
    "Conclusions",
    "Design",
    "Restarts",
    "Slot",
    "State",
    "conclusions",
    "floor_of",
    "floor_of_one",
    "fold",
    "log_against_line",
    "log_breach",
    "log_proof",
    "look",
    "seal",
    "start",
]

Mask = NDArray[np.bool_]

MEMORY: Final = math.exp(-1.0 / 480.0)
"""What is kept of the baseline's rate after one interval."""
_LATER_SCALE: Final = 240.0
"""Intervals by which half of what is kept for later starts is staked."""
_PSEUDO: Final = 0.1
_OLDEST_STRATUM: Final = 40
_FEWEST_OF_BASELINE: Final = 5.0
_FEWEST_EVENTS_FOR_LOOK: Final = 20.0
"""Of the candidate, and as a candidate on the limit would have them: with fewer a z-score is not normal."""
_FEWEST_TO_FORGIVE: Final = 3.0
"""Bad events that a candidate on the limit would have in the stratum."""
_LARGEST: Final = math.exp(250.0)
_CANDIDATE_PRIOR: Final = 50.0
_NATS_PLANNED: Final = 5.0
"""Beyond ``ln(1/α)``: what a candidate that is just seen four times of five has brought."""
_KEPT: Final = 1.0
"""Nats that are kept of what a single burst brought, and that the next stratum has to bring for all to be kept."""
_GUARD: Final = Line(1.0, 0.0)
_BOTH_WAYS: Final = np.array([[1.0], [-1.0]])
_GUARD_SUMS: Final = slice(10, 12)
_SUMS_AND_STEP: Final = slice(12, 22)
_JUDGED: Final = 24
_SPENT: Final = 25
_FIXED: Final = 27
_BLOCKS: Final = 5
"""Columns of a state that do not depend on the number of bets, and blocks of columns that have one for each."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How the mass of the process, 1, is staked: at the first interval; in equal parts at the beginnings of later
    steps (at the first interval too when there are none); and little by little at every interval."""

    first: float = 0.5
    steps: float = 0.3
    later: float = 0.2


@dataclass(frozen=True, slots=True)
class Design:
    """What is fixed before the first interval.

    ``alpha``: chance that a candidate within the limit is ever called beyond it, by the process; ``look_alpha``: the
    same for one planned look (0: no looks). ``guard``: an absolute limit counts as broken only by a candidate that is
    also worse than the baseline. ``intervals``: how many a breach takes at least; ``seconds``: length of one.
    ``good``: the events that are counted are good ones. ``later_steps``: how many steps follow the first.
    """

    line: Line
    alpha: float
    look_alpha: float = 0.0
    guard: bool = False
    intervals: int = 2
    seconds: float = 15.0
    good: bool = False
    later_steps: int = 0
    horizon: float = 480.0
    """What the candidate is expected to be asked in the whole rollout, in units of one interval at the first weight."""
    restarts: Restarts = Restarts()

    @property
    def compares(self) -> bool:
        """Whether the baseline enters."""
        return self.line.relative or self.guard


@dataclass(frozen=True, slots=True)
class Slot:
    """Counts of one interval, each of shape (runs,): requests, bad ones beyond doubt, and bad ones with every doubt
    (a latency's limit between two bounds)."""

    nc: Array
    xc: Array
    yc: Array
    nb: Array
    xb: Array

    @classmethod
    def of(cls, nc: Array, xc: Array, nb: Array, xb: Array) -> Slot:
        """Counts about which there is no doubt."""
        return cls(nc, xc, xc, nb, xb)


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered: a row of numbers for each run, and what the rollout has taught of the noise floor.

    The fields below are parts of the table, of shape (runs, ...); those of bets are of width BETS.
    """

    table: Array
    lessons: Lessons

    def copy(self) -> State:
        """The same in a table of its own."""
        return State(self.table.copy(), self.lessons)

    def rows(self, mask: Mask, other: State) -> State:
        """This state where the mask is true, the other elsewhere."""
        if _all(mask):
            return self
        if not _any(mask):
            return other
        table = np.where(mask[:, None], self.table, other.table)
        return State(table, np.where(mask[:, None, None], self.lessons, other.lessons))

    @property
    def pending(self) -> Array:
        """Counts (nc, xc, yc, nb, xb) and age of the stratum that is being filled."""
        return self.table[:, 0:6]

    @property
    def memory(self) -> Array:
        """Requests and bad ones of the baseline and of the candidate, fading."""
        return self.table[:, 6:10]

    @property
    def sums(self) -> Array:
        """Over the rollout: Σ D/v, Σ 1/v for the guard; events that a candidate on the limit has; Σ D/v, Σ 1/v."""
        return self.table[:, 10:15]

    @property
    def step(self) -> Array:
        """Since the step began: nc, xc, nb, xb, Σ D/v, Σ 1/v, and how many intervals were judged."""
        return self.table[:, 15:22]

    @property
    def floor(self) -> Array:
        """κ²·Δt in seconds from history, and where that is from: SPLIT, SERIES, or 0 when there is none."""
        return self.table[:, 22:24]

    @property
    def judged(self) -> Array:
        """How many intervals were judged."""
        return self.table[:, _JUDGED]

    @property
    def spent(self) -> Array:
        """Mass of restarts that is staked."""
        return self.table[:, _SPENT]

    @property
    def beyond(self) -> Array:
        """1 where the limit was ever found broken, by the process or by a planned look."""
        return self.table[:, 26]

    @property
    def shifts(self) -> Array:
        """The bets; 0 while they are not made."""
        return self._of_bets(0)

    @property
    def breach(self) -> Array:
        """Restarted evidence against the limit, for each bet."""
        return self._of_bets(1)

    @property
    def worse(self) -> Array:
        """Restarted evidence against "no worse than the baseline", for a guard."""
        return self._of_bets(2)

    @property
    def trial(self) -> Array:
        """Nats of the stratum before, if it alone would have been enough, that are lost unless the next one agrees."""
        return self._of_bets(3)

    @property
    def proof(self) -> Array:
        """Logarithm of the evidence for the limit, for each bet."""
        return self._of_bets(4)

    def _of_bets(self, block: int) -> Array:
        width = (self.table.shape[1] - _FIXED) // _BLOCKS
        return self.table[:, _FIXED + block * width : _FIXED + (block + 1) * width]


def start(
    runs: int,
    *,
    floor: Array | float | None = None,
    split: bool = True,
    requests: Array | float = 0.0,
    bad: Array | float = 0.0,
    shifts: Array | None = None,
) -> State:
    """A state before the first interval.

    ``floor``: κ²·Δt in seconds from history, None when there is none; ``split``: whether halves of the baseline were
    compared; ``requests`` and ``bad``: what history says of the baseline's rate (fading, in requests); ``shifts``: the
    bets, when they are known already.
    """
    width = BETS if shifts is None else shifts.shape[-1]
    state = State(np.zeros((runs, _FIXED + _BLOCKS * width)), blank(runs))
    state.memory[:, 0], state.memory[:, 1] = requests, bad
    if floor is not None:
        state.floor[:, 0], state.floor[:, 1] = floor, SPLIT if split else SERIES
    if shifts is not None:
        state.shifts[:] = shifts
    return state


def fold(state: State, design: Design, slot: Slot, judged: Mask | None = None) -> State:
    """The state after one more interval; where ``judged`` is false only the baseline is learnt from."""
    counts = np.array((slot.nc, slot.xc, slot.yc, slot.nb, slot.xb, np.ones_like(slot.nc))).T
    with np.errstate(divide="ignore", invalid="ignore"):
        if judged is None or _all(judged):
            return _fill(state, design, counts)
        taught = _teach(state, design, counts)
        return _fill(state, design, counts).rows(judged, taught) if _any(judged) else taught


def seal(state: State, design: Design, where: Mask | None = None) -> State:
    """Close the open stratum (before another weight begins) and begin a step's own sums anew."""
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = _close(state, design, _countable(state.pending)).rows(state.pending[:, 5] > 0.0, state.copy())
    closed.step[:] = 0.0
    return closed if where is None else closed.rows(where, state)


def look(state: State, design: Design, where: Mask | None = None) -> State:
    """Take the planned look at the end of a step.

    It rests on a variance that is known, so it is not taken where there is no history.
    """
    if design.look_alpha <= 0.0:
        return state
    wanted = NormalDist().inv_cdf(1.0 - design.look_alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = state.sums[:, 3] / np.sqrt(state.sums[:, 4])
        if design.guard:
            z = np.minimum(z, state.sums[:, 0] / np.sqrt(state.sums[:, 1]))
    found = (z >= wanted) & (state.sums[:, 2] >= _FEWEST_EVENTS_FOR_LOOK) & (state.floor[:, 1] > 0.0)
    if where is not None:
        found &= where
    looked = state.copy()
    looked.beyond[found] = 1.0
    return looked


def log_breach(state: State, design: Design) -> Array:
    """Logarithm of the evidence that the limit is broken (and, with a guard, that the baseline is better too)."""
    against = _mixed(state.breach)
    if design.guard:
        against = np.minimum(against, _mixed(state.worse))
    return np.asarray(np.log(against + np.maximum(1.0 - state.spent, 1e-300)))


def log_against_line(state: State) -> Array:
    """Logarithm of the evidence that the limit itself is broken, whatever the baseline does."""
    return np.asarray(np.log(_mixed(state.breach) + np.maximum(1.0 - state.spent, 1e-300)))


def log_proof(state: State) -> Array:
    """Logarithm of the evidence that the candidate is within the limit."""
    top = state.proof.max(axis=1)
    return np.asarray(top + np.log(_mixed(np.exp(state.proof - top[:, None]))))


def floor_of(state: State, design: Design) -> Array:
    """κ²·Δt in seconds as it is believed now."""
    history, kind = state.floor.T
    return history if _all(kind == SPLIT) else believed(state.lessons, history, kind, design.seconds)


def floor_of_one(state: State, design: Design) -> Array:
    """The same for a single interval, which is judged by what was known before the candidate did anything unusual."""
    floor = floor_of(state, design)
    unknown = state.floor[:, 1] == 0.0
    return np.where(unknown, np.minimum(floor, excusable(state.lessons, design.seconds)), floor)


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What verdicts rest on, of one run, as plain numbers."""

    breach: float
    """Logarithm of the evidence against the limit, with the guard."""
    line: float
    """The same against the line alone."""
    proof: float
    """The same for the limit."""
    floor: float
    """κ²·Δt in seconds, as it is believed."""
    beyond: bool
    """Whether the limit was ever found broken."""
    requests: float
    """Of the candidate since the step began, with those of the open stratum."""
    bad: float
    baseline_requests: float
    baseline_bad: float
    distance: float
    """Σ D/v of the step."""
    weight: float
    """Σ 1/v of the step."""
    strata: float
    """Intervals of the step that were judged."""
    share: float
    """The baseline's share of bad events, as it is known."""
    shift: float
    """The smallest bet; 0 while none is made."""


def conclusions(state: State, design: Design) -> list[Conclusions]:
    """Of each run."""
    memory = state.memory
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (log_breach(state, design), log_against_line(state), log_proof(state), floor_of(state, design))
        share = np.where(memory[:, 0] > 0.0, memory[:, 1] / memory[:, 0], 0.0)
    counts = state.step[:, :4] + state.pending[:, (0, 1, 3, 4)]
    sums = state.step[:, 4:7]
    columns = (*found, state.beyond > 0.0, *counts.T, *sums.T, share, state.shifts[:, 0])
    return [Conclusions(*numbers) for numbers in zip(*(one.tolist() for one in columns), strict=True)]


def _all(mask: Mask) -> bool:
    """Like ``mask.all()``, at a tenth of the time for a few runs."""
    return int(np.count_nonzero(mask)) == len(mask)


def _any(mask: Mask) -> bool:
    return int(np.count_nonzero(mask)) > 0


def _mixed(evidence: Array) -> Array:
    """The mean over the bets, each with its weight. Not as a product of matrices, which adds up in another order for
    many runs than for one: those that are folded together must come to the very numbers that each comes to alone."""
    return np.asarray((evidence * eprocess.prior(evidence.shape[-1])).sum(axis=-1))


def _teach(state: State, design: Design, counts: Array) -> State:
    """Learn from the baseline alone."""
    of_baseline = counts * (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    taught = State(state.table.copy(), _learnt(state, design, of_baseline))
    taught.memory[:] = _remembered(state.memory, of_baseline)
    return taught


def _fill(state: State, design: Design, counts: Array) -> State:
    """Add to the open stratum, and close it when it is due."""
    filled = state.copy()
    pending = filled.pending
    pending += counts
    countable = _countable(pending)
    due = (pending[:, 0] >= 1.0) & countable
    if design.compares:
        due &= pending[:, 3] >= _FEWEST_OF_BASELINE
    due |= pending[:, 5] >= _OLDEST_STRATUM
    return _close(filled, design, countable).rows(due, filled) if _any(due) else filled


def _countable(pending: Array) -> Mask:
    """Whether the counts of a stratum are shares: late events may come in another interval than what they belong to."""
    nc, xc, yc, nb, xb, _ = pending.T
    low = np.minimum(np.minimum(xc, yc), xb) >= 0.0
    return np.asarray(low & (np.maximum(xc, yc) <= nc) & (xb <= nb))


def _remembered(memory: Array, counts: Array) -> Array:
    """The fading memory of both arms after a stratum: (nc, xc, yc, nb, xb, age)."""
    return np.asarray(memory * (MEMORY ** counts[:, 5:6]) + counts[:, (3, 4, 0, 1)])


def _learnt(state: State, design: Design, counts: Array) -> Lessons:
    """What the rollout teaches of noise; it is not asked where history compared halves."""
    if _all(state.floor[:, 1] == SPLIT):
        return state.lessons
    return learn(state.lessons, counts[:, (0, 1, 3, 4, 5)], state.memory, good=design.good)


def _close(state: State, design: Design, countable: Mask) -> State:
    """Judge the open stratum, where that can be done, and begin another."""
    pending = state.pending
    usable = countable & (pending[:, 0] > 0.0)
    if design.compares:
        usable &= state.memory[:, 0] > 0.0
    closed = _judge(state, design).rows(usable, state.copy()) if _any(usable) else state.copy()
    closed.memory[:] = _remembered(state.memory, pending)
    closed.pending[:] = 0.0
    return closed


def _judge(state: State, design: Design) -> State:
    """Evidence, sums and verdict with the open stratum; it stays open."""
    judged = State(state.table.copy(), _learnt(state, design, state.pending))
    pending, memory, line = state.pending, state.memory, design.line
    share = (memory[:, 1] + _PSEUDO) / (memory[:, 0] + 2.0 * _PSEUDO)
    floor = floor_of(judged, design) / (pending[:, 5] * design.seconds)
    burst = _burst(share, floor, design.good)
    expected, expected_burst = share, burst
    if not line.relative:
        expected = np.full_like(share, line.at(0.0))
        expected_burst = _burst(expected, floor, design.good)
    shifts = _bets(state, design, share, floor)
    mass = _stake(state, design)
    judged.table[:, _JUDGED] += pending[:, 5]
    judged.table[:, _SPENT] += mass
    judged.shifts[:] = shifts
    _bet(judged, design, expected, expected_burst, mass[:, None])
    if design.guard:
        found = _evidence(pending[:, 1:2], pending, _GUARD, share, burst, shifts[:, None, :])[:, 0]
        gain = np.exp(np.minimum(found, eprocess.cap(design.alpha, design.intervals)))
        judged.worse[:] = np.minimum((judged.worse + mass[:, None]) * gain, _LARGEST)
    _sum_up(judged, design, floor)
    judged.beyond[log_breach(judged, design) >= math.log(1.0 / design.alpha)] = 1.0
    if design.guard:
        _forgive(judged, design)
    return judged


def _forgive(state: State, design: Design) -> None:
    """Forget what both arms did together, once the candidate is within its limit again: evidence may be thrown away at
    any time, and a dependency that has recovered is to hold nothing up for hours."""
    requests, bad = state.pending[:, 0], state.pending[:, 1]
    limit = design.line.at(0.0)
    well = (requests * limit >= _FEWEST_TO_FORGIVE) & (bad <= requests * limit) & (state.beyond == 0.0)
    if well.any():
        state.breach[well & (log_against_line(state) >= math.log(1.0 / design.alpha))] = 0.0


def _bet(state: State, design: Design, share: Array, burst: Array, mass: Array) -> None:
    """Bet on the open stratum, against the limit and for it."""
    shifts, pending = state.shifts, state.pending
    found = _evidence(pending[:, 1:3], pending, design.line, share, burst, shifts[:, None, :] * _BOTH_WAYS)
    gain, most = found[:, 0], eprocess.cap(design.alpha, design.intervals)
    kept = state.breach * np.exp(np.where(gain < _KEPT, -state.trial, 0.0))
    burst_alone = gain.max(axis=1) >= most * design.intervals
    gain = np.minimum(gain, most)
    state.breach[:] = np.minimum((kept + mass) * np.exp(gain), _LARGEST)
    state.trial[:] = burst_alone[:, None] * np.maximum(gain - _KEPT, 0.0)
    proof = state.proof
    proof += found[:, 1]


def _burst(share: Array, floor: Array, good: bool) -> Array:
    """By how much the factor φ of an arm grows with each of its requests; see :func:`noise.dispersion`."""
    event = 1.0 - share if good else share
    return np.asarray(floor * event * event / np.maximum(share * (1.0 - share), 1e-12))


def _evidence(bad: Array, pending: Array, line: Line, share: Array, burst: Array, shifts: Array) -> Array:
    """Logarithm of the evidence of the open stratum (runs × kinds × bets); ``bad``: of the candidate, runs × kinds."""
    nc, nb, xb, p, b = (each[:, None, None] for each in (pending[:, 0], pending[:, 3], pending[:, 4], share, burst))
    phi_c, phi_b = 1.0 + nc * b, 1.0 + nb * b
    return eprocess.log_evidence(
        nc, bad[:, :, None], nb, xb, line=line, share=p, phi_c=phi_c, phi_b=phi_b, shifts=shifts
    )


def _stake(state: State, design: Design) -> Array:
    """Mass with which the process starts (again) at the open stratum.

    What is kept for later is spent by ``t/(t + 240)`` after t intervals, so its parts sum to less than all of it.
    """
    restarts = design.restarts
    first = state.spent <= 0.0
    before = np.maximum(state.judged - 1.0, 0.0)
    after = state.judged + state.pending[:, 5] - 1.0
    mass = restarts.later * (after / (after + _LATER_SCALE) - before / (before + _LATER_SCALE))
    if design.later_steps:
        begins = (state.step[:, 0] <= 0.0) & ~first
        mass += first * restarts.first + begins * (restarts.steps / design.later_steps)
    else:
        mass += first * (restarts.first + restarts.steps)
    return np.asarray(np.minimum(mass, 1.0 - state.spent))


def _sum_up(state: State, design: Design, floor: Array) -> None:
    """Add the open stratum to the sums for looks and for people."""
    nc, xc, _, nb, xb, age = state.pending.T
    requests, bad, own_requests, own_bad = state.memory.T
    a, d = design.line.factor, design.line.offset
    share = (bad + 1.0) / (requests + 2.0)
    limit = np.minimum(np.maximum(a * share + d, 1e-9), 1.0 - 1e-9)
    own = (own_bad + _CANDIDATE_PRIOR * limit) / (own_requests + _CANDIDATE_PRIOR)
    own = np.minimum(np.maximum(own, 1e-6), 1.0 - 1e-6)
    event = 1.0 - share if design.good else share
    wander = floor * event * event
    expected = nc * np.minimum(limit, 1.0 - limit)
    rate, spread = xc / nc, own * (1.0 - own) / nc + wander
    rate_b, spread_b = xb / np.maximum(nb, 1.0), share * (1.0 - share) / nb + wander
    if design.guard:
        weight = 1.0 / (spread + spread_b)
        state.table[:, _GUARD_SUMS] += np.array(((rate - rate_b) * weight, weight)).T
    if design.line.relative:
        rate, spread = rate - a * rate_b, spread + a * a * spread_b
    weight = 1.0 / spread
    distance = (rate - d) * weight
    state.table[:, _SUMS_AND_STEP] += np.array((expected, distance, weight, nc, xc, nb, xb, distance, weight, age)).T


def _bets(state: State, design: Design, share: Array, floor: Array) -> Array:
    """The bets, made once: around the smallest excess that the rollout can see at the traffic of its first interval.

    A floor from a series may be that of shocks to both arms, which the rollout will take out again: small bets are
    kept for that.
    """
    made = state.shifts[:, 0] > 0.0
    if _all(made):
        return state.shifts
    nc, nb, age = state.pending[:, 0], np.maximum(state.pending[:, 3], 1.0), np.maximum(state.pending[:, 5], 1.0)
    base = np.clip(design.line.factor * share + design.line.offset, 1e-6, 1.0 - 1e-6)
    small = np.minimum(floor, noise.unknown(design.seconds) / design.seconds)
    burst = _burst(share, np.where(state.floor[:, 1] == SPLIT, floor, small), design.good)
    planned = np.maximum(nc / age * design.horizon, 1.0)
    nats = 2.0 * (math.log(1.0 / design.alpha) + _NATS_PLANNED) / planned
    spread_b = design.line.factor**2 * nc / nb * share * (1.0 - share) * (1.0 + nb * burst)
    point = base
    for _ in range(3):
        excess = np.sqrt(nats * (point * (1.0 - point) * (1.0 + nc * burst) + spread_b))
        point = np.minimum(base + excess, 0.5 + base / 2.0)
    smallest = np.log(point / (1.0 - point)) - np.log(base / (1.0 - base))
    return np.asarray(np.where(made[:, None], state.shifts, eprocess.bets(smallest)))
