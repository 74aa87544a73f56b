"""``kubectl modelrollout …`` and ``modelrollout …``: the same command by two names.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 124 timed out, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import yaml
from rich.console import Console, RenderableType

from modelrollout.api.enums import Action
from modelrollout.api.grammar import parse_duration
from modelrollout.cli import (
    approvals,
    check,
    completion,
    decisions,
    follow,
    freezes,
    incidents,
    init,
    lab,
    lint,
    show,
    tables,
    view,
    web,
)
from modelrollout.cli.cluster import ROLLOUTS, Cluster, Connection
from modelrollout.cli.errors import FAILED, USAGE, CliError
from modelrollout.screen.verbs import DOES, Said, manifest, plain_command

__all__ = ["cli", "main"]

_INTERRUPTED: Final = 130
_OUTCOME_SECONDS: Final = 5.0
_PIPE_WIDTH: Final = 200
_DEBUG: Final = "MODELROLLOUT_DEBUG"


class _Name(click.ParamType[str]):
    """A ModelRollout's name, also as kubectl prints it (``modelrollout.modelrollout.io/ranker``)."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value.rsplit("/", 1)[-1]


class _Duration(click.ParamType[float]):
    """Seconds, from a duration as in a manifest."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _connected(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command kubectl's flags for the cluster, and what they say as its argument ``to``."""

    @click.option(
        "-n", "--namespace", help="Namespace; the context's own when absent.", shell_complete=completion.namespaces
    )
    @click.option("--context", help="Context of the kubeconfig.")
    @click.option("--kubeconfig", type=click.Path(), help="Kubeconfig file; KUBECONFIG or ~/.kube/config when absent.")
    @click.option("--no-color", is_flag=True, help="No colours; NO_COLOR in the environment does the same.")
    @functools.wraps(command)
    def with_flags(
        *args: Any, namespace: str | None, context: str | None, kubeconfig: str | None, no_color: bool, **rest: Any
    ) -> int:
        click.get_current_context().obj = _console(plain=no_color)
        return command(*args, to=Connection(kubeconfig, context, namespace), **rest)

    return with_flags


def _console(*, plain: bool) -> Console:
    plain = plain or bool(os.environ.get("NO_COLOR"))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return show.PlainWords(color_system=None if plain else "auto", width=width, soft_wrap=False)


def _out() -> Console:
    console = click.get_current_context().obj
    assert isinstance(console, Console)
    return console


_format = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="How to print."
)
_name = click.argument("name", type=_Name(), shell_complete=completion.rollouts)


