"""manifests/monitoring: every alert fires and stays silent as it should, is in the runbook, and names only metrics that
exist; so does the dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrollout.api.enums import Phase, Reason, Urgency
from modelrollout.telemetry import meters
from modelrollout.telemetry.page import exported
from tests.support.promtool import promtool

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "manifests" / "monitoring"
TESTS = sorted((ROOT / "tests" / "monitoring").glob("*.yaml"))
RULES: dict[str, Any] = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
OF_THE_CLIENT = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def _queries() -> Iterator[str]:
    """Every query of the dashboard, as Grafana would send it."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "5m")


def _names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:modelrollout|process|python)_\w+", query))


def test_detail_42_every_alert_fires_and_stays_silent_as_it_should() -> None:
    promtool("check", "rules", "--lint-fatal", MONITORING / "rules.yaml")
    promtool("test", "rules", *TESTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_is_tested_and_has_a_section_in_the_runbook(alert: dict[str, Any]) -> None:
    name, severity = alert["alert"], alert["labels"]["severity"]
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
    told = {
        test["name"]: json.dumps(test["promql_expr_test"]) for test in tests if test["name"].startswith(f"{name}: ")
    }
    fires = [expected for title, expected in told.items() if title.startswith(f"{name}: fires")]
    silent = [expected for title, expected in told.items() if title.startswith(f"{name}: silent")]
    assert fires
    assert silent
    assert all(f'alertname=\\"{name}\\",severity=\\"{severity}\\"' in expected for expected in fires)
    assert not any(name in expected for expected in silent)
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    urgent, later = page.split("\n## Ticket\n")
    assert f"### {name}\n" in (urgent if severity == "page" else later)
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert alert["annotations"]["command"].startswith("kubectl ")


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (\w+)", page, re.M)) == {alert["alert"] for alert in ALERTS}


def test_detail_42_who_is_woken_and_what_is_a_ticket() -> None:
    pages = {alert["alert"] for alert in ALERTS if alert["labels"]["severity"] == "page"}
    assert {"ModelRolloutRollbackNotEffective", "ModelRolloutSharedDegradation", "ModelRolloutNoLeader"} <= pages
    assert {"ModelRolloutBlind", "ModelRolloutStableMissing"} <= pages
    assert not {"ModelRolloutRolledBack", "ModelRolloutFailedToStart"} & pages
    assert {alert["labels"]["severity"] for alert in ALERTS} == {"page", "ticket"}


def test_rules_and_dashboard_name_only_metrics_that_exist() -> None:
    used = [_names(alert["expr"]) for alert in ALERTS] + [_names(query) for query in _queries()]
    assert not set().union(*used) - exported() - OF_THE_CLIENT


def test_rules_name_only_phases_reasons_and_results_that_exist() -> None:
    text = "\n".join(alert["expr"] for alert in ALERTS)
    assert set(re.findall(r'reason="(\w+)"', text)) <= set(Reason)
    assert set(re.findall(r'urgency="(\w+)"', text)) <= set(Urgency)
    (under_way,) = re.findall(r'phase=~"([\w|]+)"', text)
    at_rest = {Phase.PENDING, Phase.ROLLED_BACK, Phase.STABLE, Phase.STALLED}
    assert set(under_way.split("|")) == set(Phase) - at_rest, "a phase in which a candidate may have users"


def test_the_first_fault_and_the_first_message_that_is_lost_are_seen() -> None:
    """A counter that begins with 1 has no increase; so these begin with 0."""
    samples = {
        (one.name, *sorted(one.labels.values())) for family in meters.REGISTRY.collect() for one in family.samples
    }
    assert ("modelrollout_looks_total", "error") in samples
    assert ("modelrollout_prometheus_requests_total", "default", "down") in samples
    for urgency in Urgency:
        assert ("modelrollout_notifications_total", *sorted((str(urgency), "dead"))) in samples


def test_the_prometheus_rule_has_the_same_rules() -> None:
    """Stale: run `make docs`."""
    manifest = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text(encoding="utf-8"))
    assert manifest["kind"] == "PrometheusRule"
    assert manifest["spec"] == RULES, "run `make docs`"


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = list(_queries())
    assert len(queries) > 40
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", file)


def test_panels_do_not_overlap_and_know_their_source() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_pod_monitor_finds_the_port_of_the_deployment() -> None:
    monitor = yaml.safe_load((MONITORING / "operator-podmonitor.yaml").read_text(encoding="utf-8"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    manifests = (ROOT / "manifests" / "base" / "deployment.yaml").read_text(encoding="utf-8")
    deployment = next(one for one in yaml.safe_load_all(manifests) if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--metrics=0.0.0.0:{ports[endpoint['port']]}" in container["args"]
    assert f"--health=0.0.0.0:{ports['health']}" in container["args"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert endpoint["honorLabels"] is True
