"""The probes, asked over HTTP: what a restart would mend fails them, and what it would make worse does not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelrollout.controller.endpoint import Address, serve
from modelrollout.controller.health import Health
from modelrollout.controller.queue import QueueState, WorkQueue
from modelrollout.kube.client import KubeError

KEY = ("recs", "ranker")


class _Operator:
    """A loop in a thread of its own with a queue, its workers and the probes."""

    def __init__(self, work: Callable[[tuple[str, str]], Any]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        self.shift = 0.0
        clock = self.loop.time
        cast(Any, self.loop).time = lambda: clock() + self.shift
        self.copy = SimpleNamespace(optional=False, plural="pods", alive_at=0.0, synced=asyncio.Event())
        self.queue = WorkQueue(work, workers=1)
        self.watched = SimpleNamespace(queue=lambda: self.queue.state, forgotten=dict, longest_measurement=lambda: 0.0)
        self.health = Health(cast(Any, [self.copy]), cast(Any, self.watched))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        routes = {"/healthz": self.health.live, "/readyz": self.health.ready}
        serving = serve(Address("127.0.0.1", self.port), routes, "the probes are")
        self._tasks = [self.loop.create_task(serving), self.loop.create_task(self.queue.run())]
        self.loop.run_forever()

    def do(self, what: Callable[[], object]) -> None:
        """In the loop, and wait until it is done."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(what)
        self.loop.call_soon_threadsafe(done.set)
        assert done.wait(60)

    def probe(self, path: str = "/healthz", timeout: float = 60.0) -> tuple[int, str]:
        """As kubelet asks; status 0 when there is no answer in time."""
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except TimeoutError:
                return 0, ""
            except OSError:  # not listening yet
                time.sleep(0.05)
        raise AssertionError("nobody listens")

    def later(self, seconds: float) -> None:
        """The loop's clock goes on."""
        self.do(lambda: setattr(self, "shift", self.shift + seconds))
        time.sleep(0.1)

    def stop(self) -> None:
        """End the loop."""

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)


@pytest.fixture
def start() -> Iterator[Callable[..., _Operator]]:
    """An operator whose looks are done by ``work``."""
    started: list[_Operator] = []

    def begin(work: Callable[[tuple[str, str]], Any]) -> _Operator:
        started.append(_Operator(work))
        return started[-1]

    yield begin
    for one in started:
        one.stop()


Start = Callable[..., _Operator]


async def _nothing(_: tuple[str, str]) -> None:
    return None


def test_a_blocked_loop_does_not_answer(start: Start) -> None:
    operator = start(_nothing)
    assert operator.probe() == (200, "ok\n")
    free = threading.Event()
    operator.loop.call_soon_threadsafe(free.wait)
    try:
        assert operator.probe(timeout=0.5)[0] == 0
    finally:
        free.set()
    assert operator.probe()[0] == 200, "it is a matter of the moment"


def test_a_loop_that_runs_while_nothing_is_worked_on_fails(start: Start) -> None:
    async def hang(_: tuple[str, str]) -> None:
        await asyncio.Event().wait()

    operator = start(hang)
    operator.do(lambda: operator.queue.add(KEY))
    operator.later(100)
    operator.do(lambda: operator.queue.add(("recs", "other")))
    operator.later(100)
    assert operator.probe()[0] == 200
    operator.later(100)
    status, why = operator.probe()
    assert status == 503
    assert "nothing was looked at for" in why


def test_an_api_server_that_is_away_does_not_fail_it(start: Start) -> None:
    """A restart would not bring it back, and would lose the copies."""

    async def refuse(_: tuple[str, str]) -> None:
        raise KubeError(0, "the API server cannot be reached")

    operator = start(refuse)
    for number in range(50):
        operator.do(partial(operator.queue.add, ("recs", str(number))))
    for _ in range(10):
        operator.later(100)
        assert operator.probe() == (200, "ok\n")


