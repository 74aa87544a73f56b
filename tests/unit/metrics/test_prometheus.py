"""The Prometheus provider against an HTTP server that answers as Prometheus does, or does not."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modelrollout.api.gate import Gate
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, ProblemKind, Scraping
from modelrollout.gates.evidence import Counts, Histogram, Interval, Reading
from modelrollout.metrics import batch
from modelrollout.metrics.base import Arm
from modelrollout.metrics.client import RefusedQueryError
from modelrollout.metrics.prometheus import Prometheus
from modelrollout.metrics.values import substituted

END = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
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


def _arm(revision: str, rollout: str = "ranker", namespace: str = "recs") -> Arm:
    return Arm(revision, namespace, f"{rollout}-{revision}", 80, {_pod(revision, rollout): OLD})


class _Prometheus:
    """Counters by the query's metric; what is asked is counted. Its clock stands at ``clock``."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.series: Callable[[str, float], list[dict[str, Any]]] = self.steady
        self.names = ["requests_total", "request_seconds_bucket", "clicks_total"]
        self.types = {"requests_total": "counter", "request_seconds": "histogram", "temperature": "gauge"}
        self.labels = ["__name__", "code", "pod", "namespace"]
        self.answer: Callable[[], web.StreamResponse] | None = None
        self.refused = ""
        self.slow = ""
        self.infos: list[str] = []
        self.clock = END + timedelta(seconds=1)
        self.texts: list[str] = []

    def steady(self, query: str, at: float) -> list[dict[str, Any]]:
        """Ten requests a second each; the candidate fails one in ten."""
        passed = at - OLD.timestamp()
        rows = []
        names = re.findall(r"namespace=~\"([^\"]*)\"", query)[0].split("|")
        for namespace, (revision, errors) in itertools.product(names, ((NEW, 0.1), (STABLE, 0.0))):
            share = errors if "code" in query else 1.0
            metric = {"namespace": namespace, "pod": _pod(revision)}
            if query.startswith(("up", "max_over_time(up")):
                rows.append({"metric": metric, "value": [at, "1"]})
            elif "_bucket" in query:
                for le, below in (("0.1", 0.5), ("0.5", 0.9), ("+Inf", 1.0)):
                    rows.append({"metric": metric | {"le": le}, "value": [at, str(round(10 * passed * below))]})
            elif "request_seconds" not in query and (share or "code" not in query):
                rows.append({"metric": metric, "value": [at, str(round(10 * passed * share))]})
        return rows

    def _at(self, query: str, at: float) -> list[dict[str, Any]]:
        parts = re.findall(r'label_replace\((.*?),"modelrollout_want","(\d+-?)","",""\)', query)
        rows = []
        for text, mark in parts or [(query, "")]:
            gone = mark.endswith("-") and "up" not in text
            for row in [] if gone else self.series(text, at):
                rows.append(row | {"metric": row["metric"] | ({"modelrollout_want": mark} if mark else {})})
        return rows

    def _reply(self, kind: str, result: object) -> web.StreamResponse:
        date = {"Date": format_datetime(self.clock, usegmt=True)}
        data = {"resultType": kind, "result": result}
        return web.json_response({"status": "success", "data": data, "infos": self.infos}, headers=date)

    async def query(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        query = str(form["query"])
        self.asked["query"] += 1
        self.texts.append(query)
        if self.answer is not None:
            return self.answer()
        if self.refused and self.refused in query:
            return _error(400, {"status": "error", "errorType": "bad_data", "error": "parse error"})()
        if self.slow and self.slow in query:
            return _error(503, {"status": "error", "errorType": "timeout", "error": "query timed out"})()
        if "time" in form:
            return self._reply("vector", self._at(query, float(str(form["time"]))))
        start, end, step = (float(str(form[name])) for name in ("start", "end", "step"))
        series: dict[str, dict[str, Any]] = {}
        for i in range(round((end - start) / step) + 1):
            for row in self._at(query, start + i * step):
                one = series.setdefault(json.dumps(row["metric"]), {"metric": row["metric"], "values": []})
                one["values"].append([start + i * step, row["value"][1]])
        return self._reply("matrix", list(series.values()))

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
            web.post("/api/v1/query_range", fake.query),
            web.get("/api/v1/metadata", fake.metadata),
            web.get("/api/v1/labels", fake.list_labels),
            web.get("/api/v1/label/__name__/values", fake.list_names),
        ]
    )
    running = TestServer(app)
    await running.start_server()
    provider = Prometheus.at(str(running.make_url("")), timeout=0.5)
    yield fake, provider
    await provider.close()
    await running.close()


