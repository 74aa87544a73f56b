"""What every way of telling people can do; a new one is a file in this package and an entry in its registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from modelrollout.api.enums import Urgency
from modelrollout.api.incident import Link, RolloutIncidentSpec
from modelrollout.api.status import Notice

__all__ = ["DeliveryError", "Message", "Read", "Receiver"]

Read = Callable[[], Awaitable[str]]
"""Reads a secret (an address, a token) anew for each attempt, so that a rotated one is used without a restart."""


class DeliveryError(Exception):
    """A message that was not taken. The text is fit for people and holds no secret."""

    def __init__(
        self, message: str, *, refused: bool = False, settings: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.refused = refused or settings
        """The receiver lives and does not want this message: others may still go through."""
        self.settings = settings
        """A person must change something; the text says what."""
        self.retry_after = retry_after
        """Seconds to wait at least, in the receiver's words or for its sake."""


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that is told."""

    id: str
    """The same in every attempt; the end of something has one of its own."""
    notice: Notice
    namespace: str
    name: str
    """Of the ModelRollout."""
    stable: str
    """Model version that serves."""
    incident: RolloutIncidentSpec | None = None
    links: tuple[Link, ...] = ()
    commands: tuple[str, ...] = ()
    """What to type."""

    @property
    def is_over(self) -> bool:
        """Whether this tells that it is over."""
        return self.notice.over_at is not None

    @property
    def urgency(self) -> Urgency:
        """How soon somebody must know."""
        return self.notice.urgency

    @property
    def at(self) -> datetime:
        """When what it tells of happened."""
        return self.notice.over_at or self.notice.at

    @property
    def title(self) -> str:
        """In one line, who and what: `recs/ranker: RolledBack (version 42)`."""
        over = "over: " if self.is_over else ""
        version = f" (version {self.notice.version})" if self.notice.version else ""
        return f"{over}{self.namespace}/{self.name}: {self.notice.reason}{version}"


class Receiver(Protocol):
    """Somebody who is told."""

    hears_the_end: bool
    """Whether it is told when something that lasts is over."""
    repeats_every: float | None
    """Seconds after which what lasts is told again, for receivers that forget; None when once is enough."""

    async def send(self, message: Message) -> str:
        """Tell it once; the address of what that made (a ticket), or nothing.

        Raises
        ------
        DeliveryError
            If it was not taken.
        """
        ...
