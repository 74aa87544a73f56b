"""An HTTP proxy between the operator and a server, which can do to requests what networks and servers do.

It counts the writes that pass, so that a fault can be put at each single one of them. The operator speaks plain HTTP to
it with its own token; the proxy speaks TLS to the API server. Whatever a :class:`Rule` does not touch goes through as
it is: watches too, chunk by chunk.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import web
from yarl import URL

__all__ = ["Answer", "Background", "Call", "CutError", "Proxy", "Rule"]

T = TypeVar("T")

_WRITES: Final = ("POST", "PUT", "PATCH", "DELETE")
_NO_STATE: Final = ("leases", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews")
"""Written all the time or without a trace: no step of a release."""
_POLL_SECONDS: Final = 0.1
_HOP_BY_HOP: Final = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "host", "date"})


class CutError(Exception):
    """The connection ends here, without an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the operator."""

    method: str
    path: str
    query: str
    body: bytes
    headers: dict[str, str]

    @property
    def is_watch(self) -> bool:
        """A watch of a collection."""
        return self.method == "GET" and ("watch=true" in self.query or "watch=1" in self.query)

    @property
    def is_write(self) -> bool:
        """It changes something that a release is made of."""
        return self.method in _WRITES and "dryRun" not in self.query and self.resource not in _NO_STATE

    @property
    def resource(self) -> str:
        """The collection's name, like ``deployments``."""
        return self._parts()[0]

    @property
    def shape(self) -> str:
        """Method and resource, like ``PATCH modelrollouts/status``."""
        plural, sub = self._parts()
        return f"{self.method} {plural}{f'/{sub}' if sub else ''}"

    def _parts(self) -> tuple[str, str]:
        parts = [part for part in self.path.split("/") if part]
        parts = parts[2:] if parts[:1] == ["api"] else parts[3:]
        if parts[:1] == ["namespaces"] and len(parts) > 2:
            parts = parts[2:]
        return (parts[0] if parts else ""), (parts[2] if len(parts) > 2 else "")


class Rule:
    """What is done to requests; this one does nothing. ``injected`` counts what was really done, by its name."""

    def __init__(self) -> None:
        self.injected: Counter[str] = Counter()
        self.over = False
        """It does not count any more; what it holds back may go on."""

    async def healed(self) -> None:
        """Until it does not count any more; it is told from other threads, which an event of this loop cannot be."""
        while not self.over:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)

    async def before(self, call: Call) -> Answer | None:
        """Before the server sees it; an answer keeps it from the server, :class:`CutError` ends the connection."""
        return None

    async def change(self, call: Call) -> Call:
        """What the server sees of it."""
        return call

    async def after(self, call: Call, answer: Answer) -> Answer:
        """The server has done it and the operator does not know yet."""
        return answer

    async def chunk(self, call: Call, chunk: bytes) -> bytes:
        """A piece of a watch on its way to the operator."""
        return chunk


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        """Stop what is left, and the loop."""
        with contextlib.suppress(TimeoutError):
            self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=5)

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=5) if others else None


class Proxy:
    """See the module. ``rule`` may be exchanged at any time and counts from the next request on."""

    def __init__(self, background: Background, upstream: str, ca_file: Path | None = None) -> None:
        self._background = background
        self._upstream = upstream.rstrip("/")
        self._tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._streams: dict[int, tuple[web.Request, asyncio.Task[Any] | None]] = {}
        self.rule = Rule()
        self.url = ""
        self.writes: list[Call] = []
        """Every write that came, in order."""
        self.calls: Counter[str] = Counter()
        """Every request that came, by method and resource; watches as ``WATCH``."""

    def open(self) -> None:
        """Begin to listen, on a port of its own."""
        self._background.run(self._open())

    def close(self) -> None:
        """End all connections."""
        self._background.run(self._close())

    def cut_watches(self) -> int:
        """Break every open watch off, in the middle of whatever it was about to say; how many there were."""
        return self._background.run(self._cut_watches())

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _close(self) -> None:
        await self._cut_watches()
        if self._session is not None:
            await self._session.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _cut_watches(self) -> int:
        open_now = list(self._streams.values())
        for request, task in open_now:
            _abort(request)
            if task is not None:
                task.cancel()
        return len(open_now)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        call = Call(
            request.method, request.rel_url.raw_path, request.rel_url.raw_query_string, await request.read(), headers
        )
        self.calls[f"WATCH {call.resource}" if call.is_watch else call.shape] += 1
        if call.is_write:
            self.writes.append(call)
        rule = self.rule
        try:
            answer = await rule.before(call)
            if answer is None and call.is_watch:
                return await self._stream(request, call)
            if answer is None:
                answer = await rule.after(call, await self._ask(await rule.change(call)))
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        except (CutError, aiohttp.ClientError, OSError):
            _abort(request)
            return web.Response(status=502)  # nobody is there to read it

    async def _ask(self, call: Call) -> Answer:
        async with self._request(call) as response:
            return Answer(response.status, await response.read(), _passed_on(response))

    async def _stream(self, request: web.Request, call: Call) -> web.StreamResponse:
        async with self._request(call) as response:
            mine = web.StreamResponse(status=response.status, headers=_passed_on(response))
            await mine.prepare(request)
            self._streams[id(request)] = (request, asyncio.current_task())
            try:
                async for chunk in response.content.iter_any():
                    await mine.write(await self.rule.chunk(call, chunk))
            finally:
                self._streams.pop(id(request), None)
            await mine.write_eof()
            return mine

    def _request(self, call: Call) -> Any:
        assert self._session is not None
        url = URL(f"{self._upstream}{call.path}" + (f"?{call.query}" if call.query else ""), encoded=True)
        return self._session.request(
            call.method, url, data=call.body or None, headers=call.headers, allow_redirects=False
        )


def _passed_on(response: aiohttp.ClientResponse) -> dict[str, str]:
    kept = {name: value for name, value in response.headers.items() if name.lower() not in _HOP_BY_HOP}
    return kept | ({"Date": response.headers["Date"]} if "Date" in response.headers else {})


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
