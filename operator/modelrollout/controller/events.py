"""Kubernetes Events: the same sentences as in status, for `kubectl describe` and event exporters.

Posted beside the looks and after everything else, through the own client: an Event that cannot be posted is logged and
never stops a rollout. What status says is never lost; its echo may be, by a crash or a flood.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any, Final

from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import Rollout
from modelrollout.engine.model import Event
from modelrollout.kube.client import CORE_EVENTS, Kube, KubeError
from modelrollout.kube.limits import Lane
from modelrollout.telemetry import meters

__all__ = ["Events"]

_log = logging.getLogger(__name__)

_MOST_WAITING: Final = 2000
_FAREWELL_SECONDS: Final = 2.0


class Events:
    """Posts what it is offered, when there is room; see the module."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._posting: set[asyncio.Task[None]] = set()

    def offer(self, rollout: Rollout, event: Event) -> None:
        """Post one Event about a rollout, soon."""
        if len(self._posting) >= _MOST_WAITING:
            _log.warning("%s/%s: too many events wait; not posted: %s", *rollout.key, event.message)
            return
        task = asyncio.create_task(self._post(rollout, event, _body(rollout, event)))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def close(self) -> None:
        """Give those that wait a moment."""
        if self._posting:
            await asyncio.wait(self._posting, timeout=_FAREWELL_SECONDS)
        for task in self._posting:
            task.cancel()

    async def _post(self, rollout: Rollout, event: Event, body: dict[str, Any]) -> None:
        try:
            await self._kube.create(CORE_EVENTS.path(rollout.namespace), body, lane=Lane.EVENTS)
            meters.EVENTS.labels(str(event.reason)).inc()
        except KubeError as error:
            _log.warning("%s/%s: the event %s could not be posted: %s", *rollout.key, event.reason, error)


def _body(rollout: Rollout, event: Event) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{rollout.name}.", "namespace": rollout.namespace},
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "ModelRollout",
            "name": rollout.name,
            "namespace": rollout.namespace,
            "uid": rollout.uid,
        },
        "reason": str(event.reason),
        "message": event.message[:1024],
        "type": "Warning" if event.warning else "Normal",
        "action": str(event.reason),
        "eventTime": now,
        "reportingComponent": "modelrollout",
        "reportingInstance": "modelrollout",
    }
