"""The pods, what was adopted, the preflight and the list of rollouts as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from modelrollout.api.enums import CheckState, Role
from modelrollout.api.meta import ANNOTATION_VERSION, EXTERNAL, LABEL_REVISION, LABEL_ROLE
from modelrollout.api.objects import Rollout, parse_time
from modelrollout.api.status import AdoptedRef, PreflightCheck
from modelrollout.screen import units
from modelrollout.screen.snapshot import Snapshot, was_judged

__all__ = ["ListRow", "PodRow", "adopted", "list_row", "pod_rows", "preflight_rows"]

_HOLDING_FIRST: Final = (CheckState.FAILED, CheckState.WAITING, CheckState.UNKNOWN, CheckState.OK)
_ORDER: Final = (Role.STABLE, Role.CANDIDATE, Role.RETIRED)


@dataclass(frozen=True, slots=True)
class PodRow:
    """The pods of one revision."""

    role: Role
    version: str
    revision: str
    """Its first digits."""
    ready: int
    desired: int


@dataclass(frozen=True, slots=True)
class ListRow:
    """One rollout among many: the columns of `kubectl get`, and the reason as a sentence."""

    namespace: str
    name: str
    phase: str
    reason: str
    version: str
    """The one that `spec` names."""
    stable: str
    step: str
    weight: str
    gates: str
    created: datetime
    message: str


def preflight_rows(seen: Snapshot) -> list[PreflightCheck]:
    """What is looked at before the first traffic, while it is waited for: what holds comes first."""
    status = seen.rollout.status
    if status.candidate is None or status.weight > 0:
        return []
    return sorted(status.preflight, key=lambda one: _HOLDING_FIRST.index(one.state))


def pod_rows(seen: Snapshot) -> list[PodRow]:
    """Stable, candidate, retired; none when this person may not see Deployments."""
    rows = [_pod_row(body) for body in seen.deployments or ()]
    return sorted(rows, key=lambda row: (_ORDER.index(row.role), row.version))


def adopted(seen: Snapshot) -> str:
    """What was adopted and what becomes of its pods, in a sentence, as far as status knows: it has no labels of ours.
    Empty when nothing was."""
    known = seen.rollout.status.adopted
    if known is None:
        return ""
    service = f"Service {known.service}"
    workload = known.workload or service
    behind = "" if workload in (service, f"Deployment {known.service}") else f" ({service})"
    return f"{EXTERNAL} is {workload}{behind}: {_becomes_of(known, seen.rollout)}"


def _becomes_of(known: AdoptedRef, rollout: Rollout) -> str:
    status, adopt = rollout.status, rollout.spec.adopt
    pods = "1 pod" if known.replicas == 1 else f"{known.replicas} pods"
    if status.stable is not None and status.stable.revision == EXTERNAL:
        return f"stable with {pods}, left as it is"
    if status.candidate is not None and status.candidate.revision == EXTERNAL:
        return f"on the way back, with {pods}"
    if known.scaled_down:
        return f"replaced and scaled to zero; an undo gives it {pods} again"
    if known.kept_because:
        return f"replaced; {known.kept_because}"
    if adopt is None or adopt.deployment is None:
        return "replaced; its pods are never scaled, because adopt.deployment is left out"
    return f"replaced; keeps its pods for {rollout.spec.rollback.warm_for} (rollback.warmFor)"


def _pod_row(body: dict[str, Any]) -> PodRow:
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    role = labels.get(LABEL_ROLE, "")
    return PodRow(
        role=Role(role) if role in list(Role) else Role.RETIRED,
        version=(metadata.get("annotations") or {}).get(ANNOTATION_VERSION, units.UNKNOWN),
        revision=units.short(labels.get(LABEL_REVISION, units.UNKNOWN)),
        ready=(body.get("status") or {}).get("readyReplicas", 0),
        desired=body["spec"].get("replicas", 1),
    )


def list_row(body: dict[str, Any]) -> ListRow:
    """From the object as it is, so that one that this version cannot read is listed too."""
    metadata, status = body["metadata"], body.get("status") or {}
    columns, stable = status.get("columns") or {}, status.get("stable") or {}
    return ListRow(
        namespace=metadata["namespace"],
        name=metadata["name"],
        phase=status.get("phase", units.UNKNOWN) if was_judged(status) else units.UNKNOWN,
        reason=status.get("reason", ""),
        version=body["spec"]["model"]["version"],
        stable=EXTERNAL if stable.get("revision") == EXTERNAL else stable.get("version", units.UNKNOWN),
        step=columns.get("step", units.UNKNOWN),
        weight=columns.get("weight", units.UNKNOWN),
        gates=columns.get("gates", units.UNKNOWN),
        created=parse_time(metadata["creationTimestamp"]),
        message=status.get("message") or ("" if was_judged(status) else "no operator has looked at it yet"),
    )
