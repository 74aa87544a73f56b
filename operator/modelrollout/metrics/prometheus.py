"""Evidence from Prometheus (or what speaks its API: Thanos, Mimir, VictoriaMetrics).

A gate is a *reading* (what it wants, and how increments become evidence); the *batch* asks for all rollouts at once;
*counting* makes increments of two snapshots. A look over one step reads its two ends, of which the first is usually
remembered; a look over several steps, and the history, are range queries over the very same instants, so that they
count the very same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from modelrollout.api.gate import Gate, IdentityBy
from modelrollout.api.grammar import parse_limit, parse_selector
from modelrollout.api.memo import once
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, Measurement, Problem, ProblemKind, Scraping
from modelrollout.gates.evidence import Arm as Evidence
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.evidence import Reading as Number
from modelrollout.metrics import values
from modelrollout.metrics.alarms import questions
from modelrollout.metrics.base import Arm, Watched
from modelrollout.metrics.batch import Batch, given
from modelrollout.metrics.bounds import Bounds
from modelrollout.metrics.buckets import bounds_text
from modelrollout.metrics.client import TIMEOUT_SECONDS, Client, NotYetError, RefusedQueryError, SourceDownError
from modelrollout.metrics.identity import told_by
from modelrollout.metrics.knowledge import Knowledge, missing_arm, refuse_bucketless, refuse_uncountable
from modelrollout.metrics.readings import (
    HistogramReading,
    RatioReading,
    Reading,
    interval,
    narrowed,
    owner,
    pods_are_the_arms,
    unit_of,
)
from modelrollout.metrics.snapshot import LOOKBACK_TEXT, Shape, Snapshot, Unit, Want

__all__ = ["Prometheus"]

_log = logging.getLogger(__name__)

_INTERVALS_AT_A_TIME: Final = 100
"""A day is counted in pieces, between which the others have their turn."""
_SKEW_SECONDS: Final = 30.0
"""A clock that is further behind is not a matter of patience."""


_Answer = asyncio.Future[list[Snapshot]]


@dataclass(frozen=True, slots=True)
class _Look:
    """What is read: from when to when, for whom."""

    start: datetime
    end: datetime
    step: timedelta
    candidate: Arm | None
    baseline: Arm
    per_pod: bool = False
    preflight: bool = False
    asked: list[tuple[Unit, _Answer, _Answer]] = field(default_factory=list)
    """What Prometheus was asked already for its start and its end."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms there are."""
        return (self.baseline,) if self.candidate is None else (self.candidate, self.baseline)


@dataclass(slots=True)
class _Count:
    """Intervals, one by one, and what each pod of the candidate did over all of them."""

    intervals: list[Interval] = field(default_factory=list)
    pods: dict[str, Evidence] = field(default_factory=dict)

    def add(self, one: Interval, pods: dict[str, Evidence]) -> None:
        """One more interval. One without either arm was not measured."""
        if one.candidate is not None or one.baseline is not None:
            self.intervals.append(one)
        for pod, more in pods.items():
            self.pods[pod] = _sum(self.pods[pod], more) if pod in self.pods else more


