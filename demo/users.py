"""The users, and the frontend that counts their clicks: ``python -m demo.users`` in a pod.

Requests come at a steady rate whether answers come or not (an open loop, as users are). A click comes some time
after the answer, and the frontend books it on the revision that the answer's header named. It also counts what users
saw failing: that number is the one a release is about.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from demo import artifacts, exposition
from demo.clicks import ClickModel, ask
from demo.server import REVISION_HEADER

__all__ = ["Clicks", "Frontend", "Settings", "main"]

_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Settings:
    """What the pod's environment says."""

    host: str
    port: int
    gateway: str
    hostname: str
    labels_uri: str
    rate: float
    click_seconds: tuple[float, float] = (0.3, 1.6)
    """How long users look at an answer before they click."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables."""
        return cls(
            host=environment["POD_IP"],
            port=int(environment.get("PORT", "9102")),
            gateway=environment["GATEWAY_URL"],
            hostname=environment["GATEWAY_HOSTNAME"],
            labels_uri=environment["LABELS_URI"],
            rate=float(environment.get("USERS_PER_SECOND", "100")),
        )


@dataclass
class Clicks:
    """What the frontend counts."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    impressions: Counter = field(init=False)
    clicks: Counter = field(init=False)
    requests: Counter = field(init=False)

    def __post_init__(self) -> None:
        self.impressions = Counter(
            "ranker_impressions", "Answers shown to users.", ["revision"], registry=self.registry
        )
        self.clicks = Counter("ranker_clicks", "Answers that users clicked in.", ["revision"], registry=self.registry)
        self.requests = Counter(
            "frontend_requests", "Requests of users, and what became of them.", ["result"], registry=self.registry
        )
        self.requests.labels("answered")
        self.requests.labels("failed")

    def shown(self, revision: str) -> None:
        """A user got an answer. Its clicks are counted from 0 on, not from the first one."""
        self.requests.labels("answered").inc()
        self.impressions.labels(revision).inc()
        self.clicks.labels(revision)

    def clicked(self, revision: str) -> None:
        """A user clicked in an answer."""
        self.clicks.labels(revision).inc()

    def failed(self) -> None:
        """A user got no answer."""
        self.requests.labels("failed").inc()


class Frontend:
    """Sends the users' questions through the gateway and books their clicks."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession, counts: Clicks, random: Random) -> None:
        self._url = f"{settings.gateway.rstrip('/')}/rank"
        self._headers = {"Host": settings.hostname}
        self._interval = 1.0 / settings.rate
        self._click_seconds = settings.click_seconds
        self._labels = [int(label) for label in artifacts.load(settings.labels_uri)["labels"]]
        self._session = session
        self._counts = counts
        self._random = random
        self._taste = ClickModel()
        self._users: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Let users come at the given rate, for ever; one that is late is not waited for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            user = loop.create_task(self.visit())
            self._users.add(user)
            user.add_done_callback(self._users.discard)
            due += self._interval
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def visit(self) -> None:
        """One user: a question, an answer, perhaps a click a little later."""
        question = ask(self._labels, self._random)
        try:
            revision, images = await self._answer({"digit": question.digit, "images": question.images})
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            self._counts.failed()
            print(f"a user got no answer: {error!r}", file=sys.stderr, flush=True)
            return
        self._counts.shown(revision)
        relevance = [self._labels[image] == question.digit for image in images]
        if self._taste.clicks(relevance, self._random):
            await asyncio.sleep(self._random.uniform(*self._click_seconds))
            self._counts.clicked(revision)

    async def _answer(self, question: dict[str, object]) -> tuple[str, list[int]]:
        async with self._session.post(self._url, json=question, headers=self._headers) as response:
            response.raise_for_status()
            revision = response.headers.get(REVISION_HEADER, "")
            if not revision:
                raise ValueError(f"the answer has no header {REVISION_HEADER}")
            body = await response.json()
            return revision, [int(image) for image in body["images"]]


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    counts = Clicks()
    app = web.Application()
    app.router.add_get("/metrics", exposition.handler(counts.registry))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port).start()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0)
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        serving = asyncio.create_task(Frontend(settings, session, counts, Random()).serve())
        stopped = asyncio.create_task(stopping.wait())
        # Whichever ends first: an error of the frontend must end the pod, not leave it alive and idle.
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        serving.cancel()
    await runner.cleanup()


def main() -> None:
    """Send users until SIGTERM."""
    asyncio.run(_run(Settings.from_environment(os.environ)))


if __name__ == "__main__":
    main()
