"""The read-only web page: static files, and JSON of what the operator knows anyway.

It answers GET and nothing else, sets no cookie, and knows nobody by itself: every request for data carries a token, and
the cluster says whom it stands for and what they may see. What users wrote is JSON here and text in the page, never
HTML; the policy in the headers makes the browser refuse anything else (no foreign source, no inline script, no
``innerHTML``).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final, Protocol

from aiohttp import web

from modelrollout.api.status import ModelRolloutStatus
from modelrollout.kube.client import DEPLOYMENTS, ROLLOUTS
from modelrollout.screen.snapshot import Snapshot, read
from modelrollout.web.access import Access, Memory, Person, RefusedError
from modelrollout.web.document import listed, shown
from modelrollout.web.readings import Readings
from modelrollout.web.settings import WebSettings

__all__ = ["HEADERS", "Known", "WebPage"]

_log = logging.getLogger(__name__)

Body = dict[str, Any]
Key = tuple[str, str]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "modelrollout",
}
_STATIC: Final = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/app.js": ("app.js", "text/javascript"),
    "/draw.js": ("draw.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_FRESH_SECONDS: Final = 1.0
_KEPT_ANSWERS: Final = 64
_AGAIN_SECONDS: Final = 30.0
_RENEW_SECONDS: Final = 60.0
"""Certificates are read anew this often, for those that renew themselves."""
_KEEP_ALIVE_SECONDS: Final = 15.0
_LONGEST_HEADER: Final = 32_768


class Known(Protocol):
    """What the operator has in memory."""

    def every(self) -> list[Key]:
        """Namespace and name of every ModelRollout."""

    def rollout(self, key: Key) -> Body | None:
        """One ModelRollout as the API server has it."""

    def live(self, key: Key, uid: str) -> ModelRolloutStatus | None:
        """Its status with the numbers of the last look."""

    def deployments(self, key: Key) -> list[Body]:
        """The Deployments of its revisions."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A document as it is sent, and the tag by which a reader knows it again (RFC 9110, section 8.8.3)."""

    content: bytes
    tag: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> _Answer:
        content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(content, f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"')


class WebPage:
    """The page's server; it lives in the operator's event loop and outlasts its own troubles."""

    def __init__(
        self,
        settings: WebSettings,
        known: Known,
        readings: Readings,
        access: Access,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._known = known
        self._readings = readings
        self._access = access
        self._answers = Memory[_Answer](clock, most=_KEPT_ANSWERS)

    async def run(self) -> None:
        """Serve until cancelled. A port or a certificate that cannot be used stops no release: it is said and tried
        again."""
        while True:
            runner = web.AppRunner(
                self.application(),
                access_log=None,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                max_field_size=_LONGEST_HEADER,
                shutdown_timeout=1.0,
            )
            try:
                await self._serve(runner)
            except Exception as error:
                unknown = not isinstance(error, OSError)
                _log.error("the web page is off, trying again in %.0f s: %s", _AGAIN_SECONDS, error, exc_info=unknown)
            finally:
                await runner.cleanup()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _serve(self, runner: web.AppRunner) -> None:
        context = self._tls()
        await runner.setup()
        await web.TCPSite(runner, self._settings.host, self._settings.port, ssl_context=context).start()
        scheme = "https" if context else "http"
        _log.info("the web page is at %s://%s:%d", scheme, self._settings.host, self._settings.port)
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            if context is not None:
                self._load(context)

    def _tls(self) -> ssl.SSLContext | None:
        if self._settings.cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        assert self._settings.cert is not None
        context.load_cert_chain(self._settings.cert, self._settings.key)

    def application(self) -> web.Application:
        """The routes, behind one door."""
        app = web.Application(middlewares=[_door])
        for path in _STATIC:
            app.router.add_get(path, _static(path), allow_head=False)
        app.router.add_get("/api/v1/me", self._me, allow_head=False)
        app.router.add_get("/api/v1/rollouts", self._list, allow_head=False)
        app.router.add_get("/api/v1/rollouts/{namespace}/{name}", self._one, allow_head=False)
        return app

    async def _list(self, request: web.Request) -> web.Response:
        person = await self._who(request)
        wanted = _name(request.query.get("namespace", ""), "namespace") if "namespace" in request.query else ""
        keys = [key for key in self._known.every() if not wanted or key[0] == wanted]
        namespaces = await self._visible(person, {wanted} if wanted else {key[0] for key in keys})
        bodies = [self._known.rollout(key) for key in keys if key[0] in namespaces]
        return self._answer(request, frozenset(namespaces), lambda: {"items": listed([one for one in bodies if one])})

    async def _visible(self, person: Person, namespaces: set[str]) -> set[str]:
        """Of these namespaces those whose rollouts this person may list; 403 when there is none."""
        if await self._access.may(person, "list", ROLLOUTS):
            return namespaces
        if len(namespaces) == 1:
            await self._access.must(person, "list", ROLLOUTS, *namespaces)
            return namespaces
        asked = sorted(namespaces)
        answers = await asyncio.gather(*(self._access.may(person, "list", ROLLOUTS, one) for one in asked))
        allowed = {namespace for namespace, yes in zip(asked, answers, strict=True) if yes}
        if not allowed:
            raise RefusedError(
                403,
                f"{person.name} may list modelrollouts in no namespace that has one",
                "ask an administrator to bind the ClusterRole modelrollout-viewer to you",
            )
        return allowed

    async def _one(self, request: web.Request) -> web.Response:
        person = await self._who(request)
        namespace = _name(request.match_info["namespace"], "namespace")
        name = _name(request.match_info["name"], "ModelRollout")
        key = (namespace, name)
        await self._access.must(person, "get", ROLLOUTS, namespace, name)
        body = self._known.rollout(key)
        if body is None:
            raise RefusedError(404, f"there is no ModelRollout {name} in namespace {namespace}", "see the list")
        pods = await self._access.may(person, "list", DEPLOYMENTS, namespace)
        return self._answer(request, (key, body["metadata"]["uid"], pods), lambda: self._document(key, body, pods=pods))

    def _document(self, key: Key, body: Body, *, pods: bool) -> Mapping[str, Any]:
        try:
            seen = self._snapshot(key, body, pods=pods)
        except ValueError as error:
            raise RefusedError(
                422,
                f"this version of the operator cannot read the object: {str(error).splitlines()[0]}",
                f"see what it says: kubectl get mro {key[1]} -n {key[0]} -o yaml",
            ) from error
        return shown(seen, self._readings.of(seen.rollout))

    def _answer(self, request: web.Request, key: Hashable, build: Callable[[], Mapping[str, Any]]) -> web.Response:
        """A document, made at most once a second for all who look at it, or 304 when the reader has it already."""
        known = self._answers.get(key)
        if known is None:
            known = (_Answer.of(build()),)
            self._answers.put(key, known[0], _FRESH_SECONDS)
        headers = {"ETag": known[0].tag}
        if request.headers.get("If-None-Match") == known[0].tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=known[0].content, content_type="application/json", charset="utf-8", headers=headers)

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response({"user": (await self._who(request)).name})

    async def _who(self, request: web.Request) -> Person:
        return await self._access.who(request.headers.get("Authorization", ""))

    def _snapshot(self, key: Key, body: Body, *, pods: bool) -> Snapshot:
        """With the live numbers, which are written to the API server far less often than they change."""
        seen = read(body, self._known.deployments(key) if pods else None, datetime.now(UTC))
        live = self._known.live(key, seen.rollout.uid)
        return seen if live is None else replace(seen, rollout=replace(seen.rollout, status=live), judged=True)


def _name(text: str, what: str) -> str:
    """A name of the cluster's, refused when it cannot be one: remedies that are pasted into shells contain it."""
    if not _NAME.fullmatch(text):
        raise RefusedError(400, f"this is no name of a {what}", "names have small letters, digits, dots and dashes")
    return text


def _static(path: str) -> _Handler:
    """A file, read once: no part of a request ever names a file."""
    name, kind = _STATIC[path]
    content = (files("modelrollout.web") / "static" / name).read_bytes()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8")

    return serve


@web.middleware
async def _door(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every answer has the headers; whatever goes wrong is said in plain words, and never with a traceback."""
    try:
        if request.method != "GET":
            raise RefusedError(
                405, f"this page is read-only: {request.method} is not answered", "use kubectl to decide"
            )
        response = await handler(request)
    except RefusedError as error:
        response = _refusal(error)
    except web.HTTPNotFound:
        response = _refusal(RefusedError(404, "there is nothing here", "the page is at /"))
    except web.HTTPException as error:
        response = _refusal(RefusedError(error.status, error.reason, "look at docs/web.md"))
    except Exception:
        _log.exception("the web page could not answer %s", request.path)
        response = _refusal(RefusedError(500, "the page has an error; the operator's log has more", "reload the page"))
    response.headers.update(HEADERS)
    return response


def _refusal(error: RefusedError) -> web.Response:
    response = web.json_response({"error": error.message, "remedy": error.remedy}, status=error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.status == 405:
        response.headers["Allow"] = "GET"
    if error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    return response
