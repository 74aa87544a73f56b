"""A small synchronous client of the API server, enough to set up a cluster.

The official client takes a second to import and validates answers against its models; setting up needs
four verbs on plain dicts.
"""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_TIMEOUT = 15.0


class ApiError(OSError):
    """The API server's "no": an HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiClient:
    """Requests with a bearer token to one API server."""

    def __init__(self, url: str, ca_file: Path, token: str) -> None:
        self._url = url
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(ca_file))

    def get(self, path: str) -> dict[str, Any]:
        """GET an object."""
        return _object(self._request("GET", path))

    def text(self, path: str) -> str:
        """GET something that is not JSON, such as /readyz."""
        return self._request("GET", path).decode()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        return _object(self._request("POST", path, json.dumps(body).encode(), "application/json"))

    def post_yaml(self, path: str, body: bytes) -> dict[str, Any]:
        """Create an object from YAML as it is; the server parses it far faster than Python would."""
        return _object(self._request("POST", path, body, "application/yaml"))

    def _request(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(f"{self._url}{path}", data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=self._tls) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, _message(error.read())) from error


def _object(body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(body)
    return value


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:300]
