"""Plays what the cluster lacks, in a process of its own: users and exporters, the gateway's answers, and a watcher.

    python -m tests.bench.scale.standin KUBECONFIG PORT SEED

- It watches pods and HTTPRoutes, gives each pod its share of the users' requests, and serves the pods' counters to
  Prometheus.
- It says of every HTTPRoute what a gateway would: accepted, at this generation.
- It notes when it saw which weights, phases and statuses, by its own watches and its own clock: what the rig measures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from localcluster import addresses
from tests.bench.scale.api import Api, Body
from tests.bench.scale.manifests import ERRORS_LABEL, REQUESTS
from tests.bench.scale.traffic import ERRORS, Pod, Traffic

__all__ = ["PORT", "SHARDS", "StandIn", "main"]

PORT: Final = 9300
SHARDS: Final = 8
"""Scrape targets: so that no answer is so long that its scrape is late."""
_NAME, _REVISION, _VERSION = "modelrollout.io/name", "modelrollout.io/revision", "bench/version"
_ANSWERERS: Final = 8
_CONTROLLER: Final = "bench.example/standin"

Key = tuple[str, str]


@dataclass
class _Pod:
    """A pod that answers."""

    revision: str
    version: str


@dataclass
class _Rollout:
    """What was seen of one rollout."""

    pods: dict[Pod, _Pod] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    weights_seen: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    route: Body | None = None
    status: Body = field(default_factory=dict)
    generation: int = 0
    phases_seen: list[tuple[float, str, str]] = field(default_factory=list)
    status_writes: int = 0

    def shown(self) -> Body:
        """As JSON for the rig."""
        status = self.status
        return {
            "phase": status.get("phase"),
            "reason": status.get("reason"),
            "message": status.get("message"),
            "stable": (status.get("stable") or {}).get("version"),
            "current": status.get("observedGeneration") == self.generation,
            "weights": self.weights_seen,
            "phases": self.phases_seen,
            "statusBytes": len(json.dumps(status)),
            "statusWrites": self.status_writes,
        }


class StandIn:
    """See the module."""

    def __init__(self, api: Api, seed: int) -> None:
        self._api = api
        self._traffic = Traffic(seed, SHARDS)
        self._rollouts: dict[Key, _Rollout] = {}
        self._unanswered: asyncio.Queue[Key] = asyncio.Queue()

    async def run(self) -> None:
        """Watch and answer for ever."""
        async with asyncio.TaskGroup() as group:
            for work in (self._watch_pods(), self._watch_routes(), self._watch_rollouts()):
                group.create_task(_forever(work))
            for _ in range(_ANSWERERS):
                group.create_task(_forever(self._answer()))

    def _of(self, key: Key) -> _Rollout:
        return self._rollouts.setdefault(key, _Rollout())

    # -- users and exporters --------------------------------------------------------------------

    async def _watch_pods(self) -> None:
        async for kind, body in self._api.watch("pods", _NAME):
            if kind == "SYNC":
                self._forget_all_but({_key(one) for one in body["items"]})
                continue
            pod, labels = _key(body), body["metadata"]["labels"]
            rollout = self._of((pod[0], labels[_NAME]))
            if kind == "DELETED" or "deletionTimestamp" in body["metadata"] or not _is_ready(body):
                if rollout.pods.pop(pod, None) is not None:
                    self._traffic.remove(pod)
                    self._share(rollout)
            elif pod not in rollout.pods:
                now = time.time()
                rollout.pods[pod] = _Pod(labels[_REVISION], labels.get(_VERSION, ""))
                self._traffic.add(pod, now)
                self._traffic.set(pod, now, errors=float(labels.get(ERRORS_LABEL, 100 * ERRORS)) / 100)
                self._share(rollout)

    def _forget_all_but(self, there: set[Pod]) -> None:
        for rollout in self._rollouts.values():
            for pod in [pod for pod in rollout.pods if pod not in there]:
                del rollout.pods[pod]
                self._traffic.remove(pod)

    def _share(self, rollout: _Rollout) -> None:
        """Give each pod its part of the requests, by the weights as they stand."""
        now = time.time()
        for pod, one in rollout.pods.items():
            siblings = sum(1 for other in rollout.pods.values() if other.revision == one.revision)
            self._traffic.set(pod, now, rate=REQUESTS * rollout.weights.get(one.revision, 0) / 100 / siblings)

    async def serve_metrics(self, request: web.Request) -> web.Response:
        """A scrape."""
        text = self._traffic.text(int(request.match_info["shard"]), time.time())
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    async def break_some(self, request: web.Request) -> web.Response:
        """Let the pods of one version of some rollouts fail from now on; says when that was."""
        asked = await request.json()
        now = time.time()
        for namespace, name in asked["keys"]:
            for pod, one in self._of((namespace, name)).pods.items():
                if one.version == asked["version"]:
                    self._traffic.set(pod, now, errors=asked["errors"])
        return web.json_response({"at": now})

    # -- the gateway ----------------------------------------------------------------------------

    async def _watch_routes(self) -> None:
        async for kind, route in self._api.watch("httproutes", _NAME):
            if kind == "SYNC":
                continue
            key = route["metadata"]["namespace"], route["metadata"]["labels"][_NAME]
            rollout = self._of(key)
            rollout.route = None if kind == "DELETED" else route
            weights = {} if kind == "DELETED" else _weights(route)
            if weights != rollout.weights:
                rollout.weights = weights
                rollout.weights_seen.append((time.time(), weights))
                self._share(rollout)
            if rollout.route is not None and _is_unanswered(route):
                self._unanswered.put_nowait(key)

    async def _answer(self) -> None:
        while True:
            route = self._of(await self._unanswered.get()).route
            if route is None or not _is_unanswered(route):
                continue
            metadata = {name: route["metadata"][name] for name in ("namespace", "name")}
            try:
                await self._api.merge_status("httproutes", {"metadata": metadata, "status": _accepted(route)})
            except (OSError, aiohttp.ClientError, TimeoutError):
                self._unanswered.put_nowait((metadata["namespace"], route["metadata"]["labels"][_NAME]))
                await asyncio.sleep(0.2)

    # -- the watcher ----------------------------------------------------------------------------

    async def _watch_rollouts(self) -> None:
        async for kind, body in self._api.watch("modelrollouts"):
            if kind == "SYNC":
                continue
            key, status = _key(body), body.get("status") or {}
            if kind == "DELETED":
                self._rollouts.pop(key, None)
                continue
            rollout = self._of(key)
            rollout.status_writes += status != rollout.status
            rollout.status, rollout.generation = status, body["metadata"]["generation"]
            now = (status.get("phase"), status.get("reason"))
            if not rollout.phases_seen or rollout.phases_seen[-1][1:] != now:
                rollout.phases_seen.append((time.time(), *now))  # type: ignore[arg-type]

    async def show(self, _request: web.Request) -> web.Response:
        """All that was seen."""
        return web.json_response({"/".join(key): one.shown() for key, one in self._rollouts.items()})


def _key(body: Body) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _is_ready(pod: Body) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _weights(route: Body) -> dict[str, int]:
    """By revision."""
    rules = route["spec"].get("rules") or [{}]
    backends: list[Any] = rules[0].get("backendRefs") or []
    return {one["name"].rpartition("-")[2]: one.get("weight", 1) for one in backends}


def _is_unanswered(route: Body) -> bool:
    parents = (route.get("status") or {}).get("parents") or []
    said = [one.get("observedGeneration") for parent in parents for one in parent.get("conditions") or []]
    return not said or min(said) < route["metadata"]["generation"]


def _accepted(route: Body) -> Body:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    common = {"status": "True", "observedGeneration": route["metadata"]["generation"], "lastTransitionTime": at}
    conditions = [
        {"type": "Accepted", "reason": "Accepted", "message": "", **common},
        {"type": "ResolvedRefs", "reason": "ResolvedRefs", "message": "", **common},
    ]
    parent = route["spec"]["parentRefs"][0]
    return {"parents": [{"parentRef": parent, "controllerName": _CONTROLLER, "conditions": conditions}]}


async def _forever(work: Coroutine[Any, Any, None]) -> None:
    await work
    raise AssertionError("a watch ended")


async def _main(kubeconfig: Path, port: int, seed: int) -> None:
    async with Api(kubeconfig) as api:
        one = StandIn(api, seed)
        app = web.Application(client_max_size=16 << 20)
        app.add_routes(
            [
                web.get("/metrics/{shard}", one.serve_metrics),
                web.get("/seen", one.show),
                web.post("/break", one.break_some),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, addresses.HOST, port).start()
        await one.run()


def main() -> None:
    """Run it."""
    kubeconfig, port, seed = sys.argv[1:]
    asyncio.run(_main(Path(kubeconfig), int(port), int(seed)))


if __name__ == "__main__":
    main()
