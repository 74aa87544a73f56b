"""What follows from frozen objects alone is found out once, for as long as they live.

A spec is read when it changes and looked at every few seconds: what is compiled from it must not be made at every look.
Remembered by identity, because two specs are never asked whether they are equal, which costs more than compiling.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["once"]

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which remembers its results for as long as its first argument lives.

    All arguments are positional, and frozen: what is changed in place would not be noticed. Errors are not remembered.
    """
    known: dict[tuple[int, ...], tuple[weakref.ref[Any], tuple[Any, ...], R]] = {}

    @functools.wraps(function)
    def remembered(*arguments: P.args, **named: P.kwargs) -> R:
        assert not named, "remembered by position"
        key = tuple(map(id, arguments))
        found = known.get(key)
        if found is None:
            result = function(*arguments)  # type: ignore[call-arg]
            gone = weakref.ref(arguments[0], lambda _: known.pop(key, None))
            found = known[key] = (gone, arguments[1:], result)  # the others are kept, so that their ids stay theirs
        return found[2]

    return remembered
