"""Back to stable: a breach, failing pods, an abort, a revert, a newer version, a deletion.

Everything here lowers the candidate's weight to zero and leaves it running until what is in flight is answered. The
weights themselves are written by :mod:`modelrollout.engine.routing`, before anything else happens.
"""

from __future__ import annotations

from modelrollout.api.enums import Outcome, Phase, Reason
from modelrollout.api.grammar import format_duration
from modelrollout.api.status import Failed, HistoryEntry, StepStatus
from modelrollout.engine import approvals
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import judged_anew, requests_seen
from modelrollout.engine.looking import cut_by_retreat
from modelrollout.engine.model import RouteState, SetFinalizer
from modelrollout.engine.windows import unknown_zone

__all__ = [
    "LATCHED",
    "leave",
    "record",
    "retreat",
    "roll_back",
    "say_stable",
    "settle_on_stable",
    "stay_rolled_back",
    "supersede",
]

LATCHED = frozenset(
    {
        Reason.GATE_BREACHED,
        Reason.UNDECIDED,
        Reason.CATASTROPHE,
        Reason.ABORTED,
        Reason.REJECTED,
        Reason.FAILED_TO_START,
        Reason.PODS_FAILING,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
    }
)
"""Reasons after which a revision is not tried again by itself."""


def record(d: Draft, outcome: Outcome, reason: Reason, message: str) -> None:
    """Add the candidate's end to the history."""
    candidate = d.status.candidate
    if candidate is None:
        return
    entry = HistoryEntry(
        revision=candidate.revision,
        version=candidate.version,
        outcome=outcome,
        reason=reason,
        message=message[:512],
        started_at=candidate.since,
        ended_at=d.now,
        weight=d.status.peak_weight,
        overrides=[one.in_words()[:256] for one in d.status.overrides][:4],
    )
    d.set(history=[entry, *d.status.history][:10])


def _take_traffic_away(d: Draft) -> None:
    had = d.status.weight > 0 or d.input.route.weights.get(d.candidate, 0) > 0
    d.set(
        weight=0,
        paused=None,
        pods_missing_since=None,
        blind=None,
        draining_since=d.now if had else d.status.draining_since,
    )


def roll_back(d: Draft, reason: Reason, message: str) -> None:
    """Take all traffic from the candidate and do not try it again by itself."""
    candidate = d.status.candidate
    assert candidate is not None
    record(d, Outcome.ROLLED_BACK, reason, message)
    failed = Failed(
        revision=candidate.revision, version=candidate.version, reason=reason, message=message[:1024], at=d.now
    )
    _take_traffic_away(d)
    d.set(failed=failed)
    d.event(reason, f"version {candidate.version} is rolled back: {message}", warning=True)
    d.say(
        Phase.ROLLING_BACK, reason, f"version {candidate.version} is rolled back: {message}", "in-flight requests end"
    )
    d.wake_in(d.interval)


def retreat(d: Draft, reason: Reason, message: str) -> None:
    """Take all traffic from the candidate but keep it: the way up begins anew from the first step."""
    blind = d.status.blind
    _take_traffic_away(d)
    approvals.void(d, "the candidate went back to the start")
    d.set(
        step=StepStatus(number=0, of=len(d.input.spec.steps), name="start", since=d.now),
        evaluated_at=None,
        spans=cut_by_retreat(d.status.spans, d.now),
        gates=judged_anew(d, 0),
        blind=blind,
        preflight_overruled=False,
    )
    d.event(reason, message, warning=True)
    d.say(Phase.STARTING, reason, message, "goes up again from the first step when the metrics return")


def supersede(d: Draft, target: str) -> None:
    """Another version is named while this one has traffic: it comes first to zero, then the new one begins."""
    record(d, Outcome.SUPERSEDED, Reason.SUPERSEDED, f"revision {target} was named in its stead")
    version = d.status.candidate.version if d.status.candidate else ""
    _take_traffic_away(d)
    d.set(candidate=None, step=None, gates=[], failed=None, evaluated_at=None)
    d.say(Phase.STARTING, Reason.SUPERSEDED, f"version {version} gives way to a newer one", "the newer one starts")
    d.event(Reason.SUPERSEDED, f"version {version} gives way to revision {target}")
    d.wake_in(0.05)


def _drained(d: Draft) -> bool:
    """Whether the candidate answers nobody any more, as far as can be known."""
    if d.status.draining_since is None:
        return True
    if not d.stable:
        return True
    waited, delay = d.since(d.status.draining_since), d.seconds(d.input.spec.drain_delay)
    if waited < delay:
        d.wake_in(delay - waited)
        return False
    if d.input.route.weights.get(d.candidate, 0) > 0:
        d.wake_in(d.interval)
        return False
    if not d.input.spec.gates:
        accepted = d.input.route.state not in (RouteState.PENDING, RouteState.REJECTED)
        if not accepted:
            d.wake_in(d.interval)
        return accepted or waited >= d.seconds(d.input.spec.evaluation.blind_timeout)
    requests = requests_seen(d.input.measurement, d.status.draining_since)
    if requests is None:
        d.wake_in(d.interval)
        return _unknown_for(d) >= d.seconds(d.input.spec.evaluation.blind_timeout)
    if requests > 0:
        message = (
            f"the weight is 0 since {format_duration(waited)}, but {requests:.0f} requests still reached it: "
            "sticky sessions, long streams, or callers that bypass the route"
        )
        d.say(d.status.phase, Reason.ROLLBACK_INCOMPLETE, message, "its pods stay until nobody calls them")
        d.wake_in(d.interval)
        return False
    return True


