"""The details that refine the rules, each as a person would see it. Names carry the detail's number."""

from __future__ import annotations

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Outcome, Phase, Reason, Role, Urgency, Verdict
from modelrollout.api.gate import IdentityBy, MetricIdentity
from modelrollout.api.grammar import parse_limit
from modelrollout.engine.model import Marker, RouteState, SetFinalizer, SetRole, SetWeights
from tests.support.world import ERRORS, LATENCY, Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping, writes


def test_detail_1_every_write_of_weights_carries_a_marker() -> None:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(120)
    for _, action in world.done:
        if isinstance(action, SetWeights):
            assert action.marker.weights == action.weights
            assert action.marker.reason
            assert action.marker.revision


def test_detail_1_an_upward_reassertion_waits_for_a_seeing_look() -> None:
    world = stepping(50)
    candidate = world.candidate
    world.metrics_down = True
    world.run(10)
    world.delete_route()
    world.restart()
    world.run(30)
    assert world.weight == 0, "the route is back, without the candidate"
    assert world.route.weights[world.stable] == 100
    world.metrics_down = False
    world.run(30)
    assert world.route.weights.get(candidate) == 50


def test_detail_1_a_marker_of_somebody_else_is_not_our_rollback() -> None:
    world = stepping(50)
    world.route.marker = Marker(weights={world.candidate: 0}, revision="0123456789", reason="GateBreached")
    world.run(5)
    assert world.status.failed is None
    assert world.weight == 50


def test_detail_1_a_marker_of_an_earlier_rollback_does_not_end_the_retry() -> None:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(60)
    world.behaviour.clear()
    world.say("retry")
    world.crash_when = lambda decision: 2 if decision.status.weight == 10 else None
    world.run(900)
    assert world.stable == world.target


def test_detail_2_after_delete_and_reapply_the_stable_is_found_by_its_label() -> None:
    world = stepping(50)
    stable = world.stable
    world.delete()
    world.run(30)
    world.apply()
    world.run(2)
    assert world.stable == stable
    assert world.status.phase in (Phase.STARTING, Phase.PROGRESSING)
    world.run(900)
    assert world.stable == world.target


def test_detail_2_a_lost_status_loses_nothing_but_the_steps() -> None:
    world = stepping(50)
    stable, candidate = world.stable, world.candidate
    world.written = type(world.written)()
    world.restart()
    world.run(0.5)
    assert world.stable == stable
    assert world.route.weights.get(candidate) == 0, "never raised by a restart"
    world.run(900)
    assert world.stable == candidate


def test_detail_2_a_route_that_serves_somebody_else_is_refused() -> None:
    world = World()
    world.route.state, world.route.message = RouteState.IN_USE, "the route has backends with endpoints"
    world.run(60)
    assert world.status.phase is Phase.STALLED
    assert world.status.reason is Reason.ROUTE_IN_USE
    assert writes(world) == []


def test_detail_2_a_clock_set_back_does_not_confuse_who_was_promoted_last() -> None:
    world = stepping(100)
    world.set_clock(-6 * 3600)
    world.crash_when = lambda decision: 1 if any(isinstance(a, SetRole) for a in decision.first) else None
    world.run(900)
    assert world.stable == world.target
    assert world.route.weights == {world.target: 100}


def test_detail_2_a_lost_stable_is_made_again_when_spec_names_it() -> None:
    world = serving()
    world.delete_deployment(world.stable)
    world.run(60)
    assert world.ready(world.stable) == 4
    assert world.deployments[world.stable].role is Role.STABLE


def test_detail_2_a_lost_stable_does_not_lock_out_the_next_version() -> None:
    world = serving()
    world.apply("2")
    world.delete_deployment(world.stable)
    world.run(60)
    assert Reason.STABLE_MISSING in world.reasons()
    assert world.stable == world.target
    assert world.status.phase is Phase.STABLE


