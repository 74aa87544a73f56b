"""What people are told, as data: an outbox in status, written in the same write as what it tells of.

A notice enters the outbox with the transition that it is about, and leaves it when the shell says that everybody was
told. So a crash at any moment loses none; one that was told but not yet crossed out is told again under the same id.
What lasts (a page, a rolled-back revision) stays in the outbox until it is over, because that is told as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelrollout.api.enums import Phase, Reason, Urgency
from modelrollout.api.status import Notice
from modelrollout.engine.draft import Draft
from modelrollout.engine.incidents import incident_name, incident_of
from modelrollout.engine.model import Decision, Input, RouteState, SetWeights

__all__ = ["collect", "cross_out", "message_id", "unwritable"]

_MOST: Final = 10
EFFECTIVE_WITHIN: Final = 60.0
"""Seconds in which a rollback must have taken the users away from the candidate."""
_BLIND_FOR: Final = 1800.0
_BLIND_WEIGHT: Final = 50
"""Percent of the users from which on nobody should be blind for half an hour."""
_CALM: Final = 300.0
"""Seconds that something which comes and goes must be gone until it is over."""

_BLINDNESS: Final = frozenset(
    {
        Reason.METRICS_UNAVAILABLE,
        Reason.CANDIDATE_NOT_MEASURED,
        Reason.GATE_MISCONFIGURED,
        Reason.SPLIT_MISMATCH,
    }
)
_CHAT: Final = frozenset(
    {
        Reason.PROMOTED,
        Reason.AWAITING_APPROVAL,
        Reason.GATE_UNDERPOWERED,
        Reason.GATE_BREACHED,
        Reason.GATE_WARNED,
        Reason.UNDECIDED,
        Reason.PREFLIGHT_FAILED,
        Reason.WOULD_ROLL_BACK,
        Reason.WOULD_HOLD,
        Reason.ONE_POD_BAD,
        Reason.PAUSED_BY_OUTSIDE_EDIT,
        Reason.STABLE_MISSING,
    }
)
"""Events that are told in chat; a gate that is breached or undecided is here when people are waited for."""
_ORDER: Final = {Urgency.PAGE: 0, Urgency.TICKET: 1, Urgency.CHAT: 2}


@dataclass(frozen=True, slots=True)
class _State:
    """Something that is so now and that is told while it lasts."""

    urgency: Urgency
    reason: Reason
    since: datetime
    message: str


def message_id(notice: Notice) -> str:
    """What this message is known by, in every attempt; the end of something is a message of its own."""
    return notice.id if notice.over_at is None else f"{notice.id}/over"


def cross_out(d: Draft) -> None:
    """Take note of who was told since, and see to it that no rollback stays without its record."""
    noted = [_noted(d, notice) for notice in d.status.notices]
    kept = [one for one in noted if not one.told or (one.lasts and one.over_at is None)]
    if kept != d.status.notices:
        d.set(notices=kept)


def _noted(d: Draft, notice: Notice) -> Notice:
    if notice.told:
        return notice
    said = d.input.told.get(message_id(notice))
    done = said is not None and said.done
    if notice.incident and notice.over_at is None and notice.incident not in d.input.recorded:
        done = False
        _owe_incident(d, notice)
    problem = said.problem[:512] if said is not None else notice.problem
    return notice.model_copy(update={"told": done, "problem": problem})


def _owe_incident(d: Draft, notice: Notice) -> None:
    failed = d.status.failed
    if failed is not None and incident_name(d, failed) == notice.incident:
        d.then.append(incident_of(d, failed))
        d.wake_in(30.0)


def collect(d: Draft) -> None:
    """Add what this decision brought about, and end what is over."""
    _end_what_is_over(d)
    _tell_rollback(d)
    for state in _states(d):
        if not any(_is_about(notice, state) for notice in d.status.notices):
            _add(d, state.urgency, state.reason, state.since, state.message, lasts=True)
    if d.status.failed == d.input.status.failed or d.status.failed is None:
        for event in d.events:
            if event.reason in _CHAT:
                _add(d, Urgency.CHAT, event.reason, d.now, event.message)
    _tell_stalled(d)


def _tell_rollback(d: Draft) -> None:
    """A revision was latched just now: one notice, and one record."""
    failed = d.status.failed
    if failed is None or failed == d.input.status.failed:
        return
    record = incident_of(d, failed)
    if record.name not in (notice.incident for notice in d.status.notices):
        d.then.append(record)
    reason, cause, urgency = Reason.ROLLED_BACK, failed.reason, Urgency.TICKET
    if failed.reason in (Reason.FAILED_TO_START, Reason.ABORTED):
        reason, urgency = failed.reason, Urgency.TICKET if failed.reason is Reason.FAILED_TO_START else Urgency.CHAT
    message = f"version {failed.version} is rolled back: {failed.message}"
    _add(d, urgency, reason, failed.at, message, lasts=True, cause=cause, incident=record.name)


def _tell_stalled(d: Draft) -> None:
    """Only a person can go on: said once, when it begins. (A missing stable revision is a page.)"""
    before, status = d.input.status, d.status
    new = (before.phase, before.reason) != (status.phase, status.reason)
    if new and status.phase is Phase.STALLED and status.reason is not Reason.STABLE_MISSING:
        _add(d, Urgency.CHAT, status.reason, d.now, status.message)


def _states(d: Draft) -> Iterator[_State]:
    """What is so at the end of this decision and must be known while it is."""
    status = d.status
    since = status.draining_since
    if since is not None and _has_users(d):
        if d.since(since) >= EFFECTIVE_WITHIN:
            text = f"the rollback has no effect since {since:%H:%M:%S} UTC: {_why_ineffective(d)}"
            yield _State(Urgency.PAGE, Reason.ROLLBACK_INCOMPLETE, since, text)
        else:
            d.wake_in(EFFECTIVE_WITHIN - d.since(since))
    if status.reason is Reason.SHARED_DEGRADATION:
        yield _State(Urgency.PAGE, Reason.SHARED_DEGRADATION, d.now, status.message)
    if status.reason is Reason.STABLE_MISSING:
        yield _State(Urgency.PAGE, Reason.STABLE_MISSING, d.now, status.message)
    blind = status.blind
    if blind is None:
        return
    if status.weight >= _BLIND_WEIGHT:
        if d.since(blind.since) >= _BLIND_FOR:
            text = f"{status.weight} % of the users are on a version that nobody can judge: {blind.message}"
            yield _State(Urgency.PAGE, blind.reason, blind.since + timedelta(seconds=_BLIND_FOR), text)
        else:
            d.wake_in(_BLIND_FOR - d.since(blind.since))
    if blind.alerted:
        yield _State(Urgency.CHAT, blind.reason, blind.since, f"no metrics after blindTimeout: {blind.message}")


def _has_users(d: Draft) -> bool:
    """Whether a candidate that was put to weight 0 still has users, as far as can be known."""
    if d.status.weight > 0 or not d.candidate or not d.stable:
        return False
    return d.status.reason is Reason.ROLLBACK_INCOMPLETE or _routed(d)


def _routed(d: Draft) -> bool:
    share = d.input.route.weights.get(d.candidate, 0)
    return share > 0 or d.input.route.state in (RouteState.PENDING, RouteState.REJECTED)


def _why_ineffective(d: Draft) -> str:
    if _routed(d):
        return d.input.route.message or "the gateway has not accepted the route with weight 0"
    return d.status.message


def _end_what_is_over(d: Draft) -> None:
    """Mark what lasted and does not any more."""
    notices = [_ended(d, one) if one.lasts and one.over_at is None else one for one in d.status.notices]
    if notices != d.status.notices:
        d.set(notices=notices)


def _ended(d: Draft, notice: Notice) -> Notice:
    """What comes and goes is over only when it has been calm for a while."""
    if _is_still_so(d, notice):
        return notice.model_copy(update={"gone_since": None})
    gone_since = min(notice.gone_since or d.now, d.now)
    calm = _CALM if notice.reason in _BLINDNESS | {Reason.SHARED_DEGRADATION} else 0.0
    if d.since(gone_since) >= calm:
        return notice.model_copy(update={"over_at": gone_since, "gone_since": None, "told": False})
    d.wake_in(calm - d.since(gone_since))
    return notice.model_copy(update={"gone_since": gone_since})


def _is_still_so(d: Draft, notice: Notice) -> bool:
    if notice.incident:
        failed = d.status.failed
        return failed is not None and notice.incident == incident_name(d, failed)
    return any(_is_about(notice, state) for state in _states(d))


def _is_about(notice: Notice, state: _State) -> bool:
    """Whether it was told already; one outage may change its name while it lasts."""
    if not notice.lasts or notice.over_at is not None or notice.urgency is not state.urgency:
        return False
    return notice.reason is state.reason or {notice.reason, state.reason} <= _BLINDNESS


def _add(
    d: Draft,
    urgency: Urgency,
    reason: Reason,
    at: datetime,
    message: str,
    *,
    lasts: bool = False,
    cause: Reason | None = None,
    incident: str = "",
) -> None:
    """Put one into the outbox. When it is full the least urgent goes, the oldest of them first."""
    revision, version = d.candidate, d.status.candidate.version if d.status.candidate else ""
    if not revision:
        revision, version = d.input.target.revision, d.input.target.version
    notice = Notice(
        id=f"{d.input.namespace}/{d.input.name}/{revision}/{reason}/{int(at.timestamp())}",
        urgency=urgency,
        reason=reason,
        cause=cause,
        revision=revision,
        version=version[:128],
        message=message[:512],
        at=at,
        lasts=lasts,
        incident=incident,
    )
    if notice.id in (known.id for known in d.status.notices):
        return
    notices = [*d.status.notices, notice]
    while len(notices) > _MOST:
        notices.remove(max(notices, key=lambda one: (_ORDER[one.urgency], -one.at.timestamp())))
    d.set(notices=notices)


def unwritable(seen: Input, decision: Decision, since: datetime, why: str) -> Notice | None:
    """The page about a candidate whose traffic cannot even be taken away, a minute after that was first tried; status,
    which is written after the weights, cannot tell of it. None while it is no such thing."""
    candidate = decision.status.candidate
    if candidate is None or (seen.now - since).total_seconds() < EFFECTIVE_WITHIN:
        return None
    share = seen.route.weights.get(candidate.revision, 0)
    writes = [action.weights for action in decision.first if isinstance(action, SetWeights)]
    if not any(weights.get(candidate.revision, 0) < share for weights in writes):
        return None
    text = f"the route cannot be written since {since:%H:%M:%S} UTC, and traffic must be put back: {why}"
    return Notice(
        id=f"{seen.namespace}/{seen.name}/{candidate.revision}/{Reason.ROLLBACK_INCOMPLETE}/{int(since.timestamp())}",
        urgency=Urgency.PAGE,
        reason=Reason.ROLLBACK_INCOMPLETE,
        revision=candidate.revision,
        version=candidate.version,
        message=text[:512],
        at=since,
    )
