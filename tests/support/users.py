"""Users: a steady stream of real requests through the gateway, counted by the revision that answered."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from types import TracebackType

import aiohttp


class Users:
    """Call a host through the gateway at a steady rate, from a thread with a loop of its own."""

    def __init__(self, gateway_url: str, host: str, *, per_second: float) -> None:
        self._url, self._host, self._pause = gateway_url, host, 1.0 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.revisions: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.answers: list[tuple[float, str, int]] = []
        """Time (epoch), revision and HTTP status of every answer."""

    @property
    def lost(self) -> int:
        """Requests that got no answer, or one from the gateway saying that nobody is there."""
        return self.codes[0] + self.codes[502] + self.codes[503] + self.codes[504]

    def __enter__(self) -> Users:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            pending: set[asyncio.Task[None]] = set()
            due = loop.time()
            while not self._stop.is_set():
                task = asyncio.create_task(self._call(session))
                pending.add(task)
                task.add_done_callback(pending.discard)
                due += self._pause
                await asyncio.sleep(max(0.0, due - loop.time()))
            await asyncio.gather(*pending)

    async def _call(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(self._url, headers={"Host": self._host}) as response:
                await response.read()
                revision = response.headers.get("x-model-revision", "")
                self.codes[response.status] += 1
                self.revisions[revision] += 1
                self.answers.append((time.time(), revision, response.status))
        except (TimeoutError, aiohttp.ClientError):
            self.codes[0] += 1


async def count_by_revision(gateway_url: str, host: str, requests: int) -> Counter[str]:
    """So many requests, 20 at a time; how many each revision answered ("" for none)."""
    users = Users(gateway_url, host, per_second=1)
    slots = asyncio.Semaphore(20)

    async def one(session: aiohttp.ClientSession) -> None:
        async with slots:
            await users._call(session)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        await asyncio.gather(*(one(session) for _ in range(requests)))
    return users.revisions
