"""Where an address that a tenant gave may lead: only to hosts that whoever runs the operator has named, and never to
the machine that the operator runs on or to its cloud's metadata service.

Otherwise a rollout's author could make the operator, with its place in the network, call anything. The name is compared
first, on any port. Then what the name leads to is looked at, at the moment of connecting and for that very connection,
so that a name that resolves to something else a second later (DNS rebinding) wins nothing. Private networks are not
refused: in-cluster services live there, and it is the name that was allowed. Redirects are followed nowhere.

Sources: RFC 6890 (special-purpose addresses), OWASP's cheat sheet on server-side request forgery.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["AddressError", "Resolver", "allowed", "is_forbidden"]

_METADATA: Final = tuple(
    ip_network(one)
    for one in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google Cloud
        "fd00:42::42/128",  # Scaleway
    )
)
"""Metadata services that are not link-local, as most are."""
_NAT64: Final = ip_network("64:ff9b::/96")
_6TO4: Final = ip_network("2002::/16")
_LONGEST_HOST: Final = 253
"""Source: RFC 1035, 2.3.4 (255 octets, with the length of the labels)."""
_THREADS: Final = 2
"""Of each resolver: names that take half a minute to fail must not keep others from being looked up."""


class AddressError(Exception):
    """An address that may not be called. The text is fit for people; it names the host at most, because the rest of an
    address may be a secret."""


def allowed(url: str, globs: tuple[str, ...], *, flag: str, what: str) -> str:
    """The address, if its host is among those allowed. ``flag``: the operator's flag that allows a host. ``what``: who
    calls, for people.

    Raises
    ------
    AddressError
    """
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme, (parts.hostname or "").lower(), parts.port
    except ValueError:
        scheme, host = "", ""
    odd = "%" in host or len(host) > _LONGEST_HOST or any(sign.isspace() or sign == "\\" for sign in url)
    if scheme not in ("http", "https") or not host or odd:
        raise AddressError("is no address: it must be one URL, https://…")
    fitting = [glob for glob in globs if fnmatchcase(host, glob.split("://")[-1].lower())]
    if not fitting:
        names = ", ".join(globs) or "none"
        text = f"host {host} is not among those that {what} may call ({names})"
        raise AddressError(f"{text}: ask whoever runs the operator for {flag} {host}")
    if scheme == "http" and not any(glob.startswith("http://") for glob in fitting):
        text = f"the address of {host} begins with http://: use https://, or let whoever runs the operator allow it"
        raise AddressError(f"{text} ({flag} http://{host})")
    exact = any(glob.split("://")[-1].lower() == host for glob in fitting)
    if _is_number(host) and is_forbidden(host, loopback=exact):
        raise AddressError(f"host {host} is the operator's own machine or a metadata service, which nobody may call")
    return url


def is_forbidden(address: str, *, loopback: bool = False) -> bool:
    """Whether nobody may call that address. ``loopback``: whether the operator's own machine may be called."""
    try:
        found = _meant(ip_address(address.split("%")[0]))
    except ValueError:
        return True
    if found.is_loopback:
        return not loopback
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return True
    return any(found in network for network in _METADATA if network.version == found.version)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one only wraps."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _6TO4 and address.sixtofour is not None:
        return address.sixtofour
    return address


def _is_number(host: str) -> bool:
    """Whether a host is an address itself, in any spelling that the system's resolver understands (0x7f.1)."""
    try:
        ip_address(host)
    except ValueError:
        try:
            socket.inet_aton(host)
        except OSError:
            return False
    return True


class Resolver(AbstractResolver):
    """Looks names up in threads of its own; with ``guarded``, gives no address that nobody may call."""

    def __init__(self, *, guarded: bool = False) -> None:
        self._guarded = guarded
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, for one connection.

        Raises
        ------
        OSError
            If there is none, or none that may be called.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port, family)
        if not self._guarded:
            return found
        kept = [one for one in found if not is_forbidden(one["host"])]
        if found and not kept:
            raise OSError(f"{host} leads to the operator's own machine or a metadata service, which nobody may call")
        return kept

    async def close(self) -> None:
        """Let the threads end when they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    # AI_ADDRCONFIG, as aiohttp's own resolver asks: no IPv6 addresses on a machine without IPv6.
    found: list[Any] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return [
        ResolveResult(
            hostname=host, host=str(address[0]), port=int(address[1]), family=kind, proto=protocol, flags=flags
        )
        for kind, _, protocol, _, address in found
    ]
