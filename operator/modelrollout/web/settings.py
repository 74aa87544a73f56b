"""Where the web page listens. Tokens travel to it, so what leaves the machine is encrypted or does not start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WebSettings"]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Address, port and, for TLS, the files of certificate and key."""

    host: str
    port: int
    cert: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, text: str, cert: Path | None = None, key: Path | None = None) -> WebSettings:
        """From ``ADDRESS:PORT``, like ``127.0.0.1:8090`` or ``[::]:8443``.

        Raises
        ------
        ValueError
            With a remedy, when it is no address and port, or when tokens would cross a network unencrypted.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f'"{text}" has no IP address: write ADDRESS:PORT, like 127.0.0.1:8090') from None
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ValueError(f'"{text}" has no port from 1 to 65535: write ADDRESS:PORT, like 127.0.0.1:8090')
        if (cert is None) != (key is None):
            raise ValueError("TLS needs both the certificate and the key: give both files or none")
        if cert is None and not address.is_loopback:
            raise ValueError(
                f"{host} can be reached from outside, and tokens would cross the network unencrypted: give the files "
                "of certificate and key, or listen on 127.0.0.1 and use kubectl port-forward"
            )
        return cls(host, int(port), cert, key)
