"""The weights: what became of those that were written, and those that follow.

The route carries a marker (annotation ``modelrollout.io/applied``) that is written together with the weights. It tells
our own writes from other people's, also after a crash between a write and the status that records it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modelrollout.api.enums import Phase, Reason
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import DeletionPolicy
from modelrollout.api.status import Pause
from modelrollout.engine import contest, raising, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import judged_anew
from modelrollout.engine.model import Marker, RouteState, SetFinalizer, SetWeights

__all__ = ["note_what_was_applied", "shift"]

_BEGUN_ANEW: Final = {"serving_since": None, "skipped": False, "overridden": False}
_LOWERED_BY_US = rollback.LATCHED | {Reason.METRICS_UNAVAILABLE, Reason.CANDIDATE_NOT_MEASURED}


def note_what_was_applied(d: Draft) -> None:
    """Compare the route with what was asked: adopt our own unrecorded lowering, obey an outside one, and count every
    one that is to be written over again."""
    contest.end_if_quiet(d)
    route, written = d.input.route, _last_known(d)
    observed = route.weights.get(d.candidate) if d.candidate else None
    d.set(observed_weight=observed if route.state is RouteState.ACCEPTED else d.status.observed_weight)
    if not written or route.state in (RouteState.MISSING, RouteState.IN_USE, RouteState.UNUSABLE):
        return
    if route.marker is not None and d.candidate and d.status.weight > 0 and _adopted(d, route.marker):
        return
    if d.stable and _told_apart(d, route.weights) != _told_apart(d, written) and not _obeyed_again(d, written):
        contest.count(d)
    _obey(d, written)


def _told_apart(d: Draft, shares: Mapping[str, int]) -> dict[str, int]:
    """Shares without the old backends that serve nobody: what was adopted is not known by its name any more once
    ``adopt`` is gone from spec, and nobody wrote over anything."""
    return {revision: share for revision, share in shares.items() if share or revision in (d.stable, d.candidate)}


def _last_known(d: Draft) -> Mapping[str, int]:
    """The shares that were ours last: the marker's, or, where someone replaced the route and the marker with it, those
    that were in effect; empty when nothing is known."""
    route, seen = d.input.route, d.status.observed_weight
    if route.marker is not None:
        return route.marker.weights
    if not (d.stable and d.candidate and route.weights) or seen is None:
        return {}
    return {d.stable: 100 - seen, d.candidate: seen}


def _obey(d: Draft, known: Mapping[str, int]) -> None:
    """Who lowers the candidate's weight on the route is a person in a hurry: it stays there until they say `resume`."""
    if not d.candidate:
        return
    seen, written = d.input.route.weights.get(d.candidate, 0), known.get(d.candidate, 0)
    if seen >= min(written, d.status.weight):
        return
    message = f"{contest.who(d)} lowered the candidate's weight from {written} % to {seen} % on the route"
    step = d.status.step
    d.set(
        weight=seen,
        paused=Pause(reason=Reason.PAUSED_BY_OUTSIDE_EDIT, at=d.now, message=message),
        step=step.model_copy(update=_BEGUN_ANEW) if step is not None else None,
        gates=judged_anew(d, seen),
    )
    d.event(Reason.PAUSED_BY_OUTSIDE_EDIT, message, warning=True)


def _obeyed_again(d: Draft, written: Mapping[str, int]) -> bool:
    """Whether someone who is being obeyed only lowers the weight further: nothing of that is written over."""
    paused, route = d.status.paused, d.input.route
    held = paused is not None and paused.reason is Reason.PAUSED_BY_OUTSIDE_EDIT
    return held and d.stable in route.weights and route.weights.get(d.candidate, 0) <= written.get(d.candidate, 0)


def _adopted(d: Draft, marker: Marker) -> bool:
    """Our own lowering that a crash kept out of status."""
    if marker.revision != d.candidate or marker.weights.get(d.candidate, 0) > 0 or marker.reason not in _LOWERED_BY_US:
        return False
    if marker.decision:
        d.set(handled=[marker.decision, *d.status.handled][:32])
    reason = Reason(marker.reason)
    if reason in rollback.LATCHED:
        rollback.roll_back(d, reason, marker.message)
    else:
        rollback.retreat(d, reason, marker.message)
    return True


def _desired(d: Draft) -> dict[str, int]:
    """Shares of the traffic that follow from the status; empty when nothing can serve yet."""
    stable, candidate, weight = d.stable, d.candidate, d.status.weight
    observed = d.input.route.weights
    desired: dict[str, int] = {}
    if stable:
        desired[stable] = 100 - (weight if candidate else 0)
    there = d.view(candidate) is not None and not _leaving(d)
    if candidate and (weight > 0 or (stable and there and (candidate in observed or _may_join(d)))):
        desired[candidate] = weight
    if stable and d.status.draining_since is not None:
        left = d.seconds(d.input.spec.drain_delay) - d.since(d.status.draining_since)
        if left > 0:
            d.wake_in(left)
            desired |= {revision: 0 for revision in observed if revision not in desired and d.view(revision)}
        elif d.status.phase is not Phase.ROLLING_BACK:
            d.set(draining_since=None)
    return desired


def _leaving(d: Draft) -> bool:
    """Whether the ModelRollout is being deleted and what was in flight is answered: then nothing of it stays."""
    began = d.status.draining_since
    return d.input.deleting and (began is None or d.since(began) >= d.seconds(d.input.spec.drain_delay))


