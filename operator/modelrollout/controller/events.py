"""Kubernetes Events: the same sentences as in status, for `kubectl describe` and event exporters.

Posted last, through the own client: an Event that cannot be posted is logged and never stops a rollout.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import Rollout
from modelrollout.engine.model import Event
from modelrollout.kube.client import CORE_EVENTS, Kube, KubeError
from modelrollout.telemetry import meters

__all__ = ["post"]

_log = logging.getLogger(__name__)


async def post(kube: Kube, rollout: Rollout, event: Event) -> None:
    """Post one Event about a rollout."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {
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
    try:
        await kube.create(CORE_EVENTS.path(rollout.namespace), body)
        meters.EVENTS.labels(str(event.reason)).inc()
    except KubeError as error:
        _log.warning("%s/%s: the event %s could not be posted: %s", *rollout.key, event.reason, error)
