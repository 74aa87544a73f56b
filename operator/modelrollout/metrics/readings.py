"""What each kind of gate wants to be read, and how the increments of an interval become its evidence. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from modelrollout.api.gate import Gate, IdentityBy
from modelrollout.api.grammar import Selector, parse_limit, parse_selector
from modelrollout.api.memo import once
from modelrollout.gates.evidence import Arm as Evidence
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.metrics.base import Arm
from modelrollout.metrics.buckets import histogram, le_matcher, note_on_limit, seconds_per_unit
from modelrollout.metrics.counting import ALL, Gain, gains
from modelrollout.metrics.identity import (
    by_pod_name,
    identity_label,
    identity_value,
    matcher,
    pods_pattern,
    service_template,
)
from modelrollout.metrics.native import bounds_around, bounds_everywhere, cumulative, total
from modelrollout.metrics.snapshot import Group, Kind, Snapshot, Unit, Want, quoted

__all__ = [
    "HistogramReading",
    "PodGains",
    "RatioReading",
    "Reading",
    "absolute_limit",
    "interval",
    "narrowed",
    "owner",
    "per_pod",
    "pods_are_the_arms",
    "unit_of",
    "want",
]

PodGains = Mapping[Want, Gain]
"""What one pod added to each want."""
Maker = Callable[[Iterable[PodGains]], Evidence]

_LATENCY_SCHEMA = 2
"""Native buckets a fifth apart, for limits that move with the baseline."""
_DRIFT_SCHEMA = 1


class Reading(Protocol):
    """One gate, as it is read."""

    @property
    def gate(self) -> Gate:
        """The gate."""
        ...

    @property
    def wants(self) -> tuple[Want, ...]:
        """Its series."""
        ...

    @property
    def tells_traffic(self) -> tuple[Want, ...]:
        """Those of its series of which one at least is there as soon as there are requests."""
        ...

    def shown_by(self, snapshot: Snapshot, arm: Arm) -> bool:
        """Whether the arm has series that tell its requests."""
        ...

    def maker(self, everything: Sequence[PodGains]) -> Maker:
        """How increments become evidence, the same way for all pods of both arms (``everything``)."""
        ...


def want(gate: Gate, selector: Selector, suffix: str = "", more: str = "", kind: Kind = Kind.SERIES) -> Want:
    """A metric as it is asked for by a gate."""
    matchers = ",".join(part for part in (selector.matchers, more) if part)
    identity = gate.identity
    label, template = identity_label(identity), service_template(identity)
    if kind is not Kind.TARGETS:
        return Want.of(selector.name + suffix, matchers, label, template, kind)
    # Who was scraped in a namespace is the same question for every metric of it.
    return Want.of(selector.name + suffix if template else "up", template=template and "any", kind=kind)


def owner(gate: Gate, arm: Arm) -> str:
    """An arm as the owner of its series."""
    return arm.name if by_pod_name(gate.identity, arm) else identity_value(gate.identity, arm)


@once
def unit_of(reading: Reading) -> Unit:
    """Everything that has to be read together for a gate."""
    name = reading.wants[-1].name
    plain = f"{name.removesuffix('_bucket')}_count" if name.endswith("_bucket") else name
    targets = want(reading.gate, Selector(plain, ""), kind=Kind.TARGETS)
    return (*reading.wants, targets)


def narrowed(unit: Unit, gate: Gate, arm: Arm) -> Unit:
    """The same of one revision alone."""
    series = by_pod_name(gate.identity, arm)
    mine = f"pod=~{quoted(pods_pattern(arm))}" if series else matcher(identity_label(gate.identity), owner(gate, arm))
    return tuple(replace(one, narrow=mine) if series or one.kind is not Kind.TARGETS else one for one in unit)


@once
def absolute_limit(gate: Gate) -> float | None:
    """The limit of a latency in seconds; None when it moves with the baseline."""
    limit = parse_limit(gate.at_most or gate.at_least or "")
    return None if gate.latency is None or limit.relative else limit.offset


@dataclass(frozen=True)
class RatioReading:
    """Two counters."""

    gate: Gate

    @cached_property
    def counted(self) -> Want:
        """The good or bad events."""
        return want(self.gate, self.selectors[0])

    @cached_property
    def rest(self) -> Want:
        """All events, or all others."""
        return want(self.gate, self.selectors[1])

    @property
    def adds_up(self) -> bool:
        """Whether all events are both together."""
        return self.gate.ratio is not None and self.gate.ratio.others is not None

    @cached_property
    def selectors(self) -> tuple[Selector, Selector]:
        """Both, as the gate has them."""
        assert self.gate.ratio is not None
        return parse_selector(self.gate.ratio.counted), parse_selector(self.gate.ratio.rest)

    @cached_property
    def wants(self) -> tuple[Want, ...]:
        """Both, the denominator last."""
        return self.counted, self.rest

    @property
    def tells_traffic(self) -> tuple[Want, ...]:
        """The denominator, or its parts."""
        return self.wants if self.adds_up else (self.rest,)

    def shown_by(self, snapshot: Snapshot, arm: Arm) -> bool:
        """Whether the denominator is there."""
        return any(snapshot.of(one, owner(self.gate, arm)) for one in self.tells_traffic)

    def maker(self, everything: Sequence[PodGains]) -> Maker:
        """Sums; good events are turned around."""
        counted, rest, adds_up = self.counted, self.rest, self.adds_up
        turned = self.gate.ratio is not None and self.gate.ratio.good is not None

        def make(pods: Iterable[PodGains]) -> Evidence:
            some = total = 0.0
            for pod in pods:
                some += pod[counted].by_bound.get(ALL, 0.0) if counted in pod else 0.0
                total += pod[rest].by_bound.get(ALL, 0.0) if rest in pod else 0.0
            total += some if adds_up else 0.0
            return Counts(total - some if turned else some, total)

        return make


@dataclass(frozen=True)
class HistogramReading:
    """A histogram, classic or native. ``bounds``: the buckets to read, as written; empty for all."""

    gate: Gate
    native: bool = False
    bounds: tuple[str, ...] = ()

    @cached_property
    def selector(self) -> Selector:
        """The histogram without ``_bucket``."""
        named = self.gate.latency or self.gate.drift
        assert named is not None
        return parse_selector(named.histogram)

    @cached_property
    def unit(self) -> float:
        """Seconds per unit of a bound; of a drift's bounds, which are no times, 1."""
        latency = self.gate.latency
        return 1.0 if latency is None else seconds_per_unit(self.selector.name, latency.unit)

    @cached_property
    def classic_want(self) -> Want:
        """The series of the buckets."""
        return want(self.gate, self.selector, "_bucket", le_matcher(self.bounds) if self.bounds else "")

    @cached_property
    def native_want(self) -> Want:
        """The native histogram."""
        return want(self.gate, self.selector)

    @cached_property
    def wants(self) -> tuple[Want, ...]:
        """Both, because nobody knows beforehand which there is."""
        return self.native_want, self.classic_want

    @property
    def tells_traffic(self) -> tuple[Want, ...]:
        """The buckets."""
        return (self.classic_want,)

    def suited_to(self, snapshot: Snapshot, arm: Arm) -> HistogramReading:
        """The same for the kind of histogram that the arm has: classic if it has both, for its bounds were chosen."""
        whose = owner(self.gate, arm)
        native = not snapshot.of(self.classic_want, whose) and bool(snapshot.of(self.native_want, whose))
        return self if native == self.native else replace(self, native=native)

    def shown_by(self, snapshot: Snapshot, arm: Arm) -> bool:
        """Whether the arm has the kind that is read."""
        lines = snapshot.of(self.native_want if self.native else self.classic_want, owner(self.gate, arm))
        return any(isinstance(value, float) != self.native for line in lines for value in line.values)

    def bounds_of(self, snapshot: Snapshot, arm: Arm) -> set[float]:
        """The classic bounds that an arm has, in seconds if they are times."""
        return {float(le) * self.unit for le in self.buckets_of(snapshot, arm)}

    def buckets_of(self, snapshot: Snapshot, arm: Arm) -> frozenset[str]:
        """The same as they are written."""
        return frozenset().union(*(line.shape.bounds for line in snapshot.of(self.classic_want, owner(self.gate, arm))))

    def maker(self, everything: Sequence[PodGains]) -> Maker:
        """Cumulative counts: at the bounds that were read, or at those that the resolution gives."""
        unit = self.unit
        if not self.native:
            return lambda pods: histogram(
                _added([pod[self.classic_want].by_bound for pod in pods if self._in(pod)]), unit
            )
        natives = [pod[self.native_want].native for pod in everything if self._in(pod)]
        limit = absolute_limit(self.gate)
        if limit is not None:
            bounds = bounds_around(limit / unit, natives)
        else:
            bounds = bounds_everywhere(natives, _LATENCY_SCHEMA if self.gate.latency else _DRIFT_SCHEMA)
        return lambda pods: cumulative(
            total([pod[self.native_want].native for pod in pods if self._in(pod)]), bounds, unit
        )

    def _in(self, pod: PodGains) -> bool:
        return (self.native_want if self.native else self.classic_want) in pod

    def note(self, evidence: Evidence | None) -> str:
        """What to know of the bounds around an absolute limit."""
        limit = absolute_limit(self.gate)
        if limit is None or not isinstance(evidence, Histogram):
            return ""
        return note_on_limit(evidence.bounds, limit)


