"""Gates of many rollouts folded at once: bit for bit what each comes to alone, whoever stands beside it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from modelrollout.api.grammar import parse_limit
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval
from modelrollout.gates.rate import History, RateState, RateTest
from modelrollout.gates.together import Job, Link, fold_together

_START = datetime(2026, 11, 21, tzinfo=UTC)
_BOUNDS = (0.1, 0.2, 0.5, math.inf)
_RATIO = RateTest("errors", parse_limit("baseline + 1pp"), False, 100, 0.002, 0.0005, seconds=2.0)
_TESTS = [
    _RATIO,
    replace(_RATIO, limit=parse_limit("5%")),
    replace(_RATIO, limit=parse_limit("80% of baseline"), at_least=True, good=True, later_steps=2),
    replace(_RATIO, limit=parse_limit("150ms"), quantile=0.95),
    replace(_RATIO, limit=parse_limit("110% of baseline"), quantile=0.9),
]
_HISTORIES = [
    History(),
    History(1.0, True, 1e5, 1e3),
    History(0.3, False, 1e4, 150.0),
]


def _arm(test: RateTest, rng: np.random.Generator, requests: float, share: float) -> Arm | None:
    if rng.random() < 0.05:
        return None
    total = float(rng.poisson(requests))
    bad = float(rng.binomial(int(total), share))
    return Counts(bad, total) if test.quantile is None else Histogram(_BOUNDS, (total / 2, total - bad, total, total))


def _evidence(state: RateState) -> bytes:
    table = state.counts.table.tobytes() + state.counts.lessons.tobytes()
    return table + repr((state.candidate, state.baseline, state.memory)).encode()


def _chain(test: RateTest, rng: np.random.Generator, share: float, first: int, count: int) -> tuple[Link, ...]:
    """Intervals that wait; mostly one."""
    length = timedelta(seconds=2)
    starts = [_START + (first + number) * length for number in range(count)]
    arms = [(_arm(test, rng, 40.0, share), _arm(test, rng, 360.0, 0.01)) for _ in starts]
    those = zip(starts, arms, strict=True)
    return tuple(Link(Interval(start, start + length, *both), bool(rng.random() < 0.9)) for start, both in those)


def _one_by_one(test: RateTest, state: RateState, links: tuple[Link, ...]) -> RateState:
    for link in links:
        state = test.fold(state, link.interval, judged=link.judged)
    return state


@pytest.mark.parametrize("seed", range(6))
def test_folded_together_is_folded_alone_to_the_last_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    tests = [replace(_TESTS[rng.integers(5)], history=_HISTORIES[rng.integers(3)]) for _ in range(count)]
    shares = rng.choice((0.01, 0.05, 0.3), count)
    alone = together = [test.start() for test in tests]
    for t in range(25):
        chains = [
            _chain(test, rng, share, 5 * t, 1 if t % 3 else int(rng.integers(1, 5)))
            for test, share in zip(tests, shares, strict=True)
        ]
        alone = [_one_by_one(*one) for one in zip(tests, alone, chains, strict=True)]
        together = fold_together([Job(*one) for one in zip(tests, together, chains, strict=True)])
        for test, one, other in zip(tests, alone, together, strict=True):
            assert _evidence(one) == _evidence(other)
            assert test.assess(one) == test.assess(other), "also what was worked out for all at once"
            assert test.dump(one) == test.dump(other)
            assert _evidence(test.load(test.dump(other))) == _evidence(one)


def test_a_planned_look_and_a_new_step_forget_what_was_worked_out_before() -> None:
    interval = Interval(_START, _START + timedelta(seconds=2), Counts(30.0, 60.0), Counts(1.0, 400.0))
    test = replace(_RATIO, history=_HISTORIES[1])
    (state,) = fold_together([Job(test, test.start(), (Link(interval, True),))])
    assert state.worked is not None
    for after in (test.end_hold(state), test.begin_step(state), test.fold(state, interval)):
        assert after.worked is None
        assert test.dump(after) != test.dump(state) or after.counts.table.tobytes() == state.counts.table.tobytes()
