"""Following one release to its end, with everything that happens shown as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from demo import words
from demo.measuring import Users
from demo.screen import Screen
from demo.stage import Stage, StoryError, newest

__all__ = ["Following"]

_USERS_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25


class Following:
    """One release, from ``kubectl apply`` on."""

    def __init__(self, stage: Stage, screen: Screen, version: str, generation: int) -> None:
        self.version = version
        self.began = time.time()
        self.peak = 0
        self._stage = stage
        self._screen = screen
        self._generation = generation
        self._users_at_first = stage.users() or Users(0.0, 0.0)
        self._users: Users | None = self._users_at_first
        self._users_at = time.monotonic()
        self._happening = ""

    def until(self, reached: Callable[[dict[str, Any]], bool], what: str, timeout: float) -> dict[str, Any]:
        """Show what happens until the status is as wanted; returns the ModelRollout.

        Raises
        ------
        StoryError
            If it is not so in time, if nothing more can come, or if the operator has ended.
        """
        deadline = time.monotonic() + timeout
        with self._screen.moment():
            while True:
                rollout = self._stage.recorder.rollout()
                status = self._current(rollout)
                if status:
                    self._tell(rollout, status)
                    if reached(status):
                        return rollout
                self._require(status, what, deadline)
                self._stage.recorder.wait(_LOOK_SECONDS)

    def users(self) -> Users:
        """What users asked and saw failing during this release."""
        now = self._stage.users() or self._users_at_first
        first = self._users_at_first
        return Users(asked=now.asked - first.asked, failed=now.failed - first.failed)

    def _current(self, rollout: dict[str, Any]) -> dict[str, Any]:
        if not rollout or rollout["metadata"]["generation"] < self._generation:
            return {}
        return newest(rollout)

    def _tell(self, rollout: dict[str, Any], status: dict[str, Any]) -> None:
        self.peak = max(self.peak, status.get("weight", 0))
        happening, sentence = words.happening(status)
        if happening != self._happening:
            self._happening = happening
            self._screen.event(sentence, words.style(status))
        if time.monotonic() - self._users_at >= _USERS_SECONDS:
            self._users_at = time.monotonic()
            self._users = self._stage.users()
        self._screen.show(words.moment(rollout, self._users))

    def _require(self, status: dict[str, Any], what: str, deadline: float) -> None:
        """Whatever ends the waiting for something that will not come."""
        self._stage.require_operator()
        phase = status.get("phase", "")
        if phase in ("Stalled", "RolledBack") or (phase == "Stable" and status["stable"]["version"] == self.version):
            raise StoryError(f"{self.version}: {phase} ({status.get('message', '')}), but it should be {what}")
        if time.monotonic() > deadline:
            raise StoryError(f"{self.version}: not {what} in time; it is {phase or 'not judged by the operator yet'}")
