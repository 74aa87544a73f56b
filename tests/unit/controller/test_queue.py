"""The work queue on a clock of its own: nobody waits in these tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from modelrollout.controller.queue import QueueState, WorkQueue
from modelrollout.kube.client import ConflictError, KubeError

Key = tuple[str, str]
A, B, C = ("recs", "a"), ("recs", "b"), ("recs", "c")


class _VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        if not self._ready and scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def _run(script: Callable[[], Awaitable[None]]) -> None:
    loop = _VirtualLoop()
    try:
        loop.run_until_complete(asyncio.wait_for(script(), 100_000))
    finally:
        loop.close()


def _now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


async def _serve(queue: WorkQueue, seconds: float) -> None:
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_a_key_added_twice_is_looked_at_once_and_urgent_ones_first() -> None:
    async def script() -> None:
        seen: list[Key] = []

        async def work(key: Key) -> None:
            seen.append(key)

        queue = WorkQueue(work, workers=1)
        for key in (A, B, A, C):
            queue.add(key)
        queue.add(C, urgent=True)
        await _serve(queue, 1)
        assert seen == [C, A, B]

    _run(script)


def test_what_comes_during_a_look_is_looked_at_again_once() -> None:
    async def script() -> None:
        looks: list[float] = []
        running = 0

        async def work(key: Key) -> None:
            nonlocal running
            running += 1
            assert running == 1, "one worker per rollout at a time"
            looks.append(_now())
            await asyncio.sleep(5)
            running -= 1

        queue = WorkQueue(work, workers=4)
        queue.add(A)
        loop = asyncio.get_running_loop()
        for at in (1, 2, 3):
            loop.call_later(at, queue.add, A)
        await _serve(queue, 60)
        assert looks == [0, 5]

    _run(script)


def test_the_earliest_wish_counts() -> None:
    async def script() -> None:
        looks: list[float] = []

        async def work(key: Key) -> float | None:
            looks.append(_now())
            return 7.0 if len(looks) == 1 else None

        queue = WorkQueue(work, workers=1)
        queue.add_after(A, 10)
        queue.add_after(A, 3)
        queue.add_after(A, 20)
        await _serve(queue, 60)
        assert looks[:2] == [3, 10]

    _run(script)


def test_failures_back_off_for_each_key_and_are_forgotten_after_a_success() -> None:
    async def script() -> None:
        looks: dict[Key, list[float]] = {A: [], B: []}

        async def work(key: Key) -> None:
            looks[key].append(_now())
            if key == A and len(looks[A]) != 5:
                raise KubeError(500, "no")

        queue = WorkQueue(work, workers=2)
        queue.add(A)
        queue.add(B)
        asyncio.get_running_loop().call_later(50, queue.add, A)
        await _serve(queue, 52)
        gaps = [round(later - earlier, 3) for earlier, later in zip(looks[A], looks[A][1:], strict=False)]
        assert gaps[:4] == [0.2, 0.4, 0.8, 1.6]
        assert gaps[5] == 0.2, "after a success it begins anew"
        assert looks[B] == [0]

    _run(script)


def test_a_day_of_failures_does_not_end_the_worker() -> None:
    async def script() -> None:
        looks: list[float] = []

        async def work(key: Key) -> None:
            looks.append(_now())
            raise KubeError(500, "no")

        queue = WorkQueue(work, workers=1)
        queue.add(A)
        await _serve(queue, 86_400)
        assert looks[-1] - looks[-2] == pytest.approx(10)
        assert looks[-1] > 86_000

    logging.disable(logging.WARNING)
    try:
        _run(script)
    finally:
        logging.disable(logging.NOTSET)


def test_what_the_api_server_refuses_is_one_line_and_a_conflict_none(caplog: pytest.LogCaptureFixture) -> None:
    async def script() -> None:
        errors: list[Exception] = [ConflictError(409, "modified"), KubeError(403, "exceeded quota"), ValueError("bug")]

        async def work(key: Key) -> None:
            if errors:
                raise errors.pop(0)

        queue = WorkQueue(work, workers=1)
        queue.add(A)
        await _serve(queue, 60)

    with caplog.at_level(logging.INFO):
        _run(script)
    refused, bug = caplog.records
    assert refused.getMessage() == "recs/a: exceeded quota; again in 0.4 s"
    assert refused.exc_info is None
    assert bug.exc_info is not None, "a bug is told with its traceback"


def test_a_stuck_worker_is_noticed() -> None:
    async def script() -> None:
        async def work(key: Key) -> None:
            if key == A:
                await asyncio.sleep(1000)

        queue = WorkQueue(work, workers=1)
        assert queue.state == QueueState((0, 0), (0.0, 0.0), 0, 0.0, 0.0, 0.0)
        queue.add(A)
        task = asyncio.create_task(queue.run())
        await asyncio.sleep(100)
        queue.add(B)
        await asyncio.sleep(200)
        assert queue.state == QueueState((0, 1), (0.0, 200.0), 1, longest_run=300.0, stuck_for=200.0, late=0.0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    _run(script)


def test_a_queue_that_is_only_long_is_not_stuck() -> None:
    """A restart would make an overload worse."""

    async def script() -> None:
        queue = WorkQueue(lambda key: asyncio.sleep(5.0), workers=1)
        for number in range(100):
            queue.add(("recs", str(number)))
        task = asyncio.create_task(queue.run())
        await asyncio.sleep(301)
        assert queue.state.oldest[1] == 301
        assert queue.state.stuck_for <= 5.0
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    _run(script)


def test_the_newest_look_says_when_the_next_one_is() -> None:
    async def script() -> None:
        seen: list[float] = []

        async def work(key: Key) -> float | None:
            seen.append(_now())
            return 2.0 if len(seen) < 4 else None

        queue = WorkQueue(work, workers=1)
        queue.add(A)
        asyncio.get_running_loop().call_later(1.5, queue.add, A)
        await _serve(queue, 20.0)
        assert seen == [0.0, 1.5, 3.5, 5.5], "what the first look wished for at 2.0 is of the past"

    _run(script)


def test_rule_14_an_urgent_look_begins_though_every_place_is_taken() -> None:
    """The API server lets status writes hang; two hundred breaches must not wait for them."""

    async def script() -> None:
        begun: dict[Key, float] = {}

        async def work(key: Key) -> None:
            begun[key] = _now()
            await asyncio.sleep(1000)

        queue = WorkQueue(work, workers=4)
        loop = asyncio.get_running_loop()
        for number in range(50):
            queue.add(("slow", str(number)))
        for number in range(200):
            loop.call_later(1, functools.partial(queue.add, ("recs", str(number)), urgent=True))
        loop.call_later(2, functools.partial(queue.add, ("slow", "49"), urgent=True))
        await _serve(queue, 10)
        assert [at for key, at in begun.items() if key[0] == "recs"] == [1.0] * 200
        assert begun["slow", "49"] == 2.0
        assert sum(key[0] == "slow" for key in begun) == 3, "two of four places are one namespace's"

    _run(script)


def test_rule_14_one_namespace_does_not_keep_another_waiting() -> None:
    async def script() -> None:
        order: list[Key] = []

        async def work(key: Key) -> None:
            order.append(key)
            await asyncio.sleep(1)

        queue = WorkQueue(work, workers=1)
        for number in range(500):
            queue.add(("big", str(number)))
        queue.add(("small", "a"))
        await _serve(queue, 10)
        assert order[:3] == [("big", "0"), ("small", "a"), ("big", "1")]

    _run(script)


def test_rule_14_what_failed_is_looked_at_at_once_when_the_api_server_is_back() -> None:
    async def script() -> None:
        looks: list[float] = []
        away = True

        async def work(key: Key) -> None:
            looks.append(_now())
            if away:
                raise KubeError(0, "connection refused")

        queue = WorkQueue(work, workers=1)
        queue.add(A)

        def back() -> None:
            nonlocal away
            away = False
            queue.retry()

        asyncio.get_running_loop().call_later(40, back)
        await _serve(queue, 100)
        assert 40.0 in looks
        assert not queue._failures

    logging.disable(logging.WARNING)
    try:
        _run(script)
    finally:
        logging.disable(logging.NOTSET)


async def test_a_closed_queue_takes_in_nothing_and_is_never_stuck() -> None:
    """Of a replica that stands by: what happens is looked at by the one that decides."""

    async def look(key: tuple[str, str]) -> float | None:
        raise AssertionError(key)

    queue = WorkQueue(look, workers=1)
    queue.add(("recs", "before"))
    queue.close()
    queue.add(("recs", "after"), urgent=True)
    assert queue.state.length == (0, 0)
    assert queue.state.stuck_for == 0.0


@pytest.mark.parametrize("later", range(5))
async def test_the_queue_ends_when_it_is_told_to_also_while_something_is_added(later: int) -> None:
    """A stop that is swallowed would last until the container is killed."""
    queue = WorkQueue(lambda key: asyncio.sleep(0.0), workers=1)
    queue.add_after(A, 100)
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(0.01)
    queue.add_after(B, 50)
    for _ in range(later):
        await asyncio.sleep(0)
    task.cancel()
    ended, _ = await asyncio.wait([task], timeout=1)
    assert ended