class Prometheus:
    """A metrics provider; see the module."""

    def __init__(self, client: Client, *, allow_promql: bool = False) -> None:
        self._client = client
        self._batch = Batch(self._client)
        self._knowledge = Knowledge(self._client)
        self._bounds = Bounds(self._batch)
        self._allow_promql = allow_promql

    @classmethod
    def at(cls, url: str, *, timeout: float = TIMEOUT_SECONDS, allow_promql: bool = False) -> Prometheus:
        """One that lets everybody ask."""
        return cls(Client.at(url, timeout), allow_promql=allow_promql)

    @property
    def queries(self) -> int:
        """How many HTTP requests were sent; benchmarks read it."""
        return self._client.queries

    async def close(self) -> None:
        """Close the connections."""
        await self._batch.close()
        await self._client.close()

    async def measure(self, gates: list[Gate], plan: Plan, candidate: Arm, baseline: Arm) -> Measurement:
        """What both arms did; see :class:`modelrollout.metrics.base.MetricsProvider`."""

        def look(gate: Gate) -> _Look:
            start = plan.starts[gate.name]
            return _Look(start, plan.end, plan.step, candidate, baseline, gate.name in plan.per_pod, plan.preflight)

        measured = [gate for gate in gates if gate.report is None]
        looks = [look(gate) for gate in measured]
        ahead = [self._ask_ahead(gate, one) for gate, one in zip(measured, looks, strict=True)]
        both = list(zip(measured, looks, strict=True))
        if all(ahead):  # then they need no tasks of their own, which would cost as much as the counting
            found = [await self._measured(gate, one) for gate, one in both]
        else:
            found = await asyncio.gather(*(self._measured(gate, one) for gate, one in both))
        complete = min((until for _, until in found), default=plan.end)
        return Measurement(
            start=min(plan.starts.values(), default=plan.end),
            # A gate that is read anew starts before what the others have counted already.
            end=max(complete, max(plan.starts.values(), default=plan.end)),
            gates={gate.name: one for gate, (one, _) in zip(measured, found, strict=True)},
        )

    async def history(
        self, gates: list[Gate], start: datetime, end: datetime, step: timedelta, baseline: Arm
    ) -> Measurement:
        """What the baseline did; see :class:`modelrollout.metrics.base.MetricsProvider`."""
        measured = [gate for gate in gates if gate.report is None]
        look = _Look(start, end, step, None, baseline)
        found = await asyncio.gather(*(self._measured(gate, look) for gate in measured))
        return Measurement(
            start=start,
            end=min((until for _, until in found), default=end),
            gates={gate.name: one for gate, (one, _) in zip(measured, found, strict=True)},
        )

    async def alarms(self, watched: Sequence[Watched], at: datetime, window: timedelta) -> frozenset[tuple[str, str]]:
        """Whom to look at now; see :class:`modelrollout.metrics.base.MetricsProvider`."""
        found: set[tuple[str, str]] = set()
        waiting = list(questions(watched, window))
        while waiting:
            question = waiting.pop()
            try:
                found.update(question.alarmed((await self._client.instant(question.promql, at)).result))
            except RefusedQueryError:
                waiting += question.halves()
            except (SourceDownError, LookupError, TypeError, ValueError) as error:  # the looks themselves tell people
                _log.debug("nobody is watched between two looks: %s", error)
        return frozenset(found)

    def _ask_ahead(self, gate: Gate, look: _Look) -> bool:
        """Ask for what the gate was read by the last time, so that all gates' questions go out together; whether that
        is known."""
        unit = _last_unit(gate).get(look.baseline.namespace)
        if unit is None or look.end - look.start >= 2 * look.step:
            return False
        self._ask_ends(unit, look)
        return True

    def _ask_ends(self, unit: Unit, look: _Look) -> tuple[_Answer, _Answer]:
        """Ask for both ends of a look, once."""
        for known, start, end in look.asked:
            if known is unit:
                return start, end
        end, start = (self._batch.ask(unit, look.baseline.namespace, at, look.step) for at in (look.end, look.start))
        look.asked.append((unit, start, end))
        return start, end

    async def _measured(self, gate: Gate, look: _Look) -> tuple[GateMeasurement, datetime]:
        """The measurement, and up to when it is complete."""
        query = _display(gate, look.candidate or look.baseline)
        kind = ProblemKind.SOURCE_DOWN
        measure = self._value if gate.value is not None else self._counted if look.candidate is not None else self._past
        try:
            found, until = await measure(gate, look)
            return replace(found, query=query), until
        except NotYetError as error:
            if error.seconds <= _SKEW_SECONDS:
                return GateMeasurement(query=query), look.start
            text = (
                f"Prometheus' clock is {error.seconds:.0f} s behind the operator's, so the last intervals cannot be "
                "read: let both machines follow a time server"
            )
        except SourceDownError as error:
            text = str(error)
        except (RefusedQueryError, ValueError) as error:
            kind, text = ProblemKind.MISCONFIGURED, str(error)
        return GateMeasurement(problem=Problem(kind, text), query=query), look.end

    async def _counted(self, gate: Gate, look: _Look) -> tuple[GateMeasurement, datetime]:
        reading = await self._reading(gate, look)
        snapshots = await self._snapshots(reading, look)
        problem, reading = await self._problem(reading, snapshots[-1], look)
        until = snapshots[-1].at
        scraping = _scraping(gate, snapshots[-1], look) if look.preflight else None
        if problem is not None and problem.kind is not ProblemKind.BASELINE_MISSING:
            return GateMeasurement(problem=problem, scraping=scraping), until
        count = _Count()
        by_pod = look.per_pod and pods_are_the_arms(gate)
        for before, after in itertools.pairwise(snapshots):
            count.add(*interval(reading, before, after, look.candidate, look.baseline, by_pod=by_pod))
        return GateMeasurement(
            tuple(count.intervals),
            problem,
            pods=count.pods if by_pod else None,
            note=_note(reading, count.intervals),
            scraping=scraping,
        ), until

    async def _past(self, gate: Gate, look: _Look) -> tuple[GateMeasurement, datetime]:
        reading = await self._reading(gate, look)
        unit = narrowed(unit_of(reading), gate, look.baseline)
        count = _Count()
        before: Snapshot | None = None
        renamed = dict(zip(unit, unit_of(reading), strict=True))
        async for found in self._batch.past(unit, look.baseline.namespace, look.start, look.end, look.step):
            after = replace(found, rows={renamed[want]: rows for want, rows in found.rows.items()})
            if isinstance(reading, HistogramReading):
                reading = reading.suited_to(after, look.baseline)
            if before is not None:
                one, _ = interval(reading, before, after, None, look.baseline)
                count.add(one, {})
                if len(count.intervals) % _INTERVALS_AT_A_TIME == 0:
                    await asyncio.sleep(0)
            before = after
        problem = None
        if not count.intervals:
            text = f"there is no history of {reading.wants[-1].name} ({told_by(gate.identity, look.baseline)})"
            problem = Problem(ProblemKind.BASELINE_MISSING, text)
        until = look.start if before is None else before.at
        return GateMeasurement(tuple(count.intervals), problem, note=_note(reading, count.intervals)), until

    async def _reading(self, gate: Gate, look: _Look) -> Reading:
        """The gate compiled, with the buckets that it needs."""
        if gate.ratio is not None:
            reading = _ratio(gate)
            for want in reading.wants:
                refuse_uncountable(want.name, await self._knowledge.types_of(want.name))
            return reading
        known = _histograms(gate)
        bounds = await self._bounds.around_limit(known[()], look.arms, look.end, look.step)
        if bounds not in known:
            known[bounds] = replace(known[()], bounds=bounds)
        return known[bounds]

    async def _snapshots(self, reading: Reading, look: _Look) -> list[Snapshot]:
        unit, namespace = unit_of(reading), look.baseline.namespace
        if look.end - look.start >= 2 * look.step:
            return await self._batch.over(unit, namespace, look.start, look.end, look.step)
        _last_unit(reading.gate)[namespace] = unit
        start, end = self._ask_ends(unit, look)
        (after,) = await given(end)  # its error first: it tells by how much a clock is behind
        (before,) = await given(start)
        if _is_steady(reading, before, after, look):
            return [before, after]
        return await self._batch.both(unit, namespace, look.start, look.end)

    async def _problem(self, reading: Reading, after: Snapshot, look: _Look) -> tuple[Problem | None, Reading]:
        """What keeps the gate from being judged, if anything; and the reading for the kind of histogram there is."""
        gate, candidate = reading.gate, look.candidate
        assert candidate is not None
        if isinstance(reading, HistogramReading):
            reading = await self._of_the_right_kind(reading, after, candidate, look.baseline)
            name = reading.selector.name if reading.native else reading.classic_want.name
        else:
            name = reading.wants[-1].name
        problem = missing_arm(
            name,
            gate,
            ours=reading.shown_by(after, candidate),
            theirs=reading.shown_by(after, look.baseline),
            anybody=any(after.any_of(want) for want in reading.tells_traffic),
            arms=(candidate, look.baseline),
        )
        if problem is not None:
            return problem, reading
        if isinstance(reading, HistogramReading):
            if not reading.shown_by(after, candidate):
                return await self._knowledge.unknown_name(
                    replace(reading.selector, name=name), candidate.namespace
                ), reading
            return _unequal_bounds(reading, after, candidate, look.baseline), reading
        assert isinstance(reading, RatioReading)
        counted, rest = reading.selectors
        if not any(after.any_of(want) for want in reading.tells_traffic):
            return await self._knowledge.unknown_name(rest, candidate.namespace), reading
        if after.any_of(reading.wants[0]):
            return None, reading
        same = counted.name == rest.name
        return await self._knowledge.never_seen(counted, candidate.namespace, same_name=same), reading

    async def _of_the_right_kind(
        self, reading: HistogramReading, after: Snapshot, candidate: Arm, baseline: Arm
    ) -> HistogramReading:
        suited = reading.suited_to(after, candidate)
        if not suited.shown_by(after, candidate):
            suited = reading.suited_to(after, baseline)
        self._bounds.forget_if_changed(suited, after, (candidate, baseline))
        if not any(suited.shown_by(after, arm) for arm in (candidate, baseline)):
            types = await self._knowledge.types_of(reading.selector.name)
            refuse_bucketless(reading.selector.name, types, "latency" if reading.gate.latency else "drift")
        return suited

    async def _value(self, gate: Gate, look: _Look) -> tuple[GateMeasurement, datetime]:
        assert gate.value is not None
        if not self._allow_promql:
            raise RefusedQueryError(values.NOT_ALLOWED)
        relative = parse_limit(gate.at_most or gate.at_least or "").relative
        compared = relative or look.candidate is None
        step = look.step if look.end - look.start >= 2 * look.step else look.end - look.start

        async def numbers(arm: Arm | None) -> tuple[dict[datetime, float], datetime]:
            if arm is None or gate.value is None:
                return {}, look.end
            return await values.readings(self._client, gate.value.promql, arm, look.start, look.end, step)

        (ours, one), (theirs, other) = await asyncio.gather(
            numbers(look.candidate), numbers(look.baseline if compared else None)
        )
        intervals = tuple(
            Interval(at - step, at, _number(ours.get(at)), _number(theirs.get(at))) for at in sorted({*ours, *theirs})
        )
        problem = None
        if look.candidate is not None and not ours:
            problem = Problem(ProblemKind.METRIC_MISSING, "value.promql gives no number for the candidate")
        elif relative and not theirs:
            problem = Problem(ProblemKind.BASELINE_MISSING, "value.promql gives no number for the baseline")
        return GateMeasurement(intervals, problem), min(one, other)


