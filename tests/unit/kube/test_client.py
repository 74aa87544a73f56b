"""The API client against a small HTTP server: what each answer becomes, and what a watch survives."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from yarl import URL

from modelrollout.kube.client import (
    ROLLOUTS,
    TOKEN_REVIEWS,
    ConflictError,
    FencedError,
    Gone,
    Invalid,
    Kube,
    KubeError,
    NotFound,
)
from modelrollout.kube.limits import Lane
from modelrollout.telemetry.meters import REGISTRY

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[Kube]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with one handler; a client of it."""
    started: list[tuple[TestServer, Kube]] = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Kube:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        server = TestServer(app)
        await server.start_server()
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        kube = Kube(configuration)
        started.append((server, kube))
        return kube

    yield start
    for server, kube in started:
        await kube.close()
        await server.close()


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, 'deployments.apps "x" not found', NotFound),
        (409, "the object has been modified", ConflictError),
        (422, "the server rejected our request due to an error in our request", ConflictError),
        (422, "testing path /metadata/uid value failed", ConflictError),
        (422, "spec.weight: Invalid value", Invalid),
        (400, "quantities must match the regular expression", Invalid),
        (410, "too old resource version", Gone),
        (403, "exceeded quota: tight", KubeError),
        (403, "unable to create new content in namespace x because it is being terminated", ConflictError),
        (500, "etcdserver: leader changed", KubeError),
    ],
)
async def test_errors_are_mapped_once(serve: Serve, status: int, message: str, kind: type[KubeError]) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "message": message}, status=status)

    kube = await serve(refuse)
    with pytest.raises(KubeError) as caught:
        await kube.merge_patch("/x", {})
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert caught.value.status == status


async def test_an_answer_that_is_no_json_is_quoted(serve: Serve) -> None:
    async def proxy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=502, text="bad gateway")

    with pytest.raises(KubeError, match="bad gateway"):
        await (await serve(proxy)).get("/x")


async def test_a_server_that_is_away_is_said_in_plain_words(serve: Serve) -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    kube = Kube(configuration)
    with pytest.raises(KubeError, match=r"^the API server cannot be reached: connection refused$"):
        await kube.get("/x")
    await kube.close()


async def test_what_is_gone_already_need_not_be_deleted(serve: Serve) -> None:
    async def missing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "not found"}, status=404)

    await (await serve(missing)).delete("/x")


async def test_each_write_says_what_it_is(serve: Serve) -> None:
    seen: list[tuple[str, str, str, object]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.content_type, request.query_string, json.loads(await request.text())))
        return web.json_response({})

    kube = await serve(note)
    await kube.apply("/x", {"a": 1})
    await kube.json_patch("/x", [{"op": "test"}])
    await kube.merge_patch("/x", {"b": 2})
    await kube.create("/x", {"c": 3}, dry_run=True)
    assert seen == [
        ("PATCH", "application/apply-patch+yaml", "fieldManager=modelrollout&force=true", {"a": 1}),
        ("PATCH", "application/json-patch+json", "fieldManager=modelrollout", [{"op": "test"}]),
        ("PATCH", "application/merge-patch+json", "fieldManager=modelrollout", {"b": 2}),
        ("POST", "application/json", "fieldManager=modelrollout&dryRun=All", {"c": 3}),
    ]


def _stream(*chunks: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return send


async def test_a_watch_reads_lines_of_any_length_and_split(serve: Serve) -> None:
    """Anybody may write an object larger than an HTTP library's line buffer; it must not stop the operator."""
    large = json.dumps({"type": "ADDED", "object": {"data": "x" * 600_000}}).encode() + b"\n"
    small = json.dumps({"type": "MODIFIED", "object": {}}).encode() + b"\n"
    kube = await serve(_stream(large[:100_000], large[100_000:] + small + small[:5], small[5:], b'{"type": "ADD'))
    types = [event["type"] async for event in kube.watch("/x", "1", "")]
    assert types == ["ADDED", "MODIFIED", "MODIFIED"]


async def test_an_error_in_a_watch_is_raised(serve: Serve) -> None:
    error = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}}
    kube = await serve(_stream(json.dumps(error).encode() + b"\n"))
    with pytest.raises(Gone, match="too old"):
        [event async for event in kube.watch("/x", "1", "a=b")]


def _sent(verb: str, resource: str, code: str) -> float:
    labels = {"verb": verb, "resource": resource, "code": code}
    return REGISTRY.get_sample_value("modelrollout_api_requests_total", labels) or 0.0


async def test_requests_are_counted_by_verb_resource_and_answer_and_never_by_name(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=200 if request.method == "GET" else 409)

    kube = await serve(answer)
    asked = [
        ("list", "modelrollouts", "200"),
        ("get", "modelrollouts", "200"),
        ("patch", "modelrollouts/status", "409"),
    ]
    asked += [("create", "tokenreviews", "409"), ("get", "modelrollouts", "none")]
    before = [_sent(*one) for one in asked]
    await kube.get(ROLLOUTS.path())
    await kube.get(ROLLOUTS.path("recs", "ranker"))
    for refused in (
        kube.json_patch(ROLLOUTS.path("recs", "ranker", "status"), []),
        kube.create(TOKEN_REVIEWS.path(), {}),
    ):
        with pytest.raises(ConflictError):
            await refused
    kube._host = "http://127.0.0.1:9"
    with pytest.raises(KubeError):
        await kube.get(ROLLOUTS.path("recs", "ranker"))
    assert [_sent(*one) - was for one, was in zip(asked, before, strict=True)] == [1.0, 1.0, 1.0, 1.0, 3.0]


