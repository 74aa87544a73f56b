"""The only caller of the Kubernetes API besides kopf's watches: every request of the operator goes through here.

Built on ``kubernetes.aio`` with plain dicts: the generated models of that package validate *responses* and refuse
bodies that a newer or older server legitimately sends. Errors are mapped once, to a small family that says what a
caller can do about it. Ordinary requests share a few slots; urgent ones (weights going down) never wait for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from modelrollout.api.meta import FIELD_MANAGER, GROUP, VERSION
from modelrollout.telemetry import meters
from modelrollout.transport import words

__all__ = [
    "ACCESS_REVIEWS",
    "ADMISSION_BINDINGS",
    "ADMISSION_POLICIES",
    "CONFIG_MAPS",
    "CORE_EVENTS",
    "DECISIONS",
    "DEPLOYMENTS",
    "ENDPOINT_SLICES",
    "FREEZES",
    "HTTP_ROUTES",
    "INCIDENTS",
    "NAMESPACES",
    "PODS",
    "REPLICA_SETS",
    "ROLLOUTS",
    "SECRETS",
    "SERVICES",
    "TOKEN_REVIEWS",
    "ConflictError",
    "Gone",
    "Invalid",
    "Kube",
    "KubeError",
    "NotFound",
    "Resource",
]

_SLOTS: Final = 10
_TIMEOUT_SECONDS: Final = 15.0
_WATCH_SECONDS: Final = 300
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_VERBS: Final = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete", "WATCH": "watch"}


class KubeError(Exception):
    """A request that did not succeed; the text is fit for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFound(KubeError):  # noqa: N818 - named after the HTTP status
    """404."""


class ConflictError(KubeError):
    """409, or a JSON-patch whose test failed: somebody else was faster. Look again and decide anew."""


class Invalid(KubeError):  # noqa: N818 - named after the API's reason
    """422 or 400: the object is refused as it is; trying again will not help."""