def test_detail_2_a_stable_lost_in_mid_rollout_an_undo_is_done_once() -> None:
    world = stepping(10)
    world.delete_deployment(world.stable)
    world.run(6)
    world.say("undo")
    world.run(60)
    assert [entry.outcome for entry in world.status.history] == [Outcome.REVERTED, Outcome.PROMOTED]


def test_detail_2_a_stable_lost_in_mid_rollout_the_candidate_can_be_given_everybody() -> None:
    world = stepping(10)
    world.delete_deployment(world.stable)
    world.run(6)
    assert "promote ranker -n recs --full" in world.status.next
    world.say("promote", full=True)
    world.run(60)
    assert world.stable == world.target
    assert world.route.weights == {world.target: 100}


def test_detail_2_a_stable_lost_in_mid_rollout_is_named_with_the_way_out() -> None:
    world = stepping(10)
    stable = world.stable
    world.delete_deployment(stable)
    world.run(10)
    assert world.status.reason is Reason.STABLE_MISSING
    assert stable in world.status.message
    world.apply("1")
    world.run(120)
    assert world.status.phase is Phase.STABLE
    assert world.stable == stable


def test_detail_4_the_backend_is_in_the_route_at_0_and_accepted_before_it_gets_weight() -> None:
    world = serving()
    world.acceptance = 20.0
    world.apply("2")
    world.run_until(lambda: world.candidate in world.route.weights)
    assert world.weight == 0
    assert world.ready(world.candidate) >= 2
    world.run(15)
    assert world.weight == 0
    assert world.status.reason is Reason.WAITING_FOR_ROUTE
    world.run(10)
    assert world.weight == 10


def test_detail_4_the_fast_track_joins_at_0_too() -> None:
    world = serving()
    world.apply("2")
    world.run(400)
    world.acceptance = 20.0
    world.apply("1")
    world.run(15)
    assert world.weight == 0
    assert world.candidate in world.route.weights


def test_detail_4_lowering_is_weight_then_drain_then_backend_then_pods() -> None:
    world = stepping(50)
    candidate = world.candidate
    world.say("abort")
    world.run(5)
    assert world.route.weights == {world.stable: 100, candidate: 0}
    assert world.ready(candidate) == 2
    world.run(60)
    assert world.route.weights == {world.stable: 100}
    assert world.ready(candidate) == 0


def test_detail_6_the_finalizer_exists_only_while_the_candidate_has_weight() -> None:
    """ownerReferences and cascades are the workload provider's, tested there and on a real API server."""
    world = serving()
    assert not world.finalizer
    world.apply("2")
    world.run_until(lambda: world.weight > 0)
    assert world.finalizer
    order = [type(action) for _, action in world.done if isinstance(action, SetFinalizer | SetWeights)]
    assert order.index(SetFinalizer) == len(order) - 2, "before the raise"
    world.run(900)
    assert world.stable == world.target
    assert not world.finalizer


@pytest.mark.parametrize("weight", [10, 50, 100])
def test_detail_6_a_deletion_at_any_weight_ends(weight: int) -> None:
    world = stepping(weight)
    world.delete()
    assert world.run_until(lambda: not world.exists) < 30


def test_detail_6_a_deletion_right_after_an_unrecorded_promotion_ends() -> None:
    world = stepping(100)
    world.crash_when = lambda decision: 1 if any(isinstance(a, SetRole) for a in decision.first) else None
    world.watchers.append(lambda w, _i, _d, action: w.delete() if isinstance(action, SetRole) else None)
    world.run(120)
    assert not world.exists
    assert world.route.weights[world.target] == 100
    assert world.target in world.deployments


def test_detail_8_an_invalid_template_stalls_and_moves_nothing() -> None:
    world = serving()
    world.template_error = "spec.containers[0].image: Required value"
    world.apply("2")
    world.run(60)
    assert world.status.phase is Phase.STALLED
    assert world.status.reason is Reason.INVALID_TEMPLATE
    assert "Required value" in world.status.message
    assert world.route.weights == {world.stable: 100}


