"""Which metrics a running service has now, and what they show. Only reads, by a few small queries.

Presets are looked for first: of them it is known what they count. Where there are none, counters and histograms of
the pods that look like those of HTTP requests are offered, for a person to check.

``rate()`` and ``increase()`` extrapolate; that is good enough to choose a limit by, and nothing is judged here.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from modelrollout.api.gate import Gate, MetricIdentity
from modelrollout.api.grammar import Selector, parse_selector
from modelrollout.api.presets.base import Preset
from modelrollout.api.presets.registry import PRESETS
from modelrollout.gates.evidence import Histogram
from modelrollout.metrics.base import Arm
from modelrollout.metrics.buckets import histogram, seconds_per_unit
from modelrollout.metrics.client import Answer
from modelrollout.metrics.identity import told_by

__all__ = ["Queries", "Seen", "look"]

_WINDOW: Final = "1h"
"""Long enough for a share that means something, short enough to be about now."""
_NOW: Final = "5m"
_NONE: Final = Histogram((), ())
_STATUS: Final = ("code", "status", "status_code", "http_status", "response_code")
"""Labels by which counters of requests tell the HTTP status."""
_CHECK: Final = "Found by its name: does it count what users ask for, and no probes?"


class Queries(Protocol):
    """What answers instant queries."""

    async def instant(self, query: str, at: datetime) -> Answer:
        """A query's value at an instant."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A preset whose metrics are there. ``rate``: requests a second now; ``bad``: share of bad events in the last hour,
    None without requests; ``durations``: those of the last hour, empty for a ratio or a native histogram."""

    preset: Preset
    rate: float
    bad: float | None = None
    durations: Histogram = _NONE

    @property
    def quantile(self) -> float | None:
        """The preset's quantile in seconds, interpolated."""
        return self.durations.quantile(float(self.preset.quantile))


async def look(
    source: Queries, at: datetime, *, namespace: str, deployment: str, service: str, port: int
) -> list[Seen]:
    """Every preset that this service could use now, in the registry's order.

    Raises
    ------
    SourceDownError, RefusedQueryError
        If Prometheus does not answer.
    """
    pods = f'namespace="{namespace}",pod=~"{deployment}-[a-z0-9]+-[a-z0-9]+"'
    gateway = Arm("", namespace, service, port, {})
    matchers = {name: _at_gateway(preset, gateway) or pods for name, preset in PRESETS.items()}
    names = await _names(source, at, matchers)
    found = [preset for name, preset in PRESETS.items() if _tells(preset, names[matchers[name]])]
    if not found:
        found = await _own(source, at, pods)
    return list(await asyncio.gather(*(_seen(source, at, one, matchers.get(one.name, pods)) for one in found)))


def _at_gateway(preset: Preset, service: Arm) -> str:
    """The matcher of a Service in a gateway's metrics; empty for a server's."""
    return told_by(MetricIdentity.model_validate(preset.identity), service) if preset.identity else ""


async def _names(source: Queries, at: datetime, matchers: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The metrics that are there, by matchers: one query for each way to tell the pods."""
    asked: dict[str, list[str]] = {}
    for name, mine in matchers.items():
        asked.setdefault(mine, []).extend(
            f"{parse_selector(one).name}{suffix}"
            for one in PRESETS[name].metrics
            for suffix in (("",) if PRESETS[name].is_ratio else ("", "_bucket"))
        )
    found = {}
    for mine, wanted in asked.items():
        query = f'group by (__name__) ({{__name__=~"{"|".join(sorted(set(wanted)))}",{mine}}})'
        answer = await source.instant(query, at)
        found[mine] = frozenset(str(row["metric"]["__name__"]) for row in answer.result)
    return found


def _tells(preset: Preset, names: frozenset[str]) -> bool:
    """Whether traffic can be seen: of failures there need be none yet."""
    name = parse_selector(preset.metrics[0]).name
    return name in names or f"{name}_bucket" in names


async def _own(source: Queries, at: datetime, pods: str) -> list[Preset]:
    """Metrics of nobody we know that look like requests: a counter with a label of the HTTP status, and a histogram of
    seconds."""
    query = f'group by (__name__,{",".join(_STATUS)}) ({{__name__=~".*requests?_.*total|.*requests?_total",{pods}}})'
    counters = (await source.instant(query, at)).result
    labelled = sorted((row["metric"]["__name__"], key) for row in counters for key in _STATUS if key in row["metric"])
    found = [
        Preset("own/errors", f"{name} with 5xx", "1%", bad=f'{name}{{{label}=~"5.."}}', total=name, caveat=_CHECK)
        for name, label in labelled[:1]
    ]
    query = f'group by (__name__) ({{__name__=~".*(request|latency|duration).*_seconds_bucket",{pods}}})'
    names = sorted(str(row["metric"]["__name__"]) for row in (await source.instant(query, at)).result)
    return found + [
        Preset("own/latency", name, "120% of baseline", histogram=name.removesuffix("_bucket"), caveat=_CHECK)
        for name in names[:1]
    ]


async def _seen(source: Queries, at: datetime, preset: Preset, mine: str) -> Seen:
    gate = Gate.model_validate({"name": "sought", "atMost": preset.at_most} | preset.measured("", None))
    if gate.ratio is not None:
        rest, bad = parse_selector(gate.ratio.rest), parse_selector(gate.ratio.counted)
        queries = [_sum("rate", rest, mine, _NOW), *(_sum("increase", one, mine, _WINDOW) for one in (rest, bad))]
        rate, every, some = [await _number(source, at, query) for query in queries]
        every += some if gate.ratio.others is not None else 0.0
        return Seen(preset, rate, some / every if every > 0.0 else None)
    assert gate.latency is not None
    inner = parse_selector(gate.latency.histogram)
    buckets = Selector(f"{inner.name}_bucket", inner.matchers)
    unit = seconds_per_unit(inner.name, gate.latency.unit)
    answer = await source.instant(_sum("increase", buckets, mine, _WINDOW, by="le"), at)
    rate = await _number(source, at, _sum("rate", Selector(f"{inner.name}_count", inner.matchers), mine, _NOW))
    return Seen(preset, rate, durations=_rising(histogram(_by_bound(answer.result), unit)))


def _sum(function: str, selector: Selector, mine: str, window: str, by: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} ({function}({selector.promql(extra=mine)}[{window}]))"


async def _number(source: Queries, at: datetime, query: str) -> float:
    answer = await source.instant(query, at)
    value = float(answer.result[0]["value"][1]) if answer.result else 0.0
    return value if math.isfinite(value) else 0.0


def _by_bound(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = {str(row["metric"]["le"]): float(row["value"][1]) for row in rows}
    return {le: value for le, value in values.items() if math.isfinite(value)}


def _rising(given: Histogram) -> Histogram:
    """Extrapolation may leave a bucket a hair below the one before."""
    return Histogram(given.bounds, tuple(itertools.accumulate(given.counts, max)))
