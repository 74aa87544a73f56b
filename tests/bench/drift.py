"""How often the drift gates are wrong, and how many samples they need; with the Monte-Carlo error.

    python -m tests.bench.drift [--runs 400] [--only TEXT]
    python -m tests.bench.drift --ks        (three ways to watch a KS distance, by formula)

Every row runs the gate itself over ``looks`` intervals of two simulated arms. Distributions are normal and cut at the
baseline's deciles; the candidate is shifted until PSI (or KS) is what the row says. "Breached" and "proven" are the
shares of runs in which the gate said so at any look, with the upper 95 % bound where that is what the goal speaks of;
"@" is the median number of candidate samples at which it did. "Plain rule": PSI above the limit at any look from 100
samples on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import DriftMeasure
from modelrollout.api.grammar import parse_limit
from modelrollout.gates.asymptotic import half_width, planning_constant
from modelrollout.gates.buckets import Reference
from modelrollout.gates.divergence import psi
from modelrollout.gates.drift import DriftTest
from modelrollout.gates.evidence import Histogram, Interval

__all__ = ["SCENARIOS", "Result", "Scenario", "dkw_radius", "gate", "intervals", "run", "shares", "shifted"]

Floats = npt.NDArray[np.float64]
_NORMAL = NormalDist()
_START = datetime(2026, 11, 21, tzinfo=UTC)
_EVERY = timedelta(seconds=15)


@dataclass(frozen=True)
class Scenario:
    """Two arms and a gate. ``distance`` is the true PSI or KS; ``clump`` equal requests come together."""

    name: str
    measure: DriftMeasure = DriftMeasure.PSI
    limit: str = "0.2"
    distance: float = 0.0
    buckets: int = 10
    per_look: float = 40.0
    """The candidate's requests in an interval, Poisson distributed."""
    ratio: float = 1.0
    """The baseline's requests for each of the candidate's."""
    clump: int = 1
    looks: int = 200
    fixed: bool = False
    """Against a fixed reference."""
    mix: float = 0.0
    """Both arms' distribution moves to and fro over the run by so many standard deviations."""
    ramp: bool = False
    """The candidate's share of the traffic grows from a hundredth to one half."""
    wander: float = 0.0
    """The candidate's distribution alone wanders by so many standard deviations (AR(1), .9 from look to look)."""
    thin: bool = False
    """Buckets of equal width instead of equal share."""
    goal: str = ""


@dataclass(frozen=True)
class Result:
    """What the runs of a scenario said; ``..._at`` are the candidate's samples at the first such verdict."""

    runs: int
    breached_at: list[float]
    proven_at: list[float]
    plain: int

    @property
    def breached(self) -> float:
        """Share of runs breached at any look."""
        return len(self.breached_at) / self.runs

    @property
    def proven(self) -> float:
        """Share of runs proven at any look."""
        return len(self.proven_at) / self.runs


def shares(edges: Floats, mean: float) -> Floats:
    """Shares of a normal distribution with variance one between the edges."""
    cumulative = [_NORMAL.cdf(float(edge) - mean) for edge in edges]
    return np.asarray(np.diff(np.array([0.0, *cumulative, 1.0])), dtype=np.float64)


def _edges(scenario: Scenario) -> Floats:
    if scenario.thin:
        return np.asarray(np.linspace(-3.0, 3.0, scenario.buckets + 1)[1:-1], dtype=np.float64)
    return np.array([_NORMAL.inv_cdf(i / scenario.buckets) for i in range(1, scenario.buckets)])


def _distance(measure: DriftMeasure, p: Floats, q: Floats) -> float:
    if measure is DriftMeasure.PSI:
        return psi(tuple(p), tuple(q))
    return float(np.max(np.abs(np.cumsum(p) - np.cumsum(q))))


def shifted(scenario: Scenario) -> float:
    """The shift of the candidate's mean that makes the distance what it should be, by bisection."""
    edges = _edges(scenario)
    low, high = 0.0, 4.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        found = _distance(scenario.measure, shares(edges, middle), shares(edges, 0.0))
        low, high = (middle, high) if found < scenario.distance else (low, middle)
    return high if scenario.distance > 0.0 else 0.0


def _draw(random: np.random.Generator, events: float, clump: int, share: Floats) -> Floats:
    return np.asarray(random.multinomial(random.poisson(events / clump), share) * float(clump), dtype=np.float64)


