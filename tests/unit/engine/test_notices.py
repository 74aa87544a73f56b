"""Details 25 and 42: who is told of what, how urgently, and that no crash loses or doubles it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelrollout.api.enums import Phase, Reason, Urgency, Verdict
from modelrollout.api.status import Notice
from modelrollout.engine.decide import decide
from modelrollout.engine.model import RecordIncident, RouteState
from modelrollout.engine.notices import unwritable
from tests.support.world import ERRORS, LATENCY, Behaviour, World
from tests.unit.engine.test_rules import serving, stepping


def _told(world: World, reason: Reason, *, over: bool = False) -> list[Notice]:
    return [one for one in world.told if one.reason is reason and (one.over_at is not None) is over]


def _rolled_back(**changes: Any) -> World:
    world = stepping(50, **changes)
    world.run(40)
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    assert world.status.phase is Phase.ROLLED_BACK
    return world


def test_detail_25_a_rollback_is_told_with_the_write_that_records_it() -> None:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    seen: list[tuple[bool, bool]] = []
    world.watchers.append(
        lambda _w, _s, decision, _a: seen.append(
            (decision.status.failed is not None, any(one.incident for one in decision.status.notices))
        )
    )
    world.run(120)
    assert (True, True) in seen
    assert all(failed == told for failed, told in seen if not failed), "nothing is told before it is so"
    (notice,) = _told(world, Reason.ROLLED_BACK)
    assert notice.urgency is Urgency.TICKET
    assert notice.cause in (Reason.GATE_BREACHED, Reason.CATASTROPHE)
    assert notice.id == f"recs/ranker/{notice.revision}/RolledBack/{int(notice.at.timestamp())}"


@pytest.mark.parametrize("effects", range(6))
def test_detail_25_a_crash_loses_no_notice_and_changes_no_id(effects: int) -> None:
    world = stepping(50)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.crash_when = lambda decision: effects if decision.status.failed is not None else None
    world.run(120)
    ids = {one.id for one in _told(world, Reason.ROLLED_BACK)}
    assert len(ids) == 1, "one rollback, whatever crashes in between"
    assert len(world.incidents) == 1
    (incident,) = world.incidents.values()
    assert incident.version == "2"
    assert incident.stable_version == "1"
    assert incident.evidence, "the record has what the gates knew"


def test_detail_25_what_nobody_hears_stays_in_the_outbox() -> None:
    world = stepping(50)
    world.receivers_up = False
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(1200)
    world.restart()
    world.run(5)
    waiting = [one for one in world.status.notices if not one.told]
    assert [one.reason for one in waiting if one.incident] == [Reason.ROLLED_BACK]
    world.receivers_up = True
    world.touch()
    world.run(5)
    assert all(one.told for one in world.status.notices)
    assert len(_told(world, Reason.ROLLED_BACK)) == 1


def test_detail_25_the_end_of_a_rolled_back_state_is_told() -> None:
    world = _rolled_back()
    (open_one,) = [one for one in world.status.notices if one.incident]
    assert open_one.told
    world.apply("3")
    world.run(30)
    assert [one.id for one in _told(world, Reason.ROLLED_BACK, over=True)] == [open_one.id]
    assert open_one.id not in [one.id for one in world.status.notices]


def test_detail_25_an_incident_is_recorded_once_and_is_complete() -> None:
    world = _rolled_back()
    records = [action for _, action in world.done if isinstance(action, RecordIncident)]
    assert len(records) == 1
    spec = records[0].spec
    failed = world.status.failed
    assert failed is not None
    assert records[0].name == f"ranker-{failed.revision}-{int(failed.at.timestamp())}"
    assert spec.weight == 50
    gate = spec.evidence[0]
    assert float(gate.value) > 0.02
    assert float(gate.baseline) < 0.02
    assert gate.verdict is Verdict.BREACHED
    assert gate.limit
    assert int(gate.samples) > 0
    assert [one.at for one in spec.timeline] == sorted(one.at for one in spec.timeline)
    assert "put back" in spec.timeline[-1].what
    assert "kubectl modelrollout retry ranker -n recs" in spec.commands


def test_detail_25_an_incident_that_somebody_deleted_does_not_come_back() -> None:
    world = _rolled_back()
    world.incidents.clear()
    world.restart()
    world.run(60)
    assert not world.incidents


def test_detail_25_the_outbox_is_bounded_and_keeps_what_is_urgent() -> None:
    world = _rolled_back()
    world.receivers_up = False
    for number in range(3, 20):
        world.apply(str(number))
        world.behaviour[str(number)] = Behaviour(errors=0.9)
        world.run(150)
    assert len(world.status.notices) <= 10
    assert world.status.notices[-1].urgency is Urgency.TICKET


def test_detail_42_a_promotion_is_for_the_chat_and_does_not_stay() -> None:
    world = stepping(10)
    world.run(900)
    assert world.status.phase is Phase.STABLE
    (promoted,) = [one for one in _told(world, Reason.PROMOTED) if one.version == "2"]
    assert promoted.urgency is Urgency.CHAT
    assert not world.status.notices


def test_detail_42_an_abort_is_for_the_chat_and_has_a_record() -> None:
    world = stepping(50)
    world.say("abort")
    world.run(30)
    (notice,) = _told(world, Reason.ABORTED)
    assert notice.urgency is Urgency.CHAT
    assert len(world.incidents) == 1


def test_detail_42_pods_that_fail_to_start_are_a_ticket() -> None:
    world = serving()
    world.broken["2"] = "CrashLoopBackOff"
    world.apply("2")
    world.run(60)
    (notice,) = _told(world, Reason.FAILED_TO_START)
    assert notice.urgency is Urgency.TICKET


def test_detail_42_a_rollback_without_effect_in_60_seconds_is_a_page() -> None:
    world = stepping(50)
    world.bypass = 0.2
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run_until(lambda: world.status.failed is not None, within=600)
    world.run(50)
    assert not _told(world, Reason.ROLLBACK_INCOMPLETE)
    world.run(60)
    (page,) = _told(world, Reason.ROLLBACK_INCOMPLETE)
    assert page.urgency is Urgency.PAGE
    world.bypass = 0.0
    world.run(120)
    assert len(_told(world, Reason.ROLLBACK_INCOMPLETE, over=True)) == 1


def test_detail_42_a_gateway_that_does_not_take_the_zero_is_a_page() -> None:
    world = stepping(50)
    world.apply(drainDelay="10m")
    world.acceptance = 10_000.0
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(200)
    assert world.route.state is RouteState.PENDING
    (page,) = _told(world, Reason.ROLLBACK_INCOMPLETE)
    assert page.urgency is Urgency.PAGE


def test_detail_42_weights_that_cannot_be_written_are_a_page_after_a_minute() -> None:
    """Also though nothing of it can be written to status; a route that cannot be made for a first version is none."""
    world = stepping(50)
    world.broken["2"] = "OOMKilled"
    seen = world.observe()
    decision = decide(seen)
    assert decision.status.failed is not None
    assert unwritable(seen, decision, seen.now - timedelta(seconds=59), "denied") is None
    page = unwritable(seen, decision, seen.now - timedelta(seconds=60), "denied by a webhook")
    assert page is not None
    assert page.urgency is Urgency.PAGE
    assert "denied by a webhook" in page.message
    first = World()
    first.run(3)
    seen = first.observe()
    assert unwritable(seen, decide(seen), seen.now - timedelta(seconds=600), "denied") is None


def test_detail_42_a_lost_stable_revision_is_a_page() -> None:
    world = stepping(50)
    world.delete_deployment(world.stable)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(60)
    assert world.status.reason is Reason.STABLE_MISSING
    (page,) = _told(world, Reason.STABLE_MISSING)
    assert page.urgency is Urgency.PAGE


def test_detail_42_half_an_hour_blind_at_half_the_traffic_is_a_page_and_its_end_too() -> None:
    world = stepping(50)
    world.metrics_down = True
    world.run(1700)
    assert [one.urgency for one in _told(world, Reason.METRICS_UNAVAILABLE)] == [Urgency.CHAT]
    world.run(200)
    assert [one.urgency for one in _told(world, Reason.METRICS_UNAVAILABLE)] == [Urgency.CHAT, Urgency.PAGE]
    world.metrics_down = False
    world.run(200)
    assert not _told(world, Reason.METRICS_UNAVAILABLE, over=True), "what comes and goes is over when it stays calm"
    world.run(200)
    assert len(_told(world, Reason.METRICS_UNAVAILABLE, over=True)) == 2


def test_detail_42_blind_below_half_the_traffic_is_no_page() -> None:
    world = stepping(10, steps=[{"weight": 10, "hold": "1m"}, {"weight": 20, "hold": "10h"}])
    world.run_until(lambda: world.weight == 20)
    world.metrics_down = True
    world.run(4000)
    assert {one.urgency for one in _told(world, Reason.METRICS_UNAVAILABLE)} == {Urgency.CHAT}


def test_detail_42_shared_degradation_is_one_page_however_it_flickers() -> None:
    world = stepping(50, gates=[LATENCY, ERRORS])
    for _ in range(4):
        world.behaviour = {version: Behaviour(slow=0.4) for version in ("1", "2")}
        world.run(60)
        world.behaviour = {}
        world.run(60)
    pages = _told(world, Reason.SHARED_DEGRADATION)
    assert len(pages) == 1
    assert pages[0].urgency is Urgency.PAGE


def test_detail_42_a_stall_is_said_once_in_the_chat() -> None:
    world = serving()
    world.template_error = "spec.containers[0].image: Required value"
    world.apply("2")
    world.run(600)
    (notice,) = _told(world, Reason.INVALID_TEMPLATE)
    assert notice.urgency is Urgency.CHAT


def test_detail_42_an_approval_that_is_wanted_is_for_the_chat() -> None:
    world = serving(steps=[{"approval": {"role": "risk"}}, {"weight": 10, "hold": "1h"}])
    world.apply("2")
    world.run(120)
    (notice,) = _told(world, Reason.AWAITING_APPROVAL)
    assert notice.urgency is Urgency.CHAT
    assert "risk" in notice.message


def test_detail_42_a_pause_by_a_breach_waits_for_somebody() -> None:
    world = stepping(50, gates=[ERRORS | {"onBreach": "pause"}])
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    (notice,) = _told(world, Reason.GATE_BREACHED)
    assert notice.urgency is Urgency.CHAT
    assert not world.incidents
