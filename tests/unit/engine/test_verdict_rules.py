"""The numbered details on verdicts, as a person would see them: warm-up, breaches, what a step waits for, splits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import all_gates_together
from modelrollout.engine.model import ReplacePod
from modelrollout.engine.steps import _own_fraction
from tests.support.world import CTR, ERRORS, LATENCY, Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping

_ABSOLUTE = ERRORS | {"name": "absolute", "atMost": "5%"}
_NO_CATASTROPHE = {"errorsAbove": "100%"}
_LONG = [{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}]
_BAD = Behaviour(errors=0.2)


def evaluation(**changes: Any) -> dict[str, Any]:
    """The evaluation of the usual spec, with changes."""
    return dict(spec()["evaluation"]) | changes


def test_detail_12_while_warming_up_only_catastrophes_and_pods_act() -> None:
    for errors, taken_back in ((0.2, False), (0.6, True)):
        world = stepping(10, warmup="5m", steps=_LONG)
        world.behaviour["2"] = Behaviour(errors=errors)
        world.run(200)
        assert (world.status.failed is not None) == taken_back
    world = stepping(10, warmup="5m", steps=_LONG)
    world.broken["2"] = "CrashLoopBackOff"
    world.touch()
    world.run(30)
    assert world.status.failed is not None


def test_detail_12_the_hold_begins_after_the_warm_up_of_every_raise() -> None:
    world = stepping(10, warmup="1m", steps=[{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}])
    took = world.run_until(lambda: world.weight == 50)
    assert 115 < took < 140
    assert world.run_until(lambda: world.weight == 100) > 115


def test_detail_13_one_burst_within_the_cap_breaches_nothing_and_harm_that_lasts_does() -> None:
    world = stepping(10, steps=_LONG, evaluation=evaluation(catastrophe=_NO_CATASTROPHE, minBreachTime="30s"))
    world.run(60)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(5)
    world.behaviour.clear()
    world.run(300)
    assert world.status.failed is None
    world.behaviour["2"] = _BAD
    assert world.run_until(lambda: world.status.failed is not None) > 25


def test_detail_13_a_catastrophe_that_the_baseline_shares_is_none() -> None:
    world = stepping(10, steps=_LONG)
    world.behaviour = {"1": Behaviour(errors=0.5), "2": Behaviour(errors=0.5)}
    world.run(60)
    assert world.status.failed is None


def test_detail_14_a_step_waits_for_its_samples_in_both_arms() -> None:
    world = stepping(50, gates=[ERRORS | {"minSamples": 15000}])
    world.run(100)
    assert world.weight == 50
    assert "of 15000 samples" in world.status.message
    assert world.run_until(lambda: world.weight == 100) < 100


def test_detail_14_a_step_waits_for_data_over_nine_tenths_of_its_hold() -> None:
    world = stepping(10, gates=[ERRORS | {"required": False}, LATENCY], steps=[{"weight": 10, "hold": "2m"}])
    world.run(15)
    gates = [gate.model_copy(update={"covered_seconds": -100.0}) for gate in world.status.gates]
    world.live = world.status.model_copy(update={"gates": gates})
    world.run(120)
    assert world.weight == 10
    assert "of the hold, and 90 % are needed" in world.status.message
    assert world.run_until(lambda: world.weight == 100) < 120


def test_detail_14_a_step_waits_until_what_must_be_seen_would_have_been() -> None:
    world = stepping(10, gates=[ERRORS | {"mustSee": "baseline + 1.5pp"}])
    world.rps = 60.0
    world.run(120)
    assert world.weight == 10
    assert "must see baseline + 1.5pp" in world.status.message
    world.rps = 4000.0
    assert world.run_until(lambda: world.weight == 50) < 120


def test_detail_14_advance_on_proven_waits_for_proof() -> None:
    world = stepping(10, gates=[ERRORS | {"advanceOn": "proven", "atMost": "baseline + 0.5pp"}])
    world.run(75)
    assert world.weight == 10
    assert "must be proven" in world.status.message
    world.run_until(lambda: world.weight == 50)
    assert world.gate().verdict is not Verdict.BREACHED


def _undecided(then: str | None) -> World:
    gate = ERRORS | {"advanceOn": "proven", "atMost": "baseline + 0.05pp", "maxHold": "2m"}
    return stepping(10, gates=[gate | ({"onUndecided": then} if then else {})])


def test_detail_14_an_undecided_gate_pauses_after_its_longest_hold_and_resume_gives_it_another() -> None:
    world = _undecided(None)
    took = world.run_until(lambda: world.status.paused is not None)
    assert 170 < took < 220
    assert world.status.paused is not None
    assert world.status.paused.reason is Reason.UNDECIDED
    assert world.weight == 10
    world.say("resume")
    world.run(30)
    assert world.status.paused is None, "a resume is worth more than one look"
    assert 60 < world.run_until(lambda: world.status.paused is not None) < 150
    world.say("promote")
    world.run_until(lambda: world.weight == 50)


def test_detail_14_an_undecided_gate_may_advance_or_roll_back() -> None:
    world = _undecided("advance")
    assert 170 < world.run_until(lambda: world.weight == 50) < 220
    world = _undecided("rollback")
    world.run_until(lambda: world.status.failed is not None)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.UNDECIDED


@pytest.mark.parametrize(("strengths", "breached"), [((0.95, 0.97), ["b"]), ((0.85, 0.85), []), ((0.97, 0.0), [])])
def test_detail_14_evidence_in_sum_of_all_gates_is_enough(strengths: tuple[float, float], breached: list[str]) -> None:
    """Each has half of 0.6 %; at 0.95 of what it needs alone a gate brings 75 % of it, at 0.85 only 42 %."""
    world = stepping(10, steps=_LONG, gates=[ERRORS | {"name": name} for name in ("a", "b")])
    world.run(60)
    seen = world.observe()
    gates = [
        gate.model_copy(update={"evidence": strength, "verdict": Verdict.NO_HARM_SEEN})
        for gate, strength in zip(seen.status.gates, strengths, strict=True)
    ]
    d = Draft(input=seen, status=seen.status.model_copy(update={"gates": gates}))
    all_gates_together(d)
    assert [gate.name for gate in d.status.gates if gate.verdict is Verdict.BREACHED] == breached


def test_detail_15_a_wrong_split_silences_what_is_relative_and_nothing_else() -> None:
    for gate, how, taken_back in (
        (ERRORS, _BAD, False),
        (_ABSOLUTE, _BAD, True),
        (ERRORS, Behaviour(errors=0.9), True),
    ):
        world = stepping(10, gates=[gate], steps=_LONG, evaluation=evaluation(blindTimeout="1h"))
        world.bypass = 0.4
        world.run(60)
        world.behaviour["2"] = how
        world.run(120)
        assert (world.status.failed is not None) == taken_back, (gate["name"], how)


def test_detail_15_a_split_that_stays_wrong_is_blindness_and_ends_when_it_is_right() -> None:
    steps = [{"weight": 10, "hold": "30s"}, {"weight": 50, "hold": "5m"}, {"weight": 100, "hold": "30s"}]
    world = stepping(50, steps=steps)
    world.run(20)
    world.bypass = 0.5
    world.run(100)
    assert world.status.reason is Reason.SPLIT_MISMATCH
    world.run_until(lambda: world.status.blind is not None, within=400)
    assert world.condition("MetricsAvailable") == ("False", "SplitMismatch")
    assert world.weight == 50
    world.bypass = 0.0
    world.run(3600)
    assert world.stable == world.target


def test_detail_16_a_baseline_that_keeps_a_part_keeps_relative_gates_alive_to_the_end() -> None:
    steps = [{"weight": 50, "hold": "30s"}, {"weight": 100, "hold": "10m"}]
    world = serving(steps=steps, baselineHoldback=5)
    world.apply("2")
    world.run_until(lambda: world.weight == 95)
    world.run(60)
    assert not world.gate().message.startswith("NoBaseline")
    world.behaviour["2"] = _BAD
    world.run_until(lambda: world.status.failed is not None, within=120)
    world = serving(steps=steps, baselineHoldback=5)
    world.apply("2")
    world.run(1200)
    assert world.stable == world.target
    assert world.route.weights == {world.target: 100}


def _blind(weight: int = 50, **changes: Any) -> World:
    world = stepping(weight, **({"steps": [*spec()["steps"][:1], {"weight": 50, "hold": "1h"}]} | changes))
    world.run(40)
    world.metrics_down = True
    return world


def test_detail_17_under_hold_the_weight_stays_and_it_is_told_again_after_blind_timeout() -> None:
    world = _blind()
    world.run(400)
    assert world.weight == 50
    told = [event for event in world.events if event.reason is Reason.METRICS_UNAVAILABLE]
    assert len(told) == 2
    assert "still no metrics" in told[1].message


def test_detail_17_a_candidate_that_finished_no_step_is_taken_back_even_under_hold() -> None:
    world = _blind(10, steps=_LONG)
    took = world.run_until(lambda: world.weight == 0, within=200)
    assert 110 < took < 160
    assert world.status.failed is None
    assert "no judged step is finished yet" in world.events[-1].message


def test_detail_17_a_blind_candidate_whose_pods_fail_is_taken_back_even_under_hold() -> None:
    world = _blind()
    world.run(60)
    world._replace_pod(world.deployments[world.candidate])
    world.hanging.add("2")
    deployment = world.deployments[world.candidate]
    assert world.ready(deployment.revision) == 0
    world.run(200)
    assert world.weight == 0


def test_detail_17_retreats_are_staggered() -> None:
    seen = World().observe()
    fractions = {_own_fraction(Draft(replace(seen, name=f"r{n}"), seen.status)) for n in range(50)}
    assert len(fractions) > 40
    assert 0.0 <= min(fractions) < 0.2 and 0.8 < max(fractions) < 1.0


def test_detail_17_the_way_back_takes_every_step_with_fresh_evidence_and_keeps_the_pods() -> None:
    world = stepping(50, evaluation=evaluation(onBlind="retreat"))
    world.run(40)
    candidate, pods = world.candidate, list(world.deployments[world.candidate].pods)
    world.metrics_down = True
    world.run_until(lambda: world.weight == 0)
    assert world.deployments[candidate].pods[: len(pods)] == pods
    world.metrics_down = False
    world.run_until(lambda: world.weight == 10)
    world.run(1)
    assert world.gate().samples == 0
    assert world.run_until(lambda: world.weight == 50) > 65, "warm-up and the whole hold again"


def test_detail_17_the_way_back_to_the_first_step_counts_no_sample_twice() -> None:
    world = stepping(10, evaluation=evaluation(onBlind="retreat"), steps=[{"weight": 10, "hold": "10m"}])
    world.run(120)
    before = world.gate().samples
    world.metrics_down = True
    world.run_until(lambda: world.weight == 0)
    world.metrics_down = False
    world.run_until(lambda: world.weight == 10)
    world.run(60)
    assert 0 < world.gate().samples < before


def test_detail_17_both_arms_beyond_a_limit_soon_after_our_raise_is_a_step_back_for_a_human() -> None:
    world = stepping(50, gates=[_ABSOLUTE], steps=[*spec()["steps"][:1], {"weight": 50, "hold": "1h"}])
    world.run(20)
    world.behaviour = {"1": Behaviour(errors=0.3), "2": Behaviour(errors=0.3)}
    world.run_until(lambda: world.weight == 10, within=300)
    paused = world.status.paused
    assert paused is not None
    assert paused.reason is Reason.SHARED_DEGRADATION
    assert world.status.failed is None
    world.run(300)
    assert world.status.phase is Phase.PAUSED
    assert world.weight == 10
    world.behaviour.clear()
    world.say("resume")
    world.say("promote")
    world.run_until(lambda: world.weight == 50)


def test_detail_17_long_after_the_raise_both_arms_beyond_a_limit_only_hold() -> None:
    world = stepping(50, gates=[_ABSOLUTE], steps=[*spec()["steps"][:1], {"weight": 50, "hold": "2h"}])
    world.run(1000)
    world.behaviour = {"1": Behaviour(errors=0.3), "2": Behaviour(errors=0.3)}
    world.run(600)
    assert world.weight == 50
    assert world.status.reason is Reason.SHARED_DEGRADATION


def test_detail_18_a_loosened_limit_is_recorded_once_and_a_tightened_one_is_not() -> None:
    world = stepping(10, steps=_LONG)
    world.run(40)
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}])
    world.run(60)
    change = world.status.limit_changes
    assert [(one.gate, one.old, one.new) for one in change] == [("errors", "baseline + 1pp", "baseline + 2pp")]
    assert [event.reason for event in world.events].count(Reason.GATE_WARNED) == 1
    world.apply(gates=[ERRORS | {"atMost": "baseline + 1.5pp"}])
    world.run(60)
    assert world.status.limit_changes == change


def test_detail_18_an_edited_gate_says_why_it_is_judged_anew_and_loses_no_time() -> None:
    world = stepping(10, steps=_LONG, gates=[ERRORS, LATENCY])
    world.run(120)
    samples, other = world.gate().samples, world.gate("p95").checkpoint
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}, LATENCY])
    world.look()
    assert world.gate("p95").checkpoint == other
    world.run(15)
    assert world.gate().restarted_because
    assert world.gate().samples >= samples
    assert not world.gate("p95").restarted_because


@pytest.mark.parametrize("how", [Behaviour(), Behaviour(errors=0.013), _BAD])
def test_detail_33_every_verdict_is_one_of_five_words_and_says_what_it_rests_on(how: Behaviour) -> None:
    world = stepping(10, steps=_LONG)
    world.behaviour["2"] = how
    for _ in range(60):
        world.run(5)
        gate = world.gate()
        assert gate.message
        if gate.verdict is Verdict.NO_HARM_SEEN:
            assert gate.would_have_seen is not None
        if gate.verdict in (Verdict.BREACHED, Verdict.PROVEN):
            assert gate.value is not None and gate.samples >= 100


def test_detail_34_on_breach_pause_stops_the_steps_and_warn_only_says_so() -> None:
    world = stepping(10, gates=[ERRORS | {"onBreach": "pause"}])
    world.behaviour["2"] = _BAD
    world.run(300)
    assert world.status.paused is not None
    assert world.status.paused.reason is Reason.GATE_BREACHED
    assert world.weight == 10
    assert world.status.failed is None

    world = stepping(10, gates=[ERRORS | {"onBreach": "warn"}])
    world.behaviour["2"] = _BAD
    world.run(300)
    assert world.stable == world.target
    assert [event.reason for event in world.events].count(Reason.GATE_WARNED) == 1


def test_detail_34_in_observe_mode_steps_go_on_time_and_what_would_have_been_done_is_told_once() -> None:
    world = stepping(10, mode="observe")
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(120)
    assert world.status.observed.startswith("would have rolled back at 09:0")
    first = world.status.observed
    world.run(600)
    assert world.stable == world.target
    assert world.status.observed == first
    assert [event.reason for event in world.events].count(Reason.WOULD_ROLL_BACK) == 1


def test_detail_34_in_observe_mode_pods_that_fail_still_roll_back() -> None:
    world = stepping(10, mode="observe", steps=_LONG)
    world.broken["2"] = "CrashLoopBackOff"
    world.touch()
    world.run(30)
    assert world.status.failed is not None


def test_detail_34_a_gate_that_is_not_required_holds_nothing_up() -> None:
    for trouble in ("missing", "few"):
        world = serving(gates=[ERRORS, LATENCY | {"required": False, "minSamples": 10**9}])
        if trouble == "missing":
            world.missing_metrics = {"p95"}
        world.apply("2")
        world.run(600)
        assert world.stable == world.target


def test_detail_35_after_every_change_of_weight_labels_are_waited_for() -> None:
    world = stepping(
        10, gates=[CTR | {"labelsWithin": "1m"}], steps=[{"weight": 10, "hold": "2m"}, *spec()["steps"][1:]]
    )
    world.run_until(lambda: world.weight == 50)
    world.run(60)
    assert world.gate("ctr").samples == 0
    assert world.gate("ctr").verdict is Verdict.TOO_EARLY
    world.run(60)
    assert world.gate("ctr").samples > 0


def test_detail_35_a_step_does_not_end_before_its_labels_are_in() -> None:
    world = stepping(10, gates=[CTR | {"labelsWithin": "5m"}])
    assert world.run_until(lambda: world.weight == 50) > 300


def test_detail_37_the_baseline_s_past_is_read_once_before_the_first_traffic() -> None:
    world = serving()
    asked = []
    read = world._past
    world._past = lambda seen, past: (asked.append(seen.status.weight), read(seen, past))[1]  # type: ignore[method-assign, func-returns-value]
    world.apply("2")
    world.run(600)
    assert world.stable == world.target
    assert asked == [0]


def test_detail_37_the_noise_is_known_at_weight_0() -> None:
    world = serving()
    world.hanging.add("2")
    world.apply("2")
    world.run(30)
    assert world.weight == 0
    assert world.gate().noise_known
    assert world.gate().noise_floor is not None


def _one_bad_pod(errors: float = 0.9, **changes: Any) -> World:
    workload = spec()["workload"] | {"replicas": 4, "scaling": "full"}
    world = stepping(10, **({"workload": workload, "steps": _LONG} | changes))
    world.run(60)
    world.bad_pods["2"] = errors
    return world


def replaced(world: World) -> int:
    """How many pods were replaced."""
    return sum(isinstance(action, ReplacePod) for _, action in world.done)


def test_one_bad_pod_is_replaced_and_the_model_goes_on() -> None:
    world = _one_bad_pod(0.6)
    world.run(7200)
    assert replaced(world) == 1
    assert Reason.ONE_POD_BAD in world.reasons()
    assert world.stable == world.target


def test_a_second_bad_pod_counts() -> None:
    world = _one_bad_pod(0.6)
    world.bad_node = True
    world.run_until(lambda: world.status.failed is not None, within=900)
    assert replaced(world) == 1
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.GATE_BREACHED


def test_a_catastrophe_does_not_wait_for_a_pod() -> None:
    world = _one_bad_pod(1.0, workload=spec()["workload"] | {"replicas": 2, "scaling": "full"})
    world.run_until(lambda: world.status.failed is not None, within=60)
    assert replaced(world) == 0


def test_harm_that_all_pods_share_is_the_model_s() -> None:
    world = _one_bad_pod()
    world.bad_pods.clear()
    world.behaviour["2"] = _BAD
    world.run_until(lambda: world.status.failed is not None, within=300)
    assert replaced(world) == 0


def test_a_gate_that_cannot_see_enough_says_so_once_at_weight_0() -> None:
    world = serving(gates=[ERRORS, CTR | {"atLeast": "99% of baseline"}])
    world.hanging.add("2")
    world.apply("2")
    world.run(30)
    assert world.weight == 0
    assert "cannot see a drop of 1 %" in world.gate("ctr").underpowered
    assert world.gate().underpowered == ""
    world.hanging.clear()
    world.touch()
    world.run(900)
    assert world.reasons().count(Reason.GATE_UNDERPOWERED) == 1


def test_without_history_a_weak_gate_is_told_from_the_step_s_own_counts() -> None:
    world = serving(gates=[CTR | {"atLeast": "99% of baseline"}])
    world._past = lambda seen, past: {}  # type: ignore[method-assign]
    world.apply("2")
    world.run(300)
    assert "cannot see a drop of 1 %" in world.gate("ctr").underpowered
    assert world.reasons().count(Reason.GATE_UNDERPOWERED) == 1
    passing = next(one for one in world.status.conditions if one.type == "GatesPassing")
    assert passing.status != "True" or "cannot see" in passing.message
