"""GitOps controllers and people at the same objects: field managers of a real API server, and who wins."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.kstatus import verdicts
from tests.support.lua import ARGOCD, run
from tests.support.scene import Scene, changed, let_pass, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]

_ROOT = Path(__file__).parents[2]
_FLUX, _ARGOCD = "kustomize-controller", "argocd-controller"
_PARENT = {"name": "public", "namespace": "gateway-system"}


def _server_side(scene: Scene, body: Body, manager: str) -> None:
    """As Flux and Argo CD apply: under their own name, taking over what others changed."""
    flags = ["--server-side", "--force-conflicts", f"--field-manager={manager}"]
    scene.kubectl("apply", *flags, "-f", "-", input=json.dumps(body))


def _actions() -> list[Body]:
    raw = (ARGOCD / "actions.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load(raw)["definitions"])


def _kstatus(scene: Scene) -> str:
    return verdicts({"it": scene.rollout})["it"]["kstatus"]


def _shop(scene: Scene) -> Body:
    """A user's route as it is in Git, with a placeholder."""
    backends = [{"name": "placeholder", "port": 80, "weight": 100}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": scene.namespace},
        "spec": {
            "parentRefs": [_PARENT],
            "hostnames": [scene.host],
            "rules": [{"name": "rank", "backendRefs": backends}],
        },
    }


def _weights_of(scene: Scene, route: str) -> dict[str, int]:
    rule = scene.get("httproutes", route)["spec"]["rules"][0]
    return {one["name"]: one["weight"] for one in rule.get("backendRefs") or []}


def _attached_route_is_contested(cluster: LocalCluster, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    ports = [{"port": 80, "targetPort": 8080}]
    placeholder = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "placeholder", "namespace": namespace}}
    manifests.apply(cluster, placeholder | {"spec": {"selector": {"nobody": "here"}, "ports": ports}})
    _server_side(scene, _shop(scene), _FLUX)
    traffic = {"gatewayAPI": {"route": {"name": "shop", "rule": "rank", "backend": "placeholder"}}}

    def change(spec: Body) -> None:
        spec["traffic"] = traffic
        spec["gates"] = []
        spec["steps"] = [{"weight": 50, "hold": "1h"}]

    scene.serve_first(change=change)
    scene.apply("2", change=change)
    scene.at_weight(50)
    old, new = (f"ranker-{scene.revision(version)}" for version in ("1", "2"))

    _server_side(scene, _shop(scene), _FLUX)
    status = scene.reach("Paused", reason="PausedByOutsideEdit")
    assert f"{_FLUX} lowered the candidate's weight from 50 % to 0 %" in status["message"]
    for _ in range(2):
        eventually(lambda: _weights_of(scene, "shop").get(old) == 100, "the stable revision to be put back")
        _server_side(scene, _shop(scene), _FLUX)
    status = scene.reach("Stalled", reason="RouteContested")
    assert f"{_FLUX} has written over the weights" in status["message"]
    assert _kstatus(scene) == "Failed"
    eventually(lambda: _weights_of(scene, "shop") == {old: 100, new: 0}, "the stable revision to be put back")

    assert scene.answer(scene.decide("resume"))["state"] == "Applied"
    scene.at_weight(50)
    without_rules = _shop(scene)
    del without_rules["spec"]["rules"]
    _server_side(scene, without_rules, _FLUX)  # what `spec.ignore` of /spec/rules makes of it
    let_pass(1.5)
    assert _weights_of(scene, "shop") == {old: 50, new: 50}
    assert scene.get("httproutes", "shop")["spec"]["rules"][0]["name"] == "rank"
    assert scene.status["phase"] == "Progressing"


def _own_route_obeys_and_names(cluster: LocalCluster, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    change = changed(steps=[{"weight": 20, "hold": "1h"}, {"weight": 50, "hold": "1h"}], gates=[])
    scene.serve_first(change=change)
    scene.apply("2", change=change)
    scene.at_weight(20)

    def edit_with_kubectl() -> None:
        environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig),
            "KUBE_EDITOR": "sed -i -e 's/weight: 20$/weight: 5/' -e 's/weight: 80$/weight: 95/'",
        }
        command = [str(cluster.kubectl_path), "-n", namespace, "edit", "httproute", "ranker"]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def apply_as_argo_cd() -> None:
        body = scene.route
        rules = copy.deepcopy(body["spec"]["rules"])
        rules[0]["backendRefs"] = [one for one in rules[0]["backendRefs"] if one["weight"] == 80]
        metadata = {"name": "ranker", "namespace": namespace}
        kept = {"apiVersion": body["apiVersion"], "kind": "HTTPRoute", "metadata": metadata}
        _server_side(scene, kept | {"spec": body["spec"] | {"rules": rules}}, _ARGOCD)

    def apply_with_kubectl() -> None:
        body = copy.deepcopy(scene.route)
        for one in body["spec"]["rules"][0]["backendRefs"]:
            one["weight"] = {20: 10, 80: 90}[one["weight"]]
        body["metadata"].pop("resourceVersion")
        manifests.apply(cluster, body)

    edits = [(edit_with_kubectl, "kubectl-edit", 5), (apply_as_argo_cd, _ARGOCD, 0)]
    for edit, manager, weight in edits:
        edit()
        status = scene.reach("Paused", reason="PausedByOutsideEdit")
        assert f"{manager} lowered the candidate's weight from 20 % to {weight} %" in status["message"]
        assert status["weight"] == weight
        assert _kstatus(scene) == "InProgress"
        assert scene.answer(scene.decide("resume"))["state"] == "Applied"
        scene.at_weight(20)
    apply_with_kubectl()
    status = scene.reach("Stalled", reason="RouteContested")
    assert "kubectl-client-side-apply has written over" in status["message"]
    assert status["weight"] == 10
    assert sorted(scene.weights.values()) == [10, 90], "what lowers is obeyed all the same"


