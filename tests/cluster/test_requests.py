"""What a release asks of the API server, by its audit log; and that a rollback does not wait for what others ask."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.audit import Audit
from tests.support.operator import Operator
from tests.support.scene import Scene, changed

_UP_TO_TRAFFIC: Final = {
    "create deployments": 1,  # the dry run
    "patch services": 1,
    "patch deployments": 1,
    "patch httproutes": 2,  # the backend at weight 0, and its weight
    "patch modelrollouts": 1,  # the finalizer
    "patch modelrollouts/status": 6,  # begun, asked for traffic, in effect; what is waited for if that lasts
    "create events": 3,
}
_UP_TO_PROMOTION: Final = {
    "patch services": 2,  # the roles, the owners
    "patch deployments": 2,
    "patch httproutes": 2,  # all traffic, and without the old backend
    "patch modelrollouts": 1,
    "patch modelrollouts/status": 9,
    "create events": 3,
}


_FLOOD = 40


@pytest.fixture
def own_operator(installed: LocalCluster) -> Iterator[Operator]:
    """An operator with settings of its own; these tests come before the common one is started."""
    running = Operator(installed)
    yield running
    running.kill()


def _at_most(audit: Audit, namespace: str, expected: dict[str, int]) -> None:
    found = audit.requests(namespace)
    more = {name: count for name, count in found.items() if count > expected.get(name, 0)}
    assert not more, f"{found} beside {expected}"


def test_rule_14_a_release_asks_no_more_than_it_must(
    own_operator: Operator, cluster: LocalCluster, namespace: str
) -> None:
    scene = Scene(cluster, namespace)
    own_operator.start()
    quick = changed(steps=[{"weight": 20, "hold": "2s"}])
    with scene.users(40):
        scene.serve_first(change=quick)
        audit = Audit(cluster)
        scene.apply("2", change=quick)
        scene.at_weight(20)
        _at_most(audit, namespace, _UP_TO_TRAFFIC)
        audit = Audit(cluster)
        scene.reach("Stable", version="2")
        eventually(lambda: len(scene.weights) == 1, "the old backend to leave the route")
        _at_most(audit, namespace, _UP_TO_PROMOTION)


def _idle(namespace: str, number: int) -> dict[str, Any]:
    body = manifests.rollout(namespace, name=f"flood-{number}")
    container: dict[str, Any] = {"name": "server", "image": "registry.example/idle:1"}
    container |= {"command": ["sleep", "infinity"], "ports": [{"containerPort": 8080}]}
    template = {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    body["spec"] |= {"gates": []}
    body["spec"]["workload"] = {"replicas": 1, "allowWithoutReadinessProbe": True, "template": template}
    return body


def test_rule_14_a_rollback_goes_before_a_flood(own_operator: Operator, cluster: LocalCluster, namespace: str) -> None:
    """Two requests a second, and two hundred wait: what lowers a weight is not among them."""
    scene = Scene(cluster, namespace)
    own_operator.start()
    lasting = changed(gates=[], steps=[{"weight": 50, "hold": "1h"}])
    scene.serve_first(change=lasting)
    scene.apply("2", change=lasting)
    scene.at_weight(50)
    own_operator.kill()
    own_operator.arguments = ["--kube-qps", "2", "--kube-burst", "10"]
    own_operator.start()
    flood = {"apiVersion": "v1", "kind": "List", "items": [_idle(namespace, number) for number in range(_FLOOD)]}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(flood))
    eventually(lambda: len(scene.every("deployments")) > 2, "the flood to begin", timeout=60, interval=0.05)
    scene.decide("abort")
    said = time.monotonic()
    candidate = f"ranker-{scene.revision('2')}"
    eventually(lambda: scene.weights.get(candidate, 0) == 0, "no traffic for the candidate", timeout=30, interval=0.05)
    assert time.monotonic() - said < 10.0
    begun = len([one for one in scene.every("deployments") if one["metadata"]["name"].startswith("flood-")])
    assert begun < _FLOOD, "the flood was over already, so this proves nothing"
