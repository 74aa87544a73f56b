"""One query for many wants, and its answer sorted back into what each namespace asked for. Pure.

Each want's series are marked with its number by ``label_replace`` and the parts joined by ``or``, which keeps apart
what differs in any label. Both ends of a ratio thus come from one evaluation over one view of the database.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from sys import intern
from typing import Any, Final
from weakref import WeakValueDictionary

from modelrollout.metrics.identity import owner_of
from modelrollout.metrics.native import Native, parse_native
from modelrollout.metrics.snapshot import Group, Kind, Line, Row, Series, Shape, Snapshot, Target, Unit, Want

__all__ = ["MARK", "Question", "SeriesBook", "read_answer"]

MARK: Final = "modelrollout_want"
"""The label that tells of a series which part of a query brought it."""
_NUMBER: Final = itemgetter(0)
_SERIES: Final = 100_000
"""On one page; twice what one request may give."""


class Question:
    """The wants of several units, each for some namespaces, as one query. ``gone``: also series that are gone."""

    def __init__(self, pieces: Sequence[tuple[Unit, tuple[str, ...]]], *, gone: bool) -> None:
        self.asked = [(unit, namespace) for unit, namespaces in pieces for namespace in namespaces]
        namespaces_of: dict[Want, set[str]] = {}
        for unit, namespaces in pieces:
            for want in unit:
                namespaces_of.setdefault(want, set()).update(namespaces)
        self.marks: dict[str, tuple[Want, bool]] = {}
        """What a mark stands for: a want, and whether it is what was there lately."""
        parts = []
        for number, (want, some) in enumerate(namespaces_of.items()):
            for mark, text in want.expressions(some, gone=gone):
                self.marks[f"{number}{mark}"] = (want, mark == "-")
                parts.append(f'label_replace({text},"{MARK}","{number}{mark}","","")')
        self.promql = " or ".join(parts)


class SeriesBook:
    """The series that were met lately, so that each is made once, and what is seen together.

    Pods come and go, and their series with them: what was not met between two turns of the page is forgotten. Whoever
    comes back after that is counted with care once, and the numbers are the same.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], Series] = {}
        self._before: dict[tuple[str, ...], Series] = {}
        self._shapes: WeakValueDictionary[tuple[Series, ...], Shape] = WeakValueDictionary()
        self._met = itertools.count()

    def turn(self) -> None:
        """Turn the page."""
        self._before, self._known = self._known, {}

    def of(self, labels: Mapping[str, str]) -> Series:
        """The series with these labels, in whatever order: they nearly always come in that of the alphabet."""
        words = (*labels, *labels.values())
        found = self._known.get(words)
        if found is None:
            if len(self._known) > _SERIES:
                self.turn()
            found = self._before.get(words) or self._in_order(labels)
            self._known[tuple(map(intern, words))] = found  # most words are in many series
        return found

    def _in_order(self, labels: Mapping[str, str]) -> Series:
        ordered = {intern(name): intern(labels[name]) for name in sorted(labels)}
        words = (*ordered, *ordered.values())
        found = self._known.get(words) or self._before.get(words) or Series(ordered, next(self._met))
        self._known[words] = found
        return found

    def shape(self, series: tuple[Series, ...]) -> Shape:
        """These series in this order: the same object as long as anybody has it."""
        found = self._shapes.get(series)
        if found is None:
            found = self._shapes[series] = Shape(series)
        return found

    def line(self, rows: Iterable[Row]) -> Line:
        """What one revision showed, in whatever order it came."""
        some = sorted(rows, key=lambda row: row.series.number)
        shape = self.shape(tuple(row.series for row in some))
        return Line(shape, tuple(row.value for row in some), tuple(row.gone for row in some))


