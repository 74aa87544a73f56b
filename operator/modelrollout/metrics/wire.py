"""HTTP to one source: with its name and certificates, its limits, and errors that hold no secret.

Each source has connections, name look-ups and limits of its own, so that one that hangs holds up nobody but those who
ask it. An answer is read up to a limit, unpacked by ourselves so that the limit is one on what it unpacks to, within a
time limit that counts from the first byte sent to the last one read. Redirects are not followed: a token belongs to
the address that the settings name.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from modelrollout.addresses import Resolver
from modelrollout.metrics.access import AccessError, Credential, Tls
from modelrollout.transport import words

__all__ = ["Limits", "NoAnswerError", "Reply", "TooLargeError", "Wire"]

_CONNECT_SECONDS: Final = 3.0
_GZIP: Final = 31
_LONGEST_WORDS: Final = 300
_GLANCE: Final = 4_096
"""Bytes after which it can be told whether an answer is worth the rest of it."""
_MIB: Final = 1024**2
_UNAUTHORIZED: Final = 401


class NoAnswerError(Exception):
    """The source gave no answer that can be read; the text is fit for people."""


class TooLargeError(Exception):
    """The answer is larger than the limit; the text is fit for people."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one source may take."""

    at_once: int = 4
    """Questions at a time. Prometheus runs 20 by default for everybody."""
    answer_mib: int = 32
    """MiB of one answer, unpacked; 50,000 series are some 20."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    raw: bytes
    date: str
    """By the server's clock; empty when it does not say."""


@dataclass(slots=True)
class Wire:
    """See the module. ``timeout``: seconds for a usual question. ``guarded``: the address is a tenant's."""

    url: str
    timeout: float
    limits: Limits = field(default_factory=Limits)
    headers: Mapping[str, str] = field(default_factory=dict)
    credential: Credential = field(default_factory=Credential, repr=False)
    tls: Tls = field(default_factory=Tls)
    guarded: bool = False
    sent: int = 0
    """How many HTTP requests were sent."""
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def close(self) -> None:
        """Close the connections."""
        await self.credential.close()
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, form: Mapping[str, str], timeout: float) -> Reply:
        """Send a form.

        Raises
        ------
        NoAnswerError, TooLargeError
        """
        return await self._answered("POST", path, form, timeout)

    async def get(self, path: str, query: Mapping[str, str], timeout: float) -> Reply:
        """Ask; raises as :meth:`post`."""
        return await self._answered("GET", path, query, timeout)

    async def _answered(self, method: str, path: str, said: Mapping[str, str], timeout: float) -> Reply:
        reply = await self.exchange(method, path, said, timeout)
        if 300 <= reply.status < 400:
            raise NoAnswerError("redirects to another address, which is not followed: give the final one")
        if reply.status in (_UNAUTHORIZED, 403):
            raise NoAnswerError(f"refuses the operator (HTTP {reply.status}): {self.credential.remedy}")
        return reply

    async def exchange(self, method: str, path: str, said: Mapping[str, str], timeout: float) -> Reply:
        """One question and whatever comes back; raises as :meth:`post`."""
        try:
            async with asyncio.timeout(timeout):
                authorization = await self.credential.authorization()
                reply = await self._once(method, path, said, authorization)
                if reply.status == _UNAUTHORIZED and self.credential.renewed(authorization):
                    reply = await self._once(method, path, said, await self.credential.authorization())
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswerError(
                f"does not answer: {self.credential.scrubbed(words(error))[:_LONGEST_WORDS]}"
            ) from error
        except zlib.error as error:
            raise NoAnswerError("does not answer: what it sends cannot be unpacked") from error
        except AccessError as error:
            raise NoAnswerError(f"cannot be asked: {error}") from error
        return reply

    async def _once(self, method: str, path: str, said: Mapping[str, str], authorization: str) -> Reply:
        headers = {**self.headers, "Accept-Encoding": "gzip", "User-Agent": "modelrollout"}
        if authorization:
            headers["Authorization"] = authorization
        self.sent += 1
        call = self._open().request(
            method,
            f"{self.url}{path}",
            data=said if method == "POST" else None,
            params=said if method == "GET" else None,
            headers=headers,
            ssl=self.tls.context(),
            server_hostname=self.tls.server_name,
            allow_redirects=False,
        )
        async with call as response:
            raw = await _body(response, self.limits.answer_mib * _MIB)
            return Reply(response.status, raw, response.headers.get("Date", ""))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session(self.guarded)
        return self._session


def _session(guarded: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=Resolver(guarded=guarded)),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole body, unpacked.

    Raises
    ------
    TooLargeError
    ValueError
        If it is packed in a way that was not asked for, or cut short.
    """
    packing = response.headers.get("Content-Encoding", "identity").lower()
    if packing not in ("identity", "gzip", ""):
        raise ValueError("it packs its answers in a way that was not asked for")
    unpacker = zlib.decompressobj(_GZIP) if packing == "gzip" else None
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk if unpacker is None else unpacker.decompress(chunk, most + 1 - len(raw))
        if len(raw) > most:
            raise TooLargeError(f"answers with more than {most // _MIB} MiB")
        if len(raw) > _GLANCE and not _begins_as_json(raw[:_GLANCE]):
            raise ValueError("it sends no JSON, and a lot of it")
    if unpacker is not None and not unpacker.eof:
        raise ValueError("its answer is cut short")
    return bytes(raw)


def _begins_as_json(raw: bytearray) -> bool:
    begin = raw.lstrip()
    return not begin or begin.startswith(b"{")
