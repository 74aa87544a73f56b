"""What was released and how it has to end. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["AT_REST", "Book", "Release"]

AT_REST: Final = ("Stable", "RolledBack")
_BAD_SHARE: Final = 0.3
_LATE_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Release:
    """A version that was applied."""

    version: str
    good: bool
    at: float


@dataclass
class _Line:
    stable: str = ""
    under_way: Release | None = None
    number: int = 0
    late: bool = False


@dataclass
class Book:
    """All rollouts: which version must serve, and which one is under way."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    """How many releases ended how: promoted, rolledBack; and what must never be: goodRolledBack, badPromoted, late."""
    complaints: list[str] = field(default_factory=list)
    _lines: dict[str, _Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def serves(self, key: str, version: str) -> None:
        """What serves at the beginning."""
        self._lines[key] = _Line(version)

    def stable_version(self, key: str) -> str:
        """What has to serve."""
        return self._lines[key].stable

    @property
    def under_way(self) -> int:
        """How many releases have not ended."""
        return sum(1 for line in self._lines.values() if line.under_way is not None)

    def next(self, most: int, now: float) -> Iterator[tuple[str, Release]]:
        """Begin releases, until so many are under way."""
        idle = [key for key, line in self._lines.items() if line.under_way is None]
        room = max(0, min(len(idle), most - self.under_way))
        for key in self._random.sample(idle, room):
            line = self._lines[key]
            line.number += 1
            line.late = False
            line.under_way = Release(f"{line.number}", self._random.random() >= _BAD_SHARE, now)
            yield key, line.under_way

    def note(self, seen: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Look how the releases are doing."""
        for key, line in self._lines.items():
            if line.under_way is not None and key in seen:
                self._note(key, line, line.under_way, seen[key], now)

    def _note(self, key: str, line: _Line, release: Release, seen: Mapping[str, Any], now: float) -> None:
        if now - release.at > _LATE_SECONDS and not line.late:
            line.late = True
            self._complain("late", f"{key}: version {release.version} is {seen['phase']}: {seen['message']}")
        if not seen["current"] or seen["phase"] not in AT_REST:
            return
        if seen["phase"] == "Stable" and seen["stable"] == release.version:
            line.under_way, line.stable = None, release.version
            self.counts["promoted"] += 1
            if not release.good:
                self._complain("badPromoted", f"{key}: version {release.version} fails, and was promoted")
        elif seen["phase"] == "RolledBack":
            line.under_way = None
            self.counts["rolledBack"] += 1
            if release.good:
                self._complain("goodRolledBack", f"{key}: version {release.version} is good: {seen['message']}")

    def _complain(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.complaints.append(text)

    @property
    def never(self) -> Sequence[tuple[str, int]]:
        """Counts of what must never be."""
        return [(kind, self.counts[kind]) for kind in ("goodRolledBack", "badPromoted", "late")]
