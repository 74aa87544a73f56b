"""Rule 12 and detail 5: what is done about somebody else who writes the route's weights, once and again and again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from modelrollout.api.enums import Phase, Reason
from modelrollout.engine.decide import decide
from modelrollout.engine.model import RouteState, SetWeights
from tests.support.world import Behaviour, World
from tests.unit.engine.test_rules import serving, stepping, writes

TOOL = "kustomize-controller"


def _takes_us_out(world: World) -> None:
    """A tool puts its placeholder back: no backend of ours is left in the rule."""
    world.edit_route({}, by=TOOL)
    world.run(0.2)


def _contested(world: World) -> World:
    for _ in range(3):
        _takes_us_out(world)
        world.run(2)
    return world


def test_detail_5_a_placeholder_put_back_once_is_a_pause_that_names_the_writer() -> None:
    world = stepping(50)
    stable = world.stable
    _takes_us_out(world)
    assert world.route.weights[stable] == 100, "users reach the stable revision again at once"
    world.run(600)
    assert (world.status.phase, world.status.reason) == (Phase.PAUSED, Reason.PAUSED_BY_OUTSIDE_EDIT)
    assert f"{TOOL} lowered the candidate's weight from 50 % to 0 %" in world.status.message
    assert world.status.contest is None, "once is forgotten after five minutes"
    world.say("resume")
    world.run(1200)
    assert world.stable == world.target


def test_detail_5_three_reverts_in_five_minutes_are_a_contest_that_names_the_writer() -> None:
    world = _contested(stepping(50))
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.ROUTE_CONTESTED)
    assert f"{TOOL} has written over the weights of the HTTPRoute 3 times within 5m" in world.status.message
    assert "resume" in world.status.next
    assert world.condition("Ready") == ("False", "RouteContested")
    assert world.condition("Stalled") == ("True", "RouteContested")
    assert world.condition("Reconciling")[0] == "False"
    assert world.reasons().count(Reason.ROUTE_CONTESTED) == 1
    assert world.route.weights[world.stable] == 100


def test_detail_5_resume_after_each_lowering_ends_in_a_contest() -> None:
    """In a route of the operator's own the pause is quiet; it is the way up that the tool undoes."""
    world = stepping(10)
    for time in (1, 2, 3):
        world.edit_route({world.stable: 100, world.candidate: 0}, by="argocd-controller")
        world.run(5)
        assert (world.status.reason is Reason.ROUTE_CONTESTED) == (time == 3)
        world.say("resume")
        world.run_until(lambda: world.weight == 10)
    assert world.reasons().count(Reason.PAUSED_BY_OUTSIDE_EDIT) == 3
    world.run(900)
    assert world.stable == world.target


def test_detail_5_who_lowers_further_and_further_contests_nothing() -> None:
    """A person in a hurry, with kubectl edit: nothing of it is written over, so it is no fight."""
    world = stepping(50)
    for weight in (40, 30, 20, 10, 0):
        world.edit_route({world.stable: 100 - weight, world.candidate: weight}, by="kubectl-edit")
        world.run(5)
        assert world.weight == weight
    assert world.status.reason is Reason.PAUSED_BY_OUTSIDE_EDIT
    assert Reason.ROUTE_CONTESTED not in world.reasons()


def test_detail_5_a_route_that_was_replaced_without_the_marker_is_obeyed_too() -> None:
    """`kubectl replace` takes our annotation away with everything else."""
    world = stepping(50)
    world.edit_route({world.stable: 95, world.candidate: 5}, keep_marker=False, by="kubectl-replace")
    world.run(600)
    assert world.status.reason is Reason.PAUSED_BY_OUTSIDE_EDIT
    assert "kubectl-replace lowered the candidate's weight from 50 % to 5 %" in world.status.message
    assert world.weight == 5
    world.say("resume")
    world.run(1200)
    assert world.stable == world.target


def test_detail_5_while_contested_only_lowering_writes_go_on() -> None:
    """A tool that raises the candidate is corrected for as long as it goes on, and nothing of ours goes up."""
    world = stepping(10)
    for _ in range(30):
        world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
        world.run(3)
        assert world.weight == 10
    assert world.status.reason is Reason.ROUTE_CONTESTED
    assert world.status.step is not None
    assert world.status.step.number == 1
    assert world.status.step.held_seconds < 20, "the hold does not count"
    assert not [one for _, one in world.done[-25:] if isinstance(one, SetWeights) and one.raises]
    assert world.reasons().count(Reason.ROUTE_RESTORED) <= 3, "it is not told again and again"


def test_detail_5_a_contested_route_that_is_deleted_is_made_again_with_stable_alone() -> None:
    """Also on the fast track, which raises without asking the gates."""
    world = serving()
    world.apply("2")
    world.run(400)
    world.apply("1")
    world.run_until(lambda: world.weight == 100)
    world.acceptance = 600.0
    for _ in range(3):
        world.edit_route({world.candidate: 100}, by=TOOL)
        world.run(2)
    assert world.status.reason is Reason.ROUTE_CONTESTED
    world.delete_route()
    world.run(5)
    assert (world.weight, world.route.weights[world.stable]) == (0, 100)


