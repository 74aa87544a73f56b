"""The noise floor against traffic whose noise is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelrollout.gates import lessons, noise, sequential
from modelrollout.gates.eprocess import Array, Line
from modelrollout.gates.sequential import Design, Slot

_SECONDS = 15.0
_RATE = 0.02


def _series(seed: int, requests: float, factor: Array) -> tuple[Array, Array]:
    """Requests and bad ones of intervals whose rates are ``_RATE · factor``."""
    random = np.random.default_rng(seed)
    n = random.poisson(requests, factor.shape)
    return n.astype(float), random.binomial(n, np.clip(_RATE * factor, 0.0, 1.0)).astype(float)


def _bursty(seed: int, looks: int, cv: float) -> Array:
    return np.random.default_rng(seed).gamma(1.0 / cv**2, cv**2, looks)


def _wandering(seed: int, looks: int, rho: float, sigma: float) -> Array:
    random, steps = np.random.default_rng(seed), np.zeros(looks)
    for t in range(1, looks):
        steps[t] = rho * steps[t - 1] + math.sqrt(1.0 - rho**2) * random.normal()
    return np.asarray(np.exp(sigma * steps - sigma**2 / 2.0))


def test_the_factor_is_that_of_a_beta_binomial() -> None:
    """Var(x)/n = p(1-p)·(1 + (n-1)·ρ); with Beta(a, b), ρ = 1/(a+b+1) and κ² = ρ·(1-p)/p. Source: McCullagh and
    Nelder, §4.5; n in place of n-1 is on the careful side."""
    a, b, n = 2.0, 98.0, 500
    p, rho = a / (a + b), 1.0 / (a + b + 1.0)
    random = np.random.default_rng(1)
    x = random.binomial(n, random.beta(a, b, 200_000))
    found = float(noise.dispersion(np.array(float(n)), p, p, rho * (1.0 - p) / p))
    assert found == pytest.approx(x.var() / (n * p * (1.0 - p)), rel=0.03)


def test_even_traffic_has_no_floor() -> None:
    even = np.ones(2880)
    (n1, x1), (n2, x2) = _series(2, 300.0, even), _series(3, 300.0, even)
    assert noise.between_halves(n1, x1, n2, x2, _SECONDS) == 0.0
    assert noise.within_series(n1 + n2, x1 + x2, _SECONDS) == 0.0


@pytest.mark.parametrize("cv", [0.3, 0.5, 1.0])
def test_the_floor_of_bursts_is_their_squared_variation_and_a_little_more(cv: float) -> None:
    (n1, x1), (n2, x2) = (_series(4 + i, 2000.0, _bursty(6 + i, 2880, cv)) for i in range(2))
    true = cv**2 * _SECONDS
    assert true <= noise.between_halves(n1, x1, n2, x2, _SECONDS) <= 2.3 * true
    assert true <= noise.within_series(n1, x1, _SECONDS) <= 3.5 * true


def test_bursts_of_the_counted_good_events_are_measured_alike() -> None:
    (n1, x1), (n2, x2) = (_series(4 + i, 2000.0, _bursty(6 + i, 2880, 0.5)) for i in range(2))
    good = noise.between_halves(n1, n1 - x1, n2, n2 - x2, _SECONDS, good=True)
    assert good == pytest.approx(noise.between_halves(n1, x1, n2, x2, _SECONDS))


def test_a_slow_wander_is_seen_in_long_batches() -> None:
    """AR(1): over times longer than its memory it is worth (1+ρ)/(1-ρ) of one interval's variance."""
    rho, sigma = 0.9, 0.3
    true = (math.exp(sigma**2) - 1.0) * (1.0 + rho) / (1.0 - rho) * _SECONDS
    between, within = [], []
    for seed in range(12):
        (n1, x1), (n2, x2) = (_series(seed + i, 5000.0, _wandering(50 + seed + i, 2880, rho, sigma)) for i in (0, 100))
        between.append(noise.between_halves(n1, x1, n2, x2, _SECONDS))
        within.append(noise.within_series(n1, x1, _SECONDS))
    assert 0.9 * true <= np.mean(between) <= 1.6 * true
    assert 0.9 * true <= np.mean(within) <= 2.0 * true
    assert min(between) > 0.55 * true