@once
def _ratio(gate: Gate) -> RatioReading:
    return RatioReading(gate)


@once
def _histograms(gate: Gate) -> dict[tuple[str, ...], HistogramReading]:
    """A gate's readings, by the buckets that are read."""
    return {(): HistogramReading(gate)}


def _is_steady(reading: Reading, before: Snapshot, after: Snapshot, look: _Look) -> bool:
    """Whether all arms show the very same series at both ends: then nothing that is gone can count. Before its first
    traffic a candidate need not show any."""
    for whose in [owner(reading.gate, arm) for arm in look.arms]:
        if not look.preflight and not any(after.of(want, whose) for want in reading.tells_traffic):
            return False
        if any(_shapes(before, want, whose) != _shapes(after, want, whose) for want in reading.wants):
            return False
    return True


def _shapes(snapshot: Snapshot, want: Want, whose: str) -> list[Shape]:
    return [line.shape for line in snapshot.of(want, whose)]


@once
def _last_unit(gate: Gate) -> dict[str, Unit]:
    """What a gate was read by the last time, by namespace."""
    return {}


@once
def _shown(gate: Gate) -> dict[tuple[str, ...], str]:
    """What people are shown as a gate's query, by the names of an arm."""
    return {}


def _sum(one: Evidence, other: Evidence) -> Evidence:
    if isinstance(one, Counts) and isinstance(other, Counts):
        return one + other
    assert isinstance(one, Histogram) and isinstance(other, Histogram)
    return one + other


