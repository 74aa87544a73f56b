"""``modelrollout check``: would this release work here? Looked at from outside, with whatever rights there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.text import Text

from modelrollout.cli import show
from modelrollout.cli.cluster import Cluster, Connection
from modelrollout.cli.errors import FAILED, CliError
from modelrollout.cli.lint import read_texts

if TYPE_CHECKING:
    from modelrollout.check.found import Result

__all__ = ["register"]

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}
_HELP = """Look at everything that a release needs, before it begins.

The manifest (as lint does), the operator and its CRDs, the namespace, quota, gateway and route, what is adopted, and
with --prometheus every gate's metrics on the version that serves now. Nothing is written; what you have no right to
see is skipped, and the right is named. Exit code 1 when something fails.
"""


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the command. ``connected`` gives it the flags for the cluster."""
    command = connected(_check)
    for decorate in (
        click.option("-f", "--filename", "files", multiple=True, required=True, help="A manifest, a folder, or -."),
        click.option("--prometheus", help="URL of the Prometheus (Thanos, Mimir) that the operator asks."),
        click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print."),
    ):
        command = decorate(command)
    cli.command("check", help=_HELP)(command)


def _check(files: Sequence[str], prometheus: str | None, output: str, to: Connection) -> int:
    from modelrollout.check.everything import everything, from_lint
    from modelrollout.check.found import State
    from modelrollout.lint.manifests import Severity, lint

    linted = lint(read_texts(files))
    rollouts = [one for one in linted.objects if one.get("kind") == "ModelRollout"]
    if not rollouts and not linted.findings:
        raise CliError(f"there is no ModelRollout in {', '.join(files)}", "give the file that you would apply")
    found: list[tuple[str, Result]] = [("", one) for one in from_lint(linted.findings)]
    if not any(one.severity is Severity.ERROR for one in linted.findings):
        cluster = Cluster.connect(to)
        for manifest in rollouts:
            namespace = to.namespace or manifest["metadata"].get("namespace") or cluster.namespace
            name = f"{namespace}/{manifest['metadata']['name']}"
            found += [(name, one) for one in everything(cluster, manifest, namespace, prometheus)]
    failed = sum(one.state is State.FAIL for _, one in found)
    if output == "json":
        click.echo(json.dumps([{"object": name} | one.summary() for name, one in found], indent=2, ensure_ascii=False))
    else:
        console = click.get_current_context().obj
        assert isinstance(console, Console)
        console.print(_table(found, several=len(rollouts) > 1))
        click.echo(_sentence(found, failed))
    return FAILED if failed else 0


def _table(found: Sequence[tuple[str, Result]], *, several: bool) -> RenderableType:
    first = ("OBJECT",) if several else ()
    table = show.plain_table(*first, "CHECK", "STATE", "WHAT", "REMEDY")
    for name, one in found:
        state = Text(str(one.state), _STYLES[str(one.state)])
        table.add_row(*((name,) if several else ()), one.check, state, one.what, one.remedy)
    return table


def _sentence(found: Sequence[tuple[str, Any]], failed: int) -> str:
    warned = sum(str(one.state) == "warn" for _, one in found)
    skipped = sum(str(one.state) == "skipped" for _, one in found)
    left = f", {skipped} not looked at" if skipped else ""
    return f"{len(found)} checks: {failed} failed, {warned} to be known{left}"
