"""Windows: the arithmetic against a plain scan of minutes, and what a rollout does outside of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrollout.api.enums import Phase, Reason
from modelrollout.api.window import Day, Window
from modelrollout.engine.windows import closed, in_words, is_open, next_opening, unknown_zone
from tests.support.world import CTR, ERRORS, START, Behaviour, World, spec
from tests.unit.engine.test_rules import serving, stepping

_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca")
_CHANGES = (
    datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin, forward
    datetime(2026, 10, 25, 1, tzinfo=UTC),  # Berlin, back
    datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe, back by half an hour
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),  # Lord Howe, forward
    datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York, back
    datetime(2026, 2, 15, 2, tzinfo=UTC),  # Casablanca, for Ramadan
)


def _window(**fields: Any) -> Window:
    return Window.model_validate(fields)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _plainly_open(window: Window, at: datetime) -> bool:
    """The definition, word by word: the local time is within the hours of a day that is named."""
    local = at.astimezone(ZoneInfo(window.time_zone))
    begin, end = window.hours.split("-")
    now, week = f"{local:%H:%M}", list(Day)
    today, yesterday = week[local.weekday()] in window.days, week[local.weekday() - 1] in window.days
    if begin < end:
        return today and begin <= now < end
    return (today and now >= begin) or (yesterday and now < end)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


_hours = st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda pair: pair[0] != pair[1])
_windows = st.builds(
    lambda days, hours, zone: _window(days=days, hours=f"{_clock(hours[0])}-{_clock(hours[1])}", timeZone=zone),
    st.lists(st.sampled_from(list(Day)), min_size=1, max_size=7, unique=True),
    _hours,
    st.sampled_from(_ZONES),
)
_instants = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    st.sampled_from(_CHANGES),
    st.integers(-36 * 3600, 12 * 3600),
)


@settings(deadline=None)
@given(window=_windows, at=_instants)
def test_detail_40_open_is_what_the_clock_on_the_wall_says(window: Window, at: datetime) -> None:
    assert is_open(window, at) == _plainly_open(window, at)


@settings(max_examples=60, deadline=None)
@given(window=_windows, at=_instants)
def test_detail_40_the_next_opening_is_what_a_scan_of_minutes_finds(window: Window, at: datetime) -> None:
    found = next_opening(window, at)
    assert _plainly_open(window, found)
    if found == at:
        return
    assert found == found.replace(second=0, microsecond=0)
    minute = at.replace(second=0, microsecond=0)
    while minute < found:
        assert not _plainly_open(window, minute), f"open at {minute} already"
        minute += timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "at", "opens"),
    [
        # an hour that the clocks skip: it opens when they have
        ({"hours": "02:30-04:00"}, "2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"),
        # all of it skipped: on the next day
        ({"hours": "02:15-02:45"}, "2026-03-29T01:00+01:00", "2026-03-30T02:15+02:00"),
        # an hour that they repeat: twice
        ({"hours": "02:15-02:45"}, "2026-10-25T02:50+02:00", "2026-10-25T02:15+01:00"),
        # over midnight: it belongs to Friday, and to Saturday's morning
        ({"hours": "22:00-06:00", "days": ["Fri"]}, "2026-11-21T05:59+01:00", "2026-11-21T05:59+01:00"),
        ({"hours": "22:00-06:00", "days": ["Fri"]}, "2026-11-21T06:00+01:00", "2026-11-27T22:00+01:00"),
        ({"hours": "09:00-24:00", "days": ["Mon"]}, "2026-11-23T23:59+01:00", "2026-11-23T23:59+01:00"),
        ({"days": ["Sat", "Sun"]}, "2026-11-23T00:00+01:00", "2026-11-28T00:00+01:00"),
        # from before a change to after it
        ({"hours": "09:00-17:00", "days": ["Mon"]}, "2026-10-23T12:00+02:00", "2026-10-26T09:00+01:00"),
    ],
)
def test_detail_40_summer_time_and_midnight(fields: dict[str, Any], at: str, opens: str) -> None:
    window = _window(timeZone="Europe/Berlin", **fields)
    assert next_opening(window, _at(at)) == _at(opens)


def test_detail_40_a_window_reads_like_a_sentence() -> None:
    office = _window(days=["Fri", "Mon", "Tue", "Wed", "Thu"], hours="09:00-17:00", timeZone="Europe/Berlin")
    assert in_words(office) == "Mon–Fri 09:00–17:00 Europe/Berlin"
    assert closed(office, _at("2026-11-21T12:00Z")) == (
        "waits for the window Mon–Fri 09:00–17:00 Europe/Berlin, opens Mon 2026-11-23 09:00"
    )
    assert closed(office, _at("2026-11-23T08:00Z")) == ""
    assert in_words(_window(days=["Mon", "Tue", "Thu", "Sat", "Sun"])) == "Mon, Tue, Thu, Sat, Sun 00:00–24:00 UTC"
    assert in_words(_window(hours="22:00-06:00")) == "every day 22:00–06:00 UTC"
    assert closed(None, START) == ""


def test_detail_40_an_unknown_zone_is_named_with_near_ones() -> None:
    wrong = _window(timeZone="Europe/Berln")
    assert "did you mean Europe/Berlin" in unknown_zone(wrong)
    assert not is_open(wrong, START)
    assert unknown_zone(_window(timeZone="Europe"))  # a folder of the database


_OPEN = {"hours": "09:00-10:00"}
"""The world begins at nine."""
_SHUT_SOON = {"hours": "09:20-09:02"}
_REOPENS = datetime(2026, 11, 21, 9, 20, tzinfo=UTC)


def test_detail_40_outside_the_window_the_hold_counts_and_nothing_goes_up() -> None:
    world = stepping(10, advanceOnly=_SHUT_SOON)
    world.run_until(lambda: world.status.reason is Reason.OUTSIDE_WINDOW)
    assert "opens Sat 2026-11-21 09:20" in world.status.message
    assert "--override-freeze" in world.status.next
    world.run(300)
    assert world.weight == 10
    assert world.status.step is not None
    assert world.status.step.held_seconds >= 60
    assert world.ready(world.candidate) == 2, "pods of the next step are not kept waiting for days"
    world.run_until(lambda: world.weight == 50)
    assert timedelta() < world.clock - _REOPENS < timedelta(seconds=30), "it woke when it opened"
    assert world.reasons().count(Reason.OUTSIDE_WINDOW) == 1


def test_detail_40_a_hold_that_ends_outside_the_window_says_so_beforehand() -> None:
    world = stepping(10, advanceOnly=_SHUT_SOON, steps=[{"weight": 10, "hold": "10m"}])
    world.run(30)
    assert world.status.reason is Reason.HOLDING
    assert world.status.next.startswith("promotion if the gates hold; waits for the window every day 09:20–09:02 UTC")


def test_detail_40_a_candidate_starts_at_weight_0_outside_the_window() -> None:
    world = serving(advanceOnly={"hours": "08:00-08:30"})
    world.apply("2")
    world.run(600)
    assert world.status.reason is Reason.OUTSIDE_WINDOW
    assert world.weight == 0
    assert world.candidate in world.route.weights
    assert world.ready(world.candidate) == 2


def test_detail_40_the_promotion_waits_too_and_starts_no_pods() -> None:
    steps = [{"weight": 10, "hold": "1m"}]
    world = stepping(10, advanceOnly=_SHUT_SOON, steps=steps)
    world.run(600)
    assert world.status.reason is Reason.OUTSIDE_WINDOW
    assert (world.weight, world.ready(world.candidate)) == (10, 2)
    world.run_until(lambda: world.stable == world.target)


@pytest.mark.parametrize("word", ["breach", "abort", "stable again", "pods"])
def test_detail_40_everything_that_goes_down_goes_down_outside_the_window(word: str) -> None:
    world = stepping(10, advanceOnly=_SHUT_SOON)
    world.run(600)
    assert world.status.reason is Reason.OUTSIDE_WINDOW
    match word:
        case "breach":
            world.behaviour["2"] = Behaviour(errors=0.2)
        case "abort":
            world.say("abort")
        case "stable again":
            world.apply("1")
        case "pods":
            world.broken["2"] = "CrashLoopBackOff"
    world.run(120)
    assert world.route.weights == {world.stable: 100}


def test_detail_40_an_earlier_version_comes_back_outside_the_window() -> None:
    world = serving(advanceOnly={"hours": "09:00-09:10"})
    world.apply("2")
    world.run(500)
    assert world.status.stable is not None
    assert world.status.stable.version == "2"
    world.run(300)
    world.say("undo")
    world.run(120)
    assert world.status.stable.version == "1"


def test_detail_40_waiting_for_the_window_is_no_waiting_for_a_gate() -> None:
    """Else every gate's maxHold would be over by Monday, whatever it would say then."""
    world = stepping(10, advanceOnly=_SHUT_SOON, gates=[ERRORS | {"maxHold": "3m"}])
    world.run(960)
    assert world.status.step is not None
    assert world.status.step.extended_seconds < 60
    assert world.status.paused is None


