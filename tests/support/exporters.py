"""Pods that only export metrics, and a Prometheus of their own: counting is tested without the rest of a cluster."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localcluster.binaries import find
from localcluster.pins import TOOLS
from localcluster.process import Program

SCRAPE = "500ms"
_PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@dataclass
class Native:
    """A native histogram: counts by bucket index, at a schema."""

    schema: int
    buckets: dict[int, int] = field(default_factory=dict)
    sum: float = 0.0

    def protobuf(self) -> bytes:
        """As ``io.prometheus.client.Histogram``."""
        spans, deltas, last_index, last_count = b"", b"", 0, 0
        for number, index in enumerate(sorted(self.buckets)):
            gap = index if number == 0 else index - last_index - 1
            spans += _field(12, _tag(1, 0) + _varint(_zigzag(gap)) + _tag(2, 0) + _varint(1))
            deltas += _varint(_zigzag(self.buckets[index] - last_count))
            last_index, last_count = index, self.buckets[index]
        count = _tag(1, 0) + _varint(sum(self.buckets.values()))
        total = _tag(2, 1) + struct.pack("<d", self.sum)
        zero = _tag(6, 1) + struct.pack("<d", 1e-9) + _tag(7, 0) + _varint(0)
        return count + total + _tag(5, 0) + _varint(_zigzag(self.schema)) + zero + spans + _field(13, deltas)


@dataclass
class Pod:
    """What one pod exports: counters by name and labels as written, and native histograms by name."""

    namespace: str
    name: str
    counters: dict[str, float] = field(default_factory=dict)
    natives: dict[str, Native] = field(default_factory=dict)
    failing: bool = False

    def add(self, **by_code: int) -> None:
        """Requests by code: ``ok`` and ``failed``."""
        for code, number in (("200", by_code.get("ok", 0)), ("500", by_code.get("failed", 0))):
            if number:
                series = f'requests_total{{code="{code}"}}'
                self.counters[series] = self.counters.get(series, 0.0) + number

    def text(self) -> bytes:
        """The text format."""
        lines = [f"{series} {value:g}" for series, value in self.counters.items()]
        return ("# TYPE requests_total counter\n" + "\n".join(lines) + "\n").encode()

    def protobuf(self) -> bytes:
        """The protobuf format, of the native histograms alone."""
        found = b""
        for name, native in self.natives.items():
            metric = _field(4, _field(7, native.protobuf()))
            family = _field(1, name.encode()) + _tag(3, 0) + _varint(4) + metric
            found += _varint(len(family)) + family
        return found


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _field(number: int, body: bytes) -> bytes:
    return _tag(number, 2) + _varint(len(body)) + body


class Exporters:
    """Serves the metrics of pods, each at a path of its own, and lists the pods for Prometheus to find."""

    def __init__(self, folder: Path) -> None:
        self.pods: dict[str, Pod] = {}
        self._targets = folder / "targets.json"
        exporters = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pod = exporters.pods.get(self.path.strip("/"))
                native = pod is not None and bool(pod.natives)
                body = b"" if pod is None else pod.protobuf() if native else pod.text()
                self.send_response(200 if pod is not None and not pod.failing else 500)
                self.send_header("Content-Type", _PROTOBUF if native else "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody wants to read it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def start(self, *pods: Pod) -> None:
        """Pods begin to be scraped."""
        self.pods |= {pod.name: pod for pod in pods}
        self._list()

    def remove(self, pod: Pod) -> None:
        """A pod is gone."""
        del self.pods[pod.name]
        self._list()

    def _list(self) -> None:
        address = f"127.0.0.1:{self._server.server_address[1]}"
        targets = [
            {
                "targets": [address],
                "labels": {"__metrics_path__": f"/{pod.name}", "namespace": pod.namespace, "pod": pod.name},
            }
            for pod in self.pods.values()
        ]
        draft = self._targets.with_suffix(".draft.json")
        draft.write_text(json.dumps(targets), encoding="utf-8")
        draft.replace(self._targets)

    def job(self, name: str, **more: object) -> dict[str, Any]:
        """A scrape configuration that finds all pods."""
        return {
            "job_name": name,
            "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": "300ms"}],
        } | more

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def real_prometheus(
    folder: Path, jobs: list[dict[str, Any]], *, flags: tuple[str, ...] = (), **config: object
) -> Iterator[str]:
    """A Prometheus with these scrape configurations; yields its URL."""
    [tool] = [tool for tool in TOOLS if tool.name == "prometheus"]
    binary = find(tool).path
    assert binary is not None, "there is no Prometheus yet: python -m localcluster build"
    folder.mkdir()
    port = free_port()
    scrape: Mapping[str, object] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE}
    more: Any = config.pop("global_config", {})
    file = folder / "prometheus.json"
    file.write_text(json.dumps({"global": {**scrape, **more}, "scrape_configs": jobs, **config}), encoding="utf-8")
    arguments = [str(binary), f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--scrape.discovery-reload-interval=200ms"]
    program = Program("prometheus", [*arguments, "--log.level=warn", *flags], folder / "log", dict(os.environ))
    program.start()
    url = f"http://127.0.0.1:{port}"
    try:
        program.wait_until(lambda: _ready(url), "it answers", timeout=30)
        yield url
    finally:
        program.stop()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False
