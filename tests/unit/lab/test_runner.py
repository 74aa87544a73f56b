"""The runner does what the operator does, interval by interval, for as many runs as there are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from modelrollout.gates import sequential
from modelrollout.gates.eprocess import Array
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.past import first_state
from modelrollout.lab.policy import Policy, find_policy
from modelrollout.lab.runner import Cause, Outcome, Replay, Results, run

INTERVAL = 15.0
ERRORS: dict[str, Any] = {
    "name": "errors",
    "ratio": {"bad": "errors", "total": "requests"},
    "atMost": "baseline + 0.2pp",
}
Row = tuple[float, float]
Rows = Sequence[Row | None]
GOOD: Row = (75.0, 1.0)
BASE: Row = (675.0, 7.0)
BAD: Row = (75.0, 15.0)


def policy(*gates: dict[str, Any], **more: Any) -> Policy:
    default = {"warmup": "0s", "steps": [{"weight": 10, "hold": "10m"}], "gates": list(gates or [ERRORS])}
    return find_policy([default | more])


def recording(candidate: Rows, baseline: Rows | None = None, past: int = 0) -> Recording:
    """Requests and errors per interval; None where nothing was recorded; ``past``: intervals of history."""
    theirs = [*[BASE] * past, *(baseline or [BASE] * len(candidate))]
    ours = [*[None] * past, *candidate]

    def arm(rows: Rows) -> dict[str, dict[str, Array]]:
        filled = np.array([row or (np.nan, np.nan) for row in rows])
        return {"": {"requests": filled[None, :, 0], "errors": filled[None, :, 1]}}

    times = np.arange(len(ours), dtype=np.float64) * INTERVAL + 1000.0
    return Recording(times, INTERVAL, {BASELINE: arm(theirs), CANDIDATE: arm(ours)})


def noisy(count: int, share: float, seed: int = 1, requests: int = 75) -> list[Row | None]:
    drawn = np.random.default_rng(seed).binomial(requests, share, count)
    return [(float(requests), float(bad)) for bad in drawn]


def outcome(results: Results) -> tuple[Outcome, float, Cause]:
    return results.outcome(), float(results.at[0]), Cause(int(results.cause[0]))


def test_a_good_candidate_is_promoted_when_its_holds_are_over() -> None:
    results = run(policy(), recording([GOOD] * 100, past=300))
    assert outcome(results) == (Outcome.PROMOTED, 39 * INTERVAL, Cause.NOTHING)
    assert results.intervals[0] == 40
    assert results.exposed[0] == 40 * 75


def test_a_bad_candidate_is_rolled_back_by_evidence_that_takes_two_intervals() -> None:
    results = run(policy(), recording([(75.0, 15.0)] * 100, past=300))
    assert outcome(results) == (Outcome.ROLLED_BACK, INTERVAL, Cause.EVIDENCE)
    assert results.summary()["gate"] == "errors"
    assert results.summary()["gates"]["errors"]["verdict"] == "Breached"


def test_a_catastrophe_takes_one_interval_also_while_warming_up() -> None:
    results = run(policy(warmup="5m"), recording([GOOD, GOOD, (75.0, 70.0)] + [GOOD] * 50, past=300))
    assert outcome(results) == (Outcome.ROLLED_BACK, 2 * INTERVAL, Cause.CATASTROPHE)


def test_a_dependency_that_fails_for_both_is_no_catastrophe() -> None:
    base: list[Row | None] = [BASE] * 50
    base[2] = (675.0, 600.0)
    results = run(policy(), recording([GOOD, GOOD, (75.0, 66.0)] + [GOOD] * 47, base, past=300))
    assert results.outcome() is Outcome.PROMOTED


def test_a_fifth_of_few_requests_is_no_catastrophe_where_a_tenth_fails_anyway() -> None:
    base: list[Row | None] = [(675.0, 67.0)] * 50
    ours: list[Row | None] = [(75.0, 7.0)] * 50
    ours[2] = (20.0, 6.0)
    results = run(policy(), recording(ours, base, past=0), floor={"errors": 0.0})
    assert results.outcome() is Outcome.PROMOTED


def test_the_warm_up_is_neither_judged_nor_counted_in_the_hold() -> None:
    warm: list[Row | None] = [BAD] * 20
    results = run(policy(warmup="5m"), recording(warm + [GOOD] * 100, past=300))
    assert outcome(results) == (Outcome.PROMOTED, 59 * INTERVAL, Cause.NOTHING)
    assert results.gates[0].samples[0] == 40 * 75


def test_late_labels_are_left_out_after_a_change_of_weight_in_addition_to_the_warm_up() -> None:
    gate = ERRORS | {"labelsWithin": "2m30s", "minSamples": 1}
    results = run(policy(gate, warmup="2m30s"), recording([GOOD] * 100, past=300))
    assert results.outcome() is Outcome.PROMOTED
    assert results.at[0] == 49 * INTERVAL
    assert results.gates[0].samples[0] == 30 * 75


def test_a_step_does_not_end_before_its_labels_are_in() -> None:
    gate = ERRORS | {"labelsWithin": "30m", "minSamples": 1}
    results = run(policy(gate), recording([GOOD] * 200, past=300))
    assert results.at[0] == 120 * INTERVAL


def test_intervals_that_are_missing_hold_the_step_up_and_are_no_verdict() -> None:
    gappy: list[Row | None] = [GOOD] * 10 + [None] * 20 + [GOOD] * 60
    base: list[Row | None] = [BASE] * 10 + [None] * 20 + [BASE] * 60
    results = run(policy(), recording(gappy, base, past=300))
    assert outcome(results) == (Outcome.PROMOTED, 59 * INTERVAL, Cause.NOTHING)


def test_a_candidate_without_data_is_blind_and_undecided() -> None:
    results = run(policy(), recording([GOOD] + [None] * 99, past=300))
    assert results.outcome() is Outcome.UNDECIDED
    assert math.isnan(results.at[0])
    assert results.summary()["at"] is None


def test_a_recording_that_ends_early_leaves_it_undecided() -> None:
    assert run(policy(), recording([GOOD] * 20, past=300)).outcome() is Outcome.UNDECIDED


def test_a_step_waits_for_enough_samples() -> None:
    gate = ERRORS | {"minSamples": 75 * 60}
    results = run(policy(gate), recording([GOOD] * 100, past=300))
    assert results.at[0] == 59 * INTERVAL
    assert run(policy(gate | {"required": False}), recording([GOOD] * 100, past=300)).at[0] == 39 * INTERVAL


@pytest.mark.parametrize(
    ("undecided", "ends"),
    [("advance", (Outcome.PROMOTED, 59)), ("rollback", (Outcome.ROLLED_BACK, 59)), ("pause", (Outcome.UNDECIDED, 0))],
)
def test_the_longest_hold_ends_as_the_gate_says(undecided: str, ends: tuple[Outcome, int]) -> None:
    gate = ERRORS | {"minSamples": 1_000_000, "maxHold": "5m", "onUndecided": undecided}
    results = run(policy(gate), recording([GOOD] * 100, past=300))
    assert results.outcome() is ends[0]
    if ends[1]:
        assert results.at[0] == ends[1] * INTERVAL


def test_a_gate_that_only_pauses_ends_nothing() -> None:
    results = run(policy(ERRORS | {"onBreach": "pause"}), recording([(75.0, 15.0)] * 100, past=300))
    assert results.outcome() is Outcome.UNDECIDED
    assert results.gates[0].verdict[0] == "Breached"


def test_a_gate_that_only_warns_holds_as_long_as_it_leans() -> None:
    gate = ERRORS | {"onBreach": "warn", "required": False}
    assert run(policy(gate), recording([(75.0, 15.0)] * 100, past=300)).outcome() is Outcome.PROMOTED


def test_a_gate_that_leans_holds_the_step() -> None:
    leaning = run(policy(), recording(noisy(200, 0.021), past=600))
    assert leaning.outcome() is not Outcome.PROMOTED or leaning.at[0] > 39 * INTERVAL


def test_proof_is_waited_for_when_a_gate_asks_for_it() -> None:
    gate = {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "5%"}
    soon = run(policy(gate), recording([GOOD] * 300, past=300))
    few: list[Row | None] = [(10.0, 0.0)] * 300
    waits = run(
        policy(gate | {"advanceOn": "proven", "minSamples": 1}), recording(few, past=300), floor={"errors": 0.0}
    )
    goes = run(policy(gate | {"minSamples": 1}), recording(few, past=300), floor={"errors": 0.0})
    assert soon.outcome() is Outcome.PROMOTED
    assert goes.at[0] == 39 * INTERVAL
    assert waits.outcome() is Outcome.PROMOTED
    assert waits.gates[0].verdict[0] == "Proven"


def test_a_step_waits_until_what_must_be_seen_would_have_been() -> None:
    near = ERRORS | {"mustSee": "baseline + 3pp"}
    far = ERRORS | {"mustSee": "baseline + 0.3pp"}
    assert run(policy(near), recording([GOOD] * 300, past=300), floor={"errors": 0.0}).at[0] == 39 * INTERVAL
    assert run(policy(far), recording([GOOD] * 300, past=300), floor={"errors": 0.0}).outcome() is Outcome.UNDECIDED


def test_each_step_begins_with_a_warm_up_and_a_stratum_of_its_own() -> None:
    steps = [{"weight": 10, "hold": "5m"}, {"weight": 50, "hold": "5m"}]
    results = run(policy(steps=steps, warmup="1m"), recording([GOOD] * 100, past=300))
    assert outcome(results) == (Outcome.PROMOTED, 47 * INTERVAL, Cause.NOTHING)
    assert [event.text for event in results.trace.events] == [
        "step weight-10: 10% of the traffic",
        "step weight-50: 50% of the traffic",
        "promoted",
    ]
    assert results.trace.share == [0.1] * 24 + [0.5] * 24


def test_relative_gates_hold_nothing_up_where_no_baseline_is_left() -> None:
    steps = [{"weight": 10, "hold": "5m"}, {"weight": 100, "hold": "5m"}]
    base: list[Row | None] = [BASE] * 20 + [None] * 60
    results = run(policy(steps=steps), recording([GOOD] * 80, base, past=300))
    assert outcome(results) == (Outcome.PROMOTED, 39 * INTERVAL, Cause.NOTHING)


def test_absolute_gates_act_where_no_baseline_is_left() -> None:
    gate = {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "2%"}
    steps = [{"weight": 10, "hold": "5m"}, {"weight": 100, "hold": "1h"}]
    base: list[Row | None] = [BASE] * 20 + [None] * 100
    bad: Rows = [*[GOOD] * 25, *[(75.0, 12.0)] * 95]
    results = run(policy(gate, steps=steps), recording(bad, base, past=300))
    assert results.outcome() is Outcome.ROLLED_BACK
    assert results.cause[0] == Cause.EVIDENCE
    assert results.at[0] < 40 * INTERVAL


def test_an_absolute_limit_that_both_break_rolls_nothing_back() -> None:
    gate = {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "2%"}
    base: Rows = [(675.0, 60.0)] * 100
    results = run(policy(gate), recording([(75.0, 7.0)] * 100, base, past=0))
    assert results.outcome() is Outcome.UNDECIDED


def test_several_gates_that_nearly_break_their_limits_do_so_together() -> None:
    faults = {"name": "faults", "ratio": {"bad": "faults", "total": "requests"}, "atMost": "baseline + 0.2pp"}
    bad = recording(noisy(480, 0.02), past=600)

    def at(faults_of: Recording) -> float:
        arms = {
            arm: {"": {**bad.arms[arm][""], "faults": faults_of.arms[arm][""]["errors"]}}
            for arm in (BASELINE, CANDIDATE)
        }
        return float(run(policy(ERRORS, faults), Recording(bad.times, INTERVAL, arms)).at[0])

    assert at(bad) < at(recording([GOOD] * 480, past=600))


def test_the_history_is_remembered_as_if_it_had_been_folded_in() -> None:
    (bound,) = policy().bind(["errors", "requests"], INTERVAL)
    source = Replay(recording([GOOD] * 3, past=500))
    state = first_state(bound, source.history, 1)
    folded = sequential.start(1)
    for _ in range(500):
        slot = sequential.Slot.of(*(np.array([value]) for value in (0.0, 0.0, *BASE)))
        folded = sequential.fold(folded, bound.test.design, slot, np.array([False]))
    assert state.memory[0, :2] == pytest.approx(folded.memory[0, :2])


def test_a_short_history_teaches_no_floor() -> None:
    (bound,) = policy().bind(["errors", "requests"], INTERVAL)
    known, unknown = (first_state(bound, Replay(recording([GOOD], past=past)).history, 1) for past in (240, 239))
    assert known.floor[0, 1] > 0.0
    assert unknown.floor[0, 1] == 0.0


def test_a_recording_without_a_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="no row of the candidate"):
        run(policy(), recording([None] * 10, past=10))


def test_runs_side_by_side_are_what_each_is_alone() -> None:
    single = [recording(noisy(300, share, seed), past=300) for seed, share in enumerate((0.01, 0.02, 0.05))]
    arms = {
        arm: {
            "": {name: np.concatenate([one.arms[arm][""][name] for one in single]) for name in ("requests", "errors")}
        }
        for arm in (BASELINE, CANDIDATE)
    }
    together = run(policy(), Recording(single[0].times, INTERVAL, arms))
    for i, one in enumerate(single):
        assert together.summary(i) == run(policy(), one).summary()


def _interval(number: int, ours: Any, theirs: Any) -> Interval:
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=INTERVAL * number)
    return Interval(start, start + timedelta(seconds=INTERVAL), ours, theirs)


def test_evidence_is_that_of_the_operators_own_test_on_a_ratio() -> None:
    rows = noisy(40, 0.012)
    (bound,) = policy().bind(["errors", "requests"], INTERVAL)
    state = bound.test.start()
    for number, row in enumerate(rows):
        assert row is not None
        interval = _interval(number, Counts(row[1], row[0]), Counts(BASE[1], BASE[0]))
        state = bound.test.fold(state, interval)
    assessed = bound.test.assess(state)
    results = run(policy(), recording(rows))
    assert results.gates[0].log_evidence[0] == pytest.approx(
        float(sequential.log_breach(state.counts, bound.test.design)[0])
    )
    assert results.gates[0].value[0] == pytest.approx(assessed.value)
    assert results.gates[0].samples[0] == assessed.samples
    assert results.gates[0].verdict[0] == assessed.verdict


@pytest.mark.parametrize("limit", ["200ms", "110% of baseline"])
def test_evidence_is_that_of_the_operators_own_test_on_a_latency(limit: str) -> None:
    gate = {"name": "p95", "latency": {"histogram": "s", "quantile": "0.95"}, "atMost": limit}
    bounds = (0.1, 0.15, 0.25, math.inf)
    columns = ["s_bucket_le_0.1", "s_bucket_le_0.15", "s_bucket_le_0.25", "s_count"]
    (bound,) = policy(gate).bind(columns, INTERVAL)
    drawn = np.random.default_rng(3).multinomial
    ours, theirs = (drawn(n, [0.6, 0.3, 0.06, 0.04], 40).cumsum(axis=1).astype(float) for n in (80, 700))
    state = bound.test.start()
    for number in range(40):
        histograms = (Histogram(bounds, tuple(arm[number].tolist())) for arm in (ours, theirs))
        state = bound.test.fold(state, _interval(number, *histograms))
    arms = {
        name: {"": {column: counts[None, :, i] for i, column in enumerate(columns)}}
        for name, counts in ((CANDIDATE, ours), (BASELINE, theirs))
    }
    results = run(policy(gate), Recording(np.arange(40, dtype=np.float64) * INTERVAL, INTERVAL, arms))
    assert results.gates[0].log_evidence[0] == pytest.approx(
        float(sequential.log_breach(state.counts, bound.test.design)[0])
    )
    assert results.gates[0].verdict[0] == bound.test.assess(state).verdict
