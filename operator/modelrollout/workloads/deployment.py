"""A revision as a Deployment and a Service.

Each revision gets its own; a Service's selector never changes, so no request can land on another revision than the
route says. The template is written once, when the revision begins, and never again: upgrading the operator restarts no
pod. Only candidate and retired objects carry an ownerReference, because garbage collection must never be able to take
away what serves users.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from modelrollout.api.enums import Role
from modelrollout.api.meta import (
    ANNOTATION_OWNER_UID,
    ANNOTATION_PROMOTED_AT,
    ANNOTATION_RETIRED_AT,
    ANNOTATION_VERSION,
    LABEL_NAME,
    LABEL_REVISION,
    LABEL_ROLE,
    SERVICE_PORT,
)
from modelrollout.api.objects import Rollout, parse_time
from modelrollout.api.rollout import DeletionPolicy
from modelrollout.engine.model import Autoscaler, RevisionView
from modelrollout.engine.revision import child_name, is_hash, revision_hash
from modelrollout.kube.client import (
    AUTOSCALERS,
    DEPLOYMENTS,
    PODS,
    ROLLOUTS,
    SERVICES,
    ConflictError,
    Invalid,
    Kube,
    KubeError,
    NotFound,
    Resource,
)
from modelrollout.kube.derived import Derived
from modelrollout.kube.reflector import Reflector
from modelrollout.workloads import autoscaler
from modelrollout.workloads import pods as pod_words

__all__ = ["DeploymentWorkload", "build_deployment", "build_service"]

Body = dict[str, Any]


def _metadata(rollout: Rollout, revision: str, role: Role) -> Body:
    metadata: Body = {
        "name": child_name(rollout.name, revision),
        "namespace": rollout.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "modelrollout",
            LABEL_NAME: rollout.name,
            LABEL_REVISION: revision,
            LABEL_ROLE: str(role),
        },
        "annotations": {ANNOTATION_VERSION: rollout.spec.model.version, ANNOTATION_OWNER_UID: rollout.uid},
    }
    if owned(rollout, role):
        metadata["ownerReferences"] = [rollout.owner_reference()]
    return metadata


def owned(rollout: Rollout, role: Role) -> bool:
    """Whether objects of this role go with the ModelRollout."""
    return role is not Role.STABLE or rollout.spec.deletion_policy is DeletionPolicy.DELETE


def _owners(rollout: Rollout, role: Role) -> Body:
    return {"ownerReferences": [rollout.owner_reference()] if owned(rollout, role) else []}


def _selector(rollout: Rollout, revision: str) -> dict[str, str]:
    return {LABEL_NAME: rollout.name, LABEL_REVISION: revision}


def build_deployment(rollout: Rollout, revision: str, role: Role, replicas: int) -> Body:
    """The Deployment of a revision, from ``spec``."""
    template = copy.deepcopy(rollout.raw_spec["workload"]["template"])
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = (metadata.get("labels") or {}) | _selector(rollout, revision)
    model = rollout.spec.model
    given = {
        "MODEL_NAME": rollout.name,
        "MODEL_VERSION": model.version,
        "MODEL_URI": model.uri,
        "MODEL_REVISION": revision,
    }
    container = template["spec"]["containers"][0]
    own = {entry["name"] for entry in container.get("env") or []}
    added = [{"name": name, "value": value} for name, value in given.items() if name not in own]
    container["env"] = [*added, *(container.get("env") or [])]
    _name_port(container, rollout.port)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(rollout, revision, role),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _selector(rollout, revision)},
            "template": template,
        },
    }


def _name_port(container: Body, number: int) -> None:
    """An unnamed serving port is called http, because a PodMonitor finds ports by name only."""
    ports = container.get("ports") or []
    if all(port.get("name") != "http" for port in ports):
        for port in ports:
            if port["containerPort"] == number and not port.get("name"):
                port["name"] = "http"


def build_service(rollout: Rollout, revision: str, role: Role, *, port: int) -> Body:
    """The Service of a revision, which leads to the container's port."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(rollout, revision, role),
        "spec": {
            "selector": _selector(rollout, revision),
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": port, "protocol": "TCP"}],
        },
    }


def _named(rollout: Rollout) -> set[str]:
    """Revisions whose objects are being made, or missed."""
    status = rollout.status
    return {revision_hash(rollout.raw_spec)} | {ref.revision for ref in (status.stable, status.candidate) if ref}


