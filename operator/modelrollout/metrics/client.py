"""Prometheus' HTTP API (also Thanos', Mimir's, VictoriaMetrics'): a whole answer, or the reason why there is none.

One connection (``wire.py``) for everything: it is cancelled cleanly, times out, and keeps the warnings that make a
partial answer recognisable. While the source is down nothing is asked of it but whether it is back (``breaker.py``).
``prometheus-api-client``, which is synchronous and drops warnings, serves where neither matters: listing names to say
"did you mean". It speaks through the same connection.

Source: Prometheus HTTP API v1, /api/v1/query, /api/v1/query_range and the endpoints for metadata.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from modelrollout.metrics.breaker import Breaker, State
from modelrollout.metrics.wire import NoAnswerError, Reply, TooLargeError, Wire
from modelrollout.telemetry import meters

__all__ = ["Answer", "Client", "NotYetError", "RefusedQueryError", "SourceDownError"]

TIMEOUT_SECONDS: Final = 5.0
_LONG_AT_ONCE: Final = 1
"""Questions about the past at a time, so that these never keep the present waiting."""
_SERVERS_SHARE: Final = 0.8
"""Prometheus itself gives up a little earlier, and says so: a slow query is told from a Prometheus that hangs."""
_LONG_TIMES: Final = 6.0
"""A question about many instants may take that many times as long."""
_PROBE_SECONDS: Final = 2.0
_NOBODY_ASKS_SECONDS: Final = 60.0
"""A source that nobody asked for so long is not probed any more."""
_LONGEST_WORDS: Final = 300
_OK: Final = 200
_TOO_LARGE: Final = "too_large"


class SourceDownError(Exception):
    """Prometheus did not give a whole answer. ``kind``: the API's type of error; empty when there was no answer."""

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def splittable(self) -> bool:
        """Whether it was the question that was too much for it."""
        return self.kind in ("execution", "timeout", _TOO_LARGE)


class RefusedQueryError(Exception):
    """Prometheus refuses the query itself."""


class NotYetError(Exception):
    """The instant asked for is still in Prometheus' future, by so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Prometheus' clock is {seconds:.0f} s behind the instant asked for")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: ``kind`` is vector, matrix, scalar or string."""

    kind: str
    result: list[Any]
    clock: datetime | None
    """When Prometheus (by its own clock) said so, to the second; None when it does not say."""
    notes: tuple[str, ...] = ()
    """What PromQL remarks about the query."""


