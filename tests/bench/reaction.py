"""How fast a bad version loses its traffic, on the local cluster with a scrape each second.

    python -m localcluster exec -- .venv/bin/python -m tests.bench.reaction [--runs 5] [--interval 1s]

Versions that fail (a catastrophe: one evaluation is enough) and that fail a little (a breach: minBreachTime, printed
with it) are released again and again. For each run, in seconds from the first failing answer of the candidate:

    scrape   the first scrape whose counters show it (Prometheus' own timestamp)
    zero     the candidate's weight is 0 on the HTTPRoute (the write's time, as the route's marker was seen)
    last     the last answer that any user got from it

and ``zero - scrape``, which is what the operator itself adds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

from localcluster import LocalCluster, eventually
from tests.support.operator import Operator
from tests.support.scene import Scene, changed

_HEADER = f"{'run':24} {'scrape':>7} {'zero':>7} {'last':>7} {'zero-scrape':>12}"


def _first_scrape(cluster: LocalCluster, namespace: str, revision: str, begun: float) -> float:
    """Timestamp of the first sample that counts a failed request of a revision."""
    query = f'ranker_requests_total{{namespace="{namespace}",pod=~"ranker-{revision}-.*",code="500"}}[5m]'
    url = f"{cluster.prometheus_url}/api/v1/query?query={urllib.parse.quote(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        series: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    times = [float(at) for one in series for at, value in one["values"] if float(value) > 0 and float(at) >= begun]
    return min(times)


class _Watcher:
    """Notes when the candidate's weight on the route is first seen at 0 after it was above."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stop = threading.Event()
        self.zero_at = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        raised = False
        while not self._stop.wait(0.01) and not self.zero_at:
            weights = self._scene.weights
            serving = len([weight for weight in weights.values() if weight > 0])
            raised = raised or serving == 2
            if raised and serving == 1:
                self.zero_at = time.time()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()


def _once(cluster: LocalCluster, scene: Scene, version: str, errors: str, interval: str) -> tuple[float, ...]:
    change = changed(
        steps=[{"weight": 50, "hold": "10m"}],
        warmup="0s",
        evaluation={"interval": interval, "minBreachTime": "2s"},
    )
    with scene.users(80) as users:
        watcher = _Watcher(scene)
        scene.apply(version, change=change, ERRORS=errors)
        scene.at_weight(50)
        revision = scene.revision(version)
        scene.reach("RolledBack", timeout=120)
        eventually(lambda: watcher.zero_at > 0, "the weight at zero")
        watcher.stop()
        answers = list(users.answers)
    first = min(at for at, who, code in answers if who == revision and code == 500)
    last = max(at for at, who, _ in answers if who == revision)
    scrape = _first_scrape(cluster, scene.namespace, revision, first - 2)
    return scrape - first, watcher.zero_at - first, last - first, watcher.zero_at - scrape


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--interval", default="1s", help="evaluation.interval")
    parser.add_argument("--metrics-delay", default="", help="the operator's --metrics-delay; its default when absent")
    given = parser.parse_args()
    with LocalCluster.start() as cluster:
        Operator.install(cluster)
        operator = Operator(cluster, metrics_delay=given.metrics_delay)
        try:
            operator.start()
            cluster.kubectl("create", "namespace", "bench")
            scene = Scene(cluster, "bench")
            scene.serve_first()
            print(_HEADER, flush=True)
            for name, errors in (("catastrophe (80 %)", "0.8"), ("breach (20 %)", "0.2")):
                rows = []
                for run in range(given.runs):
                    rows.append(_once(cluster, scene, f"{name[0]}{run}", errors, given.interval))
                    print(f"{name:24} " + " ".join(f"{value:7.2f}" for value in rows[-1]), flush=True)
                medians = [statistics.median(column) for column in zip(*rows, strict=True)]
                print(f"{name + ', median':24} " + " ".join(f"{value:7.2f}" for value in medians), flush=True)
        finally:
            operator.kill()


if __name__ == "__main__":
    main()
