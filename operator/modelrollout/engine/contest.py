"""Who else writes our weights: a tool that keeps putting back what it knows, and when that is no accident any more.

One write over ours is an accident or a person in a hurry, and is answered as such (:mod:`.routing`). Three within five
minutes are a fight that nobody wins and users pay for: the rollout is stalled, with the writer's name, and nothing goes
up any more. What takes traffic away from the candidate, or gives it back to the stable revision, goes on.

The fight is over when a person says `resume`, or when nobody has written over the weights for five minutes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from modelrollout.api.enums import Phase, Reason
from modelrollout.api.grammar import format_duration
from modelrollout.api.status import Contest
from modelrollout.engine.draft import Draft

__all__ = ["count", "end_if_quiet", "is_hot", "is_on", "say", "who"]

_TIMES: Final = 3
_WITHIN: Final = timedelta(minutes=5)
_HOT_SECONDS: Final = 1.0
_STANDS_ABOVE: Final = (
    Phase.STARTING,
    Phase.PROGRESSING,
    Phase.PAUSED,
    Phase.AWAITING_APPROVAL,
    Phase.PROMOTING,
    Phase.STABLE,
)
"""Phases of which a contest is the first thing to know; a rollback, or what else stalls, says more."""


def who(d: Draft) -> str:
    """Whoever wrote the route last, other than us."""
    return d.input.route.edited_by or "someone"


def is_on(d: Draft) -> bool:
    """Whether the route is contested."""
    return d.status.contest is not None and d.status.contest.since is not None


def is_hot(d: Draft) -> bool:
    """Whether the last two writes over ours came within a second: answering at once would only be outdone at once."""
    contest = d.status.contest
    return is_on(d) and contest is not None and d.since(contest.overwritten_at[1]) < _HOT_SECONDS


def count(d: Draft) -> None:
    """Somebody wrote over the weights; each such edit of the route is counted once."""
    before, route = d.status.contest, d.input.route
    if before is not None and before.generation == route.generation:
        return
    earlier = before.overwritten_at if before is not None else []
    times = [d.now, *(at for at in earlier if d.now - at < _WITHIN)][:_TIMES]
    since = before.since if before is not None else None
    begins = since is None and len(times) == _TIMES
    by = route.edited_by or (before.by if before is not None else "")
    d.set(contest=Contest(by=by, overwritten_at=times, generation=route.generation, since=d.now if begins else since))
    if begins:
        d.event(Reason.ROUTE_CONTESTED, _message(d), warning=True)


def end_if_quiet(d: Draft) -> None:
    """Forget a contest that nobody has taken up again."""
    contest = d.status.contest
    if contest is None:
        return
    left = _WITHIN.total_seconds() - d.since(contest.overwritten_at[0])
    if left > 0:
        d.wake_in(left)
        return
    if is_on(d):
        message = f"nobody has written over the route's weights for {format_duration(_WITHIN.total_seconds())}"
        d.event(Reason.ROUTE_RESTORED, message)
    d.set(contest=None)


def say(d: Draft) -> None:
    """Stalled, by whom, and what to do."""
    if not is_on(d) or d.status.phase not in _STANDS_ABOVE:
        return
    following = "keep that writer from the route's weights"
    following += f", then type: {d.command('resume')}" if d.candidate else "; this ends after five quiet minutes"
    d.say(Phase.STALLED, Reason.ROUTE_CONTESTED, _message(d), following)


def _message(d: Draft) -> str:
    contest = d.status.contest
    assert contest is not None
    at = contest.overwritten_at[0]
    return (
        f"{contest.by or 'someone'} has written over the weights of the HTTPRoute {_TIMES} times within "
        f"{format_duration(_WITHIN.total_seconds())}, last at {at:%H:%M:%S} UTC; weight only goes down until that ends"
    )
