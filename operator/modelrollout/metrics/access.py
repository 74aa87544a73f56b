"""Who asks a source, and whom it believes: tokens, passwords, certificates. (OAuth2 is in ``oauth.py``.)

Everything secret stands in files (a mounted Secret) and is read again when the file changes, so that rotation needs no
restart. Nothing of it is ever part of a text: errors name the setting and the file, never what is in it, and what a
server says is shown only after :meth:`Credential.scrubbed`.

Sources: RFC 6750 (bearer), RFC 7617 (basic).
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["AccessError", "Basic", "Bearer", "Credential", "Read", "SecretFile", "Tls"]

_SHORTEST_SECRET: Final = 4
"""Shorter ones cannot be told from words."""
_LONGEST_SECRET: Final = 65_536


class AccessError(Exception):
    """The operator has not what it needs to ask; the text names setting and remedy, and holds no secret."""


class SecretFile:
    """A secret in a file, read again when the file changes."""

    def __init__(self, setting: str, path: Path) -> None:
        self._setting = setting
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._text = ""

    async def read(self) -> str:
        """The secret.

        Raises
        ------
        AccessError
        """
        try:
            found = self._path.stat()  # follows the link that the kubelet swaps
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen:
                if found.st_size > _LONGEST_SECRET:
                    raise AccessError(f"{self._setting}: {self._path} is too large for a secret")
                self._text, self._seen = self._path.read_text(encoding="utf-8").strip(), seen
        except OSError as error:
            raise AccessError(f"{self._setting}: {self._path} cannot be read ({error.strerror})") from error
        except UnicodeDecodeError:
            raise AccessError(f"{self._setting}: {self._path} is no text in UTF-8") from None
        if not self._text:
            raise AccessError(f"{self._setting}: {self._path} is empty")
        return self._text


Read = Callable[[], Awaitable[str]]


class Credential:
    """Asks without a name; its kinds ask with one."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    async def authorization(self) -> str:
        """The header's value; empty when there is none.

        Raises
        ------
        AccessError
        """
        return ""

    def renewed(self, refused: str) -> bool:
        """After ``refused`` was answered with 401: whether another try makes sense."""
        return False

    @property
    def remedy(self) -> str:
        """What to look at when the source refuses the operator."""
        return "it wants to know who asks: give the source bearer, basic or oauth2"

    async def close(self) -> None:
        """Close what it holds open."""

    def keep_secret(self, *secrets: str) -> None:
        """What no text may ever show."""
        self._secrets = tuple(sorted({one for one in secrets if len(one) >= _SHORTEST_SECRET}, key=len, reverse=True))

    def scrubbed(self, text: str) -> str:
        """A text of others, without the secrets that it may quote."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text


class Bearer(Credential):
    """A token."""

    def __init__(self, read: Read, setting: str) -> None:
        super().__init__()
        self._read = read
        self._setting = setting

    async def authorization(self) -> str:
        """See :class:`Credential`."""
        token = await self._read()
        self.keep_secret(token)
        if not token.isascii() or any(sign.isspace() or not sign.isprintable() for sign in token):
            raise AccessError(f"{self._setting}: holds no token (one line of ASCII without spaces)")
        return f"Bearer {token}"

    @property
    def remedy(self) -> str:
        """See :class:`Credential`."""
        return f"look at {self._setting}"


class Basic(Credential):
    """A user and a password."""

    def __init__(self, user: str, read: Read) -> None:
        super().__init__()
        self._user = user
        self._read = read

    async def authorization(self) -> str:
        """See :class:`Credential`."""
        password = await self._read()
        both = base64.b64encode(f"{self._user}:{password}".encode()).decode()
        self.keep_secret(password, both)
        return f"Basic {both}"

    @property
    def remedy(self) -> str:
        """See :class:`Credential`."""
        return "look at basic.user and basic.passwordFile"


@dataclass(slots=True)
class Tls:
    """Which certificates are believed and shown. Verification cannot be turned off: a CA file is as easy."""

    ca_file: Path | None = None
    """Instead of the system's."""
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    """The name in the server's certificate, where the address has another."""
    _made: tuple[tuple[int, ...], ssl.SSLContext] | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Made again when a file changes.

        Raises
        ------
        AccessError
        """
        times = tuple(_changed_at(path) for path in (self.ca_file, self.cert_file, self.key_file) if path is not None)
        if self._made is None or self._made[0] != times:
            self._made = (times, self._fresh())
        return self._made[1]

    def _fresh(self) -> ssl.SSLContext:
        try:
            made = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise AccessError(f"tls.caFile: {self.ca_file} holds no certificates (PEM)") from error
        if self.cert_file is not None:
            try:
                made.load_cert_chain(self.cert_file, self.key_file, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                text = f"tls.certFile, tls.keyFile: {self.cert_file} and {self.key_file} are no certificate and its key"
                raise AccessError(text) from error
        return made


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("the key has a password")


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise AccessError(f"tls: {path} cannot be read ({error.strerror})") from error
