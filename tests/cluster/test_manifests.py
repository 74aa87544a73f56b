"""What is shipped, on a real API server: every overlay is admitted, the pod under the strictest standard, and an
operator with the rights of one namespace alone does its whole work there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from localcluster import LocalCluster, eventually
from localcluster.api import ApiError
from tests.support.kubectl import kustomize
from tests.support.operator import ROOT, Operator
from tests.support.rights import expanded, role, used
from tests.support.scene import Scene, api, changed

Body = dict[str, Any]

_MANIFESTS: Final = ROOT / "manifests"
_OVERLAYS: Final = [
    _MANIFESTS / "base",
    *sorted(one.parent for one in _MANIFESTS.glob("overlays/*/kustomization.yaml")),
]
_SYSTEM: Final = "modelrollout-system"
_NARROW: Final = f"system:serviceaccount:{_SYSTEM}:narrow"


def test_every_overlay_is_admitted(installed: LocalCluster) -> None:
    """As the API server would take it, without a word of warning: a field that does not exist would be one."""
    made = [one for folder in (*_OVERLAYS, _MANIFESTS / "policies") for one in kustomize(folder)]
    installed.kubectl("create", "namespace", "recs")
    text = "\n---\n".join(json.dumps(one) for one in made)
    done = installed.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=text)
    assert not done.stderr
    installed.kubectl("delete", "namespace", "recs", "--wait=false")


def test_view_edit_and_admin_of_a_namespace_know_rollouts(installed: LocalCluster) -> None:
    """Aggregated by the controller manager; none of them approves anything, or stands in for rights on pods."""

    def verbs(name: str) -> set[str]:
        rules = api(installed).get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}")["rules"]
        return {right.verb for right in expanded(rules) if right.resource == "modelrollouts"}

    eventually(lambda: verbs("view") and verbs("edit") and verbs("admin"), "the roles to be put together")
    assert verbs("view") == {"get", "list", "watch"}
    for name in ("edit", "admin"):
        assert verbs(name) >= {"create", "update", "delete", "promote", "abort"}
        assert not [verb for verb in verbs(name) if verb == "release" or verb.startswith("approve")]


def _pod(changes: Body | None = None) -> Body:
    """The operator's pod, as its Deployment would make it."""
    (deployment,) = [one for one in kustomize(_MANIFESTS / "base") if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    template["spec"]["containers"][0]["securityContext"] |= changes or {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-", **template["metadata"]}} | {
        "spec": template["spec"]
    }


def test_the_pod_is_admitted_under_the_restricted_standard(installed: LocalCluster) -> None:
    """In its own namespace, which enforces it; the same pod with one privilege is refused there."""
    path = f"/api/v1/namespaces/{_SYSTEM}/pods?dryRun=All"
    assert api(installed).post(path, _pod())["spec"]["automountServiceAccountToken"]
    privileges: tuple[Body, ...] = ({"allowPrivilegeEscalation": True}, {"capabilities": {}}, {"runAsUser": 0})
    for privilege in privileges:
        with pytest.raises(ApiError, match="violates PodSecurity"):
            api(installed).post(path, _pod(privilege))


@pytest.fixture
def narrow(installed: LocalCluster, namespace: str) -> Iterator[Operator]:
    """An operator with the Role of overlays/namespaced, and no other right at all."""
    bodies = list(yaml.safe_load_all((_MANIFESTS / "overlays" / "namespaced" / "role.yaml").read_text("utf-8")))
    for body in bodies:
        body["metadata"]["namespace"] = namespace
    bodies[0]["rules"][-1]["resourceNames"] = [namespace]
    bodies[1]["subjects"][0]["name"] = "narrow"
    installed.kubectl("create", "serviceaccount", "narrow", "-n", _SYSTEM)
    installed.kubectl("label", "namespace", namespace, "modelrollout.io/freeze=true")
    installed.kubectl("apply", "-f", "-", input="\n---\n".join(json.dumps(one) for one in bodies))
    lease = ("-n", _SYSTEM, "--serviceaccount", f"{_SYSTEM}:narrow")
    installed.kubectl("create", "role", "narrow", "--verb=get,create,update", "--resource=leases", *lease[:2])
    installed.kubectl("create", "rolebinding", "narrow", "--role=narrow", *lease)
    ours = Operator(installed)
    ours.kubeconfig = installed.service_account_kubeconfig(_SYSTEM, "narrow")
    ours.arguments += ["--namespace", namespace]
    ours.start()
    yield ours
    ours.kill()
    installed.kubectl("delete", "serviceaccount,role,rolebinding", "narrow", "-n", _SYSTEM)


def test_detail_30_an_operator_of_one_namespace_needs_no_right_in_the_cluster(
    installed: LocalCluster, narrow: Operator, namespace: str
) -> None:
    """A whole release with the Role only; the namespace's own label stops it; nobody vouches for who said what."""
    scene = Scene(installed, namespace)
    quick = changed(gates=[], steps=[{"weight": 50, "hold": "1s"}], rollback={"warmFor": "1s", "keep": 0})
    scene.serve_first(change=quick)
    scene.apply("2", change=quick)
    frozen = scene.until(lambda s: "modelrollout.io/freeze=true" in s["message"], "the freeze to be said")
    assert frozen["weight"] == 0
    assert "modelrollout-cluster-reader" in scene.answer(scene.decide("resume"))["unverifiedBecause"]
    installed.kubectl("label", "namespace", namespace, "modelrollout.io/freeze-")
    scene.reach("Stable", version="2")
    assert "RolloutFreezes hold nothing here" in narrow.log()
    assert installed.audit_log is not None
    granted = expanded(
        role(_MANIFESTS / "overlays" / "namespaced" / "role.yaml", "Role", "modelrollout-operator")["rules"]
    )
    assert used(installed.audit_log, _NARROW, "modelrollout-operator") <= set(granted)
