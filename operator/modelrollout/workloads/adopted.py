"""What ``spec.adopt`` names: other people's Service, and the Deployment behind it. Read on demand, only ever scaled.

The operator's copies hold only objects with its own labels, and these have none. Watching every Service and Deployment
of a cluster for the few that are adopted would cost far more than asking: a rollout that rests asks nothing, and one
under way asks every quarter of a minute, or every second while it waits for these pods to come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from modelrollout.api.meta import EXTERNAL
from modelrollout.api.objects import Rollout, parse_time
from modelrollout.api.rollout import Adopt
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.engine.model import Adopted, RevisionView
from modelrollout.kube.client import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Invalid,
    Kube,
    KubeError,
    NotFound,
    Resource,
)
from modelrollout.workloads import pods as pod_words

__all__ = ["AdoptedBackend", "AdoptedWorkload", "problem_of", "view_of"]

_log = logging.getLogger(__name__)

Body = dict[str, Any]

_WHILE_COMING_BACK: Final = 1.0
_WHILE_A_PROBLEM: Final = 5.0
_WHILE_SERVING: Final = 15.0
_WHILE_RETIRED: Final = 60.0


@dataclass(frozen=True, slots=True)
class AdoptedBackend:
    """What was read: for the engine, and for whoever measures it."""

    adopted: Adopted
    workload: str = ""
    """Name of the Deployment; of the Service when nobody knows the Deployment."""
    port: int = 0
    """Port of the Service."""
    pods: Mapping[str, datetime] = field(default_factory=dict)
    """Its pods, and when each was created."""


_Said = tuple[Adopt, Mapping[str, str]]
"""What ``spec`` says that the answer depends on: what is adopted, and the labels of our own pods."""


class AdoptedWorkload:
    """Reads and scales; see the module."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[tuple[str, str], tuple[float, _Said, AdoptedBackend]] = {}
        self._reading: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def observe(self, rollout: Rollout, status: ModelRolloutStatus) -> AdoptedBackend | None:
        """What ``spec.adopt`` names, not older than the situation asks for; None when it names nothing.

        Raises
        ------
        KubeError
            If it was never read and cannot be read now.
        """
        adopt = rollout.spec.adopt
        if adopt is None:
            self.forget(rollout.key)
            return None
        says = (adopt, rollout.spec.workload.template.metadata.labels)
        at, said, known = self._known.get(rollout.key, (0.0, None, None))
        now = time.monotonic()
        if known is not None and said == says and now - at < _may_be_old(known, status):
            return known
        if known is not None and said == says and status.weight > 0:
            self._refresh(rollout, says, known)
            return known
        try:
            found = await self._read(rollout.namespace, *says)
        except KubeError as error:
            if known is None or said != says:
                raise
            _log.warning("%s/%s: what was adopted cannot be read: %s", *rollout.key, error)
            return known
        self._known[rollout.key] = (now, says, found)
        return found

    def _refresh(self, rollout: Rollout, says: _Said, known: AdoptedBackend) -> None:
        """Read it again beside the look: a candidate that has traffic may have to lose it now, whatever hangs."""
        if rollout.key in self._reading:
            return

        async def read() -> None:
            try:
                found = await self._read(rollout.namespace, *says)
            except KubeError as error:
                _log.warning("%s/%s: what was adopted cannot be read: %s", *rollout.key, error)
                found = known
            if rollout.key in self._known:  # else it was forgotten meanwhile
                self._known[rollout.key] = (time.monotonic(), says, found)

        task = self._reading[rollout.key] = asyncio.create_task(read())
        task.add_done_callback(lambda _: self._reading.pop(rollout.key, None))

    def last_seen(self, rollout: Rollout) -> AdoptedBackend | None:
        """What the last look found."""
        known = self._known.get(rollout.key)
        return known[2] if known is not None else None

    def forget(self, key: tuple[str, str]) -> None:
        """Drop what was read."""
        self._known.pop(key, None)

    async def scale(self, rollout: Rollout, replicas: int) -> None:
        """Set the Deployment's replicas through its scale subresource; nothing else of it is touched."""
        adopt = rollout.spec.adopt
        if adopt is None or adopt.deployment is None:
            return
        self.forget(rollout.key)
        path = DEPLOYMENTS.path(rollout.namespace, adopt.deployment, "scale")
        await self._kube.merge_patch(path, {"spec": {"replicas": replicas}}, careful=replicas == 0)

    async def _read(self, namespace: str, adopt: Adopt, labels: Mapping[str, str]) -> AdoptedBackend:
        service = await self._get(SERVICES, namespace, adopt.service)
        if service is None:
            problem = problem_of(adopt, namespace, labels, None, None)
            return AdoptedBackend(Adopted(f"Service {adopt.service}", problem=problem))
        slices, pods = await asyncio.gather(self._slices(namespace, adopt.service), self._pods(namespace, service))
        name = adopt.deployment or await self._deployment_behind(namespace, pods)
        deployment = await self._get(DEPLOYMENTS, namespace, name) if name else None
        called = f"Deployment {name}" if deployment is not None else f"Service {adopt.service}"
        problem = problem_of(adopt, namespace, labels, service, deployment)
        view = None if problem else view_of(service, slices, pods, deployment, scalable=adopt.deployment is not None)
        created = {pod["metadata"]["name"]: parse_time(pod["metadata"]["creationTimestamp"]) for pod in pods}
        return AdoptedBackend(
            Adopted(called, view, problem, scalable=adopt.deployment is not None),
            workload=name or adopt.service,
            port=adopt.port or next(iter(_ports(service)), 0),
            pods=created,
        )

    async def _get(self, resource: Resource, namespace: str, name: str) -> Body | None:
        try:
            return await self._kube.get(resource.path(namespace, name))
        except (NotFound, Invalid):  # what is no name at all names nothing either
            return None

    async def _slices(self, namespace: str, service: str) -> list[Body]:
        selector = f"kubernetes.io/service-name={service}"
        return list((await self._kube.get(ENDPOINT_SLICES.path(namespace), labelSelector=selector)).get("items") or [])

    async def _pods(self, namespace: str, service: Body) -> list[Body]:
        selector = service["spec"].get("selector")
        if not selector:
            return []
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        return list((await self._kube.get(PODS.path(namespace), labelSelector=text)).get("items") or [])

    async def _deployment_behind(self, namespace: str, pods: list[Body]) -> str:
        """The Deployment that the pods come from, by their ReplicaSet; empty when that is something else, or nobody may
        see it: only a name depends on it."""
        replica_set = next((name for pod in pods if (name := _owner(pod, "ReplicaSet"))), "")
        if not replica_set:
            return ""
        try:
            body = await self._get(REPLICA_SETS, namespace, replica_set)
        except KubeError as error:
            _log.warning("the owner of ReplicaSet %s/%s is not known: %s", namespace, replica_set, error)
            return ""
        return _owner(body, "Deployment") if body is not None else ""


