"""Steps that wait for people. Names carry the detail's number."""

from __future__ import annotations

from typing import Any, Final

import pytest

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.engine.evidence import PASSING
from tests.support.world import ERRORS, Behaviour, World
from tests.unit.engine.test_rules import serving, stepping

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


def test_detail_40_an_approval_at_the_start_that_is_edited_away_skips_no_hold() -> None:
    world = awaiting([STEPS[1], STEPS[0], STEPS[2]])
    world.apply(steps=[STEPS[0], STEPS[2]])
    assert world.run_until(lambda: world.weight == 10) < 30
    assert world.run_until(lambda: world.weight == 50) > 60


@pytest.mark.parametrize(
    "edited",
    [
        [STEPS[0], STEPS[2], {"weight": 100, "hold": "1m"}, STEPS[1]],
        [STEPS[0], {"approval": {"role": "legal"}}, {"name": "approval-risk", "weight": 50, "hold": "1m"}],
    ],
    ids=["moved behind the weights", "its name given to a weight"],
)
def test_detail_40_no_edit_carries_the_candidate_past_the_next_step(edited: list[dict[str, Any]]) -> None:
    world = awaiting()
    world.apply(steps=edited)
    world.run(20)
    assert world.weight <= 50
    assert world.status.step is not None
    assert world.status.step.number == 2


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


def _says(world: World, verb: str = "approve", **more: str) -> tuple[str, str]:
    """Say something of the candidate, as bob with the role risk; what became of it."""
    told: dict[str, Any] = {"author": "bob", "role": "risk", "comment": "checked", "revision": world.candidate}
    uid = world.say(verb, **told | more)
    world.run(3)
    answer = world.answers[uid]
    return str(answer.state), answer.message


def test_detail_40_an_approval_by_the_role_goes_on_with_the_steps() -> None:
    world = awaiting()
    world.run(3600)
    assert _says(world) == ("Applied", "step approval-risk is approved")
    assert world.run_until(lambda: world.weight == 50) < 30
    given = world.status.approvals[0]
    assert (given.step, given.role, given.author, given.comment) == ("approval-risk", "risk", "bob", "checked")
    world.run(600)
    assert world.stable == world.target


def test_detail_40_an_approval_as_the_last_step_promotes() -> None:
    world = awaiting([*STEPS[:1], STEPS[1]])
    world.run(600)
    assert world.weight == 10
    _says(world)
    world.run_until(lambda: world.stable == world.target, within=120)


def test_detail_40_an_approval_at_the_start_comes_before_the_first_user() -> None:
    world = awaiting([STEPS[1], STEPS[0]])
    _says(world)
    assert world.run_until(lambda: world.weight == 10) < 60


def test_detail_40_the_author_of_the_change_does_not_count_alone() -> None:
    world = awaiting()
    state, message = _says(world, author="ann")
    assert state == "Applied"
    assert "1 more" in message
    assert "does not count alone" in message
    world.run(3600)
    assert world.weight == 10
    assert "ann approved" in world.status.message
    _says(world)
    world.run_until(lambda: world.weight == 50, within=60)


def test_detail_40_whoever_edits_the_gates_meanwhile_is_an_author_too() -> None:
    world = awaiting()
    world.author = "bob"
    world.apply(warmup="11s")
    world.run(5)
    assert set(world.status.authors) == {"ann", "bob"}
    _says(world)
    world.run(600)
    assert world.weight == 10


def test_detail_40_count_asks_for_different_people() -> None:
    world = awaiting([STEPS[0], {"approval": {"role": "risk", "count": 2}}, STEPS[2]])
    assert "2 people" in world.status.message
    _says(world)
    state, message = _says(world)
    assert state == "Refused"
    assert "somebody else" in message
    world.run(600)
    assert world.weight == 10
    _says(world, author="ann")
    world.run_until(lambda: world.weight == 50, within=60)


def test_detail_40_where_nobody_vouches_for_the_author_one_more_person_is_needed() -> None:
    world = serving(steps=STEPS)
    world.author = ""
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL)
    assert "2 people" in world.status.message
    assert "kubectl apply -k manifests/policies" in world.status.message
    _says(world)
    world.run(600)
    assert world.weight == 10
    _says(world, author="eve")
    world.run_until(lambda: world.weight == 50, within=60)