class Gone(KubeError):  # noqa: N818 - named after the HTTP status
    """410: the watch is too old; list again."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, for building paths."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Path of the collection, an object or a subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return root + inside + "".join(f"/{part}" for part in (self.plural, name, sub) if part)


ROLLOUTS: Final = Resource(GROUP, VERSION, "modelrollouts")
DECISIONS: Final = Resource(GROUP, VERSION, "rolloutdecisions")
INCIDENTS: Final = Resource(GROUP, VERSION, "rolloutincidents")
FREEZES: Final = Resource(GROUP, VERSION, "rolloutfreezes")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments")
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets")
SERVICES: Final = Resource("", "v1", "services")
PODS: Final = Resource("", "v1", "pods")
NAMESPACES: Final = Resource("", "v1", "namespaces")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes")
SECRETS: Final = Resource("", "v1", "secrets")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps")
ADMISSION_POLICIES: Final = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
ADMISSION_BINDINGS: Final = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings")
CORE_EVENTS: Final = Resource("", "v1", "events")
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews")
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")


class Kube:
    """Requests with dict bodies; see the module."""

    def __init__(self, configuration: Configuration) -> None:
        self._api = ApiClient(configuration)
        self._slots = asyncio.Semaphore(_SLOTS)
        self.requests = 0
        """How many requests were sent, watches included; benchmarks read it."""

    @classmethod
    async def connect(cls, kubeconfig: Path | None) -> Kube:
        """With the given kubeconfig, or with the ServiceAccount of the pod that this runs in."""
        configuration = Configuration()
        if kubeconfig is not None:
            await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        return cls(configuration)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list."""
        return await self._json("GET", path, query=query)

    async def create(self, path: str, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return await self._json("POST", path, body=body, query=query)

    async def delete(self, path: str, *, propagation: str = "Background") -> None:
        """Delete an object; one that is gone already is no error."""
        with contextlib.suppress(NotFound):
            await self._json("DELETE", path, query={"propagationPolicy": propagation})

    async def apply(self, path: str, body: dict[str, Any], *, urgent: bool = False) -> dict[str, Any]:
        """Server-side apply under the operator's field manager, taking over fields that others changed.

        Source: KEP-555, Server-Side Apply.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._json("PATCH", path, body=body, query=query, content_type=_APPLY, urgent=urgent)

    async def json_patch(self, path: str, ops: list[dict[str, Any]], *, urgent: bool = False) -> dict[str, Any]:
        """RFC 6902 patch; a failed ``test`` raises :class:`ConflictError`."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json("PATCH", path, body=ops, query=query, content_type=_JSON_PATCH, urgent=urgent)

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """RFC 7386 patch."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json("PATCH", path, body=body, query=query, content_type=_MERGE_PATCH)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        urgent: bool = False,
    ) -> dict[str, Any]:
        async with contextlib.nullcontext() if urgent else self._slots:
            with _counted(method, path) as answer:
                response = await self._send(method, path, body, query or {}, content_type, _TIMEOUT_SECONDS)
                try:
                    raw = await response.read()
                except (TimeoutError, aiohttp.ClientError, OSError) as error:
                    raise KubeError(0, f"the API server did not answer: {words(error)}") from error
                answer.code = str(response.status)
        _raise_for(response.status, raw)
        found = json.loads(raw)
        assert isinstance(found, dict)
        return found

    async def _send(
        self, method: str, path: str, body: Any, query: dict[str, str], content_type: str, timeout: Any
    ) -> Any:
        self.requests += 1
        try:
            request = await self._api.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(query.items()),
                header_params={"Content-Type": content_type, "Accept": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            return await self._api.call_api(*request, _request_timeout=timeout)
        except ApiException as error:
            raise KubeError(error.status or 0, str(error.reason)) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KubeError(0, f"the API server cannot be reached: {words(error)}") from error

    async def watch(self, path: str, resource_version: str, selector: str) -> AsyncIterator[dict[str, Any]]:
        """Watch events (``{"type", "object"}``) from a resource version on, until the server ends the stream.

        Raises
        ------
        Gone
            If the resource version is too old.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        } | ({"labelSelector": selector} if selector else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT_SECONDS, sock_read=90.0)
        with _counted("WATCH", path) as answer:
            response = await self._send("GET", path, None, query, "application/json", timeout)
            answer.code = str(response.status)
        try:
            if response.status != 200:
                _raise_for(response.status, await response.read())
            async for line in _lines(response.response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    _raise_for(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                yield event
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KubeError(0, f"the watch broke off: {words(error)}") from error
        finally:
            response.response.close()


@dataclass(slots=True)
class _Counted:
    """What became of a request."""

    code: str = ""
    """HTTP status; "none" without an answer; empty while nobody knows."""


@contextlib.contextmanager
def _counted(method: str, path: str) -> Iterator[_Counted]:
    """Count a request and the time it takes; of a watch only that it was asked for."""
    verb, resource = _of(method, path)
    answer, begun = _Counted(), time.perf_counter()
    try:
        yield answer
    except KubeError as error:
        answer.code = str(error.status or "none")
        raise
    finally:
        if answer.code:
            meters.API_REQUESTS.labels(verb, resource, answer.code).inc()
            if verb != "watch":
                meters.API_SECONDS.labels(verb).observe(time.perf_counter() - begun)


def _of(method: str, path: str) -> tuple[str, str]:
    """Verb and resource (with its subresource), as in a rule of RBAC; no name of an object."""
    parts = path.strip("/").split("/")
    parts = parts[2 if parts[0] == "api" else 3 :]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    verb = "list" if method == "GET" and len(parts) == 1 else _VERBS[method]
    return verb, "/".join(parts[::2])


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines, however long: aiohttp's own iteration gives up at 128 KiB, and anybody may write such an object.

    What a broken connection leaves of a last line is dropped; the next list brings it whole.
    """
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for other in others:
            yield b"".join(rest)
            rest = [other]


def _raise_for(status: int, raw: bytes) -> None:
    if status < 400:
        return
    try:
        message = str(json.loads(raw).get("message", "")) or raw.decode(errors="replace")
    except ValueError:
        message = raw.decode(errors="replace")
    message = message[:900] or f"HTTP {status}"
    if status == 404:
        raise NotFound(status, message)
    ending = status == 403 and "because it is being terminated" in message  # the namespace, and soon all in it
    if status == 409 or ending or (status == 422 and "the server rejected our request" in message):
        raise ConflictError(status, message)
    if status == 410:
        raise Gone(status, message)
    if status in (400, 422):
        raise ConflictError(status, message) if "testing path" in message.lower() else Invalid(status, message)
    raise KubeError(status, message)
