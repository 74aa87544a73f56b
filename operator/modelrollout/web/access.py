"""Who asks, and what they may see: the cluster's own answers, by TokenReview and SubjectAccessReview.

The page has no users, no roles and no sessions of its own. An answer is believed for a minute at most, under a keyed
hash of the token; the token itself is kept nowhere. Reviews are rate-limited and few at a time, so that nobody can use
the page to wear out the API server or the operator's connection to it.

A token may be made for this page alone (audience ``modelrollout-web``): then it is worth nothing anywhere else.

Sources: authentication.k8s.io/v1 TokenReview, authorization.k8s.io/v1 SubjectAccessReview, RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import secrets
import shlex
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from modelrollout.kube.client import ACCESS_REVIEWS, TOKEN_REVIEWS, KubeError, Resource

__all__ = ["AUDIENCE", "Access", "Memory", "Person", "RefusedError"]

AUDIENCE: Final = "modelrollout-web"
_YES_SECONDS: Final = 60.0
_NO_SECONDS: Final = 10.0
"""Whoever was given a right a moment ago does not want to wait for it."""
_REMEMBERED: Final = 4096
_AT_ONCE: Final = 3
_TOKENS_PER_SECOND: Final = 5.0
_REVIEWS_PER_SECOND: Final = 50.0
_ANSWERS_PER_SECOND: Final = 10.0
"""For one token, whose bearer may have several tabs open."""
_BURST_SECONDS: Final = 4.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")
"""RFC 6750, section 2.1: b64token."""
_HOW_TO_GET_ONE: Final = f"paste a token: kubectl create token NAME -n NAMESPACE --audience={AUDIENCE} --duration=1h"

T = TypeVar("T")
Clock = Callable[[], float]


class _Creates(Protocol):
    """What is needed of the API server."""

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...


class RefusedError(Exception):
    """No, or not now: an HTTP status, what is wrong and what to do about it."""

    def __init__(self, status: int, message: str, remedy: str, *, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.remedy = remedy
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a token stands for, as the API server says."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Access:
    """Asks the API server; see the module."""

    def __init__(self, kube: _Creates, clock: Clock = time.monotonic) -> None:
        self._kube = kube
        self._salt = secrets.token_bytes(32)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._people = Memory[Person | None](clock)
        self._rights = Memory[bool](clock)
        self._tokens = _Bucket(_TOKENS_PER_SECOND, clock)
        self._reviews = _Bucket(_REVIEWS_PER_SECOND, clock)
        self._answers = Memory[_Bucket](clock)
        self._clock = clock

    async def who(self, authorization: str) -> Person:
        """Whom the header ``Authorization: Bearer …`` stands for.

        Raises
        ------
        RefusedError
            401 without a token that the API server knows, 429 and 503 when that cannot be found out now.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
            raise RefusedError(401, "no token was given", _HOW_TO_GET_ONE)
        mark = hashlib.blake2b(token.encode(), key=self._salt, digest_size=32).digest()
        person = await self._asked(self._people, mark, self._tokens, lambda: self._review_token(token))
        if person is None:
            raise RefusedError(401, "the API server does not know this token, or it has expired", _HOW_TO_GET_ONE)
        self._pace(person)
        return person

    def _pace(self, person: Person) -> None:
        """Answers take the operator's time, which belongs to the releases."""
        known = self._answers.get(person)
        bucket = known[0] if known is not None else _Bucket(_ANSWERS_PER_SECOND, self._clock)
        self._answers.put(person, bucket, _YES_SECONDS)
        _wait_if_needed(bucket)

    async def may(self, person: Person, verb: str, resource: Resource, namespace: str = "", name: str = "") -> bool:
        """Whether someone may do something in a namespace; in all of them when none is named.

        Raises
        ------
        RefusedError
            429 and 503 when that cannot be found out now.
        """
        about = {"verb": verb, "group": resource.group, "resource": resource.plural}
        about |= {"namespace": namespace} if namespace else {}
        about |= {"name": name} if name else {}
        key = (person, tuple(about.items()))
        return await self._asked(self._rights, key, self._reviews, lambda: self._review_right(person, about))

    async def must(self, person: Person, verb: str, resource: Resource, namespace: str, name: str = "") -> None:
        """Refuse with 403 what someone may not do."""
        if not await self.may(person, verb, resource, namespace, name):
            raise RefusedError(
                403,
                f"{person.name} may not {verb} {resource.plural} in namespace {namespace}",
                f"ask an administrator: kubectl create rolebinding modelrollout-viewer -n {namespace} "
                f"--clusterrole=modelrollout-viewer {_subject(person.name)}",
            )

    async def _asked(self, memory: Memory[T], key: Hashable, bucket: _Bucket, review: Callable[[], Awaitable[T]]) -> T:
        known = memory.get(key)
        if known is not None:
            return known[0]
        async with self._slots:
            known = memory.get(key)  # somebody else may have asked the same meanwhile
            if known is not None:
                return known[0]
            _wait_if_needed(bucket)
            answer = await review()
            memory.put(key, answer, _YES_SECONDS if answer else _NO_SECONDS)
            return answer

    async def _review_token(self, token: str) -> Person | None:
        spec: dict[str, Any] = {"token": token}
        only_here = _is_for_this_page(token)
        if only_here:
            spec["audiences"] = [AUDIENCE]
        status = await self._create(TOKEN_REVIEWS, spec)
        user = status.get("user") or {}
        if not status.get("authenticated") or not user.get("username"):
            return None
        if only_here and AUDIENCE not in (status.get("audiences") or []):
            return None
        extra = tuple(sorted((name, tuple(values)) for name, values in (user.get("extra") or {}).items()))
        return Person(user["username"], user.get("uid", ""), tuple(user.get("groups") or ()), extra)

    async def _review_right(self, person: Person, about: dict[str, str]) -> bool:
        spec = {
            "user": person.name,
            "uid": person.uid,
            "groups": list(person.groups),
            "extra": {name: list(values) for name, values in person.extra},
            "resourceAttributes": about,
        }
        return bool((await self._create(ACCESS_REVIEWS, spec)).get("allowed"))

    async def _create(self, reviews: Resource, spec: dict[str, Any]) -> dict[str, Any]:
        kind = {TOKEN_REVIEWS: "TokenReview", ACCESS_REVIEWS: "SubjectAccessReview"}[reviews]
        body = {"apiVersion": f"{reviews.group}/{reviews.version}", "kind": kind, "spec": spec}
        try:
            return dict((await self._kube.create(reviews.path(), body)).get("status") or {})
        except KubeError as error:
            if error.status == 403:
                raise RefusedError(
                    503,
                    f"the operator may not create {reviews.plural}, so nobody can be let in",
                    "give it the right: kubectl apply -f manifests/components/web/rbac.yaml",
                ) from error
            raise RefusedError(
                503, f"the API server cannot be asked who you are: {error}", "wait a moment", retry_after=5
            ) from error


