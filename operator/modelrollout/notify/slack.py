"""Slack, by an incoming webhook: blocks within Slack's limits, and the same in plain text for notifications.

Source: Slack's Block Kit reference: a header has at most 150 characters, a section's text 3000; ``&``, ``<`` and ``>``
are the three characters with a meaning of their own. User's words are put where Slack reads no markup, or escaped.
"""

from __future__ import annotations

from typing import Any, Final

from modelrollout.api.enums import Urgency
from modelrollout.notify.base import DeliveryError, Message, Read
from modelrollout.notify.http import Http, encoded

__all__ = ["Slack", "blocks"]

_HEADER: Final = 150
_SECTION: Final = 2900
_SIGNS: Final = {Urgency.PAGE: "🔴", Urgency.TICKET: "🟠", Urgency.CHAT: "🔵"}
_GATES: Final = 8


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    """Words without a look of their own: escaped, and no sign that begins bold, italics, strikes or code."""
    for sign in "*_~`":
        text = text.replace(sign, sign + "\u200b")
    return _escaped(" ".join(text.split()))


def _code(text: str) -> str:
    return "`" + _escaped(text.replace("`", "'")) + "`"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}}


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message: what happened, who serves, the gates that spoke, what to type, where to look."""
    sign = "✅" if message.is_over else _SIGNS[message.urgency]
    found: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": f"{sign} {message.title}"[:_HEADER]}},
        _section(_plain(message.notice.message) or "–"),
    ]
    if message.stable:
        found.append(_section(f"Now serving: version {_plain(message.stable)}"))
    if message.incident is not None and not message.is_over:
        gates = [f"• {_code(one.name)} {one.verdict}: {_plain(one.message)}" for one in message.incident.evidence]
        found += [_section("\n".join(gates[:_GATES]))] if gates else []
    if message.commands and not message.is_over:
        found.append(_section("\n".join(_code(one) for one in message.commands)))
    links = " · ".join(f"<{_escaped(one.url)}|{_plain(one.name).replace('|', '/')}>" for one in message.links)
    if links:
        found.append(_section(links))
    context = _plain(message.notice.incident or message.id)
    found.append({"type": "context", "elements": [{"type": "mrkdwn", "text": context[:_SECTION]}]})
    return found


class Slack:
    """See the module."""

    hears_the_end = True
    repeats_every: float | None = None

    def __init__(self, http: Http, url: Read) -> None:
        self._http = http
        self._url = url

    async def send(self, message: Message) -> str:
        """POST the blocks. Slack knows no keys: after a crash at the wrong moment a message may be read twice."""
        body = {"text": _plain(f"{message.title}: {message.notice.message}"), "blocks": blocks(message)}
        answer = await self._http.call("POST", await self._url(), body=encoded(body))
        if answer.text.strip() not in ("", "ok"):
            raise DeliveryError("Slack did not say ok: is the address one of an incoming webhook?", settings=True)
        return ""