async def test_a_whole_object_that_is_replaced_is_counted_as_an_update(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"asked": request.method})

    kube = await serve(answer)
    lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"
    assert await kube.replace(lease, {"metadata": {"name": "b"}}) == {"asked": "PUT"}
    labels = {"verb": "update", "resource": "leases", "code": "200"}
    assert REGISTRY.get_sample_value("modelrollout_api_requests_total", labels) == 1.0


async def test_rule_14_a_429_is_waited_out_by_its_lane_alone(serve: Serve) -> None:
    refused: list[str] = []

    async def busy(request: web.Request) -> web.StreamResponse:
        if request.path not in refused:
            refused.append(request.path)
            return web.json_response({"message": "too many"}, status=429, headers={"Retry-After": "1"})
        return web.json_response({"path": request.path})

    kube, loop = await serve(busy), asyncio.get_running_loop()
    begun = loop.time()
    events = asyncio.create_task(kube.create("/events", {}, lane=Lane.EVENTS))
    await asyncio.sleep(0.3)
    assert await kube.apply("/route", {}, lane=Lane.LOWERING) == {"path": "/route"}
    assert not events.done(), "a lowering is said again at once"
    assert await events == {"path": "/events"}
    assert loop.time() - begun >= 1.0


async def test_rule_14_hanging_status_writes_keep_no_rollback_waiting(serve: Serve) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        if request.path == "/status":
            await asyncio.sleep(60)
        return web.json_response({"path": request.path})

    kube = await serve(hang)
    stuck = [asyncio.create_task(kube.merge_patch("/status", {}, lane=Lane.STATUS)) for _ in range(300)]
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        assert await kube.apply("/route", {}, lane=Lane.LOWERING) == {"path": "/route"}
        assert await kube.apply("/service", {}) == {"path": "/service"}
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_rule_14_a_lowering_is_said_again_when_its_connection_dies(serve: Serve) -> None:
    asked = 0

    async def die(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        if asked < 3:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({})

    kube = await serve(die)
    back: list[int] = []
    kube.returned = lambda: back.append(asked)
    assert await kube.apply("/route", {}, lane=Lane.LOWERING) == {}
    assert back == [3], "who waits to try again is told that the API server is back"
    asked = 0
    with pytest.raises(KubeError, match="reached"):
        await kube.create("/events", {})


async def test_rule_14_one_answer_of_three_that_fails_costs_no_look(serve: Serve) -> None:
    """A look of several requests would hardly ever come to its end."""
    asked: list[str] = []

    async def shaky(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        return web.json_response({"message": "etcdserver: leader changed"}, status=200 if len(asked) % 3 == 0 else 500)

    kube = await serve(shaky)
    await kube.merge_patch("/x", {})
    assert asked == ["PATCH"] * 3
    with pytest.raises(KubeError, match="leader changed"):
        await kube.create("/x", {})
    assert asked == ["PATCH"] * 3 + ["POST"], "what is created might be there already"


async def test_a_token_that_changes_is_taken_up(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ServiceAccount's token is written anew by the kubelet long before the old one ends."""
    seen: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["Authorization"])
        return web.json_response({})

    url = URL((await serve(note))._host)
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    authority.write_text(ssl.DER_cert_to_PEM_cert(ssl.create_default_context().get_ca_certs(binary_form=True)[0]))
    configuration = Configuration()
    loader = InClusterConfigLoader(
        str(token),
        str(authority),
        environ={"KUBERNETES_SERVICE_HOST": str(url.host), "KUBERNETES_SERVICE_PORT": str(url.port)},
    )
    loader.load_and_set(configuration)
    kube = Kube(configuration)
    monkeypatch.setattr(kube, "_host", str(url))
    await kube.get("/x")
    token.write_text("second")
    await kube.get("/x")
    loader.token_expires_at = datetime.datetime.now()
    await kube.get("/x")
    await kube.close()
    assert seen == ["bearer first", "bearer first", "bearer second"]


class _Fence:
    """The right to write, for so many seconds more."""

    careful = 2.5

    def __init__(self, left: float) -> None:
        self.left = left

    async def hold(self, seconds: float) -> None:
        if self.left <= seconds:
            raise FencedError("over")


async def test_detail_28_a_careful_write_goes_out_only_if_the_lease_outlives_it(serve: Serve) -> None:
    seen: list[tuple[str, str | None]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.query.get("timeout")))
        return web.json_response({})

    kube = await serve(note)
    short, over = kube.fenced(_Fence(1.0)), kube.fenced(_Fence(0.0))
    await kube.fenced(_Fence(4.0)).apply("/x", {}, careful=True)
    await short.json_patch("/x", [], lane=Lane.LOWERING)
    await over.get("/x")
    assert seen == [("PATCH", "2500ms"), ("PATCH", None), ("GET", None)], "the server is told to give up with us"
    refused: list[Awaitable[object]] = [
        short.apply("/x", {}, careful=True),
        short.json_patch("/x", [], careful=True),
        short.merge_patch("/x", {}, careful=True),
        short.delete("/x"),
        over.json_patch("/x", [], lane=Lane.LOWERING),
        over.create("/x", {}),
    ]
    for write in refused:
        with pytest.raises(FencedError):
            await write
    assert len(seen) == 3, "nothing was sent"


async def test_detail_28_what_was_changed_meanwhile_is_not_deleted(serve: Serve) -> None:
    bodies: list[str] = []

    async def note(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.text())
        return web.json_response({"message": "the object has been modified"}, status=409)

    with pytest.raises(ConflictError):
        await (await serve(note)).delete("/x", version="41")
    assert json.loads(bodies[0]) == {"preconditions": {"resourceVersion": "41"}}
