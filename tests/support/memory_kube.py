"""A Kubernetes API in memory, for benchmarks of the operator alone: objects by path, watches, and everything that is
asked for comes true at once (pods are ready, routes are accepted). It checks nothing; the tests use a real one.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from modelrollout.kube.client import DEPLOYMENTS, ENDPOINT_SLICES, HTTP_ROUTES, PODS, Fence, Kube, NotFound, Resource
from modelrollout.kube.limits import Lane

__all__ = ["MemoryKube"]

Body = dict[str, Any]


class MemoryKube(Kube):
    """See the module. ``started`` is called with every pod that begins."""

    def __init__(self, started: Callable[[Body], None] = lambda pod: None) -> None:
        self._objects: dict[str, Body] = {}
        self._watches: dict[str, list[asyncio.Queue[Body]]] = {}
        self._version = 1
        self._started = started
        self.requests = 0
        self.writes: dict[str, int] = {}

    async def close(self) -> None:
        """Nothing is open."""

    def put(self, path: str, body: Body) -> Body:
        """Store an object, whoever wrote it."""
        self._version += 1
        metadata = body.setdefault("metadata", {})
        before = self._objects.get(path)
        metadata.setdefault("uid", f"uid-{self._version}")
        metadata.setdefault("creationTimestamp", _now())
        changed = before is None or before.get("spec") != body.get("spec")
        metadata["generation"] = metadata.get("generation", 0) + changed
        metadata["resourceVersion"] = str(self._version)
        self._objects[path] = body
        for queue in self._watches.get(_collection(path), []):
            queue.put_nowait({"type": "ADDED" if before is None else "MODIFIED", "object": copy.deepcopy(body)})
        return copy.deepcopy(body)

    async def get(self, path: str, **query: str) -> Body:
        """An object, or all of a collection."""
        self.requests += 1
        if path in self._objects:
            return copy.deepcopy(self._objects[path])
        if _plural(path) != path.rpartition("/")[2]:
            raise NotFound(404, f"{path} not found")
        items = [body for at, body in self._objects.items() if _collection(at) == _collection(path + "/x")]
        return {"items": copy.deepcopy(items), "metadata": {"resourceVersion": str(self._version)}}

    def fenced(self, fence: Fence) -> MemoryKube:
        """Nobody else decides here."""
        return self

    async def create(
        self,
        path: str,
        body: Body,
        *,
        dry_run: bool = False,
        lane: Lane = Lane.WORK,
        seconds: float | None = None,
    ) -> Body:
        """Events and incidents come to nothing."""
        self._count(path)
        return body

    async def delete(self, path: str, *, propagation: str = "Background", version: str = "") -> None:
        """Remove an object."""
        self._count(path)
        gone = self._objects.pop(path, None)
        for queue in self._watches.get(_collection(path), []) if gone is not None else []:
            queue.put_nowait({"type": "DELETED", "object": gone})

    async def apply(self, path: str, body: Body, *, lane: Lane = Lane.WORK, careful: bool = False) -> Body:
        """Write, and make it so."""
        self._count(path)
        body = _merged(copy.deepcopy(self._objects.get(path, {})), body)
        plural = _plural(path)
        if plural == HTTP_ROUTES.plural:
            accepted = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
            body["status"] = {"parents": [{"parentRef": {"name": "public"}, "conditions": [accepted]}]}
        found = self.put(path, body)
        return self._scaled(path) if plural == DEPLOYMENTS.plural else found

    async def json_patch(self, path: str, ops: list[Body], *, lane: Lane = Lane.WORK, careful: bool = False) -> Body:
        """Of the fields that the operator adds."""
        self._count(path)
        whole = path.removesuffix("/status")
        body = copy.deepcopy(self._objects[whole])
        for op in ops:
            if op["op"] == "add":
                *parents, last = op["path"].strip("/").replace("~1", "\0").split("/")
                place = body
                for one in parents:
                    place = place[one]
                place[last.replace("\0", "/")] = op["value"]
        return self.put(whole, body)

    async def merge_patch(self, path: str, body: Body, *, lane: Lane = Lane.WORK, careful: bool = False) -> Body:
        """RFC 7386, near enough."""
        self._count(path)
        whole = path.removesuffix("/status").removesuffix("/scale")
        found = self.put(whole, _merged(copy.deepcopy(self._objects[whole]), body))
        return self._scaled(whole) if path.endswith("/scale") else found

    async def watch(self, path: str, resource_version: str, selector: str) -> AsyncIterator[Body]:
        """Every change from now on."""
        queue: asyncio.Queue[Body] = asyncio.Queue()
        self._watches.setdefault(_collection(path + "/x"), []).append(queue)
        while True:
            yield await queue.get()

    def _count(self, path: str) -> None:
        self.requests += 1
        parts = path.split("/")
        kind = "/".join(parts[-2:]) if parts[-1] in ("status", "scale") else _plural(path)
        kind = f"{_plural(path)}/{parts[-1]}" if parts[-1] in ("status", "scale") else kind
        self.writes[kind] = self.writes.get(kind, 0) + 1

    def _scaled(self, path: str) -> Body:
        """As many pods as are wanted, ready, and in the endpoints."""
        body = copy.deepcopy(self._objects[path])
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        labels, wanted = body["metadata"]["labels"], body["spec"].get("replicas", 1)
        for number in range(wanted):
            pod = f"{name}-6c9f7d5b8-{_suffix(number)}"
            at = PODS.path(namespace, pod)
            if at not in self._objects:
                made = _pod(namespace, pod, labels, body["spec"]["template"])
                self._started(made)
                self.put(at, made)
        self._endpoints(ENDPOINT_SLICES, namespace, name, labels, wanted)
        body["status"] = {"readyReplicas": wanted, "replicas": wanted}
        return self.put(path, body)

    def _endpoints(self, resource: Resource, namespace: str, name: str, labels: Body, ready: int) -> None:
        one = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}}
        metadata = {"name": f"{name}-x", "namespace": namespace}
        metadata["labels"] = labels | {"kubernetes.io/service-name": name}  # type: ignore[assignment]
        self.put(resource.path(namespace, f"{name}-x"), {"metadata": metadata, "endpoints": [one] * ready})


def _plural(path: str) -> str:
    parts = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    return parts[2] if parts[0] == "namespaces" and len(parts) > 2 else parts[0]


def _collection(path: str) -> str:
    """Of all namespaces alike."""
    parts = path.strip("/").split("/")
    return "/".join([*parts[: 2 if path.startswith("/api/") else 3], _plural(path)])


def _merged(old: Body, new: Body) -> Body:
    for name, value in new.items():
        old[name] = _merged(old.get(name) or {}, value) if isinstance(value, dict) else value
    return old


def _suffix(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:05d}")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pod(namespace: str, name: str, labels: Body, template: Body) -> Body:
    true = {"status": "True", "lastTransitionTime": _now()}
    running = {"name": "server", "state": {"running": {"startedAt": _now()}}, "restartCount": 0, "ready": True}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": copy.deepcopy(template["spec"]),
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled"} | true, {"type": "Ready"} | true],
            "containerStatuses": [running],
        },
    }
