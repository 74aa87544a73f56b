"""What the engine makes of the metrics: when it judges, when a hold counts, and what is an outage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.rollout import Evaluation
from modelrollout.engine.decide import decide
from modelrollout.engine.evidence import definition_hash, measurement_plan, warm_from
from modelrollout.engine.model import GateMeasurement, Measurement, RouteState, SetWeights
from modelrollout.gates.evidence import Counts, Interval
from tests.support.world import CTR, ERRORS, LATENCY, REPORT, Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping

_ABSOLUTE = ERRORS | {"atMost": "5%"}
_NO_CATASTROPHE = {"errorsAbove": "100%"}
_SHORT = {"weight": 10, "hold": "20s"}
_LONG = [{"weight": 10, "hold": "10m"}, {"weight": 100, "hold": "1m"}]


def held(world: World) -> float:
    """Seconds of the hold that were counted."""
    assert world.status.step is not None
    return world.status.step.held_seconds


def test_a_cold_start_is_not_judged() -> None:
    world = stepping(10, gates=[LATENCY], warmup="1m", steps=_LONG)
    world.behaviour["2"] = Behaviour(slow=0.24)
    world.run(40)
    assert world.gate("p95").verdict is Verdict.TOO_EARLY
    assert "warming up" in world.gate("p95").message
    world.behaviour.clear()
    world.run(900)
    assert world.stable == world.target


def test_a_catastrophe_is_caught_while_warming_up() -> None:
    world = stepping(10, warmup="10m", steps=_LONG)
    world.behaviour["2"] = Behaviour(errors=0.6)
    assert world.run_until(lambda: world.weight == 0) < 13
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.CATASTROPHE


def test_a_catastrophe_is_caught_before_the_gateway_says_accepted() -> None:
    world = serving()
    world.acceptance = 3.0
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.apply("2")
    world.run_until(lambda: world.weight == 10)
    world.route.state = RouteState.PENDING  # accepted never comes
    world.acceptance = 3600.0
    assert world.run_until(lambda: world.weight == 0) < 20


_T = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def _glance(*parts: tuple[int, int]) -> Measurement:
    """What was read after an alarm: bad ones and all of the candidate in each part; the baseline is fine."""
    intervals = tuple(
        Interval(_T + timedelta(seconds=n), _T + timedelta(seconds=n + 1), Counts(*counts), Counts(1.0, 180.0))
        for n, counts in enumerate(parts)
    )
    return Measurement(_T, _T + timedelta(seconds=len(parts)), {"errors": GateMeasurement(intervals)})


@pytest.mark.parametrize(
    ("parts", "goes_back"),
    [
        ([(0, 20), (12, 20)], True),  # its last part alone
        ([(6, 18), (7, 18)], True),  # neither part has requests enough, both together have
        ([(0, 20), (2, 20)], False),
        ([(12, 20), (0, 20)], True),  # 12 of 40 are still above 25 %
        ([(9, 20), (0, 20)], False),
    ],
)
def test_detail_13_a_catastrophe_between_two_looks_is_enough(parts: list[tuple[int, int]], goes_back: bool) -> None:
    world = stepping(10, steps=_LONG)
    world.run_until(lambda: world.gate("errors").verdict is not Verdict.TOO_EARLY)
    before = world.status
    decision = decide(replace(world.observe(), glance=_glance(*parts)))
    assert (decision.status.weight == 0) is goes_back
    assert any(isinstance(one, SetWeights) for one in decision.first) is goes_back
    if goes_back:
        assert decision.status.failed is not None
        assert decision.status.failed.reason is Reason.CATASTROPHE
    else:
        assert decision.status.gates == before.gates, "it is no evidence"
        assert decision.status.evaluated_at == before.evaluated_at


def test_pods_younger_than_the_warm_up_are_not_judged() -> None:
    world = stepping(10, warmup="1m", steps=_LONG)
    world.run(90)
    assert world.gate().verdict is not Verdict.TOO_EARLY
    candidate = world.deployments[world.candidate]
    candidate.pods = []
    world._scale(candidate, 2)
    world.run(20)
    assert world.gate().verdict is Verdict.TOO_EARLY
    seen = world.observe()
    warm = warm_from(seen, seen.status)
    assert warm is not None
    assert warm > seen.now + timedelta(seconds=40)


def test_late_labels_are_waited_for_after_every_raise() -> None:
    world = stepping(10, gates=[CTR | {"labelsWithin": "2m"}], steps=_LONG)
    world.run(120)
    assert world.gate("ctr").verdict is Verdict.TOO_EARLY
    world.run(60)
    assert world.gate("ctr").verdict in (Verdict.NO_HARM_SEEN, Verdict.PROVEN)


@pytest.mark.parametrize("obstacle", ["paused", "spec paused", "frozen", "blind", "not accepted", "not ready", "away"])
def test_a_hold_counts_only_what_counts(obstacle: str) -> None:
    steps = [_SHORT, {"weight": 50, "hold": "10m"}, {"weight": 100, "hold": "1m"}]
    world = stepping(50, steps=steps, evaluation=spec()["evaluation"] | {"minBreachTime": "1h"})
    world.run(60)
    if obstacle == "paused":
        world.say("pause")
    elif obstacle == "spec paused":
        world.apply(paused=True)
    elif obstacle == "frozen":
        world.freeze("a fair")
    elif obstacle == "blind":
        world.metrics_down = True
    elif obstacle == "not accepted":
        world.acceptance = 3600.0
        world._route_changed()
    elif obstacle == "not ready":
        world.hanging.add("2")
    world.run(10)
    before = held(world)
    if obstacle == "away":
        world.pass_unseen(200)
        world.run(1)
        assert held(world) - before <= 2 * 5 + 1, "after an absence at most two intervals"
    else:
        world.run(200)
        assert held(world) == before


def test_a_hold_counts_all_the_time_that_is_well_spent() -> None:
    world = stepping(10, steps=_LONG)
    world.run(15)
    before = held(world)
    world.run(100)
    assert held(world) - before == pytest.approx(100, abs=6)


@pytest.mark.parametrize(("patience", "fewest"), [("30s", 6), ("0s", 2)])
def test_detail_13_a_breach_takes_min_breach_time_and_at_least_two_looks(patience: str, fewest: int) -> None:
    world = stepping(10, evaluation=spec()["evaluation"] | {"minBreachTime": patience, "catastrophe": _NO_CATASTROPHE})
    world.run(16)
    since = world.status.evaluated_at
    world.behaviour["2"] = Behaviour(errors=0.98)
    world.run_until(lambda: world.weight == 0)
    assert since is not None
    assert world.status.failed is not None
    looks = (world.status.failed.at - since).total_seconds() / 5
    assert fewest <= looks <= fewest + 2.5


def test_detail_13_with_looks_a_minute_apart_one_is_not_enough() -> None:
    world = stepping(10, evaluation=spec()["evaluation"] | {"interval": "1m", "catastrophe": _NO_CATASTROPHE})
    world.behaviour["2"] = Behaviour(errors=0.98)
    assert world.run_until(lambda: world.weight == 0) > 60


def test_a_shared_dependency_that_breaks_an_absolute_limit_is_not_the_candidate_s_fault() -> None:
    world = stepping(10, gates=[_ABSOLUTE])
    world.behaviour = {"1": Behaviour(errors=0.2), "2": Behaviour(errors=0.2)}
    world.run(600)
    assert world.status.reason is Reason.SHARED_DEGRADATION
    assert world.gate().shared
    assert world.weight == 10
    assert world.status.failed is None


def test_worse_than_a_degraded_baseline_is_rolled_back() -> None:
    world = stepping(10, gates=[_ABSOLUTE])
    world.behaviour = {"1": Behaviour(errors=0.06), "2": Behaviour(errors=0.2)}
    world.run(120)
    assert world.status.failed is not None


def test_at_100_percent_a_relative_gate_keeps_its_verdict_and_says_no_baseline() -> None:
    world = stepping(100, steps=[{"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "5m"}])
    world.run(120)
    assert world.gate().message.startswith("NoBaseline")
    assert world.gate().verdict in (Verdict.NO_HARM_SEEN, Verdict.PROVEN)
    assert world.gate().samples > 1000


def test_at_100_percent_a_relative_gate_that_never_was_decided_does_not_pretend_to_be() -> None:
    world = stepping(100, steps=[{"weight": 100, "hold": "1m"}])
    world.run(30)
    assert world.gate().verdict is Verdict.TOO_EARLY
    assert world.gate().message.startswith("NoBaseline")
    world.run(120)
    assert world.stable == world.target, "and holds nothing up: there is nothing more to learn"


def test_at_100_percent_absolute_gates_and_catastrophes_act() -> None:
    for gate, how in ((_ABSOLUTE, Behaviour(errors=0.1)), (ERRORS, Behaviour(errors=0.9))):
        world = stepping(100, gates=[gate], steps=[{"weight": 50, "hold": "30s"}, {"weight": 100, "hold": "1h"}])
        world.run(30)
        world.behaviour["2"] = how
        world.run(200)
        assert world.status.failed is not None, gate


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("source", Reason.METRICS_UNAVAILABLE),
        ("metric", Reason.GATE_MISCONFIGURED),
        ("candidate", Reason.CANDIDATE_NOT_MEASURED),
        ("baseline", Reason.GATE_MISCONFIGURED),
    ],
)
def test_what_is_missing_is_told_apart(what: str, reason: Reason) -> None:
    world = stepping(10, steps=_LONG)
    world.run(60)
    if what == "source":
        world.metrics_down = True
    elif what == "metric":
        world.missing_metrics = {"errors"}
    else:
        world.unmeasured = {"2" if what == "candidate" else "1"}
    world.run(60)
    assert world.condition("MetricsAvailable") == ("False", str(reason))
    assert world.gate().verdict is Verdict.BLIND
    assert world.status.failed is None


def test_an_absolute_gate_needs_no_baseline() -> None:
    world = serving(gates=[_ABSOLUTE])
    world.unmeasured = {"1"}
    world.apply("2")
    world.run(600)
    assert world.stable == world.target


def test_a_relative_gate_gives_no_traffic_before_the_baseline_is_measured() -> None:
    world = serving()
    world.unmeasured = {"1"}
    world.apply("2")
    world.run(300)
    assert world.weight == 0
    world.unmeasured = set()
    world.run(600)
    assert world.stable == world.target


def test_series_that_are_not_there_yet_right_after_a_raise_are_only_early() -> None:
    world = serving()
    world.unmeasured = {"2"}
    world.apply("2")
    world.run(20)
    assert world.weight == 10
    assert world.status.blind is None
    assert world.gate().verdict is Verdict.TOO_EARLY
    world.unmeasured = set()
    world.run(600)
    assert world.stable == world.target


def _retreating(**changes: Any) -> World:
    return stepping(50, evaluation=spec()["evaluation"] | {"onBlind": "retreat"}, **changes)


def test_on_blind_retreat_puts_traffic_back_and_comes_again_from_the_first_step() -> None:
    world = _retreating()
    candidate = world.candidate
    world.metrics_down = True
    took = world.run_until(lambda: world.weight == 0)
    assert 119 < took < 140
    assert world.candidate == candidate
    assert world.status.failed is None
    said = len(world.events)
    world.run(3600)
    assert len(world.events) == said, "it says so once"
    assert world.condition("MetricsAvailable")[0] == "False"
    world.metrics_down = False
    world.run_until(lambda: world.weight > 0)
    assert world.weight == 10
    world.run(900)
    assert world.stable == world.target


def test_a_retreat_that_was_not_recorded_is_adopted() -> None:
    world = _retreating()
    world.metrics_down = True

    def lowered(decision: Any) -> int | None:
        return 1 if any(isinstance(one, SetWeights) for one in decision.first) else None

    world.crash_when = lowered
    world.run_until(lambda: world.weight == 0)
    world.run(5)
    assert world.status.weight == 0
    assert world.status.step is not None
    assert world.status.step.number <= 1


def test_a_retreat_for_a_missing_metric_does_not_swing_back_and_forth() -> None:
    world = _retreating(gates=[_ABSOLUTE])
    world.missing_metrics = {"errors"}
    world.run(400)
    assert world.weight == 0
    done = len(world.done)
    world.run(3600)
    assert len(world.done) == done


def test_min_samples_are_needed_in_both_arms() -> None:
    world = stepping(50, gates=[ERRORS | {"minSamples": 5000}])
    world.run(20)
    assert "of 5000 samples of the candidate" in world.gate().message
    world.run(600)
    assert world.stable == world.target


def test_the_plan_reads_both_arms_up_to_the_same_instant_a_little_in_the_past() -> None:
    world = stepping(10, gates=[ERRORS, LATENCY], steps=_LONG)
    world.run(60.3)
    seen = world.observe()
    world.pass_unseen(30)
    plan = measurement_plan(world.observe(), delay=7.0)
    assert plan is not None
    assert plan.end <= world.clock - timedelta(seconds=7)
    assert plan.end.microsecond == 0
    assert set(plan.starts.values()) == {seen.status.evaluated_at}


def test_nothing_is_read_without_gates_a_candidate_or_a_stable() -> None:
    for world in (World(), serving(), stepping(10, gates=[], steps=_LONG)):
        world.run(5)
        assert measurement_plan(world.observe(), delay=1.0) is None


def test_an_outage_of_an_hour_loses_no_evidence() -> None:
    world = stepping(50, steps=[_SHORT, {"weight": 50, "hold": "3h"}])
    world.run(60)
    before = world.gate().samples
    world.metrics_down = True
    world.run(3600)
    world.metrics_down = False
    world.run(20)
    assert world.gate().samples - before == pytest.approx(3600 * 100, rel=0.02)


def test_counts_of_an_old_definition_are_not_taken_for_the_new_one() -> None:
    """A measurement that was under way during the edit may still be of the old metric, even of another kind."""
    world = stepping(10, steps=_LONG)
    world.run(60)
    while world._look is None:
        world.run(0.05)
    world.apply(gates=[LATENCY | {"name": "errors"}])
    world.run(30)
    assert world.status.phase is Phase.PROGRESSING
    assert world.gate().limit == "may rise to 200 ms"
    assert world.gate().verdict is not Verdict.BLIND


def test_a_default_that_is_written_out_or_added_is_the_same_definition() -> None:
    gate = Gate.model_validate(ERRORS)
    written = Gate.model_validate(gate.model_dump(by_alias=True, exclude_none=True))
    usual = definition_hash(gate, Evaluation())
    assert usual == definition_hash(written, Evaluation(interval="5s"))
    assert usual != definition_hash(gate.model_copy(update={"min_samples": 7}), Evaluation())
    assert usual == definition_hash(gate.model_copy(update={"name": "other"}), Evaluation())


def test_detail_18_another_source_of_metrics_is_another_definition_of_what_is_measured() -> None:
    own = Evaluation.model_validate({"prometheus": {"url": "https://prometheus.recs"}})
    places = (Evaluation(), Evaluation(source="platform"), own)
    assert len({definition_hash(Gate.model_validate(ERRORS), one) for one in places}) == 3
    assert len({definition_hash(Gate.model_validate(REPORT), one) for one in places}) == 1, "a report is not read there"


def test_a_rollout_without_gates_goes_on_time_and_pods_alone() -> None:
    world = stepping(10, gates=[])
    world.run(400)
    assert world.stable == world.target


def test_weight_does_not_go_up_while_a_gate_leans_beyond_its_limit() -> None:
    """Not breached is not enough: two standard errors beyond the limit, more samples are waited for at this weight."""
    for errors in (0.024, 0.028, 0.03, 0.032):
        world = stepping(10)
        world.behaviour["2"] = Behaviour(errors=errors)
        leaned, before = False, world.weight
        for _ in range(600):
            gate = world.gate()
            leaned = leaned or (gate.leaning and "leans" in world.status.message)
            was_leaning = gate.leaning
            world.run(1)
            if world.weight > before:
                assert not (was_leaning and world.gate().leaning), f"raised at {errors}: {gate.message}"
            before = world.weight
        if errors >= 0.03:
            assert leaned, f"{errors} never leaned for longer than the hold"


def test_a_dependency_that_has_recovered_holds_nothing_up() -> None:
    world = stepping(10, gates=[_ABSOLUTE], steps=[{"weight": 10, "hold": "10m"}, {"weight": 100, "hold": "1m"}])
    world.run(30)
    world.behaviour = {"1": Behaviour(errors=0.3), "2": Behaviour(errors=0.3)}
    world.run(300)
    assert world.status.reason is Reason.SHARED_DEGRADATION
    world.behaviour.clear()
    assert world.run_until(lambda: world.status.reason is Reason.HOLDING) < 30
