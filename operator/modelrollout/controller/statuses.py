"""When status is written: a turn at once, a remark when it lasts, mere numbers once a minute.

Turns are what a crash must not lose and what machines wait for. Remarks are words: on the way to a weight they change
several times in a second, and only the last of them is read by anybody. The minute of each rollout begins at an instant
of its own, so that a thousand are not written in one second. Numbers are written beside the looks: a slow API server
keeps no rollback waiting for them. They are written only over the status that is known, so that late ones never replace
what was written meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.actions import Actions, RolloutGoneError
from modelrollout.engine.report import remarks, turns
from modelrollout.kube.client import KubeError

__all__ = ["Statuses", "next_minute"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]

_MINUTE: Final = 60.0
_SETTLES: Final = timedelta(seconds=1.0)
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


def _same_words(before: ModelRolloutStatus, after: ModelRolloutStatus) -> bool:
    return turns(before) == turns(after) and remarks(before) == remarks(after)


class Statuses:
    """See the module."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._written: dict[Key, _Written] = {}
        self._differs: dict[Key, datetime] = {}
        """Since when words differ from those that are written."""
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
        self._written[rollout.key] = _Written(now, rollout.uid, status)
        self._differs.pop(rollout.key, None)
        return True

    def seconds_until_due(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> float | None:
        """Seconds until what is not written yet may be; None when all is written, or being written."""
        due = self._due(rollout, status, now)
        return None if due is None else max(0.0, (due - now).total_seconds())

    def _due(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> datetime | None:
        known, key = self._known(rollout, now), rollout.key
        if turns(known.status) != turns(status):
            return now
        if not _same_words(known.status, status):
            return min(self._differs.setdefault(key, now), now) + _SETTLES
        self._differs.pop(key, None)
        if known.status == status or key in self._writing:
            return None
        return next_minute(rollout.uid, min(known.at, now))

    def forget(self, key: Key) -> None:
        """The rollout is gone."""
        self._written.pop(key, None)
        self._differs.pop(key, None)

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
