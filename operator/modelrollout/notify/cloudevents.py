"""CloudEvents 1.0, structured JSON over HTTP: for Knative, event meshes and whatever routes by type.

Source: CloudEvents specification 1.0.2, with its JSON event format and HTTP protocol binding. ``id`` with ``source``
identifies an event, so a repetition carries the same two.
"""

from __future__ import annotations

from typing import Any

from modelrollout.api.meta import GROUP, VERSION
from modelrollout.notify.base import Message, Read
from modelrollout.notify.http import Http, encoded
from modelrollout.notify.payload import payload, rfc3339

__all__ = ["CloudEvents", "event"]


def event(message: Message) -> dict[str, Any]:
    """The event. Its type is the reason in small letters, with ``.over`` when that is over."""
    over = ".over" if message.is_over else ""
    return {
        "specversion": "1.0",
        "id": message.id,
        "source": f"/apis/{GROUP}/{VERSION}/namespaces/{message.namespace}/modelrollouts/{message.name}",
        "type": f"io.modelrollout.{str(message.notice.reason).lower()}{over}",
        "subject": message.notice.revision or message.name,
        "time": rfc3339(message.at),
        "datacontenttype": "application/json",
        "data": payload(message),
    }


class CloudEvents:
    """See the module."""

    hears_the_end = True
    repeats_every: float | None = None

    def __init__(self, http: Http, url: Read) -> None:
        self._http = http
        self._url = url

    async def send(self, message: Message) -> str:
        """POST the event."""
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
        await self._http.call("POST", await self._url(), body=encoded(event(message)), headers=headers)
        return ""