def intervals(scenario: Scenario, random: np.random.Generator) -> Iterator[Interval]:
    """What the two arms of one run do, look by look."""
    edges, shift = _edges(scenario), shifted(scenario)
    bounds = (*(float(edge) for edge in edges), math.inf)
    still = shares(edges, shift), shares(edges, 0.0)
    away = 0.0
    for look in range(scenario.looks):
        ours, theirs = still
        if scenario.wander:
            away = 0.9 * away + random.normal(0.0, scenario.wander * math.sqrt(1.0 - 0.9**2))
            ours = shares(edges, shift + away)
        if scenario.mix:
            move = scenario.mix * math.sin(2.0 * math.pi * look / scenario.looks)
            ours, theirs = shares(edges, shift + move), shares(edges, move)
        events, their_events = scenario.per_look, scenario.per_look * scenario.ratio
        if scenario.ramp:
            share = 0.01 * math.pow(50.0, look / scenario.looks)
            events, their_events = scenario.per_look * share, scenario.per_look * (1.0 - share)
        arms = [
            Histogram(bounds, tuple(np.cumsum(_draw(random, count, scenario.clump, share_)).tolist()))
            for count, share_ in ((events, ours), (their_events, theirs))
        ]
        yield Interval(_START + look * _EVERY, _START + (look + 1) * _EVERY, arms[0], arms[1])


def gate(scenario: Scenario, alpha: float = 0.01) -> DriftTest:
    """The gate that a scenario is about."""
    reference = None
    if scenario.fixed:
        edges = _edges(scenario)
        reference = Reference((*(float(e) for e in edges), math.inf), tuple(shares(edges, 0.0).tolist()))
    return DriftTest(scenario.measure, parse_limit(scenario.limit), alpha, reference=reference)


def run(scenario: Scenario, runs: int, seed: int = 1) -> Result:
    """So many runs of a scenario, each with its own seed."""
    test, limit = gate(scenario), float(scenario.limit)
    breached_at, proven_at, plain = [], [], 0
    for one in range(runs):
        state, first, alarmed = test.start(), dict[Verdict, float](), False
        seen = np.zeros((2, scenario.buckets))
        for interval in intervals(scenario, np.random.default_rng([seed, one])):
            state = test.fold(state, interval)
            found = test.assess(state)
            first.setdefault(found.verdict, float(found.samples))
            seen += [arm.counts for arm in (interval.candidate, interval.baseline) if isinstance(arm, Histogram)]
            alarmed = alarmed or _plain_rule(scenario, np.diff(seen, prepend=0.0), limit)
        breached_at += [first[Verdict.BREACHED]] if Verdict.BREACHED in first else []
        proven_at += [first[Verdict.PROVEN]] if Verdict.PROVEN in first else []
        plain += alarmed
    return Result(runs, breached_at, proven_at, plain)


def _plain_rule(scenario: Scenario, arms: Floats, limit: float) -> bool:
    """The point rule with the usual floor of a ten-thousandth per bucket."""
    totals = arms.sum(axis=1, keepdims=True)
    if totals.min() < 100.0:
        return False
    p, q = np.maximum(arms / totals, 1e-4)
    other = shares(_edges(scenario), 0.0) if scenario.fixed else q
    return bool(_distance(scenario.measure, p, other) > limit)


