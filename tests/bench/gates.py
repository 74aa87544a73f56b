"""What a gate's test costs, how often it is wrong, and how soon it is right.

    python -m tests.bench.gates                    updates per second, bytes of state, time of a verdict
    python -m tests.bench.gates --nulls            candidates within the limit: how many are rolled back
    python -m tests.bench.gates --effects          candidates beyond it: how many are, and after how many minutes

Options: ``--runs 1000``, ``--only TEXT`` (rows whose name contains it). Intervals are of 15 s, a rollout takes 2 h
where nothing else is said, ``falseRollbackRate`` is 1 %: 0.6 % for the process, 0.3 % for the look at the end. The
noise floor is estimated from 12 h of history of the same kind of traffic, afresh for each of 40 histories. Seeds are
fixed. Errors of the shares are binomial: ±0.3 points for 1 % of 1000 runs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from modelrollout.api.grammar import parse_limit
from modelrollout.gates import noise, sequential
from modelrollout.gates.eprocess import Array, Line
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval
from modelrollout.gates.rate import RateTest, budget
from modelrollout.gates.sequential import Design, Slot

__all__ = ["EFFECTS", "NULLS", "Found", "Scenario", "run"]

_SECONDS: Final = 15.0
_HISTORY: Final = 2880
_HISTORIES: Final = 40
_ERRORS: Final = Line(1.0, 0.002)
_CLICKS: Final = Line(0.99, 0.01)
_SLOW: Final = Line(0.0, 0.05)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two arms and a gate.

    ``requests``: of both arms in a second; ``shares``: the candidate's part, one for each step of equal length;
    ``rate``: share of events that are counted; ``times``: the candidate's rate over the baseline's, from ``onset``
    (intervals) on; ``kind``: how rates wander; ``past``: what history there is; ``clump``: requests that share one
    fate; ``lost``: share of intervals that are not measured; ``lag``: mean seconds until a counted event is seen.
    """

    name: str
    requests: float = 50.0
    shares: tuple[float, ...] = (0.1,)
    rate: float = 0.01
    times: float = 1.0
    line: Line = _ERRORS
    kind: str = "even"
    past: str = "halves"
    looks: int = 480
    good: bool = False
    guard: bool = False
    onset: int = 0
    gates: int = 1
    clump: int = 1
    lost: float = 0.0
    lag: float = 0.0
    warmup: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Shares of runs that were found broken at any time, and by the last look only; median minutes from the onset
    (infinity when fewer than half); share of runs proven at the end."""

    broken: float
    by_look: float
    minutes: float
    proven: float


# Traffic


def _wander(random: np.random.Generator, runs: int, looks: int, sigma: float) -> Array:
    """A log-normal rate with mean 1 whose logarithm is AR(1), 0.9 from interval to interval."""
    steps = random.normal(size=(looks, runs))
    for t in range(1, looks):
        steps[t] = 0.9 * steps[t - 1] + math.sqrt(0.19) * steps[t]
    return np.asarray(np.exp(sigma * steps.T - sigma * sigma / 2.0))


def _failures(random: np.random.Generator, runs: int, looks: int) -> Array:
    """Five minutes of twenty times the rate, once an hour."""
    times = np.ones((runs, looks))
    for hour in range(0, looks, 240):
        begins = hour + random.integers(0, 220, size=runs)
        for k in range(20):
            times[np.arange(runs), np.minimum(begins + k, looks - 1)] = 20.0
    return times


def _day(looks: int, depth: float) -> Array:
    return np.asarray(1.0 + depth * np.sin(2.0 * math.pi * np.arange(looks) / 5760.0))


def _rates(scenario: Scenario, random: np.random.Generator, runs: int, looks: int) -> Array:
    """Shares of counted events of two arms (2, runs, looks)."""
    rates = np.full((2, runs, looks), scenario.rate)
    if scenario.kind == "bursty":
        rates *= random.gamma(4.0, 0.25, size=rates.shape)
    elif scenario.kind == "wandering":
        rates *= np.stack([_wander(random, runs, looks, 0.3) for _ in range(2)])
    elif scenario.kind == "shared":
        rates *= _wander(random, runs, looks, 0.5) * _failures(random, runs, looks)
    elif scenario.kind == "blips":
        rates = np.where(random.random(rates.shape) < 1.0 / 120.0, 0.5, rates)
    elif scenario.kind == "daily":
        rates *= _day(looks, 0.5)
    return np.asarray(np.clip(rates, 0.0, 0.95))


def _counts(scenario: Scenario, random: np.random.Generator, requests: Array, rates: Array) -> tuple[Array, Array]:
    """Requests and counted events, in clumps."""
    clumps = random.poisson(requests / scenario.clump, rates.shape)
    counted = random.binomial(clumps, rates)
    return (clumps * scenario.clump).astype(np.float64), (counted * scenario.clump).astype(np.float64)


def _late(scenario: Scenario, random: np.random.Generator, events: Array) -> Array:
    """The events when they are seen: each an exponential time after an arrival anywhere in its interval."""
    lag = scenario.lag / _SECONDS
    left, seen = events.astype(np.int64), np.zeros_like(events)
    still = 1.0
    for later in range(events.shape[1]):
        before = still
        still = lag * (1.0 - math.exp(-1.0 / lag)) * math.exp(-later / lag)
        told = random.binomial(left, 1.0 - still / before)
        seen[:, later:] += told[:, : events.shape[1] - later]
        left -= told
        if not left.any():
            break
    return seen


def _history(scenario: Scenario, random: np.random.Generator) -> Array | None:
    """Noise floors, as some histories tell them."""
    if scenario.past == "none":
        return None
    daily = _day(_HISTORY, 0.5) if scenario.kind == "daily" else np.ones(_HISTORY)
    halves = scenario.past == "halves"
    rates = _rates(scenario, random, _HISTORIES, _HISTORY)
    each = np.broadcast_to(scenario.requests * _SECONDS * daily * (0.5 if halves else 1.0), rates.shape[1:])
    arms = [_counts(scenario, random, each, one) for one in rates]
    found = []
    for i in range(_HISTORIES):
        (n1, x1), (n2, x2) = ((n[i], n[i] - x[i] if scenario.good else x[i]) for n, x in arms)
        if halves:
            found.append(noise.between_halves(n1, x1, n2, x2, _SECONDS, good=scenario.good))
        else:
            found.append(noise.within_series(n1, x1, _SECONDS, good=scenario.good))
    return np.array(found)


def _arms(scenario: Scenario, random: np.random.Generator, runs: int) -> tuple[Array, Array, Array, Array]:
    """Counts (runs, looks): requests and bad ones of the candidate and of the baseline."""
    looks = scenario.looks
    share = np.repeat(scenario.shares, math.ceil(looks / len(scenario.shares)))[:looks]
    each = scenario.requests * _SECONDS * (_day(looks, 0.5) if scenario.kind == "daily" else np.ones(looks))
    rates = _rates(scenario, random, runs, looks)
    rates[1, :, scenario.onset :] *= scenario.times
    rates[1] = np.minimum(rates[1], 0.98)
    nb, xb = _counts(scenario, random, np.broadcast_to(each * (1.0 - share), (runs, looks)), rates[0])
    nc, xc = _counts(scenario, random, np.broadcast_to(each * share, (runs, looks)), rates[1])
    if scenario.lag > 0.0:
        before = min(round(10.0 * scenario.lag / _SECONDS), looks)
        xb = _late(scenario, random, np.concatenate([xb[:, :before], xb], axis=1))[:, before:]
        xc = _late(scenario, random, xc)
    return (nc, nc - xc, nb, nb - xb) if scenario.good else (nc, xc, nb, xb)


# The test


def run(scenario: Scenario, runs: int, seed: int = 1) -> Found:
    """So many rollouts of a scenario."""
    at, looked, proven = np.full(runs, np.inf), np.zeros(runs, dtype=np.bool_), np.ones(runs, dtype=np.bool_)
    for gate in range(scenario.gates):
        when, late, shown = _one_gate(scenario, np.random.default_rng([seed, gate]), runs)
        at, looked, proven = np.minimum(at, when), looked | late, proven & shown
    minutes = (float(np.median(at)) - scenario.onset) * _SECONDS / 60.0
    return Found(float(np.isfinite(at).mean()), float(looked.mean()), minutes, float(proven.mean()))


def _one_gate(
    scenario: Scenario, random: np.random.Generator, runs: int
) -> tuple[Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The interval (from 1) at which each run was found broken, whether the last look found it, and whether it is
    proven at the end."""
    floors = _history(scenario, random)
    floor = None if floors is None else random.choice(floors, runs)
    steps = len(scenario.shares)
    part = budget(0.01, scenario.gates, steps)
    horizon = scenario.looks / steps * sum(scenario.shares) / scenario.shares[0]
    design = Design(
        scenario.line,
        part.alpha,
        part.look_alpha,
        guard=scenario.guard,
        good=scenario.good,
        later_steps=steps - 1,
        horizon=horizon,
    )
    known = 0.0 if floor is None else 480.0 * scenario.requests * _SECONDS
    bad = known * (1.0 - scenario.rate if scenario.good else scenario.rate)
    state = sequential.start(runs, floor=floor, split=scenario.past == "halves", requests=known, bad=bad)
    return _rollouts(scenario, design, state, _arms(scenario, random, runs), random)


