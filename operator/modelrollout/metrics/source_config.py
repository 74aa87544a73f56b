"""The sources of metrics that whoever runs the operator knows: a YAML file, or one URL for the simplest case.

The file holds no secret: tokens and passwords stand in files of their own (a mounted Secret). TLS certificates are
always verified; a private authority is named by ``tls.caFile``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from modelrollout import settings_file
from modelrollout.api.grammar import parse_duration
from modelrollout.settings_file import ConfigError, FileModel

__all__ = ["DEFAULT", "OAuth2Config", "SourceConfig", "SourcesConfig", "TlsConfig", "load", "single"]

DEFAULT: Final = "default"
"""Name of the source that ``--prometheus-url`` makes."""
_LONGEST_URL: Final = 2048
_HEADER: Final = re.compile(r"^[A-Za-z0-9-]{1,63}$")
_OURS: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "host", "accept-encoding", "connection", "transfer-encoding"}
    | {"content-type", "content-length", "content-encoding", "user-agent"}
)


class LimitsConfig(FileModel):
    """What the source may be asked, and may answer."""

    at_once: int = Field(default=4, ge=1, le=64)
    answer_mib: int = Field(default=32, ge=1, le=512, alias="answerMiB")


class BearerConfig(FileModel):
    """A token."""

    token_file: Path


class BasicConfig(FileModel):
    """A user and a password."""

    user: str = Field(min_length=1, max_length=256, pattern=r"^[^:\x00-\x1f]+$")
    password_file: Path


class TlsConfig(FileModel):
    """Which certificates are believed and shown."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = Field(default=None, min_length=1, max_length=253)

    @model_validator(mode="before")
    @classmethod
    def _verified(cls, given: Any) -> Any:
        if isinstance(given, dict) and {"insecureSkipVerify", "insecure_skip_verify"} & given.keys():
            raise ValueError(
                "insecureSkipVerify does not exist, because whoever stands between could promote any model: name the "
                "authority that signed the certificate in caFile, and the name in it in serverName"
            )
        return given

    @model_validator(mode="after")
    def _both(self) -> TlsConfig:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("give certFile and keyFile together")
        return self


class OAuth2Config(FileModel):
    """OAuth2 client credentials. ``parameters``: what the token server wants besides, like audience."""

    token_url: str = Field(pattern=r"^https://", max_length=_LONGEST_URL)
    client_id: str = Field(min_length=1, max_length=256)
    client_secret_file: Path
    scopes: tuple[str, ...] = Field(default=(), max_length=32)
    parameters: dict[str, str] = Field(default_factory=dict, max_length=16)
    tls: TlsConfig = Field(default_factory=TlsConfig)

    @field_validator("token_url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return _plain_url(url)


class SourceConfig(FileModel):
    """One Prometheus, or what speaks its API."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    url: str = Field(max_length=_LONGEST_URL)
    default: bool = False
    namespaces: tuple[str, ...] = Field(default=("*",), min_length=1, max_length=256)
    allow_promql: bool = False
    timeout: str = "5s"
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    headers: dict[str, str] = Field(default_factory=dict, max_length=16)
    bearer: BearerConfig | None = None
    basic: BasicConfig | None = None
    oauth2: OAuth2Config | None = None
    tls: TlsConfig = Field(default_factory=TlsConfig)
    plain_http: bool = False

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return _plain_url(url)

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, text: str) -> str:
        seconds = parse_duration(text).total_seconds()
        if not 1.0 <= seconds <= 60.0:
            raise ValueError("write between 1s and 60s")
        return text

    @field_validator("headers")
    @classmethod
    def _own_headers(cls, given: dict[str, str]) -> dict[str, str]:
        for name, value in given.items():
            if not _HEADER.match(name) or not value.isascii() or not value.isprintable():
                raise ValueError("a header is a name of letters, digits and -, and a value of printable ASCII")
            if name.lower() in _OURS:
                raise ValueError(f"{name} is not yours to set: for who asks there are bearer, basic and oauth2")
        return given

    @model_validator(mode="after")
    def _sound(self) -> SourceConfig:
        if sum(one is not None for one in (self.bearer, self.basic, self.oauth2)) > 1:
            raise ValueError("give one of bearer, basic, oauth2")
        secret = self.bearer or self.basic or self.oauth2
        if secret is not None and self.url.startswith("http://") and not self.plain_http:
            raise ValueError("a secret would go over the network in clear: use https://, or say plainHttp: true")
        return self

    def covers(self, namespace: str) -> bool:
        """Whether rollouts of a namespace may use it."""
        return any(fnmatchcase(namespace, glob) for glob in self.namespaces)


class SourcesConfig(FileModel):
    """The whole file."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _names_differ(self) -> SourcesConfig:
        names = [one.name for one in self.sources]
        double = [name for name in names if names.count(name) > 1]
        if double:
            raise ValueError(f"two sources are called {double[0]}: give each its own name")
        defaults = [one.name for one in self.sources if one.default]
        if len(defaults) > 1:
            raise ValueError(f"{' and '.join(defaults)} say default: true: only one can be the default")
        return self


def _plain_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or any(sign.isspace() for sign in url):
        raise ValueError("is no address: write it like https://prometheus.monitoring:9090")
    if "@" in parts.netloc:
        raise ValueError("an address is shown in statuses, so it holds no user and password: use basic")
    if parts.query or parts.fragment:
        raise ValueError("leave out what begins with ? or #: the API's own path is added to the address")
    return url.rstrip("/")


def load(path: Path) -> SourcesConfig:
    """Read the file.

    Raises
    ------
    ConfigError
        If it cannot be read, or says what is not understood.
    """
    return settings_file.load(path, SourcesConfig)


def single(url: str, *, allow_promql: bool, beside: Sequence[SourceConfig] = ()) -> SourcesConfig:
    """The sources when one is given by its URL alone: it is the default, beside those of a file.

    Raises
    ------
    ConfigError
    """
    try:
        one = SourceConfig.model_validate({"name": DEFAULT, "url": url, "default": True, "allowPromql": allow_promql})
        return SourcesConfig(sources=(one, *beside))
    except ValidationError as error:
        said = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors(include_input=False))
        raise ConfigError(f"--prometheus-url: {said}") from error
