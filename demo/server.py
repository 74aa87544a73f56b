"""The model server: ``python -m demo.server`` in a pod.

It answers ``POST /rank`` with the images of a question in the order of the model, counts what it did on ``/metrics``,
and names its revision in a response header, so that whoever sees a click knows which model earned it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

from demo import artifacts, exposition
from demo.artifacts import Array
from demo.ranking import DIGITS, Ranker

__all__ = ["REVISION_HEADER", "FeatureStore", "Settings", "application", "main"]

REVISION_HEADER: Final = "x-model-revision"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5)
_MISS_SECONDS: Final = 0.3


@dataclass(frozen=True)
class Settings:
    """What the pod's environment says."""

    host: str
    port: int
    model_uri: str
    features_uri: str
    revision: str
    cold_seconds: float
    feature_store_seconds: float

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the variables; MODEL_URI and MODEL_REVISION are the operator's, the others the manifest's."""
        return cls(
            host=environment["POD_IP"],
            port=int(environment.get("PORT", "8080")),
            model_uri=environment["MODEL_URI"],
            features_uri=environment["FEATURES_URI"],
            revision=environment["MODEL_REVISION"],
            cold_seconds=float(environment.get("COLD_SECONDS", "0")),
            feature_store_seconds=float(environment.get("FEATURE_STORE_SECONDS", "0")),
        )


class FeatureStore:
    """The pixels of the images, with the two ways in which a feature store makes a server slow.

    With ``cold_seconds`` they are cached from the first request on, and until the cache is full each request waits
    for the store. With ``request_seconds`` every request waits for a store far away, half to one and a half times
    as long. Waiting costs no processor, so the slow version slows nobody else down.
    """

    def __init__(self, pixels: Array, *, cold_seconds: float, request_seconds: float, random: Random) -> None:
        self._pixels = pixels
        self._cold_seconds = cold_seconds
        self._request_seconds = request_seconds
        self._random = random
        self._warm_at: float | None = None

    async def fetch(self, images: list[int]) -> Array:
        """The pixels of the given images, one row each."""
        now = asyncio.get_running_loop().time()
        if self._warm_at is None:
            self._warm_at = now + self._cold_seconds
        if now < self._warm_at:
            await asyncio.sleep(_MISS_SECONDS)
        if self._request_seconds > 0.0:
            await asyncio.sleep(self._request_seconds * self._random.uniform(0.5, 1.5))
        return self._pixels[images]

    def __len__(self) -> int:
        return len(self._pixels)


class _Server:
    """The handlers, and the metrics they keep."""

    def __init__(self, settings: Settings) -> None:
        self._revision = settings.revision
        self._model = Ranker.load(settings.model_uri)
        self._features = FeatureStore(
            artifacts.load(settings.features_uri)["pixels"],
            cold_seconds=settings.cold_seconds,
            request_seconds=settings.feature_store_seconds,
            random=Random(settings.host),
        )
        self.registry = CollectorRegistry()
        self._requests = Counter("ranker_requests", "Answers, by status code.", ["code"], registry=self.registry)
        self._requests.labels("200")
        self._seconds = Histogram("ranker_request_seconds", "Time to answer.", buckets=_BUCKETS, registry=self.registry)

    async def rank(self, request: web.Request) -> web.Response:
        """The images of a question, the best first."""
        digit, images = _question(await _json(request), len(self._features))
        pixels = await self._features.fetch(images)
        order = self._model.rank(digit, pixels)
        return web.json_response({"images": [images[row] for row in order]})

    async def ready(self, _: web.Request) -> web.Response:
        """The model is loaded before the server listens, so whoever is answered may send questions."""
        return web.Response(text="ready\n")

    @web.middleware
    async def measured(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count and time the answers to users, whatever they are, and put the revision on them."""
        if request.path != "/rank":
            return await handler(request)
        begin = time.perf_counter()
        code = 500
        try:
            response = await handler(request)
            code = response.status
            response.headers[REVISION_HEADER] = self._revision
            return response
        except web.HTTPException as refusal:
            code = refusal.status
            refusal.headers[REVISION_HEADER] = self._revision
            raise
        finally:
            self._requests.labels(str(code)).inc()
            self._seconds.observe(time.perf_counter() - begin)


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"the body is not JSON: {error}\n") from error


def _question(body: Any, catalogue: int) -> tuple[int, list[int]]:
    digit = body.get("digit") if isinstance(body, dict) else None
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(digit, int) or not 0 <= digit < DIGITS:
        raise web.HTTPBadRequest(text=f"digit must be a number from 0 to {DIGITS - 1}\n")
    if not isinstance(images, list) or not images:
        raise web.HTTPBadRequest(text="images must be a list of image numbers\n")
    if not all(isinstance(image, int) and 0 <= image < catalogue for image in images):
        raise web.HTTPBadRequest(text=f"images must be numbers from 0 to {catalogue - 1}\n")
    return digit, images


def application(settings: Settings) -> web.Application:
    """The server as an aiohttp application; the model is loaded here."""
    server = _Server(settings)
    app = web.Application(middlewares=[server.measured])
    app.router.add_post("/rank", server.rank)
    app.router.add_get("/ready", server.ready)
    app.router.add_get("/metrics", exposition.handler(server.registry))
    return app


def main() -> None:
    """Serve until SIGTERM, then finish what is being answered."""
    settings = Settings.from_environment(os.environ)
    web.run_app(
        application(settings),
        host=settings.host,
        port=settings.port,
        access_log=None,
        print=None,
        shutdown_timeout=5.0,
        keepalive_timeout=600.0,
    )


if __name__ == "__main__":
    main()
