"""A small HTTP server of the operator, for machines: health and metrics. GET only, and nothing of a request is used."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

__all__ = ["Address", "Handler", "serve"]

_log = logging.getLogger(__name__)

Handler = Callable[[], Awaitable[web.Response]]
_AGAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From ``ADDRESS:PORT``, like ``0.0.0.0:8081`` or ``[::]:8081``.

        Raises
        ------
        ValueError
            With a remedy, when it is no address and port.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f'"{text}" has no IP address: write ADDRESS:PORT, like 0.0.0.0:8081') from None
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            raise ValueError(f'"{text}" has no port from 1 to 65535: write ADDRESS:PORT, like 0.0.0.0:8081')
        return cls(host, int(port))


async def serve(address: Address, routes: Mapping[str, Handler], what: str) -> None:
    """Serve until cancelled. A port that is taken stops no release: it is said, and tried again."""
    while True:
        runner = web.AppRunner(_application(routes), access_log=None, shutdown_timeout=1.0, keepalive_timeout=30.0)
        try:
            await runner.setup()
            await web.TCPSite(runner, address.host, address.port).start()
            _log.info("%s at http://%s:%d%s", what, address.host, address.port, " ".join(routes))
            await asyncio.Event().wait()
        except OSError as error:
            _log.error("no %s, trying again in %.0f s: %s", what, _AGAIN_SECONDS, error)
        finally:
            await runner.cleanup()
        await asyncio.sleep(_AGAIN_SECONDS)


def _application(routes: Mapping[str, Handler]) -> web.Application:
    app = web.Application(client_max_size=1024)
    for path, handler in routes.items():
        app.router.add_get(path, _answering(handler))
    return app


def _answering(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return await handler()

    return answer