def test_detail_11_the_previous_version_stays_warm_then_keeps_its_objects() -> None:
    world = serving()
    old = world.stable
    world.apply("2")
    world.run_until(lambda: world.stable == world.target)
    world.run(100)
    assert world.ready(old) == 4
    world.run(60)
    assert world.ready(old) == 0
    assert world.deployments[old].role is Role.RETIRED


@pytest.mark.parametrize(("keep", "left"), [(0, {"4"}), (1, {"3", "4"}), (2, {"2", "3", "4"})])
def test_detail_11_later_ones_are_collected(keep: int, left: set[str]) -> None:
    world = serving(rollback={"keep": keep, "warmFor": "1m"})
    for version in ("2", "3", "4"):
        world.apply(version)
        world.run(600)
    assert {one.version for one in world.deployments.values()} == left


def test_detail_18_an_edited_gate_is_judged_again_from_the_step_s_start() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}])
    world.run(600)
    samples = world.gate().samples
    assert samples > 10_000
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}])
    world.run(1)
    assert world.gate().verdict is Verdict.TOO_EARLY
    assert "edited" in world.gate().message
    world.run(15)
    assert world.gate().limit.startswith("may rise to 3 %")
    assert world.gate().samples >= samples


def test_detail_18_an_edited_gate_does_not_lose_the_step_s_start_to_an_outage() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}])
    world.run(600)
    samples = world.gate().samples
    world.metrics_down = True
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}])
    world.run(30)
    world.metrics_down = False
    world.run(30)
    assert world.gate().samples >= samples


def test_detail_18_other_gates_keep_what_they_have() -> None:
    world = stepping(10, gates=[ERRORS, LATENCY], steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}])
    world.run(300)
    before = world.gate("p95").samples
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}, LATENCY])
    world.run(1)
    assert world.gate("p95").samples >= before
    assert world.gate("p95").verdict is not Verdict.TOO_EARLY


def test_detail_18_a_loosened_limit_does_not_lift_a_rollback() -> None:
    world = stepping(10)
    world.behaviour["2"] = Behaviour(errors=0.1)
    world.run(120)
    world.apply(gates=[ERRORS | {"atMost": "90%"}])
    world.run(600)
    assert world.condition("Ready") == ("False", "RolledBack")


def test_detail_18_a_gate_that_was_removed_neither_breaches_nor_blocks() -> None:
    world = stepping(10, gates=[ERRORS | {"onBreach": "warn"}])
    world.behaviour["2"] = Behaviour(errors=0.1)
    world.run_until(lambda: world.gate().verdict is Verdict.BREACHED)
    world.apply(gates=[])
    world.run(900)
    assert world.stable == world.target


def test_detail_18_an_outage_ends_with_the_last_gate() -> None:
    world = stepping(10)
    world.metrics_down = True
    world.run(30)
    world.apply(gates=[])
    world.run(900)
    assert world.stable == world.target


def test_detail_18_a_gate_that_was_added_is_judged_before_the_step_ends() -> None:
    world = stepping(50)
    world.run(60)
    world.missing_metrics = {"p95"}
    world.apply(gates=[ERRORS, LATENCY])
    world.run(300)
    assert world.weight == 50
    assert world.status.reason in (Reason.GATE_MISCONFIGURED, Reason.TOO_EARLY)


def test_detail_18_the_position_follows_the_step_s_name() -> None:
    steps = [{"name": "a", "weight": 10, "hold": "1h"}, {"name": "z", "weight": 100, "hold": "1m"}]
    world = stepping(10, steps=steps)
    world.apply(steps=[{"name": "new", "weight": 5, "hold": "1h"}, *steps])
    world.run(10)
    assert world.status.step is not None
    assert (world.status.step.number, world.status.step.of, world.status.step.name) == (2, 3, "a")


def test_detail_18_without_its_name_the_position_is_the_last_step_not_above_the_weight() -> None:
    world = stepping(50)
    world.apply(steps=[{"weight": w, "hold": "1h"} for w in (5, 20, 40, 60, 100)])
    world.run(10)
    assert world.status.step is not None
    assert world.status.step.number == 3
    assert world.weight == 50


