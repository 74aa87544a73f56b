"""Observe mode as a team meets it that tries the controller: what is said, what is done all the same, and the day on
which it is told to act."""

from __future__ import annotations

import pytest

from modelrollout.api.enums import Outcome, Reason, Verdict
from tests.support.world import ERRORS, Behaviour, World
from tests.unit.engine.test_rules import serving, stepping

_LONG = [{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}]
_BAD = Behaviour(errors=0.1)
_HALF = Behaviour(errors=0.5)


def _observing(behaviour: Behaviour, **changes: object) -> World:
    world = stepping(10, **({"mode": "observe"} | changes))
    world.behaviour["2"] = behaviour
    return world


def _told(world: World, reason: Reason) -> int:
    return world.reasons().count(reason)


@pytest.mark.parametrize(("behaviour", "why"), [(_BAD, "GateBreached"), (_HALF, "Catastrophe")])
def test_detail_34_in_observe_mode_no_verdict_rolls_back_not_even_a_catastrophe(behaviour: Behaviour, why: str) -> None:
    world = _observing(behaviour)
    world.run(900)
    assert world.stable == world.target
    assert world.status.failed is None
    entry = world.status.history[0]
    assert entry.outcome is Outcome.PROMOTED
    assert "observe mode: would have rolled back at 09:0" in entry.message
    assert f"({why})" in entry.message
    assert _told(world, Reason.WOULD_ROLL_BACK) == 1


def test_detail_34_observe_mode_is_seen_in_the_columns() -> None:
    world = _observing(_BAD, steps=_LONG)
    world.run(120)
    assert world.status.columns["gates"] == "errors Breached (observed)"
    assert world.condition("GatesPassing") == ("False", "GateBreached")
    assert world.condition("Ready")[0] == "Unknown"
    assert world.condition("Stalled")[0] == "False"


def test_detail_34_in_observe_mode_a_step_ends_although_a_gate_is_undecided_and_that_is_told_once() -> None:
    world = _observing(Behaviour(), gates=[ERRORS | {"minSamples": 10**9}])
    world.run(900)
    assert world.stable == world.target
    assert _told(world, Reason.WOULD_HOLD) == 1
    assert "would have held at 10 %" in world.status.history[0].message
    assert "errors is not decided" in world.status.history[0].message


def test_detail_34_in_observe_mode_a_step_ends_although_both_revisions_are_bad() -> None:
    world = serving(mode="observe", gates=[ERRORS | {"atMost": "2%"}])
    world.behaviour |= {"1": _BAD, "2": _BAD}
    world.apply("2")
    world.run(1200)
    assert world.stable == world.target
    assert _told(world, Reason.WOULD_HOLD) == 1


def test_detail_34_a_rollback_that_would_have_been_takes_the_place_of_a_step_that_would_have_been_held() -> None:
    world = _observing(Behaviour(), gates=[ERRORS | {"minSamples": 3000}])
    world.run_until(lambda: bool(world.status.observed))
    assert world.status.observed.startswith("would have held")
    world.behaviour["2"] = _HALF
    world.run_until(lambda: world.status.observed.startswith("would have rolled back"), within=600)


def test_detail_34_in_observe_mode_a_human_s_abort_is_obeyed() -> None:
    world = _observing(_BAD, steps=_LONG)
    world.run(60)
    world.say("abort")
    world.run(30)
    assert world.weight == 0
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.ABORTED


def test_detail_34_in_observe_mode_pods_that_make_no_progress_still_fail() -> None:
    world = serving(mode="observe")
    world.hanging = {"2"}
    world.apply("2")
    world.run(400)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.PROGRESS_DEADLINE_EXCEEDED


def test_detail_34_in_observe_mode_the_steps_wait_for_the_metrics() -> None:
    """Not for a verdict, but without metrics there is nothing to observe; and nothing goes back for it."""
    world = _observing(Behaviour(), steps=_LONG)
    world.metrics_down = True
    world.run(7200)
    assert world.weight == 10
    world.metrics_down = False
    world.run(4000)
    assert world.stable == world.target


def test_detail_34_from_observe_to_enforce_with_a_breach_standing_rolls_back_at_once() -> None:
    world = _observing(_BAD, steps=_LONG)
    world.run_until(lambda: world.gate().verdict is Verdict.BREACHED)
    world.run(60)
    assert world.weight == 10
    world.apply(mode="enforce")
    took = world.run_until(lambda: world.weight == 0, within=30)
    assert took <= 2.0, "the breach is known: nothing has to be read for it"
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.GATE_BREACHED


def test_detail_34_from_observe_to_enforce_nothing_of_the_past_acts_that_does_not_stand_any_more() -> None:
    """A catastrophe is one look; who enforces after it is over enforces what is so then."""
    world = _observing(_HALF, steps=_LONG, gates=[ERRORS | {"atMost": "baseline + 60pp"}])
    world.run_until(lambda: bool(world.status.observed))
    world.behaviour["2"] = Behaviour()
    world.run(120)
    world.apply(mode="enforce")
    world.run(60)
    assert world.weight == 10


def test_detail_34_from_enforce_to_observe_a_rollback_stays() -> None:
    world = stepping(10, steps=_LONG)
    world.behaviour["2"] = _BAD
    world.run_until(lambda: world.status.failed is not None)
    world.apply(mode="observe")
    world.run(300)
    assert world.weight == 0
    assert world.status.failed is not None


def test_detail_34_a_preflight_that_fails_holds_in_observe_mode_too() -> None:
    world = serving(mode="observe")
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run(300)
    assert world.weight == 0
    assert world.status.reason is Reason.PREFLIGHT_FAILED


def test_detail_34_in_observe_mode_one_bad_pod_reads_as_what_would_have_been_done_to_it() -> None:
    world = serving(mode="observe", steps=_LONG)
    world.bad_pods["2"] = 0.2
    world.apply("2")
    world.run(300)
    assert "would have replaced a pod at" in world.status.observed
    assert "alone is bad" in world.status.observed
    assert _told(world, Reason.ONE_POD_BAD) == 1
    assert _told(world, Reason.WOULD_ROLL_BACK) == 0
    assert world.status.replaced_pod == ""
    world.behaviour["2"] = _BAD
    world.run(300)
    assert "would have rolled back" in world.status.observed