def test_an_overload_does_not_fail_it(start: Start) -> None:
    """Everything waits far too long, and one look after the other ends: a restart would make it worse."""

    async def slow(_: tuple[str, str]) -> None:
        await asyncio.sleep(60)

    operator = start(slow)
    for number in range(100):
        operator.do(partial(operator.queue.add, ("recs", str(number))))
    for _ in range(20):
        operator.later(61)
        assert operator.probe() == (200, "ok\n")
    states: list[QueueState] = []
    operator.do(lambda: states.append(operator.queue.state))
    assert states[0].oldest[1] > 1000


def test_a_planned_look_that_does_not_come_fails_it(start: Start) -> None:
    operator = start(_nothing)
    operator.do(lambda: operator.queue.add_after(KEY, 1000))
    operator.later(990)
    assert operator.probe()[0] == 200, "it is not due yet"
    operator.do(lambda: setattr(operator.queue, "_delays", []))  # whoever should put it into a lane lost it
    operator.later(80)
    status, why = operator.probe()
    assert status == 503
    assert why.startswith("a planned look is overdue by")


def test_a_rollout_that_waits_for_an_event_fails_nothing(start: Start) -> None:
    """Paused by a person, and without gates: nobody looks at it for days, and that is right."""
    operator = start(_nothing)
    operator.do(lambda: operator.queue.add(KEY))
    operator.later(100_000)
    assert operator.probe() == (200, "ok\n")


def test_metrics_that_were_read_for_nobody_fail_it(start: Start) -> None:
    operator = start(_nothing)
    operator.watched.forgotten = lambda: {KEY: 100.0}
    assert operator.probe()[0] == 200
    operator.watched.forgotten = lambda: {KEY: 1000.0}
    assert operator.probe() == (503, "the metrics of recs/ranker were read 1000 s ago, and no look is planned\n")


def test_a_dead_watch_a_dead_task_and_a_hanging_reading_fail_it(start: Start) -> None:
    operator = start(_nothing)
    beats: list[Callable[[], None]] = []
    operator.do(lambda: beats.append(operator.health.expect("the lease", 30.0)))
    operator.do(lambda: setattr(operator.copy, "alive_at", operator.loop.time()))
    operator.later(29)
    assert operator.probe()[0] == 200
    operator.later(2)
    assert operator.probe()[1].startswith("the lease gave no sign of life for")
    operator.later(1000)
    operator.do(beats[0])
    assert operator.probe()[1].startswith("the watch of pods is dead since")
    operator.do(lambda: setattr(operator.copy, "alive_at", operator.loop.time()))
    assert operator.probe()[0] == 200
    operator.watched.longest_measurement = lambda: 2000.0
    assert operator.probe()[1] == "a reading of metrics does not end since 2000 s\n"


def test_ready_is_who_knows_the_cluster(start: Start) -> None:
    operator = start(_nothing)
    assert operator.probe("/readyz") == (503, "pods are not read yet\n")
    operator.do(operator.copy.synced.set)
    assert operator.probe("/readyz") == (200, "ok\n")


def test_a_port_that_is_taken_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            task = asyncio.create_task(serve(Address("127.0.0.1", taken.getsockname()[1]), {}, "metrics"))
            await asyncio.sleep(0.2)
            assert not task.done()
            task.cancel()

    asyncio.run(script())
    assert "no metrics, trying again" in caplog.text


@pytest.mark.parametrize("text", ["8081", "localhost:8081", "0.0.0.0:0", "0.0.0.0:http", ":8081", "0.0.0.0:70000"])
def test_an_address_that_is_none_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"write ADDRESS:PORT, like 0\.0\.0\.0:8081"):
        Address.parse(text)


def test_addresses_are_read() -> None:
    assert Address.parse("0.0.0.0:8081") == Address("0.0.0.0", 8081)
    assert Address.parse("[::]:8081") == Address("::", 8081)
