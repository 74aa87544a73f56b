"""The record of one model as a timeline, from what the cluster itself keeps: decisions, history, and managed fields.

Each entry says where it was found, because they are not worth the same: the author of a verified decision was checked
by the API server, a field manager is only the name that a program gave itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import RenderableType

from modelrollout.api.meta import ANNOTATION_AUTHOR
from modelrollout.api.objects import parse_time
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.cli import show

__all__ = ["Entry", "table", "timeline"]

_OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was done."""

    at: datetime
    who: str
    what: str
    why: str
    source: str
    """Where it was found: ``decision``, ``history``, ``status`` or ``managedFields``."""

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"at": self.at.isoformat()}


def timeline(rollout: dict[str, Any], decisions: list[dict[str, Any]]) -> list[Entry]:
    """Everything that is known, the oldest first."""
    status = ModelRolloutStatus.model_validate(rollout.get("status") or {})
    found = [*_said(decisions), *_released(status), *_loosened(status), *_written(rollout)]
    return sorted(found, key=lambda one: one.at)


def _said(decisions: list[dict[str, Any]]) -> Iterator[Entry]:
    for body in decisions:
        spec, status = body["spec"], body.get("status") or {}
        role = f" as {spec['role']}" if spec.get("role") else ""
        full = " --full" if spec.get("full") else ""
        became = f"{status['state']}: {status.get('message', '')}" if status.get("state") else "not acted on yet"
        trusted = "" if status.get("verified") else " (unverified)"
        yield Entry(
            at=parse_time(body["metadata"]["creationTimestamp"]),
            who=f"{spec.get('author') or 'unknown'}{trusted}",
            what=f"{spec['action']}{full}{role}: {became}{_evidence(status.get('seen') or {})}",
            why=spec.get("comment", ""),
            source="decision",
        )


def _evidence(seen: dict[str, Any]) -> str:
    """What was seen when it was heard."""
    if not seen.get("revision"):
        return ""
    gates = ", ".join(f"{gate['name']} {gate['verdict']}" for gate in seen.get("gates") or [])
    return f" [seen: version {seen.get('version', '?')} at {seen.get('weight', 0)} %; {gates or 'no gates'}]"


def _released(status: ModelRolloutStatus) -> Iterator[Entry]:
    for past in status.history:
        if past.started_at is not None:
            yield Entry(past.started_at, _OPERATOR, f"version {past.version} began", "", "history")
        ended = f"version {past.version} ended: {past.outcome} ({past.reason}), having had {past.weight} %"
        yield Entry(past.ended_at, _OPERATOR, ended, past.message, "history")
    if status.candidate is not None and status.candidate.since is not None:
        began = f"version {status.candidate.version} began"
        yield Entry(status.candidate.since, _OPERATOR, began, "", "status")


def _loosened(status: ModelRolloutStatus) -> Iterator[Entry]:
    for change in status.limit_changes:
        what = f"loosened the limit of {change.gate} from {change.old} to {change.new}"
        yield Entry(change.at, change.by or "unknown", what, "", "status")


def _written(rollout: dict[str, Any]) -> Iterator[Entry]:
    """What is left of who wrote the object: of each program its last write, and of its fields those that are still as
    it wrote them."""
    metadata = rollout["metadata"]
    created = parse_time(metadata["creationTimestamp"])
    yield Entry(created, "unknown", "created the ModelRollout", "", "metadata")
    writers = [one for one in metadata.get("managedFields") or [] if _parts(one) and one.get("time")]
    writers.sort(key=lambda one: str(one["time"]))
    author = (metadata.get("annotations") or {}).get(ANNOTATION_AUTHOR, "")
    for one in writers:
        last = f", the last change of what is released by {author}" if author and one is writers[-1] else ""
        what = f"wrote {', '.join(_parts(one))}{last}"
        yield Entry(parse_time(one["time"]), f"program {one.get('manager', '?')}", what, "", "managedFields")


def _parts(writer: dict[str, Any]) -> list[str]:
    """The parts of the spec that a program wrote. The operator writes none, so whoever borrows its name is shown."""
    fields = (writer.get("fieldsV1") or {}).get("f:spec") or {}
    return [f"spec.{name.removeprefix('f:')}" for name in sorted(fields) if name.startswith("f:")]


def table(entries: list[Entry]) -> RenderableType:
    """For people."""
    shown = show.plain_table("TIME", "WHO", "WHAT", "WHY")
    shown.columns[2].no_wrap = shown.columns[3].no_wrap = False
    for one in entries:
        shown.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.who, one.what, one.why)
    return shown
