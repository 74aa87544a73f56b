"""A Prometheus that fails in every way it can: an HTTP proxy before the real one, told from outside what to do.

It runs in a thread of its own, so that tests that wait need no event loop. ``down`` closes the port as a process that
died does; everything else is an answer, or none. ::

    with FaultyProxy(cluster.prometheus_url) as proxy:
        proxy.fail(Fault.HANGING)
        proxy.heal()
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp import web

__all__ = ["Fault", "FaultyProxy"]

_PATIENCE_SECONDS: Final = 30.0
_CHUNK: Final = b"0" * 65_536

Body = dict[str, Any]


class Fault(StrEnum):
    """What goes wrong."""

    DOWN = "down"
    """Nobody listens."""
    HANGING = "hanging"
    """It takes the question and never answers."""
    ERROR = "error"
    """HTTP 500 with a page of HTML, as proxies answer for a dead backend."""
    UNAUTHORIZED = "unauthorized"
    """HTTP 401."""
    REDIRECT = "redirect"
    """To another host."""
    RUBBISH = "rubbish"
    """HTTP 200 with bytes that are no JSON."""
    DEEP = "deep"
    """JSON that is nested as deep as the answer is long."""
    OTHER = "other"
    """JSON of another shape."""
    HUGE = "huge"
    """An answer without an end."""
    BOMB = "bomb"
    """A small answer that unpacks to a huge one."""
    TRICKLE = "trickle"
    """A byte now and then."""
    PARTIAL = "partial"
    """The answer with a warning that some of it is missing."""
    NAN = "nan"
    """Every number is NaN."""
    EMPTY = "empty"
    """No series at all."""
    SLOW = "slow"
    """The right answer, ``seconds`` late."""
    BEHIND = "behind"
    """Its clock stands ``seconds`` back: what it is asked for has not happened yet."""


class FaultyProxy:
    """See the module. ``seen`` counts requests by the fault they met ("" for none)."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream.rstrip("/")
        self._fault: Fault | None = None
        self._seconds = 0.0
        self._healed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-prometheus", daemon=True)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.seen: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def url(self) -> str:
        """Where it listens; the same after having been down."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_SECONDS)
        self._loop.close()

    def fail(self, fault: Fault, seconds: float = 0.0) -> None:
        """From now on; what is under way goes on as it was, but for ``DOWN``, which cuts it."""
        self._do(self._set(fault, seconds))

    def heal(self) -> None:
        """Whole again; who hangs is answered."""
        self._do(self._set(None, 0.0))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)

    async def _set(self, fault: Fault | None, seconds: float) -> None:
        self._fault, self._seconds = fault, seconds
        self._healed.set()
        self._healed = asyncio.Event()
        if fault is Fault.DOWN:
            await self._unlisten()
        elif self._runner is None:
            await self._listen()

    async def _listen(self) -> None:
        application = web.Application(client_max_size=16 * 1024**2)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def _unlisten(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _close(self) -> None:
        self._healed.set()
        await self._unlisten()
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault, seconds = self._fault, self._seconds
        self.seen[str(fault or "")] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if fault in _ANSWERS:
                return _ANSWERS[fault]()
            if fault is Fault.HANGING:
                await self._healed.wait()
            if fault in (Fault.HUGE, Fault.TRICKLE):
                return await self._endless(request, fault)
            if fault is Fault.SLOW:
                await asyncio.sleep(seconds)
            return await self._forwarded(request, fault, seconds)
        finally:
            self.in_flight -= 1

    async def _endless(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while not self._healed.is_set() and self._fault is fault:
            await response.write(_CHUNK if fault is Fault.HUGE else b" ")
            await asyncio.sleep(0.0 if fault is Fault.HUGE else 0.2)
        return response

    async def _forwarded(self, request: web.Request, fault: Fault | None, seconds: float) -> web.Response:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        kept = {name: request.headers[name] for name in ("Content-Type", "Authorization") if name in request.headers}
        call = self._session.request(
            request.method,
            f"{self._upstream}{request.path}",
            params=request.query,
            data=await request.read(),
            headers=kept,
        )
        async with call as response:
            raw, status, kind = await response.read(), response.status, response.content_type
        headers = {"Date": _date(seconds)} if fault is Fault.BEHIND else {}
        if fault in _CHANGES and status == 200:
            answer = json.loads(raw)
            _CHANGES[fault](answer)
            raw = json.dumps(answer).encode()
        return web.Response(body=raw, status=status, content_type=kind, headers=headers)


@functools.cache
def _bomb() -> bytes:
    """64 MB in 64 KB."""
    return gzip.compress(b"{" + b" " * 64_000_000 + b"}", compresslevel=6)


def _date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)


def _warn(answer: Body) -> None:
    answer["warnings"] = ["one store did not answer: partial response"]


def _series(answer: Body) -> list[Body]:
    data = answer.get("data")
    return data.get("result") or [] if isinstance(data, dict) and data.get("resultType") in ("vector", "matrix") else []


def _undo_numbers(answer: Body) -> None:
    for one in _series(answer):
        for sample in [one["value"]] if "value" in one else one.get("values", []):
            sample[1] = "NaN"


def _forget_series(answer: Body) -> None:
    _series(answer).clear()


_CHANGES: Final[dict[Fault | None, Callable[[Body], None]]] = {
    Fault.PARTIAL: _warn,
    Fault.NAN: _undo_numbers,
    Fault.EMPTY: _forget_series,
}
_ANSWERS: Final[dict[Fault | None, Callable[[], web.Response]]] = {
    Fault.ERROR: lambda: web.Response(status=500, text="<html>upstream is away</html>", content_type="text/html"),
    Fault.UNAUTHORIZED: lambda: web.Response(status=401, text="Unauthorized"),
    Fault.REDIRECT: lambda: web.Response(status=307, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
    Fault.RUBBISH: lambda: web.Response(body=bytes(range(256)) * 64),
    Fault.DEEP: lambda: web.Response(text='{"a":' * 200_000),
    Fault.OTHER: lambda: web.json_response({"status": "success", "data": ["up"], "warnings": 7}),
    Fault.BOMB: lambda: web.Response(body=_bomb(), headers={"Content-Encoding": "gzip"}),
}
