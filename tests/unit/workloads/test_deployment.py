"""Deployments, Services and pods as real status samples show them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import pytest

from modelrollout.api.enums import Role
from modelrollout.api.meta import LABEL_NAME, LABEL_REVISION
from modelrollout.api.objects import Rollout, parse_time
from modelrollout.api.status import ModelRolloutStatus, RevisionRef
from modelrollout.engine.revision import revision_hash
from modelrollout.kube.client import DEPLOYMENTS, Kube, NotFound
from modelrollout.kube.reflector import Reflector
from modelrollout.workloads import pods
from modelrollout.workloads.deployment import DeploymentWorkload, build_deployment, build_service, view_of

Body = dict[str, Any]
REVISION = "0123456789"


def _rollout(container: Body | None = None, **spec: Any) -> Rollout:
    server = {"name": "server", "image": "i", "ports": [{"containerPort": 8080}], "readinessProbe": {"httpGet": {}}}
    template = {"metadata": {"labels": {"team": "a"}}, "spec": {"containers": [server | (container or {})]}}
    return Rollout.parse(
        {
            "metadata": {
                "namespace": "recs",
                "name": "ranker",
                "uid": "u-1",
                "resourceVersion": "1",
                "creationTimestamp": "2026-11-21T12:00:00Z",
                "labels": {"argocd.argoproj.io/instance": "shop"},
            },
            "spec": {
                "model": {"version": "42", "uri": "s3://m/42"},
                "workload": {"template": template},
                "traffic": {"gatewayAPI": {"parentRefs": [{"name": "public"}]}},
                "steps": [{"weight": 50, "hold": "1s"}],
            }
            | spec,
        }
    )


def test_detail_9_the_pods_get_the_model_and_the_users_own_values_win() -> None:
    rollout = _rollout({"env": [{"name": "MODEL_VERSION", "value": "mine"}, {"name": "X", "value": "$(MODEL_URI)"}]})
    before = copy.deepcopy(rollout.raw_spec)
    env = build_deployment(rollout, REVISION, Role.CANDIDATE, 2)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [(one["name"], one["value"]) for one in env] == [
        ("MODEL_NAME", "ranker"),
        ("MODEL_URI", "s3://m/42"),
        ("MODEL_REVISION", REVISION),
        ("MODEL_VERSION", "mine"),
        ("X", "$(MODEL_URI)"),
    ]
    assert rollout.raw_spec == before, "the spec that is hashed is never touched"


def test_labels_tell_the_revision_and_none_of_the_rollouts_own_is_handed_down() -> None:
    body = build_deployment(_rollout(), REVISION, Role.CANDIDATE, 2)
    labels = body["spec"]["template"]["metadata"]["labels"]
    assert labels == {"team": "a", "modelrollout.io/name": "ranker", "modelrollout.io/revision": REVISION}
    assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert "argocd" not in str(body)


@pytest.mark.parametrize(
    ("role", "policy", "owners"),
    [
        (Role.CANDIDATE, "Orphan", ["u-1"]),
        (Role.RETIRED, "Orphan", ["u-1"]),
        (Role.STABLE, "Orphan", []),
        (Role.STABLE, "Delete", ["u-1"]),
    ],
)
def test_what_serves_is_not_the_garbage_collectors(role: Role, policy: str, owners: list[str]) -> None:
    rollout = _rollout(deletionPolicy=policy)
    for body in (build_deployment(rollout, REVISION, role, 2), build_service(rollout, REVISION, role, port=9)):
        assert [one["uid"] for one in body["metadata"].get("ownerReferences") or []] == owners


def test_detail_9_the_service_leads_to_the_port_that_serves() -> None:
    service = build_service(_rollout(), REVISION, Role.CANDIDATE, port=8080)
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    assert service["spec"]["selector"] == {"modelrollout.io/name": "ranker", "modelrollout.io/revision": REVISION}


def _pod(*conditions: Body, container: Body | None = None, **metadata: Any) -> Body:
    return {
        "metadata": {"name": "ranker-1", "labels": {}} | metadata,
        "status": {"conditions": list(conditions), "containerStatuses": [container] if container else []},
    }


SCHEDULED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-21T12:00:01Z"}
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T12:00:09Z"}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}}},
            'pod ranker-1: ImagePullBackOff: Back-off pulling image "x"',
        ),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}}, ""),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, ""),
        ({"state": {"running": {"startedAt": "2026-11-21T12:00:02Z"}}, "restartCount": 0}, ""),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                "restartCount": 3,
            },
            "pod ranker-1: CrashLoopBackOff after 3 restarts: exit code 1 (Error)",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
                "restartCount": 1,
            },
            "",
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                "restartCount": 1,
            },
            "pod ranker-1: OOMKilled: the container needs more memory than its limit",
        ),
    ],
)
def test_a_pods_own_words(container: Body, words: str) -> None:
    assert pods.failure(_pod(SCHEDULED, container=container)) == words


def test_no_room_is_not_a_failure() -> None:
    full = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: Insufficient cpu",
    }
    pod = _pod(full)
    assert pods.failure(pod) == ""
    assert pods.waiting(pod) == "pod ranker-1 finds no node: 0/1 nodes: Insufficient cpu"
    assert pods.progress_at(pod) is None


def test_progress_is_the_last_thing_that_went_forward() -> None:
    container = {"state": {"running": {"startedAt": "2026-11-21T12:00:05Z"}}}
    assert pods.progress_at(_pod(SCHEDULED, container=container)) == parse_time("2026-11-21T12:00:05Z")
    assert pods.progress_at(_pod(SCHEDULED, READY, container=container)) == parse_time("2026-11-21T12:00:09Z")
    assert pods.ready_since(_pod(SCHEDULED, READY)) == parse_time("2026-11-21T12:00:09Z")
    assert pods.ready_since(_pod(SCHEDULED)) is None


def _deployment(**status: Any) -> Body:
    body = build_deployment(_rollout(), REVISION, Role.STABLE, 3)
    body["metadata"]["annotations"]["modelrollout.io/promoted-at"] = "2026-11-21T12:00:00.500Z"
    return body | {"status": status}


def test_a_view_of_a_revision() -> None:
    dying = _pod(READY | {"lastTransitionTime": "2026-11-21T13:00:00Z"}, deletionTimestamp="2026-11-21T13:00:01Z")
    view = view_of(_deployment(), [_pod(SCHEDULED, READY), dying], 1)
    assert (view.revision, view.version, view.role, view.desired, view.ready) == (REVISION, "42", Role.STABLE, 3, 1)
    assert view.promoted_at == parse_time("2026-11-21T12:00:00.500Z")
    assert view.youngest_ready_at == parse_time("2026-11-21T12:00:09Z"), "a pod that is being deleted counts no more"
    assert view.failure == view.waiting == ""


def test_a_quota_is_told_in_the_servers_words() -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: tight'}
    view = view_of(_deployment(conditions=[failing]), [], 0)
    assert view.waiting == 'its pods are not admitted: pods "x" is forbidden: exceeded quota: tight'


class _Kube:
    """What an API server has, and what it was asked."""

    def __init__(self, *there: str) -> None:
        self.there = set(there)
        self.asked: list[str] = []

    async def get(self, path: str) -> Body:
        self.asked.append(f"GET {path.rsplit('/', 2)[1]} {path[-10:]}")
        if path[-10:] not in self.there:
            raise NotFound(404, "gone")
        return {}

    async def delete(self, path: str) -> None:
        self.asked.append(f"DELETE {path.rsplit('/', 2)[1]} {path[-10:]}")


def _copy(*bodies: Body) -> Reflector:
    reflector = Reflector(cast(Kube, None), DEPLOYMENTS, lambda _: None, index=LABEL_NAME)
    for number, body in enumerate(bodies, 1):
        metadata = {"namespace": "recs", "name": f"o{number}", "resourceVersion": str(number)} | body["metadata"]
        reflector.learn(body | {"metadata": metadata})
    return reflector


def _endpoints(revision: str) -> Body:
    labels = {LABEL_NAME: "ranker", LABEL_REVISION: revision, "kubernetes.io/service-name": f"ranker-{revision}"}
    return {"metadata": {"labels": labels}}


async def test_rule_14_a_crash_between_its_two_objects_leaves_no_service_behind() -> None:
    """Killed after the Deployment was deleted, or before it was made: nothing else would ever look for the Service."""
    rollout = _rollout()
    named = {one: f"{number}" * 10 for number, one in enumerate(("stable", "candidate", "kept", "late", "lonely"))}
    status = ModelRolloutStatus(
        stable=RevisionRef(revision=named["stable"]), candidate=RevisionRef(revision=named["candidate"])
    )
    kept = build_deployment(rollout, named["kept"], Role.RETIRED, 0)
    slices = _copy(*(_endpoints(one) for one in (*named.values(), revision_hash(rollout.raw_spec))))
    kube = _Kube(named["late"])
    workload = DeploymentWorkload(cast(Kube, kube), _copy(kept), _copy(), slices, _copy())
    await workload.align(replace(rollout, status=status))
    late, lonely = named["late"], named["lonely"]
    assert kube.asked == [f"GET deployments {late}", f"GET deployments {lonely}", f"DELETE services {lonely}"]


async def test_rule_14_a_service_that_is_left_alone_later_is_found_too() -> None:
    """Nothing is looked at twice that did not change, and everything that did is."""
    rollout, slices, kube = _rollout(), _copy(), _Kube()
    workload = DeploymentWorkload(cast(Kube, kube), _copy(), _copy(), slices, _copy())
    await workload.align(rollout)
    slices.learn(_copy(_endpoints("e" * 10)).get("recs", "o1") or {})
    await workload.align(rollout)
    await workload.align(rollout)
    assert kube.asked == [f"GET deployments {'e' * 10}", f"DELETE services {'e' * 10}"]


@pytest.mark.parametrize("changes", ["deployment", "pod", "endpoint"])
def test_what_a_revision_is_seen_as_follows_each_of_its_objects(changes: str) -> None:
    """A view is made once, and again when any of what it was made of has changed."""
    name, labels = f"ranker-{REVISION}", {LABEL_NAME: "ranker", LABEL_REVISION: REVISION}
    deployment = _deployment()
    pod = _pod(READY, name=f"{name}-1", labels=labels, creationTimestamp="2026-11-21T12:00:00Z")
    ready = _endpoints(REVISION) | {"endpoints": [{"conditions": {"ready": True}}]}
    copies = {"deployment": _copy(deployment), "pod": _copy(pod), "endpoint": _copy(ready)}
    workload = DeploymentWorkload(cast(Kube, None), copies["deployment"], copies["pod"], copies["endpoint"], _copy())
    before = workload.observe(_rollout())
    assert (before[REVISION].ready, before[REVISION].desired) == (1, 3)
    assert workload.observe(_rollout()) is before
    assert list(workload.pods(_rollout(), REVISION)) == [f"{name}-1"]
    edited = {
        "deployment": deployment | {"spec": deployment["spec"] | {"replicas": 5}},
        "pod": pod | {"status": {"conditions": [READY | {"lastTransitionTime": "2026-11-21T12:30:00Z"}]}},
        "endpoint": _endpoints(REVISION),
    }[changes]
    (known,) = copies[changes].objects.values()
    metadata = known["metadata"] | {"resourceVersion": "9"}
    copies[changes].learn(edited | {"metadata": metadata})
    after = workload.observe(_rollout())
    assert after[REVISION] != before[REVISION]
    gone = workload.observe(replace(_rollout(), name="other"))
    assert not gone, "nobody is shown another one's"
    workload.forget(("recs", "ranker"))
    assert workload.observe(_rollout()) == after


def test_spoilt_annotations_and_labels_are_survived() -> None:
    body = _deployment()
    body["metadata"]["annotations"]["modelrollout.io/promoted-at"] = "yesterday"
    body["metadata"]["labels"]["modelrollout.io/role"] = "king"
    view = view_of(body, [], 0)
    assert view.promoted_at is None
    assert view.role is Role.RETIRED
