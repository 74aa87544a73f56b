"""What takes a candidate down again: pods that fail, a catastrophe, a breach that lasts."""

from __future__ import annotations

from datetime import datetime

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.grammar import format_duration
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import GateStatus, Pause
from modelrollout.engine import rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import begun_anew, one_bad_pod, split_is_off
from modelrollout.engine.model import ReplacePod, RevisionView
from modelrollout.engine.observing import observes, would_hold, would_replace, would_roll_back
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
    """Since when pods are missing; None when none is, or while there is no room for them, which does not count."""
    missing = view.ready < view.desired and not view.waiting
    since = d.status.pods_missing_since or d.now if missing else None
    d.set(pods_missing_since=since)
    return since


def gate_breached(d: Draft) -> bool:
    """Whether a gate (or one catastrophic look) is reason to roll back or to replace a pod; then it is done. In observe
    mode it is only said."""
    if d.status.weight == 0:
        return False
    if d.catastrophe:
        return _act(d, Reason.CATASTROPHE, d.catastrophe)
    breached = _breached(d)
    for gate, said in breached:
        if said.on_breach is OnBreach.ROLLBACK or gate.since != d.now:
            continue  # who resumed after a pause knows of the breach
        message = f"{gate.name} is breached: {gate.message}"
        pauses = said.on_breach is OnBreach.PAUSE and d.status.paused is None
        if pauses and observes(d):
            would_hold(d, Reason.GATE_BREACHED, message)
        elif pauses:
            d.set(paused=Pause(reason=Reason.GATE_BREACHED, at=d.now, message=message[:1024]))
            d.event(Reason.GATE_BREACHED, f"the steps are paused: {message}", warning=True)
        else:
            d.event(Reason.GATE_WARNED, message, warning=True)
    acting = [gate for gate, said in breached if said.on_breach is OnBreach.ROLLBACK]
    if not acting:
        return False
    worst = acting[0]
    pod = _one_pod_alone(d, worst)
    if pod:
        return _replace(d, worst, pod)
    message = f"{worst.name}: {worst.message}; {worst.samples} samples against {worst.baseline_samples}"
    return _act(d, Reason.GATE_BREACHED, message)


def _breached(d: Draft) -> list[tuple[GateStatus, Gate]]:
    """Gates that are broken by the candidate alone, and that no human accepted; while the split is off, relative ones
    say nothing."""
    mismatch = bool(split_is_off(d))
    relative, accepted = relative_gates(d), d.status.accepted
    said = {gate.name: gate for gate in d.input.spec.gates}
    return [
        (gate, said[gate.name])
        for gate in d.status.gates
        if gate.verdict is Verdict.BREACHED
        and not gate.shared
        and gate.name not in accepted
        and not (mismatch and gate.name in relative)
    ]


def _act(d: Draft, reason: Reason, message: str) -> bool:
    """Roll back; in observe mode only say, once, what would have been done."""
    if observes(d):
        would_roll_back(d, reason, message)
        return False
    rollback.roll_back(d, reason, message)
    return True


def _one_pod_alone(d: Draft, breached: GateStatus) -> str:
    """The pod that alone carries a breach; empty when it is the model, or when a pod was replaced already."""
    gate = next(one for one in d.input.spec.gates if one.name == breached.name)
    if d.status.replaced_pod or gate.kind not in ("ratio", "latency"):
        return ""
    if d.candidate == EXTERNAL:  # its pods are not ours to delete
        return ""
    return one_bad_pod(gate, breached, d.input.spec)


def _replace(d: Draft, breached: GateStatus, pod: str) -> bool:
    """Replace the pod, once, and the gates begin anew without it; then it is done. In observe mode it is only said."""
    alone = f"{pod} alone is bad ({breached.pods[pod]} of {breached.name})"
    if observes(d):
        would_replace(d, alone)
        return False
    message = f"{alone}; it is replaced before that counts"
    step = d.status.step
    anew = step.model_copy(update={"serving_since": None}) if step is not None else None
    d.set(replaced_pod=pod, spans=[], step=anew, gates=begun_anew(d, message))
    d.first.append(ReplacePod(d.candidate, pod))
    d.event(Reason.ONE_POD_BAD, message, warning=True)
    d.say(Phase.PROGRESSING, Reason.ONE_POD_BAD, message, "the hold goes on when another pod is ready and warm")
    d.wake_in(d.interval)
    return True
