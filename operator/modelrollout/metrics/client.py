"""Prometheus' HTTP API (also Thanos', Mimir's, VictoriaMetrics'): a whole answer, or the reason why there is none.

Asynchronous HTTP on one session: it is cancelled cleanly, times out, and keeps the warnings that make a partial answer
recognisable. ``prometheus-api-client``, which is synchronous and drops warnings, serves where neither matters: listing
names to say "did you mean".

Source: Prometheus HTTP API v1, /api/v1/query, /api/v1/query_range and the endpoints for metadata.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp

from modelrollout.telemetry import meters
from modelrollout.transport import words

__all__ = ["Answer", "Client", "NotYetError", "RefusedQueryError", "SourceDownError"]

TIMEOUT_SECONDS: Final = 5.0
_AT_ONCE: Final = 4
"""Questions at a time. Prometheus runs 20 by default for everybody."""
_LONG_AT_ONCE: Final = 1
"""Questions about the past at a time, so that these never keep the present waiting."""
_SERVERS_SHARE: Final = 0.8
"""Prometheus itself gives up a little earlier, and says so: a slow query is told from a Prometheus that hangs."""
_LONG_TIMES: Final = 6.0
"""A question about many instants may take that many times as long."""


class SourceDownError(Exception):
    """Prometheus did not give a whole answer. ``kind``: the API's type of error; empty when there was no answer."""

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def splittable(self) -> bool:
        """Whether it was the question that was too much for it."""
        return self.kind in ("execution", "timeout")


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
    """One Prometheus."""

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS, *, source: str = "default") -> None:
        self.url = url.rstrip("/")
        self._source = source
        self.timeout = timeout
        self.queries = 0
        """How many HTTP requests were sent."""
        self._session: aiohttp.ClientSession | None = None
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._long_turn = asyncio.Semaphore(_LONG_AT_ONCE)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def instant(self, query: str, at: datetime) -> Answer:
        """A query's value at an instant.

        Raises
        ------
        SourceDownError, RefusedQueryError
        """
        return await self._query("query", {"query": query, "time": _seconds(at)}, self._turn, self.timeout)

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
        return await self._query("query_range", form, turn, _LONG_TIMES * self.timeout)

    async def _query(self, what: str, form: dict[str, str], turn: asyncio.Semaphore, timeout: float) -> Answer:
        form["timeout"] = f"{_SERVERS_SHARE * timeout:g}s"
        async with turn:
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
            async with self._http().post(
                f"{self.url}/api/v1/{what}", data=form, timeout=aiohttp.ClientTimeout(total=timeout)
            ) as response:
                raw, status, date = await response.read(), response.status, response.headers.get("Date", "")
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise SourceDownError(f"Prometheus at {self.url} does not answer: {words(error)}") from error
        return _whole_answer(raw, status, _date(date), self.url)

    async def about(self, what: str, query: dict[str, str]) -> object:
        """What is known *about* metrics (``metadata``, ``labels``); None when nobody says."""
        try:
            async with self._http().get(f"{self.url}/api/v1/{what}", params=query) as response:
                answer = json.loads(await response.read())
                return answer.get("data") if isinstance(answer, dict) else None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return None

    async def names(self) -> list[str]:
        """The names of all metrics.

        Raises
        ------
        SourceDownError
        """
        self.queries += 1
        try:
            return await asyncio.wait_for(asyncio.to_thread(_list_names, self.url, self.timeout), self.timeout)
        except Exception as error:  # the library raises what its transport raises
            raise SourceDownError(f"Prometheus at {self.url} did not list its metrics: {words(error)}") from error

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.timeout))
        self.queries += 1
        return self._session


def _seconds(at: datetime) -> str:
    return f"{at.astimezone(UTC).timestamp():.3f}"


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _whole_answer(raw: bytes, status: int, clock: datetime | None, url: str) -> Answer:
    try:
        answer = json.loads(raw)
    except ValueError as error:
        raise SourceDownError(f"Prometheus at {url} answered HTTP {status} without JSON") from error
    if not isinstance(answer, dict):
        raise SourceDownError(f"Prometheus at {url} answered HTTP {status} with JSON that is no answer")
    if answer.get("status") != "success":
        text = f"{answer.get('errorType', 'error')}: {answer.get('error', '')}"
        if answer.get("errorType") == "bad_data":
            raise RefusedQueryError(f"Prometheus refuses the query: {text}")
        raise SourceDownError(f"Prometheus at {url} could not answer: {text}", kind=answer.get("errorType", ""))
    warnings = answer.get("warnings") or []
    partial = [text for text in warnings if not text.startswith("PromQL ")]
    if partial:
        raise SourceDownError(f"Prometheus at {url} gave a partial answer: {partial[0]}")
    data = answer.get("data") or {}
    return Answer(data.get("resultType", "vector"), data.get("result") or [], clock, tuple(warnings))


def _list_names(url: str, timeout: float) -> list[str]:
    from prometheus_api_client import PrometheusConnect  # synchronous and slow to import: only when it is needed
    from urllib3.util.retry import Retry

    client = PrometheusConnect(url=url, timeout=timeout, retry=Retry(0))
    return [str(name) for name in client.all_metrics()]
