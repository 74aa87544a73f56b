"""The fifteen rules of behaviour, each as a person would see it. Names carry the rule's number."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from modelrollout.api.enums import Outcome, Phase, Reason, Role
from modelrollout.engine.model import Create, Event, RouteState, Scale, SetRole, SetWeights
from tests.support.world import ERRORS, Behaviour, World, spec


def serving(version: str = "1", **changes: Any) -> World:
    """A world in which the first version serves."""
    world = World(spec(version, **changes))
    world.run(60)
    assert world.status.phase is Phase.STABLE
    return world


def stepping(weight: int = 10, **changes: Any) -> World:
    """A world in which version 2 has some weight beside version 1."""
    world = serving(**changes)
    world.apply("2")
    world.run_until(lambda: world.weight == weight and world.route.state is RouteState.ACCEPTED)
    return world


def writes(world: World) -> list[dict[str, int]]:
    """Every write of weights so far."""
    return [dict(action.weights) for _, action in world.done if isinstance(action, SetWeights)]


def test_rule_1_the_first_revision_is_deployed_without_steps_and_status_says_so() -> None:
    world = World()
    world.run(60)
    assert world.status.phase is Phase.STABLE
    assert world.status.reason is Reason.FIRST_REVISION
    assert "no steps" in world.status.message
    assert writes(world) == [{world.target: 100}]


def test_rule_2_a_rolled_back_version_is_not_tried_again_by_itself() -> None:
    world = stepping()
    before = deepcopy(world.raw)
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(24 * 3600)
    assert world.raw == before, "spec is never edited"
    assert world.condition("Ready") == ("False", "RolledBack")
    assert world.condition("Stalled")[0] == "True"
    assert world.status.observed_revision == world.target
    assert [entry.outcome for entry in world.status.history].count(Outcome.ROLLED_BACK) == 1
    assert world.route.weights == {world.stable: 100}


def test_rule_2_retry_tries_the_rolled_back_version_again() -> None:
    world = stepping()
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    world.behaviour.clear()
    uid = world.say("retry")
    world.run(600)
    assert world.answers[uid].state == "Applied"
    assert world.status.phase is Phase.STABLE
    assert world.stable == world.target


def test_rule_3_reapplying_stable_is_a_rollback_at_once() -> None:
    world = stepping(50)
    world.metrics_down = True  # no analysis is needed
    stable = world.stable
    world.apply("1")
    world.run(0.2)
    assert world.route.weights[stable] == 100
    assert world.status.reason is Reason.REVERTED_TO_STABLE
    world.metrics_down = False
    world.run(120)
    assert world.condition("Ready") == ("True", "RevertedToStable")
    assert world.status.history[0].outcome is Outcome.REVERTED


def test_rule_3_reapplying_stable_after_a_rollback_is_ready_for_that_reason() -> None:
    world = stepping()
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    world.apply("1")
    world.run(60)
    assert world.condition("Ready") == ("True", "RevertedToStable")


def test_rule_3_going_back_to_a_kept_version_is_fast() -> None:
    world = serving()
    world.apply("2")
    world.run(400)
    assert world.condition("Ready") == ("True", "Promoted")
    world.apply("1")
    assert world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable == world.target) < 15
    assert world.status.reason is Reason.REVERTED_TO_PREVIOUS
    shares = [weights[world.target] for weights in writes(world)[-4:] if world.target in weights]
    assert set(shares) <= {0, 100}, "there are no steps"


def test_rule_3_a_version_that_came_back_to_the_candidate_begins_at_the_first_step() -> None:
    """To stable and back again within the drain: the second release is a new one."""
    world = stepping(50)
    candidate = world.candidate
    world.apply("1")
    world.run(2)
    world.apply("2")
    before = len(writes(world))
    world.run_until(lambda: world.weight > 0)
    assert world.candidate == candidate
    assert world.weight == 10
    assert all(weights.get(candidate, 0) <= 10 for weights in writes(world)[before:])


def test_rule_4_a_new_version_restarts_against_the_same_stable() -> None:
    world = stepping(50)
    stable, superseded = world.stable, world.candidate
    world.apply("3")
    world.run(1)
    assert world.route.weights.get(superseded, 0) == 0
    assert world.stable == stable
    world.run_until(lambda: world.weight > 0)
    assert world.weight == 10
    assert world.status.history[0].outcome is Outcome.SUPERSEDED
    world.run(60)
    assert superseded not in world.deployments


def test_rule_4_an_edit_of_gates_keeps_the_hold_that_was_earned() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}])
    world.run(1800)
    assert world.status.step is not None
    held = world.status.step.held_seconds
    assert held > 1700
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}])
    world.run(20)
    assert world.status.step.number == 1
    assert world.status.step.held_seconds > held


@pytest.mark.parametrize("scaling", ["proportional", "full"])
def test_rule_5_weight_goes_up_only_when_the_pods_can_carry_it(scaling: str) -> None:
    first = spec()
    first["workload"] |= {"scaling": scaling, "replicas": 10}
    world = World(first)
    world.startup = 30.0
    world.run(60)
    carried: list[tuple[int, int]] = []

    def note(*event: object) -> None:
        action = event[3]
        if isinstance(action, SetWeights) and world.candidate:
            carried.append((action.weights.get(world.candidate, 0), world.ready(world.candidate)))

    world.watchers.append(note)
    world.apply("2")
    world.run(900)
    assert world.stable == world.target
    needed = {0: 2, 10: 2, 50: 5, 100: 10} if scaling == "proportional" else {0: 10, 10: 10, 50: 10, 100: 10}
    assert {weight for weight, _ in carried} == set(needed)
    assert all(ready >= needed[weight] for weight, ready in carried)


def test_rule_5_stable_pods_go_only_after_traffic_left_them() -> None:
    world = serving(rollback={"keep": 1, "warmFor": "0s"})
    old = world.stable
    world.apply("2")
    world.run_until(lambda: world.stable == world.target)
    assert len(world.deployments[old].pods) == 4
    scaled = world.run_until(lambda: not world.deployments[old].pods)
    assert scaled >= 9, "what is in flight is answered first (drainDelay)"
    assert old not in world.route.weights


def test_rule_6_an_outage_holds_the_weight_and_is_never_a_bad_model() -> None:
    world = stepping(50)
    world.metrics_down = True
    world.run(3600)
    assert world.weight == 50, "a judged step is finished, and its pods are well"
    assert world.condition("MetricsAvailable") == ("False", "MetricsUnavailable")
    assert world.status.failed is None
    assert world.gate().verdict == "Blind"
    said = [event for event in world.events if event.reason is Reason.METRICS_UNAVAILABLE]
    assert len(said) == 2, "once when it begins, once after blindTimeout"
    assert "blindTimeout" in said[1].message
    world.metrics_down = False
    world.run(600)
    assert world.stable == world.target
    assert Reason.METRICS_BACK in world.reasons()


def test_rule_6_too_few_samples_are_undecided() -> None:
    world = stepping(10)
    world.rps = 0.5
    world.run(600)
    assert world.weight == 10
    assert world.status.reason is Reason.TOO_EARLY
    assert "samples" in world.status.message


def test_rule_7_a_missing_metric_is_a_configuration_error_by_name() -> None:
    """Several series and wrong types are found by the metrics provider and reach the engine as the same problem."""
    world = serving()
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run(300)
    assert world.status.reason is Reason.PREFLIGHT_FAILED
    assert world.status.message == "no traffic yet: errors: Prometheus knows no such metric"
    assert world.condition("MetricsAvailable") == ("False", "GateMisconfigured")
    assert world.weight == 0
    world.missing_metrics = set()
    world.run(600)
    assert world.stable == world.target


def test_rule_8_half_the_requests_failing_is_caught_by_the_first_evaluation() -> None:
    world = stepping(50)
    world.run(30)
    world.behaviour["2"] = Behaviour(errors=0.5)
    took = world.run_until(lambda: world.weight == 0)
    assert took <= 2 * 5 + 1.5, "one whole interval and the delay of the metrics"
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.CATASTROPHE


def test_rule_8_one_burst_is_not_enough() -> None:
    world = stepping(10)
    world.run(20)
    world.behaviour["2"] = Behaviour(errors=0.24)
    world.run(1)
    world.behaviour.clear()
    world.run(900)
    assert world.stable == world.target


def test_rule_9_a_wrong_split_is_seen_before_anything_is_concluded() -> None:
    world = stepping(10)
    world.bypass = 0.3
    world.behaviour["2"] = Behaviour(errors=0.04)
    world.run(200)
    assert world.status.reason is Reason.SPLIT_MISMATCH
    assert world.weight == 10
    assert "bypass the route" in world.status.message
    assert world.status.failed is None, "a comparison with the baseline means nothing now"


def test_rule_9_a_wrong_split_does_not_hide_a_catastrophe() -> None:
    world = stepping(10)
    world.bypass = 0.3
    world.run(100)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(20)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.CATASTROPHE


def test_rule_10_what_a_human_said_is_recorded_with_who_and_answered_once() -> None:
    """The table of verbs and phases is in test_humans.py; identity comes from admission."""
    world = stepping(10)
    uid = world.say("pause")
    world.run(3600)
    assert world.status.phase is Phase.PAUSED
    assert world.status.message == "paused by ann"
    assert world.weight == 10
    assert world.answers[uid].state == "Applied"
    assert world.status.handled == [uid]
    assert [event.message for event in world.events if event.reason is Reason.DECISION_APPLIED] == [
        "pause by ann: version 2 stays at 10 %"
    ]


def test_rule_10_a_pause_after_a_promotion_wins_over_it() -> None:
    workload = spec()["workload"] | {"replicas": 10}
    world = stepping(10, workload=workload)
    world.no_room_since = world.clock  # the pods for the next step cannot come yet
    world.say("promote")
    world.run(10)
    world.say("pause")
    world.run(10)
    world.no_room_since = None
    world.run(600)
    assert world.status.phase is Phase.PAUSED
    assert world.weight == 10


def test_rule_11_a_freeze_stops_steps_up_but_never_a_rollback() -> None:
    world = stepping(10)
    world.freeze("a fair")
    world.run(120)
    assert world.weight == 10
    assert world.status.reason is Reason.FROZEN
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    assert world.status.failed is not None
    assert world.route.weights[world.stable] == 100


def test_rule_11_a_freeze_during_the_last_hold_stops_the_promotion() -> None:
    world = stepping(100)
    world.freeze("a fair")
    world.run(3600)
    assert world.stable != world.target
    world.freeze("")
    world.run(120)
    assert world.stable == world.target


def test_rule_12_an_edit_upwards_is_put_back_at_once() -> None:
    """Field ownership and foreign rules are the traffic provider's; tested there and on a real API server."""
    world = stepping(10)
    world.edit_route({world.stable: 20, world.candidate: 80})
    world.run(0.2)
    assert world.weight == 10


