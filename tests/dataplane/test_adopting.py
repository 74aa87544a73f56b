"""The page docs/adopting.md, command by command, on a service that users call all the time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.operator import ROOT
from tests.support.scene import Scene, changed, let_pass
from tests.support.users import Users

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]

_SAMPLES: Final = ROOT / "manifests" / "samples" / "adopt"
_PAGE: Final = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
_BLOCKS: Final = dict(re.findall(r"<!-- run: (\w+) -->\n```\n(.*?)```", _PAGE, re.S))
_SHORT: Final[Body] = {
    "steps": [{"weight": 10, "hold": "2s"}, {"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "1s"}],
    "warmup": "1s",
    "drainDelay": "1s",
    "evaluation": {"interval": "1s", "minBreachTime": "1s", "blindTimeout": "30s"},
    "rollback": {"warmFor": "1h"},
}


def _as_processes(pod_spec: Body, **env: str) -> None:
    """Pods of the samples, run by the local cluster's node: programs instead of images."""
    container = pod_spec["containers"][0]
    runs = manifests.template(**env)["spec"]["containers"][0]
    container |= {"command": runs["command"], "env": runs["env"], "lifecycle": runs["lifecycle"]}
    container["readinessProbe"] |= {"periodSeconds": 1}
    pod_spec["terminationGracePeriodSeconds"] = 5


