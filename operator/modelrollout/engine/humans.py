"""What people say of a rollout, in RolloutDecisions: each acted on once, or refused with the reason.

=======  ==========================================================  =================================
verb     when                                                        effect
=======  ==========================================================  =================================
pause    a candidate is on its way                                   steps up stop; gates go on
resume   paused (not by spec), or the route is contested             steps go on
abort    a candidate is on its way, and there is a stable revision   all traffic back; not tried again
promote  a step is being held, not frozen, in the window, not blind  this step ends now
         with ``full``, also blind                                   every step ends now
         with ``override_freeze``, also frozen or out of the window  as above, on record
         with ``accept_breached``, also breached                     these gates act no more, on record
undo     one is on trial, or the one before the promoted is kept     it serves until spec names another
retry    the revision in spec was rolled back                        it begins anew
approve  a step waits for this role                                  it counts; with enough people on it goes
reject   a candidate is on its way, and a step asks for this role    all traffic back; not tried again
=======  ==========================================================  =================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrollout.api.decision import DecisionState, Seen
from modelrollout.api.enums import Action, Phase, Reason
from modelrollout.api.status import Blind, Override, Pause, Pinned
from modelrollout.engine import approvals, contest, identity, preflight, raising, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import Answer, Human
from modelrollout.engine.seen import what_is_seen

__all__ = ["listen"]

_MOST_OVERRIDES: Final = 8
_LOWERING: Final = (Action.ABORT, Action.REJECT, Action.UNDO)
"""What is begun by a lowering of the weight, whose marker on the route names the decision."""


class _RefusedError(Exception):
    """Why a decision is not acted on, and what to do instead."""


def listen(d: Draft) -> None:
    """Act on every decision that has not been answered."""
    for human in sorted(d.input.humans, key=lambda one: one.created):
        seen = what_is_seen(d)
        if human.uid in d.status.handled:
            d.then.append(_answer(human, DecisionState.APPLIED, f"{human.verb} was done", seen))
            continue
        state, message = _hear(d, human)
        d.then.append(_answer(human, state, message, seen))
        who = human.author or "someone"
        if state is DecisionState.APPLIED:
            d.set(handled=[human.uid, *d.status.handled][:32])
            comment = f' ("{human.comment}")' if human.comment else ""
            d.event(Reason.DECISION_APPLIED, f"{human.verb} by {who}{comment}: {message}")
        else:
            refused = Reason.DECISION_EXPIRED if state is DecisionState.EXPIRED else Reason.DECISION_REFUSED
            d.event(refused, f"{human.verb} by {who} is not done: {message}", warning=True)


def _answer(human: Human, state: DecisionState, message: str, seen: Seen) -> Answer:
    return Answer(human.name, state, message, human.unverified, seen)


def _hear(d: Draft, human: Human) -> tuple[DecisionState, str]:
    if human.created < d.input.created:
        return DecisionState.EXPIRED, "it is older than the ModelRollout"
    marker = d.input.route.marker
    begun = human.verb in _LOWERING and marker is not None and marker.decision == human.uid
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
        step=step.model_copy(update={"skipped": False, "overridden": False}) if step is not None else None,
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
    if approvals.wanted(d):
        raise _RefusedError(f"step {step.name} is for role {step.role} to decide; {approvals.what_to_type(d)}")
    ahead = [one.title for one in d.input.spec.steps[step.number :] if one.approval]
    if human.full and ahead:
        raise _RefusedError(f"step {ahead[0]} is still ahead, and only an approval ends it: promote without full")
    closed = raising.closed(d)
    if closed and not human.override_freeze:
        raise _RefusedError(f"{closed}; to go on all the same: promote --override-freeze -m WHY")
    if contest.is_on(d):
        raise _RefusedError("someone else keeps writing the route's weights; stop that, then resume")
    blind = d.status.blind is not None and not (d.status.weight == 0 and _is_wrong(d.status.blind))
    if blind and not human.full and not ahead:  # full is refused while an approval is ahead
        raise _RefusedError("there are no metrics to judge by; promote with full to go on all the same")
    paused = d.status.paused if d.status.paused and d.status.paused.reason is Reason.PAUSED_BY_SPEC else None
    full, held = human.full or d.status.phase is Phase.PROMOTING, preflight.holds(d)
    over = _record_override(d, human)
    step = step.model_copy(update={"overridden": bool(closed)})
    if d.status.weight == 0 and not full:
        d.set(preflight_overruled=True, paused=paused, step=step)
        although = f" although: {held}" if held else ""
        return f"version {version} begins with step {step.name}{although}{over}"[:1024]
    step = step.model_copy(update={"skipped": True})
    d.set(step=step, paused=paused, phase=Phase.PROMOTING if full else Phase.PROGRESSING)
    did = f"version {version} skips every step that is left" if full else f"step {step.name} of {version} ends"
    return f"{did}{over}"[:1024]


def _record_override(d: Draft, human: Human) -> str:
    """Keep what a human overrules with the release; what to add to the answer."""
    gates, over = _accepted(d, human), raising.what_is_closed(d)
    if not gates and not over:
        return ""
    if not human.comment.strip():
        raise _RefusedError("who overrules a freeze or a breached gate must say why: give a comment (-m)")
    if len(d.status.overrides) >= _MOST_OVERRIDES:
        raise _RefusedError(
            f"{_MOST_OVERRIDES} overrides are on record for this candidate already; name another version"
        )
    override = Override(at=d.now, by=human.author[:256], comment=human.comment[:256], over=over[:256], gates=gates)
    d.set(overrides=[override, *d.status.overrides])
    return f"; {override.in_words()}"


def _accepted(d: Draft, human: Human) -> list[str]:
    """The gates that are to do nothing any more. They need not be breached yet: who retries a version because its
    breach is understood names them before they roll it back again."""
    known = [gate.name for gate in d.input.spec.gates]
    unknown = [name for name in human.accept_breached if name not in known]
    if unknown:
        raise _RefusedError(f"there is no gate {unknown[0]}; spec has: {', '.join(known) or 'none'}")
    return list(human.accept_breached)


def _is_wrong(blind: Blind) -> bool:
    """Whether it is a gate that is wrong, not the source that is away: a person may know better."""
    return blind.reason is Reason.GATE_MISCONFIGURED


def _undo(d: Draft, human: Human) -> str:
    kept = [view.revision for view in identity.ways_back(d)]
    revision = human.revision or _the_one_before(d, kept)
    if not revision:
        raise _RefusedError("no earlier revision is kept to go back to")
    if revision not in kept and revision != d.stable:
        raise _RefusedError(f"revision {revision} is not kept; kept are: {', '.join(kept) or 'none'}")
    if revision == d.stable and not d.candidate:
        raise _RefusedError(f"revision {revision} serves already")
    pinned = (
        None if revision == d.input.target.revision else Pinned(revision=revision, instead_of=d.input.target.revision)
    )
    failed = d.status.failed
    d.set(pinned=pinned, failed=None if failed is not None and failed.revision == revision else failed)
    d.decision = human.uid
    return f"back to revision {revision}, until spec names another version"


def _the_one_before(d: Draft, kept: list[str]) -> str:
    """What "back" means to a person who names no revision: from a candidate to stable, from a promotion to the one
    before. Whoever is back already, by an undo or a rollback, must not be led further by saying it once more."""
    pinned, failed, further = d.status.pinned, d.status.failed, f"to go further back: {d.command('undo')} REVISION"
    if pinned is not None and pinned.instead_of == d.input.target.revision:
        raise _RefusedError(f"an undo to revision {pinned.revision} is in force already; {further}")
    if d.candidate and d.stable:
        return d.stable
    if failed is not None and d.stable:
        version = d.status.stable.version if d.status.stable else ""
        raise _RefusedError(f"version {failed.version} was rolled back, and version {version} serves; {further}")
    return next(iter(kept), "")


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


def _approve(d: Draft, human: Human) -> str:
    _on_trial(d, human)
    why = approvals.why_not(d, human)
    if why:
        raise _RefusedError(why)
    return approvals.count(d, human)


def _reject(d: Draft, human: Human) -> str:
    version = _on_trial(d, human)
    if not any(step.approval is not None and step.approval.role == human.role for step in d.input.spec.steps):
        raise _RefusedError(f"no step asks for role {human.role}: type {d.command('abort')}")
    if not d.stable:
        raise _RefusedError("this is the first revision; there is nothing to go back to")
    d.decision = human.uid
    message = f"rejected by {human.author or 'a decision'} with the role {human.role}: {human.comment}"
    rollback.roll_back(d, Reason.REJECTED, message)
    return f"version {version} gets no traffic any more"


_VERBS: Final[dict[Action, Callable[[Draft, Human], str]]] = {
    Action.PAUSE: _pause,
    Action.RESUME: _resume,
    Action.ABORT: _abort,
    Action.PROMOTE: _promote,
    Action.UNDO: _undo,
    Action.RETRY: _retry,
    Action.APPROVE: _approve,
    Action.REJECT: _reject,
}