def _print(output: str, body: dict[str, Any], table: Callable[[], RenderableType]) -> None:
    """An object as it is, or as a person wants to see it."""
    if output == "json":
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), nl=False)
    else:
        _out().print(table())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Releases of machine-learning models: what serves, why it stopped, and what to do about it."""


@cli.command()
@_name
@click.option("-w", "--watch", is_flag=True, help="Follow it until ^C.")
@_format
@_connected
def status(name: str, watch: bool, output: str, to: Connection) -> int:
    """Who serves users now, what happened, and what happens next."""
    if watch and output != "table":
        raise click.UsageError(
            f"--watch prints no {output}; leave -o out, or use `kubectl get mro {name} -w -o {output}`"
        )
    cluster = Cluster.connect(to)
    if watch:
        console = _out()
        if console.is_terminal and not console.is_dumb_terminal:
            return follow.live(cluster, name, console)
        return follow.lines(cluster, name, click.echo)
    body = cluster.rollout(name)
    _print(output, body, lambda: view.screen(view.read(body, cluster.deployments(name), datetime.now(UTC))))
    return 0


@cli.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@_format
@_connected
def list_rollouts(all_namespaces: bool, output: str, to: Connection) -> int:
    """Every ModelRollout of a namespace."""
    cluster = Cluster.connect(to)
    bodies = cluster.find(ROLLOUTS, everywhere=all_namespaces)
    if not bodies and output == "table":
        where = "this cluster" if all_namespaces else f"namespace {cluster.namespace}"
        click.echo(f"no ModelRollout in {where}", err=True)
        return 0
    whole = {"apiVersion": "v1", "kind": "List", "items": bodies}
    _print(output, whole, lambda: tables.rollouts(bodies, datetime.now(UTC), everywhere=all_namespaces))
    return 0


@cli.command()
@_name
@_format
@_connected
def history(name: str, output: str, to: Connection) -> int:
    """Past releases, and what humans said of them."""
    cluster = Cluster.connect(to)
    body, said = cluster.rollout(name), cluster.decisions(name)
    whole = {"history": (body.get("status") or {}).get("history", []), "decisions": said}
    _print(output, whole, lambda: tables.history(view.read(body, [], datetime.now(UTC)), said))
    return 0


@cli.command()
@_name
@click.option("--timeout", type=_Duration(), help="Give up after this time (30m, 2h); never when absent.")
@_connected
def wait(name: str, timeout: float | None, to: Connection) -> int:
    """Wait for the end of a release. Exit code 0: stable, 1: rolled back or stalled, 124: timed out."""
    return follow.until_done(Cluster.connect(to), name, timeout, click.echo)


def _decide(name: str, said: Said, to: Connection, *, no_wait: bool) -> int:
    """Write the decision, show what it is in plain kubectl, and tell what became of it."""
    cluster = Cluster.connect(to)
    body = cluster.rollout(name)
    rollout = view.read(body, [], datetime.now(UTC)).rollout
    if said.revision:
        deployments = cluster.deployments(name) or []
        said = replace(said, revision=decisions.resolve_revision(rollout, deployments, said.revision))
    decision = manifest(rollout, said, cluster.whoami())
    click.echo(f"# the same with kubectl alone:\n{plain_command(decision, to.flags())}\n")
    created = cluster.create_decision(decision)
    click.echo(f"rolloutdecision/{created['metadata']['name']} created")
    if no_wait:
        return 0
    done = decisions.outcome(cluster, created, _OUTCOME_SECONDS)
    state = done.get("status") or {}
    if state.get("state"):
        click.echo(f"{state['state']}: {state.get('message', '')}")
    else:
        click.echo(
            f"not acted on within {_OUTCOME_SECONDS:.0f} s; is the operator running? The decision stays valid for 10m. "
            f"See what becomes of it: kubectl get mrd -n {rollout.namespace} {created['metadata']['name']}",
            err=True,
        )
    return decisions.exit_code(done)


_comment = click.option("-m", "--comment", default="", help="Why; it stays on record.")
_no_wait = click.option("--no-wait", is_flag=True, help="Do not wait for what becomes of it.")


def _verb(action: Action) -> None:
    """A command for a decision that needs nothing but the rollout."""

    @cli.command(str(action), help=DOES[action])
    @_name
    @_comment
    @_no_wait
    @_connected
    def command(name: str, comment: str, no_wait: bool, to: Connection) -> int:
        return _decide(name, Said(action, comment), to, no_wait=no_wait)


_verb(Action.PAUSE)
_verb(Action.RESUME)
_verb(Action.ABORT)
_verb(Action.RETRY)


@cli.command()
@_name
@click.option("--full", is_flag=True, help="Skip every step that is left.")
@click.option("--override-freeze", is_flag=True, help="Over a freeze and outside the window too; needs a comment.")
@click.option(
    "--accept-breached",
    "accepted",
    multiple=True,
    metavar="GATE",
    shell_complete=completion.gates,
    help="With --full: this gate's breach does nothing any more; may be given again; needs a comment.",
)
@_comment
@_no_wait
@_connected
def promote(
    name: str,
    full: bool,
    override_freeze: bool,
    accepted: tuple[str, ...],
    comment: str,
    no_wait: bool,
    to: Connection,
) -> int:
    """End the current step now and go to the next one."""
    if (override_freeze or accepted) and not comment.strip():
        raise click.UsageError("who overrules a freeze or a breached gate says why: give -m WHY")
    if accepted and not full:
        raise click.UsageError("--accept-breached is for --full: add --full, or leave it out")
    said = Said(Action.PROMOTE, comment, full=full, override_freeze=override_freeze, accept_breached=tuple(accepted))
    return _decide(name, said, to, no_wait=no_wait)


@cli.command()
@_name
@click.argument("revision", default="", shell_complete=completion.revisions)
@_comment
@_no_wait
@_connected
def undo(name: str, revision: str, comment: str, no_wait: bool, to: Connection) -> int:
    """Go back to what served before, or to REVISION.

    REVISION is its first digits, or its version. It holds until spec names another.
    """
    return _decide(name, Said(Action.UNDO, comment, revision=revision), to, no_wait=no_wait)


approvals.register(cli, _connected, _decide)
lab.register(cli, _connected)
web.register(cli, _connected)
freezes.register(cli, _connected)
check.register(cli, _connected)
completion.register(cli)
lint.register(cli)
init.register(cli, _connected)
incidents.register(cli, _connected)


def main() -> None:
    """Run, and end the process: whatever goes wrong is said in one line with a remedy, never as a traceback."""
    program = "kubectl modelrollout" if Path(sys.argv[0]).name.startswith("kubectl-") else "modelrollout"
    try:
        code = cli.main(prog_name=program, complete_var=completion.VARIABLE, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = USAGE
    except CliError as error:
        click.echo(f"error: {error.message}\n  {error.remedy}", err=True)
        code = error.code
    except (KeyboardInterrupt, click.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        if os.environ.get(_DEBUG):
            raise
        click.echo(f"error: {type(error).__name__}: {error}\n  this is a bug; {_DEBUG}=1 shows where", err=True)
        code = FAILED
    sys.exit(code)


if __name__ == "__main__":
    main()
