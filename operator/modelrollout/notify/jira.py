"""Issues in Jira (Cloud and Data Center), one for each incident.

Source: Jira REST API v2, "Create issue" and "Search for issues using JQL". Cloud has the search at ``search/jql`` (the
older path answers 410 there), Data Center at ``search``. The description is wiki markup, which v2 takes in both. The
index behind the search may lag by some seconds; what makes a second attempt (a timeout, a restart) takes longer.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from modelrollout.notify.base import DeliveryError, Message, Read
from modelrollout.notify.http import Http, encoded
from modelrollout.notify.tickets import filled, label_of, title

__all__ = ["Jira", "escaped"]

_MARKUP: Final = re.compile(r"([\\{}\[\]|*_^~+\-?!#@])")


def escaped(text: str) -> str:
    """Text in which Jira's wiki markup finds nothing: every sign that could begin one has a backslash before it."""
    text = _MARKUP.sub(r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)\b(h[1-6]|bq)\.", r"\1\\.", text) or "–"


def _row(cells: list[str]) -> str:
    return f"|{'|'.join(cells)}|"


class Jira:
    """See the module."""

    hears_the_end = False
    repeats_every: float | None = None

    def __init__(
        self,
        http: Http,
        url: str,
        project: str,
        token: Read,
        *,
        user: str = "",
        issue_type: str = "Task",
        cloud: bool = False,
        labels: tuple[str, ...] = (),
    ) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._project = project
        self._token = token
        self._user = user
        self._issue_type = issue_type
        self._search = f"{self._url}/rest/api/2/search{'/jql' if cloud else ''}"
        self._labels = labels

    async def send(self, message: Message) -> str:
        """Find the issue of this message, or create it; its address."""
        headers = {"Authorization": await self._authorization(), "Accept": "application/json"}
        key = label_of(message)
        query = {"jql": f'project = "{self._project}" AND labels = "{key}"', "fields": "key", "maxResults": "1"}
        found = (await self._http.call("GET", self._search, headers=headers, query=query)).json()
        if not isinstance(found, dict) or not isinstance(found.get("issues"), list):
            raise DeliveryError("the answer is no list of issues: is the address Jira's?", settings=True)
        if found["issues"]:
            return f"{self._url}/browse/{found['issues'][0]['key']}"
        fields = {
            "project": {"key": self._project},
            "issuetype": {"name": self._issue_type},
            "summary": title(message),
            "description": filled("jira.txt", message, escaped, _row),
            "labels": ["modelrollout", key, *self._labels],
        }
        answer = await self._http.call(
            "POST", f"{self._url}/rest/api/2/issue", body=encoded({"fields": fields}), headers=headers
        )
        return f"{self._url}/browse/{answer.json().get('key', '')}"

    async def _authorization(self) -> str:
        """Cloud: user and API token; Data Center: a personal access token."""
        token = await self._token()
        if not self._user:
            return f"Bearer {token}"
        return "Basic " + base64.b64encode(f"{self._user}:{token}".encode()).decode()
