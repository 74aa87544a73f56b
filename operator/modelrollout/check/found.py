"""What a check found, and how a cluster is asked. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol

__all__ = ["Api", "Body", "ForbiddenError", "MissingError", "RefusedError", "Result", "Results", "State", "skipped"]

Body = dict[str, Any]


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    """It will work; a person should know."""
    FAIL = "fail"
    """A release would be stopped by it, or should be."""
    SKIPPED = "skipped"
    """Nobody looked."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    check: str
    state: State
    what: str
    remedy: str = ""

    def summary(self) -> dict[str, str]:
        """As JSON would have it."""
        return {key: str(value) for key, value in asdict(self).items()}


Results = Iterator[Result]


class MissingError(Exception):
    """There is no such object, or the cluster does not know its kind."""


class ForbiddenError(Exception):
    """This person may not; the text says what, in the API server's words."""


class RefusedError(Exception):
    """The API server takes it not; the text is its message."""


class Api(Protocol):
    """A cluster, as far as one person may see it."""

    def get(self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False) -> Body:
        """An object or a list. ``metadata_only``: nothing but its metadata is sent.

        Raises
        ------
        MissingError, ForbiddenError
        """
        ...

    def would_apply(self, path: str, body: Body) -> Body:
        """What a server-side apply would make of an object; nothing is written.

        Raises
        ------
        MissingError, ForbiddenError, RefusedError
        """
        ...


def skipped(check: str, error: ForbiddenError) -> Result:
    """A check that needs a right which this person does not have."""
    return Result(check, State.SKIPPED, f"you {error}", "ask for that right, or somebody who has it")