class Client:
    """One Prometheus. ``source``: its name in the operator's own metrics."""

    def __init__(self, wire: Wire, *, source: str = "default") -> None:
        self.url = wire.url
        self._source = source
        self._wire = wire
        self._turn = asyncio.Semaphore(wire.limits.at_once)
        self._long_turn = asyncio.Semaphore(_LONG_AT_ONCE)
        self._names_turn = asyncio.Lock()
        self._breaker = Breaker()
        self._prober: asyncio.Task[None] | None = None
        self._asked_at = 0.0

    @classmethod
    def at(cls, url: str, timeout: float = TIMEOUT_SECONDS) -> Client:
        """A Prometheus that lets everybody ask."""
        return cls(Wire(url.rstrip("/"), timeout))

    @property
    def queries(self) -> int:
        """How many HTTP requests were sent."""
        return self._wire.sent

    @property
    def down_since(self) -> datetime | None:
        """Since when it is down; None while it answers."""
        return None if self._breaker.state is State.CLOSED else self._breaker.since

    async def close(self) -> None:
        """Close the connections."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
        await self._wire.close()

    async def instant(self, query: str, at: datetime) -> Answer:
        """A query's value at an instant.

        Raises
        ------
        SourceDownError, RefusedQueryError
        """
        return await self._query("query", {"query": query, "time": _seconds(at)}, self._turn, self._wire.timeout)

    async def range(
        self, query: str, start: datetime, end: datetime, step: timedelta, *, patient: bool = False
    ) -> Answer:
        """A query's values from ``start`` to ``end``, both included, every ``step``. ``patient``: it may wait for
        others, as a question about a long past may.

        Raises
        ------
        SourceDownError, RefusedQueryError
        """
        form = {"query": query, "start": _seconds(start), "end": _seconds(end), "step": f"{step.total_seconds():g}"}
        turn = self._long_turn if patient else self._turn
        return await self._query("query_range", form, turn, _LONG_TIMES * self._wire.timeout)

    async def _query(self, what: str, form: dict[str, str], turn: asyncio.Semaphore, timeout: float) -> Answer:
        form["timeout"] = f"{round(_SERVERS_SHARE * timeout * 1000)}ms"  # PromQL durations have no fractions
        self._asked_at = asyncio.get_running_loop().time()
        self._refuse_while_down()
        async with turn:
            self._refuse_while_down()  # it may have failed others while this one waited
            with self._counted():
                return await self._ask(what, form, timeout)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a question by what came of it, and the time it takes."""
        outcome, begun = "", time.perf_counter()
        try:
            yield
            outcome = "ok"
        except (RefusedQueryError, SourceDownError) as error:
            outcome = "refused" if isinstance(error, RefusedQueryError) else "down"
            raise
        finally:
            if outcome:  # a question that was cancelled says nothing of Prometheus
                meters.PROMETHEUS_REQUESTS.labels(self._source, outcome).inc()
                meters.PROMETHEUS_SECONDS.labels(self._source).observe(time.perf_counter() - begun)

    async def _ask(self, what: str, form: dict[str, str], timeout: float) -> Answer:
        try:
            answer = self._read(await self._wire.post(f"/api/v1/{what}", form, timeout))
        except NoAnswerError as error:
            self._breaker = self._breaker.failed(datetime.now(UTC), str(error))
            self._probe_while_down()
            raise SourceDownError(f"Prometheus at {self.url} {error}") from error
        except TooLargeError as error:
            text = f"Prometheus at {self.url} {error}: narrow the gate's selector"
            raise SourceDownError(text, kind=_TOO_LARGE) from error
        self._breaker = self._breaker.answered()
        return self._whole(*answer)

    def _read(self, reply: Reply) -> tuple[dict[str, Any], datetime | None]:
        """The answer's JSON, whatever it says; a NoAnswerError when it is none of Prometheus'."""
        try:
            answer = json.loads(reply.raw)
        except (ValueError, RecursionError) as error:
            raise NoAnswerError(f"answered HTTP {reply.status} without JSON") from error
        if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
            raise NoAnswerError(f"answered HTTP {reply.status} with JSON that is no answer")
        return answer, _date(reply.date)

    def _whole(self, answer: dict[str, Any], clock: datetime | None) -> Answer:
        if answer["status"] == "error":
            kind = self._said(answer.get("errorType", "error"))
            text = f"{kind}: {self._said(answer.get('error', ''))}"
            if kind == "bad_data":
                raise RefusedQueryError(f"Prometheus refuses the query: {text}")
            raise SourceDownError(f"Prometheus at {self.url} could not answer: {text}", kind=kind)
        warnings, data = answer.get("warnings") or [], answer.get("data") or {}
        if not isinstance(warnings, list) or not isinstance(data, dict) or not isinstance(data.get("result", []), list):
            raise SourceDownError(f"Prometheus at {self.url} gave an answer of another shape")
        partial = [self._said(text) for text in warnings if not str(text).startswith("PromQL ")]
        if partial:
            raise SourceDownError(f"Prometheus at {self.url} gave a partial answer: {partial[0]}")
        kind, notes = self._said(data.get("resultType", "vector")), tuple(str(text) for text in warnings)
        return Answer(kind, data.get("result") or [], clock, notes)

    def _said(self, text: object) -> str:
        """Words of the server, short and without a secret."""
        return self._wire.credential.scrubbed(str(text))[:_LONGEST_WORDS]

    def _refuse_while_down(self) -> None:
        if self._breaker.state is State.OPEN:
            self._probe_while_down()
            meters.PROMETHEUS_REQUESTS.labels(self._source, "down").inc()  # or an outage would look like silence
            raise SourceDownError(f"Prometheus at {self.url} {self._breaker.says}")

    def _probe_while_down(self) -> None:
        if self._breaker.state is State.OPEN and (self._prober is None or self._prober.done()):
            self._prober = asyncio.ensure_future(self._probe())

    async def _probe(self) -> None:
        """Find out when it is back, as long as somebody wants to know."""
        loop = asyncio.get_running_loop()
        while self._breaker.state is State.OPEN:
            await asyncio.sleep(self._breaker.pause(random.random()))
            if loop.time() - self._asked_at > _NOBODY_ASKS_SECONDS:
                return
            try:
                self._read(await self._wire.get("/api/v1/query", {"query": "1"}, _PROBE_SECONDS))
            except (NoAnswerError, TooLargeError) as error:
                self._breaker = self._breaker.probe_failed(str(error))
            else:
                self._breaker = self._breaker.tried_again()

    async def about(self, what: str, query: dict[str, str]) -> object:
        """What is known *about* metrics (``metadata``, ``labels``); None when nobody says."""
        if self._breaker.state is State.OPEN:
            return None
        async with self._turn:
            try:
                reply = await self._wire.get(f"/api/v1/{what}", query, self._wire.timeout)
                answer = json.loads(reply.raw)
            except (NoAnswerError, TooLargeError, ValueError, RecursionError):
                return None
        return answer.get("data") if isinstance(answer, dict) else None

    async def names(self) -> list[str]:
        """The names of all metrics.

        Raises
        ------
        SourceDownError
        """
        timeout, loop = self._wire.timeout, asyncio.get_running_loop()

        def ask(path: str) -> Reply:
            reply = asyncio.run_coroutine_threadsafe(self._wire.get(path, {}, timeout), loop).result(2.0 * timeout)
            if reply.status != _OK:  # the library would quote the page, which may quote what was sent
                raise NoAnswerError(f"answered HTTP {reply.status}")
            return reply

        async with self._names_turn:  # each takes a thread of those that all share
            self._refuse_while_down()
            try:
                return await asyncio.to_thread(_list_names, self.url, ask)
            except Exception as error:  # the library raises what its transport raises
                text = self._said(error) or type(error).__name__
                raise SourceDownError(f"Prometheus at {self.url} did not list its metrics: {text}") from error


def _seconds(at: datetime) -> str:
    return f"{at.astimezone(UTC).timestamp():.3f}"


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _list_names(url: str, ask: Callable[[str], Reply]) -> list[str]:
    """Through the library, whose requests are ours: the same name, certificates and limits."""
    from prometheus_api_client import PrometheusConnect  # synchronous and slow to import: only when it is needed
    from requests import PreparedRequest, Response, Session
    from requests.adapters import BaseAdapter

    class Adapter(BaseAdapter):
        """Hands a request to our own connection."""

        def send(self, request: PreparedRequest, **_: Any) -> Response:  # type: ignore[override]
            """See ``requests``."""
            reply = ask(str(request.path_url).removeprefix(urlsplit(url).path.rstrip("/")))
            response = Response()
            response.status_code, response.raw, response.request = reply.status, io.BytesIO(reply.raw), request
            return response

        def close(self) -> None:
            """Nothing is its own."""

    session = Session()
    client = PrometheusConnect(url=url, session=session)
    session.mount(url, Adapter())  # after the library, which mounts its own
    return [str(name) for name in client.all_metrics()]