Server = tuple[_Prometheus, Prometheus]


async def _measure(
    provider: Prometheus, gate: Gate, rollout: str = "ranker", namespace: str = "recs"
) -> GateMeasurement:
    plan = Plan({gate.name: START}, END)
    arms = (_arm(revision, rollout, namespace) for revision in (NEW, STABLE))
    found = await provider.measure([gate], plan, *arms)
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


async def test_detail_22_one_question_for_all_rollouts_of_all_namespaces(server: Server) -> None:
    """The first look reads two instants; each further one reads one, for a hundred rollouts as for one."""
    fake, provider = server
    namespaces = [f"team-{i}" for i in range(20)]
    looks = [
        _measure(provider, ERRORS, rollout, one) for one in namespaces for rollout in ("ranker", "b", "c", "d", "e")
    ]
    found = await asyncio.gather(*looks)
    assert found[0].interval is not None
    assert found[0].interval.candidate == Counts(15.0, 150.0)
    assert fake.asked["query"] == 2 + 1, "both ends; and what is gone, of those that show nothing"
    assert fake.asked["metadata"] <= 1
    plan = Plan({"errors": END}, END + timedelta(seconds=15))
    fake.clock = plan.end
    for one in namespaces:
        await provider.measure([ERRORS], plan, _arm(NEW, namespace=one), _arm(STABLE, namespace=one))
    assert fake.asked["query"] == 3 + 1, "who comes later finds the answer waiting"


async def test_detail_22_questions_are_split_at_a_cap(server: Server) -> None:
    fake, provider = server
    await asyncio.gather(*(_measure(provider, ERRORS, namespace=f"a-namespace-called-{i}") for i in range(250)))
    assert max(len(text) for text in fake.texts) < 64_000
    assert fake.asked["query"] == 2 * 3


