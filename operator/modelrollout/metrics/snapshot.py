"""What is asked of a metrics source, and what it showed at one instant. Plain data.

A *want* is one metric of a namespace, of every revision of every rollout at once; a *unit* is the wants of one gate,
which are always read together, so that a numerator is never newer than its denominator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, cast
from weakref import WeakValueDictionary

from modelrollout.metrics.identity import ServiceTemplate, identity_pattern, is_pattern, owner_pattern
from modelrollout.metrics.native import Native

__all__ = [
    "LOOKBACK",
    "LOOKBACK_TEXT",
    "Group",
    "Kind",
    "Labels",
    "Line",
    "Row",
    "Scrapers",
    "Series",
    "Shape",
    "Snapshot",
    "Target",
    "Unit",
    "Want",
    "quoted",
]

LOOKBACK: Final = timedelta(minutes=5)
"""How long a series that is not there any more is remembered: Prometheus' own lookback."""

LOOKBACK_TEXT: Final = "5m"

Group = tuple[str, str]
"""(namespace, pod) of whoever exports a series; the instance where no pod is told."""


Labels = frozenset[tuple[str, str]]
Scrapers = tuple[Labels, ...]
"""Whoever scrapes one pod, by the labels of its ``up``."""


class Kind(StrEnum):
    """What a want is about."""

    SERIES = "series"
    TARGETS = "targets"
    BOUNDS = "bounds"


def quoted(text: str) -> str:
    """A string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Want:
    """One metric, or who was scraped for it, or the bounds of its buckets.

    A want is equal to itself alone: answers are sorted by them again and again, and comparing what they say would cost
    more than what is done with it. :meth:`of` gives the same object to all who want the same.
    """

    name: str
    matchers: str = ""
    """The user's own, without braces."""
    label: str = ""
    """The label that tells the revisions apart; empty: the pod's name."""
    template: ServiceTemplate = ""
    narrow: str = ""
    """Matchers of one revision alone, for its history."""
    kind: Kind = Kind.SERIES

    @staticmethod
    def of(
        name: str, matchers: str = "", label: str = "", template: ServiceTemplate = "", kind: Kind = Kind.SERIES
    ) -> Want:
        """What everybody wants who wants this, as long as anybody does."""
        words = (name, matchers, label, template, kind)
        return _WANTS.get(words) or _WANTS.setdefault(words, Want(name, matchers, label, template, kind=kind))

    @property
    def by_service(self) -> bool:
        """Whether a gateway exports it, from a namespace of its own."""
        return self.template != ""

    def expressions(self, namespaces: Iterable[str], *, gone: bool = True) -> tuple[tuple[str, str], ...]:
        """(mark, PromQL) pairs: what is there, and with the mark "-" what was there in the last minutes.

        For series the second are those that are gone (only if ``gone``: Prometheus reads all samples of those minutes
        for it); for targets, whether any scrape succeeded.
        """
        some = sorted(namespaces)
        if self.kind is Kind.TARGETS:
            now, lately = self._targets(some)
            return ("", now), ("-", lately)
        series = f"{self.name}{{{','.join(part for part in (self._scope(some), self.narrow, self.matchers) if part)}}}"
        if self.kind is Kind.BOUNDS:
            by = ", ".join(dict.fromkeys(("namespace", self.label or "pod", "le")))
            return (("", f"group by ({by}) (last_over_time({series}[{LOOKBACK_TEXT}]))"),)
        if not gone:
            return (("", series),)
        return ("", series), ("-", f"last_over_time({series}[{LOOKBACK_TEXT}]) unless {series}")

    def _scope(self, namespaces: list[str]) -> str:
        if self.by_service:
            return f"{self.label}=~{quoted('|'.join(identity_pattern(self.template, one) for one in namespaces))}"
        return f"namespace=~{quoted('|'.join(namespaces))}"

    def _targets(self, namespaces: list[str]) -> tuple[str, str]:
        if self.by_service:
            # A gateway's targets are in no rollout's namespace: those of every job that exports the metric.
            jobs = f"group by (job) (last_over_time({self.name}[{LOOKBACK_TEXT}]))"
            return f"up and on (job) {jobs}", f"max_over_time(up[{LOOKBACK_TEXT}]) and on (job) {jobs}"
        up = f"up{{{','.join(part for part in (self._scope(namespaces), self.narrow) if part)}}}"
        return up, f"max_over_time({up}[{LOOKBACK_TEXT}])"


