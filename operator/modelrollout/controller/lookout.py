"""Between two looks: in the middle of every interval all candidates with traffic are watched at once.

A look reads and judges everything, and comes once an interval. What fails in the worst way should not wait for it: one
question for all rollouts of a source says whose candidate may fail too much
(:meth:`modelrollout.metrics.base.MetricsProvider.alarms`); the counts of these alone are then read, in two halves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelrollout.api.grammar import parse_duration, parse_percent
from modelrollout.api.objects import Rollout
from modelrollout.engine.looking import floored, watched_gates
from modelrollout.engine.model import Input, Measurement, Plan
from modelrollout.metrics.base import Arm, MetricsProvider, Watched

__all__ = ["Lookout"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]
_SHORTEST: Final = timedelta(seconds=2)
"""The middle of a shorter interval is nearer than two scrapes are."""
_JUST_AFTER_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Post:
    """Who is watched, where and how often."""

    rollout: Rollout
    source: MetricsProvider
    interval: timedelta
    watched: Watched
    baseline: str
    """The stable revision."""

    def fits(self, rollout: Rollout, candidate: str, baseline: str) -> bool:
        """Whether it is still the same."""
        same = self.rollout.raw_spec is rollout.raw_spec and self.baseline == baseline
        return same and self.watched.candidate.revision == candidate


class Lookout:
    """See the module. ``delay``: seconds in the past that are read; ``arm``: a revision as metrics know it; ``wake``:
    called when something was read that has to be decided about."""

    def __init__(
        self,
        delay: float,
        *,
        source: Callable[[Rollout], MetricsProvider],
        arm: Callable[[Rollout, str], Arm],
        wake: Callable[[Key], None],
    ) -> None:
        self._delay = timedelta(seconds=delay)
        self._source, self._arm, self._wake = source, arm, wake
        self._posts: dict[Key, _Post] = {}
        self._glances: dict[Key, tuple[_Post, Measurement]] = {}
        self._timers: dict[timedelta, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Stop watching."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def keep(self, rollout: Rollout, seen: Input) -> None:
        """Watch a rollout as it is now, if its candidate has traffic."""
        gates, candidate, stable = watched_gates(seen), seen.status.candidate, seen.status.stable
        interval = parse_duration(rollout.spec.evaluation.interval)
        if not gates or candidate is None or stable is None or interval < _SHORTEST:
            self.forget(rollout.key)
            return
        known = self._posts.get(rollout.key)
        if known is not None and known.fits(rollout, candidate.revision, stable.revision):
            return
        share = parse_percent(rollout.spec.evaluation.catastrophe.errors_above)
        watched = Watched(rollout.key, gates, self._arm(rollout, candidate.revision), share)
        self._posts[rollout.key] = _Post(rollout, self._source(rollout), interval, watched, stable.revision)
        if interval not in self._timers:
            self._set_timer(interval)

    def forget(self, key: Key) -> None:
        """Nobody serves there any more."""
        self._posts.pop(key, None)
        self._glances.pop(key, None)

    def take(self, key: Key) -> Measurement | None:
        """What was read since the last look, if it is about who is watched now."""
        post, found = self._glances.pop(key, (None, None))
        return found if post is not None and post is self._posts.get(key) else None

    def _set_timer(self, interval: timedelta) -> None:
        now = datetime.now(UTC)
        at = floored(now - self._delay - interval / 2, interval) + 1.5 * interval
        seconds = (at + self._delay - now).total_seconds() + _JUST_AFTER_SECONDS
        self._timers[interval] = asyncio.get_running_loop().call_later(seconds, self._ask, interval, at)

    def _ask(self, interval: timedelta, at: datetime) -> None:
        del self._timers[interval]
        by_source: dict[int, list[_Post]] = {}
        for post in self._posts.values():
            if post.interval == interval:
                by_source.setdefault(id(post.source), []).append(post)
        for posts in by_source.values():
            task = asyncio.ensure_future(self._listen(posts, at))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if by_source:
            self._set_timer(interval)

    async def _listen(self, posts: list[_Post], at: datetime) -> None:
        source, interval = posts[0].source, posts[0].interval
        try:
            keys = await source.alarms([post.watched for post in posts], at, interval)
            await asyncio.gather(*(self._read(post, at) for post in posts if post.watched.key in keys))
        except Exception:  # the looks themselves go on
            _log.exception("nobody is watched between two looks")

    async def _read(self, post: _Post, at: datetime) -> None:
        gates, rollout = post.watched.gates, post.rollout
        plan = Plan(dict.fromkeys((gate.name for gate in gates), at - post.interval), at, post.interval / 2)
        arms = (self._arm(rollout, one) for one in (post.watched.candidate.revision, post.baseline))
        self._glances[rollout.key] = post, await post.source.measure(list(gates), plan, *arms)
        self._wake(rollout.key)
