"""What was spent between two moments: CPU seconds of processes, requests by the audit log, Prometheus' own count."""

from __future__ import annotations

import os
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster import LocalCluster
from tests.support.audit import Audit

__all__ = ["Cost", "Meter", "cpu_seconds", "memory_mib", "queries_in"]

_QUERY = re.compile(r'^prometheus_http_requests_total\{[^}]*handler="/api/v1/[^}]*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Cost:
    """Of some seconds."""

    seconds: float
    cpu: Mapping[str, float]
    """CPU seconds per process."""
    requests: Mapping[str, int]
    """The operator's requests by verb and resource, watches left out."""
    queries: float
    """Requests that Prometheus answered."""


class Meter:
    """Counts from now on. ``pids``: processes by name, which must live until :meth:`read`."""

    def __init__(self, cluster: LocalCluster, pids: Mapping[str, int]) -> None:
        self._cluster, self._pids = cluster, dict(pids)
        self._begun = time.monotonic()
        self._cpu = self._cpu_now()
        self._queries = _queries(cluster)
        self._audit = Audit(cluster)

    def read(self) -> Cost:
        """What was spent since."""
        seconds = time.monotonic() - self._begun
        cpu = {name: now - self._cpu[name] for name, now in self._cpu_now().items()}
        queries = _queries(self._cluster) - self._queries
        requests: Counter[str] = self._audit.requests()
        return Cost(seconds, cpu, dict(requests), queries)

    def _cpu_now(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, user and system, since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process, now or at most."""
    mark = "VmHWM:" if peak else "VmRSS:"
    return int(Path(f"/proc/{pid}/status").read_text(encoding="ascii").split(mark)[1].split()[0]) / 1024


def _queries(cluster: LocalCluster) -> float:
    with urllib.request.urlopen(f"{cluster.prometheus_url}/metrics", timeout=30) as answer:
        return queries_in(answer.read().decode())


def queries_in(metrics: str) -> float:
    """Requests to the API that Prometheus' own metrics tell of."""
    return sum(float(value) for value in _QUERY.findall(metrics))