def _is_for_this_page(token: str) -> bool:
    """Whether a JWT says that it is meant for this page; nothing is believed before the API server has checked it."""
    try:
        payload = token.split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return AUDIENCE in said.get("aud", [])
    except (IndexError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def _subject(name: str) -> str:
    """The flag of kubectl that names a user or a ServiceAccount."""
    account = name.removeprefix("system:serviceaccount:")
    return shlex.quote(f"--user={name}" if account == name else f"--serviceaccount={account}")


def _wait_if_needed(bucket: _Bucket) -> None:
    wait = math.ceil(bucket.take())
    if wait:
        raise RefusedError(429, "too many questions at once", f"wait {wait} s", retry_after=wait)


class Memory(Generic[T]):
    """Answers for a while; the oldest go when there are too many."""

    def __init__(self, clock: Clock, most: int = _REMEMBERED) -> None:
        self._clock = clock
        self._most = most
        self._known: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def get(self, key: Hashable) -> tuple[T] | None:
        found = self._known.get(key)
        return (found[1],) if found is not None and self._clock() < found[0] else None

    def put(self, key: Hashable, value: T, seconds: float) -> None:
        self._known[key] = (self._clock() + seconds, value)
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)


class _Bucket:
    """So many a second, and a few seconds' worth at once."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most = per_second * _BURST_SECONDS
        self._left = self._most
        self._at = clock()

    def take(self) -> float:
        """0 when it may be done now, else the seconds to wait."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._per_second
        self._left -= 1.0
        return 0.0
