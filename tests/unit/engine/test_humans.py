"""Rule 10 as a table: every verb in every phase, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Phase, Reason
from tests.support.world import Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping, writes

_APPROVAL = [{"weight": 10, "hold": "1m"}, {"approval": {"role": "risk"}}, {"weight": 50, "hold": "1m"}]
APPLIED, REFUSED = "Applied", "Refused"


def _starting() -> World:
    world = serving()
    world.startup = 600.0
    world.apply("2")
    world.run(5)
    return world


def _first() -> World:
    world = World()
    world.startup = 600.0
    world.run(5)
    return world


def _paused() -> World:
    world = stepping(10)
    world.say("pause")
    world.run(1)
    return world


def _paused_by_spec() -> World:
    world = stepping(10)
    world.apply(paused=True)
    world.run(1)
    return world


def _approval_ahead() -> World:
    return stepping(10, steps=_APPROVAL)


def _awaiting() -> World:
    world = _approval_ahead()
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL)
    return world


def _approved() -> World:
    world = _awaiting()
    world.freeze("a fair")
    world.say("approve", role="risk", author="eve", comment="checked")
    world.run(5)
    return world


def _frozen() -> World:
    world = stepping(10)
    world.freeze("a fair")
    world.run(1)
    return world


def _blind() -> World:
    world = stepping(10)
    world.metrics_down = True
    world.run(20)
    return world


def _promoting() -> World:
    workload = spec()["workload"] | {"replicas": 10}
    world = stepping(10, workload=workload)
    world.startup = 60.0
    world.say("promote", full=True)
    world.run(5)
    return world


def _rolling_back() -> World:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run_until(lambda: world.status.phase is Phase.ROLLING_BACK)
    return world


def _rolled_back() -> World:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(120)
    return world


def _undone() -> World:
    world = serving()
    world.apply("2")
    world.run(400)
    world.say("undo")
    world.run(120)
    return world


def _kept() -> World:
    world = serving()
    world.apply("2")
    world.run(400)
    return world


def _outside() -> World:
    world = stepping(10, advanceOnly={"hours": "09:20-09:02"})
    world.run(300)
    return world


def _contested() -> World:
    world = stepping(10)
    for _ in range(3):
        world.edit_route({world.stable: 10, world.candidate: 90}, by="kustomize-controller")
        world.run(2)
    return world


_STATES: dict[str, tuple[Callable[[], World], Phase]] = {
    "first revision starts": (_first, Phase.STARTING),
    "candidate starts": (_starting, Phase.STARTING),
    "stepping": (lambda: stepping(10), Phase.PROGRESSING),
    "stepping, an approval ahead": (_approval_ahead, Phase.PROGRESSING),
    "awaiting approval": (_awaiting, Phase.AWAITING_APPROVAL),
    "approved, frozen": (_approved, Phase.PROGRESSING),
    "stepping, frozen": (_frozen, Phase.PROGRESSING),
    "stepping, outside the window": (_outside, Phase.PROGRESSING),
    "stepping, blind": (_blind, Phase.PROGRESSING),
    "stepping, paused": (_paused, Phase.PAUSED),
    "stepping, paused in spec": (_paused_by_spec, Phase.PAUSED),
    "stepping, contested": (_contested, Phase.STALLED),
    "promoting": (_promoting, Phase.PROMOTING),
    "rolling back": (_rolling_back, Phase.ROLLING_BACK),
    "rolled back": (_rolled_back, Phase.ROLLED_BACK),
    "undone": (_undone, Phase.ROLLED_BACK),
    "stable, nothing kept": (serving, Phase.STABLE),
    "stable, one kept": (_kept, Phase.STABLE),
}
_FLAGS: dict[str, dict[str, Any]] = {
    "--full": {"full": True},
    "--override-freeze": {"override_freeze": True, "comment": "a hotfix"},
    "--accept-breached": {"accept_breached": ("errors",), "comment": "as wanted"},
}


def _rows() -> list[tuple[str, str, str]]:
    """Situation, verb, and the words of the refusal (none when it is done), as docs/semantics.md has them."""
    text = (Path(__file__).parents[3] / "docs" / "semantics.md").read_text(encoding="utf-8")
    refusals = dict(re.findall(r'^- ([A-Z]): "(.*)"$', text, re.M)) | {"yes": ""}
    head, _, *lines = text[text.index("| situation |") :].split("\n\n")[0].splitlines()
    verbs = [cell.strip(" `") for cell in head.split("|")[2:-1]]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [(row[0], verb, refusals[mark]) for row in cells for verb, mark in zip(verbs, row[1:], strict=True)]


@pytest.mark.parametrize(("situation", "verb", "refusal"), _rows())
def test_detail_24_every_verb_in_every_situation_as_the_docs_say(situation: str, verb: str, refusal: str) -> None:
    """Rule 10 too: each is one command, done or refused with its words, and on record."""
    make, phase = _STATES[situation]
    world = make()
    assert world.status.phase is phase
    action, *flags = verb.split()
    more = {name: value for flag in flags for name, value in _FLAGS[flag].items()}
    if action in ("approve", "reject"):
        more = {"role": "risk", "author": "bob", "comment": "checked"}
    uid = world.say(action, **more)
    world.run(0.5)
    answer = world.answers[uid]
    assert answer.state == (REFUSED if refusal else APPLIED), answer.message
    assert refusal in answer.message
    assert answer.message
    assert (uid in world.status.handled) == (not refusal)
    reason = Reason.DECISION_REFUSED if refusal else Reason.DECISION_APPLIED
    assert reason in world.reasons()


def test_detail_24_the_table_in_the_docs_is_complete() -> None:
    rows = _rows()
    assert {verb.split()[0] for _, verb, _ in rows} == {str(verb) for verb in Verb}
    assert {flag for _, verb, _ in rows for flag in verb.split()[1:]} == set(_FLAGS)
    assert {situation for situation, _, _ in rows} == set(_STATES)


def test_rule_10_promote_while_promoting_takes_nothing_back() -> None:
    world = _promoting()
    world.say("promote")
    world.run_until(lambda: world.stable == world.target)
    assert 50 not in [shares.get(world.target) for shares in writes(world)]


def test_detail_24_undo_said_twice_goes_back_once() -> None:
    world = _kept()
    for _ in range(3):
        world.say("undo")
        world.run(3)
    world.run(120)
    assert world.status.stable is not None
    assert world.status.stable.version == "1"


def test_detail_24_undo_after_a_rollback_leaves_what_was_saved() -> None:
    world = _kept()
    stable, first = world.stable, next(name for name in world.deployments if name != world.stable)
    world.apply("3")
    world.behaviour["3"] = Behaviour(errors=0.9)
    world.run_until(lambda: world.status.phase is Phase.ROLLED_BACK)
    world.say("undo")
    world.run(120)
    assert world.route.weights == {stable: 100}
    world.say("undo", revision=first)
    world.run(120)
    assert world.stable == first


def test_resume_goes_on_where_it_stopped() -> None:
    world = _paused()
    world.say("resume")
    world.run(900)
    assert world.stable == world.target


def test_abort_puts_all_traffic_back_and_is_not_tried_again() -> None:
    world = stepping(50)
    world.say("abort")
    world.run(0.3)
    assert world.weight == 0
    world.run(3600)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.ABORTED
    assert world.condition("Ready") == ("False", "RolledBack")


def test_abort_while_the_pods_start_ends_at_once() -> None:
    world = _starting()
    world.say("abort")
    world.run(1)
    assert world.status.phase is Phase.ROLLED_BACK


def test_promote_ends_this_step_only() -> None:
    world = stepping(10)
    world.say("promote")
    assert world.run_until(lambda: world.weight == 50) < 20
    world.run(30)
    assert world.weight == 50


def test_promote_with_full_skips_all_steps() -> None:
    world = stepping(10)
    world.say("promote", full=True)
    assert world.run_until(lambda: world.stable == world.target) < 30


def test_promote_does_not_outrun_a_freeze_that_began_after_it() -> None:
    world = _promoting()
    world.freeze("a fair")
    world.run(600)
    assert world.weight == 10


def test_promote_with_full_goes_on_without_metrics_but_not_without_pods() -> None:
    world = _blind()
    world.startup = 50.0
    world.say("promote", full=True)
    took = world.run_until(lambda: world.stable == world.target)
    assert 45 < took < 80


def test_undo_of_a_candidate_goes_back_to_stable_until_spec_names_another() -> None:
    world = stepping(50)
    stable = world.stable
    world.say("undo")
    world.run(120)
    assert world.route.weights == {stable: 100}
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.status.reason is Reason.REVERTED_TO_PREVIOUS
    world.run(3600)
    assert world.route.weights == {stable: 100}
    world.apply("3")
    world.run(600)
    assert world.stable == world.target


def test_undo_during_the_drain_is_an_undo() -> None:
    world = _rolling_back()
    stable = world.stable
    world.say("undo")
    world.run(120)
    assert world.route.weights == {stable: 100}
    assert world.status.pinned is not None
    assert world.status.failed is None


def test_undo_takes_a_failed_revision_that_was_promoted_before() -> None:
    world = _kept()
    first = next(name for name in world.deployments if name != world.stable)
    world.broken["1"] = "CrashLoopBackOff"
    world.apply("1")
    world.run(60)
    assert world.status.failed is not None
    world.broken.clear()
    world.say("undo", revision=first)
    world.run(60)
    assert world.stable == first


def test_undo_and_retry_comes_back_to_what_spec_names() -> None:
    world = _undone()
    world.say("retry")
    world.run(120)
    assert world.stable == world.target


def test_retry_while_the_rollback_drains_is_refused_with_the_way_out() -> None:
    world = _rolling_back()
    uid = world.say("retry")
    world.run(1)
    assert "say it again" in world.answers[uid].message


def test_a_first_revision_that_failed_can_be_retried() -> None:
    """There is nothing to go back to, so nothing is waited for."""
    world = World()
    world.broken["1"] = "CrashLoopBackOff: out of memory"
    world.run(30)
    assert world.condition("Ready") == ("False", "RolledBack")
    assert "out of memory" in world.status.message
    world.broken.clear()
    world.say("retry")
    world.run(60)
    assert world.status.phase is Phase.STABLE


def test_a_decision_about_another_revision_is_refused() -> None:
    world = stepping(10)
    uid = world.say("abort", revision="0123456789")
    world.run(1)
    assert "0123456789 is meant" in world.answers[uid].message
    assert world.weight == 10


def test_an_old_decision_expires() -> None:
    world = stepping(10)
    uid = world.say("abort", expires=-1.0)
    world.run(1)
    assert world.answers[uid].state == "Expired"
    assert world.weight == 10


def test_a_decision_that_was_begun_before_a_crash_does_not_expire() -> None:
    world = stepping(50)
    world.crash_when = lambda decision: 1 if decision.status.pinned else None
    uid = world.say("undo", expires=0.2)
    world.look()
    assert world.weight == 0
    world.pass_unseen(60)
    world.run(120)
    assert world.answers[uid].state == "Applied"
    assert world.route.weights == {world.stable: 100}


@pytest.mark.parametrize("verb", ["promote", "resume", "pause"])
def test_a_marker_on_the_route_begins_nothing_that_lowers_no_weight(verb: str) -> None:
    """Whoever may edit the route can write any uid into it: it must not revive a decision that is too old."""
    world = stepping(10)
    uid = world.say(verb, expires=-1.0)
    assert world.route.marker is not None
    world.route.marker = replace(world.route.marker, decision=uid)
    world.run(1)
    assert world.answers[uid].state == "Expired"
    assert world.weight == 10


def test_an_abort_carried_out_before_a_crash_is_answered_once() -> None:
    world = stepping(50)
    world.crash_when = lambda decision: 1 if decision.status.failed else None
    uid = world.say("abort")
    world.run(120)
    assert world.answers[uid].state == "Applied"
    assert world.status.handled == [uid]
    assert len([one for one in world.status.history if one.reason is Reason.ABORTED]) == 1


def test_a_pause_by_a_human_outlives_the_pause_in_spec() -> None:
    world = _paused_by_spec()
    world.say("pause")
    world.run(1)
    world.apply(paused=False)
    world.run(600)
    assert world.status.reason is Reason.PAUSED_BY_DECISION