def test_what_hits_both_halves_cancels_between_them_and_not_in_a_series() -> None:
    shared = _wandering(9, 2880, 0.9, 0.5)
    shared[1000:1020] *= 20.0
    (n1, x1), (n2, x2) = _series(10, 2000.0, shared), _series(11, 2000.0, shared)
    halves = noise.between_halves(n1, x1, n2, x2, _SECONDS)
    assert halves < 0.05 * noise.within_series(n1 + n2, x1 + x2, _SECONDS)


def test_a_steady_drift_is_no_noise_to_a_series() -> None:
    n, x = _series(12, 2000.0, np.linspace(0.5, 1.5, 2880))
    assert noise.within_series(n, x, _SECONDS) < 0.02 * _SECONDS


def test_the_floor_in_seconds_does_not_depend_on_the_intervals_length() -> None:
    (n1, x1), (n2, x2) = (_series(13 + i, 1000.0, _bursty(15 + i, 5760, 0.5)) for i in range(2))
    fine = noise.between_halves(n1, x1, n2, x2, 15.0)
    m1, y1, m2, y2 = (values.reshape(-1, 2).sum(axis=1) for values in (n1, x1, n2, x2))
    coarse = noise.between_halves(m1, y1, m2, y2, 30.0)
    assert coarse == pytest.approx(fine, rel=0.5)


def test_without_requests_or_events_there_is_no_floor() -> None:
    nothing = np.zeros(100)
    assert noise.between_halves(nothing, nothing, nothing, nothing, _SECONDS) == 0.0
    assert noise.within_series(nothing + 10.0, nothing, _SECONDS) == 0.0
    assert noise.within_series(nothing[:5] + 10.0, nothing[:5] + 1.0, _SECONDS) == 0.0


# What a rollout teaches


def _rollout(floor: float | None, ours: Array, theirs: Array, *, looks: int, seed: int = 20) -> Array:
    """The floor believed after each interval."""
    design, state = Design(Line(1.0, 0.002), 0.006), sequential.start(1, floor=floor, split=False)
    (nc, xc), (nb, xb) = _series(seed, 500.0, ours[:looks]), _series(seed + 1, 4500.0, theirs[:looks])
    believed = []
    for t in range(looks):
        state = sequential.fold(state, design, Slot.of(*(values[t : t + 1] for values in (nc, xc, nb, xb))))
        believed.append(float(sequential.floor_of(state, design)[0]))
    return np.array(believed)


def test_without_history_doubt_fades_to_what_the_rollout_shows() -> None:
    even = np.ones(480)
    found = _rollout(None, even, even, looks=480)
    assert found[0] == pytest.approx(noise.UNKNOWN, rel=0.05)
    assert found[-1] < 0.25 * noise.UNKNOWN
    bursty = _rollout(None, _bursty(21, 480, 0.8), _bursty(22, 480, 0.8), looks=480)
    assert bursty[-1] > 0.8**2 * _SECONDS


def test_an_effect_that_is_constant_is_no_noise() -> None:
    even = np.ones(480)
    worse = _rollout(None, 5.0 * even, even, looks=480)
    assert worse[-1] < 0.5 * noise.UNKNOWN


def test_a_series_loses_what_the_rollout_shows_to_be_shared() -> None:
    shared = _wandering(23, 480, 0.9, 0.5)
    floor = 100.0
    assert _rollout(floor, shared, shared, looks=480)[-1] < 0.5 * floor
    own = _rollout(floor, _wandering(24, 480, 0.9, 0.5), _wandering(25, 480, 0.9, 0.5), looks=480)
    assert own[-1] == floor


def test_the_baseline_teaches_during_the_warm_up() -> None:
    table = lessons.blank(1)
    past = np.array([[1000.0, 20.0, 0.0, 0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(20):
            table = lessons.learn(table, np.array([[0.0, 0.0, 100.0, 2.0, 1.0]]), past, good=False)
    assert np.isfinite(table).all()
    assert table[0, 0, 13] > 0.0 and table[0, 0, 9] == 0.0, "pairs of the baseline alone, none between arms"