def _may_join(d: Draft) -> bool:
    """A backend is added at weight 0 once its pods answer, so that the gateway knows it before it matters."""
    view = d.view(d.candidate)
    if view is None or d.status.phase is Phase.ROLLING_BACK:
        return False
    return raising.ready_to_carry(d, 100 if raising.is_fast(d) else d.input.spec.weight_steps[0].weight)


def shift(d: Draft) -> None:
    """Ask for the weights that follow from the status, in the right order with everything else."""
    desired, observed = _desired(d), d.input.route.weights
    if not desired or d.input.route.state in (RouteState.IN_USE, RouteState.UNUSABLE):
        return
    if EXTERNAL in desired and d.input.spec.adopt is None:  # nobody knows any more where that leads
        return
    _guard_deletion(d, desired)
    share = observed.get(d.candidate, 0)
    raises = bool(d.stable and d.candidate) and desired.get(d.candidate, 0) > share
    lowers = any(desired.get(revision, 0) < had for revision, had in observed.items() if revision != d.stable)
    if contest.is_hot(d) and not raises and desired.get(d.candidate, 0) >= share:
        d.wake_in(1.0)
        return
    if raises and (lowers or not _may_go_up_now(d)):
        desired |= {d.stable: 100 - share, d.candidate: share}
        raises = False
        if lowers:
            d.wake_in(0.05)
    if desired == dict(observed) and d.input.route.state is not RouteState.MISSING:
        if _marker_is_ahead(d):
            raises = True  # nothing moves: only the marker follows, after status, unless someone edits again meanwhile
        elif not _marker_is_history(d):
            return
    _tell_of_correction(d, desired)
    marker = Marker(
        weights=desired,
        revision=d.candidate or d.stable,
        reason=str(_why(d, lowered=desired.get(d.candidate, 0) < share)),
        message=d.status.message[:300],
        decision=d.decision,
    )
    (d.then if raises else d.first).append(SetWeights(desired, marker, raises))


def _tell_of_correction(d: Draft, desired: Mapping[str, int]) -> None:
    """Someone else raised a share above what was last written, or took a backend of ours out: it is put back, and they
    should know why."""
    if contest.is_on(d):
        return
    marker, observed = d.input.route.marker, d.input.route.weights
    raised = observed.get(d.candidate, 0) if d.candidate else 0
    if marker is not None and raised > max(marker.weights.get(d.candidate, 0), desired.get(d.candidate, 0)):
        back = desired.get(d.candidate, 0)
        message = (
            f"{contest.who(d)} raised the candidate's weight to {raised} % on the route; it is put back to {back} %"
        )
        d.event(Reason.ROUTE_RESTORED, message, warning=True)
    elif marker is not None and d.stable in marker.weights and d.stable not in observed and d.stable in desired:
        message = f"{contest.who(d)} took the stable revision out of the route; it is put back"
        d.event(Reason.ROUTE_RESTORED, message, warning=True)


def _may_go_up_now(d: Draft) -> bool:
    """Whether the candidate's share may rise in this very write: never blindly, right after a restart, or onto pods
    that are not there."""
    if contest.is_on(d) or not raising.ready_to_carry(d, d.status.weight):
        return False
    if d.input.route.state is RouteState.MISSING:  # what is made anew has no version to test, so it begins at 0
        return False
    return raising.is_fast(d) or not raising.may_raise(d)


def _marker_is_history(d: Draft) -> bool:
    """Whether the marker still tells of a lowering after which the same candidate begins anew: it must not be taken
    for an unrecorded one once the weight has been raised again."""
    marker, failed = d.input.route.marker, d.status.failed
    begins = bool(d.candidate) and d.status.weight == 0 and d.status.phase is not Phase.ROLLING_BACK and failed is None
    return begins and marker is not None and marker.revision == d.candidate and marker.reason in _LOWERED_BY_US


def _marker_is_ahead(d: Draft) -> bool:
    """Whether the marker still tells of a weight that somebody lowered since: that edit is obeyed once, and must not be
    found again when a human has overruled it."""
    marker, candidate = d.input.route.marker, d.candidate
    if marker is None or not candidate:
        return False
    return marker.weights.get(candidate, 0) > d.input.route.weights.get(candidate, 0)


def _why(d: Draft, *, lowered: bool) -> Reason:
    failed = d.status.failed
    if failed is not None and failed.revision == d.candidate:
        return failed.reason
    if not lowered and d.status.reason in _LOWERED_BY_US:
        return Reason.WAITING_FOR_ROUTE
    return d.status.reason


def _guard_deletion(d: Draft, desired: Mapping[str, int]) -> None:
    """Keep the object from vanishing while the candidate has traffic: someone must put it back first."""
    goes_too = d.input.spec.deletion_policy is DeletionPolicy.DELETE and d.stable != EXTERNAL
    if d.input.deleting or not d.candidate or goes_too:
        wanted = False
    else:
        wanted = bool(d.stable) and (desired.get(d.candidate, 0) > 0 or d.input.route.weights.get(d.candidate, 0) > 0)
    if wanted and not d.input.has_finalizer:
        d.then.append(SetFinalizer(True))
    elif not wanted and d.input.has_finalizer and not d.input.deleting:
        d.then.append(SetFinalizer(False))