def test_detail_18_an_edit_never_lowers_the_weight_by_itself() -> None:
    world = stepping(50)
    before = len(writes(world))
    world.apply(steps=[{"weight": w, "hold": "20s"} for w in (1, 2, 3, 4, 5, 100)])
    world.run(600)
    assert world.stable == world.target
    shares = [weights.get(world.target, 0) for weights in writes(world)[before:]]
    assert min(shares) >= 50


def test_detail_18_a_weight_raised_in_place_is_judged_at_the_new_weight() -> None:
    steps = [{"name": "a", "weight": 10, "hold": "10m"}, {"name": "b", "weight": 100, "hold": "30s"}]
    world = stepping(10, steps=steps)
    world.run(300)
    world.apply(steps=[steps[0] | {"weight": 50}, steps[1]])
    world.run(30)
    assert world.weight == 50
    assert world.status.reason is not Reason.SPLIT_MISMATCH, "counts of two splits are not mixed"
    world.run(900)
    assert world.stable == world.target


def test_detail_19_an_edit_that_keeps_the_revision_is_only_noted() -> None:
    world = stepping(10)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(120)
    workload = spec()["workload"] | {"replicas": 5}
    world.apply(steps=[{"weight": 1, "hold": "1h"}], workload=workload)
    world.run(600)
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.status.observed_generation == world.generation
    assert world.ready(world.stable) == 5


def test_detail_19_another_version_begins_after_a_rollback() -> None:
    world = stepping(10)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(120)
    world.apply("3")
    world.run(900)
    assert world.stable == world.target
    assert {one.version for one in world.deployments.values()} == {"1", "3"}


def test_detail_20_status_echoes_a_limit_in_numbers() -> None:
    """The grammar itself is tested in tests/unit/api; CEL on a real API server."""
    world = stepping(10, gates=[ERRORS, LATENCY])
    world.run(60)
    assert world.gate("errors").limit == "may rise to 2 % (baseline + 1pp, 1 %)"
    assert world.gate("p95").limit == "may rise to 200 ms"
    with pytest.raises(ValueError, match="two readings"):
        parse_limit("baseline + 1%")


@pytest.mark.parametrize("by", list(IdentityBy))
def test_detail_21_another_identity_is_another_gate(by: IdentityBy) -> None:
    """How series are told apart is tested in tests/unit/metrics."""
    from modelrollout.api.gate import Gate
    from modelrollout.api.rollout import Evaluation
    from modelrollout.engine.evidence import definition_hash

    gate = Gate.model_validate(ERRORS)
    other = gate.model_copy(update={"identity": MetricIdentity(by=by, label="x")})
    assert definition_hash(gate, Evaluation()) != definition_hash(other, Evaluation())


def test_detail_21_a_candidate_without_series_is_named_as_such() -> None:
    world = serving()
    world.unmeasured = {"2"}
    world.apply("2")
    world.run(120)
    assert world.status.reason is Reason.CANDIDATE_NOT_MEASURED
    assert world.weight == 10
    assert world.status.failed is None


def test_detail_26_the_generation_is_observed_at_once_in_status_and_conditions() -> None:
    world = serving()
    world.apply(steps=[{"weight": 100, "hold": "1m"}])
    world.run(0.1)
    assert world.status.observed_generation == 2
    assert {condition.observed_generation for condition in world.status.conditions} == {2}


@pytest.mark.parametrize(
    ("state", "ready", "reconciling", "stalled"),
    [
        ("rolling", "Unknown", "True", "False"),
        ("paused", "Unknown", "True", "False"),
        ("rolled back", "False", "False", "True"),
        ("invalid", "False", "False", "True"),
        ("done", "True", "False", "False"),
    ],
)
def test_detail_26_conditions_follow_kstatus(state: str, ready: str, reconciling: str, stalled: str) -> None:
    world = stepping(10)
    if state == "paused":
        world.apply(paused=True)
        world.run(5)
    elif state == "rolled back":
        world.say("abort")
        world.run(120)
    elif state == "done":
        world.run(900)
    elif state == "invalid":
        world.apply("1")
        world.run(120)
        world.template_error = "no"
        world.apply("3")
        world.run(5)
    found = tuple(world.condition(kind)[0] for kind in ("Ready", "Reconciling", "Stalled"))
    assert found == (ready, reconciling, stalled)
    assert world.condition("Available")[0] == "True"


