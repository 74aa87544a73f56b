"""A human's word after a breach that only pauses."""

from __future__ import annotations

from modelrollout.api.enums import Reason, Verdict
from tests.support.world import ERRORS, Behaviour
from tests.unit.engine.test_rules import stepping

_STEPS = [{"weight": 10, "hold": "3m"}, {"weight": 100, "hold": "1m"}]


def test_detail_34_who_resumes_after_a_pause_by_a_breach_is_not_paused_again_in_that_step() -> None:
    world = stepping(10, gates=[ERRORS | {"onBreach": "pause"}], steps=_STEPS)
    world.behaviour["2"] = Behaviour(errors=0.1)
    world.run_until(lambda: world.status.paused is not None)
    assert world.status.paused is not None
    assert world.status.paused.reason is Reason.GATE_BREACHED
    world.say("resume")
    world.run(60)
    assert world.gate().verdict is Verdict.BREACHED
    assert world.status.paused is None
    assert world.weight == 10


def test_detail_34_in_observe_mode_a_gate_that_would_pause_only_says_so() -> None:
    world = stepping(10, gates=[ERRORS | {"onBreach": "pause"}], steps=_STEPS, mode="observe")
    world.behaviour["2"] = Behaviour(errors=0.1)
    world.run_until(lambda: world.gate().verdict is Verdict.BREACHED)
    world.run(10)
    assert world.status.paused is None
    assert world.reasons().count(Reason.WOULD_HOLD) == 1
    assert "errors is breached" in world.status.observed
