"""A model server whose faults are set by its environment; runs in pods as ``python -m tests.support.model_server``.

ERRORS, CLICKS: shares; DELAY_MS: of every answer; START_MS: before it is ready; CRASH: exits at once with that text.
ONE_BAD: path of a file; only the process that makes it has the faults. CRASH_WHEN: path of a file; it exits as soon
as that is there.

Plain asyncio and nothing else: dozens of these start in a test run, and importing an HTTP library takes them longer
than everything else together.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, float("inf"))


def _is_bad() -> bool:
    """Whether this process has the faults of its environment."""
    mark = os.environ.get("ONE_BAD")
    if mark is None:
        return True
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Model:
    """Counts what it answers, in Prometheus' text format."""

    def __init__(self) -> None:
        self.errors = float(os.environ.get("ERRORS", "0")) if _is_bad() else 0.0
        self.bad_while = os.environ.get("BAD_WHILE", "")
        self.clicks = float(os.environ.get("CLICKS", "0.3"))
        self.delay = float(os.environ.get("DELAY_MS", "0")) / 1000
        self.revision = os.environ.get("MODEL_REVISION", "")
        self.version = os.environ.get("MODEL_VERSION", "")
        self.codes: Counter[str] = Counter()
        self.buckets = [0] * len(BOUNDS)
        self.seconds = 0.0
        self.clicked = 0

    def is_bad(self) -> bool:
        """Whether its errors show at the moment. BAD_WHILE: path of a file; only while that is there."""
        return not self.bad_while or os.path.exists(self.bad_while)

    async def answer(self) -> tuple[int, str]:
        """One answer to a user."""
        begun = asyncio.get_running_loop().time()
        if self.delay:
            await asyncio.sleep(self.delay)
        code = 500 if self.is_bad() and random.random() < self.errors else 200
        taken = asyncio.get_running_loop().time() - begun
        self.codes[str(code)] += 1
        self.clicked += random.random() < self.clicks
        self.seconds += taken
        for number, bound in enumerate(BOUNDS):
            self.buckets[number] += taken <= bound
        return code, self.version

    def metrics(self) -> str:
        """What Prometheus scrapes."""
        revision = f'model_revision="{self.revision}"'
        lines = ["# TYPE ranker_requests_total counter"]
        lines += [f'ranker_requests_total{{code="{code}",{revision}}} {count}' for code, count in self.codes.items()]
        lines.append("# TYPE ranker_request_seconds histogram")
        for bound, count in zip(BOUNDS, self.buckets, strict=True):
            name = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'ranker_request_seconds_bucket{{le="{name}"}} {count}')
        lines += [f"ranker_request_seconds_sum {self.seconds}", f"ranker_request_seconds_count {self.buckets[-1]}"]
        lines += ["# TYPE ranker_impressions_total counter", f"ranker_impressions_total {self.buckets[-1]}"]
        lines += ["# TYPE ranker_clicks_total counter", f"ranker_clicks_total {self.clicked}"]
        lines += ["# TYPE ranker_temperature gauge", "ranker_temperature 1"]
        return "\n".join(lines) + "\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept open; requests without a body."""
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                path = request.split(b" ", 2)[1].split(b"?")[0]
                if path == b"/metrics":
                    code, text = 200, self.metrics()
                elif path == b"/ready":
                    code, text = 200, "ok"
                else:
                    code, text = await self.answer()
                body = text.encode()
                head = (
                    f"HTTP/1.1 {code} X\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {len(body)}\r\n"
                )
                writer.write(f"{head}x-model-revision: {self.revision}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _crash_when_told(mark: Path) -> None:
    if mark.exists():
        os._exit(1)
    asyncio.get_running_loop().call_later(0.25, _crash_when_told, mark)


async def main() -> None:
    """Serve on the pod's address."""
    if "CRASH" in os.environ:
        sys.exit(os.environ["CRASH"])
    await asyncio.sleep(float(os.environ.get("START_MS", "0")) / 1000)
    server = await asyncio.start_server(Model().serve, os.environ["POD_IP"], 8080)
    if "CRASH_WHEN" in os.environ:
        _crash_when_told(Path(os.environ["CRASH_WHEN"]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
