"""``modelrollout init``: the manifest for a service that runs, from what can be read of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from modelrollout.cli.cluster import DEPLOYMENTS, Cluster, Connection, Resource
from modelrollout.cli.errors import CliError

if TYPE_CHECKING:
    from modelrollout.starting.evidence import Seen
    from modelrollout.starting.manifest import Draft
    from modelrollout.starting.serving import Asked, Serving

__all__ = ["register"]

_SERVICES: Final = Resource("", "v1", "services")
_ROUTES: Final = Resource("gateway.networking.k8s.io", "v1", "httproutes")
_AUTOSCALERS: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers")
_NO_PROMETHEUS: Final = (
    "None could be proposed: without --prometheus nobody knows what is measured. docs/presets.md lists those that need "
    "no more than a name."
)


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the command. ``connected`` gives it the flags for the cluster."""
    command = connected(_init)
    for decorate in (
        click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", help="How to print."),
        click.option("--prometheus", help="URL of the Prometheus (Thanos, Mimir) that scrapes pods or gateway."),
        click.option("--name", default="", help="Name of the ModelRollout; the Deployment's when absent."),
        click.option("--rule", default="", help="Name of the rule in the route, when several lead to the Service."),
        click.option("--route", default="", help="The HTTPRoute, when several lead to the Service."),
        click.option("--service", default="", help="The Service, when several lead to the pods."),
        click.option("--deployment", required=True, help="The Deployment that serves now."),
    ):
        command = decorate(command)
    cli.command("init")(command)


def _init(
    deployment: str,
    service: str,
    route: str,
    rule: str,
    name: str,
    prometheus: str | None,
    output: str,
    to: Connection,
) -> int:
    """Write the manifest for a service that runs, ready to apply.

    Reads the Deployment, its Service, the HTTPRoute that leads to it, and (with --prometheus) which metrics there are.
    Nothing is changed.
    """
    from modelrollout.starting.gates import propose
    from modelrollout.starting.manifest import draft, to_yaml
    from modelrollout.starting.serving import Asked, UnclearError

    try:
        found = _serving(Cluster.connect(to), Asked(deployment, service, route, rule))
        seen = [] if prometheus is None else _measured(prometheus, found)
        why = _NO_PROMETHEUS if prometheus is None else _told(seen, found)
        made = draft(found, propose(seen), name=name or deployment, evidence=why)
    except UnclearError as error:
        raise CliError(str(error), error.remedy) from error
    if output == "json":
        click.echo(json.dumps(_for_machines(made, seen), indent=2, ensure_ascii=False))
    else:
        click.echo(to_yaml(made), nl=False)
    return 0


def _serving(cluster: Cluster, asked: Asked) -> Serving:
    from modelrollout.starting.serving import Namespace, find_serving

    try:
        autoscalers = cluster.find(_AUTOSCALERS)
    except CliError:  # whoever may not see them is not told of them
        autoscalers = []
    there = Namespace(
        cluster.namespace,
        cluster.find(DEPLOYMENTS),
        cluster.find(_SERVICES),
        cluster.find(_ROUTES),
        autoscalers,
    )
    return find_serving(there, asked)


def _measured(url: str, serving: Serving) -> list[Seen]:
    """Which presets' metrics there are."""
    from modelrollout.metrics.client import Client, RefusedQueryError, SourceDownError
    from modelrollout.starting.evidence import look

    async def ask() -> list[Seen]:
        client = Client.at(url, timeout=30.0)
        try:
            return await look(
                client,
                datetime.now(UTC),
                namespace=serving.namespace,
                deployment=serving.name,
                service=str(serving.service["metadata"]["name"]),
                port=serving.port,
            )
        finally:
            await client.close()

    try:
        return asyncio.run(ask())
    except (SourceDownError, RefusedQueryError) as error:
        raise CliError(str(error), "check the URL of --prometheus, or leave it out") from error


def _told(seen: list[Seen], serving: Serving) -> str:
    if not seen:
        return (
            f"None could be proposed: Prometheus has no metrics of a known server in the pods of {serving.name}, nor "
            "of a known gateway for the Service. Are they scraped? Your own metrics: docs/semantics.md#gates."
        )
    return f"Prometheus has now: {', '.join(one.preset.name for one in seen)} (docs/presets.md)."


def _for_machines(made: Draft, seen: list[Seen]) -> dict[str, object]:
    return {
        "manifest": made.body,
        "lookAt": made.look_at,
        "presets": [
            {"preset": one.preset.name, "rate": one.rate, "badShare": one.bad, "quantileSeconds": one.quantile}
            for one in seen
        ],
    }