def _number(value: float | None) -> Number | None:
    return None if value is None else Number(value)


def _scraping(gate: Gate, seen: Snapshot, look: _Look) -> Scraping | None:
    """Who is scraped, out of what was read anyway: a pod's increments need to know it too."""
    if not pods_are_the_arms(gate) or look.candidate is None:
        return None
    visited = {
        pod: any(target.healthy for target in targets)
        for (namespace, pod), targets in seen.targets.items()
        if namespace == look.baseline.namespace and any(("pod", pod) in target.labels for target in targets)
    }
    ours, theirs = ({pod for pod in visited if pod in arm.pods} for arm in (look.candidate, look.baseline))
    return Scraping(
        candidate=sum(visited[pod] for pod in ours),
        baseline=sum(visited[pod] for pod in theirs),
        failing=tuple(sorted(pod for pod in ours if not visited[pod])),
        others=len(visited) - len(ours) - len(theirs),
    )


def _note(reading: Reading, intervals: Sequence[Interval]) -> str:
    if not isinstance(reading, HistogramReading) or not intervals:
        return ""
    return reading.note(intervals[-1].candidate or intervals[-1].baseline)


def _unequal_bounds(reading: HistogramReading, after: Snapshot, candidate: Arm, baseline: Arm) -> Problem | None:
    """Distributions can be compared only between the same bounds."""
    if reading.gate.drift is None or reading.native or reading.gate.drift.reference is not None:
        return None
    ours, theirs = (reading.bounds_of(after, arm) for arm in (candidate, baseline))
    if ours == theirs or not ours or not theirs:
        return None
    text = (
        f"{reading.selector.name} has other buckets in the candidate ({bounds_text(sorted(ours), seconds=False)}) than "
        f"in the baseline ({bounds_text(sorted(theirs), seconds=False)}): give both the same"
    )
    return Problem(ProblemKind.MISCONFIGURED, text)