def test_detail_23_an_approval_that_nobody_vouches_for_does_not_count() -> None:
    world = awaiting()
    state, message = _says(world, unverified="the policy is missing: kubectl apply -k manifests/policies")
    assert state == "Refused"
    assert "kubectl apply -k" in message
    uid = world.say("pause", unverified="the policy is missing")
    world.run(3)
    assert world.answers[uid].state == "Applied", "what only stops is done all the same"
    assert world.answers[uid].unverified == "the policy is missing"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"role": "legal"}, "waits for role risk, not for legal"),
        ({"revision": "0123456789ab"}, "is being rolled out by now"),
        ({"author": ""}, "spec.author"),
    ],
)
def test_detail_40_an_approval_that_does_not_fit_is_refused(more: dict[str, str], says: str) -> None:
    world = awaiting()
    state, message = _says(world, **more)
    assert state == "Refused"
    assert says in message
    assert world.status.approvals == []


def test_detail_40_an_approval_in_advance_is_refused() -> None:
    world = serving(steps=STEPS)
    world.apply("2")
    world.run_until(lambda: world.weight == 10)
    state, message = _says(world)
    assert state == "Refused"
    assert "approval-risk is still ahead" in message


def test_detail_24_an_approval_is_taken_down_while_paused_and_counts_after_resume() -> None:
    world = awaiting()
    world.say("pause")
    world.run(5)
    assert world.condition("AwaitingApproval")[0] == "True"
    assert _says(world)[0] == "Applied"
    world.run(600)
    assert world.weight == 10
    world.say("resume")
    world.run_until(lambda: world.weight == 50, within=60)


def test_detail_24_reject_puts_all_traffic_back_for_good() -> None:
    world = awaiting()
    assert _says(world, "reject", role="legal")[0] == "Refused"
    assert _says(world, "reject", comment="biased")[0] == "Applied"
    assert world.route.weights[world.stable] == 100
    world.run(3600)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.REJECTED
    assert "rejected by bob with the role risk: biased" in world.status.failed.message
    assert world.condition("Ready") == ("False", "RolledBack")


@pytest.mark.parametrize("effects", range(5))
def test_detail_24_reject_survives_a_crash_between_any_two_effects(effects: int) -> None:
    world = awaiting()
    world.crash_when = lambda decision: effects if decision.status.failed is not None else None
    world.say("reject", author="bob", role="risk", comment="biased")
    world.run(600)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.REJECTED
    assert len(world.answers) == 1


@pytest.mark.parametrize("effects", range(4))
def test_detail_40_an_approval_counts_once_whenever_the_operator_dies(effects: int) -> None:
    world = awaiting([STEPS[0], {"approval": {"role": "risk", "count": 2}}, STEPS[2]])
    world.crash_when = lambda decision: effects if decision.status.approvals else None
    uid = world.say("approve", author="bob", role="risk", comment="checked")
    world.run(60)
    assert world.answers[uid].state == "Applied"
    assert [one.author for one in world.status.approvals] == ["bob"]
    assert world.weight == 10


def test_detail_40_a_loosened_limit_voids_approvals() -> None:
    world = awaiting([STEPS[0], {"approval": {"role": "risk", "count": 2}}, STEPS[2]])
    _says(world)
    world.apply(gates=[ERRORS | {"atMost": "baseline + 5pp"}])
    world.run(5)
    assert world.status.approvals == []
    assert Reason.APPROVALS_VOIDED in world.reasons()
    _says(world)
    world.apply(gates=[])
    world.run(5)
    assert world.status.approvals == [], "so does a gate that is taken away"


def test_detail_40_another_revision_needs_approvals_of_its_own() -> None:
    world = awaiting([STEPS[0], {"approval": {"role": "risk", "count": 2}}, STEPS[2]])
    _says(world)
    world.author = "zoe"
    world.apply("3")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL and world.candidate == world.target)
    assert world.status.approvals == []
    assert world.status.authors == ["zoe"]


