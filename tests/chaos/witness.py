"""Writes down every state of every object of a namespace, in the order in which the API server committed them.

resourceVersions of one etcd are one sequence over all kinds, so what two watches bring can be put in order exactly: an
invariant about a route and a Deployment is judged on what was true at the same moment, not on what was polled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.chaos.proxy import Background

__all__ = ["KINDS", "Seen", "Witness"]

Body = dict[str, Any]

KINDS: Final = {
    "modelrollouts": "/apis/modelrollout.io/v1alpha1",
    "rolloutincidents": "/apis/modelrollout.io/v1alpha1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "deployments": "/apis/apps/v1",
    "services": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
}
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Seen:
    """One state of one object; no body: it is gone from this version on."""

    version: int
    at: float
    """When it was heard of (epoch)."""
    kind: str
    name: str
    body: Body | None


class Witness:
    """See the module. It has the administrator's rights and a connection of its own."""

    def __init__(self, background: Background, kubeconfig: Path, ca_file: Path, namespace: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        self._server = config["clusters"][0]["cluster"]["server"]
        self._headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._background = background
        self._namespace = namespace
        self._session: aiohttp.ClientSession | None = None
        self._known: dict[tuple[str, str], int] = {}
        self._seen: list[Seen] = []

    def start(self) -> None:
        """Begin; returns at once, what is there already is written down first."""
        self._background.run(self._start())

    def stop(self) -> None:
        """Close the connections; the watches end with them."""
        if self._session is not None:
            self._background.run(self._session.close())

    def seen(self, since: int = 0) -> list[Seen]:
        """Everything committed after a version, in order."""
        return sorted((one for one in list(self._seen) if one.version > since), key=lambda one: one.version)

    @property
    def latest(self) -> int:
        """The newest version that was heard of."""
        return max((one.version for one in list(self._seen)), default=0)

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120),
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            headers=self._headers,
        )
        for kind in KINDS:
            asyncio.get_running_loop().create_task(self._follow(kind))

    async def _follow(self, kind: str) -> None:
        assert self._session is not None
        path = f"{self._server}{KINDS[kind]}/namespaces/{self._namespace}/{kind}"
        while not self._session.closed:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
                await self._watch(kind, path, await self._list(kind, path))
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _list(self, kind: str, path: str) -> str:
        assert self._session is not None
        async with self._session.get(path) as response:
            answer = await response.json()
        version = answer["metadata"]["resourceVersion"]
        names = set()
        for body in answer["items"]:
            names.add(body["metadata"]["name"])
            self._note(kind, body, gone=False)
        for known, name in [one for one in self._known if one[0] == kind and one[1] not in names]:
            self._seen.append(Seen(int(version), time.time(), known, name, None))
            del self._known[(known, name)]
        return str(version)

    async def _watch(self, kind: str, path: str, version: str) -> None:
        """Follow until the watch is too old; streams that end are taken up where they ended, so nothing is missed."""
        assert self._session is not None
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "600"}
        while True:
            async with self._session.get(path, params=query | {"resourceVersion": version}) as response:
                response.raise_for_status()
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            self._note(kind, event["object"], gone=event["type"] == "DELETED")

    def _note(self, kind: str, body: Body, *, gone: bool) -> None:
        metadata = body["metadata"]
        version, name = int(metadata["resourceVersion"]), metadata["name"]
        if self._known.get((kind, name)) == version:
            return
        self._known[(kind, name)] = version
        if gone:
            del self._known[(kind, name)]
        self._seen.append(Seen(version, time.time(), kind, name, None if gone else body))
