"""Evidence from Prometheus (or what speaks its API: Thanos, Mimir, VictoriaMetrics).

The hot path is asynchronous HTTP on one session: it is cancelled cleanly, times out, and keeps the warnings that make a
partial answer recognisable. ``prometheus-api-client``, which is synchronous and drops warnings, serves where neither
matters: listing names to say "did you mean".

One query returns a metric of all pods of a namespace; rollouts that share a metric share the answer, and the reading at
the end of one interval is the reading at the start of the next.

Source: Prometheus HTTP API v1, /api/v1/query.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import math
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from modelrollout.api.gate import Gate, IdentityBy, MetricIdentity
from modelrollout.api.grammar import Selector, parse_selector
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, Measurement, Problem, ProblemKind
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.metrics.base import Arm
from modelrollout.metrics.counting import (
    Readings,
    belongs,
    histogram,
    identity_label,
    identity_pattern,
    identity_value,
    increment,
    increments_by_bound,
    seconds_per_unit,
)
from modelrollout.transport import words

__all__ = ["Prometheus"]

_LOOKBACK: Final = "5m"
_TIMEOUT_SECONDS: Final = 5.0
_REMEMBERED: Final = 512
_KNOWN_FOR_SECONDS: Final = 60.0
_UNKNOWN_FOR_SECONDS: Final = 5.0
_QUOTED: Final = re.compile(r'"(\\.|[^"\\])*"')
_LABEL_NAME: Final = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*[=!]")
_NOT_COUNTERS: Final = frozenset({"gauge", "gaugehistogram", "summary", "info", "stateset"})


class _SourceDownError(Exception):
    """Prometheus did not give a whole answer."""


class _RefusedQueryError(Exception):
    """Prometheus refuses the query itself."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One metric of a gate read at both ends of the interval."""

    before: Readings
    after: Readings

    def gained(
        self, identity: MetricIdentity, arm: Arm, scraped: frozenset[tuple[str, str]], start: datetime
    ) -> dict[str, float]:
        """Increments of one arm, by bucket."""
        return increments_by_bound(self.before, self.after, identity=identity, arm=arm, scraped=scraped, start=start)


