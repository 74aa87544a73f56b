"""Adoption: what serves before the first revision of ours is the stable one, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Outcome, Phase, Reason, Role, Urgency
from modelrollout.api.meta import EXTERNAL
from modelrollout.engine.model import Action, Decision, Input, RouteState, Scale, SetRole, SetWeights
from tests.support.world import Behaviour, World, spec

ADOPT = {"service": "old", "deployment": "old"}


def _world(**changes: Any) -> World:
    world = World(spec(**{"adopt": ADOPT} | changes))
    world.serve_without_us()
    return world


def _scales(world: World) -> list[int]:
    """Every scaling of what was adopted."""
    return [one.replicas for _, one in world.done if isinstance(one, Scale) and one.revision == EXTERNAL]


def _weights_of_external(world: World) -> list[int]:
    """Its share in every write of weights, in order, each change once."""
    shares = [one.weights.get(EXTERNAL, 0) for _, one in world.done if isinstance(one, SetWeights)]
    return [share for number, share in enumerate(shares) if number == 0 or shares[number - 1] != share]


def _promoted(**changes: Any) -> World:
    world = _world(**changes)
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    return world


def test_detail_3_the_first_revision_takes_all_steps_against_what_was_adopted() -> None:
    world = _world()
    world.run(1)
    assert world.stable == EXTERNAL
    assert world.route.weights[EXTERNAL] == 100, "it is in the route of our own from the beginning"
    assert Reason.ADOPTED in world.reasons()
    assert world.status.stable is not None
    assert world.status.stable.version == "0"
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    assert _weights_of_external(world) == [100, 90, 50, 0]
    assert world.stable == world.target
    assert world.status.history[0].reason is Reason.PROMOTED
    assert world.gate().baseline_samples > 0 or world.status.history, "it was measured as the baseline"


def test_detail_3_while_it_serves_it_is_never_scaled() -> None:
    world = _world()
    world.run(90)
    assert world.candidate
    assert _scales(world) == []
    assert world.status.adopted is not None
    assert world.status.adopted.replicas == 3
    assert world.status.adopted.retired_at is None


def test_detail_3_after_the_promotion_it_keeps_its_pods_for_a_while_then_none() -> None:
    world = _promoted()
    world.run(60)
    assert world.ready(EXTERNAL) == 3
    assert EXTERNAL not in world.route.weights
    world.run(120)
    assert _scales(world) == [0]
    assert world.status.adopted is not None
    assert (world.status.adopted.replicas, world.status.adopted.scaled_down) == (3, True)


def test_detail_3_who_scales_it_up_afterwards_is_not_fought() -> None:
    world = _promoted()
    world.run(300)
    world.scale_adopted(2)
    world.apply("2")
    world.run(600)
    assert world.ready(EXTERNAL) == 2
    assert _scales(world) == [0]


def test_detail_3_while_another_rule_leads_to_it_it_keeps_its_pods_and_status_says_why() -> None:
    world = _promoted()
    world.adopted_elsewhere = "rule 2 of HTTPRoute shop"
    world.run(900)
    assert _scales(world) == []
    assert world.status.adopted is not None
    assert "rule 2 of HTTPRoute shop leads users to Service old too" in world.status.adopted.kept_because
    assert world.reasons().count(Reason.ADOPTED) == 2, "once for the adoption, once for this"
    world.adopted_elsewhere = ""
    world.run(700)
    assert _scales(world) == [0]
    assert world.status.adopted.kept_because == ""


def test_detail_3_a_tool_that_puts_it_back_into_the_route_is_corrected_every_time() -> None:
    """Its pods may be gone by then; who is stable does not depend on how often somebody writes over the route."""
    world = _promoted()
    world.run(300)
    for _ in range(6):
        world.edit_route({EXTERNAL: 100})
        world.run(20)
        assert world.route.weights == {world.target: 100}
        assert world.stable == world.target


def test_detail_3_without_a_named_deployment_it_is_never_scaled() -> None:
    world = _promoted(adopt={"service": "old"})
    world.run(900)
    assert _scales(world) == []


def test_detail_3_undo_goes_back_to_it_when_its_pods_are_ready_again() -> None:
    world = _promoted()
    world.run(300)
    assert world.ready(EXTERNAL) == 0
    mine = world.target
    world.say(Verb.UNDO)
    world.run(1)
    assert _scales(world) == [0, 3], "as many as it had"
    assert world.route.weights == {mine: 100}, "no traffic before its pods are ready"
    world.run(60)
    assert world.route.weights == {EXTERNAL: 100}
    assert world.stable == EXTERNAL
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.deployments[mine].role is Role.RETIRED
    assert "1" in world.answers or world.answers
    world.run(600)
    assert world.stable == EXTERNAL
    assert world.ready(EXTERNAL) == 3
    assert _scales(world) == [0, 3]


@pytest.mark.parametrize("verb", [Verb.UNDO, Verb.ABORT])
def test_detail_3_in_mid_step_all_traffic_goes_back_to_it_at_once(verb: Verb) -> None:
    world = _world()
    world.run_until(lambda: world.weight == 50)
    world.say(verb)
    world.run(1)
    assert world.route.weights[EXTERNAL] == 100
    world.run(60)
    assert world.route.weights == {EXTERNAL: 100}
    assert world.stable == EXTERNAL
    assert world.status.phase is Phase.ROLLED_BACK
    assert _scales(world) == []


def test_detail_3_undo_names_it_and_knows_the_order_of_what_served() -> None:
    world = _promoted(rollback={"keep": 2, "warmFor": "20m"})
    first = world.target
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable == world.target)
    world.run(60)
    world.say(Verb.UNDO)
    world.run_until(lambda: world.stable == first, within=120)
    world.say(Verb.UNDO, revision=EXTERNAL)
    world.run_until(lambda: world.stable == EXTERNAL, within=120)


def test_detail_3_the_last_undone_to_is_the_first_way_back() -> None:
    """External, then 1, back to external, then 2: the revision before is external again."""
    world = _promoted(rollback={"keep": 2, "warmFor": "20m"})
    world.say(Verb.UNDO)
    world.run_until(lambda: world.stable == EXTERNAL, within=120)
    world.apply("2")
    world.run_until(lambda: world.stable == world.target)
    world.run(30)
    world.say(Verb.UNDO)
    world.run_until(lambda: world.stable == EXTERNAL, within=120)


@pytest.mark.parametrize("after", range(8))
def test_detail_3_a_crash_anywhere_in_the_undo_changes_nothing(after: int) -> None:
    """Labels first: there is no state in which they say that ours is stable while the route gives it nothing."""
    world = _promoted()
    mine = world.target
    world.say(Verb.UNDO)
    world.crash_when = lambda decision: (
        after if any(isinstance(one, SetRole) for one in (*decision.first, *decision.then)) else None
    )
    world.run(120)
    assert world.stable == EXTERNAL
    assert world.route.weights == {EXTERNAL: 100}
    assert world.deployments[mine].role is Role.RETIRED
    assert [entry.outcome for entry in world.status.history] == ["Promoted", "Promoted"]


def test_detail_3_status_lost_right_after_the_labels_were_written() -> None:
    world = _promoted()
    mine = world.target
    world.say(Verb.UNDO)
    world.crash_when = lambda decision: 1 if any(isinstance(one, SetRole) for one in decision.first) else None
    world.run_until(lambda: world.deployments[mine].role is Role.RETIRED, within=60)
    world.exists = False
    world.apply("2")
    world.run(1)
    assert world.stable == EXTERNAL
    assert world.route.weights[EXTERNAL] == 100


def test_detail_3_labels_are_written_before_status_says_that_it_is_stable_again() -> None:
    """Else a status that is lost right then would leave labels by which ours is stable, and gets all traffic."""
    world = _promoted()
    said: list[str] = []

    def note(world: World, seen: Input, decision: Decision, action: Action) -> None:
        if isinstance(action, SetRole) and world.written.stable is not None:
            said.append(world.written.stable.revision)

    world.watchers.append(note)
    world.say(Verb.UNDO)
    world.run(60)
    assert world.stable == EXTERNAL
    assert said == [world.target]


def test_detail_3_labels_that_were_taken_off_end_no_undo_before_its_time() -> None:
    world = _promoted()
    mine = world.target
    world.run(300)
    world.say(Verb.UNDO)
    world.run(1)
    world.deployments[mine].role = Role.RETIRED
    world.touch()
    world.run(1)
    assert world.stable == mine
    assert world.route.weights == {mine: 100}
    world.run(60)
    assert world.route.weights == {EXTERNAL: 100}


def test_detail_3_what_the_route_gives_nothing_to_is_not_stable_though_its_pods_are_warm() -> None:
    """Labels and status are lost together, soon after the promotion."""
    world = _promoted()
    world.run(30)
    assert world.ready(EXTERNAL) == 3
    world.deployments[world.target].role = Role.RETIRED
    world.exists = False
    world.done.clear()
    world.apply(paused=False)
    world.run(60)
    assert world.route.weights == {world.target: 100}
    assert not any(_weights_of_external(world))


def test_detail_3_a_bad_first_revision_is_rolled_back_onto_it() -> None:
    world = _world()
    world.behaviour["1"] = Behaviour(errors=0.9)
    world.run_until(lambda: world.status.phase is Phase.ROLLED_BACK)
    assert world.route.weights == {EXTERNAL: 100}
    assert _scales(world) == []
    assert world.ready(EXTERNAL) == 3


@pytest.mark.parametrize("policy", ["Orphan", "Delete"])
@pytest.mark.parametrize("seconds", [0.5, 8, 30, 100, 150])
def test_detail_3_deleting_the_rollout_leaves_or_puts_traffic_on_it(policy: str, seconds: float) -> None:
    world = _world(deletionPolicy=policy)
    world.run(seconds)
    assert world.stable == EXTERNAL
    world.delete()
    world.run(60)
    assert not world.exists
    assert world.route.weights.get(EXTERNAL) == 100
    assert world.ready(EXTERNAL) == 3


def test_detail_3_deleting_the_rollout_after_the_promotion_leaves_it_alone() -> None:
    world = _promoted(deletionPolicy="Delete")
    world.run(300)
    world.delete()
    world.run(60)
    assert EXTERNAL in world.deployments


def test_detail_3_what_is_not_there_is_waited_for_with_the_remedy() -> None:
    world = _world()
    world.adoptable = "there is no Service old in namespace recs: apply it, or correct spec.adopt.service"
    world.run(20)
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.STABLE_MISSING)
    assert "apply it, or correct spec.adopt.service" in world.status.message
    assert not world.done
    world.adoptable = ""
    world.touch()
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    assert _weights_of_external(world) == [100, 90, 50, 0]


def test_detail_3_nobody_ready_behind_it_is_no_baseline() -> None:
    world = _world()
    world.scale_adopted(0)
    world.run(20)
    assert world.status.reason is Reason.STABLE_MISSING
    assert "nobody is ready behind Service old" in world.status.message
    assert not world.done


def test_detail_3_gone_in_mid_rollout_somebody_is_called_and_nothing_retreats_to_nobody() -> None:
    world = _world(steps=[{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "1m"}])
    world.run_until(lambda: world.weight == 10)
    world.run(30)
    world.delete_deployment(EXTERNAL)
    world.run(15)
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.STABLE_MISSING)
    assert [one.reason for one in world.told if one.urgency is Urgency.PAGE] == [Reason.STABLE_MISSING]
    assert "promote ranker -n recs --full" in world.status.next
    world.run(900)
    assert world.weight == 10
    world.say(Verb.PROMOTE, full=True)
    world.run_until(lambda: world.stable == world.target, within=60)
    assert world.route.weights == {world.target: 100}


def test_detail_3_gone_in_mid_rollout_an_abort_is_done_once_all_the_same() -> None:
    world = _world(steps=[{"weight": 10, "hold": "10m"}])
    world.run_until(lambda: world.weight == 10)
    world.delete_deployment(EXTERNAL)
    world.run(15)
    world.say(Verb.ABORT)
    world.run(300)
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.STABLE_MISSING)
    assert (world.candidate, world.route.weights) == ("", {EXTERNAL: 100})
    assert [entry.outcome for entry in world.status.history] == [Outcome.ROLLED_BACK]


def test_detail_3_taken_out_of_spec_while_it_serves_nothing_moves_and_status_says_what_to_do() -> None:
    """Admission refuses it; an object that got past that must not lose the traffic."""
    world = _world()
    world.run(60)
    assert world.weight == 10
    before = dict(world.route.weights)
    del world.raw["adopt"]
    world.apply(paused=False)
    world.run(120)
    assert world.route.weights == before
    assert world.status.reason is Reason.STABLE_MISSING
    assert "put adopt: {service: old} back" in world.status.message


def test_detail_3_taken_out_of_spec_after_the_promotion_it_is_forgotten() -> None:
    world = _promoted()
    del world.raw["adopt"]
    world.apply(paused=False)
    world.run(600)
    assert world.status.adopted is None
    assert _scales(world) == []
    uid = world.say(Verb.UNDO)
    world.run(5)
    assert world.answers[uid].state == "Refused"


def test_detail_3_named_when_a_revision_of_ours_serves_it_is_neither_stable_nor_scaled() -> None:
    world = World(spec())
    world.serve_without_us()
    world.run(60)
    world.apply(adopt=ADOPT)
    world.run(900)
    assert world.stable == world.target
    assert _scales(world) == []


def test_detail_3_labels_that_were_taken_off_do_not_send_users_to_a_deployment_without_pods() -> None:
    world = _promoted()
    world.run(300)
    assert world.ready(EXTERNAL) == 0
    world.deployments[world.stable].role = Role.RETIRED
    world.restart()
    world.run(30)
    assert world.route.weights == {world.target: 100}


def test_detail_3_an_own_revision_takes_over_again_after_an_undo() -> None:
    world = _promoted()
    mine = world.target
    world.say(Verb.UNDO)
    world.run_until(lambda: world.stable == EXTERNAL, within=120)
    world.say(Verb.RETRY)
    world.run_until(lambda: world.stable == mine, within=120)
    world.run(900)
    assert world.route.weights == {mine: 100}
    assert world.ready(EXTERNAL) == 0
    assert world.status.phase is Phase.STABLE


def test_detail_5_a_route_in_use_stalls_also_when_something_is_adopted() -> None:
    world = _world()
    world.route.state, world.route.message = RouteState.IN_USE, "HTTPRoute shop serves ranker.example.com already"
    world.run(20)
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.ROUTE_IN_USE)
    assert "spec.adopt" in world.status.next
    assert not world.done
    assert not world.stable, "so that adopt may still be corrected"
