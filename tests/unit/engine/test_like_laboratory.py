"""The same counts through the operator's engine and through the laboratory's runner: the same end, at the same time.

The engine lives in a world with pods and a gateway, so each raise takes it a moment that the runner does not have; the
counts of an interval depend on its number and on the weight alone, so both see the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from modelrollout.api.gate import Gate
from modelrollout.engine.model import Input, Past
from modelrollout.gates.eprocess import Array
from modelrollout.gates.evidence import Arm, Counts, Interval
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.policy import find_policy
from modelrollout.lab.runner import Outcome, Results, run
from tests.support.world import CTR, ERRORS, World, spec

_INTERVAL = 5.0
_RPS = 200.0
_PAST = 720
_BAD, _TOTAL = 'requests_total{code=~"5.."}', "requests_total"
_CLICKS, _SHOWN = "clicks_total", "impressions_total"
_COLUMNS = (_BAD, _TOTAL, _CLICKS, _SHOWN)
_GATES: list[dict[str, Any]] = [ERRORS, ERRORS | {"name": "absolute", "atMost": "5%"}, CTR | {"labelsWithin": "20s"}]
_STEPS = [{"weight": 10, "hold": "5m"}, {"weight": 50, "hold": "5m"}]

Rate = Callable[[int], float]


@dataclass(frozen=True)
class Drawn:
    """What both see: counts that depend on the interval's number, the arm and its share of the traffic."""

    seed: int
    errors: Rate
    clicks: Rate

    def counts(self, candidate: bool, at: int, share: float) -> dict[str, float]:
        """Increments of one interval."""
        rng = np.random.default_rng([self.seed, at, int(candidate), round(share * 100)])
        errors, clicks = (self.errors(at), self.clicks(at)) if candidate else (0.01, 0.2)
        total = int(rng.poisson(_RPS * _INTERVAL * (share if candidate else 1.0 - share)))
        bad, good = int(rng.binomial(total, errors)), int(rng.binomial(total, clicks))
        return {_BAD: bad, _TOTAL: total, _CLICKS: good, _SHOWN: total}

    def past(self) -> list[dict[str, Array]]:
        """What both pods of the baseline counted before."""
        rng = np.random.default_rng([self.seed, 10**6])
        pods = []
        for _ in range(2):
            total = rng.poisson(_RPS * _INTERVAL / 2, _PAST).astype(np.float64)
            bad, good = (rng.binomial(total.astype(np.int64), share).astype(np.float64) for share in (0.01, 0.2))
            pods.append({_BAD: bad, _TOTAL: total, _CLICKS: good, _SHOWN: total})
        return pods


class InLaboratory:
    """The draws as a source of the runner."""

    runs, interval, columns = 1, _INTERVAL, _COLUMNS

    def __init__(self, drawn: Drawn) -> None:
        self._drawn, self._at, self._share = drawn, -1, 0.0
        self.times: Array = np.arange(1000.0) * _INTERVAL
        self.moved = np.zeros(1, dtype=np.bool_)
        pods = {str(n): {name: one[None, :] for name, one in pod.items()} for n, pod in enumerate(drawn.past())}
        self.history = Recording((np.arange(float(_PAST)) - _PAST) * _INTERVAL, _INTERVAL, {BASELINE: pods})

    def advance(self, share: Array) -> None:
        """See Source."""
        self._at, self._share = self._at + 1, float(share[0])

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """See Source."""
        found = self._drawn.counts(arm == CANDIDATE, self._at, self._share)
        return [np.array([float(found[name])]) for name in columns]