_Column = tuple[int, Series, bool, dict[int, float | Native]]
"""A series and its number, whether that is what was there lately, and its values by the number of the instant."""
_Found = dict[tuple[str, str], list[_Column]]
"""What was found of a want, by namespace and owner; a gateway's own namespace counts for nothing."""


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
    found: dict[Want, _Found] = {want: defaultdict(list) for want, _ in question.marks.values()}
    places = {
        mark: (lately, found[want], want.label, want.by_service, want.kind is Kind.TARGETS)
        for mark, (want, lately) in question.marks.items()
    }
    first, every = instants[0].timestamp(), step.total_seconds()
    for row in result:
        labels = dict(row["metric"])
        lately, columns, label, by_service, is_target = places[labels.pop(MARK)]
        if is_target:
            labels.pop("__name__", None)
        series = book.of(labels)
        samples = _samples(row, first, every)
        columns[_whose(series, label, by_service)].append((series.number, series, lately, samples))
    count = len(instants)
    lines = {want: _lines(one, count, book) for want, one in found.items() if want.kind is not Kind.TARGETS}
    targets = {want: _targets(one, count) for want, one in found.items() if want.kind is Kind.TARGETS}

    def snapshot(number: int, unit: Unit, namespace: str) -> Snapshot:
        rows: dict[Want, Mapping[str, Line]] = {}
        scraped: Mapping[Group, tuple[Target, ...]] = {}
        for want in unit:
            place = "" if want.by_service else namespace
            if want.kind is not Kind.TARGETS:
                rows[want] = lines[want][place][number] if place in lines[want] else {}
            elif place in targets[want]:
                scraped = targets[want][place][number]
        return Snapshot(instants[number], rows, scraped)

    return {asked: [snapshot(number, *asked) for number in range(count)] for asked in question.asked}


def _whose(series: Series, label: str, by_service: bool) -> tuple[str, str]:
    known = series.whose
    if known is None or known[0] != label or known[1] != by_service:
        namespace = "" if by_service else series.labels.get("namespace", "")
        known = series.whose = (label, by_service, (namespace, owner_of(series.labels, label)))
    return known[2]


def _samples(row: Mapping[str, Any], first: float, every: float) -> dict[int, float | Native]:
    """Values by the number of the instant; what is no number is no sample."""
    if not every and "value" in row:
        value = float(row["value"][1])
        return {0: value} if math.isfinite(value) else {}
    found: dict[int, float | Native] = {}
    for at, text in row.get("values") or ([row["value"]] if "value" in row else []):
        value = float(text)
        if math.isfinite(value):
            found[round((float(at) - first) / every) if every else 0] = value
    for at, body in row.get("histograms") or ([row["histogram"]] if "histogram" in row else []):
        found[round((float(at) - first) / every) if every else 0] = parse_native(body)
    return found


def _lines(found: _Found, count: int, book: SeriesBook) -> dict[str, list[dict[str, Line]]]:
    """By namespace, for each instant by owner."""
    by_namespace: dict[str, list[dict[str, Line]]] = {}
    for (namespace, owner), columns in found.items():
        columns.sort(key=_NUMBER)
        for number, lines in enumerate(by_namespace.setdefault(namespace, [{} for _ in range(count)])):
            shown = [(series, samples[number], lately) for _, series, lately, samples in columns if number in samples]
            if shown:
                those, values, gone = zip(*shown, strict=True)
                lines[owner] = Line(book.shape(those), values, gone)
    return by_namespace


def _targets(found: _Found, count: int) -> dict[str, list[dict[Group, tuple[Target, ...]]]]:
    """By namespace, for each instant by who is scraped."""
    by_namespace: dict[str, list[dict[Group, tuple[Target, ...]]]] = {}
    for (namespace, _), columns in found.items():
        for number, targets in enumerate(by_namespace.setdefault(namespace, [{} for _ in range(count)])):
            scrapes: dict[Series, list[bool]] = {}
            for _, series, lately, samples in columns:
                if number in samples:
                    scrapes.setdefault(series, [False, False])[lately] = samples[number] == 1.0
            for series, (healthy, scraped) in scrapes.items():
                targets[series.group] = (*targets.get(series.group, ()), _told(series, healthy, scraped))
    return by_namespace


def _told(series: Series, healthy: bool, scraped: bool) -> Target:
    """The same object as long as it tells the same."""
    if series.told is None or series.told.healthy != healthy or series.told.scraped != scraped:
        series.told = Target(series.items, healthy, scraped)
    return series.told
