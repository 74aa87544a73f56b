"""What people say of a rollout, in RolloutDecisions: each acted on once, or refused with the reason.

=======  ==========================================================  =================================
verb     when                                                        effect
=======  ==========================================================  =================================
pause    a candidate is on its way                                   steps up stop; gates go on
resume   paused (not by spec), or the route is contested             steps go on
abort    a candidate is on its way, and there is a stable revision   all traffic back; not tried again
promote  a step is being held, not frozen, not blind                 this step ends now
         with ``full``                                               every step ends now
undo     an earlier promoted revision is kept (or one is on trial)   it serves until spec names another
retry    the revision in spec was rolled back                        it begins anew
=======  ==========================================================  =================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrollout.api.decision import DecisionState
from modelrollout.api.enums import Action, Phase, Reason
from modelrollout.api.status import Blind, Pause, Pinned
from modelrollout.engine import approvals, contest, identity, preflight, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import Answer, Human

__all__ = ["listen"]


class _RefusedError(Exception):
    """Why a decision is not acted on, and what to do instead."""


def listen(d: Draft) -> None:
    """Act on every decision that has not been answered."""
    for human in sorted(d.input.humans, key=lambda one: one.created):
        if human.uid in d.status.handled:
            d.then.append(Answer(human.name, DecisionState.APPLIED, f"{human.verb} was done"))
            continue
        state, message = _hear(d, human)
        d.then.append(Answer(human.name, state, message))
        who = human.author or "someone"
        if state is DecisionState.APPLIED:
            d.set(handled=[human.uid, *d.status.handled][:32])
            comment = f' ("{human.comment}")' if human.comment else ""
            d.event(Reason.DECISION_APPLIED, f"{human.verb} by {who}{comment}: {message}")
        else:
            refused = Reason.DECISION_EXPIRED if state is DecisionState.EXPIRED else Reason.DECISION_REFUSED
            d.event(refused, f"{human.verb} by {who} is not done: {message}", warning=True)


def _hear(d: Draft, human: Human) -> tuple[DecisionState, str]:
    if human.created < d.input.created:
        return DecisionState.EXPIRED, "it is older than the ModelRollout"
    marker = d.input.route.marker
    begun = marker is not None and marker.decision == human.uid
    if d.now > human.expires and not begun:
        return DecisionState.EXPIRED, f"it could not be acted on before {human.expires:%H:%M:%S} UTC"
    if d.input.deleting:
        return DecisionState.REFUSED, "the ModelRollout is being deleted"
    try:
        return DecisionState.APPLIED, _VERBS[human.verb](d, human)
    except _RefusedError as refused:
        return DecisionState.REFUSED, str(refused)


def _on_trial(d: Draft, human: Human) -> str:
    """The candidate's version; refused when there is none, or another one than meant."""
    candidate = d.status.candidate
    if candidate is None or d.status.phase is Phase.ROLLING_BACK:
        raise _RefusedError("nothing is being rolled out")
    if human.revision and human.revision != candidate.revision:
        raise _RefusedError(f"revision {human.revision} is meant, but {candidate.revision} is being rolled out by now")
    return candidate.version


def _pause(d: Draft, human: Human) -> str:
    version = _on_trial(d, human)
    comment = f": {human.comment}" if human.comment else ""
    message = f"paused by {human.author or 'a decision'}{comment}"
    step = d.status.step
    d.set(
        paused=Pause(reason=Reason.PAUSED_BY_DECISION, at=d.now, message=message[:1024]),
        step=step.model_copy(update={"skipped": False}) if step is not None else None,
    )
    return f"version {version} stays at {d.status.weight} %"


def _resume(d: Draft, human: Human) -> str:
    version = _on_trial(d, human)
    if d.input.spec.paused:
        raise _RefusedError("spec.paused is true: set it to false")
    if d.status.paused is None and not contest.is_on(d):
        raise _RefusedError("it is not paused")
    if contest.is_on(d):
        d.set(contest=None)
    step = d.status.step
    d.set(paused=None, step=step.model_copy(update={"extended_seconds": 0.0}) if step is not None else None)
    return f"version {version} goes on from {d.status.weight} %"


