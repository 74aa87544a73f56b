"""Counting against a real Prometheus that really scrapes: what happened is what is counted, whatever happens.

Pods add known numbers of requests once a step, right after its beginning. Every step is read live as the operator
does; at the end the whole is read again as one range, which must show the very same.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modelrollout.api.gate import Gate
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import GateMeasurement, ProblemKind
from modelrollout.gates.evidence import Counts, Histogram, Interval, Reading
from modelrollout.metrics.base import Arm, Watched
from modelrollout.metrics.prometheus import Prometheus
from tests.support.exporters import Exporters, Native, Pod, real_prometheus

STEP = timedelta(seconds=2)
SETTLED = 0.6
"""Seconds after which every scrape of an instant is in."""
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ERRORS = Gate.model_validate(
    {
        "name": "errors",
        "ratio": {"bad": 'requests_total{code=~"5.."}', "total": "requests_total"},
        "atMost": "baseline + 1pp",
    }
)
BROKEN = Gate.model_validate(
    {
        "name": "broken",
        "ratio": {"bad": 'requests_total{code=~"5..("}', "total": "requests_total"},
        "atMost": "baseline + 1pp",
    }
)


def _pod(deployment: str, number: int = 0, namespace: str = "recs") -> Pod:
    return Pod(namespace, f"{deployment}-7d9c5b6f4-abcd{number}")


def _arm(deployment: str, namespace: str = "recs", born: datetime = LONG_AGO) -> Arm:
    pods = {_pod(deployment, number).name: born for number in range(3)}
    return Arm(deployment.rpartition("-")[2], namespace, deployment, 80, pods)


@contextmanager
def _exporters(folder: Path) -> Iterator[Exporters]:
    one = Exporters(folder)
    try:
        yield one
    finally:
        one.close()


@asynccontextmanager
async def _provider(url: str, *, allow_promql: bool = False) -> AsyncIterator[Prometheus]:
    one = Prometheus.at(url, allow_promql=allow_promql)
    try:
        yield one
    finally:
        await one.close()


async def _until(instant: float) -> None:
    await asyncio.sleep(max(0.0, instant - time.time()))


async def _scraped(provider: Prometheus, gate: Gate, *arms: Arm) -> datetime:
    """The first step's beginning: a whole second at which every arm is scraped."""
    for _ in range(100):
        now = datetime.fromtimestamp(math.floor(time.time()), UTC)
        found = [await _read(provider, gate, now - timedelta(seconds=1), now, arm, arm) for arm in arms]
        if all(one.problem is None and one.intervals for one in found):
            return datetime.fromtimestamp(math.ceil(time.time() + 0.5), UTC)
        await asyncio.sleep(0.2)
    raise AssertionError(f"not scraped: {found}")


async def _read(
    provider: Prometheus, gate: Gate, start: datetime, end: datetime, candidate: Arm, baseline: Arm
) -> GateMeasurement:
    plan = Plan({gate.name: start}, end, step=STEP, per_pod=frozenset({gate.name}))
    return (await provider.measure([gate], plan, candidate, baseline)).gates[gate.name]


def _candidates(intervals: tuple[Interval, ...]) -> list[object]:
    return [one.candidate for one in intervals]


