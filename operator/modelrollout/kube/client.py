"""The only caller of the Kubernetes API besides kopf's watches: every request of the operator goes through here.

Built on ``kubernetes.aio`` with plain dicts: the generated models of that package validate *responses* and refuse
bodies that a newer or older server legitimately sends. Errors are mapped once, to a small family that says what a
caller can do about it. Each request goes in a lane (``limits.py``); what lowers a weight never waits for the others.

Of ``kubernetes.aio`` this takes the configuration: kubeconfig, ServiceAccount and its token that changes, TLS. The
requests themselves go straight over aiohttp, because its generated ``call_api`` costs more than the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from modelrollout.api.meta import FIELD_MANAGER, GROUP, VERSION
from modelrollout.kube.limits import BURST, QPS, Lane, Turnstile
from modelrollout.telemetry import meters
from modelrollout.transport import words

__all__ = [
    "ACCESS_REVIEWS",
    "ADMISSION_BINDINGS",
    "ADMISSION_POLICIES",
    "AUTOSCALERS",
    "CONFIG_MAPS",
    "CORE_EVENTS",
    "DECISIONS",
    "DEPLOYMENTS",
    "ENDPOINT_SLICES",
    "FREEZES",
    "HTTP_ROUTES",
    "INCIDENTS",
    "LEASES",
    "NAMESPACES",
    "PODS",
    "REPLICA_SETS",
    "ROLLOUTS",
    "SECRETS",
    "SERVICES",
    "TOKEN_REVIEWS",
    "ConflictError",
    "Fence",
    "FencedError",
    "Gone",
    "Invalid",
    "Kube",
    "KubeError",
    "NotFound",
    "Resource",
]

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
"""Names of every kind that is asked for here (RFC 1123 subdomains), so never ``..``, a slash or a question mark."""
_TIMEOUT_SECONDS: Final = 15.0
_LOWERING_TIMEOUT_SECONDS: Final = 5.0
"""So that a connection which died silently costs a rollback no more than this."""
_ATTEMPTS: Final = 3
_AWAY: Final = (0, 502, 503, 504)
"""No answer, or one of whoever stands before the API server."""
_PASSING: Final = (500, 502, 503, 504)
_OUTAGE_SECONDS: Final = 2.0
_JITTER_SECONDS: Final = 0.05
_KEPT_ALIVE_SECONDS: Final = 60.0
"""Longer than aiohttp's own 15, so that a rollback in a quiet cluster finds an open connection."""
_WATCH_SECONDS: Final = 300
_APPLY: Final = "application/apply-patch+yaml"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_VERBS: Final = {
    "GET": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "WATCH": "watch",
}


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


