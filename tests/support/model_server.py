"""A model server whose faults are set by its environment; runs in pods as ``python -m tests.support.model_server``.

ERRORS, CLICKS: shares; DELAY_MS: of every answer; START_MS: before it is ready; CRASH: exits at once with that text.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter

from aiohttp import web

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, float("inf"))


class Model:
    """Counts what it answers, in Prometheus' text format."""

    def __init__(self) -> None:
        self.errors = float(os.environ.get("ERRORS", "0"))
        self.clicks = float(os.environ.get("CLICKS", "0.3"))
        self.delay = float(os.environ.get("DELAY_MS", "0")) / 1000
        self.codes: Counter[str] = Counter()
        self.buckets = [0] * len(BOUNDS)
        self.seconds = 0.0
        self.clicked = 0

    async def answer(self, _: web.Request) -> web.Response:
        """One answer to a user."""
        begun = asyncio.get_running_loop().time()
        if self.delay:
            await asyncio.sleep(self.delay)
        code = 500 if random.random() < self.errors else 200
        taken = asyncio.get_running_loop().time() - begun
        self.codes[str(code)] += 1
        self.clicked += random.random() < self.clicks
        self.seconds += taken
        for number, bound in enumerate(BOUNDS):
            self.buckets[number] += taken <= bound
        headers = {"x-model-revision": os.environ.get("MODEL_REVISION", "")}
        return web.Response(status=code, text=os.environ.get("MODEL_VERSION", ""), headers=headers)

    async def metrics(self, _: web.Request) -> web.Response:
        """What Prometheus scrapes."""
        lines = ["# TYPE ranker_requests_total counter"]
        lines += [f'ranker_requests_total{{code="{code}"}} {count}' for code, count in self.codes.items()]
        lines.append("# TYPE ranker_request_seconds histogram")
        for bound, count in zip(BOUNDS, self.buckets, strict=True):
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'ranker_request_seconds_bucket{{le="{name}"}} {count}')
        lines += [f"ranker_request_seconds_sum {self.seconds}", f"ranker_request_seconds_count {self.buckets[-1]}"]
        lines += ["# TYPE ranker_impressions_total counter", f"ranker_impressions_total {self.buckets[-1]}"]
        lines += ["# TYPE ranker_clicks_total counter", f"ranker_clicks_total {self.clicked}"]
        lines += ["# TYPE ranker_temperature gauge", "ranker_temperature 1"]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")

    async def ready(self, _: web.Request) -> web.Response:
        """Readiness."""
        return web.Response(text="ok")


async def main() -> None:
    """Serve on the pod's address."""
    if "CRASH" in os.environ:
        sys.exit(os.environ["CRASH"])
    await asyncio.sleep(float(os.environ.get("START_MS", "0")) / 1000)
    model = Model()
    app = web.Application()
    app.add_routes([web.get("/metrics", model.metrics), web.get("/ready", model.ready), web.get("/", model.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, os.environ["POD_IP"], 8080).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
