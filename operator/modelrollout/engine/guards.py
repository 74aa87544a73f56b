"""What takes a candidate down again: pods that fail, a catastrophe, a breach that lasts."""

from __future__ import annotations

from datetime import datetime

from modelrollout.api.enums import Reason, Verdict
from modelrollout.api.grammar import format_duration
from modelrollout.engine import rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import split_is_off
from modelrollout.engine.model import RevisionView
from modelrollout.engine.raising import relative_gates

__all__ = ["broken_pods", "gate_breached", "guard"]


def guard(d: Draft) -> None:
    """Watch over a candidate that must stay where it is, because ``spec`` names one that cannot begin."""
    if d.candidate and d.status.weight > 0:
        if not broken_pods(d):
            gate_breached(d)
        d.wake_in(d.interval)


def broken_pods(d: Draft) -> bool:
    """Whether the candidate's pods are reason to roll back; then it is done."""
    view = d.view(d.candidate)
    if view is None and d.stable and d.status.weight > 0:
        rollback.roll_back(d, Reason.PODS_FAILING, "its Deployment was deleted while it had traffic")
        return True
    if view is None:
        return False
    if view.failure:
        reason = Reason.PODS_FAILING if d.status.weight > 0 else Reason.FAILED_TO_START
        rollback.roll_back(d, reason, view.failure)
        return True
    since = _note_missing_pods(d, view)
    if since is None:
        return False
    patience = d.seconds(d.input.spec.evaluation.min_breach_time)
    if d.stable and d.status.weight > 0 and view.ready == 0 and d.since(since) >= patience:
        rollback.roll_back(d, Reason.PODS_FAILING, f"none of its {view.desired} pods is ready, and it has traffic")
        return True
    stuck = d.since(max(since, view.progress_at or since))
    if stuck <= d.seconds(d.input.spec.workload.progress_deadline):
        return False
    message = f"{view.ready} of {view.desired} pods ready, and no progress for {format_duration(stuck)}"
    rollback.roll_back(d, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return True


def _note_missing_pods(d: Draft, view: RevisionView) -> datetime | None:
    """Since when pods are missing; None when none is. Pods that were just asked for are given their time anew, and
    time without room for them does not count."""
    missing = view.ready < view.desired
    since = None if not missing else d.now if view.waiting else d.status.pods_missing_since or d.now
    d.set(pods_missing_since=since)
    return since


def gate_breached(d: Draft) -> bool:
    """Whether a gate (or one catastrophic look) is reason to roll back; then it is done."""
    if d.catastrophe and d.status.weight > 0:
        rollback.roll_back(d, Reason.CATASTROPHE, d.catastrophe)
        return True
    mismatch = bool(split_is_off(d))
    relative = relative_gates(d)
    breached = [
        gate
        for gate in d.status.gates
        if gate.verdict is Verdict.BREACHED and not gate.shared and not (mismatch and gate.name in relative)
    ]
    if not breached or d.status.weight == 0:
        d.set(breach_since=None)
        return False
    since = d.status.breach_since or d.now
    d.set(breach_since=since)
    patience = d.seconds(d.input.spec.evaluation.min_breach_time)
    left = patience - d.since(since)
    if left > 0:
        d.wake_in(left)
        return False
    if patience > 0 and (d.status.evaluated_at or since) <= since:
        return False  # one look is not enough, however long ago it was
    worst = breached[0]
    message = f"{worst.name}: {worst.message}; {worst.samples} samples against {worst.baseline_samples}"
    rollback.roll_back(d, Reason.GATE_BREACHED, message)
    return True
