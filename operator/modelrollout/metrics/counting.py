"""Exact counting from counters: differences of aligned readings, per series, reset-aware. Pure.

``rate()`` and ``increase()`` extrapolate and overlap, so their results neither are integers nor add up. Here the raw
value of every series is read at the two ends of an interval and differenced; the differences are summed.

- A value that fell was reset (the process began anew): what it shows since is the increment. The buckets of one
  histogram fall together.
- A series that was not there at the start began at zero if whoever exports it was scraped then, or if its pod is so
  young that it cannot have been scraped and forgotten: then what it did before its first scrape comes with that. A
  start at which nothing at all was seen (an empty answer, a Prometheus that lost its data) proves no absence: what had
  been counted before would be counted twice.
  Otherwise nobody knows, and its increment is left out of *this* interval rather than being invented.
- A series that is gone at an end of the interval while its exporter was scraped well has ended; if it comes back, it
  began at zero. If the scrape failed, its last value stands: the increment comes with the next good scrape.
- The same exporter may be seen twice: by two replicas of Prometheus, or by two jobs that scrape the same pod. *One of
  them speaks for a pod* in an interval, for all series of a metric alike. The labels that ``up`` has too tell who
  scraped; all others tell the metric's series apart. So two processes of one pod that export the very same
  series on two ports are taken for one: less evidence, but never the same request twice.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from modelrollout.metrics.native import Native
from modelrollout.metrics.snapshot import LOOKBACK, Group, Labels, Line, Row, Scrapers, Shape, Snapshot, Target, Want

__all__ = ["ALL", "Gain", "gains"]

ALL: Final = ""
"""The key of a plain counter's increment in a :class:`Gain`, where a histogram has its bounds."""

_REPLICA_LABELS: Final = frozenset(
    {"replica", "prometheus", "prometheus_replica", "__replica__", "thanos_replica", "cluster_replica"}
    | {"job", "instance"}
)
"""Who scraped, by their usual names: only for series without an ``up`` of their own (federated, pushed)."""
_JOB_AND_INSTANCE: Final = frozenset({"job", "instance"})
_NOT_OF_THE_SERIES: Final = frozenset({"__name__", "le"})


_NOTHING: Final = Native()


@dataclass(slots=True)
class Gain:
    """What one pod added to one want in an interval: by bound (as written, "" for a plain counter), or natively."""

    by_bound: dict[str, float] = field(default_factory=dict)
    native: Native = _NOTHING


@dataclass(frozen=True, slots=True)
class _Place:
    """A series, taken apart: whose it is, who scraped it, what tells it from its siblings, and its bound."""

    group: Group
    scraper: Labels
    key: Labels
    le: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A series of one revision, taken apart."""

    place: _Place
    row: Row

    @property
    def of(self) -> tuple[Labels, str]:
        """Which series of its scraper this is."""
        return self.place.key, self.place.le


_Ends = tuple[tuple[Target, ...], ...]
_Apart = dict[Group, dict[Labels, list[_Seen]]]


@dataclass(frozen=True, slots=True)
class _Pod:
    """Which values of a line are a pod's, by bound, and who scraped it."""

    group: Group
    scraper: Labels
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _TakenApart:
    """The series of a shape, as long as the same targets are seen at both ends."""

    ends: _Ends
    places: tuple[_Place, ...]
    pods: tuple[_Pod, ...] | None
    """The pods; None where one was scraped by two, or one series is there twice."""


def gains(
    before: Snapshot, after: Snapshot, owners: Mapping[Want, str], born: Mapping[str, datetime]
) -> dict[Want, dict[Group, Gain]]:
    """Increments of one revision between two snapshots, by want and pod.

    ``owners``: for each want the owner to count; ``born``: when each pod was created, as far as is known. Pods whose
    start is not known are there with nothing.
    """
    plain = plain_gains(before, after, owners)
    return careful_gains(before, after, owners, born) if plain is None else plain


