"""History for a real Prometheus: samples of the past, sent by remote write.

Source: Prometheus remote-write specification 1.0 (a snappy-compressed protobuf ``WriteRequest``). The compression is
the format's own way of saying "as it is", literals alone.
"""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from tests.support.exporters import _field, _tag, _varint

__all__ = ["FLAGS", "STORAGE", "send"]

FLAGS = ("--web.enable-remote-write-receiver",)
STORAGE = {"tsdb": {"out_of_order_time_window": "30d"}}
"""Prometheus' configuration that takes samples of the past in any order."""
_LITERAL = 60_000


def send(url: str, series: Iterable[tuple[Mapping[str, str], Sequence[tuple[float, float]]]]) -> None:
    """Send series: labels (with ``__name__``) and pairs of (seconds since 1970, value)."""
    for labels, samples in series:
        body = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, labels[name].encode())) for name in sorted(labels)
        )
        for at, value in samples:
            body += _field(2, _tag(1, 1) + struct.pack("<d", value) + _tag(2, 0) + _varint(round(at * 1000)))
        request = urllib.request.Request(f"{url}/api/v1/write", data=_as_it_is(_field(1, body)), method="POST")
        request.add_header("Content-Encoding", "snappy")
        request.add_header("Content-Type", "application/x-protobuf")
        request.add_header("X-Prometheus-Remote-Write-Version", "0.1.0")
        urllib.request.urlopen(request, timeout=30).close()


def _as_it_is(raw: bytes) -> bytes:
    """Snappy's block format without compression: the length, then literals."""
    parts = [_varint(len(raw))]
    for start in range(0, len(raw), _LITERAL):
        piece = raw[start : start + _LITERAL]
        parts.append(bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece)
    return b"".join(parts)
