"""The way to the operator's web page, as commands to paste: nothing is opened here and no token is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from modelrollout.cli.cluster import Cluster, Connection

__all__ = ["register"]

_ACCOUNT: Final = "rollout-viewer"
_AUDIENCE: Final = "modelrollout-web"
_PORT: Final = 8090


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the command to the others."""

    @cli.command()
    @click.option("--account", default=_ACCOUNT, show_default=True, help="ServiceAccount whose token lets you in.")
    @click.option("--system", default="modelrollout-system", show_default=True, help="Namespace of the operator.")
    @connected
    def web(account: str, system: str, to: Connection) -> int:
        """Print the commands that lead to the web page."""
        click.echo(commands(Cluster.connect(to).namespace, account, system, to.flags()))
        return 0


def commands(namespace: str, account: str, system: str, flags: str) -> str:
    """Rights, a token and a forwarded port, in the order in which they are needed."""
    return "\n".join(
        [
            f"# once: somebody who may look at the rollouts of namespace {namespace}, and at nothing else",
            f"kubectl{flags} create serviceaccount {account} -n {namespace}",
            f"kubectl{flags} create rolebinding {account} -n {namespace} --clusterrole=modelrollout-viewer "
            f"--serviceaccount={namespace}:{account}",
            "# a token that is good for this page alone, for an hour",
            f"kubectl{flags} create token {account} -n {namespace} --audience={_AUDIENCE} --duration=1h",
            f"# the way to the page, while this runs: http://localhost:{_PORT}",
            f"kubectl{flags} port-forward -n {system} service/modelrollout-web {_PORT}",
        ]
    )