async def test_detail_22_whatever_happens_to_pods_what_is_counted_is_what_happened(tmp_path: Path) -> None:
    """Restarts, missed scrapes, series and pods that come and go, pods scraped by two jobs; all rollouts at once."""
    names = ("steady", "restarts", "misses", "appears", "vanishes", "joins")
    arms = {name: _arm(f"{name}-aaaaaaaaaa") for name in names}
    pods = {name: _pod(f"{name}-aaaaaaaaaa") for name in names}
    joining = _pod("joins-aaaaaaaaaa", 1)
    joining.add(ok=1000)
    for pod in pods.values():
        pod.add(ok=100, failed=0 if pod is pods["appears"] else 3)

    def happen(step: int) -> None:
        for name in ("steady", "misses", "vanishes", "joins"):
            pods[name].add(ok=9, failed=1)
        pods["appears"].add(ok=9, failed=3 if step == 3 else 0)
        pods["misses"].failing = step in (2, 3)
        if step == 2:
            pods["restarts"].counters = {}
            pods["restarts"].add(ok=4)
        else:
            pods["restarts"].add(ok=9, failed={0: 1, 4: 7}.get(step, 0))
        if step == 3:
            exporters.start(joining)
        if step == 4:
            exporters.remove(pods["vanishes"])

    with _exporters(tmp_path) as exporters:
        exporters.start(*pods.values())
        jobs = [exporters.job("pods"), exporters.job("again")]
        with real_prometheus(tmp_path / "prometheus", jobs) as url:
            async with _provider(url) as provider:
                began = await _scraped(provider, ERRORS, *arms.values())
                live: dict[str, list[object]] = {name: [] for name in names}
                asked = provider.queries
                for step in range(7):
                    start = began + step * STEP
                    await _until(start.timestamp())
                    happen(step)
                    await _until((start + STEP).timestamp() + SETTLED)
                    if step == 0:
                        arms["joins"] = _arm("joins-aaaaaaaaaa", born=start + 3 * STEP)
                    reads = (_read(provider, ERRORS, start, start + STEP, arms[name], arms["steady"]) for name in names)
                    for name, found in zip(names, await asyncio.gather(*reads), strict=True):
                        live[name] += _candidates(found.intervals)
                asked = provider.queries - asked
            async with _provider(url) as fresh:
                end = began + 7 * STEP
                again = {name: await _read(fresh, ERRORS, began, end, arms[name], arms["steady"]) for name in names}
                # The history knows of no pods any more, and of one revision alone.
                past = {
                    name: await fresh.history([ERRORS], began, end, STEP, replace(arms[name], pods={}))
                    for name in names
                }

    for name in ("steady", "restarts", "misses", "appears", "vanishes"):
        assert [one.baseline for one in past[name].gates["errors"].intervals] == live[name], name
    each = Counts(1.0, 10.0)
    none = Counts(0.0, 0.0)
    assert live["steady"] == [each] * 7
    assert (
        live["restarts"]
        == [each, Counts(0.0, 9.0), Counts(0.0, 4.0), Counts(0.0, 9.0), Counts(7.0, 16.0)] + [Counts(0.0, 9.0)] * 2
    )
    assert live["misses"] == [each, each, none, none, Counts(3.0, 30.0), each, each]
    assert live["appears"] == [Counts(0.0, 9.0)] * 3 + [Counts(3.0, 12.0)] + [Counts(0.0, 9.0)] * 3
    assert live["vanishes"] == [each] * 4 + [live["vanishes"][4], none, none]
    assert live["vanishes"][4] in (each, none), "whether it was scraped once more, nobody knows"
    assert live["joins"].count(each) == 6, "it takes Prometheus a while to find a pod"
    assert Counts(1.0, 1010.0) in live["joins"][3:]
    for name in names:
        assert _candidates(again[name].intervals) == live[name], name
    total = again["joins"].pods
    assert total is not None
    assert total[joining.name] == Counts(0.0, 1000.0)
    # The first step reads its two ends, each other one its end: once for all six. Types are looked up once a minute.
    assert asked <= 8 + 2 + 7, asked  # what is gone as well, in looks in which something came or went


