"""Seconds from the death of the replica that decides to the first write of the one that takes over.

    python -m localcluster exec -- python -m tests.bench.failover --runs 5

Each run begins a bad release, kills the leader (``kill -9``) while its candidate has traffic, and waits: for the Lease
to change hands, for the first status or route that carries the new epoch, and for the candidate to have no weight. The
last line of each table is a clean stop (SIGTERM) instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final

from localcluster import LocalCluster, Settings, eventually
from tests.support.operator import Operator
from tests.support.scene import Scene, api

_LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/modelrollout-system/leases/modelrollout"
_HEADER: Final = f"{'run':>8}  {'lease taken':>12}  {'first write':>12}  {'weight 0':>10}   (seconds)"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with LocalCluster.start(settings=Settings()) as cluster:
        Operator.install(cluster)
        pair = [Operator(cluster, identity="pod-a"), Operator(cluster, identity="pod-b")]
        for one in pair:
            one.start()
        try:
            print(_HEADER, flush=True)
            for number in range(given.runs):
                pair = _run(cluster, pair, f"kill-{number + 1}", Operator.kill)
            pair = _run(cluster, pair, "stop", Operator.stop)
        finally:
            for one in pair:
                one.kill()


def _run(cluster: LocalCluster, pair: list[Operator], name: str, end: Callable[[Operator], object]) -> list[Operator]:
    """One failover; leader and standby afterwards."""
    leader, standby = pair
    cluster.kubectl("create", "namespace", name)
    scene = Scene(cluster, name)
    scene.serve_first()
    with scene.users(40):
        scene.apply("2", ERRORS="0.3")
        scene.until(lambda status: status.get("weight", 0) > 0, "the candidate's first traffic")
        epoch = api(cluster).get(_LEASE)["spec"]["leaseTransitions"]
        began = time.monotonic()
        end(leader)
        taken = _seconds(began, lambda: api(cluster).get(_LEASE)["spec"].get("holderIdentity") == standby.identity)
        written = _seconds(began, lambda: _epoch(scene) > epoch)
        away = _seconds(began, lambda: not any(w for n, w in scene.weights.items() if n.endswith(scene.revision("2"))))
    print(f"{name:>8}  {taken:12.1f}  {written:12.1f}  {away:10.1f}", flush=True)
    scene.reach("RolledBack", version="1")
    leader.start()
    return [standby, leader]


def _seconds(began: float, happened: Callable[[], bool]) -> float:
    eventually(happened, "the failover", timeout=60, interval=0.05)
    return time.monotonic() - began


def _epoch(scene: Scene) -> int:
    """The highest epoch that stands in the status or on the route."""
    marker = scene.route.get("metadata", {}).get("annotations", {}).get("modelrollout.io/applied", "")
    on_route = int(marker.partition('"epoch": ')[2].partition(",")[0].strip("} ") or 0)
    return max(on_route, int((scene.status.get("decidedBy") or {}).get("epoch", 0)))


if __name__ == "__main__":
    main()