class Prometheus:
    """A metrics provider; see the module."""

    def __init__(self, url: str, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._answers: OrderedDict[tuple[str, datetime], asyncio.Future[Readings]] = OrderedDict()
        self._names: tuple[float, list[str]] = (-math.inf, [])
        self._known: dict[tuple[str, str], tuple[float, asyncio.Future[object]]] = {}
        self.queries = 0
        """How many HTTP requests were sent; benchmarks read it."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def measure(self, gates: list[Gate], plan: Plan, candidate: Arm, baseline: Arm) -> Measurement:
        """What both arms did; see :class:`modelrollout.metrics.base.MetricsProvider`."""
        found = await asyncio.gather(
            *(self._measure_gate(gate, plan.starts[gate.name], plan.end, candidate, baseline) for gate in gates)
        )
        return Measurement(
            start=min(plan.starts.values()),
            end=plan.end,
            gates={gate.name: one for gate, one in zip(gates, found, strict=True)},
        )

    async def _measure_gate(
        self, gate: Gate, start: datetime, end: datetime, candidate: Arm, baseline: Arm
    ) -> GateMeasurement:
        query = _display(gate, candidate)
        try:
            if gate.latency is not None:
                return await self._latency(
                    gate, parse_selector(gate.latency.histogram), start, end, candidate, baseline
                )
            return await self._ratio(gate, start, end, candidate, baseline)
        except _SourceDownError as error:
            return GateMeasurement(problem=Problem(ProblemKind.SOURCE_DOWN, str(error)), query=query)
        except (_RefusedQueryError, ValueError) as error:
            return GateMeasurement(problem=Problem(ProblemKind.MISCONFIGURED, str(error)), query=query)

    async def _ratio(
        self, gate: Gate, start: datetime, end: datetime, candidate: Arm, baseline: Arm
    ) -> GateMeasurement:
        assert gate.ratio is not None
        counted = parse_selector(gate.ratio.good or gate.ratio.bad or "")
        total = parse_selector(gate.ratio.total)
        identity, namespace = gate.identity, candidate.namespace
        events, everything, scraped, counted_types, total_types = await asyncio.gather(
            self._side(counted, identity, namespace, start, end),
            self._side(total, identity, namespace, start, end),
            self._scraped(identity, namespace, start),
            self._types_of(counted.name),
            self._types_of(total.name),
        )
        query = _display(gate, candidate)
        _refuse_uncountable(counted.name, counted_types)
        _refuse_uncountable(total.name, total_types)
        problem = await self._problem(everything.after, total, identity, candidate, baseline)
        if problem is None and not events.after:
            problem = await self._never_seen(counted, namespace, same_name=counted.name == total.name)
        if problem is not None and problem.kind is not ProblemKind.BASELINE_MISSING:
            return GateMeasurement(problem=problem, query=query)

        def arm_counts(arm: Arm) -> Counts:
            some = increment(events.gained(identity, arm, scraped, start))
            every = increment(everything.gained(identity, arm, scraped, start))
            bad = every - some if gate.ratio and gate.ratio.good else some
            return Counts(min(max(bad, 0.0), every), every)

        interval = Interval(start, end, arm_counts(candidate), arm_counts(baseline))
        return GateMeasurement((interval,), problem=problem, query=query)

    async def _latency(
        self, gate: Gate, selector: Selector, start: datetime, end: datetime, candidate: Arm, baseline: Arm
    ) -> GateMeasurement:
        identity, namespace = gate.identity, candidate.namespace
        buckets = Selector(f"{selector.name}_bucket", selector.matchers)
        side, scraped, types = await asyncio.gather(
            self._side(buckets, identity, namespace, start, end, by_bound=True),
            self._scraped(identity, namespace, start),
            self._types_of(selector.name),
        )
        query = _display(gate, candidate)
        _refuse_bucketless(selector.name, types, bool(side.after))
        unit = seconds_per_unit(selector.name)
        problem = await self._problem(side.after, buckets, identity, candidate, baseline)
        if problem is not None and problem.kind is not ProblemKind.BASELINE_MISSING:
            return GateMeasurement(problem=problem, query=query)

        def arm_histogram(arm: Arm) -> Histogram:
            return histogram(side.gained(identity, arm, scraped, start), unit)

        interval = Interval(start, end, arm_histogram(candidate), arm_histogram(baseline))
        return GateMeasurement((interval,), problem=problem, query=query)

    async def _side(
        self,
        selector: Selector,
        identity: MetricIdentity,
        namespace: str,
        start: datetime,
        end: datetime,
        *,
        by_bound: bool = False,
    ) -> _Side:
        label = identity_label(identity)
        by_service = identity.by is IdentityBy.SERVICE
        extra = (
            f"{label}=~{_quoted(identity_pattern(identity, namespace))}" if by_service else f'namespace="{namespace}"'
        )
        groups = ["namespace", "pod", *([label] if label else []), *(["le"] if by_bound else [])]
        query = f"sum by ({', '.join(groups)}) (last_over_time({selector.promql(extra=extra)}[{_LOOKBACK}]))"
        before, after = await asyncio.gather(self._read(query, label, start), self._read(query, label, end))
        return _Side(before, after)

    async def _scraped(self, identity: MetricIdentity, namespace: str, at: datetime) -> frozenset[tuple[str, str]]:
        """Targets that were being scraped at an instant."""
        matcher = "" if identity.by is IdentityBy.SERVICE else f'{{namespace="{namespace}"}}'
        found = await self._read(f"sum by (namespace, pod) (last_over_time(up{matcher}[{_LOOKBACK}]))", "", at)
        return frozenset((key[0], key[1]) for key in found)

    async def _problem(
        self, after: Readings, selector: Selector, identity: MetricIdentity, candidate: Arm, baseline: Arm
    ) -> Problem | None:
        """Which arm has no series of the metric, if any."""
        ours = any(belongs(key, identity, candidate) for key in after)
        theirs = any(belongs(key, identity, baseline) for key in after)
        if ours and theirs:
            return None
        if theirs:
            text = f"no series of {selector.name} for the candidate ({_told_by(identity, candidate)})"
            return Problem(ProblemKind.CANDIDATE_MISSING, text)
        if ours:
            text = f"no series of {selector.name} for the baseline ({_told_by(identity, baseline)})"
            return Problem(ProblemKind.BASELINE_MISSING, text)
        if after:
            text = (
                f"{selector.name} has series, but none with {_told_by(identity, candidate)}; relabel the pod's name to "
                "`pod` (a PodMonitor does), or say gates[].identity"
            )
            return Problem(ProblemKind.METRIC_MISSING, text)
        return await self._unknown_name(selector, candidate.namespace)

    async def _never_seen(self, selector: Selector, namespace: str, *, same_name: bool) -> Problem | None:
        """Whether events that nobody has seen can happen at all: a healthy service has no series of its errors.

        A name that Prometheus does not know, or a label that the metric does not have, is a slip of the pen that would
        let every candidate pass.
        """
        if not same_name and selector.name not in await self._all_names(with_=selector.name):
            return await self._unknown_name(selector, namespace)
        named = set(_LABEL_NAME.findall(_QUOTED.sub("", selector.matchers)))
        if not named:
            return None
        known = await self._labels_of(selector.name)
        unknown = sorted(named - known)
        if not unknown or not known:
            return None
        has = ", ".join(sorted(known - {"__name__"}))
        text = f"no series of {selector.name} has a label {unknown[0]} (its labels are {has})"
        return Problem(ProblemKind.METRIC_MISSING, text)

    async def _labels_of(self, name: str) -> frozenset[str]:
        """Names of a metric's labels; empty when nobody says."""
        found = await self._look_up("labels", "match[]", name)
        return frozenset(str(label) for label in found) if isinstance(found, list) else frozenset()

    async def _unknown_name(self, selector: Selector, namespace: str) -> Problem:
        near = difflib.get_close_matches(selector.name, await self._all_names(with_=selector.name), n=3, cutoff=0.6)
        if selector.name in near:
            text = f"{selector.name} has no series in namespace {namespace} that match {selector.promql()}"
        else:
            hint = f"; near names are {', '.join(near)}" if near else ""
            text = f"Prometheus knows no metric {selector.name}{hint}"
        return Problem(ProblemKind.METRIC_MISSING, f"{text}. Are the pods scraped, and have they had requests?")

    async def _all_names(self, *, with_: str) -> list[str]:
        """Names of all metrics: a minute old at most, and a few seconds when the one that is sought is not there."""
        at, names = self._names
        age = time.monotonic() - at
        if age < (_KNOWN_FOR_SECONDS if with_ in names else _UNKNOWN_FOR_SECONDS):
            return names
        try:
            names = await asyncio.wait_for(asyncio.to_thread(_list_names, self._url, self._timeout), self._timeout)
        except Exception as error:  # the library raises what its transport raises
            raise _SourceDownError(f"Prometheus at {self._url} did not list its metrics: {words(error)}") from error
        self._names = (time.monotonic(), names)
        return names

    async def _read(self, query: str, label: str, at: datetime) -> Readings:
        """A query's answer at an instant; asked once however many want it."""
        key = (query, at)
        known = self._answers.get(key)
        if known is None or (known.done() and (known.cancelled() or known.exception() is not None)):
            known = asyncio.ensure_future(self._ask(query, label, at))
            self._answers[key] = known
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return await asyncio.shield(known)

    async def _ask(self, query: str, label: str, at: datetime) -> Readings:
        form = {"query": query, "time": f"{at.astimezone(UTC).timestamp():.3f}", "timeout": f"{self._timeout:g}s"}
        try:
            async with self._http().post(f"{self._url}/api/v1/query", data=form) as response:
                raw = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _SourceDownError(f"Prometheus at {self._url} does not answer: {words(error)}") from error
        return _rows(_whole_answer(raw, response.status, self._url), label)

    async def _types_of(self, name: str) -> frozenset[str]:
        """The types under which targets export a metric; empty when nobody says (not every store keeps them)."""
        found = await self._look_up("metadata", "metric", name)
        entries = found.get(name) if isinstance(found, dict) else None
        return frozenset(str(one.get("type", "")) for one in entries or []) - {"", "unknown"}

    async def _look_up(self, what: str, parameter: str, name: str) -> object:
        """What is known *about* a metric; None when nobody says. Never an obstacle. A minute old at most, and a few
        seconds when there was nothing to know: targets that were just found have not told their types yet."""
        at, known = self._known.get((what, name), (-math.inf, None))
        nothing = known is not None and known.done() and not known.result()
        if known is None or time.monotonic() - at >= (_UNKNOWN_FOR_SECONDS if nothing else _KNOWN_FOR_SECONDS):
            known = asyncio.ensure_future(self._fetch(what, {parameter: name}))
            self._known[what, name] = (time.monotonic(), known)
        return await asyncio.shield(known)

    async def _fetch(self, what: str, query: dict[str, str]) -> object:
        try:
            async with self._http().get(f"{self._url}/api/v1/{what}", params=query) as response:
                answer = json.loads(await response.read())
                return answer.get("data") if isinstance(answer, dict) else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        self.queries += 1
        return self._session


def _refuse_uncountable(name: str, types: frozenset[str]) -> None:
    if types and types <= _NOT_COUNTERS:
        kind = sorted(types)[0]
        raise _RefusedQueryError(f"{name} is a {kind}, but a ratio counts events: name a counter")
    if types == {"histogram"}:
        raise _RefusedQueryError(f"{name} is a histogram, but a ratio counts events: name {name}_count")


def _refuse_bucketless(name: str, types: frozenset[str], has_buckets: bool) -> None:
    if has_buckets or not types:
        return
    if "histogram" in types:
        raise _RefusedQueryError(
            f"{name} is a histogram, but no {name}_bucket is there: are only native histograms scraped? Keep the "
            "classic ones too (always_scrape_classic_histograms)"
        )
    kind = sorted(types)[0]
    raise _RefusedQueryError(f"{name} is a {kind}, but a latency needs a histogram (there is no {name}_bucket)")


def _quoted(text: str) -> str:
    return json.dumps(text)


def _whole_answer(raw: bytes, status: int, url: str) -> list[dict[str, Any]]:
    try:
        answer = json.loads(raw)
    except ValueError as error:
        raise _SourceDownError(f"Prometheus at {url} answered HTTP {status} without JSON") from error
    if answer.get("status") != "success":
        text = f"{answer.get('errorType', 'error')}: {answer.get('error', '')}"
        if answer.get("errorType") == "bad_data":
            raise _RefusedQueryError(f"Prometheus refuses the query: {text}")
        raise _SourceDownError(f"Prometheus at {url} could not answer: {text}")
    if answer.get("warnings"):
        raise _SourceDownError(f"Prometheus at {url} gave a partial answer: {answer['warnings'][0]}")
    result = answer["data"]["result"]
    assert isinstance(result, list)
    return result


def _rows(result: list[dict[str, Any]], label: str) -> Readings:
    rows = {}
    for row in result:
        metric, value = row["metric"], float(row["value"][1])
        if math.isfinite(value):
            key = (metric.get("namespace", ""), metric.get("pod", ""), metric.get(label, "") if label else "")
            rows[(*key, metric.get("le", ""))] = value
    return rows


def _list_names(url: str, timeout: float) -> list[str]:
    from prometheus_api_client import PrometheusConnect  # synchronous and slow to import: only when it is needed
    from urllib3.util.retry import Retry

    client = PrometheusConnect(url=url, timeout=timeout, retry=Retry(0))
    return [str(name) for name in client.all_metrics()]


def _told_by(identity: MetricIdentity, arm: Arm) -> str:
    if identity.by is IdentityBy.POD_NAME:
        return f'pod=~"{arm.name}-.*"'
    return f'{identity_label(identity)}="{identity_value(identity, arm)}"'


def _display(gate: Gate, arm: Arm) -> str:
    """The gate's value in PromQL, for people to paste; the operator itself counts exactly."""
    extra = _told_by(gate.identity, arm)
    if gate.identity.by is not IdentityBy.SERVICE:
        extra = f'namespace="{arm.namespace}",{extra}'
    if gate.latency is not None:
        inner = parse_selector(gate.latency.histogram).promql(suffix="_bucket", extra=extra)
        return f"histogram_quantile({gate.latency.quantile}, sum by (le) (rate({inner}[{_LOOKBACK}])))"
    assert gate.ratio is not None
    counted = parse_selector(gate.ratio.good or gate.ratio.bad or "").promql(extra=extra)
    total = parse_selector(gate.ratio.total).promql(extra=extra)
    return f"sum(rate({counted}[{_LOOKBACK}])) / sum(rate({total}[{_LOOKBACK}]))"
