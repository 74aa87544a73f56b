"""What follows from frozen objects alone is found out once, for as long as they live.

A spec is read when it changes and looked at every few seconds: what is compiled from it must not be made at every look.
Remembered by identity, because two specs are never asked whether they are equal, which costs more than compiling.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

__all__ = ["once"]

P = ParamSpec("P")
R = TypeVar("R")


def once(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which remembers its results for as long as its first argument lives.

    All arguments are positional, and frozen: what is changed in place would not be noticed. Errors are not remembered.
    """
    known: dict[Any, tuple[weakref.ref[Any], tuple[Any, ...], R]] = {}

    def find_out(key: Any, arguments: tuple[Any, ...]) -> R:
        result = function(*arguments)  # type: ignore[call-arg]
        gone = weakref.ref(arguments[0], lambda _: known.pop(key, None))
        known[key] = (gone, arguments[1:], result)  # the others are kept, so that their ids stay theirs
        return result

    @functools.wraps(function)
    def of_one(argument: Any) -> R:  # most functions have one, and what is asked eighty times at a look must be short
        found = known.get(id(argument))
        return found[2] if found is not None else find_out(id(argument), (argument,))

    @functools.wraps(function)
    def of_several(*arguments: Any) -> R:
        key = tuple(map(id, arguments))
        found = known.get(key)
        return found[2] if found is not None else find_out(key, arguments)

    one = len(inspect.signature(function).parameters) == 1
    return cast(Callable[P, R], of_one if one else of_several)