def _added(parts: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    first, *others = parts or ({},)
    if not others:
        return first
    sums = dict(first)
    for part in others:
        for le, count in part.items():
            sums[le] = sums.get(le, 0.0) + count
    return sums


def per_pod(reading: Reading, before: Snapshot, after: Snapshot, arm: Arm) -> dict[Group, dict[Want, Gain]]:
    """What each pod of an arm added."""
    whose = owner(reading.gate, arm)
    found: dict[Group, dict[Want, Gain]] = {}
    for one, by_group in gains(before, after, dict.fromkeys(reading.wants, whose), arm.pods).items():
        for group, gain in by_group.items():
            found.setdefault(group, {})[one] = gain
    return found


def interval(
    reading: Reading, before: Snapshot, after: Snapshot, candidate: Arm | None, baseline: Arm, *, by_pod: bool = False
) -> tuple[Interval, dict[str, Evidence]]:
    """What both arms did between two snapshots, and, ``by_pod``, what each pod of the candidate did."""
    ours = per_pod(reading, before, after, candidate) if candidate is not None else {}
    theirs = per_pod(reading, before, after, baseline)
    make = reading.maker([*ours.values(), *theirs.values()])
    found = Interval(
        before.at,
        after.at,
        make(ours.values()) if candidate is not None and reading.shown_by(after, candidate) else None,
        make(theirs.values()) if reading.shown_by(after, baseline) else None,
        _halves(theirs, make) if pods_are_the_arms(reading.gate) else None,
    )
    return found, {group[1]: make([one]) for group, one in ours.items()} if by_pod else {}


def pods_are_the_arms(gate: Gate) -> bool:
    """Whether series come from the revision's own pods, not from a gateway's or a frontend's."""
    return gate.identity.by in (IdentityBy.POD_NAME, IdentityBy.POD_LABEL)


def _halves(pods: Mapping[Group, PodGains], make: Maker) -> tuple[Evidence, Evidence] | None:
    """Every other pod by name: even halves, and the same ones as long as the pods are the same."""
    if len(pods) < 2:
        return None
    names = sorted(pods)
    return make(pods[name] for name in names[::2]), make(pods[name] for name in names[1::2])
