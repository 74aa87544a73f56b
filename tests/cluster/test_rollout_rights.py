"""What the operator may do, what it costs when nothing happens, and that namespaces do not meet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.audit import USER, Audit
from tests.support.operator import ROOT
from tests.support.rights import Right, granted, used
from tests.support.scene import Scene, api, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

RBAC: Final = ROOT / "manifests" / "base" / "rbac.yaml"
PROVEN_ELSEWHERE: Final = {Right("", "pods", "delete"): "test_rollout_pods.py"}
"""Rights whose use takes longer than a test of rights should: where they are used."""
_QUIET_SECONDS = 20.0
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


_DENIED = (
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("list", "", "configmaps", ""),
    ("create", "", "configmaps", ""),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", ""),
    ("deletecollection", "", "pods", ""),
    ("create", "rbac.authorization.k8s.io", "roles", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("impersonate", "", "users", ""),
    ("delete", "gateway.networking.k8s.io", "httproutes", ""),
    ("create", "modelrollout.io", "modelrollouts", ""),
    ("delete", "modelrollout.io", "modelrollouts", ""),
    ("create", "modelrollout.io", "rolloutdecisions", ""),
    ("delete", "modelrollout.io", "rolloutdecisions", ""),
    ("patch", "modelrollout.io", "rolloutdecisions", ""),
    ("create", "modelrollout.io", "rolloutfreezes", ""),
    ("delete", "modelrollout.io", "rolloutfreezes", ""),
    ("patch", "", "namespaces", ""),
    ("get", "", "nodes", ""),
)


def test_what_it_may_not_do(installed: LocalCluster) -> None:
    """Nothing that would let it read secrets, run commands in pods, grant rights, or say things in people's names."""

    def may(verb: str, group: str, resource: str, sub: str) -> bool:
        about = {"verb": verb, "group": group, "resource": resource, "subresource": sub}
        review = {"spec": {"user": USER, "groups": ["system:authenticated"], "resourceAttributes": about}}
        return bool(api(installed).post(_REVIEWS, review)["status"]["allowed"])

    assert may("patch", "apps", "deployments", ""), "the question is put right"
    assert not [what for what in _DENIED if may(*what)]
    asked = installed.kubectl("auth", "can-i", "get", "secrets", f"--as={USER}", "-A", check=False)
    assert asked.stdout.strip() == "no"


def test_what_it_is_refused(installed: LocalCluster) -> None:
    """The same with its own token: the API server's answer, not its opinion."""
    file = installed.service_account_kubeconfig("modelrollout-system", "modelrollout")
    for words in (
        ("get", "secrets", "-n", "modelrollout-system"),
        ("get", "configmaps", "-n", "default"),
        ("get", "nodes"),
        ("delete", "httproute", "x", "-n", "default"),
        ("delete", "mro", "x", "-n", "default"),
        ("create", "token", "modelrollout", "-n", "modelrollout-system"),
        ("create", "clusterrolebinding", "x", "--clusterrole=cluster-admin", "--user=x"),
        ("get", "pods", "-n", "default", "--as=system:admin"),
        ("annotate", "validatingadmissionpolicy", "modelrollout-decisions", "a=b"),
        ("run", "x", "--image=x", "-n", "default"),
    ):
        done = installed.kubectl("--kubeconfig", str(file), *words, check=False)
        assert "forbidden" in done.stderr.lower(), (words, done.stdout, done.stderr)


