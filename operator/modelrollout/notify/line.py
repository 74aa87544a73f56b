"""The queue of one receiver: one message at a time, the most urgent first, with a circuit that opens when it is down.

A receiver that hangs or fails keeps nobody waiting but its own messages. While its circuit is open it is asked once,
with one message, after ever longer pauses; so an outage of an hour costs it some twenty requests, whatever waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from modelrollout.api.enums import Urgency
from modelrollout.notify.base import DeliveryError, Message, Receiver
from modelrollout.telemetry import meters

__all__ = ["Job", "Line", "Outcome"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 300.0
_MOST_DOUBLINGS: Final = 12
_AT_MOST_SECONDS: Final = 60.0
_PATIENCE: Final = timedelta(hours=24)
_ORDER: Final = {Urgency.PAGE: 0, Urgency.TICKET: 1, Urgency.CHAT: 2}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    done: bool
    """Told, or given up: there will be no other attempt."""
    attempts: int
    reference: str = ""
    problem: str = ""
    settings: bool = False
    """A person must change something."""


@dataclass(slots=True)
class Job:
    """One message for one receiver."""

    id: str
    urgency: Urgency
    since: datetime
    """When what it tells of happened; it is given up a day later."""
    compose: Callable[[], Awaitable[Message]]
    settle: Callable[[Outcome], Awaitable[None]]
    """Hears of every attempt."""
    repeats: bool = False
    """It lasts, so receivers that forget are told again until it is cancelled."""
    attempts: int = 0
    not_before: float = 0.0


class Line:
    """See the module."""

    def __init__(
        self,
        name: str,
        receiver: Receiver,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.receiver = receiver
        self._chance = chance
        self._jobs: dict[str, Job] = {}
        self._failures = 0
        self._open_until = 0.0
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def put(self, job: Job) -> None:
        """Tell it as soon as that may be; a message that waits already is not put twice."""
        if job.id in self._jobs:
            return
        self._jobs[job.id] = job
        self._sooner.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    def cancel(self, job_id: str) -> None:
        """Say it no more."""
        if self._jobs.pop(job_id, None) is not None:
            self._sooner.set()

    @property
    def waiting(self) -> int:
        """How many messages wait or are repeated."""
        return len(self._jobs)

    async def close(self) -> None:
        """Stop; what was not told is told by the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        clock = asyncio.get_running_loop().time
        while self._jobs:
            now = clock()
            job = min(self._jobs.values(), key=lambda one: _rank(one, now))
            pause = max(self._open_until, job.not_before) - clock()
            if pause <= 0.0:
                await self._try(job)
                continue
            self._sooner.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # not wait_for: up to 3.11 it may swallow the end of this task
                    await self._sooner.wait()

    async def _try(self, job: Job) -> None:
        job.attempts += 1
        try:
            async with asyncio.timeout(_AT_MOST_SECONDS):
                reference = await self.receiver.send(await job.compose())
        except DeliveryError as error:
            await self._failed(job, error)
        except TimeoutError:
            await self._failed(job, DeliveryError(f"{self.name} did not answer in time", retry_after=30.0))
        except Exception:
            _log.exception("telling %s failed", self.name)
            await self._failed(job, DeliveryError(f"{self.name} cannot be told; the operator's log has more"))
        else:
            await self._succeeded(job, reference)

    async def _succeeded(self, job: Job, reference: str) -> None:
        self._failures, self._open_until = 0, 0.0
        meters.NOTIFICATIONS.labels(str(job.urgency), "told").inc()
        every = self.receiver.repeats_every
        if every is not None and job.repeats:
            job.not_before = asyncio.get_running_loop().time() + every
        else:
            self._drop(job)
        await self._say(job, Outcome(done=True, attempts=job.attempts, reference=reference))

    async def _failed(self, job: Job, error: DeliveryError) -> None:
        clock = asyncio.get_running_loop().time()
        given_up = datetime.now(UTC) - job.since > _PATIENCE
        if error.refused:
            job.not_before = clock + self._pause(job.attempts, error)
        else:
            self._failures += 1
            self._open_until = clock + self._pause(self._failures, error)
        _log.log(
            logging.INFO if job.attempts > 1 else logging.WARNING, "%s is not told of %s: %s", self.name, job.id, error
        )
        meters.NOTIFICATIONS.labels(str(job.urgency), "dead" if given_up else "failed").inc()
        if given_up and not job.repeats:
            self._drop(job)
        await self._say(job, Outcome(given_up, job.attempts, problem=str(error), settings=error.settings))

    def _drop(self, job: Job) -> None:
        """It is done; another that took its place meanwhile is not."""
        if self._jobs.get(job.id) is job:
            del self._jobs[job.id]

    async def _say(self, job: Job, outcome: Outcome) -> None:
        """A mistake in noting one outcome must not end the telling of everything else."""
        try:
            await job.settle(outcome)
        except Exception:
            _log.exception("noting what became of %s failed", job.id)

    def _pause(self, count: int, error: DeliveryError) -> float:
        """Seconds: doubling, with a fifth of chance, so that not everything comes back at once."""
        doubled = _FIRST_PAUSE * 2.0 ** min(count - 1, _MOST_DOUBLINGS)
        return max(min(doubled, _LONGEST_PAUSE) * (0.8 + 0.4 * self._chance()), error.retry_after or 0.0)


def _rank(job: Job, now: float) -> tuple[bool, float, datetime]:
    """What may be tried first: the most urgent, then the oldest; what must wait comes later."""
    waits = job.not_before > now
    return waits, job.not_before if waits else _ORDER[job.urgency], job.since
