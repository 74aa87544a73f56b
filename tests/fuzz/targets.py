"""What is read from outside, each with what may come of it: a value, or the one kind of error that its callers expect.

Hypothesis draws the examples for ``make test``; atheris lets coverage lead it to others (``python -m tests.fuzz``).
Both run these very functions.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.addresses import AddressError, allowed
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import (
    parse_duration,
    parse_limit,
    parse_looks,
    parse_percent,
    parse_reference,
    parse_selector,
)
from modelrollout.api.meta import ANNOTATION_APPLIED
from modelrollout.api.objects import Decided, Frozen, Rollout, read_status
from modelrollout.controller.store import Store
from modelrollout.engine.decide import decide
from modelrollout.engine.model import Target
from modelrollout.engine.revision import revision_hash
from modelrollout.gates.report_format import read_result
from modelrollout.metrics.answers import Question
from modelrollout.metrics.base import Arm
from modelrollout.metrics.batch import Batch
from modelrollout.metrics.client import Client, NotYetError, RefusedQueryError, SourceDownError
from modelrollout.metrics.readings import HistogramReading, RatioReading, unit_of
from modelrollout.metrics.snapshot import Kind, Want
from modelrollout.metrics.values import readings
from modelrollout.metrics.wire import Reply, Wire
from modelrollout.notify.config import ConfigError, load
from modelrollout.traffic.gateway_api import UnusableError, find_place, view_of
from tests.fuzz.junk import edited, junk, texts
from tests.support.world import CTR, DRIFT, ERRORS, LATENCY, REPORT, VALUE, World, spec

__all__ = ["TARGETS", "selectors"]

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_METADATA: Final = {
    "namespace": "recs",
    "name": "ranker",
    "uid": "u",
    "resourceVersion": "7",
    "creationTimestamp": "2026-11-21T08:00:00Z",
}
_FULL: Final = spec(
    gates=[ERRORS, CTR, LATENCY, VALUE, DRIFT, REPORT, {"name": "preset", "preset": "vllm/ttft"}],
    steps=[{"weight": 5, "hold": "1h"}, {"approval": {"role": "risk", "count": 2}}, {"weight": 100, "hold": "1m"}],
    advanceOnly={"days": ["Mon"], "hours": "09:00-17:00", "timeZone": "Europe/Berlin"},
    adopt={"service": "old", "deployment": "old"},
    notifications=[{"name": "a", "slack": {"secretRef": {"name": "s", "key": "url"}}}],
)
_STATUS: Final[dict[str, Any]] = {
    "phase": "Progressing",
    "weight": 10,
    "stable": {"revision": "0123456789", "version": "1", "since": "2026-11-21T08:00:00Z"},
    "candidate": {"revision": "9876543210", "version": "2", "since": "2026-11-21T08:00:00Z"},
    "step": {"number": 1, "of": 3, "name": "10%"},
    "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Progressing", "message": ""}],
    "gates": [{"name": "errors", "verdict": "TooEarly", "checkpoint": "AAAA"}],
}


@functools.cache
def _world() -> World:
    """A world with a candidate on trial, only ever looked at."""
    world = World()
    world.run(60)
    world.apply("2")
    world.run(120)
    return world


@given(edited({"spec": spec(), "status": _STATUS}, {"spec": _FULL, "status": {}}), st.booleans())
def manifests(body: Any, deleting: bool) -> None:
    """Any ModelRollout is refused with a ValueError, or decided upon."""
    body = body if isinstance(body, dict) else {"spec": body}
    body.setdefault("spec", {})
    try:
        rollout = Rollout.parse({"metadata": _METADATA, **body})
        target = Target(revision_hash(rollout.raw_spec), rollout.spec.model.version, "")
        base = _world().observe()
        decide(replace(base, spec=rollout.spec, target=target, status=rollout.status, deleting=deleting))
        decide(replace(base, spec=rollout.spec, target=target, deleting=deleting))
    except ValueError:
        pass


@given(st.one_of(junk, edited(_STATUS)))
def statuses(status: Any) -> None:
    """A status can always be read: what is none is an empty one."""
    read_status({"status": status})


@given(edited({"rollout": "ranker", "action": "pause", "author": "kim", "expiresAfter": "10m"}))
def decisions(said: Any) -> None:
    """A RolloutDecision is refused with a ValueError, or heard; the store keeps none that it cannot read."""
    body = {"metadata": _METADATA, "spec": said if isinstance(said, dict) else {}}
    with contextlib.suppress(ValueError):
        Decided.parse(body)
    if isinstance(body["spec"].get("rollout"), str):  # which the CRD sees to
        store = Store()
        store.decisions(store.put_decision(body))
    Frozen.parse({"metadata": {"name": "x"}, "spec": said}).holds_in("recs")


@given(texts, st.sampled_from(["ratio", "latency", "drift", "value", "report", None]), st.dictionaries(texts, texts))
def grammar(text: str, kind: str | None, reference: dict[str, str]) -> None:
    """Limits, durations and so on are refused with a ValueError, or are finite numbers."""
    for parse in (parse_duration, parse_percent, parse_looks, parse_selector):
        with contextlib.suppress(ValueError):
            parse(text)
    try:
        limit = parse_limit(text, kind=kind)
        assert math.isfinite(limit.factor) and math.isfinite(limit.offset)
    except ValueError:
        pass
    with contextlib.suppress(ValueError):
        assert math.isclose(sum(share for _, share in parse_reference(reference)), 1.0)


_VALUE: Final = st.text(st.characters(exclude_characters='"\\\n', exclude_categories=["Cs"]), max_size=12)
_ESCAPED: Final = st.lists(st.one_of(_VALUE, st.sampled_from(['\\"', "\\\\", "\\n", "\\x41", "\\}"])), max_size=4)
_MATCHER: Final = st.builds(
    '{}{}"{}"'.format,
    st.sampled_from(["code", "a", "_b", "le", "pod", "namespace_", "exported_namespace", "__name__"]),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    _ESCAPED.map("".join),
)
selectors = st.builds(
    "{}{{{}}}".format,
    st.sampled_from(["requests_total", "a:b", "_x", "request_seconds"]),
    st.lists(_MATCHER, max_size=3).map(", ".join),
)
"""Metric selectors that are right by our grammar, and as odd as it lets them be."""


@given(st.one_of(selectors, texts, edited({"a": 'q{b="c"}'}).map(str)), st.sampled_from(["recs", "a-b", "x"]))
def promql(text: str, namespace: str) -> None:
    """Whatever a selector is, the query reads one metric in one namespace: outside of quotes nothing else stands."""
    try:
        selector = parse_selector(text)
    except ValueError:
        return
    for kind in (Kind.SERIES, Kind.BOUNDS):
        query = Question([((Want(selector.name, selector.matchers, kind=kind),), (namespace,))], gone=True).promql
        bare = _without_quotes(query)
        assert bare.count("{") == bare.count("}") == bare.count(selector.name + "{")
        assert bare.count("{namespace=~,") + bare.count("{namespace=~}") == bare.count("{")
        assert bare.count("(") == bare.count(")") and "#" not in bare
        assert f'{selector.name}{{namespace=~"{namespace}"' in query


def _without_quotes(query: str) -> str:
    """A query without its strings, read as Prometheus' own lexer reads it: a backslash takes the next sign along."""
    found, quoted, signs = [], False, iter(query)
    for sign in signs:
        if quoted and sign == "\\":
            next(signs)
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            found.append(sign)
    assert not quoted, "a string is not closed"
    return "".join(found)


