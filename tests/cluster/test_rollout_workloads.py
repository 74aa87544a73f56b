"""Pods that do not come: broken ones are a rollback in their own words, ones without room are waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.scene import Scene, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]

_QUICK = changed(gates=[], steps=[{"weight": 50, "hold": "1s"}])


def _container(**fields: Any) -> Any:
    def change(spec: Body) -> None:
        _QUICK(spec)
        spec["workload"]["template"]["spec"]["containers"][0].update(fields)

    return change


def test_pods_that_cannot_run(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """A crash loop and a missing image: rolled back before any traffic, with the pod's own words."""

    def release(name: str, change: Any, words: tuple[str, ...], **env: str) -> None:
        scene = Scene(cluster, namespace, name)
        scene.serve_first(change=_QUICK)
        scene.apply("2", change=change, **env)
        status = scene.reach("RolledBack", version="1")
        assert status["failed"]["reason"] == "FailedToStart"
        assert status["history"][0]["weight"] == 0, "it never had traffic"
        for word in words:
            assert word in status["failed"]["message"], status["failed"]
        eventually(lambda: scene.deployment("2")["spec"]["replicas"] == 0, "its pods to be stopped")

    together(
        lambda: release("crash", _QUICK, ("CrashLoopBackOff", "pod crash-"), CRASH="no model file"),
        lambda: release("image", _container(image="missing.example/ranker:9"), ("ImagePullBackOff", "missing.example")),
    )


def test_no_room_is_a_wait(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """A node that is too small and a quota that is too tight: said, waited for, and gone on from."""

    def unschedulable() -> None:
        scene = Scene(cluster, namespace, "large")
        scene.serve_first(change=_QUICK)
        scene.apply("2", change=_container(resources={"requests": {"cpu": "1000"}}))
        status = scene.until(lambda s: s.get("reason") == "WaitingForCapacity", "the wait")
        assert "Insufficient cpu" in status["message"]
        assert scene.condition("Stalled")["status"] == "False"
        first = scene.status["candidate"]["revision"]
        scene.apply("2", change=_container(resources={"requests": {"cpu": "1m"}}))
        scene.reach("Stable", version="2")
        assert scene.status["stable"]["revision"] != first

    def quota() -> None:
        scene = Scene(cluster, f"{namespace}-q")
        scene.serve_first(change=_QUICK)
        body = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "tight", "namespace": scene.namespace},
            "spec": {"hard": {"pods": "3"}},
        }
        manifests.apply(cluster, body)
        eventually(lambda: "pods" in scene.kubectl("get", "quota", "tight", "-o", "jsonpath={.status.used}"), "quota")
        scene.apply("2", change=_QUICK)
        status = scene.until(lambda s: "exceeded quota" in s.get("message", ""), "the quota to be named")
        assert status["reason"] == "WaitingForCapacity"
        body["spec"] = {"hard": {"pods": "10"}}
        manifests.apply(cluster, body)
        scene.reach("Stable", version="2")

    cluster.kubectl("create", "namespace", f"{namespace}-q")
    eventually(
        lambda: cluster.kubectl("get", "sa", "default", "-n", f"{namespace}-q", check=False).returncode == 0,
        "namespace",
    )
    together(unschedulable, quota)
    cluster.kubectl("delete", "namespace", f"{namespace}-q", "--wait=false")


def test_an_invalid_template_disturbs_nothing(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """The server's own words in status, while the stable one serves and a running rollout stays where it is."""
    scene = Scene(cluster, namespace)
    change = changed(gates=[], steps=[{"weight": 20, "hold": "1h"}])
    scene.serve_first(change=change)

    def broken(spec: Body) -> None:
        change(spec)
        spec["workload"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "many"}}

    scene.apply("2", change=change)
    scene.at_weight(20)
    weights = scene.weights
    scene.apply("3", change=broken)
    status = scene.reach("Stalled", reason="InvalidTemplate")
    assert "quantities must match" in status["message"] or "Quantity" in status["message"], status["message"]
    assert scene.condition("Ready")["status"] == "False"
    assert scene.weights == weights, "the running rollout is undisturbed"
    assert scene.status["candidate"]["version"] == "2"
    scene.apply("2", change=change)
    scene.until(lambda s: s["phase"] == "Progressing", "the rollout to be taken up again")
    assert scene.weights == weights


def test_an_object_quota_is_named_and_asked_again(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """A quota on Deployments refuses the very object: no endless retry, no silence."""
    scene = Scene(cluster, namespace)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight", "namespace": namespace},
        "spec": {"hard": {"count/deployments.apps": "0"}},
    }
    manifests.apply(cluster, quota)
    eventually(lambda: "deploy" in scene.kubectl("get", "quota", "tight", "-o", "jsonpath={.status.used}"), "quota")
    scene.apply("1", change=_QUICK)
    status = scene.reach("Stalled")
    assert "exceeded quota" in status["message"]
    quota["spec"] = {"hard": {"count/deployments.apps": "5"}}
    manifests.apply(cluster, quota)
    scene.reach("Stable", version="1", timeout=90)


