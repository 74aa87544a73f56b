"""The way of the candidate: it begins, is guarded, takes its steps, and is promoted."""

from __future__ import annotations

from modelrollout.api.enums import Outcome, Phase, Reason
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import Pause, StepStatus
from modelrollout.engine import approvals, identity, preflight, rollback, windows
from modelrollout.engine.draft import Draft
from modelrollout.engine.foresight import first_weight
from modelrollout.engine.guards import broken_pods, gate_breached
from modelrollout.engine.promotion import promote
from modelrollout.engine.raising import is_fast, ready_for
from modelrollout.engine.steps import hold_step, note_serving, start

__all__ = ["begin", "go_on"]


def begin(d: Draft, target: str) -> None:
    """A new candidate: against the same stable, from the first step."""
    identity.forget_lost_stable(d)
    if d.candidate and d.status.phase is not Phase.ROLLING_BACK:
        rollback.record(d, Outcome.SUPERSEDED, Reason.SUPERSEDED, f"revision {target} was named in its stead")
    first_of = len(d.input.spec.steps)
    d.set(
        candidate=identity.ref(d, target, d.now),
        step=StepStatus(number=0, of=first_of, name="start", since=d.now),
        weight=0,
        peak_weight=0,
        stable_replicas=_stable_pods(d),
        gates=[],
        evaluated_at=None,
        spans=[],
        split_off_since=None,
        replaced_pod="",
        overrides=[],
        observed="",
        preflight=[],
        preflight_overruled=False,
        limit_changes=[],
        approvals=[],
        authors=[],
        pods_missing_since=None,
        blind=None,
        failed=None,
        paused=None,
        observed_revision=target,
    )
    approvals.note_author(d)
    version = d.status.candidate.version if d.status.candidate else ""
    if not d.stable:
        reason, message = Reason.FIRST_REVISION, f"version {version} is the first one: it is deployed without steps"
    elif is_fast(d):
        reason, message = Reason.REVERTED_TO_PREVIOUS, f"going back to version {version}, which was promoted before"
    else:
        reason, message = Reason.NEW_REVISION, f"version {version} is starting beside {_what_is_stable(d)}"
    d.event(reason, message)
    d.say(Phase.STARTING, reason, message, "its pods must become ready")
    if reason is Reason.NEW_REVISION:
        ready_for(d, first_weight(d.input.spec))  # as every later look says it, so that it need not be written again
    d.wake_in(1.0)


def _what_is_stable(d: Draft) -> str:
    adopted = d.input.adopted
    return adopted.name if adopted is not None and d.stable == EXTERNAL else "the stable revision"


def _stable_pods(d: Draft) -> int:
    view = d.view(d.stable)
    return view.desired if view is not None else 0


def go_on(d: Draft) -> None:
    """One look at a candidate on its way."""
    identity.forget_lost_stable(d)
    _note_pause_in_spec(d)
    if broken_pods(d) or gate_breached(d):
        return
    if is_fast(d):
        promote(d)
    elif d.status.phase is Phase.PROMOTING and not approvals.passed_by(d):
        note_serving(d)  # who is promoted before the first look at a weight is judged at it all the same
        promote(d)
    else:
        preflight.look(d)
        if d.status.step is None or d.status.step.number == 0:
            start(d)
        else:
            hold_step(d)
    d.wake_in(d.interval)
    _wake_when_it_may_go_up(d)


def _wake_when_it_may_go_up(d: Draft) -> None:
    """At the end of a freeze, and when the window opens."""
    freeze, window = d.input.freeze, d.input.spec.advance_only
    if freeze is not None and freeze.until is not None:
        d.wake_in((freeze.until - d.now).total_seconds())
    if window is not None and not windows.unknown_zone(window) and not windows.is_open(window, d.now):
        d.wake_in((windows.next_opening(window, d.now) - d.now).total_seconds())


def _note_pause_in_spec(d: Draft) -> None:
    """Keep status honest about a pause in spec, without touching one that a human decided."""
    paused = d.status.paused
    if d.input.spec.paused and paused is None:
        d.set(paused=Pause(reason=Reason.PAUSED_BY_SPEC, at=d.now, message="spec.paused is true"))
    elif not d.input.spec.paused and paused is not None and paused.reason is Reason.PAUSED_BY_SPEC:
        d.set(paused=None)
