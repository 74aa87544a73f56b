"""Whose request to the API server goes next, and how many go at once: what lowers a weight never waits for anything.

Requests go in lanes. Each lane has slots of its own, so that status writes which hang keep no other lane waiting; all
lanes but the first share one token bucket, of which the lesser ones must leave a part to the others. Within a lane
the namespaces take turns, and none of them holds more than half of the slots. An API server that says 429 is obeyed:
the lane rests for as long as it asked, and the common rate is halved and recovers within half a minute.

:class:`Limits` is pure: it is handed the time. :class:`Turnstile` lets coroutines wait for it.

Sources: RFC 6585 §4 (429), RFC 9110 §10.2.3 (Retry-After), KEP-1040 (the API server's priority and fairness).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from modelrollout.kube.fairness import FairLine
from modelrollout.telemetry import meters

__all__ = ["BURST", "QPS", "Lane", "Limits", "Ticket", "Turnstile"]

QPS: Final = 400.0
"""Requests a second, in the long run."""
BURST: Final = 800
"""Requests at once after a rest."""


class Lane(IntEnum):
    """What a request is for; the lower number goes first."""

    LOWERING = 0
    """Takes traffic away from a candidate: waits for nothing, counts for nothing."""
    WORK = 1
    """Creates, raises, reads."""
    STATUS = 2
    """A status that changed in a way that somebody cares for."""
    NUMBERS = 3
    """A status of which only numbers changed."""
    EVENTS = 4
    """What is told beside status."""


_SLOTS: Final = {Lane.WORK: 24, Lane.STATUS: 16, Lane.NUMBERS: 4, Lane.EVENTS: 4}
_RESERVE: Final = {Lane.WORK: 0.0, Lane.STATUS: 0.0, Lane.NUMBERS: 0.25, Lane.EVENTS: 0.5}
"""Share of the bucket that a lane leaves to those before it."""
_SLOWEST: Final = 1 / 16
_RECOVERS_WITHIN_SECONDS: Final = 30.0
_HALVED_AT_MOST_EVERY_SECONDS: Final = 1.0
_LONGEST_REST_SECONDS: Final = 30.0
_ROUNDING: Final = 1e-6
"""Of a token: sums of small parts of it fall short of the whole."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that waits for its turn, or has it."""

    lane: Lane
    namespace: str
    admitted: bool = False


class Limits:
    """See the module. Every ``now`` is in seconds on one monotonic clock."""

    def __init__(self, qps: float, burst: int, now: float) -> None:
        self._qps, self._burst = qps, max(2, burst)
        self._rate, self._level, self._at = qps, float(self._burst), now
        self._halved_at = now - _HALVED_AT_MOST_EVERY_SECONDS
        self._lines: dict[Lane, FairLine[Ticket]] = {lane: FairLine() for lane in _SLOTS}
        self._held: dict[Lane, Counter[str]] = {lane: Counter() for lane in _SLOTS}
        self._rests_until = dict.fromkeys(_SLOTS, now)

    @property
    def rate(self) -> float:
        """Requests a second that are allowed now."""
        return self._rate

    def join(self, lane: Lane, namespace: str) -> Ticket:
        """Wait for a turn."""
        ticket = Ticket(lane, namespace)
        self._lines[lane].add(namespace, ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The request is answered, or was given up."""
        if not ticket.admitted:
            self._lines[ticket.lane].discard(ticket.namespace, ticket)
            return
        held = self._held[ticket.lane]
        held[ticket.namespace] -= 1
        if not held[ticket.namespace]:
            del held[ticket.namespace]

    def refused(self, lane: Lane, rest_seconds: float, now: float) -> None:
        """The API server said 429, and for how long to stay away."""
        self._refill(now)
        if now - self._halved_at >= _HALVED_AT_MOST_EVERY_SECONDS:
            self._rate = max(self._qps * _SLOWEST, self._rate / 2)
            self._halved_at = now
        if lane in self._rests_until:
            rest = min(max(0.0, rest_seconds), _LONGEST_REST_SECONDS)
            self._rests_until[lane] = max(self._rests_until[lane], now + rest)

    def admit(self, now: float) -> list[Ticket]:
        """Those whose turn it is, in order; each holds a slot until it leaves."""
        self._refill(now)
        admitted = []
        for lane, line in self._lines.items():
            while line and self._rests_until[lane] <= now and self._level > self._needs(lane) - _ROUNDING:
                ticket = line.pop(partial(self._has_slot, lane))
                if ticket is None:
                    break
                self._level -= 1.0
                self._held[lane][ticket.namespace] += 1
                ticket.admitted = True
                admitted.append(ticket)
        return admitted

    def next_at(self, now: float) -> float | None:
        """When time alone lets somebody go; None when only a free slot, or nothing, can."""
        times = []
        for lane, line in self._lines.items():
            if line.waits(partial(self._has_slot, lane)):
                missing = max(0.0, self._needs(lane) - self._level) / self._rate
                times.append(max(now + missing, self._rests_until[lane]))
        return min(times, default=None)

    def _needs(self, lane: Lane) -> float:
        return 1.0 + _RESERVE[lane] * (self._burst - 1)

    def _has_slot(self, lane: Lane, namespace: str) -> bool:
        held, slots = self._held[lane], _SLOTS[lane]
        return held.total() < slots and held[namespace] < slots // 2

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._level = min(float(self._burst), self._level + passed * self._rate)
        self._rate = min(self._qps, self._rate + passed * self._qps / _RECOVERS_WITHIN_SECONDS)


class Turnstile:
    """Lets coroutines wait for their turn."""

    def __init__(self, qps: float = QPS, burst: int = BURST) -> None:
        self._limits = Limits(qps, burst, asyncio.get_running_loop().time())
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self, lane: Lane, namespace: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it."""
        if lane is Lane.LOWERING:
            yield
            return
        begun = time.perf_counter()
        ticket = self._limits.join(lane, namespace)
        turn = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        self._let_in()
        try:
            await turn
            meters.API_WAIT_SECONDS.labels(lane.name.lower()).observe(time.perf_counter() - begun)
            yield
        finally:
            self._waiting.pop(ticket, None)
            self._limits.leave(ticket)
            self._let_in()

    def refused(self, lane: Lane, rest_seconds: float) -> None:
        """The API server said 429, and for how long to stay away."""
        self._limits.refused(lane, rest_seconds, asyncio.get_running_loop().time())

    def _let_in(self) -> None:
        loop = asyncio.get_running_loop()
        for ticket in self._limits.admit(loop.time()):
            turn = self._waiting.pop(ticket)
            if not turn.done():  # it was given up in this very moment, and leaves by itself
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
        at = self._limits.next_at(loop.time())
        self._timer = loop.call_at(at, self._let_in) if at is not None else None
