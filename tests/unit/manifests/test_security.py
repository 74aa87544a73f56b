"""What manifests/ grants and asks for, as text: each right once, with its reason, and pods that need no privilege."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.kubectl import kustomize
from tests.support.rights import Right, expanded, role

MANIFESTS: Final = Path(__file__).parents[3] / "manifests"
RBAC: Final = MANIFESTS / "base" / "rbac.yaml"
ROLE: Final = MANIFESTS / "overlays" / "namespaced" / "role.yaml"
_OF_THE_CLUSTER: Final = ("rolloutfreezes", "namespaces", "validatingadmission")
_RULE: Final = re.compile(r"^- apiGroups: .*\n  resources: .*\n(  resourceNames: .*\n)?  verbs: .*\n", re.M)


def _granted() -> list[Right]:
    return list(expanded(role(RBAC, "ClusterRole", "modelrollout-operator")["rules"]))


def test_detail_30_no_right_stands_twice_and_none_is_a_wildcard() -> None:
    granted = _granted()
    assert len(granted) == len(set(granted))
    assert not [one for one in granted if "*" in "".join(one)]


def test_detail_30_rights_that_the_operator_must_never_have() -> None:
    for group, resource, verb in _granted():
        assert resource not in ("secrets", "serviceaccounts", "nodes", "pods/exec", "pods/log", "users", "groups")
        assert group not in ("rbac.authorization.k8s.io", "authentication.k8s.io", "authorization.k8s.io")
        assert verb not in ("update", "deletecollection", "impersonate", "bind", "escalate", "approve")
        assert (resource, verb) not in (("configmaps", "list"), ("services", "list"), ("httproutes", "delete"))
        assert resource not in ("modelrollouts", "rolloutdecisions", "rolloutfreezes") or verb not in (
            "create",
            "delete",
        )
        assert not resource.startswith("validatingadmission") or verb in ("list", "watch")


@pytest.mark.parametrize("file", [RBAC, ROLE], ids=["clusterwide", "namespaced"])
def test_detail_30_each_rule_says_what_it_is_for(file: Path) -> None:
    """A comment right before it, in the file that people read before they apply it."""
    text = file.read_text(encoding="utf-8")
    operators = text[text.index("name: modelrollout-operator") :]
    operators = operators[: operators.index("\n---")]
    rules = list(_RULE.finditer(operators))
    assert len(rules) > 10
    alone = [
        one.group() for one in rules if not operators[: one.start()].rstrip("\n").rsplit("\n", 1)[1].startswith("#")
    ]
    # Two rules may share one sentence only when the second goes on with the same.
    assert alone == [
        "- apiGroups: [modelrollout.io]\n  resources: [rolloutdecisions]\n  verbs: [list, watch]\n",
        "- apiGroups: [modelrollout.io]\n  resources: [rolloutincidents/status]\n  verbs: [patch]\n",
        *(['- apiGroups: [""]\n  resources: [namespaces]\n  verbs: [list, watch]\n'] if file == RBAC else []),
    ]


def test_detail_30_the_role_of_a_namespace_is_the_clusters_without_what_is_the_clusters() -> None:
    inside = {one for one in _granted() if not one.resource.startswith(_OF_THE_CLUSTER)}
    found = role(ROLE, "Role", "modelrollout-operator")
    assert set(expanded(found["rules"])) == inside | {Right("", "namespaces", "get")}
    (names,) = [one["resourceNames"] for one in found["rules"] if one["resources"] == ["namespaces"]]
    assert names == [found["metadata"]["namespace"]]


def test_detail_30_the_operator_of_a_namespace_has_no_right_in_the_cluster() -> None:
    made = kustomize(MANIFESTS / "overlays" / "namespaced")
    bound = [one for one in made if one["kind"] == "ClusterRoleBinding"]
    assert bound == []
    (args,) = [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in made if one["kind"] == "Deployment"]
    assert "--namespace=recs" in args


def _people(name: str) -> set[str]:
    """What may be said in decisions by whoever is bound to one of the roles for people."""
    files = (RBAC, MANIFESTS / "policies" / "roles.yaml")
    bodies = [body for file in files for body in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    (found,) = [one for one in bodies if one["metadata"]["name"] == name and one["kind"] == "ClusterRole"]
    return {right.verb for right in expanded(found["rules"]) if right.resource == "modelrollouts"}


def test_detail_23_who_releases_approves_nothing_and_who_approves_changes_nothing() -> None:
    release, approve = _people("modelrollout-release"), _people("modelrollout-approver-risk")
    assert not [verb for verb in release | _people("modelrollout-editor") if verb.startswith("approve")]
    assert approve == {"get", "list", "watch", "approve-risk"}
    assert _people("modelrollout-viewer") == {"get", "list", "watch"}
    assert "release" in release
    assert "release" not in _people("modelrollout-editor"), "who edits must have the rights to do it themselves"


OVERLAYS: Final = [MANIFESTS / "base", *sorted(one.parent for one in MANIFESTS.glob("overlays/*/kustomization.yaml"))]


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda one: one.name)
def test_the_pod_needs_no_privilege(folder: Path) -> None:
    (deployment,) = [one for one in kustomize(folder) if one["kind"] == "Deployment"]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(pod)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"]
    assert container["livenessProbe"]
    kinds = {one["kind"] for one in kustomize(folder)}
    assert {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= kinds


def test_the_network_policy_lets_nobody_reach_a_metadata_service() -> None:
    (policy,) = [one for one in kustomize(MANIFESTS / "base") if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    for rule in policy["spec"]["egress"]:
        for target in rule.get("to") or [{}]:
            block = target.get("ipBlock") or {"cidr": ""}
            if block["cidr"] == "0.0.0.0/0":
                assert "169.254.0.0/16" in block["except"]
            if block["cidr"] == "::/0":
                assert "fd00:ec2::254/128" in block["except"]
        assert 80 not in {port["port"] for port in rule["ports"]}, "nor by the port that they listen on"