def test_rule_12_an_edit_downwards_is_a_pause_until_resume() -> None:
    world = stepping(50)
    world.edit_route({world.stable: 95, world.candidate: 5})
    world.run(3600)
    assert world.weight == 5
    assert world.status.phase is Phase.PAUSED
    assert world.status.reason is Reason.PAUSED_BY_OUTSIDE_EDIT
    world.say("resume")
    world.run(900)
    assert world.stable == world.target


def test_rule_12_the_fast_track_obeys_an_edit_downwards_too() -> None:
    world = serving()
    world.apply("2")
    world.run(400)
    world.apply("1")
    world.run_until(lambda: world.weight == 100)
    world.acceptance = 60.0
    world.edit_route({world.stable: 100, world.candidate: 0})
    world.run(3600)
    assert world.status.reason is Reason.PAUSED_BY_OUTSIDE_EDIT
    assert world.weight == 0


def test_rule_13_the_observed_revision_follows_the_transition_that_it_caused() -> None:
    world = serving()
    first = world.target
    world.template_error = "spec.containers[0].image: Required value"
    world.apply("2")
    world.run(5)
    assert world.status.observed_generation == world.generation
    assert world.status.observed_revision == first, "nothing was begun for the new one"
    world.template_error = ""
    world.touch()
    world.run(5)
    assert world.status.observed_revision == world.target