async def test_two_replicas_that_write_to_one_store_count_once(tmp_path: Path) -> None:
    arm, pod = _arm("ranker-aaaaaaaaaa"), _pod("ranker-aaaaaaaaaa")
    pod.add(ok=100, failed=3)
    with _exporters(tmp_path) as exporters:
        exporters.start(pod)
        with real_prometheus(tmp_path / "store", [], flags=("--web.enable-remote-write-receiver",)) as store:

            def replica(name: str) -> dict[str, Any]:
                queue = {"batch_send_deadline": "100ms"}
                remote = [{"url": f"{store}/api/v1/write", "queue_config": queue}]
                return {"remote_write": remote, "global_config": {"external_labels": {"cluster_replica": name}}}

            with (
                real_prometheus(tmp_path / "a", [exporters.job("pods")], **replica("a")),
                real_prometheus(tmp_path / "b", [exporters.job("pods")], **replica("b")),
            ):
                async with _provider(store) as provider:
                    began = await _scraped(provider, ERRORS, arm)
                    found: list[object] = []
                    for step in range(3):
                        start = began + step * STEP
                        await _until(start.timestamp())
                        pod.add(ok=9, failed=1)
                        await _until((start + STEP).timestamp() + 2 * SETTLED)
                        read = await _read(provider, ERRORS, start, start + STEP, arm, arm)
                        found += _candidates(read.intervals)
                    async with aiohttp.ClientSession() as session:
                        query = {"query": 'count(requests_total{code="200"})'}
                        async with session.get(f"{store}/api/v1/query", params=query) as response:
                            seen = (await response.json())["data"]["result"][0]["value"][1]
    assert seen == "2", "both replicas are in the store"
    assert found == [Counts(1.0, 10.0)] * 3


LATENCY = Gate.model_validate(
    {"name": "p95", "latency": {"histogram": "request_seconds", "quantile": "0.95"}, "atMost": "200ms"}
)


async def test_native_histograms_are_counted_exactly(tmp_path: Path) -> None:
    """Through a change of resolution and a restart; the limit lies between two bounds."""
    arm, other = _arm("ranker-aaaaaaaaaa"), _arm("ranker-bbbbbbbbbb")
    pod, baseline = _pod("ranker-aaaaaaaaaa"), _pod("ranker-bbbbbbbbbb")
    # Schema 2: bucket i holds what is above 2^((i-1)/4) and at most 2^(i/4) seconds; 200 ms lies in bucket -9.
    pod.natives["request_seconds"] = Native(2, {-12: 50, -9: 10, -4: 5})
    baseline.natives["request_seconds"] = Native(2, {-12: 500})

    def happen(step: int) -> None:
        mine = pod.natives["request_seconds"]
        if step == 0:
            mine.buckets = {-12: 57, -9: 12, -4: 6}
        if step == 1:  # half the resolution: bucket i at schema 1 holds the buckets 2i-1 and 2i of schema 2
            pod.natives["request_seconds"] = Native(1, {-6: 60, -4: 13, -2: 7})
        if step == 2:
            pod.natives["request_seconds"] = Native(1, {-6: 4, -4: 2})

    with _exporters(tmp_path) as exporters:
        exporters.start(pod, baseline)
        job = exporters.job("pods", scrape_native_histograms=True, scrape_protocols=["PrometheusProto"])
        with real_prometheus(tmp_path / "prometheus", [job]) as url:
            async with _provider(url) as provider:
                began = await _scraped(provider, LATENCY, arm, other)
                live: list[Interval] = []
                for step in range(3):
                    start = began + step * STEP
                    await _until(start.timestamp())
                    happen(step)
                    await _until((start + STEP).timestamp() + SETTLED)
                    found = await _read(provider, LATENCY, start, start + STEP, arm, other)
                    assert found.problem is None
                    live += found.intervals
                again = await _read(provider, LATENCY, began, began + 3 * STEP, arm, other)
    slower = []
    for one in live:
        mine = one.candidate
        assert isinstance(mine, Histogram)
        low, high = mine.bound_at_or_below(0.2), mine.bound_at_or_above(0.2)
        assert low is not None
        slower.append((mine.slower_than(high), mine.slower_than(low)))
    assert slower == [  # (beyond the upper bound, beyond the lower bound)
        (Counts(1.0, 10.0), Counts(3.0, 10.0)),
        (Counts(1.0, 5.0), Counts(2.0, 5.0)),
        (Counts(0.0, 6.0), Counts(2.0, 6.0)),
    ]
    assert "judged at 210.2ms (next bucket)" in found.note or "judged at 250ms (next bucket)" in found.note
    assert list(again.intervals) == live


