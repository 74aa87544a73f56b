"""Drift gates: the measures, the strata, the verdicts, the state; and how often they are wrong, in small."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import DriftMeasure
from modelrollout.api.grammar import parse_limit
from modelrollout.gates.buckets import Reference, equal_shares
from modelrollout.gates.divergence import psi, psi_bias, psi_design_effect, psi_slopes
from modelrollout.gates.drift import DriftState, DriftTest
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval
from modelrollout.gates.strata import Comparison
from tests.bench.drift import Scenario, gate, intervals, run

_INF = float("inf")
_NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_TEN = (*(i / 10 for i in range(1, 10)), _INF)


def _test(
    measure: DriftMeasure = DriftMeasure.PSI, limit: str = "0.2", reference: Reference | None = None
) -> DriftTest:
    return DriftTest(measure, parse_limit(limit), 0.01, reference=reference)


def _histogram(*per_bucket: float, bounds: tuple[float, ...] | None = None) -> Histogram:
    return Histogram(bounds or _TEN[-len(per_bucket) :], tuple(np.cumsum(per_bucket).tolist()))


def _interval(candidate: Arm | None, baseline: Arm | None) -> Interval:
    return Interval(_NOW, _NOW, candidate, baseline)


def _folded(test: DriftTest, candidate: Arm | None, baseline: Arm | None, times: int = 1) -> DriftState:
    state = test.start()
    for _ in range(times):
        state = test.fold(state, _interval(candidate, baseline))
    return state


# The measures


def test_psi_is_that_of_the_definition() -> None:
    assert psi((0.5, 0.5), (0.25, 0.75)) == pytest.approx(0.25 * math.log(2.0) - 0.25 * math.log(0.5 / 0.75))
    assert psi((0.3, 0.7), (0.3, 0.7)) == 0.0


def test_the_slopes_of_psi_are_those_of_small_steps() -> None:
    p, q, step = (0.2, 0.3, 0.5), (0.25, 0.45, 0.3), 1e-6
    by_p, by_q = psi_slopes(p, q)
    for i in range(3):
        moved = tuple(share + step * (j == i) for j, share in enumerate(p))
        assert (psi(moved, q) - psi(p, q)) / step == pytest.approx(by_p[i], abs=1e-4)
        moved = tuple(share + step * (j == i) for j, share in enumerate(q))
        assert (psi(p, moved) - psi(p, q)) / step == pytest.approx(by_q[i], abs=1e-4)


def test_the_bias_of_psi_between_equal_arms_is_the_published_one() -> None:
    """(B-1)(1/n + 1/m), Yurdakul and Naranjo; and about what samples show."""
    equal = (0.1,) * 10
    assert psi_bias(equal, equal, 1 / 500, 1 / 250) == pytest.approx(9 * (1 / 500 + 1 / 250))
    random = np.random.default_rng(1)
    drawn = [
        psi(tuple((random.multinomial(500, equal) + 0.5) / 505), tuple((random.multinomial(500, equal) + 0.5) / 505))
        for _ in range(2000)
    ]
    assert np.mean(drawn) == pytest.approx(9 * 2 / 500, rel=0.05)


# The strata


def test_the_design_effect_is_pearsons_homogeneity_statistic_over_its_degrees_of_freedom() -> None:
    """Against fixed shares: X² = N Σ_b (Σ_t x_tb²/n_t)/N_b - N over (B-1)(T-1), computed apart.

    On top comes its own standard error, √(2/degrees of freedom) of it.
    """
    random = np.random.default_rng(2)
    rows = random.multinomial(30, (0.2, 0.3, 0.5), size=40) * 3.0
    compared = Comparison.empty(3, (0.2, 0.3, 0.5))
    for row in rows:
        compared = compared.add(tuple(row), float(row.sum()), (), 0.0, lambda _: None)
    total, per_bucket = rows.sum(), rows.sum(axis=0)
    pearson = total * ((rows**2 / rows.sum(axis=1, keepdims=True)).sum(axis=0) / per_bucket).sum() - total
    assert psi_design_effect(compared) == pytest.approx(pearson / 78 * (1 + math.sqrt(2 / 78)), rel=1e-4)
    assert psi_design_effect(compared) == pytest.approx(3.0, rel=0.3)


@pytest.mark.parametrize("ratio", [1.0, 9.0])
def test_clumps_of_five_requests_have_a_design_effect_of_five(ratio: float) -> None:
    scenario = Scenario("clumps", clump=5, per_look=200.0, ratio=ratio)
    test = gate(scenario)
    state = test.start()
    for interval in intervals(scenario, np.random.default_rng(3)):
        state = test.fold(state, interval)
    assert state.candidate is not None
    assert psi_design_effect(state.candidate) == pytest.approx(5.0, rel=0.15)


def test_a_mix_that_changes_for_both_while_the_split_grows_is_no_drift() -> None:
    """Simpson's paradox: the pooled counts of two equal models are far apart."""
    test = _test()
    state, pooled = test.start(), [np.zeros(2), np.zeros(2)]
    bounds = (0.5, _INF)
    for look in range(100):
        low, share = 0.2 + 0.006 * look, 0.01 + 0.0049 * look
        arms = [np.array([low, 1.0 - low]) * 1000.0 * part for part in (share, 1.0 - share)]
        pooled = [seen + arm for seen, arm in zip(pooled, arms, strict=True)]
        state = test.fold(state, _interval(*(_histogram(*arm, bounds=bounds) for arm in arms)))
    ours, theirs = (tuple(seen / seen.sum()) for seen in pooled)
    assert psi(ours, theirs) > 0.05
    found = test.assess(state)
    assert found.verdict is Verdict.PROVEN
    assert found.value == pytest.approx(0.0, abs=1e-3)


