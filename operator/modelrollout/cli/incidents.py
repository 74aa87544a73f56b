"""``modelrollout incidents`` and ``modelrollout incident``: the records of rollbacks, for whoever writes the review."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import yaml
from rich.table import Table

from modelrollout.api.incident import GateEvidence, RolloutIncidentSpec, RolloutIncidentStatus
from modelrollout.api.objects import parse_time
from modelrollout.cli import show
from modelrollout.cli.cluster import INCIDENTS, Cluster, Connection
from modelrollout.cli.errors import CliError
from modelrollout.screen import units

__all__ = ["register", "table", "text"]

_OUTPUT = click.Choice(["table", "json", "yaml"])


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the commands."""

    @cli.command("incidents")
    @click.argument("rollout", default="")
    @click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
    @click.option("-o", "--output", type=_OUTPUT, default="table", help="How to print.")
    @connected
    def incidents(rollout: str, all_namespaces: bool, output: str, to: Connection) -> int:
        """The records of rollbacks, the newest first. Of one ROLLOUT, or of all."""
        cluster = Cluster.connect(to)
        found = _sorted(cluster.find(INCIDENTS, everywhere=all_namespaces))
        found = [body for body in found if not rollout or body["spec"]["rollout"] == rollout]
        if output != "table":
            click.echo(_raw(output, {"apiVersion": "v1", "kind": "List", "items": found}))
        elif found:
            console = click.get_current_context().obj
            console.print(table(found, datetime.now(UTC), everywhere=all_namespaces))
        else:
            click.echo("no rollback is on record", err=True)
        return 0

    @cli.command("incident")
    @click.argument("name")
    @click.option("-o", "--output", type=_OUTPUT, default="table", help="How to print.")
    @connected
    def incident(name: str, output: str, to: Connection) -> int:
        """One record of a rollback. NAME is its own, or a ModelRollout's for that one's newest."""
        body = _one(Cluster.connect(to), name.rsplit("/", 1)[-1])
        click.echo(text(body) if output == "table" else _raw(output, body))
        return 0


def _raw(output: str, body: dict[str, Any]) -> str:
    if output == "json":
        return json.dumps(body, indent=2, ensure_ascii=False)
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True).rstrip()


def _sorted(bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(bodies, key=lambda body: str(body["spec"]["at"]), reverse=True)


def _one(cluster: Cluster, name: str) -> dict[str, Any]:
    """The record of that name, else the newest of the rollout of that name.

    Raises
    ------
    CliError
        When there is neither.
    """
    found = _sorted(cluster.find(INCIDENTS))
    for body in found:
        if body["metadata"]["name"] == name:
            return body
    for body in found:
        if body["spec"]["rollout"] == name:
            return body
    known = ", ".join(body["metadata"]["name"] for body in found[:5]) or "none"
    raise CliError(
        f'there is no incident "{name}", and none of a ModelRollout of that name, in namespace {cluster.namespace}',
        f"there are: {known}; see all with `kubectl modelrollout incidents -A`",
    )


def table(bodies: list[dict[str, Any]], now: datetime, *, everywhere: bool) -> Table:
    """One line for each record."""
    first = ("NAMESPACE",) if everywhere else ()
    found = show.plain_table(*first, "NAME", "ROLLOUT", "VERSION", "STABLE", "REASON", "WEIGHT", "AGE", "MESSAGE")
    for body in bodies:
        spec = body["spec"]
        found.add_row(
            *((body["metadata"]["namespace"],) if everywhere else ()),
            body["metadata"]["name"],
            spec["rollout"],
            spec.get("version", ""),
            spec.get("stableVersion", ""),
            spec["reason"],
            f"{spec.get('weight', 0)} %",
            units.age(parse_time(spec["at"]), now),
            spec.get("message", ""),
        )
    return found


def text(body: dict[str, Any]) -> str:
    """The whole record as plain text, to be read or pasted."""
    try:
        spec = RolloutIncidentSpec.model_validate(body["spec"])
        status = RolloutIncidentStatus.model_validate(body.get("status") or {})
    except ValueError as error:
        raise CliError(
            f"this version of the command cannot read the record: {str(error).splitlines()[0]}",
            "upgrade the command to the operator's version, or look at it with -o yaml",
        ) from error
    lines = [
        f"{body['metadata']['namespace']}/{spec.rollout}: version {spec.version} was rolled back ({spec.reason})",
        spec.message,
        "",
        f"  when      {spec.at:%Y-%m-%d %H:%M:%S} UTC, having reached {spec.weight} % of the traffic",
        f"  revision  {spec.revision}",
        f"  serving   version {spec.stable_version} (revision {spec.stable_revision})",
        f"  record    {body['metadata']['name']}",
    ]
    lines += ["", "GATES", *(_gate(gate) for gate in spec.evidence)] if spec.evidence else []
    lines += ["", "WHAT HAPPENED", *(f"  {one.at:%H:%M:%S}  {one.what}" for one in spec.timeline)]
    lines += ["", "GO ON", *(f"  {one}" for one in spec.commands)]
    lines += ["", "LOOK FURTHER", *(f"  {one.name}: {one.url}" for one in spec.links)] if spec.links else []
    told = [
        f"  {name}: {one.state}" + "".join(f", {part}" for part in (one.reference, one.message) if part)
        for name, one in sorted(status.deliveries.items())
    ]
    lines += ["", "TOLD", *told] if told else []
    return "\n".join(lines)


def _gate(gate: GateEvidence) -> str:
    """A gate's sentence with what it is made of."""
    values = f"{gate.value or units.UNKNOWN} against {gate.baseline or units.UNKNOWN}"
    numbers = f"{values}, {gate.samples} samples against {gate.baseline_samples}"
    query = f"\n    {gate.query}" if gate.query else ""
    return f"  {gate.name}  {gate.verdict}: {gate.message}\n    {numbers}; limit: {gate.limit}{query}"
