"""What other people's Service and Deployment show, and how often they are asked."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from modelrollout.api.meta import EXTERNAL
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import Adopt
from modelrollout.api.status import ModelRolloutStatus, RevisionRef
from modelrollout.kube.client import KubeError, NotFound
from modelrollout.workloads.adopted import AdoptedWorkload, problem_of, view_of
from tests.support.world import spec

Body = dict[str, Any]
CREATED = "2026-11-20T08:00:00Z"


def _service(*ports: int, **selector: str) -> Body:
    named = [{"name": f"p{port}", "port": port, "targetPort": "web"} for port in ports or (8080,)]
    return {
        "metadata": {"name": "old", "creationTimestamp": CREATED},
        "spec": {"ports": named, "selector": selector or {"app": "old"}},
    }


def _deployment(image: str = "registry.example/ranker:1.8", replicas: int = 3, **labels: str) -> Body:
    template = {
        "metadata": {"labels": labels or {"app": "old", "tier": "x"}},
        "spec": {"containers": [{"image": image}]},
    }
    return {"metadata": {"name": "old"}, "spec": {"replicas": replicas, "template": template}}


def _slice(*uids: str, ready: bool | None = True) -> Body:
    return {
        "endpoints": [
            {"addresses": [f"10.0.0.{uid}"], "targetRef": {"uid": uid}, "conditions": {"ready": ready}} for uid in uids
        ]
    }


def _pod(name: str = "old-6d8f9c7b5-x2x4z", owner: str = "old-6d8f9c7b5") -> Body:
    owners = [{"kind": "ReplicaSet", "name": owner, "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "creationTimestamp": CREATED, "ownerReferences": owners},
        "spec": {"containers": [{"image": "registry.example/ranker:1.8"}]},
    }


@pytest.mark.parametrize(
    ("adopt", "service", "deployment", "words"),
    [
        ({}, None, None, "there is no Service old in namespace recs: apply it, correct the name, or leave adopt out"),
        ({}, _service(80, 90), None, "has not exactly one port (80, 90): give spec.adopt.port"),
        ({"port": 81}, _service(80, 90), None, "has no port 81 (its ports are 80, 90)"),
        ({"deployment": "older"}, _service(), None, "there is no Deployment older in namespace recs"),
        ({"deployment": "old"}, _service(app="else"), _deployment(), "does not lead to the pods of Deployment old"),
        ({"deployment": "old"}, _service(), _deployment(), ""),
        ({"port": 90}, _service(80, 90), None, ""),
        ({}, _service(), None, ""),
    ],
)
def test_detail_3_what_cannot_be_adopted_says_the_remedy(
    adopt: Body, service: Body | None, deployment: Body | None, words: str
) -> None:
    found = problem_of(Adopt.model_validate({"service": "old"} | adopt), "recs", {"app": "new"}, service, deployment)
    assert words in found
    assert bool(found) is bool(words)


def test_detail_3_a_service_that_would_lead_to_our_pods_too_cannot_be_adopted() -> None:
    """The pods' labels were copied from the Deployment: the old Service would take in every candidate."""
    adopt = Adopt(service="old")
    found = problem_of(adopt, "recs", {"app": "old", "team": "x"}, _service(), None)
    assert "Service old selects app=old" in found
    assert "take one of these labels out of the template" in found
    assert problem_of(adopt, "recs", {"team": "x"}, _service(), None) == ""
    no_selector = _service()
    del no_selector["spec"]["selector"]
    assert problem_of(adopt, "recs", {"app": "old"}, no_selector, None) == ""


def test_endpoints_of_two_families_count_once_and_those_that_are_not_ready_not_at_all() -> None:
    slices = [_slice("1", "2"), _slice("1", "2"), _slice("3", ready=False), _slice("4", ready=None)]
    view = view_of(_service(), slices, [_pod()], _deployment(), scalable=True)
    assert (view.revision, view.ready, view.desired) == (EXTERNAL, 3, 3)
    assert view.promoted_at is not None, "it counts as promoted: an undo goes back to it without steps"


def test_a_pod_that_failed_once_is_no_reason_not_to_go_back_while_all_are_ready() -> None:
    pod = _pod()
    ended = {"reason": "OOMKilled", "exitCode": 137}
    pod["status"] = {"containerStatuses": [{"restartCount": 1, "lastState": {"terminated": ended}, "state": {}}]}
    assert view_of(_service(), [_slice("1", "2", "3")], [pod], _deployment(), scalable=True).failure == ""
    assert "OOMKilled" in view_of(_service(), [_slice("1", "2")], [pod], _deployment(), scalable=True).failure


def test_without_a_named_deployment_what_is_ready_is_what_is_wanted() -> None:
    assert view_of(_service(), [_slice("1")], [], _deployment(replicas=9), scalable=False).desired == 1
    view = view_of(_service(), [], [], None, scalable=False)
    assert "start its pods, or give spec.adopt.deployment" in view.waiting


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry.example:5000/ranker:1.8", "external (1.8)"),
        ("registry.example:5000/ranker", EXTERNAL),
        ("ranker@sha256:0123", EXTERNAL),
        ("ranker:1.8@sha256:0123", EXTERNAL),
    ],
)
def test_people_know_it_by_the_tag_of_its_image(image: str, version: str) -> None:
    assert view_of(_service(), [], [], _deployment(image), scalable=True).version == version


