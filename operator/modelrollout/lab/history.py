"""Recorded history from Prometheus: past releases of a rollout, and its baseline's own past.

Raw counters are read at aligned instants by range queries and differenced per series, as the operator does live
(:mod:`modelrollout.metrics.counting`), here whole series at once: a value that fell was reset; a series that appears on
a pod that was there began at zero; what nobody saw is missing rather than invented. The revisions of a rollout are
told apart by the gates' identities, so history needs no other record than the metrics themselves.

Source: Prometheus HTTP API v1, /api/v1/query_range.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import numpy as np

from modelrollout.api.gate import Gate, IdentityBy, MetricIdentity
from modelrollout.api.grammar import Selector, parse_selector
from modelrollout.gates.eprocess import Array
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.policy import Policy
from modelrollout.metrics.buckets import seconds_per_unit
from modelrollout.metrics.identity import identity_label, identity_pattern, owner_pattern, service_template

__all__ = ["Found", "Prometheus", "Ranges", "Release", "SourceError", "baseline", "read", "releases"]

_MOST_POINTS: Final = 10_000
"""In one answer; Prometheus refuses more than 11,000 for each series."""
_TIMEOUT_SECONDS: Final = 60
_HISTORY: Final = 12 * 3600.0
_RECENT: Final = 3600.0
_LONGER: Final = 2.0
"""Of a release so many times the policy's own length is looked at: a step may go on until its gates are sure."""
_GROUPS: Final = 8
_SHORT_HASH: Final = 8
_HASH: Final = "([0-9a-f]{8})[0-9a-f]{0,2}"
_NOT_OF_THE_SERIES: Final = frozenset(
    {"__name__", "le", "job", "instance", "endpoint", "container", "service"}
    | {"replica", "prometheus", "prometheus_replica", "__replica__", "thanos_replica", "cluster_replica"}
)
"""Who scraped, by their usual names: the same series seen twice counts once."""

Progress = Callable[[float], None]
Counters = dict[str, Array]


class SourceError(Exception):
    """Prometheus did not answer, or not with all of it."""


class Ranges(Protocol):
    """What answers range queries."""

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series with their labels (``metric``) and their samples (``values``: pairs of seconds and text)."""
        ...


class Prometheus:
    """A Prometheus, or what speaks its API. TLS certificates are checked as Python's ``requests`` does."""

    def __init__(self, url: str, *, timeout: float = _TIMEOUT_SECONDS) -> None:
        from prometheus_api_client import PrometheusConnect
        from requests import Session
        from urllib3.util.retry import Retry

        session = Session()
        session.hooks["response"].append(_refuse_partial)
        self._url = url
        self._client = PrometheusConnect(url=url.rstrip("/"), session=session, timeout=timeout, retry=Retry(0))

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """See :class:`Ranges`.

        Raises
        ------
        SourceError
            If there is no answer, or only a part of one.
        """
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests import RequestException

        first, last = (datetime.fromtimestamp(at, UTC) for at in (start, end))
        try:
            found = self._client.custom_query_range(query, first, last, f"{step:g}")
        except PrometheusApiClientException as error:
            raise SourceError(f"Prometheus at {self._url} refuses the query {query}: {_reason(str(error))}") from error
        except (RequestException, ValueError, KeyError) as error:
            raise SourceError(f"Prometheus at {self._url} does not answer: {_reason(str(error))}") from error
        return list(found)


def _refuse_partial(response: Any, *args: Any, **kwargs: Any) -> None:
    """A partial answer (Thanos, Mimir) is no answer: the client itself drops the warnings."""
    if response.status_code == 200 and b'"warnings"' in response.content:
        warnings = response.json().get("warnings")
        if warnings:
            raise SourceError(f"Prometheus gave a partial answer: {warnings[0]}")


def _reason(text: str) -> str:
    """What a refusal says: the client puts Prometheus' answer into its message as Python writes bytes."""
    body = re.search(r"\((b['\"].*)\)$", text, re.DOTALL)
    if body is not None:
        try:
            return str(json.loads(ast.literal_eval(body.group(1)))["error"])
        except (ValueError, SyntaxError, KeyError, TypeError):
            pass
    return text.rsplit(": ", 1)[-1].rstrip("')\"")[:300]


