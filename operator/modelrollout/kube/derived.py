"""What is made of copies of objects is kept for as long as they are the very same: a look every few seconds finds most
of them as they were."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Derived"]

Key = tuple[str, str]
T = TypeVar("T")


class Derived(Generic[T]):
    """One value for each key, with what it was made of, told apart by identity: copies are replaced, never changed."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[tuple[object, ...], T]] = {}

    def get(self, key: Key, sources: tuple[object, ...]) -> T | None:
        """What was made of these; None when it was made of others."""
        known = self._known.get(key)
        if known is None or len(known[0]) != len(sources):
            return None
        return known[1] if all(one is other for one, other in zip(known[0], sources, strict=True)) else None

    def keep(self, key: Key, sources: tuple[object, ...], value: T) -> T:
        """Remember what was made of these, in place of what was before."""
        self._known[key] = (sources, value)
        return value

    def forget(self, key: Key) -> None:
        """The rollout is gone."""
        self._known.pop(key, None)
