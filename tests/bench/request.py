"""CPU time of one request to the API server: the operator's client beside ``kubernetes.aio``'s own ``call_api``.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.request [--requests 1000]

A status of 20 gates is sent as a JSON patch to a small HTTP server in a process of its own; both clients in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from kubernetes.aio.client import ApiClient, Configuration

from localcluster import eventually
from modelrollout.kube.client import Kube

_SERVER = """
import sys
from aiohttp import web
async def answer(request):
    await request.read()
    return web.json_response({"metadata": {"resourceVersion": "1"}, "status": {"message": "m" * 2000}})
app = web.Application()
app.router.add_route("*", "/{tail:.*}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
_GATES = [{"name": f"gate-{number}", "value": "0.0123", "message": "m" * 100} for number in range(20)]
_OPS: list[dict[str, Any]] = [{"op": "add", "path": "/status", "value": {"gates": _GATES}}]


async def _measure(port: int, requests: int) -> None:
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    configuration.api_key["BearerToken"] = "Bearer token"
    kube, api = Kube(configuration, qps=1e9, burst=10**9), ApiClient(configuration)

    async def ours() -> None:
        await kube.json_patch("/x", _OPS)

    async def theirs() -> None:
        request = await api.param_serialize(
            method="PATCH",
            resource_path="/x",
            query_params=[("fieldManager", "modelrollout")],
            header_params={"Content-Type": "application/json-patch+json", "Accept": "application/json"},
            body=_OPS,
            auth_settings=["BearerToken"],
        )
        json.loads(await (await api.call_api(*request, _request_timeout=15)).read())

    ways: list[tuple[str, Callable[[], Awaitable[None]]]] = [("call_api", theirs), ("ours", ours)]
    for name, way in [*ways, *ways]:
        await way()
        begun = time.process_time()
        for _ in range(requests):
            await way()
        print(f"{name:10} {1000 * (time.process_time() - begun) / requests:6.2f} ms of CPU a request", flush=True)
    await api.close()
    await kube.close()


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    given = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(port)]) as server:
        try:
            eventually(lambda: _answers(port), "the server")
            asyncio.run(_measure(port, given.requests))
        finally:
            server.kill()


if __name__ == "__main__":
    main()