def _may_be_old(known: AdoptedBackend, status: ModelRolloutStatus) -> float:
    """Seconds after which it is read again."""
    if status.candidate is not None and status.candidate.revision == EXTERNAL:
        return _WHILE_COMING_BACK
    if status.stable is not None and status.stable.revision != EXTERNAL:
        return _WHILE_RETIRED
    view = known.adopted.view
    return _WHILE_SERVING if view is not None and view.ready else _WHILE_A_PROBLEM


def problem_of(
    adopt: Adopt, namespace: str, labels: Mapping[str, str], service: Body | None, deployment: Body | None
) -> str:
    """Why this cannot be the stable revision, with the remedy; empty when it can. ``labels``: those that ``spec`` gives
    the pods of every revision of ours."""
    if service is None:
        return (
            f"spec.adopt.service: there is no Service {adopt.service} in namespace {namespace}: apply it, correct the "
            "name, or leave adopt out if nothing serves yet"
        )
    ports = _ports(service)
    listed = ", ".join(str(port) for port in ports) or "none"
    if adopt.port is None and len(ports) != 1:
        return f"Service {adopt.service} has not exactly one port ({listed}): give spec.adopt.port"
    if adopt.port is not None and adopt.port not in ports:
        return f"spec.adopt.port: Service {adopt.service} has no port {adopt.port} (its ports are {listed})"
    selector = service["spec"].get("selector") or {}
    text = ",".join(f"{key}={value}" for key, value in selector.items())
    if selector and selector.items() <= labels.items():
        return (
            f"Service {adopt.service} selects {text}, which are labels of spec.workload.template too: it would lead to "
            "the pods of both; take one of these labels out of the template"
        )
    return _problem_of_deployment(adopt, namespace, selector, deployment)


