"""What the operator may do, what it costs when nothing happens, and that namespaces do not meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcluster import LocalCluster, eventually
from tests.support.audit import USER, Audit
from tests.support.scene import Scene, api, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

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
        return not quiet.requests()

    eventually(resting, "all to come to rest", timeout=60)
    audit = Audit(cluster)
    let_pass(_QUIET_SECONDS)
    assert sum(audit.requests().values()) <= 3, audit.requests()


def test_nothing_was_forbidden(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """A whole life in one namespace, and the log knows neither a missing right nor a traceback."""
    scene = Scene(cluster, namespace)
    quick = changed(gates=[], steps=[{"weight": 50, "hold": "0s"}], rollback={"warmFor": "1s", "keep": 0})
    scene.serve_first(change=quick)
    scene.apply("2", change=quick)
    scene.reach("Stable", version="2")
    scene.apply("2", change=changed(gates=[], deletionPolicy="Delete"))
    scene.kubectl("delete", "mro", "ranker")
    log = operator.log()
    told = [line for line in log.splitlines() if namespace in line]
    assert told, "this namespace is in the log"
    assert not [line for line in told if "is forbidden: User" in line]
    assert "Traceback" not in log