def test_detail_27_a_candidate_that_vanished_while_nobody_watched_is_found_out() -> None:
    """The engine's part: it compares with what is there, not with what it was told. Lists and watches are tested with
    the reflector."""
    world = stepping(50)
    world.deployments.pop(world.candidate)
    world.restart()
    world.run(0.5)
    assert world.route.weights == {world.stable: 100}
    assert world.status.failed is not None
    assert "deleted" in world.status.failed.message


def test_detail_33_no_harm_seen_never_comes_without_its_number() -> None:
    world = stepping(10)
    world.run(60)
    gate = world.gate()
    assert gate.verdict is Verdict.NO_HARM_SEEN
    assert gate.would_have_seen is not None
    assert "would have seen" in gate.message


def test_detail_38_no_room_is_a_wait_and_no_verdict() -> None:
    world = serving()
    world.no_room_since = world.clock
    world.apply("2")
    world.run(3 * 3600)
    assert world.status.reason is Reason.WAITING_FOR_CAPACITY
    assert world.status.failed is None
    world.no_room_since = None
    world.startup = 0.0
    world.run(900)
    assert world.stable == world.target


def test_detail_38_crashing_pods_fail_at_once_in_their_own_words() -> None:
    world = serving()
    world.broken["2"] = "OOMKilled: the container needs more memory than its limit"
    world.apply("2")
    world.run(5)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.FAILED_TO_START
    assert "OOMKilled" in world.status.failed.message


def test_detail_38_no_progress_is_a_failure_after_the_deadline() -> None:
    world = serving()
    world.hanging.add("2")
    world.apply("2")
    took = world.run_until(lambda: world.status.failed is not None)
    assert 299 < took < 310
    assert world.status.history[0].reason is Reason.PROGRESS_DEADLINE_EXCEEDED


def test_detail_38_pods_that_were_just_asked_for_get_the_whole_deadline() -> None:
    """After a long hold the pods of this step made no progress for long, and that is no reason to blame the next."""
    workload = spec()["workload"] | {"replicas": 10}
    world = serving(workload=workload, steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}])
    world.startup = 100.0
    world.apply("2")
    world.run(3 * 3600)
    assert world.stable == world.target


def test_detail_38_pods_that_all_stop_being_ready_under_traffic_are_a_failure() -> None:
    world = stepping(50)
    world.hanging.add("2")
    world.touch()
    took = world.run_until(lambda: world.weight == 0)
    assert took <= 16
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.PODS_FAILING


def test_detail_39_a_rollback_is_finished_when_no_request_comes_any_more() -> None:
    world = stepping(50)
    candidate = world.candidate
    world.bypass = 0.2
    world.say("abort")
    world.run(300)
    assert world.status.phase is Phase.ROLLING_BACK
    assert world.status.reason is Reason.ROLLBACK_INCOMPLETE
    assert world.ready(candidate) == 2
    world.bypass = 0.0
    world.run(60)
    assert world.condition("Ready") == ("False", "RolledBack")
    assert world.ready(candidate) == 0


def test_detail_39_a_rollback_without_gates_waits_until_the_gateway_has_taken_it() -> None:
    world = stepping(10, gates=[])
    world.acceptance = 45.0
    world.say("abort")
    world.run(40)
    assert world.status.phase is Phase.ROLLING_BACK
    assert world.ready(world.candidate) == 2, "the gateway may still send users to them"
    world.run(30)
    assert world.condition("Ready") == ("False", "RolledBack")


def test_detail_39_a_gateway_that_never_takes_a_rollback_is_not_waited_for_without_end() -> None:
    world = stepping(10, gates=[])
    world.acceptance = 3600.0
    world.say("abort")
    world.run(110)
    assert world.status.phase is Phase.ROLLING_BACK
    assert [one.reason for one in world.told if one.urgency is Urgency.PAGE] == [Reason.ROLLBACK_INCOMPLETE]
    world.run(30)
    assert world.condition("Ready") == ("False", "RolledBack")