async def test_detail_22_namespaces_are_split_by_what_they_brought_last(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, provider = server
    namespaces = [f"team-{i}" for i in range(4)]
    await asyncio.gather(*(_measure(provider, ERRORS, namespace=one) for one in namespaces))
    assert fake.asked["query"] == 2
    monkeypatch.setattr(batch, "_ROWS", 10)
    fake.clock = END + timedelta(seconds=15)
    plan = Plan({"errors": END}, fake.clock)
    looks = (provider.measure([ERRORS], plan, _arm(NEW, namespace=n), _arm(STABLE, namespace=n)) for n in namespaces)
    await asyncio.gather(*looks)
    assert fake.asked["query"] == 2 + 2, "five rows of each: two namespaces in a request"


async def test_a_namespace_gets_its_own_rows_alone(server: Server) -> None:
    fake, provider = server

    def busy(query: str, at: float) -> list[dict[str, Any]]:
        rows = fake.steady(query, at)
        return [
            row | {"value": [at, str(float(row["value"][1]) * (1 + 9 * (row["metric"]["namespace"] == "b")))]}
            for row in rows
        ]

    fake.series = busy
    ours, theirs = await asyncio.gather(
        _measure(provider, ERRORS, namespace="a"), _measure(provider, ERRORS, namespace="b")
    )
    assert ours.interval is not None
    assert theirs.interval is not None
    assert (ours.interval.candidate, theirs.interval.candidate) == (Counts(15.0, 150.0), Counts(150.0, 1500.0))


async def test_a_known_server_that_has_never_failed_is_measured_and_a_slip_of_the_pen_is_not(server: Server) -> None:
    """TGI exports no counter of failures before the first; Ray Serve none of successes before the first of these."""
    fake, provider = server
    present = "tgi_request_count"

    def healthy(query: str, at: float) -> list[dict[str, Any]]:
        return fake.steady(query, at) if present in query or "up{" in query else []

    fake.series = healthy
    fake.names = [present]
    found = await _measure(provider, Gate.model_validate({"name": "errors", "preset": "tgi/errors"}))
    assert found.problem is None
    assert found.interval is not None
    assert found.interval.candidate == Counts(0.0, 150.0)
    slip = {"bad": "tgi_request_failures", "total": "tgi_request_count"}
    wrong = await _measure(provider, Gate.model_validate({"name": "e", "ratio": slip, "atMost": "1%"}))
    assert wrong.problem is not None
    assert "knows no metric tgi_request_failures" in wrong.problem.message
    present = "ray_serve_deployment_error_counter_total"
    failing = await _measure(provider, Gate.model_validate({"name": "r", "preset": "rayserve/errors"}))
    assert failing.problem is None
    assert failing.interval is not None
    assert failing.interval.candidate == Counts(150.0, 150.0), "all of them failed"


async def test_a_ratio_of_others_shows_its_sum_in_the_query(server: Server) -> None:
    _, provider = server
    found = await _measure(provider, Gate.model_validate({"name": "e", "preset": "triton/errors"}))
    assert re.fullmatch(r"(sum\(.*\)) / \(\1 \+ sum\(.*_success.*\)\)", found.query), found.query


async def test_a_refused_query_blinds_nobody_else(server: Server) -> None:
    fake, provider = server
    fake.refused = "broken"
    ratio = {"bad": 'requests_total{code=~"broken("}', "total": "requests_total"}
    bad = Gate.model_validate(ERRORS.model_dump(by_alias=True, exclude_none=True) | {"name": "bad", "ratio": ratio})
    good, wrong, other = await asyncio.gather(
        _measure(provider, ERRORS), _measure(provider, bad), _measure(provider, P95)
    )
    assert good.problem is None
    assert other.problem is None
    assert wrong.problem is not None
    assert wrong.problem.kind is ProblemKind.MISCONFIGURED
    asked = fake.asked["query"]
    plan = Plan({"errors": END, "bad": END}, END + timedelta(seconds=15))
    fake.clock = plan.end
    await provider.measure([ERRORS, bad], plan, _arm(NEW), _arm(STABLE))
    assert fake.asked["query"] == asked + 3, "what was refused is asked apart: at both instants, and the good one"


async def test_a_slow_question_blinds_nobody_else(server: Server) -> None:
    """A metric with too many series in one namespace: the others, and its other namespaces, are read."""
    fake, provider = server
    fake.slow = "team-3"
    found = await asyncio.gather(*(_measure(provider, ERRORS, namespace=f"team-{i}") for i in range(8)))
    assert [one.problem is not None for one in found] == [i == 3 for i in range(8)]
    assert found[3].problem is not None
    assert found[3].problem.kind is ProblemKind.SOURCE_DOWN


async def test_a_gateway_tells_the_services_of_each_namespace_apart(server: Server) -> None:
    """Series from the gateway's own namespace; who was scraped is asked of the gateway's jobs."""
    fake, provider = server

    def gateway(query: str, at: float) -> list[dict[str, Any]]:
        passed = at - OLD.timestamp()
        if query.startswith(("up", "max_over_time(up")):
            return [{"metric": {"namespace": "gateways", "pod": "envoy-1", "job": "envoy"}, "value": [at, "1"]}]
        found = []
        for number, namespace in enumerate(("a", "b")):
            for revision in (NEW, STABLE):
                cluster = {"envoy_cluster_name": f"{namespace}_ranker-{revision}_80", "job": "envoy"}
                metric = cluster | {"namespace": "gateways", "pod": "envoy-1"}
                found.append({"metric": metric, "value": [at, str(round(passed * (number + 1)))]})
        return found

    fake.series = gateway
    gate = Gate.model_validate(ERRORS.model_dump(by_alias=True, exclude_none=True) | {"identity": {"by": "service"}})
    one, other = await asyncio.gather(_measure(provider, gate, namespace="a"), _measure(provider, gate, namespace="b"))
    assert fake.asked["query"] == 2
    assert one.interval is not None
    assert other.interval is not None
    assert (one.interval.candidate, other.interval.candidate) == (Counts(15.0, 15.0), Counts(30.0, 30.0))
    assert one.interval.halves is None, "a gateway's pods are not the baseline's"
    assert "up and on (job) group by (job) (last_over_time(requests_total[5m]))" in fake.texts[0]
    assert 'envoy_cluster_name=~"a_.+_.+|b_.+_.+"' in fake.texts[0]


async def test_several_steps_are_one_range_query_and_count_the_same(server: Server) -> None:
    fake, provider = server
    arms = (_arm(NEW), _arm(STABLE))
    live: list[Interval] = []
    for i in range(4, 0, -1):
        end = END - (i - 1) * timedelta(seconds=15)
        measurement = await provider.measure([ERRORS], Plan({"errors": end - timedelta(seconds=15)}, end), *arms)
        live.extend(measurement.gates["errors"].intervals)
    asked = fake.asked["query"]
    plan = Plan({"errors": END - timedelta(seconds=60)}, END, per_pod=frozenset({"errors"}))
    found = (await provider.measure([ERRORS], plan, *arms)).gates["errors"]
    assert list(found.intervals) == live
    assert len(live) == 4
    assert found.pods == {_pod(NEW): Counts(60.0, 600.0)}
    assert fake.asked["query"] == asked + 1


async def test_detail_22_what_is_gone_is_asked_for_only_where_something_came_or_went(server: Server) -> None:
    fake, provider = server
    arms = (_arm(NEW), _arm(STABLE))
    born, dies = END - timedelta(seconds=20), END + timedelta(seconds=20)

    def restarts(query: str, at: float) -> list[dict[str, Any]]:
        """The candidate's errors are a series that comes and goes."""
        there = born.timestamp() <= at < dies.timestamp()
        return [row for row in fake.steady(query, at) if there or "code" not in query]

    async def look(number: int) -> str:
        """What series were asked for in the look that ends at an instant."""
        start, fake.clock = END + number * timedelta(seconds=15), END + (number + 2) * timedelta(seconds=15)
        fake.texts.clear()
        await provider.measure([ERRORS], Plan({"errors": start}, start + timedelta(seconds=15)), *arms)
        return " ".join(fake.texts)

    fake.series = restarts
    gone = "last_over_time(requests_total"
    asked = [gone in await look(number) for number in (-2, -1, 0, 1, 2, 3)]
    assert asked == [True, False, False, True, False, False], "where it came, and where it went"


@pytest.mark.parametrize("preflight", [True, False])
async def test_detail_22_before_its_first_traffic_a_candidate_need_not_show_anything(
    server: Server, preflight: bool
) -> None:
    fake, provider = server
    plan = Plan({"errors": START}, END, END - START, preflight=preflight)
    await provider.measure([ERRORS], plan, _arm("0" * 10), _arm(STABLE))
    asked = any("last_over_time(requests_total" in text for text in fake.texts)
    assert asked is not preflight


async def test_an_instant_in_prometheus_future_is_read_later(server: Server) -> None:
    fake, provider = server
    fake.clock = END - timedelta(seconds=2)
    found = await provider.measure([ERRORS], Plan({"errors": START}, END), _arm(NEW), _arm(STABLE))
    assert found.gates["errors"] == GateMeasurement(query=found.gates["errors"].query)
    assert found.end == START
    plan = Plan({"errors": START, "p95": START - timedelta(seconds=15)}, END)
    found = await provider.measure([ERRORS, P95], plan, _arm(NEW), _arm(STABLE))
    assert found.end == START, "nor does a gate that is read anew take back what was counted"
    fake.clock = END
    assert (await _measure(provider, ERRORS)).interval is not None, "what was not final is not remembered"


async def test_a_range_ends_where_prometheus_clock_does(server: Server) -> None:
    fake, provider = server
    fake.clock = END - timedelta(seconds=20)
    plan = Plan({"errors": END - timedelta(seconds=60)}, END)
    found = await provider.measure([ERRORS], plan, _arm(NEW), _arm(STABLE))
    assert [one.end for one in found.gates["errors"].intervals] == [END - timedelta(seconds=s) for s in (45, 30)]
    assert found.end == END - timedelta(seconds=30)


async def test_a_clock_far_behind_is_a_problem(server: Server) -> None:
    fake, provider = server
    fake.clock = END - timedelta(seconds=90)
    problem = (await _measure(provider, ERRORS)).problem
    assert problem is not None
    assert problem.kind is ProblemKind.SOURCE_DOWN
    assert "90 s behind" in problem.message


async def test_infos_are_no_warnings(server: Server) -> None:
    fake, provider = server
    fake.infos = ["PromQL info: metric might not be a counter"]
    assert (await _measure(provider, ERRORS)).problem is None


async def test_late_labels_are_not_clamped(server: Server) -> None:
    """More clicks than impressions in one interval: clicks of earlier impressions."""
    fake, provider = server

    def late(query: str, at: float) -> list[dict[str, Any]]:
        rows = fake.steady(query, at)
        factor = 3.0 if query.startswith("clicks_total") else 1.0
        return [row | {"value": [at, str(float(row["value"][1]) * factor)]} for row in rows]

    fake.series = late
    gate = {"name": "ctr", "ratio": {"good": "clicks_total", "total": "requests_total"}, "atLeast": "99% of baseline"}
    found = await _measure(provider, Gate.model_validate(gate | {"labelsWithin": "15m"}))
    assert found.interval is not None
    assert found.interval.candidate == Counts(-300.0, 150.0)


async def test_detail_37_the_history_of_the_baseline_in_halves(server: Server) -> None:
    fake, provider = server
    other = _pod(STABLE)[:-5] + "fghij"

    def two_pods(query: str, at: float) -> list[dict[str, Any]]:
        rows = [row for row in fake.steady(query, at) if row["metric"]["pod"] == _pod(STABLE)]
        return [*rows, *(row | {"metric": row["metric"] | {"pod": other}} for row in rows)]

    fake.series = two_pods
    step = timedelta(seconds=15)
    found = await provider.history([ERRORS, P95], END - 1100 * step, END, step, _arm(STABLE))
    intervals = found.gates["errors"].intervals
    assert len(intervals) == 1100
    assert {(one.candidate, one.baseline) for one in intervals} == {(None, Counts(0.0, 300.0))}
    assert {one.halves for one in intervals} == {(Counts(0.0, 150.0), Counts(0.0, 150.0))}
    assert isinstance(found.gates["p95"].intervals[0].baseline, Histogram)
    assert any(f'pod=~"ranker-{STABLE}-' in text for text in fake.texts)


async def test_one_pod_has_no_halves(server: Server) -> None:
    _, provider = server
    found = await _measure(provider, ERRORS)
    assert found.interval is not None
    assert found.interval.halves is None


async def test_a_limit_between_bounds_is_noted_and_few_buckets_are_read(server: Server) -> None:
    fake, provider = server
    assert "judged at 500ms (next bucket)" in (await _measure(provider, P95)).note
    asked = [text for text in fake.texts if "group by (namespace, pod, le)" not in text]
    assert asked
    assert all('le=~"\\\\+Inf|0\\\\.1|0\\\\.5"' in text for text in asked)


async def test_detail_22_bounds_are_found_anew_when_they_change(server: Server) -> None:
    """A candidate that comes with other buckets, and then changes them."""
    fake, provider = server
    bounds = {STABLE: ("0.1", "0.5", "+Inf"), NEW: ("0.1", "0.2", "0.5", "+Inf")}

    def buckets(query: str, at: float) -> list[dict[str, Any]]:
        if "_bucket" not in query:
            return fake.steady(query, at)
        asked = re.findall(r'le=~"(.*?)"', query)
        wanted = asked[0].replace("\\\\", "").split("|") if asked else None
        return [
            {"metric": {"namespace": "recs", "pod": _pod(revision), "le": le}, "value": [at, "7"]}
            for revision, every in bounds.items()
            for le in every
            if wanted is None or le in wanted
        ]

    async def look(number: int) -> GateMeasurement:
        fake.clock = END + number * timedelta(seconds=15)
        plan = Plan({"p95": fake.clock - timedelta(seconds=15)}, fake.clock)
        return (await provider.measure([P95], plan, _arm(NEW), _arm(STABLE))).gates["p95"]

    fake.series = buckets
    assert (await look(0)).note == ""
    bounds[NEW] = ("0.1", "0.25", "0.5", "+Inf")
    await look(1)
    assert "judged at 250ms" in (await look(2)).note


SCORES = Gate.model_validate({"name": "scores", "drift": {"histogram": "score"}, "atMost": "0.2"})


async def test_a_drift_gate_reads_all_buckets_of_both_arms(server: Server) -> None:
    fake, provider = server
    found = await _measure(provider, SCORES)
    assert found.interval is not None
    assert found.interval.candidate == Histogram((0.1, 0.5, float("inf")), (75.0, 135.0, 150.0))

    def other_bounds(query: str, at: float) -> list[dict[str, Any]]:
        rows = fake.steady(query, at)
        return [row for row in rows if NEW in row["metric"]["pod"] or row["metric"].get("le") != "0.5"]

    gate = SCORES.model_dump(by_alias=True, exclude_none=True)
    kind, text = await _problem(server, gate, other_bounds)
    assert kind == "Misconfigured"
    assert text.startswith("score has other buckets in the candidate (0.1, 0.5) than in the baseline (0.1)")


VALUE = {
    "name": "v",
    "value": {"promql": 'max(load{namespace="{namespace}",pod=~"{pods}"})'},
    "atMost": "110% of baseline",
}


async def test_values_of_both_arms(server: Server) -> None:
    fake, provider = server
    refused = await _measure(provider, Gate.model_validate(VALUE))
    assert refused.problem is not None
    assert "MODELROLLOUT_ALLOW_PROMQL=true" in refused.problem.message

    fake.series = lambda query, at: [{"metric": {}, "value": [at, "3" if NEW in query else "2"]}]
    allowed = Prometheus.at(provider._client.url, allow_promql=True)
    found = await _measure(allowed, Gate.model_validate(VALUE))
    assert found.interval is not None
    assert (found.interval.candidate, found.interval.baseline) == (Reading(3.0), Reading(2.0))
    assert found.query == f'max(load{{namespace="recs",pod=~"ranker-{NEW}-[a-z0-9]{{1,10}}-[a-z0-9]{{5}}"}})'
    plan = Plan({"v": END - timedelta(seconds=60)}, END)
    several = (await allowed.measure([Gate.model_validate(VALUE)], plan, _arm(NEW), _arm(STABLE))).gates["v"]
    assert [one.end for one in several.intervals] == [END - timedelta(seconds=s) for s in (45, 30, 15, 0)]
    await allowed.close()


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        (2, "Misconfigured", "gives 2 series: write a query that gives exactly one number"),
        (0, "MetricMissing", "gives no number for the candidate"),
    ],
)
async def test_a_value_is_one_number(server: Server, rows: int, kind: str, words: str) -> None:
    fake, provider = server
    fake.series = lambda query, at: [{"metric": {"i": str(i)}, "value": [at, "1"]} for i in range(rows)]
    allowed = Prometheus.at(provider._client.url, allow_promql=True)
    problem = (await _measure(allowed, Gate.model_validate(VALUE))).problem
    assert problem is not None
    assert problem.kind == kind
    assert words in problem.message
    await allowed.close()


