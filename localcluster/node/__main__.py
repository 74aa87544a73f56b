"""``python -m localcluster.node``: the node's process, started by the cluster."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from localcluster import addresses
from localcluster.node import client as api
from localcluster.node.agent import Agent, Capacity
from localcluster.node.logs import serve
from localcluster.node.pod import NodeSettings

_PASSED_ON = ("LANG", "LC_ALL", "PYTHONPATH", "TZ")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m localcluster.node", description="Runs pods as processes.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cpu", required=True)
    parser.add_argument("--memory", required=True)
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--backoff", type=float, required=True)
    return parser.parse_args()


def _base_environment() -> dict[str, str]:
    """What every pod's process starts with: this very Python comes first, and nothing of the person's own."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, "PATH": path, "PYTHONUNBUFFERED": "1"}


async def _run(options: argparse.Namespace) -> None:
    host, port = addresses.KUBELET
    settings = NodeSettings(
        folder=options.folder,
        host_ip=host,
        backoff=options.backoff,
        base_environment=_base_environment(),
    )
    capacity = Capacity(cpu=options.cpu, memory=options.memory, pods=options.pods)
    async with api.from_kubeconfig(options.kubeconfig) as client:
        await asyncio.gather(
            Agent(client, settings, capacity, port).run(),
            serve(settings, host, port, options.folder / "certificates"),
        )


def main() -> None:
    """Run until killed."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_run(_options()))


if __name__ == "__main__":
    main()
