"""The running operator, asked as Prometheus and kubelet ask it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene, changed

if TYPE_CHECKING:
    from tests.support.operator import Operator


def test_detail_29_the_metrics_are_those_of_status_and_a_stopped_operator_fails_its_probe(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    scene = Scene(cluster, namespace)
    change = changed(steps=[{"weight": 20, "hold": "1h"}])
    scene.serve_first(change=change)
    ours = {"namespace": namespace, "rollout": scene.name}
    with scene.users(40):
        scene.apply("2", change=change)
        scene.at_weight(20)
        status = scene.until(lambda s: any(gate["samples"] > 10 for gate in s.get("gates", [])), "samples")
        scraped = operator.scrape()
        assert scraped.value("modelrollout_rollout_weight_asked_ratio", **ours) == 0.2
        assert scraped.value("modelrollout_rollout_weight_observed_ratio", **ours) == 0.2
        assert scraped.value("modelrollout_rollout_step", **ours) == 1
        versions = {"stable_version": "1", "candidate_version": "2"}
        assert scraped.value("modelrollout_rollout_info", **ours, **versions) == 1
        assert scraped.value("modelrollout_rollout_phase_info", phase=status["phase"], **ours) == 1
        for gate in status["gates"]:
            samples = scraped.value("modelrollout_gate_samples", arm="candidate", gate=gate["name"], **ours)
            assert samples >= gate["samples"], "live numbers are never behind those that were written"
        assert scraped.value("modelrollout_api_requests_total", resource="modelrollouts/status", code="200") > 0
        assert scraped.value("modelrollout_prometheus_requests_total", outcome="ok") > 0
        assert scraped.value("modelrollout_reflector_synced", resource="pods") == 1
        assert operator.probe("/healthz") == operator.probe("/readyz") == 200
        os.kill(operator.pid, signal.SIGSTOP)
        try:
            assert operator.probe("/healthz", timeout=1.0) == 0, "a loop that does not run does not answer"
        finally:
            os.kill(operator.pid, signal.SIGCONT)
        assert operator.probe("/healthz", timeout=20.0) == 200
        cluster.pause_apiserver()
        try:
            assert operator.probe("/healthz") == 200, "an API server that is away is no reason for a restart"
        finally:
            cluster.resume_apiserver()
    scene.kubectl("delete", "modelrollout", scene.name)
    eventually(lambda: not operator.scrape().of(**ours), "its series to be gone", timeout=30)
    assert f"{namespace}/{scene.name} is Progressing" in operator.log()
