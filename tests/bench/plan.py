"""How far the forecast of the requests needed is from simulation: ``python -m tests.bench.plan [--runs 2000]``.

For each case candidates of one kind are simulated until four of five are caught (or proven), by the test that the
operator runs, and the candidate requests that this took are compared with the forecast. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from modelrollout.gates import power, sequential
from modelrollout.gates.eprocess import Array, Line
from modelrollout.gates.power import Stretch
from modelrollout.gates.sequential import Design, Slot

__all__ = ["CASES", "Case", "Measured", "breach", "prove"]

_INTERVAL: Final = 15.0
_BETA: Final = 0.05


@dataclass(frozen=True, slots=True)
class Case:
    """``requests``: of the candidate in one interval; ``ratio``: for one of the baseline; ``floor``: κ²·Δt in seconds
    of the traffic, which the test knows; ``proof``: the share of bad events of a candidate to be proven."""

    name: str
    line: Line
    baseline: float
    candidate: float
    requests: float
    ratio: float = 1.0 / 9.0
    alpha: float = 0.006
    floor: float = 0.0
    good: bool = False
    guard: bool = False

    @property
    def stretch(self) -> Stretch:
        """The traffic, as the forecast takes it."""
        rate = self.requests / _INTERVAL
        phi = power.dispersions(rate, rate / self.ratio, self.baseline, self.floor, good=self.good)
        return Stretch(math.inf, self.ratio, *phi)

    def forecast(self) -> float:
        """Requests until such a candidate is caught four times of five, or proven when it is just like the baseline."""
        found = power.forecast(
            self.line, self.baseline, [self.stretch], self.alpha, wanted=self.candidate, guard=self.guard, beta=_BETA
        )
        answer = found.to_prove if self.candidate == self.baseline else found.needed
        assert answer is not None
        return answer


_ERRORS = Line(1.0, 0.002)
_SLOW = Line(0.0, 0.05)
_CLICKS = Line(0.99, 0.01)

CASES: Final = (
    Case("errors 1 % → 1.5 %", _ERRORS, 0.01, 0.015, 750),
    Case("errors 1 % → 2 %", _ERRORS, 0.01, 0.02, 75),
    Case("errors 1 % → 5 %", _ERRORS, 0.01, 0.05, 15),
    Case("errors 0.1 % → 0.5 %", _ERRORS, 0.001, 0.005, 75),
    Case("errors 5 % → 8 %, 110% of baseline", Line(1.1, 0.0), 0.05, 0.08, 75),
    Case("errors 1 % → 2 %, half of the traffic", _ERRORS, 0.01, 0.02, 375, ratio=1.0),
    Case("errors 1 % → 2 %, a hundredth of the traffic", _ERRORS, 0.01, 0.02, 75, ratio=1.0 / 99.0),
    Case("errors 1 % → 2 %, bursty", _ERRORS, 0.01, 0.02, 150, floor=3.75),
    Case("slow 4 % → 7.5 %", _SLOW, 0.04, 0.075, 75, guard=True),
    Case("slow 4 % → 10 %", _SLOW, 0.04, 0.10, 15, guard=True),
    Case("clicks 3 % → 2.7 %", _CLICKS, 0.97, 0.973, 3000, good=True),
    Case("clicks 3 % → 1.5 %", _CLICKS, 0.97, 0.985, 75, good=True),
)
"""Baselines and harms of very different sizes, each with the traffic of one interval."""

PROOFS: Final = (
    Case("errors 1 %, proven", _ERRORS, 0.01, 0.01, 300),
    Case("errors 0.1 %, proven", _ERRORS, 0.001, 0.001, 75),
    Case("slow 4 %, proven", _SLOW, 0.04, 0.04, 75, guard=True),
    Case("clicks 3 %, proven within 10 %", Line(0.9, 0.1), 0.97, 0.97, 750, good=True),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests that four of five took, with the ends of its 95 % interval (from the order statistics)."""

    forecast: float
    requests: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Forecast over simulation: above 1, the forecast is careful."""
        return self.forecast / self.requests


def breach(case: Case, runs: int, seed: int) -> Measured:
    """Simulate until four of five are caught."""
    return _measure(case, runs, seed, needed=math.log(1.0 / case.alpha))


def prove(case: Case, runs: int, seed: int) -> Measured:
    """Simulate until four of five are proven."""
    return _measure(case, runs, seed, needed=None)


def _measure(case: Case, runs: int, seed: int, needed: float | None) -> Measured:
    rng = np.random.default_rng(seed)
    forecast = case.forecast()
    planned = 2.0 * forecast / case.requests
    design = Design(
        case.line, case.alpha, guard=case.guard, seconds=_INTERVAL, good=case.good, horizon=max(planned, 4.0)
    )
    known = 480.0 * case.requests / case.ratio
    state = sequential.start(runs, floor=case.floor, requests=known, bad=known * case.baseline)
    exposed, took = np.zeros(runs), np.full(runs, np.inf)
    for _ in range(math.ceil(3.0 * planned) + 5):
        slot = _slot(case, runs, rng)
        exposed += slot.nc
        state = sequential.fold(state, design, slot)
        if needed is None:
            done = sequential.log_proof(state) >= math.log(1.0 / _BETA)
        else:
            done = sequential.log_breach(state, design) >= needed
        took = np.where(done & np.isinf(took), exposed, took)
        if np.mean(np.isfinite(took)) > 0.9:
            break
    ordered = np.sort(took)
    spread = 1.96 * math.sqrt(0.16 * runs)
    low, high = (ordered[min(max(round(0.8 * runs + sign * spread), 0), runs - 1)] for sign in (-1, 1))
    return Measured(forecast, float(ordered[round(0.8 * runs)]), float(low), float(high))


def _slot(case: Case, runs: int, rng: np.random.Generator) -> Slot:
    nc = rng.poisson(case.requests, runs).astype(np.float64)
    nb = rng.poisson(case.requests / case.ratio, runs).astype(np.float64)
    xc, xb = (
        rng.binomial(n.astype(np.int64), _share(case, share, runs, rng)).astype(np.float64)
        for n, share in ((nc, case.candidate), (nb, case.baseline))
    )
    return Slot.of(nc, xc, nb, xb)


def _share(case: Case, share: float, runs: int, rng: np.random.Generator) -> Array:
    """Bad events' share in one interval of each run: gamma around its mean when the traffic is bursty."""
    if case.floor <= 0.0:
        return np.full(runs, share)
    variance = case.floor / _INTERVAL
    burst = rng.gamma(1.0 / variance, variance, runs)
    return np.asarray(np.clip(1.0 - (1.0 - share) * burst if case.good else share * burst, 0.0, 1.0))


def main() -> int:
    """Print the table; exit code 1 when a forecast is off by more than a fifth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    print(f"{'case':<48} {'alpha':>7} {'forecast':>10} {'simulated (95 %)':>26} {'ratio':>6}")
    worst = 0.0
    for case in CASES:
        for alpha in (0.006, 0.002, 0.0006):
            worst = max(worst, _row(replace(case, alpha=alpha), breach(replace(case, alpha=alpha), runs, seed=1)))
    for case in PROOFS:
        worst = max(worst, _row(case, prove(case, runs, seed=1)))
    print(f"largest deviation {worst:.0%}")
    return 0 if worst <= 0.2 else 1


def _row(case: Case, found: Measured) -> float:
    interval = f"{found.requests:,.0f} ({found.low:,.0f}–{found.high:,.0f})"
    print(f"{case.name:<48} {case.alpha:>7} {found.forecast:>10,.0f} {interval:>26} {found.ratio:>6.2f}", flush=True)
    return abs(found.ratio - 1.0)


if __name__ == "__main__":
    sys.exit(main())