class _Answering:
    """In the place of a connection: gives one answer to everything."""

    url = "http://prometheus.example"
    timeout = 1.0
    sent = 0

    def __init__(self, status: int, raw: bytes) -> None:
        wire = Wire(self.url, 1.0)
        self.limits, self.credential = wire.limits, wire.credential
        self._reply = Reply(status, raw, "Sat, 21 Nov 2026 12:00:00 GMT")

    async def post(self, *_: Any) -> Reply:
        return self._reply

    async def get(self, *_: Any) -> Reply:
        return self._reply

    async def close(self) -> None:
        pass


_ROW: Final = {"metric": {"modelrollout_want": "0", "namespace": "recs", "pod": "p"}, "value": [NOW.timestamp(), "3"]}
_NATIVE: Final = {
    "metric": {"modelrollout_want": "1-", "namespace": "recs", "pod": "p"},
    "histogram": [NOW.timestamp(), {"count": "3", "sum": "1.5", "buckets": [[0, "0.5", "1", "3"]]}],
}
_ANSWERS: Final = (
    {"status": "success", "data": {"resultType": "vector", "result": [_ROW, _NATIVE]}},
    {"status": "success", "data": {"resultType": "matrix", "result": [{**_ROW, "values": [[1, "2"], [2, "NaN"]]}]}},
    {"status": "success", "warnings": ["PromQL info: x"], "data": {"resultType": "scalar", "result": [1, "2"]}},
    {"status": "error", "errorType": "bad_data", "error": "parse error"},
)
_GATES: Final = [Gate.model_validate(one) for one in (ERRORS, LATENCY, DRIFT)]
_ARM: Final = Arm("0123456789", "recs", "ranker-0123456789", 80, {})
_EXPECTED: Final = (SourceDownError, RefusedQueryError, NotYetError)