def test_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(RefusedQueryError, match=r"unknown placeholder \{model\}: use \{namespace\}"):
        substituted('x{a="{model}"}', _arm(NEW))


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
    hanging = Prometheus.at(str(slow.make_url("")), timeout=0.2)
    away = Prometheus.at("http://127.0.0.1:1", timeout=0.2)
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
    fresh = Prometheus.at(provider._client.url, timeout=0.5)
    problem = (await _measure(fresh, Gate.model_validate(gate))).problem
    await fresh.close()
    assert problem is not None
    return str(problem.kind), problem.message


async def test_an_unknown_name_brings_near_ones(server: Server) -> None:
    gate = {"name": "e", "ratio": {"bad": "request_total", "total": "request_total"}, "atMost": "1%"}
    kind, text = await _problem(server, gate)
    assert kind == "MetricUnknown"
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
    assert kind == "MetricUnknown"
    assert text == "no series of requests_total has a label status (its labels are code, namespace, pod)"


async def test_detail_37_who_is_scraped_is_told_before_the_first_traffic_without_another_question(
    server: Server,
) -> None:
    fake, provider = server

    def by(visited: dict[str, str]) -> Callable[[str, float], list[dict[str, Any]]]:
        def series(query: str, at: float) -> list[dict[str, Any]]:
            if not query.startswith(("up", "max_over_time(up")):
                return fake.steady(query, at)
            label = {"namespace": "recs"}
            return [{"metric": label | {"pod": pod}, "value": [at, up]} for pod, up in visited.items()]

        return series

    async def asked(visited: dict[str, str], *, preflight: bool = True) -> Scraping | None:
        fake.series = by(visited)
        fresh = Prometheus.at(provider._client.url, timeout=0.5)
        plan = Plan({"errors": START}, END, END - START, preflight=preflight)
        found = await fresh.measure([ERRORS], plan, _arm(NEW), _arm(STABLE))
        await fresh.close()
        return found.gates["errors"].scraping

    assert await asked({_pod(NEW): "1", _pod(STABLE): "1", "shop-1": "1"}) == Scraping(1, 1, others=1)
    assert await asked({_pod(NEW): "0", _pod(STABLE): "1"}) == Scraping(0, 1, failing=(_pod(NEW),))
    assert await asked({_pod(STABLE): "1"}) == Scraping(0, 1)
    assert await asked({}) == Scraping(0, 0)
    fake.asked.clear()
    assert await asked({}, preflight=False) is None
    without = fake.asked["query"]
    await asked({})
    assert fake.asked["query"] == 2 * without


