"""Stop the line, and start it again: ``freeze``, ``unfreeze``, ``freezes``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from modelrollout.api.grammar import parse_duration
from modelrollout.api.meta import GROUP, LABEL_FREEZE, VERSION
from modelrollout.api.objects import Frozen, parse_time
from modelrollout.cli import completion, tables
from modelrollout.cli.cluster import FREEZES, Cluster, Connection
from modelrollout.cli.errors import CliError
from modelrollout.screen.verbs import plain_command

__all__ = ["register"]

_HOW = "write a duration like 2h or 90m, or a time with its time zone like 2026-11-30T09:00:00+01:00"


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the commands. ``connected`` gives a command the flags for the cluster."""
    made = connected(_freeze)
    for decorate in (
        click.option("--only-namespace", "only", multiple=True, help="Only there, not everywhere; may be given again."),
        click.option("--until", "until", default="", help="When it ends by itself: a duration (2h) or a time."),
        click.option("-m", "--reason", required=True, help="Why; it is shown wherever a rollout waits for it."),
        click.argument("name", default=""),
    ):
        made = decorate(made)
    cli.command("freeze")(made)
    cli.command("unfreeze")(click.argument("name", default="", shell_complete=completion.freezes)(connected(_unfreeze)))
    cli.command("freezes")(connected(_freezes))


def _freeze(name: str, reason: str, until: str, only: Sequence[str], to: Connection) -> int:
    """Stop the line: nothing goes up until it is lifted. Everywhere, or with --only-namespace there; rollbacks go on.

    NAME is the freeze's name; one is made up when it is left out.
    """
    if to.namespace:
        raise click.UsageError(f"a freeze is for the whole cluster; to narrow it: --only-namespace {to.namespace}")
    ends = _when(until) if until else None
    cluster = Cluster.connect(to)
    body = _manifest(name, reason, ends, only, cluster.whoami())
    click.echo(f"# the same with kubectl alone:\n{plain_command(body, to.flags())}\n")
    made = cluster.create_in_cluster(FREEZES, body)["metadata"]["name"]
    where = f"in {', '.join(only)}" if only else "in the whole cluster"
    lasts = f"until {ends:%Y-%m-%d %H:%M:%S} UTC" if ends else "until you lift it"
    click.echo(f"rolloutfreeze/{made} created: nothing goes up {where} {lasts}; rollbacks go on")
    click.echo(f"lift it: kubectl modelrollout unfreeze {made}")
    return 0


def _manifest(name: str, reason: str, until: datetime | None, only: Sequence[str], author: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"reason": reason}
    if until is not None:
        spec["until"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
    if only:
        spec["namespaces"] = list(only)
    if author:
        spec["author"] = author
    metadata = {"name": name} if name else {"generateName": "freeze-"}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RolloutFreeze", "metadata": metadata, "spec": spec}


def _when(text: str) -> datetime:
    """The end of a freeze, from a duration or a time."""
    now = datetime.now(UTC)
    try:
        return now + parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f'--until "{text}" is neither a duration nor a time; {_HOW}') from error
    if at.tzinfo is None:
        raise click.UsageError(f'--until "{text}" says no time zone; {_HOW}')
    if at <= now + timedelta(seconds=1):
        raise click.UsageError(f'--until "{text}" is over already; {_HOW}')
    return at.astimezone(UTC)


def _unfreeze(name: str, to: Connection) -> int:
    """Lift a freeze. NAME may be left out when there is only one."""
    cluster = Cluster.connect(to)
    names = [str(one["metadata"]["name"]) for one in cluster.find(FREEZES, everywhere=True)]
    if not names:
        labelled = f"a namespace may be labelled: kubectl get ns -l {LABEL_FREEZE}=true"
        raise CliError("there is no RolloutFreeze", labelled)
    if not name and len(names) > 1:
        raise CliError("there are several freezes", f"name one: {', '.join(sorted(names))}")
    name = name.rsplit("/", 1)[-1] or names[0]
    if name not in names:
        raise CliError(f'there is no RolloutFreeze "{name}"', f"there are: {', '.join(sorted(names))}")
    click.echo(f"# the same with kubectl alone:\nkubectl delete{to.flags()} rolloutfreeze {name}\n")
    cluster.delete_in_cluster(FREEZES, name)
    left = [one for one in names if one != name]
    click.echo(f"rolloutfreeze/{name} deleted" + (f"; still there: {', '.join(sorted(left))}" if left else ""))
    return 0


def _freezes(to: Connection) -> int:
    """What stops the line, why, and until when."""
    cluster = Cluster.connect(to)
    found = cluster.find(FREEZES, everywhere=True)
    if not found:
        click.echo("no RolloutFreeze: the line is not stopped", err=True)
        return 0
    now = datetime.now(UTC)
    rows = [(Frozen.parse(body), parse_time(body["metadata"]["creationTimestamp"])) for body in found]
    click.get_current_context().obj.print(tables.freezes(rows, now))
    return 0
