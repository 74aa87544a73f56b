"""Liveness: whether this process would be better off started anew. Readiness: whether it knows the cluster.

A loop that is blocked does not answer at all, and the probe's timeout says so. A loop that runs while nothing is
worked on is found here. What a restart cannot mend is no reason for one: an API server or a Prometheus that is away
(looks end, with an error), and more work than there is time for (looks end, one after the other).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from aiohttp import web

from modelrollout.controller.queue import QueueState
from modelrollout.controller.store import Key
from modelrollout.kube.reflector import Reflector

__all__ = ["Health", "Watched"]

_STUCK_SECONDS: Final = 180.0
"""A look whose every request times out after fifteen seconds ends well before."""
_LONGEST_LOOK_SECONDS: Final = 600.0
_LONGEST_READING_SECONDS: Final = 1800.0
_SILENT_SECONDS: Final = 900.0
"""A watch ends after five minutes, or after ninety seconds of silence; then it is begun anew."""
_FORGOTTEN_SECONDS: Final = 300.0


class Watched(Protocol):
    """What the probe asks besides the copies."""

    def queue(self) -> QueueState:
        """How the queue is."""

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""

    def planned(self, key: Key) -> bool:
        """Whether somebody looks at a rollout, or will."""


class Health:
    """See the module."""

    def __init__(
        self,
        reflectors: Sequence[Reflector],
        watched: Watched,
        with_traffic: Callable[[], Mapping[Key, float]],
    ) -> None:
        self._reflectors = reflectors
        self._watched = watched
        self._with_traffic = with_traffic
        self._pulses: dict[str, tuple[float, float]] = {}

    def expect(self, name: str, within: float) -> Callable[[], None]:
        """A task that gives a sign of life at least every so many seconds, from now on; it calls what is returned."""

        def beat() -> None:
            self._pulses[name] = (asyncio.get_running_loop().time(), within)

        beat()
        return beat

    async def live(self) -> web.Response:
        """For the liveness probe: 200, or 503 and why."""
        return _answer(list(self._complaints()))

    async def ready(self) -> web.Response:
        """For the readiness probe: the copies are filled. A standby is ready, too."""
        return _answer([f"{one.plural} are not read yet" for one in self._reflectors if not one.synced.is_set()])

    def _complaints(self) -> Iterator[str]:
        now, state = asyncio.get_running_loop().time(), self._watched.queue()
        if state.stuck_for > _STUCK_SECONDS:
            yield f"nothing was looked at for {state.stuck_for:.0f} s, and something waits"
        if state.longest_run > _LONGEST_LOOK_SECONDS:
            yield f"a look does not end since {state.longest_run:.0f} s"
        if (reading := self._watched.longest_measurement()) > _LONGEST_READING_SECONDS:
            yield f"a reading of metrics does not end since {reading:.0f} s"
        for one in self._reflectors:
            if one.alive_at and now - one.alive_at > _SILENT_SECONDS:
                yield f"the watch of {one.plural} is dead since {now - one.alive_at:.0f} s"
        for name, (at, within) in self._pulses.items():
            if now - at > within:
                yield f"{name} gave no sign of life for {now - at:.0f} s"
        yield from self._forgotten()

    def _forgotten(self) -> Iterator[str]:
        """A candidate that has traffic, and that nobody is going to look at."""
        for key, at in self._with_traffic().items():
            if time.time() - at > _FORGOTTEN_SECONDS and not self._watched.planned(key):
                yield f"{key[0]}/{key[1]} has traffic on a candidate, and no look is planned"


def _answer(complaints: list[str]) -> web.Response:
    return web.Response(status=503 if complaints else 200, text="\n".join(complaints or ["ok"]) + "\n")
