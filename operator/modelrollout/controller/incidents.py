"""The records of rollbacks in the cluster, and the desk at which the postman asks for them.

A record's name is made from what it tells of, so the API server itself sees to it that there is one, whatever crashes.
It has no owner: it outlives the ModelRollout, and the newest few of each are kept.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from modelrollout.api.enums import Reason
from modelrollout.api.incident import Delivery, Link, RolloutIncidentSpec
from modelrollout.api.meta import GROUP, LABEL_NAME, LABEL_REVISION, VERSION
from modelrollout.api.objects import Rollout
from modelrollout.api.status import Notice
from modelrollout.controller.events import Events
from modelrollout.engine.model import Event, RecordIncident
from modelrollout.kube.client import INCIDENTS, ConflictError, Kube, KubeError
from modelrollout.notify.links import LinkTemplate, links

__all__ = ["Incidents"]

_log = logging.getLogger(__name__)

_KEPT: Final = 10


class Incidents:
    """See the module."""

    def __init__(self, kube: Kube, templates: tuple[LinkTemplate, ...], events: Events) -> None:
        self._kube = kube
        self._events = events
        self._templates = templates
        self._recorded: dict[tuple[str, str], set[str]] = {}

    def recorded(self, key: tuple[str, str]) -> frozenset[str]:
        """Names of the records of a rollout that this process knows to be there."""
        return frozenset(self._recorded.get(key, ()))

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone; its records stay."""
        self._recorded.pop(key, None)

    async def record(self, rollout: Rollout, action: RecordIncident) -> None:
        """Write the record, unless it is there. A refusal stands in the way of nothing: it is tried again."""
        spec = action.spec
        words = _words(rollout.namespace, rollout.name, spec.revision, spec.version)
        spec = spec.model_copy(update={"links": list(links(self._templates, words, spec.at))})
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "RolloutIncident",
            "metadata": {
                "name": action.name,
                "namespace": rollout.namespace,
                "labels": {LABEL_NAME: rollout.name, LABEL_REVISION: spec.revision},
            },
            "spec": spec.model_dump(mode="json", by_alias=True),
        }
        try:
            await self._kube.create(INCIDENTS.path(rollout.namespace), body)
        except ConflictError as error:  # it is there already, as a rule; a quota that is contended says 409 too
            if await self.incident(rollout.namespace, action.name) is None:
                _log.warning("%s/%s: the record %s cannot be written: %s", *rollout.key, action.name, error)
                return
            _log.info("%s/%s: the record %s is there already", *rollout.key, action.name)
        except KubeError as error:
            _log.warning("%s/%s: the record %s cannot be written: %s", *rollout.key, action.name, error)
            return
        self._recorded.setdefault(rollout.key, set()).add(action.name)
        await self._prune(rollout)

    async def _prune(self, rollout: Rollout) -> None:
        """Keep the newest records of a rollout."""
        try:
            path = INCIDENTS.path(rollout.namespace)
            found = (await self._kube.get(path, labelSelector=f"{LABEL_NAME}={rollout.name}"))["items"]
            found.sort(key=_age, reverse=True)
            for old in found[_KEPT:]:
                await self._kube.delete(INCIDENTS.path(rollout.namespace, old["metadata"]["name"]))
        except KubeError as error:
            _log.warning("%s/%s: old records cannot be removed: %s", *rollout.key, error)

    async def incident(self, namespace: str, name: str) -> RolloutIncidentSpec | None:
        """A record, as far as it can be read."""
        try:
            return RolloutIncidentSpec.model_validate((await self._kube.get(INCIDENTS.path(namespace, name)))["spec"])
        except (KubeError, ValueError) as error:
            _log.info("the record %s/%s cannot be read: %s", namespace, name, error)
            return None

    async def delivered(self, namespace: str, incident: str, receiver: str, delivery: Delivery) -> None:
        """Note on a record what became of telling a receiver."""
        value = delivery.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            path = INCIDENTS.path(namespace, incident, "status")
            await self._kube.merge_patch(path, {"status": {"deliveries": {receiver: value}}})
        except KubeError as error:
            _log.info("the record %s/%s cannot note a delivery: %s", namespace, incident, error)

    async def complain(self, rollout: Rollout, message: str) -> None:
        """An event where the rollout's people look."""
        self._events.offer(rollout, Event(Reason.NOTIFICATION_FAILED, message, warning=True))

    def links(self, rollout: Rollout, notice: Notice) -> tuple[Link, ...]:
        """Where to look further."""
        words = _words(rollout.namespace, rollout.name, notice.revision, notice.version)
        return links(self._templates, words, notice.at)


def _words(namespace: str, name: str, revision: str, version: str) -> dict[str, str]:
    return {"namespace": namespace, "name": name, "revision": revision, "version": version}


def _age(body: dict[str, Any]) -> tuple[str, str]:
    return str(body["metadata"]["creationTimestamp"]), str(body["metadata"]["name"])