@dataclass(frozen=True, slots=True)
class Found:
    """Increments of all revisions of a rollout: revision → pod → column → increments of shape (T,), NaN where nothing
    was seen. ``times``: the end of each interval, seconds since 1970."""

    times: Array
    interval: float
    revisions: Mapping[str, Mapping[str, Counters]]
    columns: tuple[str, ...]
    total: str
    """The column by whose traffic releases are found."""
    notes: tuple[str, ...] = ()

    def requests(self, revision: str) -> Array:
        """What a revision was asked, of shape (T,); 0 where nothing was seen."""
        pods = self.revisions[revision].values()
        return np.asarray(sum((np.nan_to_num(one[self.total]) for one in pods), np.zeros(len(self.times))))


@dataclass(frozen=True, slots=True)
class Release:
    """A past release: ``at`` (seconds since 1970) the candidate's first requests came."""

    revision: str
    baseline: str
    at: float
    recording: Recording


def read(
    source: Ranges,
    policy: Policy,
    *,
    namespace: str,
    name: str,
    start: float,
    end: float,
    progress: Progress | None = None,
) -> Found:
    """Read what the gates of a policy count, between two instants (seconds since 1970).

    Raises
    ------
    ValueError
        If there is nothing to be read: no such metric, or none of this rollout's revisions.
    SourceError
        If Prometheus does not answer.
    """
    step = policy.interval
    first, last = math.ceil(start / step) * step, math.floor(end / step) * step
    grid: Array = np.asarray(np.arange(first, last + step / 2, step), dtype=np.float64)
    if len(grid) < 2:
        raise ValueError(f"between the two times there is no interval of {step:g}s: give --from an earlier time")
    wants = _wants(policy)
    raw: dict[tuple[str, str], dict[str, list[_Series]]] = {}
    notes = []
    for number, want in enumerate(wants):
        told = functools.partial(_tell, progress, number, len(wants))
        seen = list(_series(source, want, namespace, name, grid, told))
        for revision, pod, column, one in seen:
            raw.setdefault((revision, pod), {}).setdefault(column, []).append(one)
        if not seen and want.needed:
            raise ValueError(
                f"Prometheus has no series of {want.selector.promql()} of the pods of {name} in namespace {namespace} "
                "between these times: check the name, the namespace (-n), the times, and the gates' identity"
            )
        if not seen:
            notes.append(f"{want.selector.promql()} was never seen and counts as none: is it spelled rightly?")
    columns = sorted(
        {column for per in raw.values() for column in per} | {want.column for want in wants if want.column}
    )
    return _counted(raw, grid, columns, wants, notes)


def _tell(progress: Progress | None, number: int, of: int, part: float) -> None:
    if progress is not None:
        progress((number + part) / of)


@dataclass(frozen=True, slots=True)
class _Want:
    """One metric: its column ("" for a histogram, whose columns are made from ``prefix`` and each bound, of which one
    is so many seconds)."""

    selector: Selector
    column: str
    identity: MetricIdentity
    needed: bool
    prefix: str = ""
    seconds: float = 1.0


def _wants(policy: Policy) -> list[_Want]:
    """What the gates count, each metric once; a metric that all events come from has to be there."""
    found: dict[str, _Want] = {}
    for counted in policy.gates:
        for want in _of(counted.gate):
            key = want.column or want.prefix
            if key not in found or want.needed:
                found[key] = want
    return list(found.values())


def _of(gate: Gate) -> Iterator[_Want]:
    if gate.latency is not None:
        inner = parse_selector(gate.latency.histogram)
        buckets = Selector(f"{inner.name}_bucket", inner.matchers)
        unit = seconds_per_unit(inner.name, gate.latency.unit)
        yield _Want(buckets, "", gate.identity, True, gate.latency.histogram, unit)
    elif gate.ratio is not None:
        yield _Want(parse_selector(gate.ratio.rest), gate.ratio.rest, gate.identity, True)
        yield _Want(parse_selector(gate.ratio.counted), gate.ratio.counted, gate.identity, False)


@dataclass(frozen=True, slots=True)
class _Series:
    """Values of one series at the instants of the grid; NaN where it was not there."""

    key: frozenset[tuple[str, str]]
    values: Array