def test_a_stratum_waits_for_twenty_events_in_both_arms() -> None:
    test = _test()
    arms = _histogram(3, 3), _histogram(8, 12)
    few = _folded(test, *arms, times=3).candidate
    assert few is not None and (few.strata, few.samples, few.open_samples) == (0, 0.0, 18.0)
    closed = _folded(test, *arms, times=4).candidate
    assert closed is not None and (closed.strata, closed.samples, closed.their_samples) == (1, 24.0, 80.0)


def test_a_stratum_does_not_reach_across_steps() -> None:
    test = _test()
    cut = test.begin_step(_folded(test, _histogram(3, 3), _histogram(8, 12))).candidate
    assert cut is not None and (cut.strata, cut.samples, cut.open_samples) == (1, 6.0, 0.0)
    one_armed = test.begin_step(_folded(test, _histogram(0, 0), _histogram(8, 12))).candidate
    assert one_armed is not None and (one_armed.strata, one_armed.open_their_samples) == (0, 0.0)


# Verdicts


@pytest.mark.parametrize("measure", list(DriftMeasure))
def test_equal_arms_are_proven_and_far_ones_breached(measure: DriftMeasure) -> None:
    test = _test(measure, "0.2" if measure is DriftMeasure.PSI else "0.1")
    equal = test.assess(_folded(test, _histogram(30, 30, 40), _histogram(30, 30, 40), times=40))
    assert equal.verdict is Verdict.PROVEN and equal.high is not None and equal.high < 0.0
    far = test.assess(_folded(test, _histogram(60, 30, 10), _histogram(30, 30, 40), times=40))
    assert far.verdict is Verdict.BREACHED and far.stake == 1.0 and far.leaning
    assert "shown to be above it" in far.message and (far.samples, far.baseline_samples) == (4000, 4000)


