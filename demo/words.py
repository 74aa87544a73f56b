"""The status of a ModelRollout in the few words that the demo shows; no input or output."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from demo.measuring import Users

__all__ = ["gate_line", "happening", "incident", "judged_at", "moment", "style"]

_STYLES = {
    "RolledBack": "bold red",
    "RollingBack": "bold red",
    "Stalled": "bold red",
    "Stable": "bold green",
    "Starting": "cyan",
}


def happening(status: dict[str, Any]) -> tuple[str, str]:
    """What makes a new line when it changes (phase, step, reason, a breached gate), and the operator's own sentence."""
    step = status.get("step") or {}
    where = f" step {step['number']}/{step['of']}" if step.get("number") else ""
    head = f"{status.get('phase', 'Pending')}{where} {status.get('reason', '')}"
    breached = [gate["name"] for gate in status.get("gates", []) if gate["verdict"] == "Breached"]
    return " ".join([head, *breached]), f"{head}: {status.get('message', '')}"


def judged_at(status: dict[str, Any], gate: str) -> float | None:
    """When the operator first called a gate breached, as a time stamp."""
    since = [item["since"] for item in status.get("gates", []) if item["name"] == gate and item.get("since")]
    return datetime.fromisoformat(since[0]).timestamp() if since else None


def style(status: dict[str, Any]) -> str:
    """How a phase looks: what was put back is red, a held weight is magenta."""
    if status.get("blind"):
        return "bold magenta"
    return _STYLES.get(status.get("phase", ""), "")


def moment(rollout: dict[str, Any], users: Users | None) -> list[str]:
    """The state of the moment: weight, users, and each gate."""
    status = rollout.get("status") or {}
    step = status.get("step") or {}
    observed = status.get("observedWeight")
    parts = [
        f"step {step.get('number', 0)} of {step.get('of', 0)}" if step else status.get("phase", "Pending"),
        f"weight {status.get('weight', 0)} % asked, {'?' if observed is None else observed} % routed",
    ]
    if step.get("holdSeconds"):
        parts.append(f"held {step.get('heldSeconds', 0.0):.0f} of {step['holdSeconds']:.0f} s")
    asked = "users: unknown while Prometheus is away" if users is None else _users(users)
    gates = [gate_line(gate, is_latency(rollout, gate["name"])) for gate in status.get("gates", [])]
    return ["   ".join(parts), asked, *gates]


def _users(users: Users) -> str:
    return f"users: {users.asked:,.0f} asked, {users.failed:,.0f} saw a failure"


def is_latency(rollout: dict[str, Any], gate: str) -> bool:
    """Whether a gate's values are seconds."""
    return any(entry["name"] == gate and "latency" in entry for entry in rollout["spec"].get("gates", []))


def gate_line(gate: dict[str, Any], latency: bool) -> str:
    """One gate: what the candidate shows, what the baseline shows, and the verdict."""
    value, baseline = _number(gate.get("value"), latency), _number(gate.get("baseline"), latency)
    samples = f"{gate.get('samples', 0)} against {gate.get('baselineSamples', 0)} samples"
    return f"{gate['name']:<8}{value:>9}  (stable {baseline})  {gate.get('verdict', ''):<11}  {samples}"


def _number(value: float | None, latency: bool) -> str:
    if value is None:
        return "–"
    if math.isinf(value):
        return "> 2.5 s"
    return f"{value * 1000:.0f} ms" if latency else f"{value * 100:.1f} %"


def incident(rollout: dict[str, Any], gate: str) -> list[tuple[str, str]]:
    """The record that a rollback leaves in status: the newest history entry and the gate that broke."""
    status = rollout["status"]
    entry = status["history"][0]
    found: dict[str, Any] = next((item for item in status.get("gates", []) if item["name"] == gate), {})
    rows = [
        ("version", f"{entry['version']}  (revision {entry['revision']})"),
        ("outcome", f"{entry['outcome']}, reason {entry['reason']}"),
        ("began, ended", f"{entry.get('startedAt', '?')}, {entry['endedAt']}"),
        ("highest weight", f"{entry.get('weight', 0)} %"),
        ("why", entry.get("message", "")),
    ]
    if found:
        latency = is_latency(rollout, gate)
        rows.append((f"gate {gate}", " ".join(gate_line(found, latency).split())))
        rows.append(("limit", found.get("limit", "")))
        rows.append(("query", found.get("query", "")))
    return rows
