"""A source that fails, in every way that there is: named, bounded, left alone, and found again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from modelrollout.metrics import client as client_module
from modelrollout.metrics.client import Client, SourceDownError
from modelrollout.metrics.wire import Limits, Wire
from modelrollout.telemetry import meters
from tests.support.faults import Fault, FaultyProxy

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_ROW = {"metric": {"pod": "a"}, "value": [NOW.timestamp(), "1"]}


async def _answer(request: web.Request) -> web.Response:
    if request.path.endswith("/values"):
        return web.json_response({"status": "success", "data": ["up"]})
    return web.json_response({"status": "success", "data": {"resultType": "vector", "result": [_ROW]}})


@pytest.fixture
async def proxy() -> AsyncIterator[FaultyProxy]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _answer)
    async with TestServer(application) as server:
        with FaultyProxy(str(server.make_url(""))) as running:
            yield running


@pytest.fixture
async def client(proxy: FaultyProxy) -> AsyncIterator[Client]:
    found = Client(Wire(proxy.url, 10.0, Limits(at_once=4, answer_mib=1)))
    yield found
    await found.close()


@pytest.fixture
async def hasty(proxy: FaultyProxy) -> AsyncIterator[Client]:
    found = Client(Wire(proxy.url, 0.5, Limits(at_once=4, answer_mib=1)))
    yield found
    await found.close()


async def _failure(client: Client) -> SourceDownError:
    with pytest.raises(SourceDownError) as caught:
        await client.instant("up", NOW)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.DOWN, "does not answer: connection refused"),
        (Fault.ERROR, "answered HTTP 500 without JSON"),
        (Fault.UNAUTHORIZED, "refuses the operator (HTTP 401): it wants to know who asks"),
        (Fault.REDIRECT, "redirects to another address, which is not followed"),
        (Fault.RUBBISH, "sends no JSON"),
        (Fault.HUGE, "sends no JSON, and a lot of it"),
        (Fault.DEEP, "without JSON"),
        (Fault.OTHER, "an answer of another shape"),
        (Fault.BOMB, "answers with more than 1 MiB: narrow the gate's selector"),
        (Fault.PARTIAL, "gave a partial answer: one store did not answer"),
    ],
)
async def test_detail_17_every_way_to_fail_is_named_and_bounded(
    proxy: FaultyProxy, client: Client, fault: Fault, words: str
) -> None:
    proxy.fail(fault)
    assert words in str(await _failure(client))
    proxy.heal()
    assert (await client.instant("up", NOW)).result == [_ROW], "one failure is no outage"


@pytest.mark.parametrize("fault", [Fault.HANGING, Fault.TRICKLE])
async def test_detail_17_an_answer_that_does_not_end_in_time_is_none(
    proxy: FaultyProxy, hasty: Client, fault: Fault
) -> None:
    proxy.fail(fault)
    assert "does not answer: timed out" in str(await _failure(hasty))


async def test_an_answer_that_is_too_large_can_be_asked_for_in_parts(proxy: FaultyProxy, client: Client) -> None:
    proxy.fail(Fault.BOMB)
    for _ in range(5):
        assert (await _failure(client)).splittable
    assert client.down_since is None, "it is the question that is too large, for others it answers"


def _counted_down() -> float:
    found = meters.PROMETHEUS_REQUESTS.labels("default", "down")
    return float(found._value.get())


async def test_a_dead_source_is_asked_no_more_and_seen_soon_when_it_is_back(proxy: FaultyProxy, client: Client) -> None:
    proxy.fail(Fault.ERROR)
    for _ in range(3):
        await _failure(client)
    asked, counted = proxy.seen["error"], _counted_down()
    said = {str(await _failure(client)) for _ in range(50)}
    assert all("down since" in one and "HTTP 500" in one for one in said)
    assert proxy.seen["error"] - asked <= 1, "a probe at most"
    assert _counted_down() - counted == 50, "an outage is no silence in the operator's own metrics"
    proxy.heal()
    await _back(client)
    assert client.down_since is None


async def _back(client: Client, within: float = 20.0) -> float:
    began = time.monotonic()
    while time.monotonic() - began < within:
        try:
            await client.instant("up", NOW)
            return time.monotonic() - began
        except SourceDownError:
            await asyncio.sleep(0.05)
    raise AssertionError(f"still down after {within} s")


async def test_questions_that_wait_behind_one_that_hangs_do_not_hang_one_after_the_other(
    proxy: FaultyProxy, hasty: Client
) -> None:
    proxy.fail(Fault.HANGING)
    asked = [_failure(hasty) for _ in range(100)]
    await asyncio.wait_for(asyncio.gather(*asked), 20.0)
    assert proxy.seen["hanging"] < 15, "four at a time, until three have failed"
    proxy.heal()
    await _back(hasty)


async def test_a_source_that_hangs_slows_nobody_who_asks_another(proxy: FaultyProxy, hasty: Client) -> None:
    with FaultyProxy(proxy._upstream) as other:
        whole = Client(Wire(other.url, 5.0))
        proxy.fail(Fault.HANGING)
        hanging = [asyncio.ensure_future(_failure(hasty)) for _ in range(50)]
        for _ in range(20):
            await whole.instant("up", NOW)
        assert other.seen[""] == 20
        await asyncio.gather(*hanging)
        await whole.close()


async def test_a_slow_source_is_asked_by_a_few_at_a_time(proxy: FaultyProxy, client: Client) -> None:
    proxy.fail(Fault.SLOW, 0.05)
    await asyncio.gather(*(client.instant("up", NOW) for _ in range(40)))
    assert proxy.most_in_flight == 4


async def test_a_source_that_nobody_asks_is_not_probed(
    proxy: FaultyProxy, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_NOBODY_ASKS_SECONDS", 0.0)
    proxy.fail(Fault.ERROR)
    for _ in range(3):
        await _failure(client)
    assert client._prober is not None
    await asyncio.wait_for(client._prober, 10.0)
    assert proxy.seen["error"] == 3
    assert "down since" in str(await _failure(client))
    assert not client._prober.done(), "whoever asks again wants to know"


async def test_an_overloaded_source_is_left_alone_after_each_relapse(proxy: FaultyProxy, client: Client) -> None:
    """Probes are answered and questions are not: each trial is one volley, and the pauses grow."""
    proxy.fail(Fault.ERROR)
    for _ in range(3):
        await _failure(client)
    for _ in range(3):
        client._breaker = client._breaker.tried_again()
        before = proxy.seen["error"]
        await asyncio.gather(*(_failure(client) for _ in range(40)))
        assert proxy.seen["error"] - before <= 5
    assert client._breaker.pause(1.0) == 8.0


async def test_names_are_listed_through_the_same_connection(proxy: FaultyProxy, client: Client) -> None:
    assert await client.names() == ["up"]
    assert client.queries == 1
    proxy.fail(Fault.BOMB)
    with pytest.raises(SourceDownError, match="did not list its metrics: answers with more than 1 MiB"):
        await client.names()
    assert await client.about("metadata", {}) is None


@pytest.mark.parametrize(("seconds", "said"), [(5.0, "4000ms"), (3.0, "2400ms"), (1.0, "800ms")])
async def test_the_source_is_told_a_time_that_promql_understands(seconds: float, said: str) -> None:
    heard: list[str] = []

    async def note(request: web.Request) -> web.Response:
        heard.append(str((await request.post())["timeout"]))
        return await _answer(request)

    application = web.Application()
    application.router.add_post("/{path:.*}", note)
    async with TestServer(application) as server:
        client = Client.at(str(server.make_url("")), seconds)
        await client.instant("up", NOW)
        await client.close()
    assert heard == [said]


async def test_a_path_before_the_api_is_kept(proxy: FaultyProxy) -> None:
    paths: list[str] = []

    async def note(request: web.Request) -> web.Response:
        paths.append(request.path)
        return await _answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", note)
    async with TestServer(application) as server:
        client = Client.at(f"{server.make_url('')}/prometheus/")
        await client.instant("up", NOW)
        await client.names()
        await client.close()
    assert paths == [f"//prometheus/api/v1/{one}"[1:] for one in ("query", "label/__name__/values")]


async def test_a_gzip_answer_that_is_cut_short_is_no_answer() -> None:
    import gzip

    raw = gzip.compress(json.dumps({"status": "success", "data": {"result": []}}).encode())

    async def cut(_: web.Request) -> web.Response:
        return web.Response(body=raw[: len(raw) // 2], headers={"Content-Encoding": "gzip"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", cut)
    async with TestServer(application) as server:
        client = Client.at(str(server.make_url("")))
        assert "cut short" in str(await _failure(client))
        await client.close()
