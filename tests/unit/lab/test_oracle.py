"""The oracles are as fast as the theory says, and err no more often than they may."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelrollout.gates.eprocess import Line, divergence
from modelrollout.lab.oracle import Truth, one_arm, two_arms
from modelrollout.lab.rivals import NEVER, Arms

TRUTH = Truth(0.01, 0.02, Line(1.0, 0.002), alpha=0.01)


def drawn(share: float, runs: int = 2000, slots: int = 480, requests: int = 75, times: int = 9) -> Arms:
    rng = np.random.default_rng(5)
    nc, nb = np.full((runs, slots), float(requests)), np.full((runs, slots), float(requests * times))
    xc = rng.binomial(requests, share, (runs, slots)).astype(float)
    return Arms(nc, xc, nb, rng.binomial(requests * times, 0.01, (runs, slots)).astype(float), 15.0)


def test_walds_test_takes_the_requests_that_his_approximation_gives() -> None:
    """E[N] ≈ ln(1/α) / KL (Wald 1945, eq. 4.9), a little more because the last interval overshoots."""
    found = one_arm(drawn(0.02), TRUTH)
    wanted = math.log(100.0) / divergence(0.02, 0.01, Line(0.0, 0.012), ratio=1.0)
    mean = (found + 1).mean() * 75
    assert (found != NEVER).all()
    assert wanted < mean < wanted * 1.25 + 75


def test_walds_test_errs_no_more_often_than_it_may() -> None:
    assert (one_arm(drawn(0.012), TRUTH) != NEVER).mean() <= 0.01 + 3 * math.sqrt(0.01 / 2000)


def test_the_test_that_measures_the_baseline_is_slower_and_errs_no_more_often() -> None:
    harmful = drawn(0.02)
    assert np.median(two_arms(harmful, TRUTH)) >= np.median(one_arm(harmful, TRUTH))
    assert (two_arms(drawn(0.012), TRUTH) != NEVER).mean() <= 0.01 + 3 * math.sqrt(0.01 / 2000)


def test_with_much_baseline_both_oracles_take_the_same_time() -> None:
    harmful = drawn(0.02, runs=300, times=1000)
    assert np.median(two_arms(harmful, TRUTH)) == pytest.approx(np.median(one_arm(harmful, TRUTH)), rel=0.1)


def test_they_begin_where_the_harm_does() -> None:
    late = Truth(0.01, 0.5, Line(1.0, 0.002), alpha=0.01, begins=200)
    harmful = drawn(0.5, runs=50)
    assert set(one_arm(harmful, late)) == {200}
    assert set(two_arms(harmful, late)) == {200}


def test_known_overdispersion_slows_them_down() -> None:
    bursty = Truth(0.01, 0.02, Line(1.0, 0.002), alpha=0.01, floor=0.25)
    assert np.median(one_arm(drawn(0.02, runs=300), bursty)) > np.median(one_arm(drawn(0.02, runs=300), TRUTH))


def test_few_requests_are_pooled() -> None:
    sparse = drawn(0.5, runs=100, requests=1, times=1)
    truth = Truth(0.01, 0.5, Line(1.0, 0.002), alpha=0.01)
    assert (two_arms(sparse, truth) != NEVER).all()
