"""The other views: many rollouts at a glance, and the past of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from modelrollout.api.objects import Frozen, parse_time
from modelrollout.cli import show
from modelrollout.screen import units
from modelrollout.screen.rows import list_row
from modelrollout.screen.snapshot import Snapshot

__all__ = ["freezes", "history", "rollouts"]


def rollouts(bodies: list[dict[str, Any]], now: datetime, *, everywhere: bool) -> RenderableType:
    """The columns of `kubectl get`, and the reason as a sentence."""
    first = ("NAMESPACE",) if everywhere else ()
    table = show.plain_table(*first, "NAME", "PHASE", "VERSION", "STABLE", "STEP", "WEIGHT", "GATES", "AGE", "MESSAGE")
    rows = [list_row(body) for body in bodies]
    for row in sorted(rows, key=lambda one: (one.namespace, one.name)):
        table.add_row(
            *((row.namespace,) if everywhere else ()),
            row.name,
            row.phase,
            row.version,
            row.stable,
            row.step,
            row.weight,
            row.gates,
            units.age(row.created, now),
            row.message,
        )
    return table


def history(seen: Snapshot, decisions: list[dict[str, Any]]) -> RenderableType:
    """Past rollouts, and what humans said."""
    past = show.plain_table("ENDED", "VERSION", "REVISION", "OUTCOME", "WEIGHT", "TOOK", "REASON", "MESSAGE")
    for entry in seen.rollout.status.history:
        past.add_row(
            f"{units.age(entry.ended_at, seen.now)} ago",
            entry.version,
            units.short(entry.revision),
            entry.outcome,
            f"{entry.weight} %",
            units.duration_between(entry.started_at, entry.ended_at),
            entry.reason,
            "; ".join((entry.message, *entry.overrides)),
        )
    said = show.plain_table("SAID", "ACTION", "AUTHOR", "STATE", "COMMENT", "MESSAGE")
    for body in decisions:
        spec, status = body["spec"], body.get("status") or {}
        said.add_row(
            f"{units.age(parse_time(body['metadata']['creationTimestamp']), seen.now)} ago",
            spec["action"],
            spec.get("author") or "–",
            status.get("state", "not yet acted on"),
            spec.get("comment", ""),
            status.get("message", ""),
        )
    parts: list[RenderableType] = [past if seen.rollout.status.history else Text("no rollout has ended yet")]
    return Group(*parts, *((Text(), said) if decisions else ()))


def freezes(found: Sequence[tuple[Frozen, datetime]], now: datetime) -> RenderableType:
    """What stops the line; each with the time at which it was made."""
    table = show.plain_table("NAME", "NAMESPACES", "UNTIL", "AUTHOR", "AGE", "REASON")
    for one, made in sorted(found, key=lambda pair: pair[1], reverse=True):
        until = "lifted" if one.until is None else f"{one.until:%Y-%m-%d %H:%M} UTC"
        if one.until is not None and one.until <= now:
            until = f"over since {until}"
        where = "all" if one.namespaces is None else ", ".join(sorted(one.namespaces))
        table.add_row(one.name, where, until, one.author or "–", units.age(made, now), one.reason)
    return table