class _Cluster:
    """Answers by the plural in the path; None is a 404, an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.patched: list[tuple[str, Body]] = []

    async def get(self, path: str, **query: str) -> Body:
        plural = next(
            name for name in ("endpointslices", "replicasets", "deployments", "services", "pods") if name in path
        )
        self.asked.append(plural)
        answer = self.answers.get(plural)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise NotFound(404, path)
        return cast(Body, answer)

    async def merge_patch(self, path: str, body: Body, *, careful: bool = False) -> Body:
        self.patched.append((path, body))
        return {}


def _serving() -> _Cluster:
    return _Cluster(
        services=_service(),
        endpointslices={"items": [_slice("1", "2", "3")]},
        pods={"items": [_pod()]},
        replicasets={"metadata": {"ownerReferences": [{"kind": "Deployment", "name": "old", "controller": True}]}},
        deployments=_deployment(),
    )


def _rollout(**adopt: Any) -> Rollout:
    metadata = {"namespace": "recs", "name": "ranker", "uid": "1", "resourceVersion": "1", "creationTimestamp": CREATED}
    return Rollout.parse({"metadata": metadata, "spec": spec(adopt={"service": "old"} | adopt)})


STABLE = ModelRolloutStatus(stable=RevisionRef(revision=EXTERNAL))


def test_the_deployment_behind_a_service_is_found_by_its_pods() -> None:
    found = asyncio.run(AdoptedWorkload(cast(Any, _serving())).observe(_rollout(), STABLE))
    assert found is not None
    assert (found.workload, found.port, list(found.pods)) == ("old", 8080, ["old-6d8f9c7b5-x2x4z"])
    assert (found.adopted.name, found.adopted.scalable) == ("Deployment old", False)


@pytest.mark.parametrize(
    ("stable", "candidate", "endpoints", "seconds"),
    [
        ("", "", 3, 15.0),
        (EXTERNAL, "0123456789", 3, 15.0),
        (EXTERNAL, "0123456789", 0, 5.0),
        ("0123456789", EXTERNAL, 0, 1.0),
        ("0123456789", "", 0, 60.0),
    ],
)
def test_it_is_asked_as_often_as_somebody_waits_for_it(
    stable: str, candidate: str, endpoints: int, seconds: float
) -> None:
    cluster = _serving()
    cluster.answers["endpointslices"] = {"items": [_slice(*map(str, range(endpoints)))]}
    workload, key = AdoptedWorkload(cast(Any, cluster)), _rollout().key
    status = ModelRolloutStatus(
        stable=RevisionRef(revision=stable) if stable else None,
        candidate=RevisionRef(revision=candidate) if candidate else None,
    )
    asyncio.run(workload.observe(_rollout(), status))
    at, said, known = workload._known[key]
    for age, asked in ((seconds - 0.5, False), (seconds + 0.1, True)):
        cluster.asked.clear()
        workload._known[key] = (at - age, said, known)
        asyncio.run(workload.observe(_rollout(), status))
        assert bool(cluster.asked) is asked


def test_who_may_not_see_replica_sets_calls_it_by_its_service() -> None:
    cluster = _serving()
    cluster.answers["replicasets"] = KubeError(403, "forbidden")
    found = asyncio.run(AdoptedWorkload(cast(Any, cluster)).observe(_rollout(), STABLE))
    assert found is not None
    assert (found.workload, found.adopted.name, found.adopted.problem) == ("old", "Service old", "")


def test_what_was_read_is_used_for_a_while_and_an_outage_does_not_make_it_vanish() -> None:
    cluster = _serving()
    workload = AdoptedWorkload(cast(Any, cluster))
    first = asyncio.run(workload.observe(_rollout(), STABLE))
    asked = len(cluster.asked)
    assert asyncio.run(workload.observe(_rollout(), STABLE)) is first
    assert len(cluster.asked) == asked
    coming_back = STABLE.model_copy(update={"candidate": RevisionRef(revision=EXTERNAL)})
    key = _rollout().key
    at, said, known = workload._known[key]
    workload._known[key] = (at - 2.0, said, known)
    cluster.answers["services"] = KubeError(503, "down")
    assert asyncio.run(workload.observe(_rollout(), coming_back)) is first, "read anew, in vain"
    assert len(cluster.asked) == asked + 1
    with pytest.raises(KubeError):
        asyncio.run(workload.observe(_rollout(port=8080), STABLE))


def test_detail_3_only_the_scale_of_a_named_deployment_is_ever_written() -> None:
    cluster = _serving()
    asyncio.run(AdoptedWorkload(cast(Any, cluster)).scale(_rollout(), 0))
    assert cluster.patched == []
    asyncio.run(AdoptedWorkload(cast(Any, cluster)).scale(_rollout(deployment="old"), 0))
    assert cluster.patched == [("/apis/apps/v1/namespaces/recs/deployments/old/scale", {"spec": {"replicas": 0}})]


async def test_detail_3_a_candidate_with_traffic_does_not_wait_for_what_was_adopted() -> None:
    """A rollback must not stand behind a read that hangs."""
    cluster, answered = _serving(), asyncio.Event()

    class Hanging(_Cluster):
        async def get(self, path: str, **query: str) -> Body:
            await answered.wait()
            return await super().get(path, **query)

    workload, key = AdoptedWorkload(cast(Any, cluster)), _rollout().key
    first = await workload.observe(_rollout(), STABLE)
    at, said, known = workload._known[key]
    workload._known[key] = (at - 100.0, said, known)
    workload._kube = cast(Any, Hanging(**cluster.answers | {"endpointslices": {"items": [_slice("1")]}}))
    under_traffic = STABLE.model_copy(update={"weight": 50, "candidate": RevisionRef(revision="0123456789")})
    for _ in range(2):
        async with asyncio.timeout(1):
            assert await workload.observe(_rollout(), under_traffic) is first
    answered.set()
    await workload._reading[key]
    later = await workload.observe(_rollout(), under_traffic)
    assert later is not None
    assert later.adopted.view is not None
    assert later.adopted.view.ready == 1
