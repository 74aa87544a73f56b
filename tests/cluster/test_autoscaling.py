"""Autoscalers on a real cluster, whose own controller runs without metrics: it keeps the bounds and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene, api, changed, let_pass

if TYPE_CHECKING:
    from tests.support.operator import Operator

pytestmark = pytest.mark.usefixtures("operator")

AUTOSCALED = changed(workload={"autoscaling": {"min": 2, "max": 5, "cpu": 70}})


def _autoscaler(scene: Scene, version: str) -> dict[str, Any]:
    path = f"/apis/autoscaling/v2/namespaces/{scene.namespace}/horizontalpodautoscalers"
    name = f"{scene.name}-{scene.revision(version)}"
    return dict(api(scene.cluster).get(f"{path}/{name}"))


def test_detail_10_bounds_follow_the_rollout_and_replicas_is_the_autoscalers(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    scene = Scene(cluster, namespace)
    scene.serve_first(change=AUTOSCALED)
    first = _autoscaler(scene, "1")
    assert (first["spec"]["minReplicas"], first["spec"]["maxReplicas"]) == (2, 5)
    assert first["metadata"]["ownerReferences"][0]["uid"] == scene.deployment("1")["metadata"]["uid"]
    applied = [one for one in scene.deployment("1")["metadata"]["managedFields"] if one["operation"] == "Apply"]
    assert applied
    assert all("f:replicas" not in one["fieldsV1"]["f:spec"] for one in applied), "it is not ours to apply"

    scene.kubectl("scale", "deployment", f"ranker-{scene.revision('1')}", "--replicas=3")  # as the load would
    eventually(lambda: scene.deployment("1")["status"].get("readyReplicas") == 3, "the third pod")
    let_pass(1.5)
    assert scene.deployment("1")["spec"]["replicas"] == 3
    with scene.users(40) as users:
        scene.apply("2", change=AUTOSCALED)
        status = scene.at_weight(20)
        assert _autoscaler(scene, "1")["spec"]["minReplicas"] == 3, "stable keeps what it had at the start"
        assert _autoscaler(scene, "2")["spec"]["minReplicas"] == 2
        assert status["replicas"] >= 3
        scene.reach("Stable", version="2")
    assert users.lost == 0, users.codes
    eventually(lambda: _autoscaler(scene, "2")["spec"]["minReplicas"] == 2, "the bounds of a quiet time")
    assert scene.deployment("2")["spec"]["replicas"] == 3, "it took over as many pods as served before"


def test_detail_10_kubectl_scale_changes_the_fixed_number(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    scene = Scene(cluster, namespace)
    scene.serve_first()
    scene.kubectl("scale", "mro", "ranker", "--replicas=3")
    eventually(lambda: scene.deployment("1")["status"].get("readyReplicas") == 3, "the third pod")
    found = scene.kubectl("get", "mro", "ranker", "--subresource=scale", "-o", "jsonpath={.status.selector}")
    assert found == "modelrollout.io/name=ranker"
    assert scene.reach("Stable")["stable"]["version"] == "1"
