"""Alertmanager, API v2: an alert that fires while something is so, and is resolved when it is over.

Alertmanager forgets alerts that nobody repeats, and all of them when it restarts, so what lasts is sent again every few
minutes with an end a little later than the next time. What does not last (a promotion) is left to expire.

Source: Alertmanager's OpenAPI description (api/v2/openapi.yaml), ``postableAlerts``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelrollout.api.enums import Urgency
from modelrollout.notify.base import Message, Read
from modelrollout.notify.http import Http, encoded
from modelrollout.notify.payload import rfc3339

__all__ = ["Alertmanager", "alert"]

_REPEAT: Final = 180.0
_SEVERITY: Final = {Urgency.PAGE: "critical", Urgency.TICKET: "warning", Urgency.CHAT: "info"}


def alert(message: Message, now: datetime) -> dict[str, Any]:
    """The alert. Its labels are what it is recognized by, so nothing in them changes while it fires."""
    notice = message.notice
    annotations = {
        "summary": message.title,
        "description": notice.message,
        "stable_version": message.stable,
        "incident": notice.incident,
        "commands": "\n".join(message.commands),
    }
    annotations |= {link.name.lower().replace(" ", "_"): link.url for link in message.links}
    return {
        "labels": {
            "alertname": f"ModelRollout{notice.reason}",
            "severity": _SEVERITY[message.urgency],
            "namespace": message.namespace,
            "modelrollout": message.name,
            "revision": notice.revision,
            "cause": str(notice.cause or ""),
        },
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": rfc3339(notice.at),
        "endsAt": rfc3339(notice.over_at or now + timedelta(seconds=3 * _REPEAT)),
    }


class Alertmanager:
    """See the module."""

    hears_the_end = True
    repeats_every: float | None = _REPEAT

    def __init__(self, http: Http, url: Read) -> None:
        self._http = http
        self._url = url

    async def send(self, message: Message) -> str:
        """POST the alert."""
        url = f"{(await self._url()).rstrip('/')}/api/v2/alerts"
        await self._http.call("POST", url, body=encoded([alert(message, datetime.now(UTC))]))
        return ""
