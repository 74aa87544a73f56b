"""``python -m modelrollout.controller``: runs the operator."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from pathlib import Path
from typing import Final

import click
import kopf

from modelrollout.controller import logs
from modelrollout.controller.app import Ending
from modelrollout.controller.edge import register
from modelrollout.controller.endpoint import Address
from modelrollout.controller.lease import Timing
from modelrollout.controller.settings import LeaseSettings, Settings
from modelrollout.kube.limits import BURST, QPS
from modelrollout.metrics import source_config
from modelrollout.metrics.source_config import SourcesConfig
from modelrollout.metrics.sources import METRIC_HOSTS_HELP
from modelrollout.notify.addresses import HOST_GLOBS_HELP
from modelrollout.notify.config import Config, ConfigError, load
from modelrollout.notify.links import LinkTemplate
from modelrollout.web.settings import WebSettings

__all__ = ["main"]

_POSITIVE: Final = click.FloatRange(min=1.0)
_TIMING: Final = Timing()
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


async def _run(settings: Settings) -> int:
    ending = Ending()
    registry = kopf.OperatorRegistry()
    register(registry, settings, ending)
    await kopf.operator(
        registry=registry,
        clusterwide=settings.namespace is None,
        namespaces=[settings.namespace] if settings.namespace else [],
        standalone=True,
        stop_flag=ending.flag,
    )
    return 1 if ending.failed else 0


@click.command(context_settings={"auto_envvar_prefix": "MODELROLLOUT", "show_default": True})
@click.option(
    "--prometheus-url", help="Base URL of Prometheus, or of what speaks its API: the source that is called default."
)
@click.option("--sources", type=_FILE, help="YAML file of sources of metrics, with who may use them and how to log in.")
@click.option("--metric-hosts", multiple=True, help=METRIC_HOSTS_HELP)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run outside a cluster with this kubeconfig.",
)
@click.option("--namespace", help="Watch this namespace alone.  [default: all]")
@click.option("--metrics-delay", default=0.5, help="Seconds in the past at which Prometheus is read.")
@click.option("--workers", default=64, help="Rollouts that are looked at side by side; urgent looks are not limited.")
@click.option(
    "--kube-qps", type=_POSITIVE, default=QPS, help="Requests a second to the API server; lowerings of weight are free."
)
@click.option("--kube-burst", type=click.IntRange(min=10), default=BURST, help="Requests at once after a rest.")
@click.option(
    "--allow-promql",
    is_flag=True,
    help="Let gates bring PromQL of their own, which reads every namespace's series at --prometheus-url.",
)
@click.option(
    "--notifications",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of receivers that are told of every rollout.",
)
@click.option("--notify-hosts", multiple=True, help=HOST_GLOBS_HELP)
@click.option(
    "--link-template",
    multiple=True,
    help="NAME=URL for incidents and messages, with {namespace}, {name}, {revision}, {version}, {from} and {to} in it.",
)
@click.option("--health", help="Answer the probes /healthz and /readyz at ADDRESS:PORT, like 0.0.0.0:8080.")
@click.option("--metrics", help="Serve the operator's own metrics, /metrics, at ADDRESS:PORT, like 0.0.0.0:8081.")
@click.option("--metrics-rollouts", default=2000, help="How many rollouts have series of their own in these metrics.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", help="One line each, for whom.")
@click.option(
    "--leader-elect/--no-leader-elect",
    default=True,
    help="Decide only while holding the Lease. Without, a second operator for the same namespaces is found out late.",
)
@click.option("--lease-namespace", default="modelrollout-system", help="Where the Lease is: the operator's namespace.")
@click.option("--lease-name", help="Its name.  [default: modelrollout, or modelrollout-NAMESPACE for one namespace]")
@click.option("--lease-seconds", default=_TIMING.lease, help="Without renewal another replica takes over after that.")
@click.option("--lease-renew", default=_TIMING.renew, help="Seconds between two renewals.")
@click.option("--lease-retry", default=_TIMING.retry, help="Seconds between two attempts to get or to renew it.")
@click.option("--identity", help="Name of this replica, over restarts of its container.  [default: host and chance]")
@click.option("--web", help="Serve the read-only web page at ADDRESS:PORT, like 127.0.0.1:8090.  [default: no page]")
@click.option(
    "--web-cert", type=_FILE, help="Certificate of the web page (PEM); without one it listens on loopback only."
)
@click.option("--web-key", type=_FILE, help="Key of that certificate (PEM).")
@click.option("--verbose", is_flag=True, help="Log more.")
def main(
    prometheus_url: str | None,
    sources: Path | None,
    metric_hosts: tuple[str, ...],
    kubeconfig: Path | None,
    namespace: str | None,
    metrics_delay: float,
    workers: int,
    kube_qps: float,
    kube_burst: int,
    allow_promql: bool,
    notifications: Path | None,
    notify_hosts: tuple[str, ...],
    link_template: tuple[str, ...],
    leader_elect: bool,
    lease_namespace: str,
    lease_name: str | None,
    lease_seconds: int,
    lease_renew: float,
    lease_retry: float,
    identity: str | None,
    health: str | None,
    metrics: str | None,
    metrics_rollouts: int,
    log_format: str,
    web: str | None,
    web_cert: Path | None,
    web_key: Path | None,
    verbose: bool,
) -> None:
    """Run the ModelRollout operator."""
    logs.configure(log_format, verbose=verbose)
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(kubeconfig)
    try:
        page = WebSettings.parse(web, web_cert, web_key) if web else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--web") from error
    try:
        known = _sources(prometheus_url, sources, allow_promql=allow_promql)
        receivers = load(notifications) if notifications is not None else Config()
        links = tuple(LinkTemplate.parse(text) for text in link_template)
    except (ConfigError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        timing = Timing(lease_seconds, lease_renew, lease_retry)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--lease-seconds") from error
    settings = Settings(
        sources=known,
        metric_hosts=_parted(metric_hosts),
        kubeconfig=kubeconfig,
        namespace=namespace,
        metrics_delay=metrics_delay,
        workers=workers,
        kube_qps=kube_qps,
        kube_burst=kube_burst,
        web=page,
        receivers=receivers,
        notify_hosts=_parted(notify_hosts),
        links=links,
        health=_address("--health", health),
        metrics=_address("--metrics", metrics),
        metrics_rollouts=metrics_rollouts,
        lease=LeaseSettings(
            wanted=leader_elect,
            namespace=lease_namespace,
            name=lease_name or "-".join(filter(None, ("modelrollout", namespace))),
            identity=identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            timing=timing,
        ),
    )
    sys.exit(asyncio.run(_run(settings)))


def _address(option: str, text: str | None) -> Address | None:
    try:
        return Address.parse(text) if text else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


def _sources(url: str | None, file: Path | None, *, allow_promql: bool) -> SourcesConfig:
    if url is None and file is None:
        raise ConfigError("say where the metrics are: --prometheus-url, or --sources for several or protected ones")
    known = source_config.load(file) if file is not None else None
    if url is None:
        assert known is not None
        return known
    return source_config.single(url, allow_promql=allow_promql, beside=known.sources if known is not None else ())


def _parted(given: tuple[str, ...]) -> tuple[str, ...]:
    """Values of a flag that is given several times, or once with commas."""
    return tuple(one for text in given for one in text.replace(",", " ").split())


if __name__ == "__main__":
    main()