def plain_gains(before: Snapshot, after: Snapshot, owners: Mapping[Want, str]) -> dict[Want, dict[Group, Gain]] | None:
    """The same where it is a plain difference of every value, which is nearly always; None where it is not.

    The very same series are there at both ends, none is gone, none fell, each pod was scraped by one only: then who
    was scraped how and when decides nothing.
    """
    found: dict[Want, dict[Group, Gain]] = {}
    speakers: dict[tuple[str, Group], Labels] = {}
    for want, owner in owners.items():
        mine: dict[Group, Gain] = {}
        found[want] = mine
        then, now = before.of(want, owner), after.of(want, owner)
        if len(then) != len(now):
            return None
        for earlier, later in zip(then, now, strict=True):
            added = _differences(earlier, later)
            pods = _apart(later.shape, before, after).pods
            if added is None or pods is None:
                return None
            for pod in pods:
                if speakers.setdefault((want.name, pod.group), pod.scraper) != pod.scraper:
                    return None
                by_bound = mine.setdefault(pod.group, Gain()).by_bound
                for le, number in pod.values:
                    by_bound[le] = by_bound.get(le, 0.0) + added[number]
    return found


def _differences(earlier: Line, later: Line) -> list[float] | None:
    """Of every value; None where not all are there at both ends, or one fell."""
    then, now = earlier.numbers, later.numbers
    if earlier.shape is not later.shape or then is None or now is None or any(map(operator.gt, then, now)):
        return None
    return list(map(operator.sub, now, then))


def careful_gains(
    before: Snapshot, after: Snapshot, owners: Mapping[Want, str], born: Mapping[str, datetime]
) -> dict[Want, dict[Group, Gain]]:
    """The same whatever happened in between."""
    earlier = {want: _taken_apart(before.of(want, owner), before, after) for want, owner in owners.items()}
    later = {want: _taken_apart(after.of(want, owner), before, after) for want, owner in owners.items()}
    found: dict[Want, dict[Group, Gain]] = {want: {} for want in owners}
    for name in dict.fromkeys(want.name for want in owners):
        wants = [want for want in owners if want.name == name]
        then, now = _merged(earlier[want] for want in wants), _merged(later[want] for want in wants)
        for group, by_scraper in now.items():
            base = then.get(group, {})
            scraper = _speaker(before, after, group, base, by_scraper)
            start = _Start(before, group, scraper, base.get(scraper, []), born.get(group[1]))
            for want in wants:
                mine = later[want].get(group, {}).get(scraper)
                if mine:
                    found[want][group] = start.gain(earlier[want].get(group, {}).get(scraper, []), mine)
    return found


def _taken_apart(lines: Iterable[Line], before: Snapshot, after: Snapshot) -> _Apart:
    found: _Apart = {}
    for line in lines:
        for place, row in zip(_apart(line.shape, before, after).places, line.rows(), strict=True):
            found.setdefault(place.group, {}).setdefault(place.scraper, []).append(_Seen(place, row))
    return found


def _merged(parts: Iterable[_Apart]) -> _Apart:
    found: _Apart = {}
    for part in parts:
        for group, by_scraper in part.items():
            for scraper, seen in by_scraper.items():
                found.setdefault(group, {}).setdefault(scraper, []).extend(seen)
    return found


def _apart(shape: Shape, before: Snapshot, after: Snapshot) -> _TakenApart:
    """A shape taken apart, anew when other targets are seen."""
    ends = tuple([end.targets.get(group, ()) for group in shape.groups for end in (before, after)])
    known = shape.apart
    if not isinstance(known, _TakenApart) or known.ends != ends:
        known = shape.apart = _take_apart(shape, ends)
    return known


def _take_apart(shape: Shape, ends: _Ends) -> _TakenApart:
    scrapers = {group: _scrapers(*ends[2 * i : 2 * i + 2]) for i, group in enumerate(shape.groups)}
    keys: dict[Labels, Labels] = {}
    places = []
    for one in shape.series:
        scraper = _scraper(one.items, scrapers[one.group])
        key = frozenset(pair for pair in one.items - scraper if pair[0] not in _NOT_OF_THE_SERIES)
        places.append(_Place(one.group, scraper, keys.setdefault(key, key), one.labels.get("le", ALL)))
    speakers = {place.group: place.scraper for place in places}
    twice = len({(place.group, place.key, place.le) for place in places}) < len(places)
    several = any(speakers[place.group] != place.scraper for place in places)
    pods = [
        _Pod(group, scraper, tuple((place.le, i) for i, place in enumerate(places) if place.group == group))
        for group, scraper in speakers.items()
    ]
    return _TakenApart(ends, tuple(places), None if twice or several else tuple(pods))