def _abort(d: Draft, human: Human) -> str:
    version = _on_trial(d, human)
    if not d.stable:
        raise _RefusedError("this is the first revision; there is nothing to go back to")
    comment = f": {human.comment}" if human.comment else ""
    d.decision = human.uid
    rollback.roll_back(d, Reason.ABORTED, f"aborted by {human.author or 'a decision'}{comment}")
    return f"version {version} gets no traffic any more"


def _promote(d: Draft, human: Human) -> str:
    version = _on_trial(d, human)
    step = d.status.step
    if step is None or step.number == 0:
        raise _RefusedError("its pods are starting and no step is being held yet")
    if step.role:
        raise _RefusedError(f"step {step.name} is for role {step.role} to decide; {approvals.what_to_type(d)}")
    ahead = [one.title for one in d.input.spec.steps[step.number :] if one.approval]
    if human.full and ahead:
        raise _RefusedError(f"step {ahead[0]} is still ahead, and only an approval ends it: promote without full")
    if d.input.frozen:
        raise _RefusedError(f"steps up are frozen ({d.input.frozen})")
    if contest.is_on(d):
        raise _RefusedError("someone else keeps writing the route's weights; stop that, then resume")
    blind = d.status.blind is not None and not (d.status.weight == 0 and _is_wrong(d.status.blind))
    if blind and not human.full:
        raise _RefusedError("there are no metrics to judge by; promote with full to go on all the same")
    paused = d.status.paused if d.status.paused and d.status.paused.reason is Reason.PAUSED_BY_SPEC else None
    held = preflight.holds(d)
    if held and not human.full:
        d.set(preflight_overruled=True, paused=paused)
        return f"version {version} begins with step {step.name} although: {held}"
    phase = Phase.PROMOTING if human.full else Phase.PROGRESSING
    d.set(step=step.model_copy(update={"skipped": True}), paused=paused, phase=phase)
    return f"version {version} skips every step that is left" if human.full else f"step {step.name} of {version} ends"


def _is_wrong(blind: Blind) -> bool:
    """Whether it is a gate that is wrong, not the source that is away: a person may know better."""
    return blind.reason is Reason.GATE_MISCONFIGURED


def _undo(d: Draft, human: Human) -> str:
    revision = human.revision
    kept = [view.revision for view in identity.ways_back(d)]
    if not revision:
        revision = d.stable if d.candidate and d.stable else next(iter(kept), "")
    if not revision or (revision not in kept and revision != d.stable):
        known = ", ".join(kept) or "none"
        raise _RefusedError(f"revision {revision or '(previous)'} is not kept; kept are: {known}")
    if revision == d.stable and not d.candidate:
        raise _RefusedError(f"revision {revision} serves already")
    pinned = (
        None if revision == d.input.target.revision else Pinned(revision=revision, instead_of=d.input.target.revision)
    )
    failed = d.status.failed
    d.set(pinned=pinned, failed=None if failed is not None and failed.revision == revision else failed)
    d.decision = human.uid
    return f"back to revision {revision}, until spec names another version"


def _retry(d: Draft, human: Human) -> str:
    failed, pinned = d.status.failed, d.status.pinned
    if pinned is not None and d.status.candidate is None:
        d.set(pinned=None)
        return f"revision {pinned.instead_of} begins anew"
    if failed is None:
        raise _RefusedError("no revision was rolled back")
    if human.revision and human.revision != failed.revision:
        raise _RefusedError(f"revision {human.revision} is meant, but {failed.revision} was rolled back")
    if d.status.candidate is not None:
        raise _RefusedError("its rollback is not finished; say it again when it is")
    d.set(failed=None)
    return f"version {failed.version} begins anew at the first step"


_VERBS: Final[dict[Action, Callable[[Draft, Human], str]]] = {
    Action.PAUSE: _pause,
    Action.RESUME: _resume,
    Action.ABORT: _abort,
    Action.PROMOTE: _promote,
    Action.UNDO: _undo,
    Action.RETRY: _retry,
}
