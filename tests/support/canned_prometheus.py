"""A Prometheus that knows one kind of model server, computed rather than scraped: for benchmarks of what asks it.

It understands the queries of the operator and no others. Counters are functions of time, so every instant has been
scraped already. It runs in a process of its own, so that its time is not counted as the operator's.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs

__all__ = ["CannedPrometheus", "Exporter"]

_PART = re.compile(r'label_replace\((.*?),"modelrollout_want","([0-9]+-?)","",""\)(?= or label_replace|$)', re.DOTALL)
_NAMESPACES = re.compile(r'namespace=~"([^"]*)"')
_BOUNDS = ("0.05", "0.1", "0.15", "0.2", "0.3", "0.5", "1", "+Inf")
_SHARES = (0.3, 0.7, 0.9, 0.97, 0.985, 0.995, 0.999, 1.0)


@dataclass
class Exporter:
    """A pod: its requests a second, its share of errors, and from when on (a timestamp) it has another share."""

    namespace: str
    pod: str
    rate: float
    errors: float = 0.01
    bad_from: float = float("inf")
    bad: float = 0.3
    since: float = 0.0

    def totals(self, at: float) -> tuple[int, int]:
        """Requests and errors until a time."""
        live = max(0.0, at - self.since)
        bad = max(0.0, at - max(self.bad_from, self.since))
        return int(self.rate * live), int(self.rate * ((live - bad) * self.errors + bad * self.bad))


@dataclass
class _World:
    pods: dict[tuple[str, str], Exporter] = field(default_factory=dict)

    def instant(self, query: str, at: float) -> str:
        """An answer of /api/v1/query."""
        return _whole("vector", [{"metric": labels, "value": [at, value]} for labels, value in self._rows(query, at)])

    def range(self, query: str, start: float, end: float, step: float) -> str:
        """An answer of /api/v1/query_range."""
        found: dict[str, dict[str, Any]] = {}
        for number in range(int((end - start) / step + 1.5)):
            at = start + number * step
            for labels, value in self._rows(query, at):
                series = found.setdefault(str(sorted(labels.items())), {"metric": labels, "values": []})
                series["values"].append([at, value])
        return _whole("matrix", list(found.values()))

    def _rows(self, query: str, at: float) -> Iterator[tuple[dict[str, str], str]]:
        for text, mark in _PART.findall(query):
            spaces = set(_NAMESPACES.findall(text)[0].split("|"))
            for one in list(self.pods.values()):
                if one.namespace in spaces and one.since <= at:
                    yield from _rows(one, text, mark, at)


def _whole(kind: str, result: list[dict[str, Any]]) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def _rows(one: Exporter, text: str, mark: str, at: float) -> list[tuple[dict[str, str], str]]:
    labels = {"namespace": one.namespace, "pod": one.pod, "job": "servers", "instance": one.pod}
    labels["modelrollout_want"] = mark

    def row(value: float, **more: str) -> tuple[dict[str, str], str]:
        return labels | more, str(int(value))

    total, bad = one.totals(at)
    if text.startswith(("up", "max_over_time(up")):
        return [row(1.0, __name__="up")]
    if text.startswith("group by"):
        return [row(1.0, le=le) for le in _BOUNDS]
    if mark.endswith("-"):
        return []
    if text.startswith("requests_total"):
        ok = [] if "5.." in text else [row(total - bad, __name__="requests_total", code="200")]
        return [*ok, row(bad, __name__="requests_total", code="500")]
    if text.startswith("request_seconds_bucket"):
        wanted = re.search(r'le=~"([^"]*)"', text)
        chosen = _BOUNDS if wanted is None else tuple(wanted.group(1).replace("\\", "").split("|"))
        values = dict(zip(_BOUNDS, _SHARES, strict=True))
        return [row(int(total * values[le]), __name__="request_seconds_bucket", le=le) for le in chosen]
    if text.startswith("clicks_total"):
        return [row(int(total * 0.2), __name__="clicks_total")]
    if text.startswith("impressions_total"):
        return [row(total, __name__="impressions_total")]
    return []


class CannedPrometheus:
    """See the module; a context manager."""

    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
        self.url = ""

    def __enter__(self) -> CannedPrometheus:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._ours.recv()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def export(self, pods: list[Exporter]) -> None:
        """Know these pods, or know them anew."""
        self._ours.send(pods)
        self._ours.recv()


def _serve(pipe: Connection) -> None:
    world = _World()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

        def do_GET(self) -> None:
            self._send('{"status":"success","data":{}}')

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            given = {name: values[0] for name, values in form.items()}
            if "start" in given:
                times = (float(given[name]) for name in ("start", "end", "step"))
                self._send(world.range(given["query"], *times))
            else:
                self._send(world.instant(given["query"], float(given["time"])))

        def _send(self, text: str) -> None:
            raw = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_address[1])
    with contextlib.suppress(EOFError):
        while True:
            world.pods |= {(one.namespace, one.pod): one for one in pipe.recv()}
            pipe.send("known")
