"""The page in the operator: it outlasts its own troubles, and they are nobody else's."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from modelrollout.controller.page import Page
from modelrollout.controller.store import Store
from modelrollout.web import server
from modelrollout.web.access import Access
from modelrollout.web.readings import Readings
from modelrollout.web.server import WebPage
from modelrollout.web.settings import WebSettings
from tests.unit.cli.states import NOW
from tests.unit.web.cluster import Known, Reviews
from tests.unit.web.test_readings import ROLLOUT, look


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(server, "_RENEW_SECONDS", 0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@asynccontextmanager
async def running(settings: WebSettings) -> AsyncIterator[None]:
    task = asyncio.create_task(WebPage(settings, Known(), Readings(), Access(Reviews())).run())
    yield
    assert not task.done(), "it never ends by itself"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(check: Callable[[], Any]) -> Any:
    for _ in range(200):
        try:
            return await check()
        except (aiohttp.ClientError, OSError):
            await asyncio.sleep(0.05)
    raise AssertionError("it did not come")


async def _status(url: str, context: ssl.SSLContext | bool = True) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        return answer.status


async def _said_to_be_off(caplog: pytest.LogCaptureFixture) -> None:
    if "the web page is off" not in caplog.text:
        raise OSError("not yet")


async def test_a_port_that_is_taken_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    holder = socket.create_server(("127.0.0.1", port))
    async with running(WebSettings.parse(f"127.0.0.1:{port}")):
        await until(lambda: _said_to_be_off(caplog))
        holder.close()
        assert await until(lambda: _status(f"http://127.0.0.1:{port}/")) == 200
    assert "Traceback" not in caplog.text


def _certificate(folder: Path, name: str) -> None:
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path) -> None:
    port = free_port()
    _certificate(tmp_path, "first")
    settings = WebSettings.parse(f"0.0.0.0:{port}", tmp_path / "tls.crt", tmp_path / "tls.key")
    async with running(settings):
        url = f"https://127.0.0.1:{port}/"
        assert await until(lambda: _status(url, ssl.create_default_context(cafile=tmp_path / "tls.crt"))) == 200
        _certificate(tmp_path, "second")
        assert await until(lambda: _status(url, ssl.create_default_context(cafile=tmp_path / "tls.crt"))) == 200
        with pytest.raises((aiohttp.ClientError, OSError)):
            await _status(f"http://127.0.0.1:{port}/")


async def test_without_its_certificate_the_page_waits_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    settings = WebSettings.parse(f"127.0.0.1:{port}", tmp_path / "tls.crt", tmp_path / "tls.key")
    async with running(settings):
        await until(lambda: _said_to_be_off(caplog))
        _certificate(tmp_path, "late")
        context = ssl.create_default_context(cafile=tmp_path / "tls.crt")
        assert await until(lambda: _status(f"https://127.0.0.1:{port}/", context)) == 200


def test_a_fault_of_the_page_is_nobody_elses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    nothing = cast(Any, None)
    page = Page(WebSettings.parse("127.0.0.1:8090"), nothing, Store(), nothing)

    def broken(self: Readings, rollout: object, status: object, now: datetime) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(Readings, "note", broken)
    with caplog.at_level(logging.ERROR):
        page.note(ROLLOUT, look(NOW))
    assert "could not note the readings" in caplog.text
