"""A line in which namespaces take turns: a tenant with hundreds of objects keeps nobody else's single one waiting."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["FairLine"]

T = TypeVar("T", bound=Hashable)


def _anybody(_: str) -> bool:
    return True


class FairLine(Generic[T]):
    """First in, first out within a namespace, round robin among them. Everything but a blocked ``pop`` is O(1)."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(self._lines.values())

    def add(self, namespace: str, item: T) -> None:
        """Join the end of the namespace's line."""
        self._lines.setdefault(namespace, OrderedDict())[item] = None

    def discard(self, namespace: str, item: T) -> bool:
        """Leave without having had a turn; whether it waited here."""
        line = self._lines.get(namespace)
        if line is None or item not in line:
            return False
        del line[item]
        if not line:
            del self._lines[namespace]
        return True

    def pop(self, may: Callable[[str], bool] = _anybody) -> T | None:
        """The next item, of a namespace that may have one; None when there is none."""
        namespace = next((one for one in self._lines if may(one)), None)
        if namespace is None:
            return None
        line = self._lines[namespace]
        item, _ = line.popitem(last=False)
        if line:
            self._lines.move_to_end(namespace)
        else:
            del self._lines[namespace]
        return item

    def waits(self, may: Callable[[str], bool] = _anybody) -> bool:
        """Whether ``pop`` would find one."""
        return any(may(namespace) for namespace in self._lines)
