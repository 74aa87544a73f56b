"""What the page's JSON API says of rollouts: the same rows and sentences as the terminal, and the points of the charts.

Times are absolute, so that a document changes only when something happened, and who asks again gets a 304.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from modelrollout.api.gate import Gate
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import Mode
from modelrollout.api.status import HistoryEntry, ModelRolloutStatus, PreflightCheck
from modelrollout.screen.gates import GateRow, gate_rows, remarks
from modelrollout.screen.headline import headline
from modelrollout.screen.ladder import ladder
from modelrollout.screen.rows import ListRow, adopted, list_row, pod_rows, preflight_rows
from modelrollout.screen.snapshot import Snapshot
from modelrollout.screen.verbs import Said, command, command_for_anybody, sensible
from modelrollout.web.readings import Series

__all__ = ["listed", "shown"]


def listed(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Many rollouts, by namespace and name."""
    rows = sorted((list_row(body) for body in bodies), key=lambda row: (row.namespace, row.name))
    return [_list_row(row) for row in rows]


def _list_row(row: ListRow) -> dict[str, Any]:
    return asdict(row) | {"created": _time(row.created)}


def shown(seen: Snapshot, series: Series | None) -> dict[str, Any]:
    """One rollout; see docs/web.md for the fields."""
    rollout, status = seen.rollout, seen.rollout.status
    return {
        "namespace": rollout.namespace,
        "name": rollout.name,
        "phase": str(status.phase) if seen.judged else None,
        "reason": str(status.reason) if seen.judged else None,
        "observing": rollout.spec.mode is Mode.OBSERVE,
        "lines": headline(seen)._asdict(),
        "versions": _versions(status),
        "weight": {"asked": status.weight, "observed": status.observed_weight},
        "steps": [asdict(rung) for rung in ladder(seen)],
        "preflight": [_check(one) for one in preflight_rows(seen)],
        "gates": _gates(seen),
        "remarks": [asdict(remark) for remark in remarks(rollout, seen.now)],
        "pods": None if seen.deployments is None else [asdict(row) for row in pod_rows(seen)],
        "adopted": adopted(seen),
        "history": [_past(entry) for entry in status.history],
        "commands": [_command(seen, said) for said in sensible(rollout)],
        "readings": _readings(seen, series),
    }


def _versions(status: ModelRolloutStatus) -> dict[str, str | None]:
    tried = status.candidate or status.failed
    stable = status.stable
    return {
        "stable": (EXTERNAL if stable.revision == EXTERNAL else stable.version) if stable else None,
        "candidate": status.candidate.version if status.candidate else None,
        "tried": tried.version if tried else None,
    }


def _check(one: PreflightCheck) -> dict[str, str]:
    return {"check": one.check, "state": str(one.state), "message": one.message}


def _gates(seen: Snapshot) -> list[dict[str, Any]]:
    rollout = seen.rollout
    messages = {gate.name: gate.message for gate in rollout.status.gates}
    pairs = zip(rollout.spec.gates, gate_rows(rollout), strict=True)
    return [_gate(gate, row, messages.get(gate.name, "")) for gate, row in pairs]


def _gate(gate: Gate, row: GateRow, message: str) -> dict[str, Any]:
    unit = "seconds" if gate.latency is not None else "share" if gate.ratio is not None else "number"
    return asdict(row) | {"message": message, "unit": unit, "kind": gate.kind}


def _past(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "revision": entry.revision,
        "outcome": str(entry.outcome),
        "reason": str(entry.reason),
        "weight": entry.weight,
        "message": entry.message,
        "started": _time(entry.started_at),
        "ended": _time(entry.ended_at),
    }


def _command(seen: Snapshot, said: Said) -> dict[str, str]:
    """Whoever pastes it need not be who looks."""
    return {
        "title": said.action.value + " --full" * said.full,
        "does": said.does,
        "command": command(seen.rollout, said),
        "kubectl": command_for_anybody(seen.rollout, said),
    }


def _readings(seen: Snapshot, series: Series | None) -> dict[str, Any] | None:
    """With when the candidate came, so that a chart that begins later is not taken for the whole story."""
    candidate = seen.rollout.status.candidate
    if series is None or not series.points:
        return None
    return series.document() | {"trialSince": _time(candidate.since) if candidate else None}


def _time(at: datetime | None) -> str | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
