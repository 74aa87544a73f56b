"""The node's own small asynchronous client of the API server, on raw JSON.

Typed models of the official client refuse answers that lack an expected field; a node must take what comes.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_HTTP_ERRORS = 400
_GONE = 410
_WATCH_SECONDS = 300


class ApiError(Exception):
    """The API server's "no"."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Client:
    """Requests to the API server named by a kubeconfig with a token."""

    def __init__(self, server: str, ca_data: str, server_name: str, token: str) -> None:
        self.server = server
        self.ca_data = ca_data
        self._server_name = server_name
        self._tls = ssl.create_default_context(cadata=ca_data)
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """One request; raises ApiError for a refusal and OSError or a timeout when there is no answer."""
        assert self._session is not None, "use the client in an async with block"
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type} if body is not None else {}
        async with self._session.request(
            method, self.server + path, data=data, headers=headers, server_hostname=self._server_name
        ) as answer:
            text = await answer.text()
            if answer.status >= _HTTP_ERRORS:
                raise ApiError(answer.status, _message(text))
            value: dict[str, Any] = json.loads(text)
            return value

    async def watch(self, path: str, query: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """All objects first (type LISTED, once, with the list), then every change; ends when the stream ends."""
        assert self._session is not None, "use the client in an async with block"
        listed = await self.request("GET", f"{path}?{query}")
        yield "LISTED", listed
        version = listed["metadata"]["resourceVersion"]
        url = f"{self.server}{path}?{query}&watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_SECONDS + 15)
        async with self._session.get(url, timeout=timeout, server_hostname=self._server_name) as stream:
            if stream.status >= _HTTP_ERRORS:
                raise ApiError(stream.status, _message(await stream.text()))
            async for event in _lines(stream.content):
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", _GONE), event["object"].get("message", ""))
                yield event["type"], event["object"]


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """JSON objects, one per line; a line may be longer than aiohttp's own line buffer allows."""
    buffer = bytearray()
    async for chunk in stream.iter_any():
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            yield json.loads(line)


def from_kubeconfig(path: Path) -> Client:
    """A client for the kubeconfig the cluster wrote."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    cluster = content["clusters"][0]["cluster"]
    ca_data = _decoded(cluster["certificate-authority-data"])
    return Client(cluster["server"], ca_data, cluster["tls-server-name"], content["users"][0]["user"]["token"])


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode("ascii")


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]


# What a request raises when the server cannot be reached right now.
TRANSIENT: Final = (aiohttp.ClientError, OSError, TimeoutError)