def test_between_the_two_the_message_says_what_would_have_been_seen() -> None:
    test = _test()
    early = test.assess(_folded(test, _histogram(10, 8, 8), _histogram(9, 9, 8), times=12))
    assert early.verdict is Verdict.NO_HARM_SEEN
    assert early.would_have_seen is not None and f"would have seen {0.2 + early.would_have_seen:.3g}" in early.message
    later = test.assess(_folded(test, _histogram(60, 37, 20), _histogram(40, 40, 40), times=40))
    assert later.would_have_seen is None or later.would_have_seen < early.would_have_seen


def test_before_there_is_enough_the_message_says_what_is_missing() -> None:
    test = _test()
    assert test.assess(test.start()).message == "the baseline has no events yet"
    assert (
        test.assess(_folded(test, _histogram(20, 20), _histogram(20, 20))).message
        == "40 of 100 samples of the candidate"
    )
    big = _histogram(2000, 2000)
    assert test.assess(_folded(test, big, big, times=3)).message == "3 of 10 stretches of time with enough events"
    ten = _histogram(*(2.0,) * 10)
    found = test.assess(_folded(test, _histogram(*(3.0,) * 10), ten, times=10))
    assert found.verdict is Verdict.TOO_EARLY or found.samples >= 300


def test_against_a_reference_a_drift_of_both_arms_is_shared() -> None:
    test = _test(reference=Reference.read({"0.9": "50%", "+Inf": "50%"}))
    both = test.assess(_folded(test, _histogram(80, 20), _histogram(80, 20), times=60))
    assert both.verdict is Verdict.BREACHED and both.shared and "input drift" in both.message
    alone = test.assess(_folded(test, _histogram(80, 20), _histogram(50, 50), times=60))
    assert alone.verdict is Verdict.BREACHED and not alone.shared and alone.baseline == pytest.approx(0.0, abs=1e-3)
    fine = test.assess(_folded(test, _histogram(50, 50), None, times=60))
    assert fine.verdict is Verdict.PROVEN and fine.baseline is None


def test_an_arm_that_was_not_measured_and_a_look_that_is_not_judged_change_nothing() -> None:
    test = _test()
    state = _folded(test, _histogram(30, 30), _histogram(30, 30), times=2)
    for interval in (_interval(None, _histogram(5, 5)), _interval(_histogram(5, 5), None), _interval(None, None)):
        assert test.fold(state, interval) == state
    assert test.fold(state, _interval(_histogram(9, 9), _histogram(9, 9)), judged=False) == state


def test_buckets_that_were_scraped_apart_are_left_out() -> None:
    test = _test()
    state = _folded(test, _histogram(30, 30), _histogram(30, 30))
    assert test.fold(state, _interval(Histogram((0.9, _INF), (7.0, 5.0)), _histogram(9, 9))) == state


def test_different_buckets_are_named() -> None:
    with pytest.raises(ValueError, match=r"candidate's buckets end at 0.5, inf, the baseline's at 0.4, inf: give both"):
        _folded(_test(), _histogram(1, 1, bounds=(0.5, _INF)), _histogram(1, 1, bounds=(0.4, _INF)))
    state = _folded(_test(), _histogram(1, 1), _histogram(1, 1))
    other = _histogram(1, 1, bounds=(0.5, _INF))
    with pytest.raises(ValueError, match=r"buckets end at 0.5, inf, but 0.9, inf are compared"):
        _test().fold(state, _interval(other, other))


@pytest.mark.parametrize("measure", list(DriftMeasure))
def test_a_histogram_without_bounds_is_refused(measure: DriftMeasure) -> None:
    with pytest.raises(ValueError, match="a single bucket, which tells nothing apart: give it bounds"):
        _folded(_test(measure), Histogram((_INF,), (5.0,)), Histogram((_INF,), (5.0,)))


def test_counts_instead_of_a_histogram_are_refused() -> None:
    with pytest.raises(ValueError, match="judged from histograms"):
        _folded(_test(), Counts(1, 2), Counts(1, 2))