def test_detail_40_a_retreat_to_the_start_voids_approvals() -> None:
    world = awaiting(evaluation={"interval": "5s", "minBreachTime": "10s", "blindTimeout": "1m", "onBlind": "retreat"})
    _says(world, author="ann")
    world.metrics_down = True
    world.run_until(lambda: world.weight == 0, within=300)
    assert world.status.approvals == []


def test_detail_23_the_answer_keeps_what_was_seen() -> None:
    world = awaiting()
    uid = world.say("approve", author="bob", role="risk", comment="checked")
    world.run(3)
    seen = world.answers[uid].seen
    assert seen is not None
    assert (seen.revision, seen.version, seen.step, seen.weight) == (world.target, "2", "approval-risk", 10)
    assert seen.evaluated_at is not None
    (gate,) = seen.gates
    assert gate.verdict in (Verdict.NO_HARM_SEEN, Verdict.PROVEN)
    assert gate.value == pytest.approx(0.01)
    assert gate.baseline == pytest.approx(0.01)
    assert gate.samples > 1000
    assert gate.limit
    assert not world.answers[uid].unverified


_NAMED: Final[list[dict[str, Any]]] = [
    {"name": "few", "weight": 10, "hold": "1m"},
    {"name": "team", "approval": {"role": "team"}},
    {"name": "risk", "approval": {"role": "risk"}},
    {"name": "half", "weight": 50, "hold": "1m"},
]


def _renamed(*names: str) -> list[dict[str, Any]]:
    return [step | {"name": name} for step, name in zip(_NAMED, names, strict=True)]


@pytest.mark.parametrize(
    "names",
    [("x", "team", "risk", "few"), ("half", "x", "y", "few"), ("x", "few", "risk", "y")],
    ids=["a later weight", "two weights", "an approval"],
)
def test_detail_40_no_name_carries_the_candidate_past_an_approval(names: tuple[str, ...]) -> None:
    world = serving(steps=_NAMED)
    world.apply("2")
    world.run_until(lambda: world.weight == 10)
    world.apply(steps=_renamed(*names))
    world.run(600)
    assert world.weight == 10
    assert world.status.step is not None
    assert world.status.step.role == "team"


def test_detail_40_no_name_makes_an_approval_one_by_another_role() -> None:
    world = awaiting(_NAMED)
    assert _says(world, role="team")[0] == "Applied"
    world.run_until(lambda: world.status.step is not None and world.status.step.role == "risk")
    world.apply(steps=_renamed("few", "risk", "team", "half"))
    world.run(600)
    assert world.weight == 10
    assert "with the role team" in world.status.message, "the renamed one is asked for again"
    _says(world, role="team")
    world.run(60)
    assert world.weight == 10
    assert "with the role risk" in world.status.message


def test_detail_40_a_weight_of_one_percent_is_no_way_around_an_approval_at_the_start() -> None:
    world = awaiting([_NAMED[2], {"weight": 1, "hold": "1m"}, _NAMED[3]])
    world.apply(steps=[_NAMED[2] | {"name": "x"}, {"weight": 1, "hold": "1m"}, _NAMED[3]])
    world.run(300)
    assert world.weight == 0


@pytest.mark.parametrize(
    "edit",
    [
        {"gates": [ERRORS | {"atMost": "baseline + 5pp"}]},
        {"gates": []},
        {"gates": [ERRORS | {"onBreach": "pause"}]},
        {"gates": [ERRORS | {"required": False}]},
        {"mode": "observe"},
        {"warmup": "1h"},
        {"evaluation": {"interval": "5s", "minBreachTime": "10h"}},
    ],
    ids=["limit", "no gates", "onBreach", "required", "mode", "warmup", "evaluation"],
)
def test_detail_40_who_judges_otherwise_after_the_approval_asks_anew(edit: dict[str, Any]) -> None:
    world = awaiting([*STEPS[:2], {"weight": 50, "hold": "10m"}])
    _says(world)
    world.run_until(lambda: world.weight == 50)
    world.apply(**edit)
    world.run(1800)
    assert Reason.APPROVALS_VOIDED in world.reasons()
    assert (world.status.phase, world.weight) == (Phase.AWAITING_APPROVAL, 50)
    _says(world)
    assert world.status.phase is not Phase.AWAITING_APPROVAL


