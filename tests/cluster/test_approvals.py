"""Approvals with a name, as the people who give them: real users, real policies, and what each refusal says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

from localcluster import LocalCluster, eventually
from modelrollout.api.objects import parse_time
from tests.support import manifests
from tests.support.operator import ROOT
from tests.support.scene import Scene, changed, let_pass

if TYPE_CHECKING:
    from tests.support.operator import Operator

_POLICIES: Final = str(ROOT / "manifests" / "policies")
_STEPS: Final[list[dict[str, Any]]] = [
    {"weight": 20, "hold": "1s"},
    {"approval": {"role": "risk"}},
    {"weight": 50, "hold": "1s"},
]
_APPROVED: Final = changed(gates=[], steps=_STEPS)
_ROUTES: Final = "httproutes.gateway.networking.k8s.io"
_SETTLES_SECONDS: Final = 11.0
_CREATED: Final = "jsonpath={.metadata.creationTimestamp}"
_REVISION: Final = "0123456789ab"


@pytest.fixture(scope="module")
def policed(installed: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster with the policies; other tests do without them."""
    installed.kubectl("apply", "-k", _POLICIES)
    yield installed
    installed.kubectl("delete", "-k", _POLICIES, "--ignore-not-found")


class _People:
    """Who is who in a namespace: ann changes and releases, bob approves as risk, cleo as legal, dan is its admin."""

    def __init__(self, cluster: LocalCluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        verb, resource = "--verb=approve-legal", "--resource=modelrollouts.modelrollout.io"
        cluster.kubectl("create", "role", "legal", verb, resource, "-n", namespace)
        bindings = {
            "ann": "--clusterrole=modelrollout-release",
            "bob": "--clusterrole=modelrollout-approver-risk",
            "cleo": "--role=legal",
            "dan": "--clusterrole=admin",
        }
        for person, role in bindings.items():
            cluster.kubectl("create", "rolebinding", person, role, f"--user={person}", "-n", namespace)
        cluster.kubectl("create", "rolebinding", "writes", "--clusterrole=edit", "--user=cleo", "-n", namespace)
        cluster.kubectl("create", "serviceaccount", "bot", "-n", namespace)
        cluster.kubectl(
            "create", "rolebinding", "bot", "--clusterrole=cluster-admin", f"--serviceaccount={namespace}:bot", "-n",
            namespace,
        )  # fmt: skip
        self._files = {person: cluster.person_kubeconfig(person, namespace) for person in bindings}
        self._files["bot"] = cluster.service_account_kubeconfig(namespace, "bot")

    def name(self, person: str) -> str:
        """By which name the API server knows somebody."""
        return f"system:serviceaccount:{self._namespace}:bot" if person == "bot" else person

    def kubectl(self, person: str, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        """Kubectl as somebody."""
        own = ("--kubeconfig", str(self._files[person]), "-n", self._namespace)
        return self._cluster.kubectl(*own, *arguments, input=json.dumps(body) if body else None, check=False)

    def command(self, person: str, *words: str) -> subprocess.CompletedProcess[str]:
        """``modelrollout …`` as somebody."""
        call = [sys.executable, "-m", "modelrollout.cli.main", *words]
        own = {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(self._files[person])}
        return subprocess.run(call, env=os.environ | own, capture_output=True, text=True, timeout=60, check=False)

    def decide(self, person: str, action: str, *flags: str, **spec: Any) -> subprocess.CompletedProcess[str]:
        """Create a RolloutDecision as somebody."""
        told = {"rollout": "ranker", "action": action, "author": self.name(person)}
        if action in ("approve", "reject"):
            told |= {"role": "risk", "comment": "report 7 read", "revision": _REVISION}
        body = {
            "apiVersion": "modelrollout.io/v1alpha1",
            "kind": "RolloutDecision",
            "metadata": {"generateName": f"{action}-", "namespace": self._namespace},
            "spec": told | spec,
        }
        return self.kubectl(person, "create", *flags, "-f", "-", "-o", "json", body=body)


@pytest.fixture
def people(policed: LocalCluster, namespace: str) -> _People:
    """Everybody, with their rights in force."""
    found = _People(policed, namespace)

    def in_force() -> bool:
        stamped = found.kubectl("ann", "create", "--dry-run=server", "-f", "-", body=manifests.rollout(namespace))
        right = found.decide("bob", "approve", "--dry-run=server")
        assert stamped.returncode == right.returncode == 0, stamped.stderr + right.stderr
        return "is not who sends this" in found.decide("bob", "approve", "--dry-run=server", author="ann").stderr

    eventually(in_force, "roles and policies in force", timeout=30)
    return found


_REFUSED: Final[tuple[tuple[str, str, dict[str, str], tuple[str, ...]], ...]] = (
    ("bob", "approve", {"author": "ann"}, ('spec.author: "ann" is not who sends this', 'write "bob"')),
    ("bob", "approve", {"author": ""}, ('spec.author: "" is not who sends this', 'write "bob"')),
    ("ann", "approve", {}, ("ann may not approve ModelRollout ranker", "verbs [approve-risk]", "roles.yaml")),
    ("cleo", "approve", {}, ("cleo may not approve", "verbs [approve-risk]")),
    ("cleo", "reject", {}, ("cleo may not reject", "verbs [approve-risk]")),
    ("dan", "approve", {}, ("dan may not approve", "verbs [approve-risk]")),
    ("bot", "approve", {}, (":bot is a service account, and approvals are for people", "approvingMachines")),
    ("bot", "abort", {"author": "dan"}, ('spec.author: "dan" is not who sends this',)),
    ("bob", "promote", {}, ("bob may not promote", "verbs [promote]")),
)


def test_detail_23_who_may_say_what(people: _People) -> None:
    """Each refusal names field, value and remedy."""
    for person, action, spec, says in _REFUSED:
        done = people.decide(person, action, "--dry-run=server", **spec)
        assert done.returncode != 0, (person, action)
        assert not [word for word in says if word not in done.stderr], done.stderr
    for person, action, spec in (
        ("cleo", "approve", {"role": "legal"}),
        ("bob", "reject", {}),
        ("ann", "promote", {}),
        ("dan", "abort", {}),
        ("bot", "abort", {}),
    ):
        done = people.decide(person, action, "--dry-run=server", **spec)
        assert done.returncode == 0, done.stderr


def _allow(cluster: LocalCluster, namespace: str, person: str, verb: str, resource: str) -> None:
    """One more right for somebody."""
    name = f"{person}-{verb}-{resource.split('.')[0].replace('/', '-')}"
    cluster.kubectl("create", "role", name, f"--verb={verb}", f"--resource={resource}", "-n", namespace)
    cluster.kubectl("create", "rolebinding", name, f"--role={name}", f"--user={person}", "-n", namespace)


def test_detail_30_nobody_has_the_operator_do_what_they_may_not(
    people: _People, policed: LocalCluster, namespace: str
) -> None:
    """Run pods, lead traffic, stop a Deployment: each is refused, in words that lead on, until the right is there."""
    body = manifests.rollout(namespace)
    adopting = body | {"spec": body["spec"] | {"adopt": {"service": "old", "deployment": "old"}}}
    attached = {"gatewayAPI": {"route": {"name": "shop", "rule": "a"}}}
    routed = body | {"spec": body["spec"] | {"traffic": attached}}

    def refusal(person: str, manifest: Any) -> str:
        return people.kubectl(person, "create", "--dry-run=server", "-f", "-", body=manifest).stderr

    def refused(person: str, manifest: Any, *words: str) -> None:
        """Within the moment in which the API server learns of a new right."""
        eventually(lambda: all(word in refusal(person, manifest) for word in words), " ".join(words))

    def free(person: str, manifest: Any) -> None:
        eventually(lambda: not refusal(person, manifest), f"{person} may do it")

    assert "cannot create resource" in refusal("bob", body), "an approver writes no ModelRollout at all"
    _allow(policed, namespace, "bob", "create", "modelrollouts.modelrollout.io")
    steps = (
        (body, "spec.workload: bob may not run pods", "create on deployments and services", "create", "services"),
        (body, "spec.workload: bob may not run pods", "the verb release", "create", "deployments.apps"),
        (body, "spec.traffic: bob may not lead traffic", "create on httproutes", "create", _ROUTES),
        (routed, "spec.traffic: bob may not lead traffic", "patch on httproutes shop", "patch", _ROUTES),
        (
            adopting,
            "spec.adopt.deployment: bob may not scale Deployment old",
            "patch on",
            "patch",
            "deployments.apps/scale",
        ),
    )
    for manifest, said, remedy, verb, right in steps:
        refused("bob", manifest, said, remedy)
        _allow(policed, namespace, "bob", verb, right)
    for manifest in (body, routed, adopting):
        free("bob", manifest)
        assert not refusal("ann", manifest), "who releases needs none of these rights"
    assert "spec.traffic: cleo may not lead traffic" in refusal("cleo", body), "edit has no HTTPRoutes"


def test_detail_23_what_nobody_may_write(people: _People, policed: LocalCluster, namespace: str) -> None:
    """The author of a change, the answer on a decision, and a way around an approval."""
    body = manifests.rollout(namespace)
    _APPROVED(body["spec"])

    def author() -> str:
        found = policed.kubectl("get", "mro", "ranker", "-n", namespace, "-o", "json").stdout
        return str(json.loads(found)["metadata"]["annotations"]["modelrollout.io/author"])

    forged = body["metadata"] | {"annotations": {"modelrollout.io/author": "bob"}}
    assert people.kubectl("ann", "apply", "-f", "-", body=body | {"metadata": forged}).returncode == 0
    assert author() == "ann", "whatever was written into it"
    people.kubectl("dan", "annotate", "mro", "ranker", "modelrollout.io/author=bob", "--overwrite")
    people.kubectl("dan", "replace", "-f", "-", body=body)
    assert author() == "ann", "nothing that is released was changed"
    body["spec"]["model"]["version"] = "2"
    done = people.kubectl("dan", "apply", "--server-side", "--force-conflicts", "-f", "-", body=body)
    assert (done.returncode, author()) == (0, "dan"), done.stderr

    for around in ([_STEPS[0], _STEPS[2]], [_STEPS[0], _STEPS[2], _STEPS[1]]):
        body["spec"]["steps"] = around
        done = people.kubectl("ann", "replace", "-f", "-", body=body)
        assert "spec.steps: ann may not change weights, approvals" in done.stderr
        assert "who has the verb approve-risk" in done.stderr
    body["spec"]["steps"] = [_STEPS[0] | {"hold": "2s"}, *_STEPS[1:]]
    assert people.kubectl("ann", "replace", "-f", "-", body=body).returncode == 0, "holds are free"
    gone = body | {"spec": body["spec"] | {"deletionPolicy": "Delete"}}
    done = people.kubectl("ann", "replace", "-f", "-", body=gone)
    assert "spec.traffic, adopt and deletionPolicy: ann may not change weights" in done.stderr
    unjudged = body | {"spec": body["spec"] | {"mode": "observe"}}
    done = people.kubectl("dan", "replace", "-f", "-", body=unjudged)
    assert (done.returncode, author()) == (0, "dan"), "how it is judged is part of the change"

    labels = ("modelrollout.io/require-approval=risk", "modelrollout.io/require-approval-above=20")
    policed.kubectl("label", "namespace", namespace, *labels)
    other = {"metadata": body["metadata"] | {"name": "other"}}
    for steps in ([_STEPS[0], _STEPS[2]], [_STEPS[0], _STEPS[2], _STEPS[1]]):
        done = people.kubectl("ann", "create", "-f", "-", body=body | other | {"spec": body["spec"] | {"steps": steps}})
        assert "add a step {approval: {role: risk}} before the first weight above 20" in done.stderr
    done = people.kubectl("ann", "create", "--dry-run=server", "-f", "-", body=body | other)
    assert done.returncode == 0, done.stderr
    policed.kubectl("label", "namespace", namespace, "modelrollout.io/require-approval-above=few", "--overwrite")
    done = people.kubectl("ann", "create", "--dry-run=server", "-f", "-", body=body | other)
    assert '"few" is no weight' in done.stderr

    made = json.loads(people.decide("dan", "pause").stdout)["metadata"]["name"]
    patch = '{"status": {"state": "Applied", "verified": true}}'
    done = policed.kubectl(
        "patch", "mrd", made, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch, check=False
    )
    assert "only system:serviceaccount:modelrollout-system:modelrollout says what became" in done.stderr
    assert "cannot be edited" in _edited(policed, namespace, made)


def test_detail_23_a_freeze_is_signed_by_who_says_it(policed: LocalCluster, namespace: str) -> None:
    def freeze(person: str, verb: str, *flags: str, **spec: object) -> subprocess.CompletedProcess[str]:
        body = {"apiVersion": "modelrollout.io/v1alpha1", "kind": "RolloutFreeze", "metadata": {"name": namespace}}
        text = json.dumps(body | {"spec": {"reason": "why", "namespaces": [namespace], "author": "bob"} | spec})
        who = (f"--as={person}", "--as-group=system:masters")
        return policed.kubectl(verb, *who, *flags, "-o", "json", "-f", "-", input=text, check=False)

    def author(done: subprocess.CompletedProcess[str]) -> str:
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["spec"]["author"])

    assert author(freeze("ann", "create")) == "ann", "whatever was written into it"
    assert author(freeze("dan", "replace", author="ann")) == "ann", "nothing was changed"
    assert author(freeze("dan", "replace", author="ann", until="2040-01-01T00:00:00Z")) == "dan"
    policed.kubectl("delete", "rolloutfreeze", namespace)
    policed.kubectl("delete", "mutatingadmissionpolicybinding", "modelrollout-freezes")
    refused = 'spec.author: "bob" is not who sends this: write "ann"'
    eventually(
        lambda: refused in freeze("ann", "create", "--dry-run=server").stderr, "it to be written by people", timeout=20
    )
    assert freeze("ann", "create", "--dry-run=server", author="ann").returncode == 0


def _edited(cluster: LocalCluster, namespace: str, decision: str) -> str:
    """What the API server says to an administrator who edits a decision."""
    patch = '{"spec": {"author": "bob"}}'
    return cluster.kubectl("patch", "mrd", decision, "-n", namespace, "--type=merge", "-p", patch, check=False).stderr


def test_detail_40_an_approval_from_the_question_to_the_record(
    policed: LocalCluster, operator: Operator, people: _People, namespace: str
) -> None:
    scene = Scene(policed, namespace)
    people.kubectl("ann", "apply", "-f", "-", body=scene.manifest("1", change=_APPROVED))
    scene.reach("Stable", version="1")
    created = policed.kubectl("get", "validatingadmissionpolicy", "modelrollout-author", "-o", _CREATED).stdout
    let_pass(max(0.0, _SETTLES_SECONDS - (datetime.now(UTC) - parse_time(created)).total_seconds()))
    people.kubectl("ann", "apply", "-f", "-", body=scene.manifest("2", change=_APPROVED))
    status = scene.reach("AwaitingApproval", reason="AwaitingApproval")
    assert status["weight"] == 20
    assert "--role risk" in status["next"]
    assert status["authors"] == ["ann"]

    listed = people.command("bob", "approvals")
    assert "risk" in listed.stdout
    assert "kubectl modelrollout approve ranker" in listed.stdout
    assert "may not" in people.command("ann", "approvals").stdout

    policed.kubectl(
        "create", "rolebinding", "self", "--clusterrole=modelrollout-approver-risk", "--user=ann", "-n", namespace
    )
    own = eventually(lambda: _said(people, "ann"), "ann's approval of her own change", timeout=20)
    assert "1 more" in own
    assert "does not count alone" in own
    done = people.command("bob", "approve", "ranker", "--role", "risk", "-m", "report 7 read")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step approval-risk is approved" in done.stdout
    scene.reach("Stable", version="2")

    record = next(one for one in scene.every("rolloutdecisions") if one["spec"]["author"] == "bob")
    assert record["status"]["verified"] is True
    seen = record["status"]["seen"]
    assert (seen["version"], seen["weight"], seen["step"]) == ("2", 20, "approval-risk")
    assert f'decision on record: {{"name": "{record["metadata"]["name"]}"' in operator.log()
    timeline = json.loads(people.command("bob", "audit", "ranker", "-o", "json").stdout)
    said = [(one["who"], one["what"].split(":")[0], one["why"]) for one in timeline if one["source"] == "decision"]
    assert said == [("ann", "approve as risk", "mine"), ("bob", "approve as risk", "report 7 read")]
    assert any("the last change of what is released by ann" in one["what"] for one in timeline)

    people.kubectl("ann", "apply", "-f", "-", body=scene.manifest("3", change=_APPROVED))
    _without_the_policy(scene, people, scene.reach("AwaitingApproval"))


def _without_the_policy(scene: Scene, people: _People, status: dict[str, Any]) -> None:
    """Its binding is taken away: what stops is done all the same, an approval is refused with the remedy."""
    scene.kubectl("delete", "validatingadmissionpolicybinding", "modelrollout-decisions")
    forged = eventually(lambda: _forged(people, status), "the binding to be gone", timeout=20)
    answer = scene.answer(forged)
    assert answer["state"] == "Refused"
    assert answer["verified"] is False
    assert "kubectl apply -k manifests/policies" in answer["message"]
    pause = scene.answer(scene.decide("pause"))
    assert (pause["state"], pause["verified"]) == ("Applied", False)
    assert "modelrollout-decisions" in pause["unverifiedBecause"]
    assert scene.status.get("approvals") in (None, [])


def _said(people: _People, person: str) -> str:
    done = people.command(person, "approve", "ranker", "--role", "risk", "-m", "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _forged(people: _People, status: dict[str, Any]) -> str:
    done = people.decide("cleo", "approve", author="bob", revision=status["candidate"]["revision"])
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["metadata"]["name"])