def _problem_of_deployment(adopt: Adopt, namespace: str, selector: Body, deployment: Body | None) -> str:
    if adopt.deployment is None:
        return ""
    if deployment is None:
        return (
            f"spec.adopt.deployment: there is no Deployment {adopt.deployment} in namespace {namespace}: correct the "
            "name, or leave it out, and nothing is ever scaled"
        )
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    if not selector.items() <= labels.items():
        text = ",".join(f"{key}={value}" for key, value in selector.items())
        return (
            f"spec.adopt.deployment: Service {adopt.service} does not lead to the pods of Deployment "
            f"{adopt.deployment} (it selects {text}): name the Deployment that serves behind it"
        )
    return ""


def view_of(
    service: Body, slices: list[Body], pods: list[Body], deployment: Body | None, *, scalable: bool
) -> RevisionView:
    """As a revision that was promoted before any of ours. Without a Deployment whatever is ready is what is wanted.

    While all are ready none has failed: a pod that ran out of memory weeks ago and came back is no reason to stay away.
    """
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    ready = _ready(slices)
    since = [at for pod in living if (at := pod_words.ready_since(pod)) is not None]
    steps = [at for pod in living if (at := pod_words.progress_at(pod)) is not None]
    waiting = next((text for pod in living if (text := pod_words.waiting(pod))), "")
    if not ready and not scalable:
        name = service["metadata"]["name"]
        waiting = waiting or f"nobody is ready behind Service {name}: start its pods, or give spec.adopt.deployment"
    desired = deployment["spec"].get("replicas", 1) if deployment is not None and scalable else ready
    return RevisionView(
        revision=EXTERNAL,
        version=_version(deployment, living),
        promoted_at=parse_time(service["metadata"]["creationTimestamp"]),
        desired=desired,
        ready=ready,
        failure=next((text for pod in living if ready < desired and (text := pod_words.failure(pod))), ""),
        waiting=waiting,
        progress_at=max(steps, default=None),
        youngest_ready_at=max(since, default=None),
    )


def _ports(service: Body) -> list[int]:
    return [int(port["port"]) for port in service["spec"].get("ports") or []]


def _ready(slices: list[Body]) -> int:
    """Ready endpoints; one that is in two slices (two families of addresses) counts once."""
    found = set()
    for one in slices:
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True) is not False:
                found.add((endpoint.get("targetRef") or {}).get("uid") or endpoint["addresses"][0])
    return len(found)


def _owner(body: Body, kind: str) -> str:
    owners = body["metadata"].get("ownerReferences") or []
    return next((str(owner["name"]) for owner in owners if owner["kind"] == kind and owner.get("controller")), "")


def _version(deployment: Body | None, pods: list[Body]) -> str:
    """What people know it by: the tag of its image, which may well be that of a version of ours too."""
    spec = deployment["spec"]["template"]["spec"] if deployment is not None else pods[0]["spec"] if pods else {}
    image = str((spec.get("containers") or [{}])[0].get("image", ""))
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    return f"{EXTERNAL} ({tag})"[:128] if tag and not digest else EXTERNAL
