"""The one part of the kubelet's own API that people miss: ``kubectl logs``."""

import asyncio
import ssl
from collections import deque
from pathlib import Path

from aiohttp import web

from localcluster.node.pod import NodeSettings

_POLL_SECONDS = 0.2


async def serve(settings: NodeSettings, host: str, port: int, certificates: Path) -> None:
    """Serve the pods' logs to the API server until cancelled."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificates / "apiserver.crt", certificates / "apiserver.key")
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", lambda request: _logs(request, settings))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=tls).start()
    await asyncio.Event().wait()


async def _logs(request: web.Request, settings: NodeSettings) -> web.StreamResponse:
    log = settings.log(request.match_info["namespace"], request.match_info["pod"])
    if not log.exists():
        return web.Response(status=404, text="this pod has not written a log\n")
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    with log.open("rb") as file:
        lines = request.query.get("tailLines")
        if lines is not None:
            await answer.write(b"".join(deque(file, maxlen=int(lines))))
        while True:
            chunk = file.read(1 << 16)
            if chunk:
                await answer.write(chunk)
            elif request.query.get("follow") == "true":
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return answer