def test_pods_by_weight(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Proportional and full; the previous revision is kept warm, then without pods; an older one goes."""

    def proportional() -> None:
        scene = Scene(cluster, namespace, "part")
        change = changed(gates=[], steps=[{"weight": 50, "hold": "1h"}], workload={"replicas": 6})
        change_warm = changed(gates=[], rollback={"warmFor": "3s"}, workload={"replicas": 6})
        scene.serve_first(change=change)
        scene.apply("2", change=change)
        scene.at_weight(50)
        assert scene.deployment("2")["spec"]["replicas"] == 3
        assert scene.deployment("1")["spec"]["replicas"] == 6
        scene.decide("promote")
        scene.reach("Stable", version="2")
        assert scene.deployment("2")["spec"]["replicas"] == 6
        first = scene.deployment("1")
        assert first["spec"]["replicas"] == 6, "kept warm"
        assert first["metadata"]["labels"]["modelrollout.io/role"] == "retired"

        scene.apply("2", change=change_warm)
        eventually(lambda: scene.deployment("1")["spec"]["replicas"] == 0, "the previous one to be without pods")

        def smaller(spec: Body) -> None:
            change_warm(spec)
            spec["workload"]["replicas"] = 2

        scene.apply("2", change=smaller)
        eventually(lambda: scene.deployment("2")["spec"]["replicas"] == 2, "spec.workload.replicas to be followed")
        assert scene.status["phase"] == "Stable", "a change of replicas is no rollout"
        scene.apply("3", change=changed(gates=[], steps=[{"weight": 50, "hold": "0s"}]))
        scene.reach("Stable", version="3")
        names = {one["metadata"]["annotations"]["modelrollout.io/version"] for one in _of(scene)}
        assert "3" in names
        eventually(lambda: first["metadata"]["name"] not in _names(scene), "the older one to be deleted")
        eventually(lambda: not scene.get("services", first["metadata"]["name"]), "its Service too")

    def full() -> None:
        scene = Scene(cluster, namespace, "full")
        change = changed(gates=[], steps=[{"weight": 10, "hold": "1h"}], workload={"replicas": 3, "scaling": "full"})
        scene.serve_first(change=change)
        scene.apply("2", change=change)
        scene.at_weight(10)
        assert scene.deployment("2")["spec"]["replicas"] == 3

    together(proportional, full)


def _of(scene: Scene) -> list[Body]:
    mine = scene.every("deployments")
    return [one for one in mine if one["metadata"]["labels"].get("modelrollout.io/name") == scene.name]


def _names(scene: Scene) -> set[str]:
    return {one["metadata"]["name"] for one in _of(scene)}


def test_what_the_pods_are_told(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """The model in the environment, the user's own values first; a template that is written never changes again."""
    scene = Scene(cluster, namespace)
    scene.serve_first(change=_QUICK, MODEL_VERSION="mine")
    container = scene.deployment("1")["spec"]["template"]["spec"]["containers"][0]
    env = [(one["name"], one.get("value")) for one in container["env"]]
    assert ("MODEL_VERSION", "mine") in env
    assert [name for name, _ in env].count("MODEL_VERSION") == 1
    assert ("MODEL_NAME", "ranker") in env
    assert ("MODEL_URI", "s3://models/ranker/1") in env
    assert ("MODEL_REVISION", scene.revision("1")) in env
    labels = scene.deployment("1")["spec"]["template"]["metadata"]["labels"]
    assert labels["modelrollout.io/revision"] == scene.revision("1")

    generation = scene.deployment("1")["metadata"]["generation"]
    patch = {"spec": {"template": {"metadata": {"annotations": {"someone": "else"}}}}}
    scene.kubectl("patch", "deploy", f"ranker-{scene.revision('1')}", "-p", json.dumps(patch))
    operator.kill()
    operator.start()
    let_pass(2.0)
    assert scene.deployment("1")["metadata"]["generation"] == generation + 1, "nobody but the person changed it"


def test_stable_objects_that_vanish(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Someone deletes the stable Deployment and Service: they are made again, at once."""
    scene = Scene(cluster, namespace)
    scene.serve_first(change=_QUICK)
    name = f"ranker-{scene.revision('1')}"
    scene.kubectl("delete", "deploy,svc", name)
    eventually(lambda: scene.get("deployments", name) and scene.get("services", name), "both to come back")
    scene.reach("Stable", version="1")
    assert scene.get("deployments", name)["metadata"]["labels"]["modelrollout.io/role"] == "stable"
    scene.kubectl("delete", "svc", name)
    eventually(lambda: scene.get("services", name), "the Service alone to come back")