def test_detail_5_a_breach_is_rolled_back_in_spite_of_a_contest() -> None:
    world = stepping(50)
    for _ in range(3):
        world.edit_route({world.stable: 20, world.candidate: 80}, by=TOOL)
        world.run(2)
    assert world.status.reason is Reason.ROUTE_CONTESTED
    world.behaviour["2"] = Behaviour(errors=0.5)
    world.run(120)
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.route.weights == {world.stable: 100}


def test_detail_5_an_abort_is_obeyed_and_a_promotion_refused_while_contested() -> None:
    world = stepping(50)
    for _ in range(3):
        world.edit_route({world.stable: 20, world.candidate: 80}, by=TOOL)
        world.run(2)
    full = world.say("promote", full=True)
    world.run(5)
    assert world.answers[full].state == "Refused"
    assert "resume" in world.answers[full].message
    world.say("abort")
    world.run(60)
    assert world.status.phase is Phase.ROLLED_BACK


def test_detail_5_a_contest_ends_after_five_quiet_minutes() -> None:
    """Where the candidate was only raised, the rollout goes on by itself."""
    world = stepping(10)
    for _ in range(3):
        world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
        world.run(2)
    world.run(280)
    assert world.status.reason is Reason.ROUTE_CONTESTED
    world.run(30)
    assert world.status.phase is Phase.PROGRESSING
    assert world.status.contest is None
    world.run(1200)
    assert world.stable == world.target


def test_detail_5_after_a_contest_in_which_the_candidate_was_lowered_a_person_resumes() -> None:
    world = _contested(stepping(50))
    world.run(400)
    assert (world.status.phase, world.status.reason) == (Phase.PAUSED, Reason.PAUSED_BY_OUTSIDE_EDIT)
    world.say("resume")
    world.run(1200)
    assert world.stable == world.target


def test_detail_5_resume_ends_a_contest_at_once() -> None:
    world = _contested(stepping(50))
    said = world.say("resume")
    world.run(5)
    assert world.answers[said].state == "Applied"
    assert world.status.contest is None
    world.run(1200)
    assert world.stable == world.target


def test_detail_5_without_a_rollout_the_stable_revision_is_put_back_and_the_contest_told() -> None:
    world = _contested(serving())
    assert world.route.weights == {world.stable: 100}
    assert world.condition("Stalled") == ("True", "RouteContested")
    world.run(400)
    assert world.condition("Ready") == ("True", "FirstRevision")


def test_detail_5_a_new_version_takes_nothing_while_the_route_is_contested() -> None:
    """Its pods start, and the old candidate gives its traffic back."""
    world = stepping(50)
    for _ in range(3):
        world.edit_route({world.stable: 20, world.candidate: 80}, by=TOOL)
        world.run(2)
    world.apply("3")
    world.run(60)
    assert world.status.reason is Reason.ROUTE_CONTESTED
    assert world.route.weights[world.stable] == 100
    assert world.ready(world.target) > 0
    world.run(1500)
    assert world.stable == world.target


def test_detail_5_two_reverts_and_one_much_later_are_no_contest() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "2h"}])
    for pause in (100, 250, 10):
        world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
        world.run(pause)
    assert Reason.ROUTE_CONTESTED not in world.reasons()
    assert world.status.phase is Phase.PROGRESSING


def test_detail_5_one_edit_is_counted_once_however_often_it_is_looked_at() -> None:
    world = stepping(10)
    world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
    seen = world.observe()
    for _ in range(5):
        seen = replace(seen, status=decide(seen).status, now=seen.now + timedelta(seconds=1))
    assert seen.status.contest is not None
    assert len(seen.status.contest.overwritten_at) == 1
    assert seen.status.contest.by == TOOL


def test_detail_5_a_contest_survives_restarts_and_crashes() -> None:
    world = stepping(10)
    for _ in range(3):
        world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
        world.run(2)
        world.restart()
    world.run(1)
    assert world.status.reason is Reason.ROUTE_CONTESTED
    world.restart()
    world.run(60)
    assert world.weight == 10
    assert world.status.reason is Reason.ROUTE_CONTESTED


def test_detail_5_a_clock_that_is_set_back_does_not_prolong_a_contest() -> None:
    world = stepping(10)
    for _ in range(3):
        world.edit_route({world.stable: 10, world.candidate: 90}, by=TOOL)
        world.run(2)
    world.set_clock(-3600)
    world.run(330)
    assert world.status.contest is None


def test_detail_5_a_controller_that_answers_at_once_is_not_raced() -> None:
    """Two writes over ours within a second: a pause, lest the API server be the one to lose."""
    world = serving()
    before = len(writes(world))
    end = world.clock + timedelta(seconds=20)
    while world.clock < end:
        if world.route.weights:
            world.edit_route({}, by=TOOL)
        world.run(0.05)
    assert len(writes(world)) - before < 60
    world.run(10)
    assert world.route.weights == {world.stable: 100}
    assert world.route.state is RouteState.ACCEPTED


def test_detail_5_an_old_backend_that_is_not_known_any_more_is_nobody_s_edit() -> None:
    """What was adopted has a name only as long as spec names it; in the marker it still stands, at weight 0."""
    world = stepping(50)
    marker = world.route.marker
    assert marker is not None
    world.route.marker = replace(marker, weights=dict(marker.weights) | {"external": 0})
    world.touch()
    world.run(5)
    assert world.status.contest is None