async def test_which_arm_is_missing_is_told(server: Server) -> None:
    fake, _ = server
    gate = ERRORS.model_dump(by_alias=True, exclude_none=True)

    def only(revision: str) -> Callable[[str, float], list[dict[str, Any]]]:
        return lambda query, at: [row for row in fake.steady(query, at) if revision in row["metric"]["pod"]]

    assert (await _problem(server, gate, only(STABLE)))[0] == "CandidateMissing"
    assert (await _problem(server, gate, only(NEW)))[0] == "BaselineMissing"
    kind, text = await _problem(
        server, gate, lambda query, at: [{"metric": {"namespace": "recs", "pod": "x"}, "value": [at, "1"]}]
    )
    assert kind == "MetricMissing"
    assert "relabel the pod's name" in text


async def test_a_scrape_that_was_not_in_yet_is_counted_in_the_next_interval_and_never_twice(server: Server) -> None:
    fake, provider = server
    late = True

    def scraped(query: str, at: float) -> list[dict[str, Any]]:
        return fake.steady(query, at - 1.0 if late and at == END.timestamp() else at)

    fake.series = scraped
    plan = Plan({"errors": END}, END + timedelta(seconds=15))
    first = await _measure(provider, ERRORS)
    late, fake.clock = False, plan.end
    then = await provider.measure([ERRORS], plan, _arm(NEW), _arm(STABLE))
    restarted = Prometheus.at(provider._client.url)
    again = await restarted.measure([ERRORS], plan, _arm(NEW), _arm(STABLE))
    await restarted.close()
    one, two, three = (found.interval for found in (first, then.gates["errors"], again.gates["errors"]))
    assert one is not None and two is not None and three is not None
    assert (one.candidate, one.baseline) == (Counts(14.0, 140.0), Counts(0.0, 140.0)), "both arms alike"
    assert two.candidate == Counts(16.0, 160.0), "what was read at the first instant is remembered"
    assert three.candidate == Counts(15.0, 150.0), "a restart loses that scrape's part of the evidence"


async def test_questions_of_all_gates_of_a_look_go_out_as_one(server: Server) -> None:
    fake, provider = server
    ratio = {"bad": 'shown_total{code="5"}', "total": "shown_total"}
    gates = [ERRORS, Gate.model_validate({"name": "shown", "ratio": ratio, "atMost": "5%"}), P95]
    for number in range(4):
        end = END + number * timedelta(seconds=15)
        fake.clock = end
        before = fake.asked["query"]
        plan = Plan(dict.fromkeys((gate.name for gate in gates), end - timedelta(seconds=15)), end)
        found = await provider.measure(gates, plan, _arm(NEW), _arm(STABLE))
        assert all(one.interval is not None for one in found.gates.values())
    assert fake.asked["query"] == before + 1