def _port_of(deployment: Body) -> int | None:
    """The port of an existing revision, when it is the only one; ``spec`` may name another by now."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    ports = [int(port["containerPort"]) for container in containers for port in container.get("ports") or []]
    return ports[0] if len(ports) == 1 else None


def view_of(deployment: Body, pods: list[Body], ready_endpoints: int) -> RevisionView:
    """A revision as its Deployment, pods and endpoints show it."""
    metadata = deployment["metadata"]
    labels, annotations = metadata["labels"], metadata.get("annotations") or {}
    living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    since = [time for pod in living if (time := pod_words.ready_since(pod)) is not None]
    steps = [time for pod in living if (time := pod_words.progress_at(pod)) is not None]
    role = labels.get(LABEL_ROLE, "")
    return RevisionView(
        revision=labels[LABEL_REVISION],
        version=annotations.get(ANNOTATION_VERSION, ""),
        role=Role(role) if role in list(Role) else Role.RETIRED,
        promoted_at=_time(annotations.get(ANNOTATION_PROMOTED_AT)),
        retired_at=_time(annotations.get(ANNOTATION_RETIRED_AT)),
        desired=deployment["spec"].get("replicas", 1),
        ready=ready_endpoints,
        failure=next((text for pod in living if (text := pod_words.failure(pod))), ""),
        waiting=next((text for pod in living if (text := pod_words.waiting(pod))), "") or _quota(deployment),
        progress_at=max(steps, default=None),
        youngest_ready_at=max(since, default=None),
    )


def _time(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _quota(deployment: Body) -> str:
    conditions = (deployment.get("status") or {}).get("conditions") or []
    failing = next((one for one in conditions if one["type"] == "ReplicaFailure" and one["status"] == "True"), None)
    return f"its pods are not admitted: {failing.get('message', '')}" if failing else ""


class DeploymentWorkload:
    """Deployments and Services; see :class:`modelrollout.workloads.base.WorkloadProvider`."""

    def __init__(
        self, kube: Kube, deployments: Reflector, pods: Reflector, slices: Reflector, autoscalers: Reflector
    ) -> None:
        self._kube = kube
        self._autoscalers = autoscalers
        self._deployments = deployments
        self._pods = pods
        self._slices = slices
        self._views: Derived[dict[str, RevisionView]] = Derived()
        self._created: Derived[dict[str, dict[str, datetime]]] = Derived()
        self._aligned: Derived[bool] = Derived()

    def observe(self, rollout: Rollout) -> Mapping[str, RevisionView]:
        """Every revision of a rollout as the cluster shows it."""
        copies = [one.labelled(*rollout.key) for one in (self._deployments, self._pods, self._slices)]
        scaled = [self._autoscalers.get(rollout.namespace, one["metadata"]["name"]) for one in copies[0]]
        sources = (*copies, *scaled)
        return self._views.get(rollout.key, sources) or self._views.keep(rollout.key, sources, self._observe(rollout))

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone."""
        for kept in (self._views, self._created, self._aligned):
            kept.forget(key)

    def _observe(self, rollout: Rollout) -> dict[str, RevisionView]:
        views = {}
        for revision, deployment in self._deployments_of(rollout):
            view = view_of(deployment, self._pods_of(rollout, revision), self._ready_endpoints(rollout, revision))
            found = self._autoscalers.get(rollout.namespace, deployment["metadata"]["name"])
            views[revision] = replace(view, autoscaler=autoscaler.view_of(found) if found is not None else None)
        return views

    def _deployments_of(self, rollout: Rollout) -> Iterator[tuple[str, Body]]:
        """Revisions and their Deployments. A label can be written on anything: only what has the name that goes with it
        is ours, or a label on one object would be a way to have another one changed."""
        for deployment in self._deployments.labelled(rollout.namespace, rollout.name):
            metadata = deployment["metadata"]
            revision = metadata["labels"].get(LABEL_REVISION, "")
            ours = is_hash(revision) and metadata["name"] == child_name(rollout.name, revision)
            if ours and "deletionTimestamp" not in metadata:
                yield revision, deployment

    def _pods_of(self, rollout: Rollout, revision: str) -> list[Body]:
        """Pods of a revision: by their labels, and by the name that a Deployment gives its pods."""
        begins = child_name(rollout.name, revision) + "-"
        pods = self._pods.labelled(rollout.namespace, rollout.name)
        mine = (pod for pod in pods if pod["metadata"]["labels"].get(LABEL_REVISION) == revision)
        return [pod for pod in mine if pod["metadata"]["name"].startswith(begins)]

    def _slices_of(self, rollout: Rollout, revision: str) -> list[Body]:
        service = child_name(rollout.name, revision)
        slices = self._slices.labelled(rollout.namespace, rollout.name)
        return [one for one in slices if one["metadata"]["labels"].get("kubernetes.io/service-name") == service]

    def _ready_endpoints(self, rollout: Rollout, revision: str) -> int:
        return sum(
            endpoint.get("conditions", {}).get("ready", True) is not False
            for one in self._slices_of(rollout, revision)
            for endpoint in one.get("endpoints") or []
        )

    def pods(self, rollout: Rollout, revision: str) -> Mapping[str, datetime]:
        """A revision's pods, and when each was created."""
        sources = (self._pods.labelled(*rollout.key),)
        known = self._created.get(rollout.key, sources)
        if known is None:
            known = self._created.keep(rollout.key, sources, {})
        if revision not in known:
            pods = (pod["metadata"] for pod in self._pods_of(rollout, revision))
            known[revision] = {pod["name"]: parse_time(pod["creationTimestamp"]) for pod in pods}
        return known[revision]

    async def refuses(self, rollout: Rollout, revision: str) -> str:
        """Why the API server would refuse the Deployment (dry run); empty when it would not.

        A plain create: server-side apply answers 500 to a template that cannot be read.
        """
        body = build_deployment(rollout, revision, Role.CANDIDATE, 1)
        try:
            await self._kube.create(DEPLOYMENTS.path(rollout.namespace), body, dry_run=True)
        except ConflictError:
            return ""
        except Invalid as error:
            return str(error)
        except KubeError as error:
            if error.status == 403:
                return str(error)
            raise
        return ""

    async def create(self, rollout: Rollout, revision: str, role: Role, replicas: int) -> None:
        """Make the Service and the Deployment of a revision from ``spec``."""
        service = build_service(rollout, revision, role, port=rollout.port)
        await self._kube.apply(self._path(SERVICES, rollout, revision), service)
        body = build_deployment(rollout, revision, role, replicas)
        if rollout.spec.workload.autoscaling is not None:
            del body["spec"]["replicas"]  # whoever applies a field owns it, and this one is the autoscaler's
        made = await self._kube.apply(self._path(DEPLOYMENTS, rollout, revision), body)
        self._deployments.learn(made)
        if made["spec"].get("replicas", 1) < replicas:
            await self.scale(rollout, revision, replicas)

    async def scale(self, rollout: Rollout, revision: str, replicas: int) -> None:
        """Set the replicas through the scale subresource; pods are taken away only from what is as it was seen."""
        name = child_name(rollout.name, revision)
        path = DEPLOYMENTS.path(rollout.namespace, name, "scale")
        known = self._deployments.get(rollout.namespace, name)
        fewer = known is not None and replicas < known["spec"].get("replicas", 1)
        body: Body = {"spec": {"replicas": replicas}}
        if known is not None and fewer:
            body["metadata"] = {"resourceVersion": known["metadata"]["resourceVersion"]}
        answer = await self._kube.merge_patch(path, body, careful=fewer)
        if known is not None:
            version = answer["metadata"]["resourceVersion"]
            self._deployments.learn(
                known
                | {
                    "metadata": known["metadata"] | {"resourceVersion": version},
                    "spec": known["spec"] | {"replicas": replicas},
                }
            )

    async def autoscale(self, rollout: Rollout, revision: str, wanted: Autoscaler | None) -> None:
        """Write the revision's autoscaler, or remove it. A lower bound that falls takes pods away."""
        name, auto = child_name(rollout.name, revision), rollout.spec.workload.autoscaling
        deployment = self._deployments.get(rollout.namespace, name)
        known = self._autoscalers.get(rollout.namespace, name)
        path = AUTOSCALERS.path(rollout.namespace, name)
        if wanted is None or auto is None or deployment is None:
            await self._kube.delete(path)
            return
        body = autoscaler.build_autoscaler(deployment, auto, wanted)
        fewer = known is not None and wanted.floor < autoscaler.view_of(known).floor
        self._autoscalers.learn(await self._kube.apply(path, body, careful=fewer))

    async def replace_pod(self, rollout: Rollout, revision: str, pod: str) -> None:
        """Delete a pod, if it is the revision's; the Deployment starts another."""
        if pod in self.pods(rollout, revision):
            await self._kube.delete(PODS.path(rollout.namespace, pod))

    async def set_role(self, rollout: Rollout, revision: str, role: Role, at: datetime) -> None:
        """Write the role, and since when, on both objects; the stable ones are freed from garbage collection."""
        stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        annotations = {ANNOTATION_OWNER_UID: rollout.uid}
        if role is Role.STABLE:
            annotations[ANNOTATION_PROMOTED_AT] = stamp
        elif role is Role.RETIRED:
            annotations[ANNOTATION_RETIRED_AT] = stamp
        metadata = {"labels": {LABEL_ROLE: str(role)}, "annotations": annotations, **_owners(rollout, role)}
        await self._patch_metadata(rollout, revision, metadata)

    async def align(self, rollout: Rollout) -> None:
        """Owner references as ``spec.deletionPolicy`` has them now, and one Service for each Deployment."""
        sources = (rollout, self._deployments.labelled(*rollout.key), self._slices.labelled(*rollout.key))
        if self._aligned.get(rollout.key, sources) is None:
            await self._align(rollout)
            self._aligned.keep(rollout.key, sources, True)

    async def _align(self, rollout: Rollout) -> None:
        for revision, deployment in self._deployments_of(rollout):
            metadata = deployment["metadata"]
            role = metadata["labels"].get(LABEL_ROLE)
            if role not in list(Role):
                continue
            wanted = _owners(rollout, Role(role))
            found = [owner.get("uid") for owner in metadata.get("ownerReferences") or []]
            claimed = (metadata.get("annotations") or {}).get(ANNOTATION_OWNER_UID)
            if found != [owner["uid"] for owner in wanted["ownerReferences"]] or claimed != rollout.uid:
                if wanted["ownerReferences"] and not await self._stays(rollout):
                    return  # deleted with --cascade=orphan: the collector has just freed it
                annotations = {ANNOTATION_OWNER_UID: rollout.uid}
                await self._patch_metadata(rollout, revision, {"annotations": annotations, **wanted})
            if (deployment.get("status") or {}).get("readyReplicas") and not self._slices_of(rollout, revision):
                body = build_service(rollout, revision, Role(role), port=_port_of(deployment) or rollout.port)
                await self._kube.apply(self._path(SERVICES, rollout, revision), body)
        await self._remove_lonely_services(rollout)

    async def _remove_lonely_services(self, rollout: Rollout) -> None:
        """Of a revision that is nobody's any more: a crash between its two objects leaves the Service alone, and every
        list of revisions is a list of Deployments. The endpoints tell of it, so looking costs no request."""
        slices = self._slices.labelled(rollout.namespace, rollout.name)
        deployments = self._deployments.labelled(rollout.namespace, rollout.name)
        lonely = {one["metadata"]["labels"].get(LABEL_REVISION) for one in slices}
        lonely -= {one["metadata"]["labels"].get(LABEL_REVISION) for one in deployments}
        for revision in sorted(one for one in lonely if one and is_hash(one)):
            if revision not in _named(rollout) and not await self._exists(DEPLOYMENTS, rollout, revision):
                await self._kube.delete(self._path(SERVICES, rollout, revision))

    async def _exists(self, resource: Resource, rollout: Rollout, revision: str) -> bool:
        """By the API server's word."""
        try:
            await self._kube.get(self._path(resource, rollout, revision))
        except NotFound:
            return False
        return True

    async def _stays(self, rollout: Rollout) -> bool:
        """Whether the ModelRollout is there and not on its way out, by the API server's word."""
        try:
            metadata = (await self._kube.get(ROLLOUTS.path(rollout.namespace, rollout.name)))["metadata"]
        except NotFound:
            return False
        return metadata["uid"] == rollout.uid and "deletionTimestamp" not in metadata

    async def _patch_metadata(self, rollout: Rollout, revision: str, metadata: Body) -> None:
        """The Service first: the Deployment is the witness that both were written."""
        with contextlib.suppress(NotFound):
            await self._kube.merge_patch(self._path(SERVICES, rollout, revision), {"metadata": metadata})
        path = self._path(DEPLOYMENTS, rollout, revision)
        self._deployments.learn(await self._kube.merge_patch(path, {"metadata": metadata}))

    async def delete(self, rollout: Rollout, revision: str) -> None:
        """Remove the Deployment, if it is as it was seen, and the Service."""
        known = self._deployments.get(rollout.namespace, child_name(rollout.name, revision))
        version = str(known["metadata"]["resourceVersion"]) if known is not None else ""
        await self._kube.delete(self._path(DEPLOYMENTS, rollout, revision), version=version)
        await self._kube.delete(self._path(SERVICES, rollout, revision))

    @staticmethod
    def _path(resource: Resource, rollout: Rollout, revision: str) -> str:
        return resource.path(rollout.namespace, child_name(rollout.name, revision))