def _series(
    source: Ranges, want: _Want, namespace: str, name: str, grid: Array, progress: Progress
) -> Iterator[tuple[str, str, str, _Series]]:
    """All series of a metric with the revision, the pod and the column to which each belongs."""
    label = identity_label(want.identity)
    query = want.selector.promql(extra=_matchers(want.identity, label, namespace, name))
    step = float(grid[1] - grid[0])
    values: dict[frozenset[tuple[str, str]], Array] = {}
    for begin in range(0, len(grid), _MOST_POINTS):
        part = grid[begin : begin + _MOST_POINTS]
        for row in source.range(query, float(part[0]), float(part[-1]), step):
            key = frozenset((str(k), str(v)) for k, v in row["metric"].items())
            at = np.array([float(pair[0]) for pair in row["values"]])
            where = np.rint((at - grid[0]) / step).astype(np.int64)
            mine = values.setdefault(key, np.full(len(grid), math.nan))
            mine[where] = [float(pair[1]) for pair in row["values"]]
        progress(min(1.0, (begin + _MOST_POINTS) / len(grid)))
    for key, mine in values.items():
        labels = dict(key)
        revision = _revision(want.identity, labels, label, name)
        if revision:
            column = want.column or f"{want.prefix}_bucket_le_{_bound(want, labels)}"
            apart = frozenset((k, v) for k, v in key if k not in _NOT_OF_THE_SERIES)
            yield revision, labels.get("pod", ""), column, _Series(apart, mine)


def _matchers(identity: MetricIdentity, label: str, namespace: str, name: str) -> str:
    if identity.by is IdentityBy.SERVICE:
        return f"{label}=~{json.dumps(identity_pattern(service_template(identity), namespace))}"
    mine = f'namespace="{namespace}"'
    if identity.by is IdentityBy.POD_NAME:
        return f'{mine},pod=~"{re.escape(name).replace(chr(92) + "-", "-")}-[0-9a-f]{{8,10}}-.+"'
    return f'{mine},{label}!=""'


def _revision(identity: MetricIdentity, labels: Mapping[str, str], label: str, name: str) -> str:
    """The first digits of the revision's hash, which all identities show; empty for what is not this rollout's."""
    if identity.by is IdentityBy.POD_NAME:
        found = re.match(rf"{re.escape(name)}-{_HASH}-", labels.get("pod", ""))
        return found.group(1) if found else ""
    if identity.by is IdentityBy.SERVICE:
        found = re.fullmatch(_service_pattern(service_template(identity), name), labels.get(label, ""))
        return found.group(1) if found else ""
    pod = labels.get("pod")
    if identity.by is IdentityBy.POD_LABEL and pod and not pod.startswith(f"{name}-"):
        return ""
    return labels.get(label, "")[:_SHORT_HASH]


def _service_pattern(template: str, name: str) -> str:
    """A regular expression for what a gateway's label holds for any revision of a rollout, whose hash is its group."""
    known = {"service": f"{re.escape(name)}-{_HASH}", "revision": _HASH}
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(owner_pattern(part) if at % 2 == 0 else known.get(part, ".+") for at, part in enumerate(parts))


def _bound(want: _Want, labels: Mapping[str, str]) -> str:
    """A bucket's bound in seconds, as the columns name it."""
    seconds = float(labels.get("le", "nan")) * want.seconds
    return "+Inf" if math.isinf(seconds) else f"{seconds:.10g}"


def _counted(
    raw: Mapping[tuple[str, str], Mapping[str, Sequence[_Series]]],
    grid: Array,
    columns: Sequence[str],
    wants: Sequence[_Want],
    notes: Sequence[str],
) -> Found:
    """Increments from values."""
    seen = np.zeros(len(grid), dtype=np.bool_)
    for per in raw.values():
        for series in per.values():
            for one in series:
                seen |= np.isfinite(one.values)
    revisions: dict[str, dict[str, Counters]] = {}
    for (revision, pod), per in raw.items():
        revisions.setdefault(revision, {})[pod] = _pod_increments(per, seen, columns)
    totals = [want.column or f"{want.prefix}_bucket_le_+Inf" for want in wants if want.needed]
    return Found(grid[1:], float(grid[1] - grid[0]), revisions, tuple(columns), totals[0], tuple(notes))


