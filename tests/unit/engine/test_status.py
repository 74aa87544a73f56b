"""Detail 29: status stays small whatever happens; and what it keeps survives being written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import CheckState, Outcome, Phase, Reason, Urgency, Verdict
from modelrollout.api.status import (
    Approved,
    GateStatus,
    HistoryEntry,
    ModelRolloutStatus,
    Notice,
    Override,
    PreflightCheck,
    StepStatus,
)
from modelrollout.engine import report
from modelrollout.engine.approvals import count
from modelrollout.engine.decide import decide
from modelrollout.engine.draft import Draft
from modelrollout.engine.fitting import fitted
from modelrollout.engine.model import Freeze, GateMeasurement, Human, Input, Measurement, SetWeights
from modelrollout.engine.report import unreadable
from modelrollout.gates.evidence import Histogram, Interval
from tests.support.world import ERRORS, LATENCY, START, Behaviour, World
from tests.unit.engine.test_rules import stepping

_TEXT = "ü" * 5000
_LIMIT_BYTES = 64 * 1024


def _twenty_gates() -> list[dict[str, Any]]:
    latencies = [
        LATENCY | {"name": f"latency-{n:02d}-with-a-very-long-name"[:32], "atMost": "110% of baseline"}
        for n in range(10)
    ]
    return latencies + [ERRORS | {"name": f"errors-{n:02d}-with-a-very-long-name"[:32]} for n in range(10)]


def _histogram() -> Histogram:
    bounds = (*(0.001234567 * 1.7**n for n in range(25)), float("inf"))
    return Histogram(bounds, tuple(123456789.0 * (n + 1) for n in range(len(bounds))))


def _terms(seen: Input) -> str:
    """How the candidate is judged, as an approval keeps it."""
    human = Human(uid="u", name="n", verb=Verb.APPROVE, created=START, expires=START, role="risk", author="bob")
    draft = Draft(input=seen, status=seen.status)
    count(draft, human)
    return draft.status.approvals[0].terms


def _what_people_said(seen: Input) -> dict[str, Any]:
    """Every list of it full, with names of the usual length and comments of the greatest."""
    who, text = "firstname.lastname@ml.example.com", "c" * 512
    notice = Notice(
        id="i" * 100, urgency=Urgency.TICKET, reason=Reason.ROLLED_BACK, cause=Reason.GATE_BREACHED, revision="a" * 10,
        version="2026-11-21.3", message=text, at=START, lasts=True, incident="n" * 62, problem=text,
    )  # fmt: skip
    approved = Approved(
        step="approval-compliance", role="compliance", author=who, decision="ranker-approve-x7k2p", at=START,
        comment=text[:160], terms=_terms(seen),
    )  # fmt: skip
    override = Override(
        at=START, by=who, comment=text[:256], over=text[:256], gates=["errors-00-with-a-very-long-name"]
    )
    checks = [CheckState.OK] * 21 + [CheckState.WAITING] * 4
    return {
        "approvals": [approved] * 10,
        "authors": [who] * 8,
        "notices": [notice.model_copy(update={"id": f"{n}" + notice.id}) for n in range(10)],
        "overrides": [override] * 8,
        "preflight": [PreflightCheck(check="gate " + "g" * 32, state=one, message=text[:320]) for one in checks],
    }


def test_detail_29_status_is_below_64_kib_at_20_gates_with_everything_full() -> None:
    world = stepping(10, gates=_twenty_gates(), steps=[{"weight": 10, "hold": "10h"}])
    world.run(60)
    seen = world.observe()
    entry = HistoryEntry(
        revision="a" * 10, version="v" * 128, outcome=Outcome.ROLLED_BACK, reason=Reason.GATE_BREACHED,
        message="m" * 512, ended_at=START, started_at=START,
    )  # fmt: skip
    entry = entry.model_copy(update={"overrides": ["o" * 256] * 4})
    full = seen.status.model_copy(
        update={"history": [entry] * 10, "handled": ["u" * 36] * 32} | _what_people_said(seen)
    )
    end = seen.now
    interval = Interval(end - timedelta(hours=1), end, _histogram(), _histogram())
    measured = {
        gate.name: GateMeasurement((interval,) if gate.latency else (), query="q" * 5000) for gate in seen.spec.gates
    }
    spread = replace(
        seen, status=full, measurement=Measurement(interval.start, end, measured), freezes=(Freeze("a test", _TEXT),)
    )
    status = fitted(decide(spread).status)
    written = status.model_dump_json(by_alias=True, exclude_none=True)
    for name in ("history", "approvals", "overrides", "notices"):
        assert len(getattr(status, name)) == len(getattr(full, name)), "texts are shortened, nothing is left out"
    assert [one.author for one in status.approvals] == [one.author for one in full.approvals]
    assert status.accepted == full.accepted
    assert len(written.encode()) < _LIMIT_BYTES


def test_detail_29_messages_are_below_one_kilobyte() -> None:
    world = stepping(10)
    world.broken["2"] = "x" * 5000
    world.touch()
    world.run(200)
    read = json.loads(world.status.model_dump_json(by_alias=True, exclude_none=True))

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for one in value.values() for text in texts(one)]
        if isinstance(value, list):
            return [text for one in value for text in texts(one)]
        return [value] if isinstance(value, str) else []

    assert max(len(text) for text in texts(read)) <= 1024
    assert ModelRolloutStatus.model_validate(read)
    assert all(len(one.marker.message) <= 300 for _, one in world.done if isinstance(one, SetWeights))


def test_detail_29_history_keeps_ten_and_handled_thirty_two() -> None:
    world = World()
    world.run(30)
    for number in range(2, 15):
        world.apply(str(number))
        world.behaviour[str(number)] = Behaviour(errors=0.9)
        world.run(100)
    for _ in range(20):
        world.say("pause")
        world.run(0.3)
        world.say("resume")
        world.run(0.3)
    assert len(world.status.history) == 10
    assert len(world.status.handled) <= 32


def test_what_is_written_and_read_again_is_the_same() -> None:
    world = stepping(10)
    world.run(63)
    status = world.status
    text = status.model_dump_json(by_alias=True, exclude_none=True)
    again = ModelRolloutStatus.model_validate_json(text)
    assert again.model_dump_json(by_alias=True, exclude_none=True) == text


def test_detail_26_an_unreadable_spec_is_stalled_and_what_served_serves() -> None:
    """Said once: the second look at the same object writes nothing."""
    world = stepping(10)
    before = world.status
    found = unreadable(before, world.generation + 1, "x" * 5000, START)
    said = {str(condition.type): condition.status for condition in found.conditions}
    assert (said["Ready"], said["Reconciling"], said["Stalled"]) == ("False", "False", "True")
    assert said["Available"] == "True"
    assert found.observed_generation == world.generation + 1
    assert len(found.message) == 1024
    assert found.candidate == before.candidate
    written = ModelRolloutStatus.model_validate_json(found.model_dump_json(by_alias=True, exclude_none=True))
    assert unreadable(written, world.generation + 1, "x" * 5000, START + timedelta(hours=1)) == written


def test_detail_29_the_way_to_the_first_traffic_is_one_turn() -> None:
    """What is waited for is found out again in one look; the weight itself, and a retreat, are turns."""
    starting = ModelRolloutStatus(phase=Phase.STARTING, step=StepStatus(number=0, of=2, name="start"))
    entered = StepStatus(number=1, of=2, name="weight-10", weight=10, since=START)
    waiting = starting.model_copy(update={"phase": Phase.PROGRESSING, "step": entered})
    assert report.turns(starting) == report.turns(waiting)
    assert report.remarks(starting) != report.remarks(waiting)
    assert report.turns(waiting) != report.turns(waiting.model_copy(update={"weight": 10}))
    asked = waiting.model_copy(update={"step": entered.model_copy(update={"role": "risk"})})
    for turn in (asked, waiting.model_copy(update={"phase": Phase.ROLLING_BACK})):
        assert report.turns(turn) != report.turns(waiting)


def test_detail_29_a_gate_that_holds_is_a_detail_and_one_that_does_not_a_remark() -> None:
    def judged(verdict: Verdict) -> ModelRolloutStatus:
        return ModelRolloutStatus(gates=[GateStatus(name="errors", verdict=verdict)])

    early, seen, proven = judged(Verdict.TOO_EARLY), judged(Verdict.NO_HARM_SEEN), judged(Verdict.PROVEN)
    assert report.details(early) != report.details(seen) == report.details(proven)
    assert report.remarks(early) == report.remarks(proven)
    for bad in (Verdict.BREACHED, Verdict.BLIND):
        assert report.remarks(judged(bad)) != report.remarks(seen)


def test_detail_29_every_field_of_status_is_a_turn_a_remark_or_a_number() -> None:
    """Whoever adds a field says what a crash may cost of it, and when people see it."""
    numbers = {"spans", "evaluated_at", "decided_by", "replicas"}
    parted = {"step", "blind", "conditions", "gates", "preflight", "message", "next", "split_off_since"}
    named = [*report._TURNS, *report._REMARKS, *report._DETAILS, *numbers, *parted]
    assert sorted(named) == sorted(ModelRolloutStatus.model_fields)


def test_detail_29_that_a_weight_is_in_effect_is_a_turn() -> None:
    asked = stepping(10).status.model_copy(update={"observed_weight": 0})
    in_effect = asked.model_copy(update={"observed_weight": 10})
    assert report.turns(asked) != report.turns(in_effect)
    assert report.turns(in_effect) == report.turns(in_effect.model_copy(update={"message": "something else"}))
