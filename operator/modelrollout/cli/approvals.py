"""Approvals: what waits for whom, and the two words that end the wait; and the whole record of a model (``audit``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from modelrollout.api.enums import Action
from modelrollout.api.objects import Rollout
from modelrollout.cli import audit, show
from modelrollout.cli.cluster import ROLLOUTS, Cluster, Connection
from modelrollout.cli.view import read
from modelrollout.screen import units
from modelrollout.screen.verbs import DOES, Said, command

__all__ = ["Decide", "register", "table", "waiting"]

Connected = Callable[[Callable[..., int]], Callable[..., int]]
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print.")
_name = click.argument("name")


class Decide(Protocol):
    """Writes a decision and tells what became of it; the exit code."""

    def __call__(self, name: str, said: Said, to: Connection, *, no_wait: bool) -> int: ...


def register(cli: click.Group, connected: Connected, decide: Decide) -> None:
    """Add the commands."""
    for action in (Action.APPROVE, Action.REJECT):
        cli.add_command(_verb(action, connected, decide))
    cli.add_command(click.command("approvals")(_everywhere(_output(connected(_approvals)))))
    cli.add_command(click.command("audit")(_name(_output(connected(_audit)))))


_everywhere = click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")


def _verb(action: Action, connected: Connected, decide: Decide) -> click.Command:
    @click.command(str(action), help=DOES[action])
    @_name
    @click.option("--role", required=True, help="The role that the step names; you need the verb approve-ROLE.")
    @click.option("-m", "--comment", required=True, help="Why; it stays on record.")
    @click.option("--no-wait", is_flag=True, help="Do not wait for what becomes of it.")
    @connected
    def say(name: str, role: str, comment: str, no_wait: bool, to: Connection) -> int:
        return decide(name.rsplit("/", 1)[-1], Said(action, comment, role=role), to, no_wait=no_wait)

    return say


def _out() -> Console:
    console = click.get_current_context().obj
    assert isinstance(console, Console)
    return console


def _approvals(all_namespaces: bool, output: str, to: Connection) -> int:
    """What waits for an approval: of whom, since when, seen how."""
    cluster, now = Cluster.connect(to), datetime.now(UTC)
    rollouts = [read(body, [], now).rollout for body in cluster.find(ROLLOUTS, everywhere=all_namespaces)]
    found = [one for one in map(waiting, rollouts) if one is not None]
    for one in found:
        one["mayApprove"] = cluster.may(f"approve-{one['role']}", one["namespace"], one["name"])
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _out().print(table(found, rollouts, now))
    else:
        where = "this cluster" if all_namespaces else f"namespace {cluster.namespace}"
        click.echo(f"nothing waits for an approval in {where}", err=True)
    return 0


def waiting(rollout: Rollout) -> dict[str, Any] | None:
    """What people should know of a rollout that waits for them, for machines; None when it does not."""
    status = rollout.status
    step, candidate = status.step, status.candidate
    if step is None or not step.role or candidate is None or status.phase.is_leaving:
        return None
    asked = next((one.approval for one in rollout.spec.steps if one.title == step.name), None)
    return {
        "namespace": rollout.namespace,
        "name": rollout.name,
        "version": candidate.version,
        "revision": candidate.revision,
        "step": step.name,
        "weight": status.weight,
        "role": step.role,
        "count": asked.count if asked is not None else 1,
        "approvedBy": [one.author for one in status.approvals if one.step == step.name],
        "authors": list(status.authors),
        "since": step.since.isoformat() if step.since is not None else None,
        "message": status.message,
        "gates": [
            gate.model_dump(
                mode="json",
                by_alias=True,
                exclude_none=True,
                include={"name", "verdict", "value", "baseline", "limit", "samples", "message"},
            )
            for gate in status.gates
        ],
    }


def table(found: list[dict[str, Any]], rollouts: list[Rollout], now: datetime) -> RenderableType:
    """The same for people, with what to type for those that this person may approve."""
    shown = show.plain_table("NAMESPACE", "NAME", "VERSION", "WEIGHT", "ROLE", "APPROVED BY", "SINCE", "YOU", "REASON")
    known = {one.key: one for one in rollouts}
    lines: list[RenderableType] = []
    for one in found:
        rollout = known[(one["namespace"], one["name"])]
        step = rollout.status.step
        people = f"{len(one['approvedBy'])} of {one['count']}" + "".join(f", {who}" for who in one["approvedBy"])
        verdicts = ", ".join(f"{gate['name']} {gate['verdict']}" for gate in one["gates"])
        shown.add_row(
            one["namespace"],
            one["name"],
            one["version"],
            f"{one['weight']} %",
            one["role"],
            people,
            f"{units.age(step.since if step is not None else None, now)} ago",
            "may" if one["mayApprove"] else "may not",
            f"{one['message']} ({verdicts or 'no gates'})",
        )
        if one["mayApprove"]:
            lines.append(Text(command(rollout, Said(Action.APPROVE, role=one["role"]))))
    return Group(shown, *((Text(), *lines) if lines else ()))


def _audit(name: str, output: str, to: Connection) -> int:
    """Who did what to a model, when and why. Decisions, releases, and edits, in the order of time."""
    cluster = Cluster.connect(to)
    name = name.rsplit("/", 1)[-1]
    entries = audit.timeline(cluster.rollout(name), cluster.decisions(name))
    if output == "json":
        click.echo(json.dumps([one.as_dict() for one in entries], indent=2, ensure_ascii=False))
    else:
        _out().print(audit.table(entries))
    return 0