async def test_an_instant_that_is_still_to_come_is_waited_for(tmp_path: Path) -> None:
    arm, pod = _arm("ranker-aaaaaaaaaa"), _pod("ranker-aaaaaaaaaa")
    pod.add(ok=100, failed=3)
    with _exporters(tmp_path) as exporters:
        exporters.start(pod)
        with real_prometheus(tmp_path / "prometheus", [exporters.job("pods")]) as url:
            async with _provider(url) as provider:
                began = await _scraped(provider, ERRORS, arm)
                early = await provider.measure([ERRORS], Plan({"errors": began}, began + STEP, step=STEP), arm, arm)
                assert early.gates["errors"].intervals == ()
                assert early.gates["errors"].problem is None
                assert early.end == began
                await _until(began.timestamp())
                pod.add(ok=9, failed=1)
                await _until((began + STEP).timestamp() + SETTLED)
                found = await _read(provider, ERRORS, began, began + STEP, arm, arm)
                assert _candidates(found.intervals) == [Counts(1.0, 10.0)]
                future = began + timedelta(seconds=120)
                far = await _read(provider, ERRORS, future - STEP, future, arm, arm)
                assert far.problem is not None
                assert far.problem.kind is ProblemKind.SOURCE_DOWN
                assert "behind the operator's" in far.problem.message


async def test_a_partial_answer_is_no_answer(tmp_path: Path) -> None:
    """As Thanos and Mimir give them: a proxy in front of a real Prometheus adds the warning."""
    arm, pod = _arm("ranker-aaaaaaaaaa"), _pod("ranker-aaaaaaaaaa")
    pod.add(ok=100, failed=3)
    said: dict[str, list[str]] = {"warnings": []}
    with _exporters(tmp_path) as exporters:
        exporters.start(pod)
        with real_prometheus(tmp_path / "prometheus", [exporters.job("pods")]) as url:

            async def relay(request: web.Request) -> web.StreamResponse:
                async with (
                    aiohttp.ClientSession() as session,
                    session.request(
                        request.method, f"{url}{request.rel_url}", data=await request.post() or None
                    ) as answer,
                ):
                    body = json.dumps(await answer.json() | said)
                    return web.Response(text=body, status=answer.status, headers={"Date": answer.headers["Date"]})

            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", relay)
            async with TestServer(app) as proxy, _provider(str(proxy.make_url(""))) as provider:
                began = await _scraped(provider, ERRORS, arm)
                await _until(began.timestamp() + SETTLED)
                said["warnings"] = ["store gateway-2 is down"]
                partial = await _read(provider, ERRORS, began - STEP, began, arm, arm)
                assert partial.intervals == ()
                assert partial.problem is not None
                assert partial.problem.kind is ProblemKind.SOURCE_DOWN
                assert "partial answer: store gateway-2 is down" in partial.problem.message
                said["warnings"] = []
                assert (await _read(provider, ERRORS, began - STEP, began, arm, arm)).problem is None


