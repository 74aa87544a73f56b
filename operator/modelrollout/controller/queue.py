"""The reconcile queue: one look per rollout at a time, two lanes, a heap of delays, back-off per key.

Urgent looks begin at once, however many others are under way, so that an API server which lets requests hang keeps no
rollback waiting. Ordinary ones share a number of places, in which namespaces take turns and none holds more than half.

Why not kopf's timers: they are one task for each object, and their schedule lives only in memory. Here one heap serves
all, and a due time is always computed anew from timestamps in status.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from modelrollout.controller.logs import about
from modelrollout.kube.client import ConflictError, KubeError
from modelrollout.kube.fairness import FairLine
from modelrollout.telemetry import meters

__all__ = ["LANES", "QueueState", "WorkQueue"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]

LANES: Final = ("urgent", "ordinary")
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0
_MOST_DOUBLINGS: Final = 10


@dataclass(frozen=True, slots=True)
class QueueState:
    """How the queue is, for the metrics and the liveness probe; ages in seconds, in the order of :data:`LANES`."""

    length: tuple[int, int]
    oldest: tuple[float, float]
    running: int
    longest_run: float
    stuck_for: float
    """Since when something waits and nothing that was begun has ended. A queue that is only long is not stuck."""
    late: float
    """How long ago the next planned look should have been put into a lane, whoever is busy."""


class WorkQueue:
    """Calls ``work(key)`` for keys that were added; ``work`` returns seconds until the next look, or None."""

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], *, workers: int) -> None:
        self._work = work
        self._workers = workers
        self._lanes: tuple[FairLine[Key], FairLine[Key]] = (FairLine(), FairLine())
        self._waiting: dict[Key, float] = {}
        self._running: dict[Key, float] = {}
        self._ordinary: set[Key] = set()
        self._places: Counter[str] = Counter()
        self._again: dict[Key, bool] = {}
        self._delays: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._ready = asyncio.Event()
        self._sooner = asyncio.Event()
        self._ended_at = 0.0
        self._closed = False

    def close(self) -> None:
        """Forget what waits, and take in nothing more: another process looks at it."""
        self._closed = True
        self._lanes = (FairLine(), FairLine())
        self._waiting, self._running, self._again, self._failures = {}, {}, {}, {}

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Look at a key as soon as it may be; urgent ones at once."""
        if self._closed:
            return
        if key in self._running:
            self._again[key] = self._again.get(key, False) or urgent
            return
        if key in self._waiting:
            if urgent and self._lanes[1].discard(key[0], key):
                self._lanes[0].add(key[0], key)
                self._ready.set()
            return
        self._waiting[key] = asyncio.get_running_loop().time()
        self._lanes[0 if urgent else 1].add(key[0], key)
        self._ready.set()

    def retry(self) -> None:
        """Look again now at every key whose last look failed: what stood in the way may be over."""
        for key in self._failures:
            self.add(key, urgent=True)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at a key after so many seconds; only the earliest such wish counts."""
        at = asyncio.get_running_loop().time() + seconds
        if key in self._due and self._due[key] <= at:
            return
        self._due[key] = at
        heapq.heappush(self._delays, (at, next(self._order), key))
        if self._delays[0][2] is key:  # else who waits for the first one has nothing new to wait for
            self._sooner.set()

    @property
    def state(self) -> QueueState:
        """How it is now."""
        now = asyncio.get_running_loop().time()
        urgent, ordinary = (max((now - self._waiting[key] for key in lane), default=0.0) for lane in self._lanes)
        return QueueState(
            length=(len(self._lanes[0]), len(self._lanes[1])),
            oldest=(urgent, ordinary),
            running=len(self._running),
            longest_run=max((now - at for at in self._running.values()), default=0.0),
            stuck_for=min(now - self._ended_at, max(urgent, ordinary)),
            late=max(0.0, now - min(self._due.values(), default=now)),
        )

    def knows(self, key: Key) -> bool:
        """Whether somebody looks at it now, or will."""
        return key in self._waiting or key in self._running or key in self._due

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._release_due())
            while True:
                await self._ready.wait()
                self._ready.clear()
                while (key := self._next()) is not None:
                    group.create_task(self._serve(key))
                    await asyncio.sleep(0)  # between any two, answers are read and requests sent

    async def _release_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._delays and self._delays[0][0] <= loop.time():
                at, _, key = heapq.heappop(self._delays)
                if self._due.get(key) == at:
                    del self._due[key]
                    self.add(key, urgent=key in self._failures)
            timeout = max(0.0, self._delays[0][0] - loop.time()) if self._delays else None
            self._sooner.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):  # not wait_for: up to 3.11 it may swallow the end of this task
                    await self._sooner.wait()

    async def _serve(self, key: Key) -> None:
        loop, begun = asyncio.get_running_loop(), self._running[key]
        self._due.pop(key, None)  # what an older look wished for; this one says anew
        with about(*key):
            result, after = await self._look(key)
        del self._running[key]
        if key in self._ordinary:
            self._ordinary.remove(key)
            self._places[key[0]] -= 1
        self._ready.set()
        self._ended_at = loop.time()
        meters.LOOKS.labels(result).inc()
        meters.LOOK_SECONDS.observe(self._ended_at - begun)
        if key in self._again:
            self.add(key, urgent=self._again.pop(key))
        if after is not None:
            self.add_after(key, after)

    async def _look(self, key: Key) -> tuple[str, float | None]:
        """How the look ended, and when to look again."""
        try:
            after = await self._work(key)
        except ConflictError as error:
            after = self._pause_after_failure(key)
            _log.debug("%s/%s changed under our hands; again in %.1f s: %s", *key, after, error)
            return "conflict", after
        except KubeError as error:
            after = self._pause_after_failure(key)
            _log.warning("%s/%s: %s; again in %.1f s", *key, error, after)
            return "api_error", after
        except Exception:
            after = self._pause_after_failure(key)
            _log.exception("reconciling %s/%s failed; again in %.1f s", *key, after)
            return "error", after
        self._failures.pop(key, None)
        return "done", after

    def _pause_after_failure(self, key: Key) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = min(count + 1, _MOST_DOUBLINGS)
        return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**count))

    def _next(self) -> Key | None:
        """The key whose look begins now; None when nothing waits, or no place is free."""
        lane, key = 0, self._lanes[0].pop()
        if key is None:
            lane, key = 1, self._lanes[1].pop(self._has_place) if len(self._ordinary) < self._workers else None
        if key is None:
            return None
        now = self._running[key] = asyncio.get_running_loop().time()
        if lane == 1:
            self._ordinary.add(key)
            self._places[key[0]] += 1
        meters.QUEUE_WAIT_SECONDS.labels(LANES[lane]).observe(now - self._waiting.pop(key))
        return key

    def _has_place(self, namespace: str) -> bool:
        return self._places[namespace] < max(1, self._workers // 2)