@pytest.mark.parametrize("limit", ["baseline", "200ms", "0"])
def test_a_limit_that_is_no_distance_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match="is no distance: write a positive number"):
        _test(limit=limit)
    with pytest.raises(ValueError, match="is no distance"):
        _test(DriftMeasure.KS, "1.5")
    with pytest.raises(ValueError, match=r"alpha: 0\.9 is not a probability"):
        DriftTest(DriftMeasure.PSI, parse_limit("0.2"), 0.9)


# Buckets


def test_many_buckets_are_merged_by_the_baselines_first_events_which_are_not_compared() -> None:
    test = _test()
    bounds = (*(float(i) for i in range(1, 60)), _INF)
    flat = _histogram(*(1.0,) * 60, bounds=bounds)
    first = test.fold(test.start(), _interval(flat, flat))
    assert first.candidate is None and len(first.pilot) == 60
    chosen = test.fold(first, _interval(flat, flat))
    assert chosen.edges == (6.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0, 54.0, _INF)
    assert chosen.candidate is not None and chosen.candidate.open_samples == 0.0 and not chosen.pilot
    after = test.fold(chosen, _interval(flat, flat)).candidate
    assert after is not None and after.counts == (6.0,) * 10


def test_a_baseline_in_a_single_one_of_many_buckets_is_still_compared() -> None:
    test = _test()
    bounds = (*(float(i) for i in range(1, 60)), _INF)
    spike = _histogram(*(200.0 if i == 30 else 0.0 for i in range(60)), bounds=bounds)
    moved = _histogram(*(200.0 if i == 10 else 0.0 for i in range(60)), bounds=bounds)
    state = _folded(test, moved, spike, times=40)
    assert state.edges == (30.0, 31.0, _INF)
    assert test.assess(state).verdict is Verdict.BREACHED


def test_merged_buckets_hold_about_equal_shares_and_none_is_empty() -> None:
    assert equal_shares((1.0, 2.0, 3.0, _INF), (0.4, 0.0, 0.5, 0.1), 10) == (1.0, 3.0, _INF)
    assert equal_shares((1.0, 2.0, 3.0, 4.0, _INF), (1.0, 1.0, 1.0, 1.0, 4.0), 2) == (4.0, _INF)
    assert equal_shares((1.0, 2.0, _INF), (0.5, 0.5, 0.0), 10) == (1.0, _INF)