def test_detail_40_an_unknown_zone_stops_a_release_before_it_starts() -> None:
    world = serving()
    world.apply("2", advanceOnly={"timeZone": "Europe/Berln"})
    world.run(60)
    assert world.status.phase is Phase.STALLED
    assert world.status.reason is Reason.INVALID_SPEC
    assert "did you mean Europe/Berlin" in world.status.message
    assert not world.candidate
    world.apply(advanceOnly=_OPEN)
    world.run(600)
    assert world.stable == world.target


def test_detail_40_an_unknown_zone_is_said_while_nothing_is_released() -> None:
    world = serving()
    world.apply(advanceOnly={"timeZone": "Europe/Berln"})
    world.run(5)
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert world.condition("Available")[0] == "True"


def test_detail_40_an_unknown_zone_in_mid_rollout_leaves_the_guards_in_place() -> None:
    world = stepping(10)
    world.apply(advanceOnly={"timeZone": "Europe/Berln"})
    world.run(300)
    assert (world.status.phase, world.weight) == (Phase.STALLED, 10)
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(120)
    assert world.route.weights == {world.stable: 100}


def test_detail_40_an_unknown_zone_stops_no_undo() -> None:
    world = serving(steps=[{"weight": 10, "hold": "30s"}])
    world.apply("2")
    world.run_until(lambda: world.stable == world.target)
    world.apply(advanceOnly={"timeZone": "Europe/Berln"})
    world.say("undo")
    world.run(60)
    assert world.status.stable is not None
    assert world.status.stable.version == "1"