def _pod_increments(per: Mapping[str, Sequence[_Series]], seen: Mask, columns: Sequence[str]) -> Counters:
    """One pod's increments by column: 0 where the pod was there and the series was not yet."""
    alive = np.any([np.isfinite(one.values) for series in per.values() for one in series], axis=0)
    before = np.logical_or.accumulate(alive)
    known = before[:-1] | seen[:-1]
    """Whether a series that is new now began at zero: its pod, or at least another one, was seen before."""
    found = {}
    for column in columns:
        total = np.where(alive[1:] & known, 0.0, math.nan)
        for values in _once(per.get(column, ())):
            total = total + np.where(alive[1:] & known, _increments(values), 0.0)
        found[column] = total
    return found


def _once(series: Sequence[_Series]) -> list[Array]:
    """The same series seen by two scrapers is one: the larger value at each instant."""
    merged: dict[frozenset[tuple[str, str]], Array] = {}
    for one in series:
        known = merged.get(one.key)
        merged[one.key] = one.values if known is None else np.fmax(known, one.values)
    return list(merged.values())


def _increments(values: Array) -> Array:
    """What a counter grew by between instants: from zero when it is new or fell, and late after a gap."""
    found = np.zeros(len(values) - 1)
    present = np.flatnonzero(np.isfinite(values))
    there = values[present]
    grown = np.diff(there, prepend=0.0)
    gained = np.where(grown >= 0.0, grown, there)
    later = present > 0
    found[present[later] - 1] = gained[later]
    return found


def releases(found: Found, policy: Policy) -> tuple[Release, ...]:
    """Past releases, in order of time: a revision that got its first requests while another one served.

    Its rows begin with the first requests; before them there is up to half a day of the baseline's own history.
    """
    requests = {revision: found.requests(revision) for revision in found.revisions}
    recent = round(_RECENT / found.interval)
    made = []
    for revision, counts in requests.items():
        served = np.flatnonzero(counts > 0.0)
        if not len(served):
            continue
        first = int(served[0])
        others = {
            other: float(theirs[max(0, first - recent) : first].sum())
            for other, theirs in requests.items()
            if other != revision
        }
        stable = max(others, key=others.__getitem__, default="")
        if stable and others[stable] > 0.0:
            last = min(int(served[-1]) + 1, first + math.ceil(_LONGER * policy.planned / found.interval))
            made.append(_release(found, revision, stable, first, last))
    return tuple(sorted(made, key=lambda one: one.at))


def _release(found: Found, revision: str, stable: str, first: int, last: int) -> Release:
    begin = max(0, first - round(_HISTORY / found.interval))
    theirs = _grouped(found.revisions[stable], found.columns, begin, last)
    ours = _grouped(found.revisions[revision], found.columns, begin, last)
    for columns in ours.values():
        for values in columns.values():
            values[:, : first - begin] = math.nan
    recording = Recording(found.times[begin:last], found.interval, {BASELINE: theirs, CANDIDATE: ours})
    return Release(revision, stable, float(found.times[first]), recording)


def baseline(found: Found) -> Recording:
    """The past of the revision that served most, as the baseline of a recording."""
    most = max(found.revisions, key=lambda one: float(found.requests(one).sum()))
    pods = _grouped(found.revisions[most], found.columns, 0, len(found.times))
    return Recording(found.times, found.interval, {BASELINE: pods})


def _grouped(
    pods: Mapping[str, Counters], columns: Sequence[str], begin: int, last: int
) -> dict[str, dict[str, Array]]:
    """Pods come and go, so the pods that are there at each moment are dealt out, by name, to a fixed number of places:
    as many as there usually are."""
    names = sorted(pods)
    alive = np.array([np.isfinite(pods[pod][columns[0]][begin:last]) for pod in names])
    usual = float(np.median(alive.sum(axis=0)[alive.any(axis=0)])) if alive.any() else 1.0
    places = int(min(max(usual, 1.0), _GROUPS))
    place = (np.cumsum(alive, axis=0) - 1) % places
    grouped: dict[str, dict[str, Array]] = {}
    for number in range(places):
        mine = alive & (place == number)
        grouped[str(number)] = {
            column: _total(np.array([pods[pod][column][begin:last] for pod in names]), mine) for column in columns
        }
    return grouped


def _total(values: Array, mine: Array) -> Array:
    sums = np.where(mine, values, 0.0).sum(axis=0)
    return np.where(mine.any(axis=0), sums, math.nan)[np.newaxis]
