"""One query for many wants, and its answer sorted back into what each namespace asked for. Pure.

Each want's series are marked with its number by ``label_replace`` and the parts joined by ``or``, which keeps apart
what differs in any label. Both ends of a ratio thus come from one evaluation over one view of the database.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from sys import intern
from typing import Any, Final

from modelrollout.metrics.identity import owner_of
from modelrollout.metrics.native import Native, parse_native
from modelrollout.metrics.snapshot import Group, Kind, Labels, Row, Series, Snapshot, Target, Unit, Want

__all__ = ["Question", "SeriesBook", "read_answer"]

_MARK: Final = "modelrollout_want"
_SERIES: Final = 200_000
"""About 200 MB; four times what one request may give."""


class Question:
    """The wants of several units, each for some namespaces, as one query."""

    def __init__(self, pieces: Sequence[tuple[Unit, tuple[str, ...]]]) -> None:
        self.asked = [(unit, namespace) for unit, namespaces in pieces for namespace in namespaces]
        namespaces_of: dict[Want, set[str]] = {}
        for unit, namespaces in pieces:
            for want in unit:
                namespaces_of.setdefault(want, set()).update(namespaces)
        self.wants = list(namespaces_of)
        self.promql = " or ".join(
            f'label_replace({text},"{_MARK}","{number}{mark}","","")'
            for number, (want, namespaces) in enumerate(namespaces_of.items())
            for mark, text in want.expressions(namespaces)
        )


@dataclass(slots=True)
class _Instant:
    """What was found of one instant, by want and namespace; a gateway's own namespace counts for nothing."""

    rows: dict[tuple[Want, str], dict[str, list[Row]]] = field(default_factory=dict)
    targets: dict[tuple[Want, str], dict[Series, list[bool]]] = field(default_factory=dict)


class SeriesBook:
    """The series that were met, so that each is made once. It is begun anew when it has become too big."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Series] = {}
        self._by_items: dict[Labels, Series] = {}

    def of(self, labels: Mapping[str, str]) -> Series:
        """The series with these labels. They nearly always come in the same order, and are then found without being
        sorted."""
        words = (*labels, *labels.values())
        found = self._known.get(words)
        if found is None:
            if len(self._known) > _SERIES:
                self._known.clear()
                self._by_items.clear()
            made = Series({intern(name): intern(value) for name, value in labels.items()})  # most are in many series
            found = self._known[tuple(map(intern, words))] = self._by_items.setdefault(made.items, made)
        return found


def read_answer(
    question: Question,
    result: Sequence[Mapping[str, Any]],
    instants: Sequence[datetime],
    step: timedelta,
    book: SeriesBook,
) -> dict[tuple[Unit, str], list[Snapshot]]:
    """For each unit and namespace its snapshots, one for each instant.

    ``result`` is that of an instant query or of a range query; what lies beyond ``instants`` is left out.
    """
    found = [_Instant() for _ in instants]
    for row in result:
        labels = dict(row["metric"])
        mark = labels.pop(_MARK)
        want, lately = question.wants[int(mark.rstrip("-"))], mark.endswith("-")
        if want.kind is Kind.TARGETS:
            labels.pop("__name__", None)
        series = book.of(labels)
        owner = series.owners.get(want.label)
        if owner is None:
            owner = series.owners[want.label] = owner_of(labels, want.label)
        place = (want, "" if want.by_service else labels.get("namespace", ""))
        for number, value in _samples(row, instants[0], step):
            if not 0 <= number < len(found):
                continue
            if want.kind is Kind.TARGETS:
                found[number].targets.setdefault(place, {}).setdefault(series, [False, False])[lately] = value == 1.0
            else:
                by_owner = found[number].rows.setdefault(place, {})
                by_owner.setdefault(owner, []).append(Row(series, value, lately))
    return {
        (unit, namespace): [_snapshot(one, at, unit, namespace) for one, at in zip(found, instants, strict=True)]
        for unit, namespace in question.asked
    }


def _samples(series: Mapping[str, Any], start: datetime, step: timedelta) -> Iterator[tuple[int, float | Native]]:
    """(number of the instant, value) pairs; what is no number is no sample."""
    floats = series.get("values") or ([series["value"]] if "value" in series else [])
    natives = series.get("histograms") or ([series["histogram"]] if "histogram" in series else [])
    first, every = start.timestamp(), step.total_seconds()
    for at, text in floats:
        value = float(text)
        if math.isfinite(value):
            yield (round((float(at) - first) / every) if step else 0), value
    for at, body in natives:
        yield (round((float(at) - first) / every) if step else 0), parse_native(body)


def _snapshot(found: _Instant, at: datetime, unit: Unit, namespace: str) -> Snapshot:
    rows: dict[Want, dict[str, list[Row]]] = {}
    targets: dict[Group, list[Target]] = {}
    for want in unit:
        place = (want, "" if want.by_service else namespace)
        if want.kind is Kind.TARGETS:
            for series, (healthy, scraped) in found.targets.get(place, {}).items():
                targets.setdefault(series.group, []).append(Target(series.items, healthy, scraped))
        else:
            rows[want] = found.rows.get(place, {})
    return Snapshot(at, rows, targets)