def _frozen_for(seconds: float, **changes: Any) -> World:
    world = stepping(10, **changes)
    world.freeze("a fair", until=world.clock + timedelta(seconds=seconds))
    world.run(1)
    return world


def test_rule_11_a_freeze_ends_by_itself_and_wakes_the_rollout() -> None:
    world = _frozen_for(601.5, evaluation={"interval": "5m", "minBreachTime": "30s"}, gates=[])
    assert world.status.reason is Reason.FROZEN
    assert "until" in world.status.message
    assert world.last is not None
    assert world.last.requeue_after is not None
    world.run(590)
    assert world.weight == 10
    world.run(30)
    assert world.status.reason is not Reason.FROZEN, "it did not wait for the next look"


def test_rule_11_a_hold_does_not_count_while_frozen() -> None:
    world = _frozen_for(3600)
    before = world.status.step
    world.run(600)
    after = world.status.step
    assert before is not None
    assert after is not None
    assert after.held_seconds == before.held_seconds


def test_rule_11_one_event_says_that_a_freeze_holds_a_rollout() -> None:
    world = _frozen_for(3600)
    world.run(600)
    assert world.reasons().count(Reason.FROZEN) == 1


def test_detail_24_an_override_leads_one_step_past_the_freeze_and_is_on_record() -> None:
    world = _frozen_for(86400)
    uid = world.say("promote", override_freeze=True, comment="a hotfix")
    world.run(60)
    assert world.answers[uid].state == "Applied"
    assert "ann went on over a test, until 2026-11-22 09:0" in world.answers[uid].message
    assert world.weight == 50, "one step"
    world.run(3600)
    assert world.weight == 50
    assert world.status.reason is Reason.FROZEN
    assert [one.comment for one in world.status.overrides] == ["a hotfix"]
    assert any("a hotfix" in event.message for event in world.events if event.reason is Reason.DECISION_APPLIED)
    world.say("abort")
    world.run(60)
    assert "a hotfix" in world.status.history[0].overrides[0]


def test_detail_24_an_override_with_full_goes_all_the_way() -> None:
    world = _frozen_for(86400)
    world.say("promote", full=True, override_freeze=True, comment="a hotfix")
    world.run(120)
    assert world.stable == world.target
    assert "a hotfix" in world.status.history[0].overrides[0]


