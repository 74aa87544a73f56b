"""The confidence sequence against published values, an independent formula and simulation."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from modelrollout.gates.asymptotic import BatchVariance, half_width, mixture_parameter, planning_constant
from tests.bench.drift import dkw_radius


def test_the_parameter_and_the_boundary_are_those_of_the_published_implementation() -> None:
    """Reference values (from R) in the tests of the authors' library confseq: intrinsic time 100, alpha 5 %."""
    assert mixture_parameter(100.0, 0.025) == pytest.approx(12.60056, abs=1e-5)
    assert 100.0 * half_width(1.0 / 100.0, 100.0, 0.05) == pytest.approx(27.66071, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 1e-4])
@pytest.mark.parametrize("information", [0.01, 1.0, 40.0, 1e6])
def test_on_the_boundary_the_mixture_martingale_is_one_over_alpha(alpha: float, information: float) -> None:
    """The half-normal mixture of likelihood ratios, written down by itself."""
    rho = mixture_parameter(50.0, alpha)
    s = half_width(1.0 / information, 50.0, alpha) * information
    log_mixture = 0.5 * math.log(4.0 * rho / (information + rho)) + s**2 / (2.0 * (information + rho))
    log_mixture += math.log(NormalDist().cdf(s / math.sqrt(information + rho)))
    assert log_mixture == pytest.approx(-math.log(alpha), abs=1e-6)


def test_the_inequality_that_ks_was_measured_against_is_the_published_one() -> None:
    """Reference value in the same library: 1000 samples, alpha 5 %, valid from 100 on."""
    assert dkw_radius(1000.0, 0.05) == pytest.approx(0.08204769, abs=1e-5)


def test_a_random_walk_that_is_watched_480_times_crosses_as_seldom_as_promised() -> None:
    looks, runs = 480, 20_000
    walk = np.cumsum(np.random.default_rng(1).normal(size=(runs, looks)), axis=1)
    for alpha, least in ((0.01, 0.003), (0.05, 0.015)):
        boundary = np.array([half_width(1.0 / t, 240.0, alpha) * t for t in range(1, looks + 1)])
        crossed = (walk > boundary).any(axis=1).mean()
        assert least < crossed <= alpha


def test_the_planning_constant_gives_the_power_that_it_names() -> None:
    """A walk with drift one; watched all the way it is decided a little more often than at one look."""
    alpha, runs = 0.01, 4_000
    needed = planning_constant(alpha, 0.8)
    looks = 200
    time = np.linspace(needed / looks, needed, looks)
    noise = np.random.default_rng(2).normal(0.0, math.sqrt(needed / looks), (runs, looks))
    walk = np.cumsum(noise, axis=1) + time
    boundary = np.array([half_width(1.0 / t, needed, alpha) * t for t in time])
    assert 0.78 < (walk > boundary).any(axis=1).mean() < 0.9


def test_a_wrong_variance_or_alpha_is_named() -> None:
    with pytest.raises(ValueError, match=r"variance is 0.0: it must be positive"):
        half_width(0.0, 1.0, 0.01)
    with pytest.raises(ValueError, match=r"alpha is 0.7: give a probability"):
        half_width(1.0, 1.0, 0.7)


# The variance of a sum


def _batches(increments: list[float]) -> BatchVariance:
    found = BatchVariance()
    for increment in increments:
        found = found.add(increment, 1.0)
    return found


def test_independent_increments_have_the_variance_of_their_sum() -> None:
    """The largest of three estimates, the longer ones with their own error on top: never far below, somewhat above."""
    estimates = [_batches(np.random.default_rng(seed).normal(0, 2, 640).tolist()).estimate() for seed in range(40)]
    assert 1.0 < np.mean(estimates) / (640 * 4.0) < 1.6
    assert min(estimates) > 0.8 * 640 * 4.0


def test_correlated_increments_have_a_larger_one() -> None:
    """AR(1) with .8: the long run's variance is (1+.8)/(1-.8) = 9 times that of the increments alone."""
    ratios = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        value, increments = 0.0, []
        for _ in range(960):
            value = 0.8 * value + random.normal(0.0, 0.6)
            increments.append(value)
        ratios.append(_batches(increments).estimate() / 960)
    assert 6.0 < np.mean(ratios) < 16.0


def test_nothing_is_said_before_eight_batches() -> None:
    assert _batches([1.0] * 7).estimate() == 0.0
    assert _batches([1.0, -1.0] * 4).estimate() == pytest.approx(8.0)


def test_the_batches_are_those_of_a_direct_computation() -> None:
    increments = np.random.default_rng(3).normal(size=130)
    by_length = []
    for length in (1, 4, 16):
        count = len(increments) // length
        sums = increments[: count * length].reshape(count, length).sum(axis=1)
        caution = 1.0 + math.sqrt(2.0 / count) if length > 1 else 1.0
        by_length.append(float((sums**2).sum()) * len(increments) / (count * length) * caution)
    assert _batches(increments.tolist()).estimate() == pytest.approx(max(by_length), rel=1e-5)
