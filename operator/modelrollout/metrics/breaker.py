"""A source that is down is not asked by everybody, again and again: when to stop, when to try again. Pure.

After a few failures in a row questions are answered at once: down, since when, why. Meanwhile one cheap question now
and then finds out whether it is back; then real questions go out again, of which the first that fails closes the way
for longer. So a dead source costs its own rollouts a moment and others nothing, a source that comes back is seen
within two seconds, and one that is overloaded is left alone for a while each time it falls over again.

Source: M. Nygard, Release It! (the circuit breaker).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

__all__ = ["Breaker", "State"]

_FAILURES: Final = 3
"""In a row: one answer that is lost is no outage."""
_FIRST_PAUSE: Final = 0.5
_PAUSE: Final = 2.0
"""Seconds between probes at most, while these fail: a question without series costs a source nothing."""
_LONGEST_PAUSE: Final = 15.0
"""Seconds, when probes are answered and real questions are not."""
_MOST_RELAPSES: Final = 4


class State(StrEnum):
    """Whether questions go out."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """They are answered at once: it is down."""
    TRIAL = "trial"
    """They do, until the first one that fails."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one source."""

    state: State = State.CLOSED
    failures: int = 0
    """Of real questions, in a row."""
    probes: int = 0
    """That failed since it is open."""
    relapses: int = 0
    """How often it was open again right after a probe was answered."""
    since: datetime | None = None
    """When the first of the failures was."""
    why: str = ""

    def failed(self, at: datetime, why: str) -> Breaker:
        """After a question without an answer."""
        after = replace(self, failures=self.failures + 1, since=self.since or at, why=why)
        if self.state is State.TRIAL:
            return replace(after, state=State.OPEN, probes=0, relapses=min(self.relapses + 1, _MOST_RELAPSES))
        if self.state is State.CLOSED and after.failures >= _FAILURES:
            return replace(after, state=State.OPEN, probes=0)
        return after

    def answered(self) -> Breaker:
        """After an answer."""
        return Breaker()

    def probe_failed(self, why: str) -> Breaker:
        """After a cheap question without an answer."""
        return replace(self, probes=self.probes + 1, why=why) if self.state is State.OPEN else self

    def tried_again(self) -> Breaker:
        """After a probe was answered: real questions may go out again."""
        return replace(self, state=State.TRIAL) if self.state is State.OPEN else self

    def pause(self, fraction: float) -> float:
        """Seconds until the next probe; ``fraction`` (0 to 1) spreads the probes of many sources."""
        if self.relapses and not self.probes:
            longest: float = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** (self.relapses - 1))
        else:
            longest = min(_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.probes, 8))
        return longest * (0.75 + 0.25 * fraction)

    @property
    def says(self) -> str:
        """Why nothing is asked, for people."""
        assert self.since is not None, "it has failed"
        return f"{self.why} (down since {self.since.astimezone(UTC):%H:%M:%S} UTC)"