def _scrapers(*ends: tuple[Target, ...]) -> Scrapers:
    """The labels of all who scraped a group at either end, those with most labels first."""
    every = {target.labels for end in ends for target in end}
    return tuple(sorted(every, key=lambda one: (-len(one), sorted(one))))


def _scraper(labels: Labels, those: Scrapers) -> Labels:
    """Whoever scraped a series: the one of whose labels it has most. Not all, where the metric's own labels win over
    the target's (``honor_labels``) or some are dropped; but its job and instance."""
    best = max(those, key=lambda one: (one <= labels, len(one & labels)), default=None)
    if best is not None:
        identity = {one for one in best if one[0] in _JOB_AND_INSTANCE}
        if best <= labels or (identity and identity <= labels):
            return best
    return frozenset(one for one in labels if one[0] in _REPLICA_LABELS)


def _speaker(
    before: Snapshot,
    after: Snapshot,
    group: Group,
    then: Mapping[Labels, list[_Seen]],
    now: Mapping[Labels, list[_Seen]],
) -> Labels:
    """Who speaks for a pod: one that was scraped well at both ends before one that was there at both; then by name,
    so that it stays the same."""

    def rank(scraper: Labels) -> tuple[bool, bool, list[tuple[str, str]]]:
        both = scraper in then
        well = both and _is_healthy(before, group, scraper, then[scraper])
        well = well and _is_healthy(after, group, scraper, now[scraper])
        return not well, not both, sorted(scraper)

    return min(now, key=rank)


def _target(snapshot: Snapshot, group: Group, scraper: Labels) -> Target | None:
    return next((one for one in snapshot.targets.get(group, ()) if one.labels == scraper), None)


def _is_healthy(snapshot: Snapshot, group: Group, scraper: Labels, seen: Iterable[_Seen]) -> bool:
    """Whether the last scrape succeeded. For what has no ``up``, whether anything of it is there."""
    target = _target(snapshot, group, scraper)
    return target.healthy if target is not None else any(not one.row.gone for one in seen)


class _Start:
    """What is known of one scraper's series of one pod at the start of an interval."""

    def __init__(
        self, before: Snapshot, group: Group, scraper: Labels, then: Sequence[_Seen], born: datetime | None
    ) -> None:
        target = _target(before, group, scraper)
        present = any(not one.row.gone for one in then)
        youngest_forgotten = before.at if before.empty else before.at - LOOKBACK
        self._healthy = _is_healthy(before, group, scraper, then)
        self._absent_is_zero = (
            present or (target is not None and target.scraped) or (born is not None and born >= youngest_forgotten)
        )

    def gain(self, base: Sequence[_Seen], now: Sequence[_Seen]) -> Gain:
        """The increments of a want: of each series since its value at the start, or since zero."""
        found = Gain()
        values = {one.of: one.row for one in base}
        reset = {one.place.key for one in now if self._fell(values.get(one.of), one.row)}
        for one in now:
            start = None if one.place.key in reset else self._value(values.get(one.of), one.row)
            known = one.place.key in reset or start is not None
            if isinstance(one.row.value, Native):
                if known:
                    found.native += one.row.value.since(start) if isinstance(start, Native) else one.row.value
                continue
            gained = one.row.value - (start if isinstance(start, float) else 0.0) if known else 0.0
            found.by_bound[one.place.le] = found.by_bound.get(one.place.le, 0.0) + gained
        return found

    def _ended(self, earlier: Row, now: Row) -> bool:
        """Whether the series had ended before the interval: what it shows now began at zero."""
        return earlier.gone and self._healthy and not now.gone

    def _fell(self, earlier: Row | None, now: Row) -> bool:
        if earlier is None:
            return False
        if isinstance(earlier.value, float) and isinstance(now.value, float) and now.value < earlier.value:
            return True
        return self._ended(earlier, now)

    def _value(self, earlier: Row | None, now: Row) -> float | Native | None:
        """Its value at the start; None when nobody knows."""
        if earlier is not None and type(earlier.value) is type(now.value):
            return earlier.value
        empty: float | Native = Native() if isinstance(now.value, Native) else 0.0
        return empty if self._absent_is_zero else None