class _Page:
    """Runs the page's commands in a folder with the samples, shortened to seconds."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster, self._folder = cluster, folder
        target = folder / "manifests" / "samples" / "adopt"
        target.mkdir(parents=True)
        before = list(yaml.safe_load_all((_SAMPLES / "before.yaml").read_text(encoding="utf-8")))
        _as_processes(before[0]["spec"]["template"]["spec"])
        rollout = yaml.safe_load((_SAMPLES / "rollout.yaml").read_text(encoding="utf-8"))
        _as_processes(rollout["spec"]["workload"]["template"]["spec"])
        rollout["spec"] |= _SHORT
        for gate in rollout["spec"]["gates"]:
            gate["minSamples"] = 10
        (target / "before.yaml").write_text(yaml.safe_dump_all(before), encoding="utf-8")
        (target / "rollout.yaml").write_text(yaml.safe_dump(rollout), encoding="utf-8")

    def run(self, block: str) -> str:
        """One block; every line must succeed."""
        programs = f"{Path(sys.executable).parent}:{Path(self.cluster.kubectl_path).parent}"
        environment = os.environ | {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "operator"),
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _BLOCKS[block]],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
        return done.stdout


def _untouched(scene: Scene) -> Body:
    """Everything of the old world that nobody but its owner may change."""
    kinds = ("deployment", "service", "hpa", "pdb")
    found: Body = {kind: json.loads(scene.kubectl("get", kind, "ranker", "-o", "json")) for kind in kinds}
    route = scene.get("httproutes", "shop")
    found["rules"] = [rule | {"backendRefs": None} for rule in route["spec"]["rules"]]
    found["route"] = route["metadata"]["labels"], {k: v for k, v in route["spec"].items() if k != "rules"}
    for kind in kinds:
        metadata = found[kind]["metadata"]
        for name in ("resourceVersion", "generation", "managedFields"):
            metadata.pop(name, None)
        metadata["annotations"] = {
            name: value
            for name, value in metadata.get("annotations", {}).items()
            if "deployment.kubernetes" not in name
        }
        found[kind].pop("status", None)
    found["deployment"]["spec"].pop("replicas")
    return found


def _old_pods(scene: Scene) -> set[str]:
    """UIDs of the adopted pods that live."""
    pods = [one for one in scene.every("pods") if one["metadata"]["labels"].get("app") == "ranker"]
    return {one["metadata"]["uid"] for one in pods if "deletionTimestamp" not in one["metadata"]}


def _backends(scene: Scene) -> dict[str, int]:
    rule = scene.get("httproutes", "shop")["spec"]["rules"][1]
    return {one["name"]: one.get("weight", 1) for one in rule["backendRefs"]}


def _check_while_it_runs(scene: Scene, users: Users, pods: set[str]) -> None:
    status = scene.until(lambda s: s.get("weight") == 50, "half of the traffic")
    assert status["stable"]["revision"] == "external"
    assert status["stable"]["version"] == "external (1.8)"
    assert _old_pods(scene) == pods
    scene.until(lambda s: s.get("gates") and all(g.get("baselineSamples") for g in s["gates"]), "both arms measured")
    assert users.lost == 0, users.codes


def test_detail_3_the_page_takes_over_a_service_without_a_lost_request(
    cluster: LocalCluster, operator: Operator, tmp_path: Path
) -> None:
    """Adopt, steps, promotion, no pods after `warmFor`, and back: nothing of the old world is edited."""
    page, scene = _Page(cluster, tmp_path), Scene(cluster, "recs")
    scene.host = "ranker.example.com"
    try:
        page.run("before")
        eventually(lambda: len(_old_pods(scene)) == 3, "the old pods")
        before, pods = _untouched(scene), _old_pods(scene)
        with scene.users(40) as users:
            eventually(lambda: users.codes[200] > 20, "answers of the old pods")
            users.codes.clear()
            _walk(page, scene, users, before, pods)
        assert users.lost == 0, users.codes
        assert set(users.codes) == {200}
    finally:
        scene.kubectl("delete", "mro", "--all")
        cluster.kubectl("delete", "namespace", "recs", "--wait=false")


def _walk(page: _Page, scene: Scene, users: Users, before: Body, pods: set[str]) -> None:
    assert "ranker" in page.run("apply")
    _check_while_it_runs(scene, users, pods)
    assert "ranker" in page.run("look")
    page.run("wait")
    mine = f"ranker-{scene.revision('42')}"
    assert _old_pods(scene) == pods, "until warmFor is over no pod of theirs is touched"
    eventually(lambda: _backends(scene) == {mine: 100}, "the old Service to leave the rule")
    assert _untouched(scene) == before
    scene.kubectl("patch", "mro", "ranker", "--type=merge", "-p", '{"spec": {"rollback": {"warmFor": "1s"}}}')
    eventually(lambda: not _old_pods(scene), "the old Deployment to be scaled down", timeout=30)
    assert scene.get("deployments", "ranker")["spec"]["replicas"] == 0

    page.run("undo")
    scene.reach("RolledBack", reason="RevertedToPrevious")
    eventually(lambda: _backends(scene) == {"ranker": 100}, "the old Service alone in the rule")
    assert len(_old_pods(scene)) == 3
    assert _untouched(scene) == before
    served = users.revisions[""]
    eventually(lambda: users.revisions[""] > served + 20, "answers of the old pods again")

    without = '[{"op": "remove", "path": "/spec/adopt"}]'
    patched = scene.cluster.kubectl("patch", "mro", "ranker", "-n", "recs", "--type=json", "-p", without, check=False)
    assert "keep it until a revision of yours is promoted" in patched.stderr
    scene.decide("retry")
    scene.reach("Stable", version="42")
    eventually(lambda: _backends(scene) == {mine: 100}, "the old Service to leave the rule")
    page.run("clean")
    scene.reach("Stable", version="42")
    let_pass(2.0)


def test_detail_3_a_route_of_our_own_leads_to_it_also_when_the_rollout_is_deleted(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """In mid-step, with the policy that takes everything along: what was adopted serves on, alone."""
    scene = Scene(cluster, namespace)
    deployment, service, *_ = yaml.safe_load_all((_SAMPLES / "before.yaml").read_text(encoding="utf-8"))
    _as_processes(deployment["spec"]["template"]["spec"])
    for body in (deployment, service):
        body["metadata"]["namespace"] = namespace
        manifests.apply(cluster, body)
    eventually(lambda: scene.get("deployments", "ranker").get("status", {}).get("readyReplicas") == 3, "the old pods")
    change = changed(
        adopt={"service": "ranker"}, deletionPolicy="Delete", steps=[{"weight": 50, "hold": "1h"}], gates=[]
    )
    scene.apply("1", change=change)
    eventually(lambda: scene.weights.get("ranker") == 100, "the route with the old Service in it")
    with scene.users(40) as users:
        scene.at_weight(50)
        eventually(lambda: len(users.revisions) == 2, "answers of both")
        scene.kubectl("delete", "mro", "ranker", "--timeout=30s")
        eventually(lambda: len(scene.every("deployments")) == 1, "our Deployment to go")
    assert users.lost == 0, users.codes
    assert scene.weights == {"ranker": 100}
