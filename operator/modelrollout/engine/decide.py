"""The one function that decides: from what is seen to what to do. Pure: no clock, no files, no sockets.

It reads like a table of contents. Each line below is a rule in a module of this package:

    identity   who is stable (the cluster's labels say so; status is a cache of them)
    routing    what became of the weights that were written (our own unrecorded lowering, an outside edit)
    evidence   what the metrics say
    humans     what people said (approvals: whose word counts)
    progress   the way of the candidate: it begins, is guarded (guards), takes its steps (steps), and is promoted
               (promotion); raising says what it takes for weight to go up, windows when it may
    rollback   back to stable: breach, failure, abort, revert
    capacity   pods for each revision, and what may go
    adoption   what served before the first revision of ours
    routing    the weights that follow
    contest    who keeps writing over them
    report     conditions, columns and the next sentence
    notices    whom to tell: the outbox in status
"""

from __future__ import annotations

from modelrollout.api.enums import Phase, Reason
from modelrollout.engine import (
    adoption,
    approvals,
    capacity,
    contest,
    guards,
    humans,
    identity,
    notices,
    progress,
    promotion,
    report,
    rollback,
    routing,
    windows,
)
from modelrollout.engine.draft import Draft, forget_times_to_come
from modelrollout.engine.evidence import follow_gate_edits, note_split, take_evidence, take_glance
from modelrollout.engine.model import Decision, Input, RouteState

__all__ = ["decide"]


def decide(i: Input) -> Decision:
    """What to do now about one ModelRollout."""
    d = Draft(input=i, status=i.status)
    forget_times_to_come(d)
    notices.cross_out(d)
    identity.find_stable(d)
    promotion.adopt_promotion(d)
    routing.note_what_was_applied(d)
    approvals.note_author(d)
    follow_gate_edits(d)
    approvals.note_terms(d)
    take_glance(d)
    take_evidence(d)
    note_split(d)
    humans.listen(d)
    _act(d)
    adoption.remember(d)
    capacity.size(d)
    routing.shift(d)
    contest.say(d)
    report.summarize(d)
    notices.collect(d)
    return Decision(
        first=tuple(d.first),
        status=d.status,
        then=tuple(d.then),
        events=tuple(d.events),
        requeue_after=min(d.wake) if d.wake else None,
    )


def _act(d: Draft) -> None:
    """Which of the few situations this is, in order of precedence."""
    target = identity.wanted(d)
    if d.input.deleting:
        rollback.leave(d)
    elif target == d.stable:
        rollback.settle_on_stable(d)
    elif d.status.failed is not None and d.status.failed.revision == target:
        rollback.stay_rolled_back(d)
    elif _stalled(d, target):
        guards.guard(d)
    elif d.candidate and d.candidate != target and d.status.weight > 0:
        rollback.supersede(d, target)
    elif d.candidate != target or d.status.phase is Phase.ROLLING_BACK:
        progress.begin(d, target)
    else:
        progress.go_on(d)


def _stalled(d: Draft, target: str) -> bool:
    """Whether something that only a person can mend stands in the way of a candidate."""
    known = d.view(target)
    if d.input.target.template_error and target == d.input.target.revision and known is None:
        message = f"the API server refuses the pod template: {d.input.target.template_error}"
        d.say(Phase.STALLED, Reason.INVALID_TEMPLATE, message, "correct spec.workload.template and apply again")
        return True
    wrong = windows.unknown_zone(d.input.spec.advance_only)
    if wrong and (known is None or known.promoted_at is None):
        d.say(Phase.STALLED, Reason.INVALID_SPEC, wrong, "correct spec.advanceOnly.timeZone")
        return True
    missing = adoption.problem(d)
    if missing:
        d.say(Phase.STALLED, Reason.STABLE_MISSING, missing, "goes on by itself when that is mended")
        d.wake_in(10.0)
        return True
    if d.input.route.state is RouteState.IN_USE:
        d.say(
            Phase.STALLED,
            Reason.ROUTE_IN_USE,
            d.input.route.message,
            "take over what serves with spec.adopt, or choose a route that nothing serves yet",
        )
        return True
    if d.input.route.state is RouteState.UNUSABLE:
        d.say(Phase.STALLED, Reason.ROUTE_NOT_FOUND, d.input.route.message, "correct the route or spec.traffic")
        d.wake_in(30.0)
        return True
    return False