class InWorld(World):
    """The draws as the metrics of a world."""

    def __init__(self, first: dict[str, Any], drawn: Drawn) -> None:
        super().__init__(first)
        self._drawn = drawn
        self.origin: datetime | None = None
        self._shares: list[tuple[datetime, float]] = []

    def _pass_until(self, at: datetime) -> None:
        self._shares.append((self.clock, self.weight / 100.0))
        super()._pass_until(at)

    def _past(self, seen: Input, past: Past) -> dict[str, tuple[Interval, ...]]:
        begin, length, pods = past.end - timedelta(hours=2), timedelta(seconds=_INTERVAL), self._drawn.past()
        found: dict[str, tuple[Interval, ...]] = {}
        for gate in seen.spec.gates:
            intervals = []
            for n in range(_PAST):
                first, second = (_counted(gate, {name: float(one[n]) for name, one in pod.items()}) for pod in pods)
                at = begin + n * length
                intervals.append(Interval(at, at + length, None, first + second, (first, second)))
            found[gate.name] = tuple(intervals)
        return found

    def _gained(self, gate: Gate, revision: str, start: datetime, end: datetime) -> Arm:
        if self.origin is None:
            self.origin = self.status.evaluated_at
        if self.origin is None:
            return super()._gained(gate, revision, start, end)
        share = next((share for at, share in reversed(self._shares) if at <= start), 0.0)
        number = round((start - self.origin) / timedelta(seconds=_INTERVAL))
        found = self._drawn.counts(revision == self.candidate, number, share)
        return _counted(gate, found)


def _counted(gate: Gate, found: Mapping[str, float]) -> Counts:
    if gate.ratio is not None and gate.ratio.good is not None:
        return Counts(found[_SHOWN] - found[_CLICKS], found[_SHOWN])
    return Counts(found[_BAD], found[_TOTAL])


def _flat(rate: float) -> Rate:
    return lambda at: rate


def _from(at: int, before: float, after: float) -> Rate:
    return lambda now: after if now >= at else before


def _ramp(low: float, high: float, over: int) -> Rate:
    return lambda now: low + (high - low) * min(1.0, now / over)


_CASES: dict[str, tuple[Rate, Rate]] = {
    "good": (_flat(0.01), _flat(0.2)),
    "good again": (_flat(0.01), _flat(0.2)),
    "better": (_flat(0.005), _flat(0.22)),
    "on the margin": (_flat(0.02), _flat(0.2)),
    "a little bad": (_flat(0.03), _flat(0.2)),
    "bad": (_flat(0.05), _flat(0.2)),
    "very bad": (_flat(0.15), _flat(0.2)),
    "an outage": (_flat(0.6), _flat(0.2)),
    "bad in the first step's end": (_from(40, 0.01, 0.08), _flat(0.2)),
    "bad in the second step": (_from(90, 0.01, 0.05), _flat(0.2)),
    "an outage in the second step": (_from(90, 0.01, 0.6), _flat(0.2)),
    "a ramp": (_ramp(0.01, 0.08, 60), _flat(0.2)),
    "fewer clicks": (_flat(0.01), _flat(0.1)),
    "fewer clicks late": (_flat(0.01), _from(95, 0.2, 0.1)),
}


def _policy() -> dict[str, Any]:
    return spec(gates=_GATES, steps=_STEPS)


@pytest.mark.parametrize("case", _CASES)
def test_the_engine_decides_as_the_laboratory_does(case: str) -> None:
    drawn = Drawn(list(_CASES).index(case), *_CASES[case])
    told: Results = run(find_policy([{"kind": "ModelRollout", "spec": _policy()}]), InLaboratory(drawn))
    world = InWorld(_policy(), drawn)
    world.run(60)
    world.apply("2")
    world.run_until(lambda: world.status.failed is not None or world.stable == world.target)
    expected = told.summary()
    read = world.status.evaluated_at
    assert world.origin is not None and read is not None
    if told.outcome() is Outcome.PROMOTED:
        assert world.status.failed is None, world.status.message
        return
    assert world.status.failed is not None, f"the laboratory rolled back at {expected['at']}"
    assert world.status.failed.message.startswith(f"{expected['gate']}: ")
    took = (read - world.origin).total_seconds() - expected["at"] - _INTERVAL
    raises = 1 + int(told.step[0])
    assert abs(took) <= (2 + raises) * _INTERVAL
