"""What goes wrong between the operator and the API server: rules for the proxy."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Final

from tests.chaos.proxy import Answer, Call, CutError, Rule

__all__ = ["GoneWatches", "KillAt", "Lives", "LostAnswers", "Refuse", "SilentWatches", "SlowAnswers"]

_REASONS: Final = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "Unavailable"}


def _refusal(status: int) -> Answer:
    """As the API server says no (metav1.Status)."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": _REASONS[status],
        "message": f"injected: {_REASONS[status]}",
        "code": status,
    }
    headers = {"Content-Type": "application/json"} | ({"Retry-After": "1"} if status in (429, 503) else {})
    return Answer(status, json.dumps(body).encode(), headers)


class KillAt(Rule):
    """kill -9 at the n-th write: before the API server sees it, or after it was carried out and before its answer.
    And, if it is asked for, at each write that is so many ``apart`` from it."""

    def __init__(self, kill: Callable[[], None], number: int, *, before: bool, apart: int = 0) -> None:
        super().__init__()
        self._kill, self._next, self._before, self._apart = kill, number, before, apart
        self._count = itertools.count(1)
        self._chosen: Call | None = None

    async def before(self, call: Call) -> Answer | None:
        """Count the writes."""
        if call.is_write and next(self._count) == self._next:
            self._next += self._apart
            if self._before:
                self._die(call)
            self._chosen = call
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """It was carried out."""
        if call is self._chosen:
            self._die(call)
        return answer

    def _die(self, call: Call) -> None:
        self._kill()
        self.injected[call.shape] += 1
        raise CutError


class Lives(Rule):
    """kill -9 after every few writes: each process lives for the next number of writes of ``lengths``."""

    def __init__(self, kill: Callable[[], None], lengths: Iterator[int]) -> None:
        super().__init__()
        self._kill, self._lengths = kill, lengths
        self._left = next(lengths)

    async def after(self, call: Call, answer: Answer) -> Answer:
        """It was carried out."""
        if not call.is_write or self.over:
            return answer
        self._left -= 1
        if self._left > 0:
            return answer
        self._left = next(self._lengths, 1_000_000)
        self._kill()
        self.injected[call.shape] += 1
        raise CutError


class Refuse(Rule):
    """One of so many requests is refused with the next of some statuses, without the API server having seen it.

    By chance and not by counting: a look that takes three requests would meet every third refusal at the same place.
    """

    def __init__(self, statuses: tuple[int, ...], *, one_of: float, writes_only: bool = False) -> None:
        super().__init__()
        self._statuses = itertools.cycle(statuses)
        self._share, self._writes_only = 1.0 / one_of, writes_only
        self._chance = random.Random(7)

    async def before(self, call: Call) -> Answer | None:
        """Refuse it, or not."""
        if (self._writes_only and not call.is_write) or self._chance.random() >= self._share:
            return None
        status = next(self._statuses)
        self.injected[f"HTTP {status}"] += 1
        return _refusal(status)


class SlowAnswers(Rule):
    """Every answer comes so many seconds late."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Keep it back."""
        self.injected["slow answers"] += 1
        await asyncio.sleep(self._seconds)
        return answer


class LostAnswers(Rule):
    """Every k-th write is carried out and its answer does not come: the connection breaks, or stays silent."""

    def __init__(self, *, every: int, silent: bool) -> None:
        super().__init__()
        self._every, self._silent = every, silent
        self._count = itertools.count(1)

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Lose it."""
        if not call.is_write or next(self._count) % self._every:
            return answer
        self.injected["silence" if self._silent else "lost answers"] += 1
        if self._silent:
            await self.healed()
        raise CutError


class GoneWatches(Rule):
    """Every other watch is too old, said as a status or as an event in the stream; some requests too."""

    def __init__(self) -> None:
        super().__init__()
        self._count = itertools.count(1)

    async def before(self, call: Call) -> Answer | None:
        """Refuse every other watch."""
        number = next(self._count) if call.is_watch else 1
        if number % 2:
            return None
        self.injected["HTTP 410"] += 1
        refusal = _refusal(410)
        if number % 4:
            return refusal
        event = json.dumps({"type": "ERROR", "object": json.loads(refusal.body)}) + "\n"
        return Answer(200, event.encode(), {"Content-Type": "application/json"})


class SilentWatches(Rule):
    """Watches bring nothing any more, and their connections stay open. ``for_ever``: those of the beginning never
    speak again, as after a machine between them vanished; later ones work."""

    def __init__(self, *, for_ever: bool) -> None:
        super().__init__()
        self._for_ever = for_ever
        self._fresh: set[int] = set()

    async def before(self, call: Call) -> Answer | None:
        """Know the new ones."""
        if call.is_watch:
            self._fresh.add(id(call))
        return None

    async def chunk(self, call: Call, chunk: bytes) -> bytes:
        """Hold it back."""
        if self._for_ever and id(call) in self._fresh:
            return chunk
        self.injected["held events"] += 1
        if self._for_ever:
            await asyncio.Event().wait()
        await self.healed()
        return chunk
