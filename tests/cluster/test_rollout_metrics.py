"""When the metrics are away, wrong or named badly: held and said, never taken for a bad model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.scene import Scene, changed, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]


@pytest.fixture
def prometheus_back(cluster: LocalCluster) -> Iterator[None]:
    """Prometheus runs again afterwards, whatever happened."""
    yield
    cluster.start_prometheus()


def test_an_outage_is_held_through(
    cluster: LocalCluster, operator: Operator, namespace: str, prometheus_back: None
) -> None:
    scene = Scene(cluster, namespace)
    steps = [{"weight": 20, "hold": "1s"}, {"weight": 50, "hold": "6s"}]
    change = changed(evaluation={"blindTimeout": "3s"}, steps=steps)
    scene.serve_first(change=change)
    with scene.users(40) as users:
        scene.apply("2", change=change)
        scene.at_weight(50)
        cluster.stop_prometheus()
        status = scene.until(lambda s: s.get("blind"), "the outage to be seen")
        assert status["blind"]["reason"] == "MetricsUnavailable"
        status = scene.until(lambda s: s["blind"]["alerted"], "the alert after blindTimeout")
        assert status["phase"] == "Progressing"
        assert status["reason"] == "MetricsUnavailable"
        assert status["weight"] == 50
        assert "does not answer: connection refused" in status["message"]
        assert scene.condition("MetricsAvailable")["status"] == "False"
        assert scene.condition("GatesPassing")["status"] != "False", "never reported as a bad model"
        warned = [message for reason, message in scene.events() if reason == "MetricsUnavailable"]
        assert len(warned) == 2, "said once when it began and once after blindTimeout"
        cluster.start_prometheus()
        scene.reach("Stable", version="2")
    assert users.lost == 0
    assert any(reason == "MetricsBack" for reason, _ in scene.events())
    assert scene.condition("MetricsAvailable")["status"] == "True"


def test_detail_17_an_outage_before_any_step_was_judged_takes_the_traffic_back(
    cluster: LocalCluster, operator: Operator, namespace: str, prometheus_back: None
) -> None:
    scene = Scene(cluster, namespace)
    change = changed(evaluation={"blindTimeout": "3s"})
    scene.serve_first(change=change)
    with scene.users(40) as users:
        scene.apply("2", change=change)
        scene.at_weight(20)
        cluster.stop_prometheus()
        status = scene.at_weight(0)
        assert status["blind"]["reason"] == "MetricsUnavailable"
        assert status["phase"] != "RolledBack"
        cluster.start_prometheus()
        scene.reach("Stable", version="2")
    assert users.lost == 0


def test_a_restart_during_an_outage_raises_nothing(
    cluster: LocalCluster, operator: Operator, namespace: str, prometheus_back: None
) -> None:
    scene = Scene(cluster, namespace)
    change = changed(steps=[{"weight": 20, "hold": "1s"}, {"weight": 50, "hold": "1h"}])
    scene.serve_first(change=change)
    with scene.users(40) as users:
        scene.apply("2", change=change)
        scene.at_weight(20)
        cluster.stop_prometheus()
        operator.kill()
        operator.start()
        scene.until(lambda s: s.get("blind"), "the outage to be seen")
        assert scene.status["weight"] == 20
        cluster.start_prometheus()
        scene.at_weight(50)
    assert users.lost == 0


_SLIPS: dict[str, tuple[Body, str, tuple[str, ...]]] = {
    "name": (
        manifests.ERRORS | {"ratio": {"bad": 'ranker_request_total{code=~"5.."}', "total": "ranker_request_total"}},
        "GateMisconfigured",
        ("knows no metric ranker_request_total", "ranker_requests_total"),
    ),
    "gauge": (
        manifests.ERRORS | {"ratio": {"bad": "ranker_temperature", "total": "ranker_temperature"}},
        "GateMisconfigured",
        ("ranker_temperature is a gauge", "name a counter"),
    ),
    "histogram": (
        manifests.P95 | {"latency": {"histogram": "ranker_requests_total", "quantile": "0.95"}},
        "GateMisconfigured",
        ("ranker_requests_total is a counter", "needs a histogram"),
    ),
    "label": (
        manifests.ERRORS | {"ratio": {"bad": 'ranker_requests_total{status=~"5.."}', "total": "ranker_requests_total"}},
        "GateMisconfigured",
        ("has a label status", "code"),
    ),
    "identity": (
        manifests.ERRORS | {"identity": {"by": "label", "label": "nobody"}},
        "GateMisconfigured",
        ('nobody="', "relabel"),
    ),
}


def test_slips_of_the_pen_are_named(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Five gates that cannot be judged, each with the remedy in status; none promotes and none rolls back."""

    def slip(kind: str) -> None:
        gate, reason, words = _SLIPS[kind]
        scene = Scene(cluster, namespace, kind)
        change = changed(gates=[gate], steps=[{"weight": 50, "hold": "1s"}])
        scene.serve_first(change=change)
        with scene.users(15):
            scene.apply("2", change=change)
            status = scene.until(
                lambda s: all(word in (s.get("blind") or {}).get("message", "") for word in words),
                f"{kind}: to be seen, with {words}",
            )
            assert status["blind"]["reason"] == reason, status["blind"]
            assert status["candidate"]["version"] == "2"
            assert scene.condition("MetricsAvailable")["reason"] == reason
            assert "GATES" in scene.kubectl("get", "mro", kind)
            eventually(lambda: "Blind" in scene.kubectl("get", "mro", kind), f"{kind}: Blind in the column GATES")

    together(*(lambda k=kind: slip(k) for kind in _SLIPS))
    said = [line for line in operator.log().splitlines() if "Traceback" in line]
    assert not said