def test_rule_6_who_was_lowered_from_outside_retreats_from_an_outage_too() -> None:
    evaluation = {"interval": "5s", "minBreachTime": "10s", "blindTimeout": "1m", "onBlind": "retreat"}
    world = stepping(10, evaluation=evaluation)
    world.edit_route({world.stable: 95, world.candidate: 5})
    world.run(10)
    world.metrics_down = True
    world.run(120)
    assert world.weight == 0


def test_detail_39_without_metrics_a_rollback_ends_after_blind_timeout() -> None:
    world = stepping(50)
    world.metrics_down = True
    world.say("abort")
    world.run(60)
    assert world.status.phase is Phase.ROLLING_BACK
    world.run(120)
    assert world.condition("Ready") == ("False", "RolledBack")


def test_a_last_step_below_100_is_followed_by_all_traffic_and_promotion() -> None:
    world = serving(steps=[{"weight": 20, "hold": "30s"}])
    world.apply("2")
    world.run(300)
    assert world.stable == world.target
    assert [weights[world.target] for weights in writes(world)[-4:]] == [0, 20, 100, 100]


def test_replicas_edited_in_mid_rollout_never_take_pods_from_stable() -> None:
    workload = spec()["workload"]
    world = stepping(50)
    world.apply(workload=workload | {"replicas": 2})
    world.run(30)
    assert world.ready(world.stable) == 4
    world.apply(workload=workload | {"replicas": 8})
    world.run(30)
    assert world.ready(world.stable) == 8
    assert world.ready(world.candidate) == 4
    world.run(600)
    assert world.stable == world.target


def test_a_target_that_changes_while_promoting_ends_the_promotion() -> None:
    world = stepping(100)
    world.run_until(lambda: world.status.step is not None and world.status.step.held_seconds >= 20)
    old = world.stable
    world.apply("3")
    world.run(5)
    assert world.stable == old
    assert world.route.weights[old] == 100
    world.run(900)
    assert world.stable == world.target
    assert [entry.outcome for entry in world.status.history].count(Outcome.SUPERSEDED) == 1


def test_a_target_that_changes_while_rolling_back_is_recorded_once() -> None:
    world = stepping(50)
    bad = world.candidate
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run_until(lambda: world.status.phase is Phase.ROLLING_BACK)
    world.apply("3")
    world.run(900)
    assert world.stable == world.target
    assert [entry.outcome for entry in world.status.history if entry.revision == bad] == [Outcome.ROLLED_BACK]


@pytest.mark.parametrize("seconds", [-7200.0, 7200.0])
@pytest.mark.parametrize("weight", [10, 100])
def test_a_clock_that_jumps_holds_nothing_up(seconds: float, weight: int) -> None:
    world = stepping(weight)
    world.set_clock(seconds)
    world.run(600)
    assert world.stable == world.target


def test_a_breach_is_found_after_the_clock_was_set_back() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "10h"}])
    world.set_clock(-7200.0)
    world.run(30)
    world.behaviour["2"] = Behaviour(errors=0.2)
    assert world.run_until(lambda: world.weight == 0) < 75


def test_detail_28_a_route_that_is_made_anew_begins_without_the_candidate() -> None:
    """It has no version against which a late write could be refused, so the first write of it raises nothing. An undo
    otherwise goes to all traffic in one write."""
    world = serving()
    first = world.stable
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable != first)
    world.say(Verb.UNDO)
    world.run_until(lambda: world.weight == 100)
    world.delete_route()
    known = len(world.done)
    world.run(120)
    made, *others = [action for _, action in world.done[known:] if isinstance(action, SetWeights)]
    assert made.weights.get(first, 0) == 0
    assert not made.raises
    assert next(one.raises for one in others if one.weights.get(first, 0) > 0)
    assert world.stable == first