def test_rule_14_an_operator_that_dies_between_every_two_effects_still_gets_there() -> None:
    """Conflicts, 410s and lost watches are the shell's, tested with the controller; here every look with effects dies
    once after each of them. Random histories are in tests/property."""
    world = serving()
    world.apply("2")
    world.crashes = [n % 4 for n in range(60)]
    world.run(1800)
    assert world.stable == world.target
    assert [entry.outcome for entry in world.status.history].count(Outcome.PROMOTED) == 2
    roles = sorted(str(one.role) for one in world.deployments.values())
    assert roles == ["retired", "stable"]


def test_rule_14_a_rollback_that_was_not_recorded_is_adopted_after_a_restart() -> None:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.crash_when = lambda decision: 1 if decision.status.failed else None  # the weight is written, not the status
    world.run_until(lambda: world.weight == 0)
    assert world.crash_when is None
    world.behaviour.clear()  # nothing would be found again
    world.run(600)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.CATASTROPHE
    assert world.weight == 0
    assert len([entry for entry in world.status.history if entry.outcome is Outcome.ROLLED_BACK]) == 1


@pytest.mark.parametrize("crash_after", [1, 2, 3])
def test_rule_14_a_promotion_cut_short_is_one_promotion(crash_after: int) -> None:
    world = stepping(100)
    old = world.stable
    world.crash_when = lambda decision: (
        crash_after if any(isinstance(action, SetRole) for action in decision.first) else None
    )
    world.run_until(lambda: world.crash_when is None)
    world.run(300)
    assert [entry.outcome for entry in world.status.history].count(Outcome.PROMOTED) == 2
    assert world.deployments[old].role is Role.RETIRED


