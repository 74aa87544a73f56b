"""The Prometheus provider against an HTTP server that answers as Prometheus does, or does not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modelrollout.api.gate import Gate
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, ProblemKind
from modelrollout.gates.evidence import Counts, Histogram
from modelrollout.metrics.base import Arm
from modelrollout.metrics.prometheus import Prometheus

END = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
START = END - timedelta(seconds=15)
OLD = END - timedelta(hours=1)
NEW, STABLE = "aaaaaaaaaa", "bbbbbbbbbb"

ERRORS = Gate.model_validate(
    {
        "name": "errors",
        "ratio": {"bad": 'requests_total{code=~"5.."}', "total": "requests_total"},
        "atMost": "baseline + 1pp",
    }
)
P95 = Gate.model_validate({"name": "p95", "latency": {"histogram": "request_seconds"}, "atMost": "200ms"})


def _pod(revision: str, rollout: str = "ranker") -> str:
    return f"{rollout}-{revision}-7d9c5b6f4-abcde"


def _arm(revision: str, rollout: str = "ranker") -> Arm:
    return Arm(revision, "recs", f"{rollout}-{revision}", 80, {_pod(revision, rollout): OLD})


class _Prometheus:
    """Counters by the query's metric; what is asked is counted."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.series: Callable[[str, float], list[dict[str, Any]]] = self.steady
        self.names = ["requests_total", "request_seconds_bucket", "clicks_total"]
        self.types = {"requests_total": "counter", "request_seconds": "histogram", "temperature": "gauge"}
        self.labels = ["__name__", "code", "pod", "namespace"]
        self.answer: Callable[[], web.StreamResponse] | None = None

    def steady(self, query: str, at: float) -> list[dict[str, Any]]:
        """Ten requests a second each; the candidate fails one in ten."""
        passed = at - OLD.timestamp()
        rows = []
        for revision, errors in ((NEW, 0.1), (STABLE, 0.0)):
            share = errors if "code" in query else 1.0
            metric = {"namespace": "recs", "pod": _pod(revision)}
            if "_bucket" in query:
                for le, below in (("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)):
                    rows.append({"metric": metric | {"le": le}, "value": [at, str(round(10 * passed * below))]})
            elif share or "code" not in query:
                rows.append({"metric": metric, "value": [at, str(round(10 * passed * share))]})
        return rows

    async def query(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        query, at = str(form["query"]), float(str(form["time"]))
        self.asked["query"] += 1
        if self.answer is not None:
            return self.answer()
        return web.json_response(
            {"status": "success", "data": {"resultType": "vector", "result": self.series(query, at)}}
        )

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        self.asked["metadata"] += 1
        name = request.query["metric"]
        found = {name: [{"type": self.types[name]}]} if name in self.types else {}
        return web.json_response({"status": "success", "data": found})

    async def list_labels(self, _: web.Request) -> web.StreamResponse:
        self.asked["labels"] += 1
        return web.json_response({"status": "success", "data": self.labels})

    async def list_names(self, _: web.Request) -> web.StreamResponse:
        self.asked["names"] += 1
        return web.json_response({"status": "success", "data": self.names})


@pytest.fixture
async def server() -> AsyncIterator[tuple[_Prometheus, Prometheus]]:
    fake = _Prometheus()
    app = web.Application()
    app.add_routes(
        [
            web.post("/api/v1/query", fake.query),
            web.get("/api/v1/metadata", fake.metadata),
            web.get("/api/v1/labels", fake.list_labels),
            web.get("/api/v1/label/__name__/values", fake.list_names),
        ]
    )
    running = TestServer(app)
    await running.start_server()
    provider = Prometheus(str(running.make_url("")), timeout=0.5)
    yield fake, provider
    await provider.close()
    await running.close()


Server = tuple[_Prometheus, Prometheus]


async def _measure(provider: Prometheus, gate: Gate, rollout: str = "ranker") -> GateMeasurement:
    plan = Plan({gate.name: START}, END)
    found = await provider.measure([gate], plan, _arm(NEW, rollout), _arm(STABLE, rollout))
    return found.gates[gate.name]


async def test_counts_of_both_arms(server: Server) -> None:
    _, provider = server
    found = await _measure(provider, ERRORS)
    assert found.problem is None
    assert found.interval is not None
    assert found.interval.candidate == Counts(15.0, 150.0)
    assert found.interval.baseline == Counts(0.0, 150.0)
    assert 'namespace="recs"' in found.query


async def test_a_histogram_of_both_arms(server: Server) -> None:
    _, provider = server
    found = await _measure(provider, P95)
    assert found.interval is not None
    candidate = found.interval.candidate
    assert isinstance(candidate, Histogram)
    assert candidate.bounds == (0.1, 0.5, float("inf"))
    assert candidate.counts == (75.0, 135.0, 150.0)


async def test_rollouts_of_a_namespace_share_the_answers(server: Server) -> None:
    """Two rollouts with the same gate, twice: no more is asked than for one; the end is the next one's start."""
    fake, provider = server
    await asyncio.gather(_measure(provider, ERRORS), _measure(provider, ERRORS, "other"))
    assert fake.asked["query"] == 5, "two metrics at two instants, and who was scraped at the start"
    assert fake.asked["metadata"] == 1
    plan = Plan({"errors": END}, END + timedelta(seconds=15))
    await provider.measure([ERRORS], plan, _arm(NEW), _arm(STABLE))
    assert fake.asked["query"] == 8
    assert fake.asked["metadata"] == 1


def _error(status: int, body: object) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            _error(400, {"status": "error", "errorType": "bad_data", "error": "parse error"}),
            ProblemKind.MISCONFIGURED,
            "refuses the query: bad_data: parse error",
        ),
        (
            _error(503, {"status": "error", "errorType": "timeout", "error": "query timed out"}),
            ProblemKind.SOURCE_DOWN,
            "could not answer: timeout",
        ),
        (_error(502, "<html>bad gateway</html>"), ProblemKind.SOURCE_DOWN, "HTTP 502 without JSON"),
        (
            _error(200, {"status": "success", "data": {"result": []}, "warnings": ["store gateway-2 is down"]}),
            ProblemKind.SOURCE_DOWN,
            "partial answer: store gateway-2 is down",
        ),
    ],
)
async def test_what_is_no_whole_answer_is_no_answer(
    server: Server, answer: Callable[[], web.StreamResponse], kind: ProblemKind, words: str
) -> None:
    fake, provider = server
    fake.answer = answer
    found = await _measure(provider, ERRORS)
    assert found.interval is None
    assert found.problem is not None
    assert found.problem.kind is kind
    assert words in found.problem.message
    fake.answer = None
    assert (await _measure(provider, ERRORS)).interval is not None, "a failure is not remembered"


