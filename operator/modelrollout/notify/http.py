"""Requests to receivers: short, never redirected, and with errors that hold neither an address's path nor a token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from modelrollout.addresses import Resolver
from modelrollout.notify.base import DeliveryError
from modelrollout.transport import words

__all__ = ["Answer", "Http", "encoded"]

_TIMEOUT_SECONDS: Final = 10.0
_LONGEST_ANSWER: Final = 1024 * 1024
_LATER: Final = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT: Final = 3600.0
_SEEN_WITHIN: Final = 30.0
"""Seconds until what was perhaps taken can be found by a search."""
_SHORTEST_SECRET: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said."""

    status: int
    text: str

    def json(self) -> Any:
        """The body as JSON.

        Raises
        ------
        DeliveryError
            If it is none: a proxy's login page with status 200 is no answer of a tracker.
        """
        try:
            return json.loads(self.text)
        except ValueError as error:
            raise DeliveryError("the answer is no JSON: is the address the API's?", settings=True) from error


def encoded(body: Any) -> bytes:
    """JSON, the same bytes for the same body."""
    return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()


class Http:
    """One session for many receivers; connections are not shared between them beyond that. ``guarded``: for addresses
    that tenants give, which may not lead to the operator's own machine nor to a metadata service."""

    def __init__(self, timeout: float = _TIMEOUT_SECONDS, *, guarded: bool = False) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._guarded = guarded
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; the answer when it is a 2xx.

        Raises
        ------
        DeliveryError
            For everything else. It names the host alone: the rest of a webhook's address is a secret.
        """
        host = _host_of(url)
        sent = {"Content-Type": "application/json", "User-Agent": "modelrollout", **(headers or {})}
        try:
            call = self._open().request(method, url, data=body, headers=sent, params=query, allow_redirects=False)
            async with call as response:
                answer = Answer(response.status, await _text(response, host))
                after = response.headers.get("Retry-After", "")
        except TimeoutError as error:
            # It may have been taken all the same, so what asks before it writes waits until that can be seen.
            raise DeliveryError(f"{host} did not answer in time", retry_after=_SEEN_WITHIN) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            text = "the address is not valid" if isinstance(error, ValueError) else _without(words(error), url)
            perhaps_taken = not isinstance(error, aiohttp.ClientConnectorError)
            wait = _SEEN_WITHIN if perhaps_taken else None
            raise DeliveryError(f"{host} cannot be reached: {text}", retry_after=wait) from error
        if 200 <= answer.status < 300:
            return answer
        raise _refusal(host, answer, after, _secrets(url, sent))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=Resolver(guarded=self._guarded))
            self._session = aiohttp.ClientSession(timeout=self._timeout, connector=connector)
        return self._session


async def _text(response: aiohttp.ClientResponse, host: str) -> str:
    """The whole body: a tracker's answer that is cut short must not look like "there is none"."""
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > _LONGEST_ANSWER:
            raise DeliveryError(f"{host} answers with more than {_LONGEST_ANSWER // 1024} KiB", refused=True)
    return raw.decode(errors="replace")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the address"
    except ValueError as error:
        raise DeliveryError("the address is not valid: it must be one URL, https://…", settings=True) from error


def _secrets(url: str, headers: Mapping[str, str]) -> list[str]:
    """What an answer may quote and nobody may read."""
    parts = urlsplit(url)
    token = headers.get("Authorization", "").rpartition(" ")[2]
    found = {parts.path.strip("/"), parts.query, token, *parts.path.split("/")}
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)


def _without(text: str, url: str) -> str:
    return text.replace(url, "its address")


def _refusal(host: str, answer: Answer, after: str, secrets: list[str]) -> DeliveryError:
    if 300 <= answer.status < 400:
        text = f"{host} redirects to another address, which is not followed: give the final one"
        return DeliveryError(text, settings=True)
    said = " ".join(answer.text.split())
    for secret in secrets:
        said = said.replace(secret, "…")
    text = f"{host} answers {answer.status}" + (f": {said[:200]}" if said else "")
    if answer.status in _LATER:
        wait = min(float(after), _LONGEST_WAIT) if after.isdigit() else None
        return DeliveryError(text, retry_after=wait)
    remedy = "; check the token and its rights" if answer.status in (401, 403) else ""
    return DeliveryError(text + remedy, refused=True, settings=answer.status in (401, 403, 404))