def test_two_of_one_name_in_two_namespaces(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """The same name, metrics and versions; one is bad. Each is judged by its own numbers."""
    other = f"{namespace}-b"
    cluster.kubectl("create", "namespace", other)
    good, bad = Scene(cluster, namespace), Scene(cluster, other)

    def release(scene: Scene, errors: str, phase: str, stable: str) -> None:
        scene.serve_first()
        with scene.users(30):
            scene.apply("2", ERRORS=errors)
            scene.reach(phase, version=stable)

    together(lambda: release(good, "0", "Stable", "2"), lambda: release(bad, "0.5", "RolledBack", "1"))
    assert [one["outcome"] for one in good.status["history"]] == ["Promoted", "Promoted"]
    cluster.kubectl("delete", "namespace", other, "--wait=false")


def test_idle_rollouts_cost_nothing(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """One stable, one rolled back, one stalled: after they came to rest nothing is asked and nothing written."""
    stable, back, stalled = (Scene(cluster, namespace, name) for name in ("stable", "back", "stalled"))
    quick = changed(gates=[], rollback={"warmFor": "1s"})

    def roll_back() -> None:
        back.serve_first(change=quick)
        back.apply("2", change=quick, CRASH="no")
        back.reach("RolledBack", version="1")

    def stall() -> None:
        stalled.apply("1", change=changed(traffic={"gatewayAPI": {"route": {"name": "missing", "rule": "a"}}}))
        stalled.reach("Stalled")

    together(lambda: stable.serve_first(change=quick), roll_back, stall)
    eventually(lambda: back.deployment("2")["spec"]["replicas"] == 0, "the failed pods to be stopped")

    def resting() -> bool:
        quiet = Audit(cluster)
        let_pass(3.0)
        return not quiet.requests(namespace)

    eventually(resting, "all to come to rest", timeout=60)
    audit = Audit(cluster)
    let_pass(_QUIET_SECONDS)
    assert sum(audit.requests(namespace).values()) <= 3, audit.requests(namespace)


def _old_backend(scene: Scene) -> None:
    """What serves before the first ModelRollout, made by others."""
    labels = {"app": "old"}
    template = manifests.template() | {"metadata": {"labels": labels}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    ports = [{"port": 80, "targetPort": 8080}]
    metadata = {"name": "old", "namespace": scene.namespace}
    for kind, version, body in (
        ("Deployment", "apps/v1", spec),
        ("Service", "v1", {"selector": labels, "ports": ports}),
    ):
        manifests.apply(scene.cluster, {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": body})


def _old_records(scene: Scene) -> None:
    """As many records of rollbacks as are kept."""
    spec = {"rollout": scene.name, "revision": "0123456789", "reason": "GateBreached", "at": "2026-11-01T00:00:00Z"}
    metadata = {"namespace": scene.namespace, "labels": {"modelrollout.io/name": scene.name}}
    for number in range(10):
        named = metadata | {"name": f"{scene.name}-{number}"}
        body = {"apiVersion": "modelrollout.io/v1alpha1", "kind": "RolloutIncident", "metadata": named, "spec": spec}
        api(scene.cluster).post(f"/apis/modelrollout.io/v1alpha1/namespaces/{scene.namespace}/rolloutincidents", body)


def _whole_life(scene: Scene) -> None:
    """Taken over, released, paused, tampered with, resumed, rolled back, deleted."""
    report = {"name": "auc", "report": {"configMap": "auc-{version}", "metric": "auc"}, "atLeast": "0.9"}
    quick: dict[str, Any] = {
        "gates": [report | {"required": False}],
        "steps": [{"weight": 50, "hold": "1s"}],
        "rollback": {"warmFor": "1s", "keep": 0},
        "notifications": [{"name": "nobody", "receiver": "nobody"}],
    }
    together(lambda: _old_backend(scene), lambda: _old_records(scene))
    scene.serve_first(change=changed(**quick, adopt={"service": "old"}))
    sized = {"workload": {"autoscaling": {"min": 2, "max": 3, "cpu": 70}}}
    scene.apply("2", change=changed(**quick | sized | {"steps": [{"weight": 50, "hold": "1h"}]}))
    scene.at_weight(50)
    scene.answer(scene.decide("pause"))
    refs = [
        {**one, "weight": 100 * number} for number, one in enumerate(scene.route["spec"]["rules"][0]["backendRefs"])
    ]
    path = {"op": "replace", "path": "/spec/rules/0/backendRefs", "value": refs}
    scene.kubectl("patch", "httproute", scene.name, "--type=json", "-p", json.dumps([path]))
    scene.at_weight(50)
    scene.decide("promote", full=True)
    scene.reach("Stable", version="2")
    eventually(lambda: len(scene.every("deployments")) == 2, "version 1 to be gone", timeout=30)
    scene.apply("3", change=changed(**quick), CRASH="no")
    scene.reach("RolledBack", version="2")
    eventually(lambda: not scene.get("rolloutincidents", f"{scene.name}-0"), "the oldest record to be gone", timeout=30)
    scene.apply("3", change=changed(**quick, deletionPolicy="Delete"), CRASH="no")
    eventually(lambda: scene.deployment("2")["metadata"].get("ownerReferences"), "version 2 to be owned", timeout=30)
    scene.kubectl("delete", "mro", scene.name)


def test_detail_30_every_right_is_needed_and_nothing_was_forbidden(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """A whole life in one namespace uses every right that manifests/base grants, and asks for no other."""
    _whole_life(Scene(cluster, namespace))
    assert cluster.audit_log is not None
    found = used(cluster.audit_log, USER, "modelrollout-operator", "modelrollout-lease")
    given = granted(RBAC, "modelrollout")
    assert sorted(found - given) == [], "what was let through by another role"
    assert sorted(given - found - set(PROVEN_ELSEWHERE)) == [], "rights that nothing needs"
    told = [line for line in operator.log().splitlines() if namespace in line]
    assert told, "this namespace is in the log"
    assert not [line for line in told if "is forbidden: User" in line]
    assert "Traceback" not in operator.log()
