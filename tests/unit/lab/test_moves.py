"""Changes of the split that a recording holds."""

from __future__ import annotations

import numpy as np
import pytest

from modelrollout.lab.moves import moves


def _arms(shares: list[float], rate: float, *, wander: float = 0.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    share = np.array(shares)
    noise = np.exp(random.normal(0.0, wander, size=(2, len(share))))
    ours = random.poisson(rate * share * noise[0]).astype(float)
    return ours, random.poisson(rate * (1.0 - share) * noise[1]).astype(float)


@pytest.mark.parametrize("rate", [100.0, 1000.0])
def test_every_step_of_a_ramp_is_found_at_its_first_interval(rate: float) -> None:
    ours, theirs = _arms([0.1] * 40 + [0.3] * 40 + [0.7] * 40, rate)
    assert np.flatnonzero(moves(ours, theirs)).tolist() == [40, 80]


@pytest.mark.parametrize("wander", [0.0, 0.3])
def test_a_constant_split_never_moves_however_bursty_the_traffic_is(wander: float) -> None:
    ours, theirs = _arms([0.1] * 480, 200.0, wander=wander)
    assert not moves(ours, theirs).any()


def test_one_odd_interval_is_no_move() -> None:
    ours, theirs = _arms([0.1] * 30 + [0.9] + [0.1] * 30, 200.0)
    assert not moves(ours, theirs).any()


def test_missing_intervals_are_passed_over() -> None:
    ours, theirs = _arms([0.1] * 40 + [0.5] * 40, 500.0)
    ours[35:45] = np.nan
    assert np.flatnonzero(moves(ours, theirs)).tolist() == [45]


def test_a_recording_that_is_too_short_to_tell_does_not_move() -> None:
    assert not moves(np.ones(5), np.ones(5)).any()