@given(
    st.one_of(st.binary(max_size=60), st.one_of(edited(*_ANSWERS), junk).map(lambda one: json.dumps(one).encode())),
    st.sampled_from([200, 204, 400, 422, 500, 503]),
)
def answers(raw: bytes, status: int) -> None:
    """Any answer of Prometheus is understood, or is an outage, or a refusal; nothing else is raised."""

    async def ask() -> None:
        client = Client(cast(Wire, _Answering(status, raw)))
        batch = Batch(client, window=0.0)
        step = timedelta(seconds=5)
        for gate in _GATES:
            reading = RatioReading(gate) if gate.ratio is not None else HistogramReading(gate)
            unit = unit_of(reading)
            with contextlib.suppress(*_EXPECTED):
                await batch.at(unit, "recs", NOW, step)
            with contextlib.suppress(*_EXPECTED):
                await batch.over(unit, "recs", NOW - 2 * step, NOW, step)
        for start in (NOW - step, NOW - 3 * step):
            with contextlib.suppress(*_EXPECTED):
                await readings(client, "x", _ARM, start, NOW, step)
        await batch.close()
        await client.close()

    asyncio.run(ask())


_REPORT: Final = {"metrics": {"auc": {"candidate": 0.9, "baseline": {"value": 0.8, "standardError": 0.01}}}}


@given(st.one_of(texts, edited(_REPORT).map(json.dumps), junk.map(json.dumps)))
def reports(text: str) -> None:
    """A report is refused with a ValueError, or read."""
    with contextlib.suppress(ValueError):
        read_result(text, "auc")


_RECEIVERS: Final = {
    "receivers": [
        {"name": "oncall", "about": ["page"], "namespaces": ["a-*"], "alertmanager": {"url": "http://am:9093"}},
        {"name": "t", "github": {"repository": "a/b", "tokenFile": "/x"}, "about": ["ticket"]},
    ]
}


@given(st.one_of(texts, edited(_RECEIVERS).map(lambda one: yaml.safe_dump(one, allow_unicode=True)), junk.map(str)))
def receivers(text: str) -> None:
    """A file of receivers is refused with a ConfigError, or loaded."""
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(text.encode(errors="surrogatepass"))
        file.flush()
        with contextlib.suppress(ConfigError):
            load(Path(file.name))


_MARKER: Final = {"weights": {"0123456789": 100}, "revision": "0123456789", "reason": "Promoted", "total": 100}


@given(st.one_of(texts, edited(_MARKER).map(json.dumps)), st.integers(0, 1_000_000))
def markers(text: str, weight: int) -> None:
    """Whatever stands on a route: it can be looked at."""
    refs = [{"name": "ranker-0123456789", "weight": weight}, {"name": "other", "weight": 100}]
    route = {
        "metadata": {"name": "ranker", "annotations": {ANNOTATION_APPLIED: text}},
        "spec": {"rules": [{"backendRefs": refs}]},
    }
    with contextlib.suppress(UnusableError):
        view_of(route, find_place(route, "ranker", None), "ranker", shared=False)


@given(
    st.one_of(
        texts,
        st.builds(
            "{}://{}{}/x".format,
            st.sampled_from(["http", "https", "HTTPS", "ftp", "file", ""]),
            st.one_of(
                texts, st.sampled_from(["169.254.169.254", "[::1]", "2130706433", "0x7f.1", "a@b", "[", "x:99999"])
            ),
            st.sampled_from(["", ":80", ":x", "#", "?", "\\@"]),
        ),
    )
)
def addresses(url: str) -> None:
    """An address is refused, or its host is one that was named."""
    try:
        allowed(url, ("hooks.example.com", "http://*.chat.example"), flag="--notify-hosts", what="they")
    except AddressError as error:
        assert len(str(error)) < 1_000
    else:
        assert "hooks.example.com" in url.lower() or ".chat.example" in url.lower()


TARGETS: Final[dict[str, Callable[[], None]]] = {
    one.__name__: one
    for one in (
        manifests,
        statuses,
        decisions,
        grammar,
        promql,
        answers,
        reports,
        receivers,
        markers,
        addresses,
    )
}
