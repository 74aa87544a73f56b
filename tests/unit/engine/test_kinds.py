"""Gates that are no ratio of events walk through the same rules: a drift, a value, a report."""

from __future__ import annotations

import json
from typing import Any

from modelrollout.api.enums import Reason, Verdict
from tests.support.world import DRIFT, REPORT, VALUE, Behaviour
from tests.unit.engine.test_rules import serving, stepping

_LONG = [{"weight": 10, "hold": "20m"}, {"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "1m"}]


def _report(auc: float, error: float = 0.002) -> str:
    return json.dumps({"metrics": {"auc": {"candidate": auc, "stderr": error}}})


def test_a_drift_that_is_shown_is_rolled_back() -> None:
    world = stepping(10, gates=[DRIFT], steps=_LONG)
    world.run(60)
    world.behaviour["2"] = Behaviour(slow=0.3)
    world.run_until(lambda: world.status.failed is not None, within=900)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.GATE_BREACHED
    assert "PSI" in world.status.failed.message


def test_without_drift_a_candidate_is_promoted() -> None:
    world = stepping(10, gates=[DRIFT], steps=_LONG)
    world.run(3600)
    assert world.stable == world.target


def test_a_value_beyond_its_limit_in_three_of_five_looks_is_rolled_back() -> None:
    world = stepping(10, gates=[VALUE], steps=_LONG)
    world.run(60)
    assert world.gate("failing").verdict is Verdict.NO_HARM_SEEN
    world.behaviour["2"] = Behaviour(errors=0.3)
    assert world.run_until(lambda: world.status.failed is not None) < 30
    assert world.status.failed is not None
    assert world.status.failed.message.startswith("failing: ")


def test_a_value_within_its_limit_is_promoted() -> None:
    world = stepping(10, gates=[VALUE], steps=_LONG)
    world.run(3600)
    assert world.stable == world.target


def _evaluated(**reports: Any) -> Any:
    world = serving(gates=[REPORT], steps=[{"weight": 10, "hold": "1m"}, {"weight": 100, "hold": "1m"}])
    world.reports = reports
    world.apply("2")
    return world


def test_a_report_that_shows_a_worse_model_is_a_rollback() -> None:
    world = _evaluated(auc=_report(0.8))
    world.run(120)
    assert world.status.failed is not None
    assert world.status.failed.reason is Reason.GATE_BREACHED


def test_a_report_that_is_not_there_yet_is_waited_for() -> None:
    world = _evaluated()
    world.run(600)
    assert world.weight == 10
    assert 'no report with "auc" yet' in world.gate("auc").message
    world.reports["auc"] = _report(0.95)
    world.run(600)
    assert world.stable == world.target


def test_a_report_that_cannot_be_read_names_the_place_and_holds() -> None:
    world = _evaluated(auc='{"metrics": {}}')
    world.run(300)
    assert world.status.failed is None
    assert world.weight == 0
    assert world.status.reason is Reason.GATE_MISCONFIGURED
    assert "auc" in world.status.message
    raised = len(world.done)
    world.run(3600)
    assert len(world.done) == raised, "it does not go up and back again"
