"""Deleting a ModelRollout leaves users on the stable version, however it is deleted; `Delete` takes all along."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]

_KINDS = ("deployments", "services", "httproutes")
_HELD = changed(gates=[], steps=[{"weight": 50, "hold": "1h"}])


def _stable_pods(scene: Scene) -> set[str]:
    revision = scene.revision("1")
    pods = scene.every("pods")
    return {
        one["metadata"]["uid"]
        for one in pods
        if one["metadata"]["labels"].get("modelrollout.io/revision") == revision
        and "deletionTimestamp" not in one["metadata"]
    }


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_traffic_stays_on_stable(cluster: LocalCluster, operator: Operator, namespace: str, cascade: str) -> None:
    """Deleted when all is quiet, and deleted in mid-rollout; then applied again."""

    def quiet() -> None:
        scene = Scene(cluster, namespace, "quiet")
        scene.serve_first(change=_HELD)
        pods = _stable_pods(scene)
        with scene.users(20) as users:
            scene.kubectl("delete", "mro", "quiet", f"--cascade={cascade}", "--timeout=30s")
            let_pass(2.0)
            assert _stable_pods(scene) == pods
            assert list(scene.weights.values()) == [100]
            scene.apply("1", change=_HELD)
            scene.reach("Stable", version="1")
        assert _stable_pods(scene) == pods, "the stable revision was found again by its hash"
        assert users.codes[200] == sum(users.codes.values()), users.codes

    def moving() -> None:
        scene = Scene(cluster, namespace, "moving")
        scene.serve_first(change=_HELD)
        pods = _stable_pods(scene)
        with scene.users(20) as users:
            scene.apply("2", change=_HELD)
            scene.at_weight(50)
            assert scene.rollout["metadata"]["finalizers"] == ["modelrollout.io/traffic"]
            first, second = scene.revision("1"), scene.revision("2")
            scene.kubectl("delete", "mro", "moving", f"--cascade={cascade}", "--timeout=30s")
            assert not scene.rollout
            assert scene.weights == {f"moving-{first}": 100}, "nothing of the candidate is left in the route"
            assert _stable_pods(scene) == pods
            if cascade != "orphan":
                # The garbage collector looks for new kinds every half minute.
                eventually(lambda: not scene.get("deployments", f"moving-{second}"), "the candidate to go", timeout=90)
            scene.apply("2", change=_HELD)
            status = scene.at_weight(50)
            assert status["stable"]["version"] == "1", "the stable revision was found again"
            assert _stable_pods(scene) == pods
        if cascade != "foreground":  # there the garbage collector takes the candidate before anybody can act
            assert users.lost == 0, users.codes

    together(quiet, moving)


def test_deletion_policy_delete(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Said at the start, said later, and taken back before it mattered."""

    def everything_gone(scene: Scene) -> bool:
        mine = [
            one["metadata"]["name"]
            for kind in _KINDS
            for one in scene.every(kind)
            if (one["metadata"].get("labels") or {}).get("modelrollout.io/name") == scene.name
        ]
        assert not mine, mine
        return True

    def owners(scene: Scene, kind: str) -> int:
        return sum(
            len(one["metadata"].get("ownerReferences") or [])
            for one in scene.every(kind)
            if (one["metadata"].get("labels") or {}).get("modelrollout.io/name") == scene.name
        )

    def from_the_start() -> None:
        scene = Scene(cluster, namespace, "start")
        scene.serve_first(change=changed(gates=[], deletionPolicy="Delete"))
        scene.apply("2", change=changed(gates=[], deletionPolicy="Delete", steps=[{"weight": 50, "hold": "1h"}]))
        scene.at_weight(50)
        scene.kubectl("delete", "mro", "start", "--timeout=30s")
        eventually(lambda: everything_gone(scene), "all of it to go", timeout=90)

    def later() -> None:
        scene = Scene(cluster, namespace, "later")
        scene.serve_first(change=changed(gates=[]))
        scene.apply("1", change=changed(gates=[], deletionPolicy="Delete"))
        eventually(lambda: [owners(scene, kind) for kind in _KINDS] == [1, 1, 1], "all to be owned")
        scene.kubectl("delete", "mro", "later", "--timeout=30s")
        eventually(lambda: everything_gone(scene), "all of it to go", timeout=90)

    def taken_back() -> None:
        scene = Scene(cluster, namespace, "back")
        scene.serve_first(change=changed(gates=[], deletionPolicy="Delete"))
        scene.apply("1", change=changed(gates=[]))
        eventually(lambda: [owners(scene, kind) for kind in _KINDS] == [0, 0, 0], "all to be free")
        pods = _stable_pods(scene)
        scene.kubectl("delete", "mro", "back", "--timeout=30s")
        let_pass(2.0)
        assert _stable_pods(scene) == pods
        assert list(scene.weights.values()) == [100]

    together(from_the_start, later, taken_back)


def test_a_label_on_the_rollout_is_not_handed_down(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """GitOps tools track by label: a copied one would make them prune what serves."""
    scene = Scene(cluster, namespace)
    body = scene.manifest("1", change=changed(gates=[]))
    body["metadata"]["labels"] = {"argocd.argoproj.io/instance": "shop"}
    body["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop"}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
    scene.reach("Stable", version="1")
    raw = scene.kubectl("get", "deploy,svc,httproute,pods", "-o", "json")
    assert "argocd" not in raw