def test_detail_5_edits_of_routes_are_obeyed_named_and_when_repeated_contested(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """A route of the user's that a tool puts back, and one of the operator's own that three people lower."""
    other = f"{namespace}-own"
    cluster.kubectl("create", "namespace", other)
    together(
        lambda: _attached_route_is_contested(cluster, namespace), lambda: _own_route_obeys_and_names(cluster, other)
    )
    cluster.kubectl("delete", "namespace", other, "--wait=false")


def test_detail_26_tools_that_apply_the_same_object_again_are_never_fought(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    """We write nothing but status and the finalizer, there is no new generation, and nothing for them to put right."""
    scene = Scene(cluster, namespace)
    change = changed(steps=[{"weight": 20, "hold": "1h"}], gates=[])
    first, second = (scene.manifest(version, change=change) for version in ("1", "2"))
    _server_side(scene, first, _FLUX)
    scene.reach("Stable", version="1")
    assert _kstatus(scene) == "Current"
    _server_side(scene, second, _FLUX)
    scene.at_weight(20)
    before = scene.rollout
    for manager in (_FLUX, _ARGOCD, _FLUX, _ARGOCD):
        _server_side(scene, second, manager)
        flags = ["--server-side", "--force-conflicts", f"--field-manager={manager}"]
        scene.kubectl("diff", *flags, "-f", "-", input=json.dumps(second))  # fails when there is one
    after = scene.rollout
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    live = json.loads(scene.kubectl("get", "mro", "ranker", "-o", "json", "--show-managed-fields"))
    ours = [one for one in live["metadata"]["managedFields"] if one["manager"] == "modelrollout"]
    assert ours
    assert all(set(one["fieldsV1"]) <= {"f:status", "f:metadata"} for one in ours)
    assert scene.status["phase"] == "Progressing"
    assert _kstatus(scene) == "InProgress"

    _server_side(scene, first, _ARGOCD)  # git revert
    scene.reach("Stable", version="1")
    assert _kstatus(scene) == "Current"


def test_detail_26_nobody_takes_an_object_that_no_operator_has_seen_for_finished(
    installed: LocalCluster, namespace: str
) -> None:
    scene = Scene(installed, namespace)
    scene.apply("1")
    assert (scene.status["observedGeneration"], scene.status["phase"]) == (-1, "Pending")
    assert verdicts({"it": scene.rollout})["it"] == {"kstatus": "InProgress", "flux": "InProgress"}
    scene.kubectl("delete", "mro", "ranker")


def test_what_is_shipped_for_git_is_taken_by_the_api_server(installed: LocalCluster, namespace: str) -> None:
    """Argo CD's keys are added beside those that are there, its server may do what a button does, and the kustomize
    sample and its overlay are real objects."""
    cluster, gitops = installed, _ROOT / "manifests" / "gitops"
    cluster.kubectl("create", "namespace", "argocd")
    cluster.kubectl("create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://argocd.example.com")
    cluster.kubectl("apply", "--server-side", "-k", str(gitops / "argocd"))
    data = json.loads(cluster.kubectl("get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json").stdout)["data"]
    assert set(data) == {
        "url",
        "resource.customizations.health.modelrollout.io_ModelRollout",
        "resource.customizations.actions.modelrollout.io_ModelRollout",
    }
    made = cluster.kubectl("kustomize", str(gitops / "kustomize" / "production")).stdout
    here = made.replace("namespace: recs", f"namespace: {namespace}")
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", input=here)
    script = next(one["action.lua"] for one in _actions() if one["name"] == "abort")
    (made_by_lua,) = run(script, {"metadata": {"name": "ranker", "namespace": namespace}, "status": {}})
    as_argo_cd = ["create", f"--as={made_by_lua['resource']['spec']['author']}", "-f", "-"]
    cluster.kubectl(*as_argo_cd, input=json.dumps(made_by_lua["resource"]))
    cluster.kubectl("delete", "-k", str(gitops / "argocd"))
    cluster.kubectl("delete", "namespace", "argocd", "--wait=false")