def _rollouts(
    scenario: Scenario,
    design: Design,
    state: sequential.State,
    arms: tuple[Array, ...],
    random: np.random.Generator,
) -> tuple[Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    runs, looks = arms[0].shape
    length = math.ceil(looks / len(scenario.shares))
    at, looked = np.full(runs, np.inf), np.zeros(runs, dtype=np.bool_)
    for t in range(looks):
        if t and t % length == 0:
            state = sequential.seal(state, design)
        measured = random.random(runs) >= scenario.lost
        slot = Slot.of(*(np.where(measured, values[:, t], 0.0) for values in arms))
        state = sequential.fold(state, design, slot, measured & (t % length >= scenario.warmup))
        if (t + 1) % length == 0 or t + 1 == looks:
            before = state.beyond > 0.0
            state = sequential.look(state, design)
            looked |= (state.beyond > 0.0) & ~before
        at = np.where((state.beyond > 0.0) & np.isinf(at), t + 1.0, at)
    proven = (sequential.log_proof(state) >= math.log(20.0)) & (sequential.log_breach(state, design) <= math.log(10.0))
    return at, looked, proven


# Scenarios


def _nulls() -> list[Scenario]:
    found = []
    for past in ("halves", "series", "none"):
        for kind in ("even", "bursty", "wandering", "shared", "blips", "daily"):
            for requests in (1.0, 50.0, 1000.0):
                name = f"errors, history {past}, {kind}, {requests:g}/s"
                good = Scenario(name, requests, kind=kind, past=past)
                found.append(good)
                if kind in ("even", "bursty", "wandering"):
                    found.append(replace(good, name=f"{name}, on the limit", times=1.2))
    for kind in ("even", "bursty", "wandering"):
        for requests in (50.0, 1000.0):
            clicks = Scenario(f"clicks, {kind}, {requests:g}/s, on the limit", requests, rate=0.03, times=0.99)
            found.append(replace(clicks, kind=kind, line=_CLICKS, good=True))
            slow = Scenario(f"slow, {kind}, {requests:g}/s, on the limit", requests, rate=0.05, line=_SLOW, kind=kind)
            found += [slow, replace(slow, name=slow.name + ", guard", guard=True)]
    return found + _other_nulls()


def _other_nulls() -> list[Scenario]:
    ramp = Scenario("ramp 1 → 10 → 50 %", shares=(0.01, 0.1, 0.5))
    late = Scenario("late clicks", rate=0.03, line=_CLICKS, good=True)
    found = [
        Scenario("half and half, on the limit", shares=(0.5,), times=1.2),
        Scenario("a hundredth, on the limit", shares=(0.01,), times=1.2),
        Scenario("lost 20 %, on the limit", lost=0.2, times=1.2),
        replace(ramp, name=ramp.name + ", on the limit", times=1.2),
        replace(ramp, name=ramp.name + ", wandering", kind="wandering"),
        replace(ramp, name=ramp.name + ", daily, 1000/s", kind="daily", requests=1000.0),
        Scenario("three gates, on the limit", gates=3, times=1.2),
        Scenario("three gates, wandering, on the limit", gates=3, times=1.2, kind="wandering", requests=1000.0),
        replace(ramp, name=ramp.name + ", three gates, wandering", gates=3, kind="wandering"),
        Scenario("clumps of 5, half and half", clump=5, shares=(0.5,)),
        Scenario("clumps of 5, a tenth", clump=5),
        Scenario("clumps of 5, a tenth, on the limit", clump=5, times=1.2),
        Scenario("clumps of 5, a tenth, on the limit, 1000/s", 1000.0, clump=5, times=1.2),
    ]
    for lag in (30.0, 120.0):
        for requests in (50.0, 1000.0):
            one = replace(late, name=f"clicks {lag:g} s late, {requests:g}/s", requests=requests, lag=lag)
            found += [
                replace(one, warmup=math.ceil(4.6 * lag / _SECONDS)),
                replace(one, name=one.name + ", judged at once"),
            ]
    for kind in ("even", "bursty", "wandering", "daily"):
        day = Scenario(f"24 h, {kind}, 50/s", kind=kind, looks=5760)
        found.append(day)
        if kind != "daily":  # a fifth more than a rate that rises is beyond the limit by day
            found.append(replace(day, name=day.name + ", on the limit", times=1.2))
    return found


def _effects() -> list[Scenario]:
    outage = replace(Scenario("outage, 1/s"), requests=1.0, times=50.0)
    found = [
        outage,
        replace(outage, name="outage, 0.1/s", requests=0.1),
        replace(outage, name="outage, 50/s", requests=50.0),
    ]
    for requests, share, times in (
        (1.0, 0.1, 5.0),
        (10.0, 0.1, 2.0),
        (50.0, 0.01, 2.0),
        (50.0, 0.1, 1.5),
        (50.0, 0.1, 2.0),
        (50.0, 0.1, 5.0),
        (50.0, 0.5, 1.5),
        (1000.0, 0.1, 1.5),
        (1000.0, 0.1, 2.0),
    ):
        found.append(Scenario(f"errors ×{times:g}, {requests:g}/s, {share:.0%}", requests, (share,), times=times))
    for past in ("halves", "series", "none"):
        for kind in ("even", "bursty", "wandering", "shared"):
            for requests in (50.0, 1000.0):
                name = f"errors ×2, history {past}, {kind}, {requests:g}/s"
                found.append(Scenario(name, requests, kind=kind, past=past, times=2.0))
    for requests, times in ((50.0, 0.9), (50.0, 0.5), (1000.0, 0.97), (1000.0, 0.9), (10_000.0, 0.97)):
        clicks = Scenario(
            f"clicks ×{times:g}, {requests:g}/s", requests, rate=0.03, times=times, line=_CLICKS, good=True
        )
        found.append(clicks)
    for times in (1.5, 2.5):
        found.append(Scenario(f"slow ×{times:g} of 4 %", rate=0.04, times=times, line=_SLOW, guard=True))
    for requests, times in ((50.0, 2.0), (50.0, 5.0), (1000.0, 2.0)):
        found.append(Scenario(f"errors ×{times:g} after an hour, {requests:g}/s", requests, times=times, onset=240))
    return found


NULLS: Final = _nulls()
"""Candidates within their limit."""
EFFECTS: Final = _effects()
"""Candidates beyond it."""


def _table(scenarios: list[Scenario], runs: int, only: str) -> None:
    print(f"{runs} runs each; ± is one standard error\n")
    print("| scenario | rolled back % | of these by the look | median minutes | proven % |\n|---|---|---|---|---|")
    for scenario in scenarios:
        if only in scenario.name:
            count = runs if scenario.looks < 1000 else min(runs, 500)
            found = run(scenario, count)
            error = math.sqrt(found.broken * (1.0 - found.broken) / count)
            cells = f"{100 * found.broken:.1f} ± {100 * error:.1f} | {100 * found.by_look:.1f} | {found.minutes:.2f}"
            print(f"| {scenario.name} | {cells} | {100 * found.proven:.0f} |", flush=True)


# What it costs


def _best(work: Callable[[], object], times: int = 400) -> float:
    """Microseconds; the tenth percentile, which a busy machine disturbs least."""
    took = []
    for _ in range(times):
        begins = time.perf_counter()
        work()
        took.append(time.perf_counter() - begins)
    return float(np.quantile(took, 0.1)) * 1e6


def _interval(candidate: Arm, baseline: Arm) -> Interval:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return Interval(start, start + timedelta(seconds=_SECONDS), candidate, baseline)


def _costs() -> None:
    ratio = RateTest("errors", parse_limit("baseline + 0.2pp"), False, 100, 0.002, 0.0005)
    latency = RateTest("p95", parse_limit("200ms"), False, 100, 0.002, 0.0005, quantile=0.95)
    bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)
    shares = np.linspace(0.2, 1.0, len(bounds))
    counts = _interval(Counts(1.0, 75.0), Counts(6.0, 675.0))
    durations = _interval(*(Histogram(bounds, tuple((n * shares).round().tolist())) for n in (75.0, 675.0)))
    print("| gate | history | µs an update | updates/s | µs a verdict | bytes of state |\n|---|---|---|---|---|---|")
    for test, interval in ((ratio, counts), (latency, durations)):
        for past in ("halves", "series", "none"):
            history = replace(test.history, floor=None if past == "none" else 1.0, split=past == "halves")
            one = replace(test, history=replace(history, requests=1e5, bad=1e3))
            state = one.start()
            for _ in range(200):
                state = one.fold(state, interval)
            fold = _best(lambda one=one, state=state, interval=interval: one.fold(state, interval))  # type: ignore[misc]
            verdict = _best(lambda one=one, state=state: one.assess(state))  # type: ignore[misc]
            size = len(one.dump(state))
            print(f"| {one.name} | {past} | {fold:.0f} | {1e6 / fold:,.0f} | {verdict:.0f} | {size} |")
    for together in (10, 100, 1000):
        states = sequential.start(together, floor=1.0, requests=1e5, bad=1e3)
        slot = Slot.of(*(np.full(together, value) for value in (75.0, 1.0, 675.0, 6.0)))
        states = sequential.fold(states, ratio.design, slot)
        took = _best(lambda states=states, slot=slot: sequential.fold(states, ratio.design, slot)) / together  # type: ignore[misc]
        print(f"| {together} rollouts of one gate at once | halves | {took:.1f} | {1e6 / took:,.0f} | | |")


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nulls", action="store_true")
    parser.add_argument("--effects", action="store_true")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    asked = parser.parse_args()
    if asked.nulls:
        _table(NULLS, asked.runs, asked.only)
    if asked.effects:
        _table(EFFECTS, asked.runs, asked.only)
    if not (asked.nulls or asked.effects):
        _costs()


if __name__ == "__main__":
    main()