def _unknown_for(d: Draft) -> float:
    """For how long nobody could tell whether requests still reach the candidate."""
    read, began = d.status.evaluated_at, d.status.draining_since
    just_read = d.input.measurement is not None and read == d.input.measurement.end
    if read is None or began is None or just_read:  # what was read does not say, and will not say later
        return d.since(began)
    return d.since(max(read, began))


def settle_on_stable(d: Draft) -> None:
    """``spec`` (or an undo) names what is stable: whatever else was on trial ends, at once and without analysis."""
    d.set(observed_revision=d.input.target.revision)
    if d.candidate:
        _revert(d)
        return
    last = d.status.history[0] if d.status.history else None
    reason = Reason.SERVING if last is None else Reason.REVERTED_TO_STABLE
    version = d.status.stable.version if d.status.stable else ""
    message = f"version {version} serves all traffic"
    if last is not None and last.outcome is Outcome.PROMOTED:
        reason, message = last.reason, last.message
    d.set(failed=None)
    say_stable(d, reason, message)


def _revert(d: Draft) -> None:
    if d.status.phase is not Phase.ROLLING_BACK:
        stable = d.status.stable.version if d.status.stable else ""
        message = f"back to version {stable}, which is stable"
        record(d, Outcome.REVERTED, Reason.REVERTED_TO_STABLE, message)
        _take_traffic_away(d)
        d.set(failed=None)
        d.event(Reason.REVERTED_TO_STABLE, message)
        d.say(Phase.ROLLING_BACK, Reason.REVERTED_TO_STABLE, message, "in-flight requests end")
    if _drained(d):
        d.set(candidate=None, step=None, gates=[], draining_since=None, evaluated_at=None, failed=None)
        stable = d.status.stable.version if d.status.stable else ""
        say_stable(d, Reason.REVERTED_TO_STABLE, f"version {stable} serves all traffic")


def say_stable(d: Draft, reason: Reason, message: str) -> None:
    """The sentence of a rollout that is done; after an undo it tells that ``spec`` names something else."""
    pinned = d.status.pinned
    if pinned is not None:
        text = f"{message}, by an undo; spec names revision {pinned.instead_of}"
        d.say(Phase.ROLLED_BACK, Reason.REVERTED_TO_PREVIOUS, text, "put the version that should serve into spec")
        return
    wrong = unknown_zone(d.input.spec.advance_only)
    if wrong:
        text = f"{message}, but the next release could not begin: {wrong}"
        d.say(Phase.STABLE, Reason.INVALID_SPEC, text, "correct spec.advanceOnly.timeZone")
        return
    if d.input.route.state in (RouteState.REJECTED, RouteState.UNUSABLE):
        d.say(Phase.STABLE, Reason.ROUTE_NOT_ACCEPTED, d.input.route.message, "correct the Gateway or spec.traffic")
        return
    d.say(Phase.STABLE, reason, message, "nothing to do; name another version to release it")


def stay_rolled_back(d: Draft) -> None:
    """The revision that ``spec`` names was rolled back: nothing until another is named or someone says retry."""
    failed = d.status.failed
    assert failed is not None
    d.set(observed_revision=failed.revision)
    if d.candidate:
        if d.status.phase is not Phase.ROLLING_BACK:
            _take_traffic_away(d)
        if not _drained(d):
            if d.status.reason is not Reason.ROLLBACK_INCOMPLETE:
                text = f"version {failed.version} is rolled back: {failed.message}"
                d.say(Phase.ROLLING_BACK, failed.reason, text, "in-flight requests end")
            return
        d.set(candidate=None, step=None, draining_since=None, evaluated_at=None)
    message = f"version {failed.version} was rolled back ({failed.reason}): {failed.message}"
    following = f"name another version in spec, or type: {d.command('retry')}"
    d.say(Phase.ROLLED_BACK, Reason.ROLLED_BACK, message, following)


def leave(d: Draft) -> None:
    """The ModelRollout is being deleted: the stable revision keeps all traffic, then the object may go."""
    if d.candidate and d.status.weight > 0:
        record(d, Outcome.REVERTED, Reason.DELETED, "the ModelRollout was deleted")
        _take_traffic_away(d)
    d.say(Phase.ROLLING_BACK, Reason.DELETED, "the ModelRollout is being deleted; traffic stays on stable")
    safe = d.candidate not in d.input.route.weights or not d.stable
    if d.input.has_finalizer and safe:
        d.then.append(SetFinalizer(False))
    elif not safe:
        d.wake_in(1.0)
