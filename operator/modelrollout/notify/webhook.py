"""Plain JSON by POST, for whatever has no notifier of its own.

``Idempotency-Key`` is the same in every attempt, so that a receiver can tell a repetition from a second message. With a
signing key, ``X-ModelRollout-Signature: sha256=<hex>`` is the HMAC-SHA256 (RFC 2104) of the body.
"""

from __future__ import annotations

import hashlib
import hmac

from modelrollout.notify.base import Message, Read
from modelrollout.notify.http import Http, encoded
from modelrollout.notify.payload import payload

__all__ = ["SIGNATURE", "Webhook"]

SIGNATURE = "X-ModelRollout-Signature"


class Webhook:
    """See the module."""

    hears_the_end = True
    repeats_every: float | None = None

    def __init__(self, http: Http, url: Read, signing_key: Read | None = None) -> None:
        self._http = http
        self._url = url
        self._signing_key = signing_key

    async def send(self, message: Message) -> str:
        """POST the payload."""
        body = encoded(payload(message))
        headers = {"Idempotency-Key": message.id}
        if self._signing_key is not None:
            key = await self._signing_key()
            headers[SIGNATURE] = "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        await self._http.call("POST", await self._url(), body=body, headers=headers)
        return ""
