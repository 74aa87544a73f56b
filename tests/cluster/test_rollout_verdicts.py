"""Good versions are promoted and bad ones rolled back, for every kind of gate, and everybody can read why."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.scene import Scene, changed, together

if TYPE_CHECKING:
    from tests.support.operator import Operator


def _alone(scene: Scene) -> bool:
    return list(scene.weights.values()) == [100]


def test_good_ones_are_promoted_and_bad_ones_rolled_back(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """Four rollouts of one namespace at once, which share metric names: nobody is judged by another one's numbers."""
    gates = {
        "good": (manifests.ERRORS, manifests.P95, manifests.CTR),
        "errors": (manifests.ERRORS,),
        "slow": (manifests.P95,),
        "clicks": (manifests.CTR, manifests.ERRORS),
    }
    faults = {"good": {}, "errors": {"ERRORS": "0.1"}, "slow": {"DELAY_MS": "400"}, "clicks": {"CLICKS": "0.02"}}
    scenes = {name: Scene(cluster, namespace, name) for name in gates}
    change = {
        name: changed(steps=[{"weight": 50, "hold": "10m" if name != "good" else "4s"}], gates=list(gates[name]))
        for name in gates
    }
    together(*(lambda s=scene: s.serve_first(change=change[s.name]) for scene in scenes.values()))

    def release(scene: Scene) -> None:
        with scene.users(30):
            scene.apply("2", change=change[scene.name], **faults[scene.name])
            if scene.name == "good":
                scene.reach("Stable", version="2", timeout=90)
            else:
                scene.reach("RolledBack", version="1", timeout=90)

    together(*(lambda s=scene: release(s) for scene in scenes.values()))

    good = scenes["good"].status
    assert good["reason"] == "Promoted"
    assert [entry["outcome"] for entry in good["history"]] == ["Promoted", "Promoted"]
    for name, gate in (("errors", "errors"), ("slow", "p95"), ("clicks", "ctr")):
        status = scenes[name].status
        failed = status["failed"]
        assert failed["version"] == "2"
        assert failed["reason"] == "GateBreached", f"{name}: {failed}"
        assert failed["message"].startswith(f"{gate}: "), failed["message"]
        assert "of the baseline" in failed["message"] or gate == "p95"
        assert status["history"][0]["outcome"] == "RolledBack"
        eventually(functools.partial(_alone, scenes[name]), "the stable revision alone in the route")
        assert scenes[name].rollout["spec"]["model"]["version"] == "2", "spec is never edited"
        ready = scenes[name].condition("Ready")
        assert (ready["status"], ready["reason"]) == ("False", "RolledBack")
        assert scenes[name].condition("Stalled")["status"] == "True"
    told = [line for line in operator.log().splitlines() if namespace in line]
    assert not [line for line in told if "is forbidden: User" in line]


def test_a_catastrophe_is_ended_within_the_warm_up(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    change = changed(warmup="10m", steps=[{"weight": 50, "hold": "10m"}])
    scene.serve_first(change=change)
    with scene.users(60):
        scene.apply("2", change=change, ERRORS="0.8")
        status = scene.reach("RolledBack", version="1")
    assert status["failed"]["reason"] == "Catastrophe"
    begun = next(number for number, (reason, _) in enumerate(scene.events()) if reason == "RaisingWeight")
    assert scene.events()[begun + 1][0] == "Catastrophe", scene.events()


def test_what_people_and_machines_read(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Conditions that ``kubectl wait`` and GitOps tools know, columns, events, observedGeneration, `explain`."""
    scene = Scene(cluster, namespace)
    scene.apply("1")
    scene.kubectl("wait", "--for=condition=Ready", "mro/ranker", "--timeout=60s")
    status = scene.status
    assert status["phase"] == "Stable"
    assert status["reason"] == "FirstRevision"
    assert "without steps" in "".join(message for _, message in scene.events())
    assert status["observedRevision"] == status["stable"]["revision"] == scene.revision("1")
    for condition in status["conditions"]:
        assert condition["observedGeneration"] == status["observedGeneration"] == 1

    with scene.users(40):
        scene.apply("2")
        moving = scene.at_weight(20)
        conditions = {one["type"]: one["status"] for one in moving["conditions"]}
        assert (conditions["Ready"], conditions["Reconciling"], conditions["Stalled"]) == ("Unknown", "True", "False")
        assert conditions["Available"] == "True"
        columns = scene.kubectl("get", "mro", "ranker").splitlines()
        assert columns[0].split() == ["NAME", "PHASE", "VERSION", "STABLE", "STEP", "WEIGHT", "GATES", "REASON", "AGE"]
        assert columns[1].split()[:6] == ["ranker", "Progressing", "2", "1", "1/2", "20%"]
        waited = cluster.kubectl(
            "-n", namespace, "wait", "--for=condition=Ready", "mro/ranker", "--timeout=1s", check=False
        )
        assert waited.returncode != 0, "not ready in mid-rollout"
        status = scene.reach("Stable", version="2")
    assert status["observedGeneration"] == 2
    wanted = ["NewRevision", "RaisingWeight", "StepDone", "RaisingWeight", "Promoted"]
    eventually(lambda: [reason for reason, _ in scene.events() if reason in wanted] == wanted, "each event once")
    assert "MetricsAvailable" in {one["type"] for one in status["conditions"]}
    assert "weight" in scene.kubectl("explain", "mro.spec.steps")
    gate = status["gates"][0] if status["gates"] else {}
    assert gate.get("name") == "errors"
    assert gate["samples"] >= 20
