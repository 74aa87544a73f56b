"""When status is written: a turn at once, a remark when it lasts, details when they last longer, numbers once a minute.

Turns are what a crash must not lose and what machines wait for. Remarks are words: on the way to a weight they change
every second, and only one that stays is read by anybody; where none stays, one is written now and then. Details are for
who asks why: verdicts that all is well, the checks before the first traffic. A write costs the API server the same
however little changed, so each brings everything along.

The minute of each rollout begins at an instant of its own, so that a thousand are not written in one second. Numbers
are written beside the looks: a slow API server keeps no rollback waiting for them. They are written only over the
status that is known, so that late ones never replace what was written meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.actions import Actions, RolloutGoneError
from modelrollout.engine.report import details, remarks, turns
from modelrollout.kube.client import KubeError

__all__ = ["Statuses", "next_minute"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]

_MINUTE: Final = 60.0
_REMARK_STAYS: Final = timedelta(seconds=2)
_REMARKS_CHANGE: Final = timedelta(seconds=6)
"""So long after the first of them one is written though none stays."""
_DETAILS_STAY: Final = timedelta(seconds=10)
_REST: Final = timedelta(seconds=10)
"""So long after a write no numbers follow, though the rollout's minute begins."""


@dataclass(frozen=True, slots=True)
class _Written:
    at: datetime
    uid: str
    status: ModelRolloutStatus


def next_minute(uid: str, after: datetime) -> datetime:
    """The first instant, some time after a write, at which an object's numbers may be written."""
    offset = zlib.crc32(uid.encode()) % 60_000 / 1000
    earliest = (after + _REST).timestamp()
    return datetime.fromtimestamp(earliest + (offset - earliest) % _MINUTE, after.tzinfo)


class _Words:
    """A part of status that waits to be written until it has stayed for a while, or has been changing for long."""

    def __init__(
        self, part: Callable[[ModelRolloutStatus], list[object]], stays: timedelta, changes: timedelta
    ) -> None:
        self._part, self._stays, self._changes = part, stays, changes
        self._unwritten: dict[Key, tuple[datetime, datetime, list[object]]] = {}
        """Since when it differs from what is written, since when it is as it is, and what it is."""

    def due(self, key: Key, written: ModelRolloutStatus, status: ModelRolloutStatus, now: datetime) -> datetime | None:
        """When it is to be written; None when it is."""
        words = self._part(status)
        if words == self._part(written):
            self.forget(key)
            return None
        first, since, before = self._unwritten.get(key, (now, now, words))
        first = min(first, now)  # the clock may be set back
        since = min(since, now) if words == before else now
        self._unwritten[key] = (first, since, words)
        return min(since + self._stays, first + self._changes)

    def forget(self, key: Key) -> None:
        """It is written, or nobody's any more."""
        self._unwritten.pop(key, None)


def _same_words(before: ModelRolloutStatus, after: ModelRolloutStatus) -> bool:
    return turns(before) == turns(after) and remarks(before) == remarks(after) and details(before) == details(after)


class Statuses:
    """See the module."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._written: dict[Key, _Written] = {}
        self._parts = (
            _Words(remarks, _REMARK_STAYS, _REMARKS_CHANGE),
            _Words(details, _DETAILS_STAY, _DETAILS_STAY),
        )
        self._writing: dict[Key, asyncio.Task[None]] = {}

    async def keep(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> bool:
        """Write what must be written now; whether that was done, and the ModelRollout is there for certain.

        Raises
        ------
        KubeError, RolloutGoneError
            If a turn or a remark could not be written; of numbers nothing is raised.
        """
        due, known = self._due(rollout, status, now), self._known(rollout, now)
        if due is None or due > now:
            return False
        if _same_words(known.status, status):
            task = asyncio.create_task(self._write_numbers(rollout, status, known, now))
            self._writing[rollout.key] = task
            task.add_done_callback(lambda _: self._writing.pop(rollout.key, None))
            return False
        await self._actions.write_status(rollout, status)
        self.forget(rollout.key)
        self._written[rollout.key] = _Written(now, rollout.uid, status)
        return True

    def seconds_until_due(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> float | None:
        """Seconds until what is not written yet may be; None when all is written, or being written."""
        due = self._due(rollout, status, now)
        return None if due is None else max(0.0, (due - now).total_seconds())

    def _due(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> datetime | None:
        known, key = self._known(rollout, now), rollout.key
        if turns(known.status) != turns(status):
            return now
        due = [part.due(key, known.status, status, now) for part in self._parts]
        if any(due):
            return min(one for one in due if one is not None)
        if known.status == status or key in self._writing:
            return None
        return next_minute(rollout.uid, min(known.at, now))

    def forget(self, key: Key) -> None:
        """The rollout is gone."""
        self._written.pop(key, None)
        for part in self._parts:
            part.forget(key)

    def _known(self, rollout: Rollout, now: datetime) -> _Written:
        """What was written last; after a start, what was found."""
        known = self._written.get(rollout.key)
        if known is None or known.uid != rollout.uid:
            known = self._written[rollout.key] = _Written(now, rollout.uid, rollout.status)
        return known

    async def _write_numbers(
        self, rollout: Rollout, status: ModelRolloutStatus, known: _Written, now: datetime
    ) -> None:
        try:
            await self._actions.write_numbers(rollout, status)
        except (KubeError, RolloutGoneError) as error:
            _log.debug("%s/%s: the numbers could not be written; in a minute again: %s", *rollout.key, error)
            status = known.status
        if self._written.get(rollout.key) is known:  # else a change was written meanwhile, which brought them along
            self._written[rollout.key] = _Written(now, rollout.uid, status)
