"""A local copy of a collection of objects: list, then watch, and list again when the watch is too old.

kopf watches the operator's own resources. For what they own (Deployments, Services, pods, endpoints, routes) a copy is
needed rather than a stream of events: after a break, objects that vanished meanwhile must vanish from the copy too,
which a stream that is simply taken up again does not tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from modelrollout.kube.client import Gone, Kube, KubeError, Resource

__all__ = ["Reflector"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]


def _key(body: dict[str, Any]) -> Key:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Reflector:
    """Keeps ``objects`` like the cluster's, and calls ``changed`` with an object that came, changed or went."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        changed: Callable[[dict[str, Any]], None],
        *,
        selector: str = "",
        namespace: str | None = None,
        index: str = "",
    ) -> None:
        self._kube = kube
        self._resource = resource
        self._changed = changed
        self._selector = selector
        self._path = resource.path(namespace)
        self._index = index
        self._by_label: dict[Key, dict[str, dict[str, Any]]] = {}
        self.objects: dict[Key, dict[str, Any]] = {}
        self.synced = asyncio.Event()

    def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One object."""
        return self.objects.get((namespace, name))

    def labelled(self, namespace: str, value: str) -> list[dict[str, Any]]:
        """The namespace's objects whose index label has this value."""
        return list(self._by_label.get((namespace, value), {}).values())

    async def run(self) -> None:
        """List and watch for ever; breaks are retried with growing, jittered pauses."""
        pause = 0.2
        while True:
            try:
                version = await self._list()
                pause = 0.2
                await self._watch(version)
            except Gone:
                continue
            except KubeError as error:
                _log.warning("watching %s: %s; again in %.1f s", self._resource.plural, error, pause)
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, 15.0)

    async def _list(self) -> str:
        query = {"labelSelector": self._selector} if self._selector else {}
        answer = await self._kube.get(self._path, **query)
        found = {_key(item): item for item in answer.get("items") or []}
        gone = [body for key, body in self.objects.items() if key not in found]
        for body in gone:
            self._forget(body)
        for body in found.values():
            self._remember(body)
        self.synced.set()
        for body in (*gone, *found.values()):
            self._changed(body)
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        """Follow the collection; when the server ends a stream, take it up where it ended."""
        while True:
            async for event in self._kube.watch(self._path, version, self._selector):
                body = event["object"]
                version = body["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    self._forget(body)
                else:
                    self._remember(body)
                self._changed(body)

    def _remember(self, body: dict[str, Any]) -> None:
        body["metadata"].pop("managedFields", None)
        key = _key(body)
        before = self.objects.get(key)
        if before is not None:
            self._unindex(before)
        self.objects[key] = body
        value = (body["metadata"].get("labels") or {}).get(self._index)
        if value:
            self._by_label.setdefault((key[0], value), {})[key[1]] = body

    def _forget(self, body: dict[str, Any]) -> None:
        known = self.objects.pop(_key(body), None)
        if known is not None:
            self._unindex(known)

    def _unindex(self, body: dict[str, Any]) -> None:
        namespace, name = _key(body)
        value = (body["metadata"].get("labels") or {}).get(self._index)
        entry = self._by_label.get((namespace, value or ""))
        if entry is not None:
            entry.pop(name, None)
            if not entry:
                del self._by_label[(namespace, value or "")]
