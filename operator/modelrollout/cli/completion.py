"""What Tab offers: commands and flags by click, and names, revisions, gates and freezes from the cluster.

Whoever presses Tab asked for no error message: without a cluster, or with a slow one, nothing is offered, soon and in
silence.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from modelrollout.api.meta import LABEL_NAME, LABEL_REVISION
from modelrollout.cli.cluster import DEPLOYMENTS, FREEZES, ROLLOUTS, Cluster, Connection

__all__ = ["VARIABLE", "for_kubectl", "freezes", "gates", "namespaces", "register", "revisions", "rollouts"]

VARIABLE: Final = "_MODELROLLOUT_COMPLETE"
"""By which the shell's script asks the command what to offer."""
_PATIENCE_SECONDS: Final = 3.0
_NO_FILES: Final = ":4"
"""kubectl's word for: these, and no names of files (cobra's ShellCompDirectiveNoFileComp)."""

_Offer = tuple[str, str]
"""What to type, and what it is."""


def _completer(look: Callable[[Cluster, click.Context], Iterable[_Offer]]) -> Callable[..., list[CompletionItem]]:
    """A look at the cluster as click wants it: in time, and never with an error."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: list[_Offer] = []

        def ask() -> None:
            try:
                given = (ctx.params.get(one) for one in ("kubeconfig", "context", "namespace"))
                found.extend(look(Cluster.connect(Connection(*given)), ctx))
            except Exception:
                return  # no cluster, no rights, no such object: there is nothing to offer

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(_PATIENCE_SECONDS)
        return [CompletionItem(value, help=text or None) for value, text in list(found) if value.startswith(incomplete)]

    return complete


def _rollouts(cluster: Cluster, ctx: click.Context) -> Iterable[_Offer]:
    for body in cluster.find(ROLLOUTS):
        status = body.get("status") or {}
        yield str(body["metadata"]["name"]), f"{status.get('phase', '')} {body['spec']['model']['version']}".strip()


def _namespaces(cluster: Cluster, ctx: click.Context) -> Iterable[_Offer]:
    return [(name, "") for name in sorted({body["metadata"]["namespace"] for body in _everywhere(cluster)})]


def _everywhere(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.find(ROLLOUTS, everywhere=True)


def _named(ctx: click.Context) -> str:
    """The rollout that was typed; click leaves it among the rest while the value of a flag is being typed."""
    return str(ctx.params.get("name") or next(iter(ctx.args), ""))


def _revisions(cluster: Cluster, ctx: click.Context) -> Iterable[_Offer]:
    """Revisions that are kept: what an undo can go back to."""
    for body in cluster.find(DEPLOYMENTS, labels=f"{LABEL_NAME}={_named(ctx)}"):
        metadata = body["metadata"]
        version = (metadata.get("annotations") or {}).get("modelrollout.io/version", "?")
        yield str(metadata["labels"][LABEL_REVISION]), f"version {version}"


def _gates(cluster: Cluster, ctx: click.Context) -> Iterable[_Offer]:
    status = cluster.rollout(_named(ctx)).get("status") or {}
    return [(str(gate["name"]), str(gate.get("verdict", ""))) for gate in status.get("gates") or []]


def _freezes(cluster: Cluster, ctx: click.Context) -> Iterable[_Offer]:
    return [
        (str(one["metadata"]["name"]), str(one["spec"]["reason"])) for one in cluster.find(FREEZES, everywhere=True)
    ]


rollouts, namespaces, revisions = _completer(_rollouts), _completer(_namespaces), _completer(_revisions)
gates, freezes = _completer(_gates), _completer(_freezes)


def register(cli: click.Group) -> None:
    """Add the command that prints a shell's script."""

    @cli.command()
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> int:
        """Print what makes SHELL complete this command.

        \b
        bash:  source <(modelrollout completion bash)
        zsh:   source <(modelrollout completion zsh)
        fish:  modelrollout completion fish | source

        The plugin of kubectl needs no more than kubectl_complete-modelrollout on the PATH, where pip puts it.
        """
        script = get_completion_class(shell)
        assert script is not None
        click.echo(script(cli, {}, "modelrollout", VARIABLE).source())
        return 0


def for_kubectl() -> None:
    """What ``kubectl_complete-modelrollout`` prints: kubectl runs it with the words after the plugin's name, the last
    of which is being typed.

    Source: Kubernetes documentation, "Extend kubectl with plugins", completion.
    """
    from modelrollout.cli.main import cli

    *words, incomplete = sys.argv[1:] or [""]
    shell = ShellComplete(cli, {}, "kubectl modelrollout", VARIABLE)
    for item in shell.get_completions(words, incomplete):
        click.echo(f"{item.value}\t{item.help}" if item.help else item.value)
    click.echo(_NO_FILES)
