"""What a look costs the operator, with everything but the network: reading Prometheus' answers, counting, deciding,
comparing statuses, and the queue.

    python -m tests.bench.looks [--rollouts 1000] [--namespaces 10] [--interval 2s] [--seconds 30] [--profile FILE]

The operator is the real one (its reconciler, queue and metrics client); the API server is in memory and writes cost
nothing there; a Prometheus that computes its series answers from a process of its own. Every rollout is in its first
step, with three gates. With ``--breach``, at the end one in five fails for 30 % of its requests all at once: seconds
until each has weight 0, without scrapes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import os
import time
from pathlib import Path
from typing import Any

from modelrollout.api.meta import LABEL_NAME, LABEL_REVISION
from modelrollout.controller import reconcile
from modelrollout.controller.app import Application, Ending
from modelrollout.controller.settings import Settings
from modelrollout.engine.decide import decide
from modelrollout.engine.model import Decision, Input
from modelrollout.kube.client import HTTP_ROUTES, ROLLOUTS
from modelrollout.metrics.prometheus import Prometheus
from modelrollout.metrics.source_config import DEFAULT, single
from tests.support.canned_prometheus import CannedPrometheus, Exporter
from tests.support.memory_kube import MemoryKube
from tests.support.world import CTR, ERRORS, LATENCY, spec

Body = dict[str, Any]
_SETTLES = 25.0
"""Seconds until every gate has enough samples, and what is found out once has been."""
_CANDIDATE_RPS, _BASELINE_RPS = 20.0, 180.0


class Bench:
    """An operator with many rollouts."""

    def __init__(self, prometheus: CannedPrometheus, count: int, namespaces: int, interval: str) -> None:
        self.kube = MemoryKube(self._pod_started)
        self.prometheus = prometheus
        self.looks = 0
        self.late: list[float] = []
        self.app = Application(Settings(single(prometheus.url, allow_promql=False)), self.kube, Ending())
        self._keys = [(f"team-{number % namespaces}", f"model-{number}") for number in range(count)]
        self._interval = interval
        self._exporters: list[Exporter] = []
        self._new: list[Exporter] = []
        self._first: dict[tuple[str, str], str] = {}
        self.candidates: dict[tuple[str, str], Exporter] = {}
        reconcile.decide = self._counted  # type: ignore[assignment,attr-defined]

    def _counted(self, seen: Input) -> Decision:
        if seen.measurement is not None and seen.status.weight == 10:
            self.looks += 1
            self.late.append((seen.now - seen.measurement.end).total_seconds())
        return decide(seen)

    def _pod_started(self, pod: Body) -> None:
        metadata = pod["metadata"]
        key = (metadata["namespace"], metadata["labels"][LABEL_NAME])
        revision = metadata["labels"][LABEL_REVISION]
        stable = self._first.setdefault(key, revision) == revision
        made = Exporter(key[0], metadata["name"], _BASELINE_RPS if stable else _CANDIDATE_RPS, since=time.time() - 60)
        if not stable:
            self.candidates[key] = made
        self._new.append(made)

    async def _export(self) -> None:
        new, self._new = self._new, []
        if new:
            await asyncio.to_thread(self.prometheus.export, new)

    def _apply(self, version: str) -> None:
        for key in self._keys:
            path = ROLLOUTS.path(*key)
            before = self.kube._objects.get(path, {"metadata": {"namespace": key[0], "name": key[1]}})
            said = spec(
                version,
                gates=[ERRORS, LATENCY, {name: value for name, value in CTR.items() if name != "labelsWithin"}],
                steps=[{"weight": 10, "hold": "10h"}],
                warmup="0s",
                evaluation={"interval": self._interval, "minBreachTime": "2s"},
            )
            said["workload"]["replicas"] = 1
            said["traffic"]["gatewayAPI"]["hostnames"] = [f"{key[1]}.example"]
            body = self.kube.put(path, before | {"spec": said})
            if self.app.store.put(body):
                self.app.queue.add(key)

    def _statuses(self) -> list[Any]:
        return [self.app.store.live(key, self.app.store.rollout(key)["metadata"]["uid"]) for key in self._keys]  # type: ignore[index]

    async def _until(self, what: str, seconds: float) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            await self._export()
            statuses = self._statuses()
            there = [one is not None and (one.phase == what or (what == "10" and one.weight == 10)) for one in statuses]
            if all(there):
                return
            await asyncio.sleep(0.2)
        raise SystemExit(f"{sum(there)} of {len(there)} came to {what}")

    async def prepare(self) -> None:
        """Every rollout with a stable revision and a candidate at 10 %."""
        await self.app.start()
        self._apply("1")
        await self._until("Stable", 300)
        self._apply("2")
        await self._until("10", 300)
        assert len(self.candidates) == len(self._keys)

    @property
    def _queries(self) -> int:
        metrics = self.app._sources._shared[DEFAULT]
        assert isinstance(metrics, Prometheus)
        return metrics.queries

    async def steady(self, seconds: float, profile: str) -> None:
        """Print what looks cost."""
        await asyncio.sleep(_SETTLES)
        queries, requests = self._queries, self.kube.requests
        self.kube.writes.clear()
        self.looks, self.late = 0, []
        profiler = cProfile.Profile() if profile else None
        if profiler is not None:
            profiler.enable()
        cpu, begun = time.process_time(), time.monotonic()
        each_look: list[float] = []
        while time.monotonic() - begun < seconds:
            before = time.process_time(), self.looks
            await asyncio.sleep(4.0)
            each_look.append((time.process_time() - before[0]) / max(1, self.looks - before[1]))
        cpu, took = time.process_time() - cpu, time.monotonic() - begun
        if profiler is not None:
            profiler.disable()
            profiler.dump_stats(profile)
        minutes, late, each = took / 60.0, sorted(self.late), len(self._keys) * took / 60.0
        queries, requests = self._queries - queries, self.kube.requests - requests
        print(f"looks                  {self.looks:8,d}   {self.looks / each:.1f} per rollout and minute")
        print(
            f"CPU                    {cpu / minutes:8.1f} s per minute, {1e3 * cpu / max(1, self.looks):.2f} ms a look "
            f"({1e3 * min(each_look):.2f} in the quietest 4 s of a busy machine)"
        )
        print(f"age of what is judged  {late[len(late) // 2]:8.2f} s (median), {late[-1]:.2f} s (max)")
        print(f"Prometheus requests    {queries:8d}   {queries / each:.3f} per rollout and minute")
        print(f"API requests           {requests:8d}   {requests / each:.2f} per rollout and minute {self.kube.writes}")
        print(f"memory                 {_memory():8.0f} MiB", flush=True)

    async def breach(self) -> None:
        """Print how long a fifth of the rollouts takes to be without traffic."""
        some = list(self.candidates)[::5]
        at = time.time()
        for key in some:
            self.candidates[key].bad_from = at
        await asyncio.to_thread(self.prometheus.export, [self.candidates[key] for key in some])
        took: dict[tuple[str, str], float] = {}
        while len(took) < len(some) and time.time() - at < 60:
            for key in some:
                route = self.kube._objects[HTTP_ROUTES.path(*key)]
                weights = [one["weight"] for one in route["spec"]["rules"][0]["backendRefs"]]
                if key not in took and (0 in weights or len(weights) == 1):
                    took[key] = time.time() - at
            await asyncio.sleep(0.02)
        times = sorted(took.values())
        others = sum(one.failed is not None for one in self._statuses()) - len(some)
        print(
            f"breach → weight 0      {len(times)} of {len(some)}: median {times[len(times) // 2]:.2f} s, "
            f"99 % {times[int(len(times) * 0.99)]:.2f} s, max {times[-1]:.2f} s; {others} others"
        )


def _memory() -> float:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _run(given: argparse.Namespace) -> None:
    with CannedPrometheus() as prometheus:
        bench = Bench(prometheus, given.rollouts, given.namespaces, given.interval)
        begun = time.monotonic()
        await bench.prepare()
        ready = time.monotonic() - begun
        print(
            f"{given.rollouts} rollouts, {given.namespaces} namespaces, every {given.interval} (ready in {ready:.0f} s)"
        )
        await bench.steady(given.seconds, given.profile)
        if given.breach:
            await bench.breach()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--namespaces", type=int, default=10)
    parser.add_argument("--interval", default="2s")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--profile", default="", help="file for cProfile's figures")
    parser.add_argument("--breach", action="store_true")
    logging.disable(logging.INFO)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