def test_detail_24_an_override_leads_past_a_closed_window() -> None:
    world = stepping(10, advanceOnly=_SHUT_SOON)
    world.run(600)
    world.say("promote", override_freeze=True, comment="agreed with ops")
    world.run(60)
    assert world.weight == 50
    assert "the closed window every day 09:20–09:02 UTC" in world.status.overrides[0].over


@pytest.mark.parametrize("after", range(6))
def test_detail_24_an_override_survives_a_crash_between_any_two_writes(after: int) -> None:
    world = _frozen_for(86400)
    world.crash_when = lambda decision: after if decision.status.weight == 50 else None
    world.say("promote", override_freeze=True, comment="a hotfix")
    world.run(120)
    assert world.weight == 50
    assert len(world.status.overrides) == 1


def test_detail_24_a_raise_that_was_refused_is_still_overridden() -> None:
    world = _frozen_for(86400)
    world.refuse_raises = 3
    world.say("promote", override_freeze=True, comment="a hotfix")
    world.run(120)
    assert world.weight == 50


def test_detail_24_a_pause_takes_the_override_back() -> None:
    world = _frozen_for(86400, workload=spec()["workload"] | {"replicas": 10})
    world.startup = 60.0
    world.say("promote", override_freeze=True, comment="a hotfix")
    world.run(5)
    world.say("pause")
    world.run(5)
    world.say("resume")
    world.run(600)
    assert world.weight == 10


_PAUSING = [CTR | {"onBreach": "pause"}, ERRORS]


def _paused_by_a_breach() -> World:
    world = stepping(10, gates=_PAUSING, steps=[{"weight": 10, "hold": "5m"}, {"weight": 50, "hold": "5m"}])
    world.behaviour["2"] = Behaviour(clicks=0.10)
    world.run_until(lambda: world.status.reason is Reason.GATE_BREACHED)
    return world


def test_detail_24_an_accepted_breach_neither_holds_nor_rolls_back() -> None:
    world = _paused_by_a_breach()
    uid = world.say("promote", full=True, accept_breached=("ctr",), comment="fewer clicks are wanted")
    world.run(120)
    assert "accepted ctr" in world.answers[uid].message
    assert world.stable == world.target
    assert world.status.history[0].overrides == ['ann accepted ctr ("fewer clicks are wanted")']


def test_detail_24_a_gate_may_be_accepted_before_it_rolls_back_again() -> None:
    world = stepping(10, gates=[CTR, ERRORS], steps=[{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}])
    world.behaviour["2"] = Behaviour(clicks=0.10)
    world.run_until(lambda: world.status.phase is Phase.ROLLED_BACK)
    world.say("retry")
    world.run_until(lambda: world.weight == 10)
    world.startup = 300.0
    world.say("promote", full=True, accept_breached=("ctr",), comment="as wanted")
    world.run(120)
    assert world.gate("ctr").verdict == "Breached"
    assert world.status.failed is None
    world.run(900)
    assert world.stable == world.target


def test_detail_24_other_breaches_and_a_catastrophe_still_act() -> None:
    for behaviour in (Behaviour(clicks=0.10, errors=0.06), Behaviour(errors=0.9)):
        world = _paused_by_a_breach()
        world.startup = 300.0
        world.say("promote", full=True, accept_breached=("ctr",), comment="as wanted")
        world.run(10)
        world.behaviour["2"] = behaviour
        world.run(300)
        assert world.status.failed is not None
        assert "errors" in world.status.failed.message
    accepted = _paused_by_a_breach()
    accepted.startup = 300.0
    accepted.say("promote", full=True, accept_breached=("ctr", "errors"), comment="as wanted")
    accepted.run(10)
    accepted.behaviour["2"] = Behaviour(errors=0.9)
    accepted.run(60)
    assert accepted.status.failed is not None
    assert accepted.status.failed.reason is Reason.CATASTROPHE


def test_detail_24_a_new_candidate_begins_without_the_old_ones_overrides() -> None:
    world = _paused_by_a_breach()
    world.startup = 300.0
    world.say("promote", full=True, accept_breached=("ctr",), comment="as wanted")
    world.run(5)
    assert world.status.accepted == {"ctr"}
    world.apply("3")
    world.run(60)
    assert not world.status.accepted
