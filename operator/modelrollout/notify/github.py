"""Issues on GitHub (also Enterprise Server), one for each incident.

Source: GitHub REST API, "List repository issues" (``labels``, ``state=all``) and "Create an issue". Labels that do not
exist are made with the issue; a token that may not do so is refused, or its labels are dropped: then the issue could
not be found again after a crash, and the log says so.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from modelrollout.notify.base import DeliveryError, Message, Read
from modelrollout.notify.http import Http, encoded
from modelrollout.notify.tickets import filled, label_of, title

__all__ = ["GitHub", "code"]

_log = logging.getLogger(__name__)

_RUNS: Final = re.compile(r"`+")


def code(text: str) -> str:
    """Text as inline code: in it GitHub reads no markup, no HTML, no mention and no reference. A run of backticks would
    end it, so it is fenced by a longer one."""
    text = " ".join(text.split())
    if not text:
        return "–"
    fence = "`" * (1 + max((len(run) for run in _RUNS.findall(text)), default=0))
    return f"{fence} {text} {fence}"


def _row(cells: list[str]) -> str:
    """A bar ends a cell even within code, unless it is escaped (GitHub Flavored Markdown, "Tables")."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


class GitHub:
    """See the module."""

    hears_the_end = False
    repeats_every: float | None = None

    def __init__(self, http: Http, api: str, repository: str, token: Read, labels: tuple[str, ...] = ()) -> None:
        self._http = http
        self._issues = f"{api.rstrip('/')}/repos/{repository}/issues"
        self._token = token
        self._labels = labels

    async def send(self, message: Message) -> str:
        """Find the issue of this message, or create it; its address."""
        headers = {
            "Authorization": f"Bearer {await self._token()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        key = label_of(message)
        query = {"labels": key, "state": "all", "per_page": "1"}
        found = (await self._http.call("GET", self._issues, headers=headers, query=query)).json()
        if not isinstance(found, list):
            raise DeliveryError("the answer is no list of issues: is the address GitHub's API?", settings=True)
        if found:
            return str(found[0].get("html_url", ""))
        body = {
            "title": title(message),
            "body": filled("github.md", message, code, _row),
            "labels": ["modelrollout", key, *self._labels],
        }
        made = (await self._http.call("POST", self._issues, body=encoded(body), headers=headers)).json()
        if key not in _names(made):
            _log.warning("%s has no labels, so a crash could create it again: let the token set them", message.id)
        return str(made.get("html_url", ""))


def _names(issue: Any) -> list[str]:
    labels = issue.get("labels") if isinstance(issue, dict) else None
    return [one["name"] if isinstance(one, dict) else str(one) for one in labels or []]
