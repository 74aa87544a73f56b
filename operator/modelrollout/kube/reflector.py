"""A local copy of a collection of objects: list, then watch, and list again when the watch is too old.

kopf watches the operator's own resources. For what they own (Deployments, Services, pods, endpoints, routes) a copy is
needed rather than a stream of events: after a break, objects that vanished meanwhile must vanish from the copy too,
which a stream that is simply taken up again does not tell.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from modelrollout.kube.client import Gone, Kube, KubeError, Resource
from modelrollout.telemetry import meters

__all__ = ["Reflector", "pages"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 15.0
_LONGEST_AFTER_A_LIST: Final = 2.0
"""A server that answers and then cuts the watch is there: copies should not be stale for long."""
_SELDOM: Final = 60.0
_HEALTHY_SECONDS: Final = 5.0
_PAGE: Final = "500"


async def pages(kube: Kube, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
    """A list in pieces, so that thousands of objects are never one answer; all pieces are of one resourceVersion.

    Raises
    ------
    Gone
        If the API server forgot that version meanwhile: list again.
    """
    following: dict[str, str] = {}
    while True:
        page = await kube.get(path, limit=_PAGE, **query, **following)
        yield page
        token = page["metadata"].get("continue")
        if not token:
            return
        following = {"continue": token}


def _as_it_is(body: dict[str, Any]) -> dict[str, Any]:
    body["metadata"].pop("managedFields", None)
    return body


def _content(body: dict[str, Any]) -> dict[str, Any]:
    """An object without what every write of it changes."""
    metadata = body["metadata"]
    return body | {"metadata": {name: metadata[name] for name in metadata if name != "resourceVersion"}}


def _key(body: dict[str, Any]) -> Key:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _version(body: dict[str, Any]) -> int:
    """A resourceVersion as a number; those of one resource are comparable integers (KEP-5504)."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdigit() else 0


class Reflector:
    """Keeps ``objects`` like the cluster's, and calls ``changed`` with an object that came, changed or went.

    What is as it was, the echo of our own writes above all, is no change.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        changed: Callable[[dict[str, Any]], None],
        *,
        selector: str = "",
        namespace: str | None = None,
        index: str = "",
        slim: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is,
        optional: bool = False,
    ) -> None:
        """``slim`` keeps of each object what anybody reads."""
        self._kube = kube
        self._resource = resource
        self._changed = changed
        self._selector = selector
        self._path = resource.path(namespace)
        self._index = index
        self._slim = slim
        self._by_label: dict[Key, dict[str, dict[str, Any]]] = {}
        self._listed: dict[Key, tuple[dict[str, Any], ...]] = {}
        """The same as it was asked for, until it changes."""
        self.objects: dict[Key, dict[str, Any]] = {}
        self.optional = optional
        """Whoever gave the rights may have left this one out, so it is tried seldom and nothing waits for it."""
        self.synced = asyncio.Event()
        self.tried = asyncio.Event()
        """It was listed once, with success or not."""
        self.error: KubeError | None = None
        """Why the last attempt failed; None while all is well."""
        self.alive_at = 0.0
        """When it last heard something or tried again, by the loop's clock; the liveness probe reads it."""

    @property
    def plural(self) -> str:
        """What it copies."""
        return self._resource.plural

    def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """One object."""
        return self.objects.get((namespace, name))

    def labelled(self, namespace: str, value: str) -> tuple[dict[str, Any], ...]:
        """The namespace's objects whose index label has this value; the very same tuple until one of them changes."""
        known, found = self._listed.get((namespace, value)), self._by_label.get((namespace, value))
        if known is None and found:
            known = self._listed[(namespace, value)] = tuple(found.values())
        return known or ()

    def learn(self, body: dict[str, Any]) -> None:
        """Take in what the API server answered to a write of ours, which the watch will bring later.

        Without this the next look could decide from a state before the write.
        """
        if self._remember(self._slim(body)):
            self._changed(body)

    async def refresh(self) -> None:
        """List anew, beside the watch, which may lag behind.

        Raises
        ------
        KubeError
            If that did not succeed.
        """
        await self._list()

    async def run(self) -> None:
        """List and watch for ever; breaks are retried with growing, jittered pauses."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            begun = self.alive_at = loop.time()
            longest = _SELDOM if self.optional else _LONGEST_PAUSE
            try:
                version = await self._list()
                longest = _LONGEST_AFTER_A_LIST
                await self._watch(version)
            except KubeError as error:
                self.error = error
                self.tried.set()
                pause = _FIRST_PAUSE if loop.time() - begun > _HEALTHY_SECONDS else min(pause, longest)
                if not isinstance(error, Gone):
                    meters.REFLECTOR_FAILURES.labels(self._resource.plural).inc()
                    _log.warning("watching %s: %s; again in %.1f s", self._resource.plural, error, pause)
                await asyncio.sleep(pause * (0.5 + random.random()))
                pause = min(pause * 2, longest)

    async def _list(self) -> str:
        query = {"labelSelector": self._selector} if self._selector else {}
        found: dict[Key, dict[str, Any]] = {}
        async for page in pages(self._kube, self._path, **query):
            self.alive_at = asyncio.get_running_loop().time()
            found |= {_key(item): self._slim(item) for item in page.get("items") or []}
            version, listed = str(page["metadata"]["resourceVersion"]), _version(page)
        gone = [body for key, body in self.objects.items() if key not in found and _version(body) <= listed]
        for body in gone:
            self._forget(body)
        news = [body for body in found.values() if self._remember(body)]
        self.error = None
        self.synced.set()
        self.tried.set()
        for body in (*gone, *news):
            self._changed(body)
        return version

    async def _watch(self, version: str) -> None:
        """Follow the collection; when the server ends a stream, take it up where it ended."""
        loop = asyncio.get_running_loop()
        while True:
            begun = self.alive_at = loop.time()
            async for event in self._kube.watch(self._path, version, self._selector):
                self.alive_at = loop.time()
                body = event["object"]
                version = body["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    self._forget(body)
                elif not self._remember(self._slim(body)):
                    continue
                self._changed(body)
            if loop.time() - begun < 1.0:
                await asyncio.sleep(_FIRST_PAUSE)

    def _remember(self, body: dict[str, Any]) -> bool:
        """Take an object in, unless it is older than what is known; whether anything of it is new."""
        key = _key(body)
        before = self.objects.get(key)
        if before is not None:
            if _version(body) < _version(before):
                return False
            self._unindex(before)
        self.objects[key] = body
        value = (body["metadata"].get("labels") or {}).get(self._index)
        if value:
            self._by_label.setdefault((key[0], value), {})[key[1]] = body
            self._listed.pop((key[0], value), None)
        return before is None or _content(before) != _content(body)

    def _forget(self, body: dict[str, Any]) -> None:
        """Drop an object, unless a newer one has its name."""
        known = self.objects.get(_key(body))
        if known is not None and _version(known) <= _version(body):
            del self.objects[_key(body)]
            self._unindex(known)

    def _unindex(self, body: dict[str, Any]) -> None:
        namespace, name = _key(body)
        value = (body["metadata"].get("labels") or {}).get(self._index)
        entry = self._by_label.get((namespace, value or ""))
        if entry is not None:
            entry.pop(name, None)
            self._listed.pop((namespace, value or ""), None)
            if not entry:
                del self._by_label[(namespace, value or "")]
