"""The receivers of whoever runs the operator: a YAML file, so that the page at 3 a.m. depends on no tenant.

The file holds no secret: addresses and tokens stand in files of their own (a mounted Secret), named by ``urlFile`` and
``tokenFile``. An address that is none (an Alertmanager within the cluster) may stand in the file as ``url``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from modelrollout import settings_file
from modelrollout.api.notifications import SUBJECTS
from modelrollout.settings_file import ConfigError, FileModel

__all__ = ["AddressConfig", "Config", "ConfigError", "GitHubConfig", "JiraConfig", "ReceiverConfig", "load"]

_Label = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[^\s,]+$")]


class AddressConfig(FileModel):
    """Where messages are sent."""

    url: str | None = Field(default=None, pattern=r"^https?://", max_length=2048)
    url_file: Path | None = None
    signing_key_file: Path | None = None

    @model_validator(mode="after")
    def _one_address(self) -> AddressConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either url or urlFile (a file that holds it)")
        return self


class GitHubConfig(FileModel):
    """A repository whose issues are tickets."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", max_length=140)
    token_file: Path
    url: str = Field(default="https://api.github.com", pattern=r"^https?://", max_length=2048)
    labels: tuple[_Label, ...] = Field(default=(), max_length=10)


class JiraConfig(FileModel):
    """A project whose issues are tickets."""

    url: str = Field(pattern=r"^https?://", max_length=2048)
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=64)
    token_file: Path
    user: str = Field(default="", max_length=256)
    issue_type: str = Field(default="Task", max_length=64)
    cloud: bool = False
    labels: tuple[_Label, ...] = Field(default=(), max_length=10)


class ReceiverConfig(FileModel):
    """Somebody who is told."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    about: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ("*",)
    webhook: AddressConfig | None = None
    slack: AddressConfig | None = None
    alertmanager: AddressConfig | None = None
    cloud_events: AddressConfig | None = None
    github: GitHubConfig | None = None
    jira: JiraConfig | None = None

    @model_validator(mode="after")
    def _sound(self) -> ReceiverConfig:
        unknown = [one for one in self.about if one not in SUBJECTS]
        if unknown:
            raise ValueError(f"about: nothing is called {unknown[0]!r}; there are {', '.join(SUBJECTS)}")
        if len(self._given()) != 1:
            raise ValueError("give exactly one of webhook, slack, alertmanager, cloudEvents, github, jira")
        return self

    def _given(self) -> list[tuple[str, AddressConfig | GitHubConfig | JiraConfig]]:
        fields = {
            "webhook": self.webhook,
            "slack": self.slack,
            "alertmanager": self.alertmanager,
            "cloudEvents": self.cloud_events,
            "github": self.github,
            "jira": self.jira,
        }
        return [(kind, given) for kind, given in fields.items() if given is not None]

    @property
    def kind(self) -> str:
        """Which notifier it is."""
        return self._given()[0][0]

    @property
    def settings(self) -> AddressConfig | GitHubConfig | JiraConfig:
        """What that notifier needs."""
        return self._given()[0][1]


class Config(FileModel):
    """The whole file."""

    receivers: tuple[ReceiverConfig, ...] = Field(default=(), max_length=64)

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [one.name for one in self.receivers]
        double = [name for name in names if names.count(name) > 1]
        if double:
            raise ValueError(f"two receivers are called {double[0]}: give each its own name")
        return self


def load(path: Path) -> Config:
    """Read the file.

    Raises
    ------
    ConfigError
        If it cannot be read, or says what is not understood.
    """
    return settings_file.load(path, Config)
