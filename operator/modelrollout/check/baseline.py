"""Whom the candidate would be compared with: the stable revision that runs now, as metrics know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from modelrollout.api.meta import EXTERNAL, LABEL_NAME, LABEL_REVISION, SERVICE_PORT
from modelrollout.api.objects import Rollout, parse_time
from modelrollout.check.found import Api, Body, ForbiddenError, MissingError
from modelrollout.engine.revision import child_name
from modelrollout.metrics.base import Arm

__all__ = ["Baseline", "find_baseline"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The stable revision's arm; ``runs``: whether there is one, or only a name that nobody has."""

    arm: Arm
    runs: bool


def find_baseline(api: Api, rollout: Rollout) -> Baseline:
    """The stable revision of a rollout that exists, or what is to be adopted, or nothing yet."""
    stable = rollout.status.stable
    if rollout.spec.adopt is not None and (stable is None or stable.revision == EXTERNAL):
        return Baseline(_adopted(api, rollout), runs=True)
    revision = stable.revision if stable is not None else "0" * 10
    selector = {LABEL_NAME: rollout.name, LABEL_REVISION: revision}
    pods = _pods(api, rollout.namespace, selector) if stable is not None else {}
    arm = Arm(revision, rollout.namespace, child_name(rollout.name, revision), SERVICE_PORT, pods)
    return Baseline(arm, runs=stable is not None)


def _adopted(api: Api, rollout: Rollout) -> Arm:
    adopt = rollout.spec.adopt
    assert adopt is not None
    try:
        service: Body = api.get(f"/api/v1/namespaces/{rollout.namespace}/services/{adopt.service}")["spec"]
    except (ForbiddenError, MissingError):
        service = {}
    pods = _pods(api, rollout.namespace, service.get("selector") or {}) if service.get("selector") else {}
    port = adopt.port or next((int(port["port"]) for port in service.get("ports") or []), 0)
    return Arm(EXTERNAL, rollout.namespace, adopt.deployment or adopt.service, port, pods, its_service=adopt.service)


def _pods(api: Api, namespace: str, selector: Mapping[str, str]) -> dict[str, datetime]:
    """Its pods and when each was created; nothing where they may not be seen."""
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())}
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods", query)["items"]
    except (ForbiddenError, MissingError):
        return {}
    return {one["metadata"]["name"]: parse_time(one["metadata"]["creationTimestamp"]) for one in found}
