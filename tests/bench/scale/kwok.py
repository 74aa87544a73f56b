"""kwok, which plays kubelets: nodes are ready, pods are ready at once. Built when a bench first needs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from localcluster import LocalCluster
from localcluster.building import build
from localcluster.pins import Tool
from localcluster.process import Program

__all__ = ["NODES", "TOOL", "nodes", "program"]

NODES: Final = 4
"""Any number would do; a few, so that the scheduler has something to choose from."""
_HERE: Final = Path(__file__).parent
TOOL: Final = Tool(
    "kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.8.0", minimum=(0, 8), estimate_seconds=180, root=_HERE
)


def nodes() -> list[dict[str, Any]]:
    """The nodes, for kwok to make ready."""
    return [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"kwok-{number}"}} for number in range(NODES)]


def program(cluster: LocalCluster) -> Program:
    """kwok for all nodes. Must have been built before: there is no network in the cluster's namespace."""
    arguments = [str(build(TOOL)), f"--kubeconfig={cluster.kubeconfig}", f"--config={_HERE / 'kwok' / 'stages.yaml'}"]
    arguments += ["--manage-all-nodes=true", "--node-lease-duration-seconds=40", "--cidr=10.244.0.1/16"]
    return Program("kwok", arguments, cluster.folder / "logs" / "kwok.log", dict(os.environ))
