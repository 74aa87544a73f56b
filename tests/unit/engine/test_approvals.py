"""Steps that wait for people. Names carry the detail's number."""

from __future__ import annotations

from typing import Any, Final

from modelrollout.api.enums import Phase, Reason
from modelrollout.engine.evidence import PASSING
from tests.support.world import Behaviour, World
from tests.unit.engine.test_rules import serving

STEPS: Final[list[dict[str, Any]]] = [
    {"weight": 10, "hold": "1m"},
    {"approval": {"role": "risk"}},
    {"weight": 50, "hold": "1m"},
]


def awaiting(steps: list[dict[str, Any]] | None = None, **changes: Any) -> World:
    """A world in which version 2 waits for people."""
    world = serving(steps=steps or STEPS, **changes)
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL)
    return world


def test_detail_40_an_approval_keeps_the_weight_before_it_and_says_what_to_type() -> None:
    world = awaiting()
    world.run(3 * 3600)
    assert (world.status.phase, world.status.reason) == (Phase.AWAITING_APPROVAL, Reason.AWAITING_APPROVAL)
    assert world.weight == 10
    assert world.status.step is not None
    assert (world.status.step.name, world.status.step.weight, world.status.step.role) == ("approval-risk", 10, "risk")
    assert world.condition("AwaitingApproval") == ("True", "AwaitingApproval")
    assert world.condition("Ready")[0] == "Unknown"
    assert world.condition("Reconciling")[0] == "True"
    assert "--role risk -m" in world.status.next
    assert world.reasons().count(Reason.AWAITING_APPROVAL) == 1


def test_detail_40_an_approval_at_the_start_keeps_users_away_from_the_candidate() -> None:
    world = awaiting([{"approval": {"role": "risk"}}, *STEPS[:1]])
    world.run(3600)
    assert world.weight == 0
    assert world.status.phase is Phase.AWAITING_APPROVAL
    assert world.status.step is not None
    assert world.status.step.weight == 0


def test_detail_40_gates_go_on_judging_while_people_are_waited_for() -> None:
    world = awaiting()
    world.run(600)
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(300)
    assert world.status.failed is not None
    assert world.status.failed.reason in (Reason.GATE_BREACHED, Reason.CATASTROPHE)
    assert world.route.weights == {world.stable: 100}


def test_detail_40_an_approval_neither_warms_up_anew_nor_takes_another_planned_look() -> None:
    world = awaiting()
    before = world.status.spans
    samples = world.gate().samples
    world.run(600)
    assert world.gate().verdict in PASSING
    assert world.gate().samples > samples
    assert [(span.step, span.start, span.looked_at) for span in world.status.spans] == [
        (span.step, span.start, span.looked_at) for span in before
    ], "the same stretch of time goes on"


def test_detail_40_an_approval_that_is_edited_away_keeps_what_was_held_before_it() -> None:
    world = awaiting()
    world.apply(steps=[STEPS[0], STEPS[2]])
    assert world.run_until(lambda: world.weight == 50) < 30


def test_detail_40_promote_ends_no_approval() -> None:
    world = awaiting()
    refused = world.say("promote")
    world.run(5)
    assert world.answers[refused].state == "Refused"
    assert "--role risk" in world.answers[refused].message
    early = serving(steps=STEPS)
    early.apply("2")
    early.run_until(lambda: early.weight == 10)
    full = early.say("promote", full=True)
    early.run(5)
    assert early.answers[full].state == "Refused"
    assert "approval-risk is still ahead" in early.answers[full].message