async def test_a_source_that_hangs_or_is_away() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hang)
    slow = TestServer(app)
    await slow.start_server()
    hanging = Prometheus(str(slow.make_url("")), timeout=0.2)
    away = Prometheus("http://127.0.0.1:1", timeout=0.2)
    for one, words in ((hanging, "timed out"), (away, "connection refused")):
        found = await _measure(one, ERRORS)
        assert found.problem is not None
        assert found.problem.kind is ProblemKind.SOURCE_DOWN
        assert found.problem.message.endswith(f"does not answer: {words}")
        await one.close()
    await slow.close()


async def test_not_a_number_is_no_reading(server: Server) -> None:
    fake, provider = server

    def odd(query: str, at: float) -> list[dict[str, Any]]:
        return [row | {"value": [at, "NaN"]} for row in fake.steady(query, at)]

    fake.series = odd
    found = await _measure(provider, ERRORS)
    assert found.problem is not None
    assert found.problem.kind is ProblemKind.METRIC_MISSING


async def _problem(server: Server, gate: dict[str, Any], series: Callable[..., Any] | None = None) -> tuple[str, str]:
    fake, provider = server
    fake.series = series or (lambda query, at: [])
    provider._answers.clear()
    problem = (await _measure(provider, Gate.model_validate(gate))).problem
    assert problem is not None
    return str(problem.kind), problem.message


async def test_an_unknown_name_brings_near_ones(server: Server) -> None:
    gate = {"name": "e", "ratio": {"bad": "request_total", "total": "request_total"}, "atMost": "1%"}
    kind, text = await _problem(server, gate)
    assert kind == "MetricMissing"
    assert text.startswith("Prometheus knows no metric request_total; near names are requests_total")


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (
            {"name": "e", "ratio": {"bad": "temperature", "total": "temperature"}, "atMost": "1%"},
            "temperature is a gauge, but a ratio counts events: name a counter",
        ),
        (
            {"name": "e", "ratio": {"bad": "request_seconds", "total": "request_seconds"}, "atMost": "1%"},
            "request_seconds is a histogram, but a ratio counts events: name request_seconds_count",
        ),
        (
            {"name": "l", "latency": {"histogram": "requests_total"}, "atMost": "1s"},
            "requests_total is a counter, but a latency needs a histogram (there is no requests_total_bucket)",
        ),
        (
            {"name": "l", "latency": {"histogram": "request_seconds"}, "atMost": "1s"},
            "request_seconds is a histogram, but no request_seconds_bucket is there",
        ),
    ],
)
async def test_a_wrong_type_is_named(server: Server, gate: dict[str, Any], words: str) -> None:
    kind, text = await _problem(server, gate)
    assert kind == "Misconfigured"
    assert text.startswith(words)


async def test_errors_that_nobody_has_seen_are_no_problem_but_a_wrong_label_is(server: Server) -> None:
    fake, provider = server

    def healthy(query: str, at: float) -> list[dict[str, Any]]:
        return [] if "5.." in query else fake.steady(query, at)

    fake.series = healthy
    found = await _measure(provider, ERRORS)
    assert found.problem is None
    assert found.interval is not None
    assert found.interval.candidate == Counts(0.0, 150.0)

    gate = ERRORS.model_dump(by_alias=True, exclude_none=True)
    gate["ratio"] = {"bad": 'requests_total{status=~"5.."}', "total": "requests_total"}
    kind, text = await _problem(server, gate, healthy)
    assert kind == "MetricMissing"
    assert text == "no series of requests_total has a label status (its labels are code, namespace, pod)"


async def test_which_arm_is_missing_is_told(server: Server) -> None:
    fake, _ = server
    gate = ERRORS.model_dump(by_alias=True, exclude_none=True)

    def only(revision: str) -> Callable[[str, float], list[dict[str, Any]]]:
        return lambda query, at: [row for row in fake.steady(query, at) if revision in row["metric"]["pod"]]

    assert (await _problem(server, gate, only(STABLE)))[0] == "CandidateMissing"
    assert (await _problem(server, gate, only(NEW)))[0] == "BaselineMissing"
    kind, text = await _problem(server, gate, lambda query, at: [{"metric": {"pod": "x"}, "value": [at, "1"]}])
    assert kind == "MetricMissing"
    assert "relabel the pod's name" in text