def _display(gate: Gate, arm: Arm) -> str:
    """The gate's value in PromQL, for people to paste; the operator itself counts exactly."""
    known, names = _shown(gate), (arm.revision, arm.namespace, arm.name, arm.service, str(arm.port))
    if names not in known:
        known[names] = _in_promql(gate, arm)
    return known[names]


def _in_promql(gate: Gate, arm: Arm) -> str:
    if gate.value is not None:
        try:
            return values.substituted(gate.value.promql, arm)
        except RefusedQueryError:
            return gate.value.promql
    extra = told_by(gate.identity, arm)
    if gate.identity.by is not IdentityBy.SERVICE:
        extra = f'namespace="{arm.namespace}",{extra}'
    named = gate.latency or gate.drift
    if named is not None:
        inner = parse_selector(named.histogram).promql(suffix="_bucket", extra=extra)
        buckets = f"sum by (le) (rate({inner}[{LOOKBACK_TEXT}]))"
        return f"histogram_quantile({gate.latency.quantile}, {buckets})" if gate.latency is not None else buckets
    assert gate.ratio is not None
    counted = f"sum(rate({parse_selector(gate.ratio.counted).promql(extra=extra)}[{LOOKBACK_TEXT}]))"
    rest = f"sum(rate({parse_selector(gate.ratio.rest).promql(extra=extra)}[{LOOKBACK_TEXT}]))"
    return f"{counted} / ({counted} + {rest})" if gate.ratio.others is not None else f"{counted} / {rest}"