async def test_a_broken_selector_blinds_nobody_else(tmp_path: Path) -> None:
    """Beside good gates of other namespaces; and raw queries that give one number, or do not."""
    namespaces = [f"team-{number}" for number in range(12)]
    arms = {one: _arm("ranker-aaaaaaaaaa", one) for one in namespaces}
    pods = [_pod("ranker-aaaaaaaaaa", namespace=one) for one in namespaces]
    for number, pod in enumerate(pods):
        pod.add(ok=100 + number, failed=3)
    with _exporters(tmp_path) as exporters:
        for number, pod in enumerate(pods):  # one name in all namespaces; the path must differ
            exporters.start(Pod(pod.namespace, f"ranker-aaaaaaaaaa-7d9c5b6f4-abc{number:02d}", pod.counters))
        with real_prometheus(tmp_path / "prometheus", [exporters.job("pods")]) as url:
            async with _provider(url, allow_promql=True) as provider:
                began = await _scraped(provider, ERRORS, *arms.values())
                await _until((began + 2 * STEP).timestamp() + SETTLED)
                asked, first, second = provider.queries, began + STEP, began + 2 * STEP
                looks = [_read(provider, ERRORS, began, first, arms[one], arms[one]) for one in namespaces]
                good = await asyncio.gather(*looks)
                assert provider.queries - asked <= 2 + 1, "two instants, and perhaps the metric's type"
                bad, *fine = await asyncio.gather(
                    _read(provider, BROKEN, first, second, arms["team-3"], arms["team-3"]),
                    *(_read(provider, ERRORS, first, second, one, one) for one in arms.values()),
                )
                value = await _read(provider, _value("sum"), first, second, arms["team-3"], arms["team-4"])
                several = await _read(provider, _value(""), first, second, arms["team-3"], arms["team-4"])
    assert all(one.problem is None for one in good)
    assert all(one.problem is None for one in fine)
    assert bad.problem is not None
    assert bad.problem.kind is ProblemKind.MISCONFIGURED
    assert "error parsing regexp" in bad.problem.message
    assert value.interval is not None
    assert value.interval.candidate == Reading(106.0)
    assert value.interval.baseline == Reading(107.0)
    assert several.problem is not None
    assert "gives 2 series" in several.problem.message


def _value(function: str) -> Gate:
    selector = 'requests_total{namespace="{namespace}",pod=~"{pods}"}'
    return Gate.model_validate(
        {"name": "requests", "value": {"promql": f"{function}({selector})"}, "atMost": "110% of baseline"}
    )


@pytest.fixture(autouse=True)
def _no_stray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine's must not come between."""
    monkeypatch.setenv("NO_PROXY", "*")


async def test_detail_13_one_question_for_all_names_those_that_fail_and_nobody_else(tmp_path: Path) -> None:
    """Between two looks: who begins to fail, in series that were there before or were not; not who always failed a
    little, nor whoever is not watched."""
    names = ("steady", "worsens", "begins", "unwatched")
    arms = {name: _arm(f"{name}-aaaaaaaaaa") for name in names}
    pods = {name: _pod(f"{name}-aaaaaaaaaa") for name in names}
    adds_up = {"bad": 'requests_total{code=~"5.."}', "others": 'requests_total{code!~"5.."}'}
    parts = Gate.model_validate({"name": "parts", "ratio": adds_up, "atMost": "baseline + 1pp"})
    for name, pod in pods.items():
        pod.add(ok=1000, failed=0 if name == "begins" else 20)

    def watched(*gates: Gate) -> list[Watched]:
        return [Watched(("recs", name), gates, arms[name], 0.15) for name in names[:3]]

    with _exporters(tmp_path) as exporters:
        exporters.start(*pods.values())
        with real_prometheus(tmp_path / "prometheus", [exporters.job("pods")]) as url:
            async with _provider(url) as provider:
                began = await _scraped(provider, ERRORS, *arms.values())
                await _until(began.timestamp() + 2.0 + SETTLED)
                asked = provider.queries
                assert await provider.alarms(watched(ERRORS), began + STEP, STEP) == frozenset(), "all is as ever"
                assert provider.queries == asked + 1, "one question for all"
                for name, pod in pods.items():
                    pod.add(ok=30, failed=1 if name == "steady" else 10)
                at = datetime.fromtimestamp(math.floor(time.time()) + 2, UTC)
                await _until(at.timestamp() + SETTLED)
                for gates in ((ERRORS,), (parts,), (ERRORS, parts)):
                    found = await provider.alarms(watched(*gates), at, STEP)
                    assert found == {("recs", "worsens"), ("recs", "begins")}, gates
                found = await provider.alarms(watched(ERRORS, BROKEN), at, STEP)
                assert found == {("recs", "worsens"), ("recs", "begins")}, "what one gate gets wrong is its own"
