"""One pod is not the model: a candidate of which a single pod is broken, on a real cluster."""

from __future__ import annotations

from pathlib import Path

from localcluster import LocalCluster
from tests.support.operator import Operator
from tests.support.scene import Scene, changed


def test_one_bad_pod_is_replaced_and_the_model_is_promoted(
    cluster: LocalCluster, operator: Operator, namespace: str, tmp_path: Path
) -> None:
    scene = Scene(cluster, namespace)
    rare = {"catastrophe": {"errorsAbove": "90%"}}  # of twenty requests a quarter fails by chance now and then
    change = changed(steps=[{"weight": 50, "hold": "25s"}], evaluation=rare)
    scene.serve_first(change=change)
    with scene.users(40):
        scene.apply("2", change=change, ERRORS="0.15", ONE_BAD=str(tmp_path / "taken"))
        status = scene.until(lambda s: s.get("replacedPod"), "the pod that is replaced", timeout=60)
        pod = status["replacedPod"]
        assert status["weight"] == 50, "the weight stays"
        scene.reach("Stable", version="2", timeout=90)
    told = [message for reason, message in scene.events() if reason == "OnePodBad"]
    assert len(told) == 1
    assert told[0].startswith(f"{pod} alone is bad")
    pods = cluster.kubectl("get", "pods", "-n", namespace, "-o", "name").stdout
    assert pod not in pods