def test_detail_40_a_stricter_limit_another_gate_and_other_holds_void_nothing() -> None:
    world = awaiting([*STEPS[:2], {"weight": 50, "hold": "1m"}])
    _says(world)
    world.run_until(lambda: world.weight == 50)
    world.apply(gates=[ERRORS | {"atMost": "baseline + 0.9pp"}, ERRORS | {"name": "more"}])
    world.apply(steps=[*STEPS[:2], {"weight": 50, "hold": "2m"}])
    world.run_until(lambda: world.stable == world.target, within=3600)
    assert Reason.APPROVALS_VOIDED not in world.reasons()


def test_detail_40_an_approval_counts_in_the_role_that_is_asked_for_now() -> None:
    def asking(role: str, count: int) -> list[dict[str, Any]]:
        return [STEPS[0], {"name": "sign-off", "approval": {"role": role, "count": count}}, STEPS[2]]

    world = awaiting(asking("risk", 2))
    _says(world)
    world.apply(steps=asking("legal", 1))
    world.run(120)
    assert (world.status.phase, world.weight) == (Phase.AWAITING_APPROVAL, 10)
    _says(world, role="legal")
    world.run_until(lambda: world.weight == 50, within=60)


def test_detail_24_what_is_approved_and_frozen_can_be_overridden_by_what_status_says_to_type() -> None:
    world = awaiting()
    world.freeze("a fair")
    early = world.say("promote", override_freeze=True, comment="a hotfix")
    world.run(3)
    assert "is for role risk to decide" in world.answers[early].message
    _says(world)
    world.run(60)
    assert (world.status.reason, world.weight) == (Reason.FROZEN, 10)
    assert "promote ranker -n recs --override-freeze" in world.status.next
    world.say("promote", override_freeze=True, comment="a hotfix")
    world.run_until(lambda: world.weight == 50, within=60)
    assert world.status.overrides[0].over == "a test: a fair"


def test_detail_24_an_override_that_ends_in_an_approval_leads_no_further() -> None:
    world = stepping(10, steps=STEPS, advanceOnly={"hours": "09:00-09:02"})
    world.run(55)
    world.say("promote", override_freeze=True, comment="a hotfix")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL, within=30)
    _says(world)
    world.run(300)
    assert (world.status.reason, world.weight) == (Reason.OUTSIDE_WINDOW, 10)


def test_detail_40_who_is_waited_for_is_said_whatever_else_stands_in_the_way() -> None:
    world = awaiting()
    world.freeze("a fair")
    world.say("pause")
    world.run(10)
    assert world.status.reason is Reason.FROZEN
    assert "it is paused too: type: kubectl modelrollout resume" in world.status.next
    assert world.condition("AwaitingApproval")[0] == "True"
    for _ in range(3):
        world.edit_route({world.stable: 10, world.candidate: 90}, by="argocd-controller")
        world.run(2)
    assert (world.status.phase, world.status.reason) == (Phase.STALLED, Reason.ROUTE_CONTESTED)
    assert world.condition("AwaitingApproval")[0] == "True"
    _says(world)
    assert world.condition("AwaitingApproval")[0] == "False"
    _says(world, "reject")
    assert world.condition("AwaitingApproval")[0] == "False"


def test_detail_37_an_approval_at_the_start_overrules_no_preflight() -> None:
    world = serving(steps=[STEPS[1], STEPS[0]])
    world.unscraped = {"2"}
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL)
    world.run(60)
    _says(world)
    assert world.status.reason is Reason.PREFLIGHT_FAILED, "at once, and not only at the next look"
    world.run(60)
    assert world.weight == 0
    world.say("promote")
    world.run_until(lambda: world.weight == 10, within=30)


def test_detail_24_a_blind_step_before_an_approval_can_be_ended() -> None:
    world = stepping(10, steps=STEPS)
    world.metrics_down = True
    world.run(20)
    world.say("promote")
    world.run_until(lambda: world.status.phase is Phase.AWAITING_APPROVAL, within=60)
