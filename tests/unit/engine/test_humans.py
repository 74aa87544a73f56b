"""Rule 10 as a table: every verb in every phase, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Phase, Reason
from tests.support.world import Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping

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


_STATES: dict[str, tuple[Callable[[], World], Phase]] = {
    "first": (_first, Phase.STARTING),
    "starting": (_starting, Phase.STARTING),
    "progressing": (lambda: stepping(10), Phase.PROGRESSING),
    "frozen": (_frozen, Phase.PROGRESSING),
    "blind": (_blind, Phase.PROGRESSING),
    "paused": (_paused, Phase.PAUSED),
    "paused by spec": (_paused_by_spec, Phase.PAUSED),
    "promoting": (_promoting, Phase.PROMOTING),
    "rolling back": (_rolling_back, Phase.ROLLING_BACK),
    "rolled back": (_rolled_back, Phase.ROLLED_BACK),
    "undone": (_undone, Phase.ROLLED_BACK),
    "stable": (serving, Phase.STABLE),
    "stable, one kept": (_kept, Phase.STABLE),
}

_VERBS = ("pause", "resume", "abort", "promote", "full", "undo", "retry")
_EXPECTED = """
first             A . . . . . .
starting          A . A . . A .
progressing       A . A A A A .
frozen            A . A . . A .
blind             A . A . A A .
paused            A A A A A A .
paused by spec    A . A A A A .
promoting         A . A A A A .
rolling back      . . . . . A .
rolled back       . . . . . . A
undone            . . . . . A A
stable            . . . . . . .
stable, one kept  . . . . . A .
"""


def _rows() -> list[tuple[str, str, str]]:
    rows = []
    for line in _EXPECTED.strip().splitlines():
        state, marks = line[:18].strip(), line[18:].split()
        rows += [(state, verb, APPLIED if mark == "A" else REFUSED) for verb, mark in zip(_VERBS, marks, strict=True)]
    return rows


@pytest.mark.parametrize(("state", "verb", "expected"), _rows())
def test_rule_10_every_verb_in_every_phase(state: str, verb: str, expected: str) -> None:
    make, phase = _STATES[state]
    world = make()
    assert world.status.phase is phase
    uid = world.say("promote" if verb == "full" else verb, full=verb == "full")
    world.run(0.5)
    answer = world.answers[uid]
    assert answer.state == expected, answer.message
    assert answer.message
    assert (uid in world.status.handled) == (expected == APPLIED)
    reason = Reason.DECISION_APPLIED if expected == APPLIED else Reason.DECISION_REFUSED
    assert reason in world.reasons()


def test_the_table_is_complete() -> None:
    assert {verb if verb != "full" else "promote" for verb in _VERBS} == {str(verb) for verb in Verb}
    assert {state for state, _, _ in _rows()} == set(_STATES)


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
