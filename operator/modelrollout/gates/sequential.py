"""The sequential test of a gate over counts: what it remembers, and what one more interval changes. Pure numerics.

One process per gate runs over the whole rollout. It is stratified by interval, so changing weights mislead nobody
(Simpson's paradox); deflated by the noise floor; each interval may add only so much, so that one burst breaches
nothing; and it starts again at every interval with a little of its mass, so that harm which begins late is found soon.
A second look of another kind (a z-score over everything) is taken at ends of steps only, which are fixed beforehand:
it sees effects near the limit of what can be seen at all.

State has a leading axis of runs: one in the operator, thousands in the laboratory. It is a fixed set of numbers,
whatever the number of intervals.

Sources: see :mod:`modelrollout.gates.eprocess`; spending of error over planned looks: K. Lan, D. DeMets, Biometrika 70
(1983).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates import eprocess, noise
from modelrollout.gates.eprocess import BETS, Array, Line

__all__ = [
    "MEMORY",
    "Design",
    "Slot",
    "State",
    "floor_of",
    "fold",
    "log_against_line",
    "log_breach",
    "log_proof",
    "look",
    "seal",
    "start",
]

Mask = NDArray[np.bool_]

FIRST_MASS: Final = 0.5
"""Of the mass of the restarts, what is staked at the first interval."""
STEP_MASS: Final = 0.3
"""What is shared among the beginnings of later steps."""
LATER_MASS: Final = 0.2
_LATER_SCALE: Final = 240.0
MEMORY: Final = math.exp(-1.0 / 480.0)
"""What is kept of the baseline's rate after one interval."""
_PSEUDO: Final = 0.1
_OLDEST_STRATUM: Final = 40
_FEWEST_OF_BASELINE: Final = 5.0
_FEWEST_EVENTS_FOR_LOOK: Final = 20.0
_LARGEST_LOG: Final = 250.0
_CANDIDATE_PRIOR: Final = 50.0
_LESSONS: Final = (1, 4, 16)
"""Batch lengths, in intervals, over which a rollout learns what noise there is between its arms."""
_DOUBT: Final = 2.0
"""Standard errors by which what a rollout has learnt is raised."""
_FEWEST_PAIRS: Final = 8.0
_FADING: Final = 64.0
SPLIT: Final = 2.0
SERIES: Final = 1.0
_GUARD: Final = Line(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Design:
    """What is fixed before the first interval.

    ``alpha``: chance that a candidate within the limit is ever called beyond it, by the process; ``look_alpha``: the
    same for one planned look (0: no looks). ``guard``: an absolute limit counts as broken only by a candidate that is
    also worse than the baseline. ``seconds``: length of an interval. ``good``: the events that are counted are good
    ones. ``later_steps``: how many steps follow the first.
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
    """What is remembered; every field has a leading axis of runs."""

    pending: Array
    """Counts (nc, xc, yc, nb, xb) and age of the stratum that is being filled."""
    memory: Array
    """Requests and bad ones of the baseline, fading, and of the candidate."""
    shifts: Array
    """The bets; of width BETS, or 0 while they are not made."""
    breach: Array
    """Restarted evidence against the limit, for each bet."""
    worse: Array
    """The same against "no worse than the baseline", for a guard."""
    proof: Array
    """Logarithm of the evidence for the limit, for each bet."""
    strata: Array
    """How many strata were judged."""
    spent: Array
    """Mass of restarts that is staked."""
    sums: Array
    """Σ D/v and Σ 1/v over the rollout; the same for the guard; bad events of both arms."""
    step: Array
    """Since the step began: nc, xc, nb, xb, Σ D/v, Σ 1/v, and how many intervals were judged."""
    floor: Array
    """κ²·Δt in seconds from history, and where it is from: SPLIT, SERIES, or 0 when there is none."""
    lessons: NDArray[np.float32]
    """What the rollout itself has taught of it; see :func:`_learn`. Single precision is enough and half as long."""
    beyond: Array
    """1 where the limit was ever found broken, by the process or by a planned look."""

    def rows(self, mask: Mask, other: State) -> State:
        """This state where the mask is true, the other elsewhere."""
        if mask.all():
            return self
        picked = {}
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            picked[field.name] = np.where(mask.reshape(-1, *([1] * (mine.ndim - 1))), mine, theirs)
        return State(**picked)


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

    ``floor``: κ²·Δt from history, None when there is none; ``split``: whether halves of the baseline were compared;
    ``requests`` and ``bad``: what history says of the
    baseline's rate (fading, in requests); ``shifts``: the bets, when they are known already.
    """
    zeros = np.zeros
    memory = zeros((runs, 4))
    memory[:, 0], memory[:, 1] = requests, bad
    floors = zeros((runs, 2))
    floors[:, 0] = 0.0 if floor is None else floor
    floors[:, 1] = 0.0 if floor is None else SPLIT if split else SERIES
    width = BETS if shifts is None else shifts.shape[-1]
    made = zeros((runs, width)) if shifts is None else np.broadcast_to(shifts, (runs, width)).copy()
    return State(
        pending=zeros((runs, 6)),
        memory=memory,
        shifts=made,
        breach=zeros((runs, width)),
        worse=zeros((runs, width)),
        proof=zeros((runs, width)),
        strata=zeros(runs),
        spent=zeros(runs),
        sums=zeros((runs, 6)),
        step=zeros((runs, 7)),
        floor=floors,
        lessons=zeros((runs, len(_LESSONS), 16), dtype=np.float32),
        beyond=zeros(runs),
    )


def fold(state: State, design: Design, slot: Slot, judged: Mask | None = None) -> State:
    """The state after one more interval; where ``judged`` is false only the baseline is learnt from."""
    runs = len(state.strata)
    mask = np.ones(runs, dtype=np.bool_) if judged is None else judged
    counts = np.stack([slot.nc, slot.xc, slot.yc, slot.nb, slot.xb, np.ones(runs)], axis=1)
    taught = replace(state, memory=_remembered(state.memory, counts * [0, 0, 0, 1, 1, 1]))
    filled = replace(state, pending=state.pending + counts)
    pending = filled.pending
    enough = pending[:, 0] >= 1.0
    if design.line.relative or design.guard:
        enough &= pending[:, 3] >= _FEWEST_OF_BASELINE
    enough &= _countable(pending)
    due = enough | (pending[:, 5] >= _OLDEST_STRATUM)
    closed = _close(filled, design) if (due & mask).any() else filled
    return closed.rows(due, filled).rows(mask, taught)


def seal(state: State, design: Design, where: Mask | None = None) -> State:
    """Close the open stratum (before another weight begins) and begin a step's own sums anew."""
    mask = np.ones(len(state.strata), dtype=np.bool_) if where is None else where
    closed = _close(state, design)
    return replace(closed, step=np.zeros_like(closed.step)).rows(mask, state)


def look(state: State, design: Design, where: Mask | None = None) -> State:
    """Take the planned look at the end of a step."""
    if design.look_alpha <= 0.0:
        return state
    wanted = NormalDist().inv_cdf(1.0 - design.look_alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = state.sums[:, 0] / np.sqrt(state.sums[:, 1])
        if design.guard:
            z = np.minimum(z, state.sums[:, 2] / np.sqrt(state.sums[:, 3]))
    found = (z >= wanted) & (state.sums[:, 4] >= _FEWEST_EVENTS_FOR_LOOK)
    if where is not None:
        found &= where
    return replace(state, beyond=np.maximum(state.beyond, found.astype(np.float64)))


def log_breach(state: State, design: Design) -> Array:
    """Logarithm of the evidence that the limit is broken (and, with a guard, that the baseline is better too)."""
    weights = eprocess.prior(state.breach.shape[-1])
    left = 1.0 - state.spent
    against = state.breach @ weights + left
    if design.guard:
        against = np.minimum(against, state.worse @ weights + left)
    return np.asarray(np.log(np.maximum(against, 1e-300)))


def log_against_line(state: State) -> Array:
    """Logarithm of the evidence that the limit itself is broken, whatever the baseline does."""
    weights = eprocess.prior(state.breach.shape[-1])
    return np.asarray(np.log(np.maximum(state.breach @ weights + 1.0 - state.spent, 1e-300)))


def floor_of(state: State, design: Design) -> Array:
    """κ²·Δt in seconds as it is believed now."""
    return _floor(state, design)


def log_proof(state: State) -> Array:
    """Logarithm of the evidence that the candidate is within the limit."""
    weights = eprocess.prior(state.proof.shape[-1])
    top = state.proof.max(axis=1)
    return np.asarray(top + np.log(np.exp(state.proof - top[:, None]) @ weights))


def _countable(pending: Array) -> Mask:
    """Whether the counts of a stratum are shares: late events may come in another interval than what they belong to."""
    low = (pending[:, 1] >= 0.0) & (pending[:, 2] >= 0.0) & (pending[:, 4] >= 0.0)
    high = (np.maximum(pending[:, 1], pending[:, 2]) <= pending[:, 0]) & (pending[:, 4] <= pending[:, 3])
    return np.asarray(low & high)


def _remembered(memory: Array, counts: Array) -> Array:
    """The fading memory of both arms after a stratum: (nc, xc, yc, nb, xb, age)."""
    kept = memory * (MEMORY ** counts[:, 5:6])
    return np.asarray(kept + counts[:, [3, 4, 0, 1]])


def _close(state: State, design: Design) -> State:
    """Judge the open stratum and begin another."""
    pending = state.pending
    memory = state.memory
    emptied = replace(state, pending=np.zeros_like(pending), memory=_remembered(memory, pending))
    known = (memory[:, 0] > 0.0) | (not (design.line.relative or design.guard))
    usable = (pending[:, 0] > 0.0) & _countable(pending) & known
    if not usable.any():
        return emptied.rows(pending[:, 5] > 0.0, state)
    share = (memory[:, 1] + _PSEUDO) / (memory[:, 0] + 2.0 * _PSEUDO)
    lessons = state.lessons if (state.floor[:, 1] == SPLIT).all() else _learn(state, design, pending, usable)
    floor = _floor(replace(state, lessons=lessons), design) / (np.maximum(pending[:, 5], 1.0) * design.seconds)
    shifts = _bets(state, design, share, floor)
    judged = _judge(replace(emptied, shifts=shifts, lessons=lessons), design, pending, share, floor)
    found = log_breach(judged, design) >= math.log(1.0 / design.alpha)
    judged = replace(judged, beyond=np.maximum(judged.beyond, found.astype(np.float64)))
    return judged.rows(usable, emptied).rows(pending[:, 5] > 0.0, state)


def _judge(state: State, design: Design, pending: Array, share: Array, floor: Array) -> State:
    nc, xc, yc, nb, xb = (pending[:, i : i + 1] for i in range(5))
    width = state.shifts.shape[-1]
    own = np.broadcast_to(nc, (len(nc), 2 * width))
    bad = np.concatenate([np.broadcast_to(xc, (len(nc), width)), np.broadcast_to(yc, (len(nc), width))], axis=1)
    p = share[:, None] if design.line.relative else np.full_like(nc, design.line.at(0.0))
    event = 1.0 - p if design.good else p
    phi_c = noise.dispersion(nc, event, p, floor[:, None])
    phi_b = noise.dispersion(nb, event, p, floor[:, None])
    found = eprocess.log_evidence(
        own,
        bad,
        nb,
        xb,
        line=design.line,
        share=p,
        phi_c=phi_c,
        phi_b=phi_b,
        shifts=np.concatenate([state.shifts, -state.shifts], axis=1),
    )
    mass, spent = _stake(state, design)
    most = eprocess.cap(design.alpha, design.intervals)
    gain = np.exp(np.minimum(found[:, :width], most))
    breach = np.minimum((state.breach + mass[:, None]) * gain, math.exp(_LARGEST_LOG))
    worse = state.worse
    if design.guard:
        p = share[:, None]
        event = 1.0 - p if design.good else p
        phi_c = noise.dispersion(nc, event, p, floor[:, None])
        phi_b = noise.dispersion(nb, event, p, floor[:, None])
        guard = eprocess.log_evidence(
            nc, xc, nb, xb, line=_GUARD, share=p, phi_c=phi_c, phi_b=phi_b, shifts=state.shifts
        )
        worse = np.minimum((worse + mass[:, None]) * np.exp(np.minimum(guard, most)), math.exp(_LARGEST_LOG))
    summed = _sum_up(state, design, pending, floor)
    return replace(
        summed,
        breach=breach,
        worse=worse,
        proof=np.clip(state.proof + found[:, width:], -_LARGEST_LOG, _LARGEST_LOG),
        strata=state.strata + 1.0,
        spent=spent,
    )


def _stake(state: State, design: Design) -> tuple[Array, Array]:
    """Mass with which the process starts (again) at this stratum, and what is spent with it."""
    first = state.spent <= 0.0
    begins = (state.step[:, 0] <= 0.0) & ~first
    t = state.strata
    later = LATER_MASS * _LATER_SCALE / ((t + _LATER_SCALE - 1.0) * (t + _LATER_SCALE))
    mass = np.where(first, FIRST_MASS if design.later_steps else FIRST_MASS + STEP_MASS, later)
    if design.later_steps:
        mass = mass + np.where(begins, STEP_MASS / design.later_steps, 0.0)
    mass = np.minimum(mass, 1.0 - state.spent)
    return mass, state.spent + mass


def _sum_up(state: State, design: Design, pending: Array, floor: Array) -> State:
    """Add one stratum to the sums for looks and for people."""
    nc, xc, nb, xb = pending[:, 0], pending[:, 1], pending[:, 3], pending[:, 4]
    requests, bad = state.memory[:, 0] - nb, state.memory[:, 1] - xb
    share = (bad + 1.0) / (requests + 2.0)
    base = np.clip(design.line.factor * share + design.line.offset, 1e-9, 1.0 - 1e-9)
    own = (state.memory[:, 3] - xc + _CANDIDATE_PRIOR * base) / (state.memory[:, 2] - nc + _CANDIDATE_PRIOR)
    own = np.clip(own, 1e-6, 1.0 - 1e-6)
    event = 1.0 - share if design.good else share
    wander = floor * np.square(event)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_c = own * (1.0 - own) / nc + wander
        spread_b = np.where(nb > 0.0, share * (1.0 - share) / nb + wander, np.inf)
        rate_b = np.where(nb > 0.0, xb / nb, 0.0)
        variance = spread_c + (design.line.factor**2 * spread_b if design.line.relative else 0.0)
        distance = xc / nc - design.line.factor * rate_b - design.line.offset
        seen = np.stack([distance / variance, 1.0 / variance], axis=1)
        guard = np.stack([(xc / nc - rate_b) / (spread_c + spread_b), 1.0 / (spread_c + spread_b)], axis=1)
    seen, guard = np.nan_to_num(seen, posinf=0.0), np.nan_to_num(guard, posinf=0.0)
    events = np.stack([xc + np.where(design.line.relative, xb, 0.0), np.zeros_like(xc)], axis=1)
    step = np.concatenate([np.stack([nc, xc, nb, xb], axis=1), seen, pending[:, 5:6]], axis=1)
    return replace(state, sums=state.sums + np.concatenate([seen, guard, events], axis=1), step=state.step + step)


def _bets(state: State, design: Design, share: Array, floor: Array) -> Array:
    """The bets, made once: around the smallest excess that the rollout can see at the traffic of its first interval."""
    made: Mask = np.asarray(state.shifts.any(axis=1))
    if made.all():
        return state.shifts
    nc, nb, age = state.pending[:, 0], np.maximum(state.pending[:, 3], 1.0), np.maximum(state.pending[:, 5], 1.0)
    base = np.clip(design.line.factor * share + design.line.offset, 1e-6, 1.0 - 1e-6)
    planned = np.maximum(nc / age * design.horizon, 1.0)
    nats = 2.0 * (math.log(1.0 / design.alpha) + 5.0) / planned
    phi_c = noise.dispersion(nc, 1.0 - share if design.good else share, share, floor)
    phi_b = noise.dispersion(nb, 1.0 - share if design.good else share, share, floor)
    excess = np.zeros_like(base)
    for _ in range(3):
        point = np.minimum(base + excess, 0.5 + base / 2.0)
        spread = point * (1.0 - point) * phi_c
        spread = spread + design.line.factor**2 * nc / nb * share * (1.0 - share) * phi_b
        excess = np.sqrt(nats * spread)
    point = np.minimum(base + excess, 0.5 + base / 2.0)
    smallest = np.log(point / (1.0 - point)) - np.log(base / (1.0 - base))
    low = np.clip(0.7 * smallest, 1e-3, 3.0)
    steps = np.linspace(0.0, 1.0, BETS)
    fresh = low[:, None] * (6.0 / low[:, None]) ** steps
    return np.asarray(np.where(made[:, None], state.shifts, fresh))


def _learn(state: State, design: Design, pending: Array, where: Mask) -> NDArray[np.float32]:
    """What one stratum teaches about noise: squared differences, from batch to batch, of the arms' rates, each measured
    in its own mean. For each batch length: counts (nc, xc, nb, xb) and age of this batch; of the one before the arms'
    difference, the baseline's rate, and the binomial variances of both; then the number of pairs, and Σ weight,
    Σ weight·excess, Σ (weight·excess)² of the arms' difference and of the baseline alone.

    A constant effect cancels in the arms' difference, and so does what hits both arms at once; in the baseline alone
    the latter does not.
    """
    lessons = state.lessons.astype(np.float64)
    for row, size in enumerate(_LESSONS):
        one = lessons[:, row]
        one[:, :5] += np.where(where[:, None], pending[:, [0, 1, 3, 4, 5]], 0.0)
        full = (one[:, 4] >= size) & (one[:, 0] > 0.0) & (one[:, 2] > 0.0)
        if not full.any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            now = _in_own_mean(state, design, one)
            between = _excess(now[:, 0], one[:, 5], now[:, 2] + now[:, 3], one[:, 7] + one[:, 8])
            alone = _excess(now[:, 1], one[:, 6], now[:, 3], one[:, 8])
            told = np.stack([np.ones_like(between[0]), *between, *alone], axis=1)
        pair = full & (one[:, 8] > 0.0)
        one[:, 9:16] += np.where(pair[:, None], np.nan_to_num(told), 0.0)
        one[:, 5:9] = np.where(full[:, None], now, one[:, 5:9])
        one[:, :5] = np.where(full[:, None], 0.0, one[:, :5])
    return lessons.astype(np.float32)


def _in_own_mean(state: State, design: Design, batch: Array) -> Array:
    """The arms' difference, the baseline's rate, and the binomial variances of both rates, each rate of the events
    that are counted in units of what the arm has shown so far."""
    memory = state.memory
    shares = (memory[:, 3] + 0.5) / (memory[:, 2] + 1.0), (memory[:, 1] + 0.5) / (memory[:, 0] + 1.0)
    rates, spreads = [], []
    for share, n, x in zip(shares, (batch[:, 0], batch[:, 2]), (batch[:, 1], batch[:, 3]), strict=True):
        event = 1.0 - share if design.good else share
        rates.append((n - x if design.good else x) / n / event)
        spreads.append(share * (1.0 - share) / np.square(event) / n)
    return np.stack([rates[0] - rates[1], rates[1], *spreads], axis=1)


def _excess(now: Array, before: Array, spread: Array, spread_before: Array) -> tuple[Array, Array, Array]:
    """Weight of one pair of batches, and its weighted excess over the binomial, as it is and squared."""
    weight = 1.0 / (spread + spread_before)
    excess = weight * (np.square(now - before) - spread - spread_before)
    return weight, excess, np.square(excess)


def _floor(state: State, design: Design) -> Array:
    """κ²·Δt in seconds as it is believed now.

    From the baseline's halves: as history says. From its series, which also shows what hits both arms alike: the part
    of it that the rollout shows between its arms. Without history: what the rollout shows between its arms, and doubt
    that fades.
    """
    value, kind = state.floor[:, 0], state.floor[:, 1]
    if (kind == SPLIT).all():
        return value
    lessons = state.lessons.astype(np.float64)
    known = np.zeros_like(value)
    part = np.zeros_like(value)
    seen = np.zeros_like(value, dtype=np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        for row, size in enumerate(_LESSONS):
            pairs, w, over, squares, w_alone, alone, alone_squares = (lessons[:, row, i] for i in range(9, 16))
            error, error_alone = np.sqrt(squares), np.sqrt(alone_squares)
            here = size * (over + error) / w / 4.0
            known = np.maximum(known, np.where((w > 0.0) & (over > 2.0 * error), here, 0.0))
            told = (pairs >= _FEWEST_PAIRS) & (alone > 2.0 * error_alone)
            share = (over + _DOUBT * error) / w / (2.0 * alone / w_alone)
            part = np.maximum(part, np.where(told, share, 0.0))
            seen |= told
    series = np.where(seen & (part < 0.5), value * part, value)
    doubt = noise.UNKNOWN * _FADING / (_FADING + lessons[:, 0, 9])
    blank = known * design.seconds + doubt
    return np.asarray(np.where(kind == SPLIT, value, np.where(kind == SERIES, series, blank)))