def test_a_reference_is_read_from_a_manifest() -> None:
    found = Reference.read({"+Inf": "20%", "0.1": "30%", "5": "50%"})
    assert found.bounds == (0.1, 5.0, _INF) and found.shares == pytest.approx((0.3, 0.5, 0.2))
    merged = Reference((1.0, 2.0, _INF), (0.5, 0.0, 0.5)).merged(20)
    assert merged == Reference((1.0, _INF), (0.5, 0.5))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"0.5": "40%", "+Inf": "40%"}, "shares sum to 80%, they must sum to 100%"),
        ({"0.5": "40%", "1": "60%"}, r'the last one "\+Inf"'),
        ({"half": "40%", "+Inf": "60%"}, '"half" is not a bound'),
        ({"nan": "40%", "+Inf": "60%"}, '"nan" is not a bound'),
        ({"0.5": "0.4", "+Inf": "60%"}, r'reference\["0.5"\]: "0.4" is not a share'),
        ({"0.5": "40%", "0.50": "0%", "+Inf": "60%"}, "each bound may be given once"),
    ],
)
def test_a_wrong_reference_is_named(reference: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reference.read(reference)


def test_a_reference_with_everything_in_one_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least two buckets with a share each"):
        _test(reference=Reference.read({"0.5": "100%", "+Inf": "0%"}))


# State


@pytest.mark.parametrize("measure", list(DriftMeasure))
@pytest.mark.parametrize("fixed", [False, True])
def test_a_state_that_was_written_and_read_goes_on_to_the_very_same_decisions(
    measure: DriftMeasure, fixed: bool
) -> None:
    scenario = Scenario("resume", measure, "0.1", 0.15, buckets=20, per_look=33.0, ratio=1.7, looks=60, fixed=fixed)
    test = gate(scenario)
    kept = resumed = test.start()
    for interval in intervals(scenario, np.random.default_rng(4)):
        kept, resumed = test.fold(kept, interval), test.load(test.dump(test.fold(resumed, interval)))
        assert resumed == kept
    assert test.assess(resumed) == test.assess(kept)


@pytest.mark.parametrize("measure", list(DriftMeasure))
@pytest.mark.parametrize("fixed", [False, True])
def test_a_state_stays_below_one_and_a_half_kilobytes(measure: DriftMeasure, fixed: bool) -> None:
    scenario = Scenario("long", measure, buckets=20, per_look=1e6, ratio=99.0, looks=200, fixed=fixed)
    test = gate(scenario)
    state = test.start()
    for interval in intervals(scenario, np.random.default_rng(5)):
        state = test.fold(state, interval)
    assert len(test.dump(state)) <= 1536


def test_a_pilot_is_written_and_read() -> None:
    test = _test()
    bounds = (*(float(i) for i in range(1, 60)), _INF)
    state = test.fold(test.start(), _interval(None, _histogram(*(1.0,) * 60, bounds=bounds)))
    assert state.pilot and test.load(test.dump(state)) == state
    assert test.load(test.dump(test.start())) == test.start()


@pytest.mark.parametrize(
    "text", ["", "psi1", "psi1;;;", "ks1;;;;", "psi1;a;;;", "psi1;0.5,inf;;1|2;", "psi1;;1;;", "{}"]
)
def test_rubbish_is_no_state(text: str) -> None:
    with pytest.raises(ValueError):
        _test().load(text)


def test_a_state_of_another_reference_is_refused() -> None:
    one, other = (_test(reference=Reference.read({b: "50%", "+Inf": "50%"})) for b in ("0.9", "0.8"))
    with pytest.raises(ValueError, match="another reference"):
        other.load(one.dump(one.start()))


# How often it is wrong, in small; `python -m tests.bench.drift` has the whole table


def test_equal_arms_never_alarm_and_are_soon_proven() -> None:
    found = run(Scenario("equal", looks=40), runs=60, seed=6)
    assert not found.breached_at and found.proven > 0.95
    assert np.median(found.proven_at) <= 800.0


def test_a_psi_of_twice_the_limit_is_breached_within_1500_samples() -> None:
    found = run(Scenario("twice", distance=0.4, looks=60), runs=40, seed=7)
    assert found.breached > 0.9 and np.median(found.breached_at) <= 1500.0
    assert not found.proven_at


@pytest.mark.parametrize("clump", [1, 5])
@pytest.mark.parametrize("measure", list(DriftMeasure))
def test_on_the_limit_it_is_seldom_wrong(measure: DriftMeasure, clump: int) -> None:
    limit = "0.2" if measure is DriftMeasure.PSI else "0.1"
    found = run(Scenario("limit", measure, limit, float(limit), clump=clump, per_look=40.0 * clump, looks=60), 40, 8)
    assert found.breached <= 0.025 and found.proven <= 0.1


@pytest.mark.parametrize("measure", list(DriftMeasure))
def test_what_it_says_it_would_have_seen_it_sees(measure: DriftMeasure) -> None:
    """Equal arms are asked after fifteen looks; a candidate that far beyond the limit is breached by then."""
    limit = "0.2" if measure is DriftMeasure.PSI else "0.1"
    equal = Scenario("equal", measure, limit, looks=15)
    test = DriftTest(measure, parse_limit(limit), 0.01, beta=1e-6)
    state = test.start()
    for interval in intervals(equal, np.random.default_rng(9)):
        state = test.fold(state, interval)
    seen = test.assess(state).would_have_seen
    assert seen is not None
    found = run(Scenario("seen", measure, limit, float(limit) + seen, looks=15), runs=40, seed=9)
    assert found.breached > 0.65
