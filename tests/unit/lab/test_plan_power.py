"""What a gate can see: the forecast against simulation, against the arithmetic of one test, and in words."""

from __future__ import annotations

import math

import pytest

from modelrollout.gates import eprocess, power
from modelrollout.gates.eprocess import Line
from modelrollout.gates.power import Stretch
from tests.bench.plan import CASES, PROOFS, Case, breach, prove

_ERRORS = Line(1.0, 0.002)
_CLICKS = Line(0.99, 0.01)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_forecast_of_requests_is_within_a_fifth_of_simulation(case: Case) -> None:
    assert breach(case, runs=300, seed=2).ratio == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: case.name)
def test_the_forecast_of_a_proof_is_within_a_fifth_of_simulation(case: Case) -> None:
    assert prove(case, runs=300, seed=2).ratio == pytest.approx(1.0, abs=0.2)


def test_one_stretch_is_what_the_gate_itself_says_it_would_have_seen() -> None:
    told = eprocess.smallest_seen(36_000, 0.01, _ERRORS, alpha=0.006, ratio=1 / 9, phi_c=1.5, phi_b=2.0)
    assert power.smallest(_ERRORS, 0.01, [Stretch(36_000, 1 / 9, 1.5, 2.0)], 0.006) == pytest.approx(told, rel=1e-4)


def test_two_halves_of_a_step_see_what_the_whole_sees_and_more_steps_see_more() -> None:
    whole = power.smallest(_ERRORS, 0.01, [Stretch(10_000, 1 / 9)], 0.006)
    halves = power.smallest(_ERRORS, 0.01, [Stretch(5_000, 1 / 9)] * 2, 0.006)
    more = power.smallest(_ERRORS, 0.01, [Stretch(10_000, 1 / 9), Stretch(50_000, 1.0)], 0.006)
    assert whole is not None and more is not None
    assert halves == pytest.approx(whole) and more < whole


def test_without_a_baseline_a_relative_gate_sees_nothing_and_an_absolute_one_does() -> None:
    alone = [Stretch(1e6, math.inf)]
    assert power.smallest(_ERRORS, 0.01, alone, 0.006) is None
    assert power.smallest(Line(0.0, 0.05), 0.01, alone, 0.006) is not None


def test_a_guarded_limit_sees_only_what_is_also_worse_than_the_baseline() -> None:
    stretch = [Stretch(20_000, 1 / 9)]
    free = power.smallest(Line(0.0, 0.05), 0.06, stretch, 0.006)
    guarded = power.smallest(Line(0.0, 0.05), 0.06, stretch, 0.006, guard=True)
    assert free is not None and guarded is not None and free < 0.06 < guarded


def test_noise_costs_requests_and_its_factor_grows_with_traffic() -> None:
    quiet = power.needed(_ERRORS, 0.01, Stretch(0, 1 / 9), 0.006, 0.02)
    phi = power.dispersions(5.0, 45.0, 0.01, 4.5)
    noisy = power.needed(_ERRORS, 0.01, Stretch(0, 1 / 9, *phi), 0.006, 0.02)
    assert quiet is not None and noisy is not None and noisy > quiet
    assert phi[0] == pytest.approx(1.0 + 5.0 * 4.5 * 0.01 / 0.99) and phi[1] > phi[0]


def test_a_wish_within_the_limit_needs_no_number_of_requests_because_none_is_enough() -> None:
    assert power.needed(_ERRORS, 0.01, Stretch(0, 1 / 9), 0.006, 0.0119) is None


def test_the_sentence_says_what_is_not_seen_and_what_is() -> None:
    seen = power.smallest(_CLICKS, 0.97, [Stretch(36_000, 1 / 9)], 0.01)
    text = power.underpowered(_CLICKS, baseline=0.97, smallest=seen, wanted=None, seconds=7200, rate=5, good=True)
    assert text == (
        "this gate cannot see a drop of 1 % in 2h at 5 candidate requests/s; it can see a drop of 13.7 % (baseline 3 %)"
    )


@pytest.mark.parametrize(
    ("smallest", "wanted", "silent"),
    [(0.0145, None, True), (0.034, None, False), (0.034, 0.04, True), (0.034, 0.02, False), (None, None, False)],
)
def test_a_gate_that_sees_what_it_should_says_nothing(
    smallest: float | None, wanted: float | None, silent: bool
) -> None:
    text = power.underpowered(_ERRORS, baseline=0.01, smallest=smallest, wanted=wanted, seconds=60, rate=1)
    assert (text == "") is silent


def test_a_limit_that_allows_nothing_is_satisfied_with_half_of_the_baseline() -> None:
    line = Line(1.0, 0.0)
    assert not power.underpowered(line, baseline=0.01, smallest=0.014, wanted=None, seconds=60, rate=1)
    assert power.underpowered(line, baseline=0.01, smallest=0.016, wanted=None, seconds=60, rate=1)
