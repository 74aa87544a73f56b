"""The operator is killed, and the API server: the end is the same, once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from localcluster import LocalCluster, eventually
from tests.support.scene import Scene, let_pass

if TYPE_CHECKING:
    from tests.support.operator import Operator


@pytest.fixture(autouse=True)
def alive(operator: Operator) -> Iterator[None]:
    """Whatever a test does to the operator, it runs again afterwards."""
    yield
    operator.kill()
    operator.start()


def test_kill_at_random_moments_changes_nothing(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Three releases, the last one bad; the operator dies three times while each is on its way."""
    scene = Scene(cluster, namespace)
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    scene.serve_first()
    with scene.users(40) as users:
        for version, errors, phase, stable in (
            ("2", "0", "Stable", "2"),
            ("3", "0", "Stable", "3"),
            ("4", "0.5", "RolledBack", "3"),
        ):
            scene.apply(version, ERRORS=errors)
            for _ in range(3):
                let_pass(chance.uniform(0.1, 2.5))
                operator.kill()
                operator.start()
            status = scene.reach(phase, version=stable, timeout=90)
            outcomes = [entry["outcome"] for entry in status["history"] if entry["version"] == version]
            assert outcomes == ["Promoted" if phase == "Stable" else "RolledBack"], (seed, status["history"])
            eventually(lambda: list(scene.weights.values()) == [100], f"stable alone in the route (seed {seed})")
    assert users.lost == 0, (seed, users.codes)

    roles = sorted(
        (one["metadata"]["annotations"]["modelrollout.io/version"], one["metadata"]["labels"]["modelrollout.io/role"])
        for one in scene.every("deployments")
    )
    assert [role for role in roles if role[1] == "stable"] == [("3", "stable")], (seed, roles)
    assert ("1", "retired") not in roles, "only the previous one is kept"
    services = [one for one in scene.every("services") if one["metadata"]["name"].startswith("ranker-")]
    assert len(services) == len(roles)
    assert len(scene.every("httproutes")) == 1
    promoted = [message for reason, message in scene.events() if reason == "Promoted"]
    assert len(promoted) <= 2, "an event may be lost in a crash, but none is posted twice"


def test_the_spec_changes_while_nobody_looks(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Down in mid-rollout: another version is named, and it is the only one that goes on."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    with scene.users(40) as users:
        scene.apply("2")
        scene.at_weight(20)
        second = scene.revision("2")
        operator.kill()
        scene.apply("3")
        operator.start()
        status = scene.reach("Stable", version="3")
    assert users.lost == 0, users.codes
    assert [(one["version"], one["outcome"]) for one in status["history"]][:2] == [
        ("3", "Promoted"),
        ("2", "Superseded"),
    ]
    eventually(lambda: not scene.get("deployments", f"ranker-{second}"), "the superseded version's objects to go")


def test_deleted_while_nobody_looks(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """The operator is down, the object (stable only) goes and comes back: it is known again, nothing is restarted."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    pods = {one["metadata"]["uid"] for one in scene.every("pods")}
    operator.kill()
    scene.kubectl("delete", "mro", "ranker")
    scene.apply("1")
    operator.start()
    scene.reach("Stable", version="1")
    assert {one["metadata"]["uid"] for one in scene.every("pods")} == pods


def test_the_api_server_dies_in_mid_rollout(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    scene.serve_first()
    marked = len(operator.log())
    with scene.users(40) as users:
        scene.apply("2")
        scene.at_weight(20)
        cluster.kill_apiserver()
        let_pass(4.0)
        cluster.start_apiserver()
        status = scene.reach("Stable", version="2", timeout=90)
    assert users.lost == 0, users.codes
    assert [one["outcome"] for one in status["history"]] == ["Promoted", "Promoted"]
    said = operator.log()[marked:]
    assert "modelrollout.kube.reflector: watching " in said, "an outage is said"
    ours = [line for line in said.splitlines() if "Traceback" in line]
    assert not ours, said[-3000:]


def test_a_frozen_api_server_is_waited_for(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    scene.serve_first()
    with scene.users(40) as users:
        scene.apply("2")
        scene.at_weight(20)
        cluster.pause_apiserver()
        let_pass(5.0)
        cluster.resume_apiserver()
        scene.reach("Stable", version="2", timeout=90)
    assert users.lost == 0, users.codes


def test_sigterm_is_a_quick_clean_end(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    marked = len(operator.log())
    assert operator.stop() == 0
    assert "Traceback" not in operator.log()[marked:], operator.log()[marked:]


def test_no_traces_of_kopf(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """No annotation, finalizer or field manager of the framework, and no finalizer of ours on an idle object."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    scene.decide("pause")
    raw = scene.kubectl("get", "mro,rolloutdecisions,deploy,svc,httproute", "-o", "yaml", "--show-managed-fields")
    assert "kopf" not in raw
    assert not scene.rollout["metadata"].get("finalizers")
    managers = {entry["manager"] for entry in scene.rollout["metadata"].get("managedFields") or []}
    assert managers <= {"modelrollout", "kubectl-client-side-apply"}