def test_rule_14_a_stale_view_of_the_roles_does_not_undo_a_promotion() -> None:
    """The operator's caches may lag behind its own writes: labels can only be seen late."""
    world = stepping(100)
    old = world.stable
    world.run_until(lambda: world.stable == world.target)
    decision = world.look(stale=True)
    assert decision is not None
    assert decision.status.stable is not None
    assert decision.status.stable.revision != old
    assert decision.status.candidate is None


def test_rule_14_a_raise_that_was_refused_is_asked_again_by_a_seeing_look() -> None:
    world = serving()
    world.apply("2")
    world.refuse_raises = 3
    world.run(900)
    assert world.stable == world.target


def test_rule_14_a_first_raise_that_fails_for_long_does_not_wait_for_its_own_metrics() -> None:
    """Who serves nobody has no series: that is no blindness, or it would never go up again."""
    world = serving()
    world.apply("2")
    world.unmeasured.add("2")
    world.refuse_raises = 1_000_000
    world.run(600)
    assert world.status.weight > 0, "it is asked for"
    assert world.route.weights.get(world.candidate, 0) == 0
    assert world.status.blind is None
    world.refuse_raises = 0
    world.run_until(lambda: world.route.weights.get(world.candidate, 0) > 0)
    world.unmeasured.clear()
    world.run(900)
    assert world.stable == world.target


def test_rule_15_deletion_leaves_traffic_on_stable() -> None:
    world = stepping(50)
    stable, candidate = world.stable, world.candidate
    world.delete()
    world.run(30)
    assert not world.exists
    assert world.route.weights[stable] == 100
    assert world.route.weights.get(candidate, 0) == 0
    assert list(world.deployments) == [stable]
    assert len(world.deployments[stable].pods) == 4


def test_rule_15_deletion_of_a_first_revision_waits_for_nothing() -> None:
    world = World()
    world.run(2)
    world.delete()
    world.run(1)
    assert not world.exists


def test_rule_15_told_otherwise_everything_goes() -> None:
    world = stepping(50, deletionPolicy="Delete")
    assert not world.finalizer
    world.delete()
    world.run(1)
    assert not world.exists
    assert not world.deployments


def test_a_world_that_is_at_rest_is_left_alone() -> None:
    world = serving()
    world.apply("2")
    world.run(3600)
    done, looks = len(world.done), world.looks
    world.run(24 * 3600)
    assert len(world.done) == done
    assert world.looks == looks, "nothing wakes an idle rollout"
    assert not any(isinstance(action, Create | Scale) for _, action in world.done[done:])
    assert all(isinstance(event, Event) for event in world.events)
