"""Waiting for something to become true, with a deadline and a message that says what was missing."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    check: Callable[[], T],
    what: str,
    *,
    timeout: float = 30.0,
    interval: float = 0.05,
    errors: tuple[type[Exception], ...] = (AssertionError, OSError),
) -> T:
    """Call ``check`` until it returns something truthy, and return that.

    A check may also raise one of ``errors`` to say "not yet": then its words are part of the message when the
    time is over. Raises AssertionError at the deadline, so that a test fails with ``what`` and the last state.
    """
    start = time.monotonic()
    last = "nothing yet"
    while True:
        try:
            result = check()
        except errors as error:
            last = f"{type(error).__name__}: {error}"
        else:
            if result:
                return result
            last = f"{result!r}"
        if time.monotonic() - start > timeout:
            raise AssertionError(f"not within {timeout:g} s: {what}; last seen: {last}")
        time.sleep(interval)