_WANTS: Final[WeakValueDictionary[tuple[str, ...], Want]] = WeakValueDictionary()

Unit = tuple[Want, ...]


class Series:
    """The labels of a series, made once and shared by all instants."""

    __slots__ = ("group", "labels", "number", "told", "whose")

    def __init__(self, labels: Mapping[str, str], number: int = 0) -> None:
        self.labels = labels
        self.number = number
        """In which order they were met; those of a line stand in this order."""
        self.group: Group = (labels.get("namespace", ""), labels.get("pod") or labels.get("instance", ""))
        self.whose: tuple[str, bool, tuple[str, str]] | None = None
        """(namespace, owner), as it was last asked for: by which label, and whether a gateway exports it."""
        self.told: Target | None = None
        """What it last told, if it is an ``up``."""

    @property
    def items(self) -> Labels:
        """The labels as pairs."""
        return frozenset(self.labels.items())


class Shape:
    """Some series that are seen together, again and again: what follows from them alone is found out once.

    Two lines with the very same shape are counted by plain differences. A shape lives as long as a line that has it.
    """

    __slots__ = ("__weakref__", "apart", "bounds", "groups", "series")

    def __init__(self, series: tuple[Series, ...]) -> None:
        self.series = series
        self.groups = tuple(dict.fromkeys(one.group for one in series))
        self.bounds = frozenset(one.labels["le"] for one in series if "le" in one.labels)
        """As written; of a classic histogram."""
        self.apart: object = None
        """How ``counting.py`` took it apart the last time."""


@dataclass(frozen=True, slots=True)
class Row:
    """A series at an instant."""

    series: Series
    value: float | Native
    gone: bool = False
    """It is not exported now; the value is its last one."""


class Line:
    """What one revision showed of a want at an instant: a value for each series of a shape."""

    __slots__ = ("gone", "numbers", "shape", "values")

    def __init__(self, shape: Shape, values: tuple[float | Native, ...], gone: tuple[bool, ...]) -> None:
        self.shape = shape
        self.values = values
        self.gone = gone if any(gone) else ()
        """Which of them are not exported now; empty when all are."""
        plain = not self.gone and Native not in map(type, values)
        self.numbers = cast("tuple[float, ...]", values) if plain else None
        """The values, where all are there and all are plain numbers."""

    def rows(self) -> Iterator[Row]:
        """One by one."""
        return map(Row, self.shape.series, self.values, self.gone or (False,) * len(self.values))


@dataclass(frozen=True, slots=True)
class Target:
    """Whoever is scraped: its labels, and whether that succeeded at the last scrape, or at any in the last minutes."""

    labels: Labels
    healthy: bool
    scraped: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one namespace sees of a unit at an instant."""

    at: datetime
    rows: Mapping[Want, Mapping[str, Line]]
    """By owner; see :func:`modelrollout.metrics.identity.owner_of`."""
    targets: Mapping[Group, tuple[Target, ...]]

    def of(self, want: Want, owner: str) -> tuple[Line, ...]:
        """The series of one revision. ``owner`` may be an identity's value that leaves something open; then there may
        be several lines."""
        by_owner = self.rows.get(want)
        if not by_owner:
            return ()
        if not is_pattern(owner):
            line = by_owner.get(owner)
            return () if line is None else (line,)
        pattern = re.compile(owner_pattern(owner))
        return tuple(line for name, line in by_owner.items() if pattern.fullmatch(name))

    def any_of(self, want: Want) -> bool:
        """Whether anybody in the namespace has such series."""
        return bool(self.rows.get(want))

    @property
    def empty(self) -> bool:
        """Whether nothing at all was seen."""
        return not self.targets and not any(self.rows.values())

    @property
    def size(self) -> int:
        """How many rows it was made of."""
        return sum(len(one.values) for by_owner in self.rows.values() for one in by_owner.values()) + len(self.targets)
