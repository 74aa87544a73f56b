"""OAuth2 client credentials: a token that is asked for, kept until shortly before its end, and asked for again, once,
when it is refused earlier.

Sources: RFC 6749 §4.4, and §2.3.1 for how the client names itself (Basic, which every server must understand).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

from modelrollout.metrics.access import AccessError, Credential, Read, Tls
from modelrollout.metrics.wire import Limits, NoAnswerError, TooLargeError, Wire

__all__ = ["OAuth2"]

_TIMEOUT_SECONDS: Final = 5.0
_RENEWED_BEFORE_SECONDS: Final = 30.0
_LIVES_SECONDS: Final = 300.0
"""When the server does not say how long."""
_CODES: Final = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
"""RFC 6749 §5.2. Only these are shown: a description may quote what was sent."""


class _Client(Credential):
    """The operator's own name at the token server."""

    def __init__(self, client_id: str, read: Read) -> None:
        super().__init__()
        self._id = client_id
        self._read = read

    async def authorization(self) -> str:
        """See :class:`Credential`."""
        secret = await self._read()
        both = base64.b64encode(f"{quote_plus(self._id)}:{quote_plus(secret)}".encode()).decode()
        self.keep_secret(secret, both)
        return f"Basic {both}"


class OAuth2(Credential):
    """See the module. ``form``: what is sent beside the grant type (scope, audience)."""

    def __init__(self, token_url: str, client_id: str, read: Read, form: Mapping[str, str], tls: Tls) -> None:
        super().__init__()
        self._form = {**form, "grant_type": "client_credentials"}
        self._wire = Wire(
            token_url, _TIMEOUT_SECONDS, Limits(answer_mib=1), credential=_Client(client_id, read), tls=tls
        )
        self._token = ""
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """See :class:`Credential`."""
        await self._wire.close()

    async def authorization(self) -> str:
        """See :class:`Credential`."""
        async with self._turn:  # one asks for all
            if not self._token or asyncio.get_running_loop().time() >= self._until:
                await self._fetch()
            return f"Bearer {self._token}"

    def renewed(self, refused: str) -> bool:
        """See :class:`Credential`."""
        if refused == f"Bearer {self._token}":
            self._token = ""
        return True

    @property
    def remedy(self) -> str:
        """See :class:`Credential`."""
        return "look at the rights of oauth2.clientId, and at oauth2.scopes"

    async def _fetch(self) -> None:
        try:
            reply = await self._wire.exchange("POST", "", self._form, _TIMEOUT_SECONDS)
        except (NoAnswerError, TooLargeError) as error:
            raise AccessError(f"the token server at {self._wire.url} {error}") from error
        try:
            said = json.loads(reply.raw)
        except (ValueError, RecursionError):
            said = None
        body = said if isinstance(said, dict) else {}
        token = body.get("access_token")
        usable = isinstance(token, str) and token.isascii() and token.isprintable() and token.strip() == token
        if reply.status != 200 or not usable or not token:
            code = f", {body['error']}" if body.get("error") in _CODES else ""
            text = f"the token server at {self._wire.url} gives no token (HTTP {reply.status}{code})"
            raise AccessError(f"{text}: look at oauth2.clientId, oauth2.clientSecretFile and oauth2.scopes")
        lives = _seconds(body.get("expires_in"))
        early = min(_RENEWED_BEFORE_SECONDS, lives / 10.0)
        self._token, self._until = token, asyncio.get_running_loop().time() + lives - early
        self.keep_secret(token)


def _seconds(said: Any) -> float:
    try:
        found = float(said)
    except (TypeError, ValueError):
        return _LIVES_SECONDS
    return found if 0.0 < found < float("inf") else _LIVES_SECONDS
