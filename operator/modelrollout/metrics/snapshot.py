"""What is asked of a metrics source, and what it showed at one instant. Plain data.

A *want* is one metric of a namespace, of every revision of every rollout at once; a *unit* is the wants of one gate,
which are always read together, so that a numerator is never newer than its denominator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modelrollout.metrics.identity import ServiceTemplate, identity_pattern, is_pattern, owner_pattern
from modelrollout.metrics.native import Native

__all__ = [
    "LOOKBACK",
    "LOOKBACK_TEXT",
    "Group",
    "Kind",
    "Labels",
    "Row",
    "Scrapers",
    "Series",
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


@dataclass(frozen=True, slots=True)
class Want:
    """One metric, or who was scraped for it, or the bounds of its buckets."""

    name: str
    matchers: str = ""
    """The user's own, without braces."""
    label: str = ""
    """The label that tells the revisions apart; empty: the pod's name."""
    template: ServiceTemplate = ""
    narrow: str = ""
    """Matchers of one revision alone, for its history."""
    kind: Kind = Kind.SERIES
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = (self.name, self.matchers, self.label, self.template, self.narrow, self.kind)
        object.__setattr__(self, "_hash", hash(words))

    def __hash__(self) -> int:
        return self._hash  # asked for again and again: wants are what answers are sorted by

    @property
    def by_service(self) -> bool:
        """Whether a gateway exports it, from a namespace of its own."""
        return self.template != ""

    def expressions(self, namespaces: Iterable[str]) -> tuple[tuple[str, str], ...]:
        """(mark, PromQL) pairs: what is there, and with the mark "-" what was there in the last minutes.

        For series the second are those that are gone; for targets, whether any scrape succeeded.
        """
        some = sorted(namespaces)
        if self.kind is Kind.TARGETS:
            now, lately = self._targets(some)
            return ("", now), ("-", lately)
        series = f"{self.name}{{{','.join(part for part in (self._scope(some), self.narrow, self.matchers) if part)}}}"
        if self.kind is Kind.BOUNDS:
            by = ", ".join(dict.fromkeys(("namespace", self.label or "pod", "le")))
            return (("", f"group by ({by}) (last_over_time({series}[{LOOKBACK_TEXT}]))"),)
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


Unit = tuple[Want, ...]


class Series:
    """The labels of a series, made once and shared by all instants: they are taken apart again and again."""

    __slots__ = ("apart", "group", "items", "labels", "owners")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.items = frozenset(labels.items())
        self.group: Group = (labels.get("namespace", ""), labels.get("pod") or labels.get("instance", ""))
        self.owners: dict[str, str] = {}
        """Whose it is, by the label that tells the revisions apart."""
        self.apart: tuple[Scrapers, Labels, Labels] | None = None
        """How it was last taken apart: for these scrapers, whose it is, and what tells it from its siblings."""


@dataclass(frozen=True, slots=True)
class Row:
    """A series at an instant."""

    series: Series
    value: float | Native
    gone: bool = False
    """It is not exported now; the value is its last one."""


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
    rows: Mapping[Want, Mapping[str, list[Row]]]
    """By owner; see :func:`modelrollout.metrics.identity.owner_of`."""
    targets: Mapping[Group, list[Target]]

    def of(self, want: Want, owner: str) -> list[Row]:
        """The series of one revision. ``owner`` may be an identity's value that leaves something open."""
        by_owner = self.rows.get(want, {})
        if not is_pattern(owner):
            return by_owner.get(owner, [])
        pattern = re.compile(owner_pattern(owner))
        return [row for name, rows in by_owner.items() if pattern.fullmatch(name) for row in rows]

    def any_of(self, want: Want) -> bool:
        """Whether anybody in the namespace has such series."""
        return bool(self.rows.get(want))

    @property
    def size(self) -> int:
        """How many rows it was made of."""
        return sum(len(some) for by_owner in self.rows.values() for some in by_owner.values()) + len(self.targets)
