"""The last movement: all traffic to the candidate, the role of stable, and the old stable steps down."""

from __future__ import annotations

from datetime import datetime

from modelrollout.api.enums import Outcome, Phase, Reason, Role
from modelrollout.api.meta import EXTERNAL
from modelrollout.engine import contest, identity, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RouteState, SetRole
from modelrollout.engine.raising import (
    held_back,
    in_route,
    is_fast,
    may_raise,
    ready_for,
    stopped,
    version_of,
    wait_for_route,
)

__all__ = ["adopt_promotion", "promote"]


def promote(d: Draft) -> None:
    """All traffic to the candidate, then the role of stable, then the old stable steps down."""
    fast = is_fast(d)
    phase = Phase.STARTING if fast else Phase.PROMOTING
    why = _why_not_promoting(d, fast=fast)
    if why:
        d.say(*held_back(d, why))
        d.set(phase=Phase.PAUSED if d.status.paused and d.input.freeze is None else phase)
        return
    if not ready_for(d, 100):
        d.set(phase=phase)
        return
    if fast and d.stable and d.status.weight == 0 and not in_route(d):
        wait_for_route(d)
        return
    if d.input.route.state is RouteState.REJECTED and d.status.weight == 100:
        d.say(phase, Reason.ROUTE_NOT_ACCEPTED, d.input.route.message, "correct the Gateway or spec.traffic")
        return
    d.set(weight=100, peak_weight=100)
    served = d.input.route.weights.get(d.candidate) == 100 and d.input.route.state is RouteState.ACCEPTED
    if not served:
        message = f"all traffic goes to version {version_of(d)}"
        d.say(Phase.PROMOTING if d.stable else Phase.STARTING, Reason.RAISING_WEIGHT, message, "then it is stable")
        return
    _become_stable(d)


def _why_not_promoting(d: Draft, *, fast: bool) -> str:
    """Why the last movement must wait. The fast track asks for no metrics and minds neither a freeze nor spec.paused:
    it restores what served before. A pause that a human put on this very candidate stops it too."""
    if contest.is_on(d):
        return "the route is contested"
    if fast:
        paused = d.status.paused
        return "" if paused is None or paused.reason is Reason.PAUSED_BY_SPEC else "paused"
    return may_raise(d) if d.status.weight < 100 else stopped(d)


def adopt_promotion(d: Draft) -> None:
    """The candidate's own objects say that it is stable: its promotion, which a crash kept out of status."""
    if d.candidate and d.candidate == d.stable:
        _record_promotion(d, Reason.PROMOTED, f"version {version_of(d)} serves all traffic")


def _become_stable(d: Draft) -> None:
    old, new = d.stable, d.candidate
    reason = Reason.FIRST_REVISION if not old else Reason.REVERTED_TO_PREVIOUS if is_fast(d) else Reason.PROMOTED
    message = f"version {version_of(d)} serves all traffic"
    if reason is Reason.FIRST_REVISION:
        message += "; it is the first one, so there were no steps"
    if d.status.observed:
        message += f" (observe mode: {d.status.observed})"
    at = identity.promotion_time(d)
    _relabel(d, new, at)
    d.set(stable=identity.ref(d, new, at))
    _record_promotion(d, reason, message)
    if not old:
        d.set(draining_since=None)
    rollback.say_stable(d, reason, message)


def _relabel(d: Draft, new: str, at: datetime) -> None:
    """Labels first, status is only a cache of them. What was adopted has none: it is stable when no other is."""
    if new != EXTERNAL:
        d.first.append(SetRole(new, Role.STABLE, at))
        return
    ours = [view.revision for view in d.input.revisions.values() if view.role is Role.STABLE]
    d.first.extend(SetRole(revision, Role.RETIRED, at) for revision in ours)


def _record_promotion(d: Draft, reason: Reason, message: str) -> None:
    d.set(peak_weight=100)
    rollback.record(d, Outcome.PROMOTED, reason, message)
    d.set(
        candidate=None,
        step=None,
        weight=0,
        draining_since=d.now,
        paused=None,
        pods_missing_since=None,
        blind=None,
        stable_replicas=0,
    )
    d.event(reason, message)
