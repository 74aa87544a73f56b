"""Addresses that tenants give: not to the operator's own machine, nor to any metadata service."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest

from modelrollout.addresses import AddressError, Resolver, allowed, is_forbidden
from modelrollout.transport import words

_FORBIDDEN = [
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "169.254.170.2",
    "0.0.0.0",
    "224.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "no address",
]


@pytest.mark.parametrize("address", _FORBIDDEN)
def test_nobody_may_call(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "192.168.1.1", "172.16.3.4", "93.184.216.34", "2001:db8::1", "fd12::9"]
)
def test_services_of_the_cluster_and_of_the_world_may_be_called(address: str) -> None:
    assert not is_forbidden(address)


def _allowed(url: str, *globs: str) -> str:
    return allowed(url, globs, flag="--metric-hosts", what="rollouts' own metrics")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "http://[::ffff:a9fe:a9fe]/latest",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://2852039166/",
        "http://0251.0376.0251.0376/",
        "http://127.1/",
        "http://[::1]:8080/",
    ],
)
def test_a_wildcard_opens_no_way_to_the_metadata_service(url: str) -> None:
    with pytest.raises(AddressError, match="nobody may call"):
        _allowed(url, "http://*")


def test_the_operators_own_machine_is_open_only_by_its_exact_name() -> None:
    assert _allowed("http://127.0.0.1:9090", "http://127.0.0.1")
    with pytest.raises(AddressError):
        _allowed("http://127.0.0.1:9090", "http://127.*")
    with pytest.raises(AddressError):
        _allowed("http://169.254.169.254", "http://169.254.169.254")


def _leads_to(*hosts: str) -> Any:
    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in hosts]

    return look_up


async def test_a_name_that_leads_to_the_metadata_service_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """The very addresses that are connected to are looked at, so that a name that changes in between wins nothing."""
    monkeypatch.setattr(socket, "getaddrinfo", _leads_to("169.254.169.254", "127.0.0.1"))
    connector = aiohttp.TCPConnector(resolver=Resolver(guarded=True))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get("http://prometheus.team.example/")
    assert "leads to the operator's own machine or a metadata service" in words(caught.value)


async def test_of_several_addresses_only_those_that_may_be_called_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _leads_to("169.254.169.254", "10.0.0.7"))
    for guarded, left in ((True, ["10.0.0.7"]), (False, ["169.254.169.254", "10.0.0.7"])):
        resolver = Resolver(guarded=guarded)
        assert [one["host"] for one in await resolver.resolve("a.example", 80)] == left
        await resolver.close()


async def test_a_name_that_does_not_exist_is_said_in_words() -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver())) as session:
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await session.get("http://nobody.invalid/")
    assert "name" in words(caught.value)
    assert "unknown error" not in words(caught.value)