class FencedError(KubeError):
    """Not sent: this process does not decide any more."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)


class Gone(KubeError):  # noqa: N818 - named after the HTTP status
    """410: the watch is too old; list again."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, for building paths."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Path of the collection, an object or a subresource.

        Raises
        ------
        Invalid
            If a name is none. Some come from manifests, and one like ``../../other/deployments/x`` would lead out of
            the namespace: dots are resolved before a request is sent.
        """
        for part in (namespace, name):
            if part is not None and not _NAME.fullmatch(part):
                raise Invalid(422, f'"{part[:100]}" is not the name of an object: write small letters, digits, - and .')
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if namespace else ""
        return root + inside + "".join(f"/{part}" for part in (self.plural, name, sub) if part)


ROLLOUTS: Final = Resource(GROUP, VERSION, "modelrollouts")
DECISIONS: Final = Resource(GROUP, VERSION, "rolloutdecisions")
INCIDENTS: Final = Resource(GROUP, VERSION, "rolloutincidents")
FREEZES: Final = Resource(GROUP, VERSION, "rolloutfreezes")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments")
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets")
AUTOSCALERS: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers")
SERVICES: Final = Resource("", "v1", "services")
PODS: Final = Resource("", "v1", "pods")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
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


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    path: str
    query: Mapping[str, str]
    data: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    rest_seconds: float
    """For how long the API server asked to stay away."""
    raw: bytes


class Fence(Protocol):
    """The right to write, which ends with the time for which this process decides."""

    careful: float
    """Timeout of a careful write, in seconds."""

    async def hold(self, seconds: float) -> None:
        """Return as soon as that right is sure to last for so many seconds more.

        Raises
        ------
        FencedError
            If it has ended.
        """
        ...


class Kube:
    """Requests with dict bodies; see the module."""

    def __init__(self, configuration: Configuration, *, qps: float = QPS, burst: int = BURST) -> None:
        self._configuration = configuration
        self._host = str(configuration.host).rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=RESTClientObject(configuration).ssl_context,
                limit=0,  # the lanes limit; a lowering must not wait for a connection that others hold
                keepalive_timeout=_KEPT_ALIVE_SECONDS,
            ),
            headers={"Accept": "application/json", "User-Agent": "modelrollout"},
            read_bufsize=2**21,
        )
        self._proxy = _proxy(configuration)
        self._turnstile = Turnstile(qps, burst)
        self._fence: Fence | None = None
        self._failing = False
        self._answered_at = 0.0
        self.returned: Callable[[], None] = lambda: None
        """Called when the API server answers again after it did not."""

    @classmethod
    async def connect(cls, kubeconfig: Path | None, *, qps: float = QPS, burst: int = BURST) -> Kube:
        """With the given kubeconfig, or with the ServiceAccount of the pod that this runs in."""
        configuration = Configuration()
        if kubeconfig is not None:
            await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        return cls(configuration, qps=qps, burst=burst)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def fenced(self, fence: Fence) -> Kube:
        """The same connections, but nothing is written after the right to it has ended; *careful* writes, which a
        process that was replaced must not send late, go out only if that right outlives the request."""
        fenced = copy.copy(self)
        fenced._fence = fence
        return fenced

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Read an object or a list."""
        return await self._json("GET", path, query=query)

    async def get_within(self, seconds: float, path: str) -> dict[str, Any]:
        """Read an object of which an answer that comes later is no use."""
        return await self._json("GET", path, seconds=seconds)

    async def create(
        self,
        path: str,
        body: dict[str, Any],
        *,
        dry_run: bool = False,
        lane: Lane = Lane.WORK,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Create an object."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        return await self._json("POST", path, body=body, query=query, lane=lane, seconds=seconds)

    async def replace(self, path: str, body: dict[str, Any], *, seconds: float | None = None) -> dict[str, Any]:
        """Write a whole object over the one of the body's resourceVersion."""
        return await self._json("PUT", path, body=body, query={"fieldManager": FIELD_MANAGER}, seconds=seconds)

    async def delete(self, path: str, *, propagation: str = "Background", version: str = "") -> None:
        """Delete an object, which is a careful write; one that is gone already is no error. ``version``: only while it
        has this resourceVersion."""
        body = {"preconditions": {"resourceVersion": version}} if version else None
        with contextlib.suppress(NotFound):
            await self._json("DELETE", path, body=body, query={"propagationPolicy": propagation}, careful=True)

    async def apply(
        self, path: str, body: dict[str, Any], *, lane: Lane = Lane.WORK, careful: bool = False
    ) -> dict[str, Any]:
        """Server-side apply under the operator's field manager, taking over fields that others changed.

        Source: KEP-555, Server-Side Apply.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._json("PATCH", path, body=body, query=query, content_type=_APPLY, lane=lane, careful=careful)

    async def json_patch(
        self, path: str, ops: list[dict[str, Any]], *, lane: Lane = Lane.WORK, careful: bool = False
    ) -> dict[str, Any]:
        """RFC 6902 patch; a failed ``test`` raises :class:`ConflictError`."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json(
            "PATCH", path, body=ops, query=query, content_type=_JSON_PATCH, lane=lane, careful=careful
        )

    async def merge_patch(
        self, path: str, body: dict[str, Any], *, lane: Lane = Lane.WORK, careful: bool = False
    ) -> dict[str, Any]:
        """RFC 7386 patch."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._json(
            "PATCH", path, body=body, query=query, content_type=_MERGE_PATCH, lane=lane, careful=careful
        )

    async def _json(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        lane: Lane = Lane.WORK,
        careful: bool = False,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        asked = _Asked(method, path, query or {}, data, content_type)
        if seconds is not None:  # about the Lease: waits for nobody, and whoever asked repeats it
            answer = await self._exchange(asked, seconds)
        else:
            answer = await self._in_turn(asked, lane, careful=careful)
        _raise_for(answer.status, answer.raw)
        found = json.loads(answer.raw)
        assert isinstance(found, dict)
        return found

    async def _in_turn(self, asked: _Asked, lane: Lane, *, careful: bool) -> _Answer:
        """Send a request when its lane has room, and again when it fails quickly: in a look of several requests one
        that fails would cost the whole look. What is created is not repeated, and what hung only if it lowers."""
        for attempt in range(1, _ATTEMPTS + 1):
            last = attempt == _ATTEMPTS
            try:
                async with self._turnstile.turn(lane, _namespace(asked.path)):
                    answer = await self._permitted(asked, lane, careful=careful)
            except FencedError:
                raise
            except KubeError as error:
                hung = isinstance(error.__cause__, TimeoutError)
                if last or asked.method == "POST" or (hung and lane is not Lane.LOWERING):
                    raise
            else:
                again = answer.status == 429 or (answer.status in _PASSING and asked.method != "POST")
                if last or not again:
                    break
                if answer.status == 429:
                    self._turnstile.refused(lane, answer.rest_seconds)
            await asyncio.sleep(_JITTER_SECONDS * attempt * (0.5 + random.random()))
        return answer

    async def _permitted(self, asked: _Asked, lane: Lane, *, careful: bool) -> _Answer:
        """Send it if this process may still write; the API server gives up on a careful one when we do."""
        seconds = _LOWERING_TIMEOUT_SECONDS if lane is Lane.LOWERING else _TIMEOUT_SECONDS
        if self._fence is not None and asked.method != "GET":
            seconds = min(seconds, self._fence.careful) if careful else seconds
            await self._fence.hold(seconds if careful else 0.0)
            if careful:
                asked = replace(asked, query={**asked.query, "timeout": f"{1000 * seconds:.0f}ms"})
        return await self._exchange(asked, seconds)

    async def _exchange(self, asked: _Asked, seconds: float) -> _Answer:
        """One request and its whole answer."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        with _counted(asked.method, asked.path) as counted:
            response = await self._send(asked, timeout)
            try:
                async with response:
                    answer = _Answer(response.status, _rest_seconds(response.headers), await response.read())
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                self._note(0)
                raise KubeError(0, f"the API server did not answer: {words(error)}") from error
            counted.code = str(answer.status)
        return answer

    async def _send(self, asked: _Asked, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        token = (await self._configuration.auth_settings()).get("BearerToken", {}).get("value")
        headers = {"Authorization": token} if token else {}
        if asked.data is not None:
            headers["Content-Type"] = asked.content_type
        try:
            response = await self._session.request(
                asked.method,
                f"{self._host}{asked.path}{'?' if asked.query else ''}{urlencode(asked.query)}",
                data=asked.data,
                headers=headers,
                timeout=timeout,
                proxy=self._proxy,
                server_hostname=self._configuration.tls_server_name,
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._note(0)
            raise KubeError(0, f"the API server cannot be reached: {words(error)}") from error
        self._note(response.status)
        return response

    def _note(self, status: int) -> None:
        """Notice when the API server is back after an outage, so that nobody waits out a long pause. Errors of single
        requests among answers to others are none."""
        now = asyncio.get_running_loop().time()
        if status in _AWAY:
            self._failing = True
            return
        if self._failing and now - self._answered_at >= _OUTAGE_SECONDS:
            self.returned()
        self._failing, self._answered_at = False, now

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
            response = await self._send(_Asked("GET", path, query), timeout)
            answer.code = str(response.status)
        try:
            if response.status != 200:
                _raise_for(response.status, await response.read())
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    _raise_for(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                yield event
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise KubeError(0, f"the watch broke off: {words(error)}") from error
        finally:
            response.close()


def _proxy(configuration: Configuration) -> str | None:
    """The configuration's, or else the environment's: looked up once, because aiohttp asks for every request anew, in a
    thread."""
    address = urlsplit(str(configuration.host))
    if configuration.proxy or proxy_bypass(address.hostname or ""):
        return str(configuration.proxy) if configuration.proxy else None
    return getproxies().get(address.scheme)


def _namespace(path: str) -> str:
    """The namespace of a path; empty for what has none."""
    _, _, inside = path.partition("/namespaces/")
    return inside.partition("/")[0]


def _rest_seconds(headers: Mapping[str, str]) -> float:
    """Retry-After, which the API server gives in seconds; one second where it says nothing."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 1.0


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
