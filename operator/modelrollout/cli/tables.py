"""The other views: many rollouts at a glance, and the past of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from modelrollout.api.objects import parse_time
from modelrollout.cli import show
from modelrollout.cli.view import Snapshot

__all__ = ["history", "rollouts"]


def rollouts(bodies: list[dict[str, Any]], now: datetime, *, everywhere: bool) -> RenderableType:
    """The columns of `kubectl get`, and the reason as a sentence."""
    first = ("NAMESPACE",) if everywhere else ()
    table = show.plain_table(*first, "NAME", "PHASE", "VERSION", "STABLE", "STEP", "WEIGHT", "GATES", "AGE", "MESSAGE")
    for body in sorted(bodies, key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"])):
        metadata, status = body["metadata"], body.get("status") or {}
        columns = status.get("columns") or {}
        table.add_row(
            *((metadata["namespace"],) if everywhere else ()),
            metadata["name"],
            status.get("phase", "–"),
            body["spec"]["model"]["version"],
            (status.get("stable") or {}).get("version", "–"),
            *(columns.get(column, "–") for column in ("step", "weight", "gates")),
            show.age(parse_time(metadata["creationTimestamp"]), now),
            status.get("message") or ("no operator has looked at it yet" if not status else ""),
        )
    return table


def history(seen: Snapshot, decisions: list[dict[str, Any]]) -> RenderableType:
    """Past rollouts, and what humans said."""
    past = show.plain_table("ENDED", "VERSION", "REVISION", "OUTCOME", "WEIGHT", "TOOK", "REASON", "MESSAGE")
    for entry in seen.rollout.status.history:
        past.add_row(
            f"{show.age(entry.ended_at, seen.now)} ago",
            entry.version,
            show.short(entry.revision),
            entry.outcome,
            f"{entry.weight} %",
            show.duration_between(entry.started_at, entry.ended_at),
            entry.reason,
            entry.message,
        )
    said = show.plain_table("SAID", "ACTION", "AUTHOR", "STATE", "COMMENT", "MESSAGE")
    for body in decisions:
        spec, status = body["spec"], body.get("status") or {}
        said.add_row(
            f"{show.age(parse_time(body['metadata']['creationTimestamp']), seen.now)} ago",
            spec["action"],
            spec.get("author") or "–",
            status.get("state", "not yet acted on"),
            spec.get("comment", ""),
            status.get("message", ""),
        )
    parts: list[RenderableType] = [past if seen.rollout.status.history else Text("no rollout has ended yet")]
    return Group(*parts, *((Text(), said) if decisions else ()))
