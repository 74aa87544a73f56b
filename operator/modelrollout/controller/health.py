"""Liveness: whether this process would be better off started anew. Readiness: whether it knows the cluster.

A loop that is blocked does not answer at all, and the probe's timeout says so. A loop that runs while nothing is
worked on is found here. Only what the operator itself has planned can be overdue: a rollout that waits for an event,
or for people, has no next look. What a restart cannot mend is no reason for one: an API server or a Prometheus that is
away (looks end, with an error), and more work than there is time for (looks end, one after the other).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
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
_LATE_SECONDS: Final = 60.0
"""What is due goes into a lane at once, however many wait there."""
_FORGOTTEN_SECONDS: Final = 600.0


class Watched(Protocol):
    """What the probe asks besides the copies."""

    def queue(self) -> QueueState:
        """How the queue is."""

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""

    def forgotten(self) -> dict[Key, float]:
        """Rollouts whose metrics were read, and that nobody is going to look at; when that was begun (seconds ago)."""


class Health:
    """See the module."""

    def __init__(
        self,
        reflectors: Sequence[Reflector],
        watched: Watched,
    ) -> None:
        self._reflectors = reflectors
        self._watched = watched
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
        unread = [one for one in self._reflectors if not (one.tried if one.optional else one.synced).is_set()]
        return _answer([f"{one.plural} are not read yet" for one in unread])

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
        if state.late > _LATE_SECONDS:
            yield f"a planned look is overdue by {state.late:.0f} s"
        for key, seconds in self._watched.forgotten().items():
            if seconds > _FORGOTTEN_SECONDS:
                yield f"the metrics of {key[0]}/{key[1]} were read {seconds:.0f} s ago, and no look is planned"


def _answer(complaints: list[str]) -> web.Response:
    return web.Response(status=503 if complaints else 200, text="\n".join(complaints or ["ok"]) + "\n")
