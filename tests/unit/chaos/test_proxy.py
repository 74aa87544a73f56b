"""The campaign's proxy passes everything on as it is, and does what its rules say, at the place that they name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.chaos import apifaults
from tests.chaos.proxy import Background, Call, Proxy

PATH = "/apis/apps/v1/namespaces/x/deployments"


class Server:
    """An API server, as far as the proxy can tell."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.url = ""
        self.say = asyncio.Queue[bytes]()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Writes are noted; a watch says what it is told to say."""
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            while chunk := await self.say.get():
                await response.write(chunk)
            return response
        if request.method != "GET":
            self.done.append(f"{request.method} {(await request.read()).decode()}")
        return web.json_response({"path": request.raw_path, "who": request.headers.get("Authorization", "")})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


@pytest.fixture
async def proxy(server: Server, background: Background) -> AsyncIterator[Proxy]:
    made = Proxy(background, server.url)
    await asyncio.to_thread(made.open)
    yield made
    await asyncio.to_thread(made.close)


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer x"}) as session:
        yield session


async def test_a_request_goes_through_as_it_is(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    async with client.get(URL(f"{proxy.url}/api/v1/pods?labelSelector=a%3Db%2Cc", encoded=True)) as response:
        assert await response.json() == {"path": "/api/v1/pods?labelSelector=a%3Db%2Cc", "who": "Bearer x"}
    assert proxy.writes == []


async def test_writes_are_counted_and_nothing_else_is(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    await client.patch(f"{proxy.url}{PATH}/a", data="1")
    await client.patch(f"{proxy.url}{PATH}/a/scale?fieldManager=m", data="2")
    await client.post(f"{proxy.url}{PATH}?dryRun=All", data="3")
    await client.put(f"{proxy.url}/apis/coordination.k8s.io/v1/namespaces/x/leases/l", data="4")
    await client.post(f"{proxy.url}/api/v1/namespaces/x/events", data="5")
    assert [call.shape for call in proxy.writes] == ["PATCH deployments", "PATCH deployments/scale", "POST events"]


@pytest.mark.parametrize("before", [True, False])
async def test_death_before_or_after_the_nth_write(
    proxy: Proxy, server: Server, client: aiohttp.ClientSession, before: bool
) -> None:
    """The operator gets no answer in either case; whether the server has it is the difference."""
    deaths: list[list[str]] = []
    proxy.rule = rule = apifaults.KillAt(lambda: deaths.append(list(server.done)), 2, before=before)
    await client.patch(f"{proxy.url}{PATH}/a", data="1")
    with pytest.raises(aiohttp.ClientError):
        await client.patch(f"{proxy.url}{PATH}/a", data="2")
    await client.patch(f"{proxy.url}{PATH}/a", data="3")
    assert deaths == [["PATCH 1"] if before else ["PATCH 1", "PATCH 2"]]
    assert server.done == (["PATCH 1", "PATCH 3"] if before else ["PATCH 1", "PATCH 2", "PATCH 3"])
    assert rule.injected == {"PATCH deployments": 1}


async def test_death_again_and_again(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    """The third write, and every second one from there on."""
    deaths: list[int] = []
    proxy.rule = apifaults.KillAt(lambda: deaths.append(len(proxy.writes)), 3, before=True, apart=2)
    for _ in range(8):
        with contextlib.suppress(aiohttp.ClientError):
            await client.patch(f"{proxy.url}{PATH}/a", data="1")
    assert deaths == [3, 5, 7]


async def test_refusals_look_like_the_api_servers(proxy: Proxy, server: Server, client: aiohttp.ClientSession) -> None:
    proxy.rule = rule = apifaults.Refuse((409, 429), one_of=2)
    answers = [await client.patch(f"{proxy.url}{PATH}/a", data="x") for _ in range(20)]
    refused = [answer for answer in answers if answer.status != 200]
    assert [answer.status for answer in refused][:3] == [409, 429, 409]
    assert (await refused[0].json())["reason"] == "Conflict"
    assert refused[1].headers["Retry-After"] == "1"
    assert len(server.done) == 20 - sum(rule.injected.values()) == 20 - len(refused)


async def test_an_answer_is_lost_after_the_write(proxy: Proxy, server: Server, client: aiohttp.ClientSession) -> None:
    proxy.rule = apifaults.LostAnswers(every=1, silent=False)
    with pytest.raises(aiohttp.ClientError):
        await client.patch(f"{proxy.url}{PATH}/a", data="1")
    assert server.done == ["PATCH 1"]


async def test_a_watch_passes_and_is_cut(proxy: Proxy, server: Server, client: aiohttp.ClientSession) -> None:
    response = await client.get(f"{proxy.url}{PATH}?watch=true")
    await server.say.put(b"half a li")
    assert await response.content.readany() == b"half a li"
    assert await asyncio.to_thread(proxy.cut_watches) == 1
    with pytest.raises(aiohttp.ClientError):
        await response.content.readany()


async def test_a_silent_watch_stays_open_and_says_it_all_afterwards(
    proxy: Proxy, server: Server, client: aiohttp.ClientSession
) -> None:
    response = await client.get(f"{proxy.url}{PATH}?watch=true")
    proxy.rule = rule = apifaults.SilentWatches(for_ever=False)
    await server.say.put(b"late")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(response.content.readany(), 0.3)
    rule.over = True
    assert await response.content.readany() == b"late"
    assert rule.injected == {"held events": 1}


async def test_watches_that_are_gone_say_so_in_both_ways(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    proxy.rule = apifaults.GoneWatches()
    answers = [await client.get(f"{proxy.url}{PATH}?watch=true") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 410, 200, 200]
    assert (await answers[3].json(content_type=None))["object"]["code"] == 410


def test_what_a_request_is_about() -> None:
    def shape(method: str, path: str) -> str:
        return Call(method, path, "", b"", {}).shape

    assert shape("PATCH", "/apis/modelrollout.io/v1alpha1/namespaces/x/modelrollouts/a/status") == (
        "PATCH modelrollouts/status"
    )
    assert shape("GET", "/api/v1/namespaces/x") == "GET namespaces"
    assert shape("DELETE", "/api/v1/namespaces/x/services/a") == "DELETE services"
    assert shape("GET", "/apis/apps/v1/deployments") == "GET deployments"
