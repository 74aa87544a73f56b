"""A small asynchronous client of the API server: the rig writes thousands of objects and watches them all."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import yaml

__all__ = ["PATHS", "Api", "send_all"]

Body = dict[str, Any]

PATHS: Final[Mapping[str, str]] = {
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "pods": "/api/v1",
    "services": "/api/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "modelrollouts": "/apis/modelrollout.io/v1alpha1",
    "rolloutincidents": "/apis/modelrollout.io/v1alpha1",
}
_SIDE_BY_SIDE: Final = 16
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_LINE_BYTES: Final = 8 << 20
"""Of one event of a watch."""


class Api:
    """Requests as administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        self._url = config["clusters"][0]["cluster"]["server"]
        self._token = config["users"][0]["user"]["token"]
        self._authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        tls = ssl.create_default_context(cadata=base64.b64decode(self._authority).decode())
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            connector=aiohttp.TCPConnector(ssl=tls, limit=0),
            timeout=aiohttp.ClientTimeout(total=60),
            read_bufsize=_LINE_BYTES,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, method: str, path: str, body: Body | None = None, kind: str = "application/json") -> Body:
        """One request.

        Raises
        ------
        OSError
            When the API server says no, or is not there.
        """
        assert self._session is not None
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, self._url + path, data=data, headers={"Content-Type": kind}) as answer:
            if answer.status >= 300:
                raise OSError(f"{method} {path}: {answer.status} {(await answer.text())[:500]}")
            found: Body = await answer.json(content_type=None)
            return found

    async def apply(self, plural: str, body: Body) -> None:
        """Server-side apply."""
        await self.send("PATCH", _path(plural, body) + "?fieldManager=bench&force=true", body, _APPLY)

    async def merge_status(self, plural: str, body: Body) -> None:
        """Merge into an object's status."""
        await self.send("PATCH", _path(plural, body) + "/status", {"status": body["status"]}, _MERGE)

    async def every(self, plural: str, selector: str = "") -> list[Body]:
        """All objects of a kind."""
        return list((await self.send("GET", f"{PATHS[plural]}/{plural}?labelSelector={selector}"))["items"])

    async def watch(self, plural: str, selector: str = "") -> AsyncIterator[tuple[str, Body]]:
        """All objects, then what happens to them, for ever. ``SYNC`` with every name stands after each list."""
        while True:
            try:
                async for event in self._watch_once(f"{PATHS[plural]}/{plural}?labelSelector={selector}"):
                    yield event
            except (OSError, aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.2)  # the API server is killed now and then: that is part of the game

    async def _watch_once(self, path: str) -> AsyncIterator[tuple[str, Body]]:
        assert self._session is not None
        found = await self.send("GET", path)
        for one in found["items"]:
            yield "ADDED", one
        yield "SYNC", found
        version = found["metadata"]["resourceVersion"]
        url = f"{self._url}{path}&watch=true&resourceVersion={version}"
        forever = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with self._session.get(url, timeout=forever) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event["type"], event["object"]


def _path(plural: str, body: Body) -> str:
    namespace = body["metadata"].get("namespace")
    return f"{PATHS[plural]}{f'/namespaces/{namespace}' if namespace else ''}/{plural}/{body['metadata']['name']}"


def send_all(kubeconfig: Path, plural: str, bodies: Iterable[Body]) -> list[float]:
    """Apply many objects side by side; when each was there, by the clock."""
    return asyncio.run(_send_all(kubeconfig, plural, list(bodies)))


async def _send_all(kubeconfig: Path, plural: str, bodies: list[Body]) -> list[float]:
    room = asyncio.Semaphore(_SIDE_BY_SIDE)
    async with Api(kubeconfig) as api:

        async def one(body: Body) -> float:
            async with room:
                await api.apply(plural, body)
                return time.time()

        return await asyncio.gather(*(one(body) for body in bodies))
