"""What a message holds, as JSON: the body of webhooks and the data of CloudEvents. Documented in docs/notifications.md.

Fields may be added; none changes its meaning under the same ``schema``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from modelrollout.notify.base import Message

__all__ = ["SCHEMA", "payload", "rfc3339"]

SCHEMA: Final = "modelrollout.io/notice/v1"


def rfc3339(at: datetime) -> str:
    """UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def payload(message: Message) -> dict[str, Any]:
    """The message; ``incident`` is null when it tells of no rollback."""
    notice, incident = message.notice, message.incident
    return {
        "schema": SCHEMA,
        "id": message.id,
        "urgency": str(notice.urgency),
        "reason": str(notice.reason),
        "cause": str(notice.cause) if notice.cause else None,
        "over": message.is_over,
        "namespace": message.namespace,
        "name": message.name,
        "revision": notice.revision,
        "version": notice.version,
        "stableVersion": message.stable,
        "message": notice.message,
        "at": rfc3339(notice.at),
        "overAt": rfc3339(notice.over_at) if notice.over_at else None,
        "incidentName": notice.incident or None,
        "incident": incident.model_dump(mode="json", by_alias=True) if incident is not None else None,
        "links": [link.model_dump(mode="json") for link in message.links],
        "commands": list(message.commands),
    }