def test_other_ways_to_tell_the_revisions_apart(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """By a label that whoever counts sets, and by the presets of what the gateway counts per Service."""
    by_label = manifests.ERRORS | {"identity": {"by": "label", "label": "model_revision"}}
    by_service = [
        {"name": "errors", "preset": "envoy/errors", "atMost": "baseline + 1pp", "minSamples": 20},
        {"name": "p95", "preset": "envoy/latency", "atMost": "200ms", "minSamples": 20},
    ]

    def release(name: str, gates: list[Body], bad: dict[str, str], gate: str) -> None:
        scene = Scene(cluster, namespace, name)
        change = changed(gates=gates, steps=[{"weight": 50, "hold": "3s"}])
        longer = changed(gates=gates, steps=[{"weight": 50, "hold": "20s"}])
        scene.serve_first(change=change)
        with scene.users(40):
            scene.apply("2", change=change)
            scene.reach("Stable", version="2")
            scene.apply("3", change=longer, **bad)
            status = scene.reach("RolledBack", version="2")
        assert status["failed"]["message"].startswith(f"{gate}: "), status["failed"]

    together(
        lambda: release("label", [by_label], {"ERRORS": "0.2"}, "errors"),
        lambda: release("service", by_service, {"DELAY_MS": "400"}, "p95"),
    )


def test_a_gate_that_is_corrected_goes_on(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """After an edit of the gate alone the rollout goes on from where it is; nothing is restarted."""
    scene = Scene(cluster, namespace)
    wrong = changed(gates=[_SLIPS["gauge"][0]])
    scene.serve_first(change=wrong)
    with scene.users(40):
        scene.apply("2", change=wrong)
        scene.until(lambda s: s.get("blind"), "the misconfigured gate to be seen")
        pods = {one["metadata"]["uid"] for one in scene.every("pods")}
        scene.apply("2")
        scene.reach("Stable", version="2")
    assert pods <= {one["metadata"]["uid"] for one in scene.every("pods")}
    eventually(lambda: any(reason == "MetricsBack" for reason, _ in scene.events()), "the end to be told")
