"""Before the first traffic: what is looked at, what holds, what is only told, and what a person may overrule."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.api.enums import CheckState, Reason
from modelrollout.api.status import PreflightCheck
from tests.support.world import CTR, ERRORS, LATENCY, REPORT, Behaviour, World
from tests.unit.engine.test_rules import serving

_ABSOLUTE = ERRORS | {"atMost": "2%"}


def _check(world: World, name: str) -> PreflightCheck:
    return next(one for one in world.status.preflight if one.check == name)


def _told(world: World) -> int:
    return world.reasons().count(Reason.PREFLIGHT_FAILED)


def test_detail_37_what_is_known_before_the_first_traffic_is_in_status() -> None:
    world = serving(gates=[ERRORS, LATENCY])
    world.unscraped = set()
    world.apply("2")
    world.run_until(lambda: world.weight == 10)
    found = {one.check: one.state for one in world.status.preflight}
    assert found == dict.fromkeys(
        ["capacity", "artifact", "route", "scraped", "gate errors", "gate p95", "noise"], CheckState.OK
    )
    assert _told(world) == 0


@pytest.mark.parametrize("gate", [ERRORS, _ABSOLUTE], ids=["relative", "absolute"])
def test_detail_37_a_metric_that_nobody_exports_holds_the_first_traffic(gate: dict[str, Any]) -> None:
    world = serving(gates=[gate])
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run(600)
    assert world.weight == 0
    assert world.status.reason is Reason.PREFLIGHT_FAILED
    assert "Prometheus knows no such metric" in world.status.message
    assert "promote" in world.status.next
    assert _check(world, "gate errors").state is CheckState.FAILED
    assert _told(world) == 1
    world.missing_metrics = set()
    world.run(600)
    assert world.stable == world.target


def test_detail_37_a_series_that_comes_with_the_first_scrape_calls_nobody() -> None:
    world = serving(gates=[_ABSOLUTE])
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run_until(lambda: world.status.reason is Reason.PREFLIGHT)
    assert _check(world, "gate errors").state is CheckState.WAITING
    world.missing_metrics = set()
    world.run_until(lambda: world.weight == 10, within=30)
    assert _told(world) == 0


def test_detail_37_a_gate_that_is_not_required_fails_no_preflight() -> None:
    world = serving(gates=[ERRORS, LATENCY | {"required": False}])
    world.missing_metrics = {"p95"}
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    assert _check(world, "gate p95").state is CheckState.UNKNOWN


def test_detail_37_a_baseline_without_series_is_waited_for_where_the_gate_is_relative() -> None:
    world = serving(gates=[ERRORS])
    world.unmeasured = {"1"}
    world.apply("2")
    world.run(10)
    assert world.weight == 0
    assert world.status.reason is Reason.PREFLIGHT
    assert _check(world, "gate errors").state is CheckState.WAITING


def test_detail_37_a_baseline_without_series_is_told_where_the_limit_is_absolute() -> None:
    world = serving(gates=[_ABSOLUTE, REPORT])
    world.unmeasured = {"1"}
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    assert _check(world, "gate errors").state in (CheckState.OK, CheckState.UNKNOWN)


def test_detail_37_pods_that_nobody_scrapes_get_no_traffic() -> None:
    world = serving()
    world.unscraped = {"2"}
    world.apply("2")
    world.run_until(lambda: world.status.reason is Reason.PREFLIGHT, within=60)
    assert "first scrape of the candidate's pods is waited for" in world.status.message, "no advice yet: it is early"
    world.run(300)
    assert world.weight == 0
    assert world.status.reason is Reason.PREFLIGHT_FAILED
    assert "0 of 2 ready pods of the candidate are scraped" in world.status.message
    assert "PodMonitor" in world.status.message
    assert _told(world) == 1
    world.unscraped = set()
    world.run(60)
    assert world.weight == 10


def test_detail_37_where_nobody_can_tell_who_is_scraped_nothing_is_held() -> None:
    world = serving()
    world.unscraped = {"1", "2"}
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    assert _check(world, "scraped").state is CheckState.UNKNOWN


def test_detail_37_scraping_holds_nothing_that_no_required_gate_reads() -> None:
    world = serving(gates=[ERRORS | {"required": False}])
    world.unscraped = {"2"}
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    assert _check(world, "scraped").state is CheckState.UNKNOWN


def test_detail_37_a_person_s_promote_begins_the_first_step_all_the_same() -> None:
    world = serving()
    world.unscraped = {"2"}
    world.apply("2")
    world.run(120)
    uid = world.say("promote")
    world.run(30)
    assert world.answers[uid].state == "Applied"
    assert "although" in world.answers[uid].message
    assert "scraped" in world.answers[uid].message
    assert world.weight == 10
    assert world.status.step is not None
    assert world.status.step.number == 1
    world.run(10)
    assert world.weight == 10, "the first step is begun, not skipped"


def test_detail_37_an_overruled_preflight_survives_a_crash() -> None:
    for effects in range(6):
        world = serving()
        world.unscraped = {"2"}
        world.apply("2")
        world.run(120)
        world.say("promote")
        world.crashes = [effects]
        world.run(30)
        assert world.weight == 10


def test_detail_37_after_a_retreat_the_preflight_is_asked_again() -> None:
    """Otherwise a candidate that a person sent on in spite of a missing metric would swing to and fro."""
    world = serving(gates=[_ABSOLUTE])
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run(120)
    world.say("promote")
    world.run_until(lambda: world.weight == 10, within=60)
    world.run_until(lambda: world.weight == 0, within=600)
    assert not world.status.preflight_overruled
    world.run(1800)
    assert world.weight == 0
    assert world.status.failed is None


def test_detail_37_what_is_no_matter_of_opinion_cannot_be_overruled() -> None:
    world = serving()
    world.hanging = {"2"}
    world.apply("2")
    world.run(60)
    uid = world.say("promote")
    world.run(30)
    assert world.answers[uid].state == "Refused"
    assert world.weight == 0
    assert _check(world, "capacity").state is CheckState.WAITING
    assert _check(world, "artifact").state is CheckState.WAITING


def test_detail_37_a_frozen_rollout_says_so_and_not_its_preflight() -> None:
    world = serving()
    world.unscraped = {"2"}
    world.apply("2")
    world.run(60)
    world.freeze("a holiday")
    world.run(30)
    assert world.status.reason is Reason.FROZEN


def test_detail_37_a_short_past_is_told_and_holds_nothing() -> None:
    world = serving(gates=[ERRORS, CTR])
    world.past_intervals = 12
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    noise = _check(world, "noise")
    assert noise.state is CheckState.UNKNOWN
    assert noise.message.startswith("errors, ctr: 12 of 60 intervals of history")


def test_detail_37_a_new_candidate_is_looked_at_anew() -> None:
    world = serving()
    world.unscraped = {"2"}
    world.apply("2")
    world.run(120)
    world.say("promote")
    world.run(5)
    world.unscraped = {"3"}
    world.apply("3")
    world.run(120)
    assert world.weight == 0
    assert not world.status.preflight_overruled
    assert _told(world) == 2


@pytest.mark.parametrize("gates", [[], [LATENCY]], ids=["none", "another"])
def test_detail_37_a_gate_that_is_taken_out_holds_nothing_any_more(gates: list[dict[str, Any]]) -> None:
    world = serving()
    world.missing_metrics = {"errors"}
    world.apply("2")
    world.run(120)
    assert world.status.reason is Reason.PREFLIGHT_FAILED
    world.apply(gates=gates)
    world.run_until(lambda: world.weight == 10, within=60)


def test_detail_37_a_rollout_without_gates_waits_for_pods_and_route_alone() -> None:
    world = serving(gates=[])
    world.apply("2")
    world.run_until(lambda: world.weight == 10, within=60)
    assert [one.check for one in world.status.preflight] == ["capacity", "artifact", "route"]


def test_detail_37_the_first_revision_and_a_way_back_have_no_preflight() -> None:
    world = serving()
    assert world.status.preflight == []
    world.behaviour["1"] = Behaviour()
    world.apply("2")
    world.run(600)
    world.unscraped = {"1"}
    world.apply("1")
    world.run_until(lambda: world.stable == world.target, within=60)