_KS = DriftMeasure.KS
SCENARIOS = [
    Scenario("PSI equal, 1:1", goal="proven ≤ 800, no alarm"),
    Scenario("PSI equal, 20 buckets", buckets=20),
    Scenario("PSI equal, 1:9", ratio=9.0),
    Scenario("PSI equal, clumps of 5", clump=5, per_look=160.0),
    Scenario("PSI equal, fixed reference", fixed=True),
    Scenario("PSI equal, thin tails", thin=True),
    Scenario("PSI equal, mix moves, ramp", per_look=200.0, mix=1.0, ramp=True, goal="no alarm"),
    Scenario("PSI .1", distance=0.1, looks=400),
    Scenario("PSI on the limit .2", distance=0.2, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, 20 buckets", distance=0.2, buckets=20, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, 1:9", distance=0.2, ratio=9.0, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, clumps of 5", distance=0.2, clump=5, per_look=160.0, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, fixed reference", distance=0.2, fixed=True, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, thin tails", distance=0.2, thin=True, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .2, candidate wanders", distance=0.2, wander=0.15, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("PSI .4", distance=0.4, goal="breached ≤ 1500"),
    Scenario("PSI .4, clumps of 5", distance=0.4, clump=5, per_look=160.0),
    Scenario("KS equal", _KS, "0.1"),
    Scenario("KS equal, clumps of 5", _KS, "0.1", clump=5, per_look=160.0),
    Scenario("KS on the limit .1", _KS, "0.1", 0.1, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("KS .1, 1:9", _KS, "0.1", 0.1, ratio=9.0, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("KS .1, clumps of 5", _KS, "0.1", 0.1, clump=5, per_look=160.0, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("KS .1, candidate wanders", _KS, "0.1", 0.1, wander=0.15, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("KS .1, fixed reference", _KS, "0.1", 0.1, fixed=True, goal="breached ≤ 1 %, proven ≤ 5 %"),
    Scenario("KS .15", _KS, "0.1", 0.15),
    Scenario("KS .2", _KS, "0.1", 0.2, looks=120),
    Scenario("KS .3", _KS, "0.1", 0.3, looks=120),
]


# Three ways to watch a KS distance: samples at which each would decide were there no noise in the estimate


def dkw_radius(samples: float, alpha: float, first: float = 100.0, slope: float = 0.85) -> float:
    """The radius of the time-uniform Dvoretzky-Kiefer-Wolfowitz inequality, valid from ``first`` samples on.

    Source: S. Howard, A. Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification", Bernoulli 28 (2022), theorem 2.
    """

    def error(constant: float) -> float:
        etas = np.linspace(1.0001, 2.0 * slope**2, 2000)
        root = slope - np.sqrt(2.0 * (etas - 1.0) / constant)
        gamma = np.where(root > 0.0, 2.0 / etas * root**2, 0.0)
        bound = np.full_like(etas, np.inf)
        good = gamma > 1.0
        bound[good] = 4 * np.exp(-gamma[good] * constant) * (1 + 1 / ((gamma[good] - 1) * np.log(etas[good])))
        return float(bound.min())

    constant = _bisected(lambda c: error(c) <= alpha, 1.0, 100.0)
    return slope * math.sqrt((math.log(1.0 + math.log(samples / first)) + constant) / samples)


def _bisected(true_above: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if true_above(middle) else (middle, high)
    return high


def _divergence(p: float, q: float) -> float:
    return p * math.log(p / q) + (1.0 - p) * math.log((1.0 - p) / (1.0 - q))


def _ks_needs(truth: float, limit: float, alpha: float, edges: int) -> tuple[float, float, float]:
    """Samples per arm for the sequence per edge, an exact e-process per edge, and the inequality for all edges."""
    ours, theirs, gap = 0.5 + truth / 2, 0.5 - truth / 2, abs(truth - limit)
    level = alpha / (2 * edges) if truth > limit else alpha
    spread, planned = ours * (1 - ours) + theirs * (1 - theirs), planning_constant(alpha) / limit**2
    sequence = _bisected(lambda n: half_width(spread / n, planned, level) <= gap, 1.0, 1e7)
    middles = np.linspace(0.01, 0.99 - limit, 4000)
    information = min(_divergence(ours, t + limit) + _divergence(theirs, t) for t in middles.tolist())
    process = (math.log(1.0 / level) + 1.9) / information
    inequality = _bisected(lambda n: 2.0 * dkw_radius(n, alpha / 2) <= gap, 101.0, 1e7)
    return sequence, process, inequality


def _print_ks() -> None:
    print("| true KS, limit .1 | sequence per edge (ours) | e-process per edge | time-uniform DKW |\n|---|---|---|---|")
    for truth in (0.0, 0.15, 0.2, 0.3):
        needs = _ks_needs(truth, 0.1, 0.05 if truth < 0.1 else 0.01, edges=9)
        print(f"| {truth} {'proven' if truth < 0.1 else 'breached'} | " + " | ".join(f"{n:.0f}" for n in needs) + " |")


def _upper(count: int, runs: int) -> float:
    """Upper 95 % bound of a share (Clopper-Pearson's for none, Wilson's otherwise), in percent."""
    if count == 0:
        return 100.0 * (1.0 - math.pow(0.05, 1.0 / runs))
    z = 1.645
    share = count / runs
    centre = share + z * z / (2 * runs)
    return 100.0 * (centre + z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs**2))) / (1 + z * z / runs)


def _told(at: list[float], runs: int) -> str:
    share = f"{100 * len(at) / runs:.1f} (≤ {_upper(len(at), runs):.1f})"
    return share + (f" @{np.median(at):.0f}" if len(at) > runs / 10 else "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--ks", action="store_true", help="compare three ways to watch a KS distance, by formula")
    asked = parser.parse_args()
    if asked.ks:
        _print_ks()
        return
    print(f"{asked.runs} runs each; alpha 1 %, beta 5 %; in brackets the upper 95 % bound of the share\n")
    print("| scenario | breached % @median | proven % @median | plain rule alarms % | goal |\n|---|---|---|---|---|")
    for scenario in SCENARIOS:
        if asked.only in scenario.name:
            found = run(scenario, asked.runs)
            told = _told(found.breached_at, asked.runs), _told(found.proven_at, asked.runs)
            print(
                f"| {scenario.name} | {told[0]} | {told[1]} | {100 * found.plain / asked.runs:.0f} | {scenario.goal} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
