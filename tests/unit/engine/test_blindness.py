"""Everything that a rollout does while it cannot see, branch by branch; what is seen through Prometheus itself is in
tests/cluster/test_sources.py."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Phase, Reason, Verdict
from tests.support.world import ERRORS, VALUE, Behaviour, World, spec
from tests.unit.engine.test_rules import stepping

_HOUR = [{"weight": 10, "hold": "1h"}, {"weight": 100, "hold": "1m"}]
_SECOND = [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1h"}]


def evaluation(**changes: Any) -> dict[str, Any]:
    """The evaluation of the usual spec, with changes."""
    return dict(spec()["evaluation"]) | changes


def _source_down(world: World) -> None:
    world.metrics_down = True


def _source_refused(world: World) -> None:
    world.source_refused = "evaluation.source: there is no source x for namespace recs; write one of: a"


def _metric_missing(world: World) -> None:
    world.missing_metrics = {"errors"}


def _candidate_unmeasured(world: World) -> None:
    world.unmeasured = {"2"}


_KINDS = {
    "the source is down": (_source_down, Reason.METRICS_UNAVAILABLE),
    "there is no such source": (_source_refused, Reason.GATE_MISCONFIGURED),
    "this metric is missing": (_metric_missing, Reason.GATE_MISCONFIGURED),
    "the candidate is not measured": (_candidate_unmeasured, Reason.CANDIDATE_NOT_MEASURED),
}


def _see_again(world: World) -> None:
    world.metrics_down, world.source_refused = False, ""
    world.missing_metrics, world.unmeasured = set(), set()


@pytest.mark.parametrize("kind", list(_KINDS))
def test_detail_17_every_kind_of_blindness_is_held_told_twice_and_never_a_bad_model(kind: str) -> None:
    begin, reason = _KINDS[kind]
    world = stepping(50, steps=_SECOND)
    world.run(40)
    before = len(world.events)
    begin(world)
    world.run(600)
    assert world.weight == 50
    assert world.status.failed is None
    assert world.status.phase is Phase.PROGRESSING
    assert world.condition("MetricsAvailable") == ("False", str(reason))
    assert world.condition("GatesPassing")[0] != "False"
    told = [event for event in world.events[before:] if event.reason is reason]
    assert [event.message.startswith("still no metrics after blindTimeout") for event in told] == [False, True]
    _see_again(world)
    world.run(30)
    assert world.status.blind is None
    assert world.events[-1].reason is Reason.METRICS_BACK
    assert world.gate().verdict is not Verdict.BLIND


@pytest.mark.parametrize("kind", list(_KINDS))
@pytest.mark.parametrize("on_blind", ["hold", "retreat"])
def test_detail_17_who_finished_no_step_retreats_from_every_kind_and_comes_back(kind: str, on_blind: str) -> None:
    begin, reason = _KINDS[kind]
    world = stepping(10, steps=_HOUR, evaluation=evaluation(onBlind=on_blind))
    world.run(40)
    begin(world)
    took = world.run_until(lambda: world.weight == 0, within=400)
    assert 110 < took < 200, "after blindTimeout, and the stagger; a missing series is first taken for an early one"
    assert world.status.failed is None
    assert world.status.blind is not None
    assert world.status.blind.reason is reason
    world.run(600)
    assert world.weight == 0
    _see_again(world)
    world.run_until(lambda: world.weight == 10, within=120)


def test_detail_17_what_happened_during_an_outage_is_found_when_it_ends() -> None:
    world = stepping(50, steps=_SECOND)
    world.run(60)
    world.metrics_down = True
    world.run(5)
    world.behaviour["2"] = Behaviour(errors=0.3)
    world.run(60)
    assert world.status.failed is None, "nobody knows yet"
    assert world.weight == 50
    world.metrics_down = False
    assert world.run_until(lambda: world.weight == 0, within=60) <= 7, "in the first look that sees"
    assert world.status.failed is not None
    assert world.status.failed.reason in (Reason.GATE_BREACHED, Reason.CATASTROPHE)


def test_detail_17_damage_that_is_over_when_an_outage_ends_counts_too() -> None:
    world = stepping(50, steps=_SECOND)
    world.run(60)
    samples = world.gate().samples
    world.metrics_down = True
    world.run(60)
    assert world.gate().samples == samples
    world.metrics_down = False
    world.run(7)
    per_second = 500.0 * 0.5
    assert world.gate().samples > samples + 0.8 * 60 * min(per_second, samples / 60), "the minute is read afterwards"


def test_detail_17_an_outage_during_which_nothing_happened_rolls_nothing_back() -> None:
    world = stepping(10)
    for _ in range(5):
        world.metrics_down = True
        world.run(60)
        world.metrics_down = False
        world.run(30)
    world.run_until(lambda: world.stable == world.target)
    assert world.status.failed is None
    assert not [event for event in world.events if event.reason is Reason.ROLLED_BACK]


def test_detail_17_no_room_for_pods_is_no_harm() -> None:
    """Pods that wait for room are no reason to move traffic while nothing is seen."""
    world = stepping(50, steps=_SECOND)
    world.run(40)
    world.metrics_down = True
    world._replace_pod(world.deployments[world.candidate])
    world.no_room_since = world.clock
    world.run(300)
    assert world.ready(world.candidate) < 2
    assert world.weight == 50


def test_detail_17_a_gate_that_is_not_required_blinds_nobody() -> None:
    gates = [ERRORS, VALUE | {"required": False}]
    world = stepping(10, gates=gates)
    world.missing_metrics = {"failing"}
    world.run_until(lambda: world.stable == world.target)
    assert world.status.blind is None
    assert not [event for event in world.events if event.reason is Reason.GATE_MISCONFIGURED]


def test_detail_17_in_observe_mode_nothing_retreats() -> None:
    world = stepping(10, steps=_HOUR, mode="observe", evaluation=evaluation(onBlind="retreat"))
    world.metrics_down = True
    world.run(600)
    assert world.weight > 0
    assert world.status.blind is not None


@pytest.mark.parametrize("kind", list(_KINDS))
def test_detail_17_people_and_pods_act_while_nothing_is_seen(kind: str) -> None:
    for how in ("abort", "pods"):
        world = stepping(50, steps=_SECOND)
        world.run(40)
        _KINDS[kind][0](world)
        world.run(30)
        if how == "abort":
            world.say("abort")
        else:
            world.broken["2"] = "CrashLoopBackOff"
            world.touch()
        world.run(30)
        assert world.weight == 0, how
        assert world.status.failed is not None


def test_detail_17_blind_of_another_kind_meanwhile_is_one_blindness() -> None:
    """The source returns and the metric is gone: who waits since the first minute is not told from the beginning."""
    world = stepping(50, steps=_SECOND)
    world.run(40)
    world.metrics_down = True
    world.run(60)
    since = world.status.blind
    world.missing_metrics, world.metrics_down = {"errors"}, False
    world.run(30)
    assert since is not None and world.status.blind is not None
    assert world.status.blind.since == since.since
    assert world.status.blind.reason is Reason.GATE_MISCONFIGURED


def test_detail_15_a_split_that_stays_wrong_in_the_first_step_takes_the_traffic_back() -> None:
    world = stepping(10, steps=_HOUR)
    world.run(20)
    world.bypass = 0.5
    world.run_until(lambda: world.status.blind is not None, within=400)
    assert world.status.blind is not None
    assert world.status.blind.reason is Reason.SPLIT_MISMATCH
    told = len(world.events)
    took = world.run_until(lambda: world.weight == 0, within=400)
    assert took < 200
    assert world.status.failed is None, "nobody says that the model is bad"
    assert len(world.events) - told <= 3, "it is one blindness, not one for each look"
    assert world.status.paused is not None and world.status.paused.reason is Reason.SPLIT_MISMATCH
    world.run(1800)
    assert world.weight == 0, "nothing at weight 0 shows that callers keep to the route again"
    world.bypass = 0.0
    world.say(Verb.RESUME)
    world.run_until(lambda: world.weight == 10, within=120)


def test_detail_15_a_split_that_is_wrong_for_less_than_blind_timeout_blinds_nobody() -> None:
    world = stepping(50, steps=_SECOND)
    world.run(20)
    world.bypass = 0.5
    world.run(60)
    assert world.status.reason is Reason.SPLIT_MISMATCH
    world.bypass = 0.0
    world.run(20)
    assert world.status.blind is None
    world.run_until(lambda: world.status.split_off_since is None)
    assert world.weight == 50
