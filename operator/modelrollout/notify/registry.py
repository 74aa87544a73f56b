"""Notifiers by the field that asks for them, in a rollout's spec or in the operator's file of receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelrollout.notify.alertmanager import Alertmanager
from modelrollout.notify.base import DeliveryError, Read, Receiver
from modelrollout.notify.cloudevents import CloudEvents
from modelrollout.notify.config import AddressConfig, GitHubConfig, JiraConfig, ReceiverConfig
from modelrollout.notify.github import GitHub
from modelrollout.notify.http import Http
from modelrollout.notify.jira import Jira
from modelrollout.notify.slack import Slack
from modelrollout.notify.webhook import Webhook

__all__ = ["ADDRESSED", "of_operator"]

ADDRESSED: Final[dict[str, Callable[[Http, Read, Read | None], Receiver]]] = {
    "webhook": Webhook,
    "slack": lambda http, url, _: Slack(http, url),
    "alertmanager": lambda http, url, _: Alertmanager(http, url),
    "cloudEvents": lambda http, url, _: CloudEvents(http, url),
}
"""Notifiers that need an address, and perhaps a signing key."""


def of_operator(http: Http, config: ReceiverConfig) -> Receiver:
    """A receiver of the operator's own file."""
    match config.settings:
        case AddressConfig() as given:
            url = _constant(given.url) if given.url is not None else _file(given.url_file or Path())
            key = _file(given.signing_key_file) if given.signing_key_file is not None else None
            return ADDRESSED[config.kind](http, url, key)
        case GitHubConfig() as given:
            return GitHub(http, given.url, given.repository, _file(given.token_file), given.labels)
        case JiraConfig() as given:
            return Jira(
                http,
                given.url,
                given.project,
                _file(given.token_file),
                user=given.user,
                issue_type=given.issue_type,
                cloud=given.cloud,
                labels=given.labels,
            )


def _constant(value: str) -> Read:
    async def read() -> str:
        return value

    return read


def _file(path: Path) -> Read:
    async def read() -> str:
        try:
            value = (await asyncio.to_thread(path.read_text, "utf-8")).strip()
        except (OSError, ValueError) as error:
            raise DeliveryError(f"{path} cannot be read: mount the Secret there", settings=True) from error
        if not value:
            raise DeliveryError(f"{path} is empty: put the secret into it", settings=True)
        return value

    return read
