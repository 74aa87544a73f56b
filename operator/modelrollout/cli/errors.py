"""What a command says when it cannot do its work: what is wrong, and what to do about it. Never a traceback."""

from __future__ import annotations

__all__ = ["FAILED", "TIMED_OUT", "USAGE", "CliError", "UnreachableError"]

FAILED = 1
USAGE = 2
TIMED_OUT = 124


class CliError(Exception):
    """Something a person can do something about."""

    def __init__(self, message: str, remedy: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code


class UnreachableError(CliError):
    """The API server does not answer; it may again, so whoever follows an object tries once more."""
