"""The places where the demo can play: the cluster of this project, kind, or a cluster that the person has.

On the local cluster everything is ours: pods are processes of this machine, and Prometheus can be stopped for a
moment. Elsewhere pods need an image that holds the demo, and Prometheus is left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from localcluster import GatewayRef, LocalCluster, LocalClusterError
from localcluster.kind import KindProvider
from localcluster.provider import ClusterAccess, CurrentProvider

__all__ = ["Cluster", "add_arguments", "opened"]

Progress = Callable[[str], None]
_KIND_GATEWAY = "http://envoy.projectcontour"


class Cluster(Protocol):
    """What the demo needs of a cluster."""

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig for this process."""

    @property
    def published_kubeconfig(self) -> Path:
        """The same for the person's other terminals."""

    @property
    def gateway(self) -> GatewayRef:
        """The Gateway that the route hangs on."""

    @property
    def gateway_url(self) -> str:
        """The gateway, as pods reach it."""

    @property
    def prometheus_url(self) -> str:
        """Prometheus, as this process reaches it."""

    @property
    def image(self) -> str | None:
        """Image of the pods; None where pods are processes of this machine."""

    @property
    def owns_prometheus(self) -> bool:
        """Whether the demo may stop Prometheus for a moment."""

    @property
    def temporary(self) -> bool:
        """Whether the cluster ends with the demo."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        """Run kubectl as administrator and return what it printed."""

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig that is not the administrator's."""

    def stop_prometheus(self) -> None:
        """Take Prometheus away."""

    def start_prometheus(self) -> None:
        """Bring Prometheus back, with what it had stored."""


@dataclass(frozen=True)
class _Local:
    """The cluster of this project."""

    cluster: LocalCluster
    image: str | None = None
    owns_prometheus: bool = True
    temporary: bool = True

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.kubeconfig

    @property
    def published_kubeconfig(self) -> Path:
        published = self.cluster.published
        return published.kubeconfig if published is not None else self.cluster.kubeconfig

    @property
    def gateway(self) -> GatewayRef:
        return self.cluster.gateway

    @property
    def gateway_url(self) -> str:
        return self.cluster.gateway_url

    @property
    def prometheus_url(self) -> str:
        return self.cluster.prometheus_url

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        return self.cluster.kubectl(*arguments, input=input).stdout

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        return self.cluster.service_account_kubeconfig(namespace, name)

    def stop_prometheus(self) -> None:
        self.cluster.stop_prometheus()

    def start_prometheus(self) -> None:
        self.cluster.start_prometheus()


@dataclass(frozen=True)
class _Elsewhere:
    """A cluster with images."""

    access: ClusterAccess
    gateway_url: str
    image: str | None
    folder: Path
    temporary: bool
    owns_prometheus: bool = False

    @property
    def kubeconfig(self) -> Path:
        return self._write(self.folder / "admin.kubeconfig", self._minified())

    @property
    def published_kubeconfig(self) -> Path:
        return self.kubeconfig

    @property
    def gateway(self) -> GatewayRef:
        return self.access.gateway

    @property
    def prometheus_url(self) -> str:
        return self.access.prometheus_url

    def kubectl(self, *arguments: str, input: str | None = None) -> str:
        return self.access.kubectl(*arguments, input=input).stdout

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=24h").strip()
        config = self._minified()
        config["users"] = [{"name": entry["name"], "user": {"token": token}} for entry in config["users"]]
        return self._write(self.folder / f"{name}.kubeconfig", config)

    def stop_prometheus(self) -> None:
        raise LocalClusterError("this Prometheus is not the demo's to stop")

    def start_prometheus(self) -> None:
        raise LocalClusterError("this Prometheus is not the demo's to start")

    def _minified(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("config", "view", "--minify", "--raw", "-o", "json"))
        return found

    @staticmethod
    def _write(path: Path, config: dict[str, Any]) -> Path:
        path.touch(mode=0o600)
        path.write_text(json.dumps(config), encoding="utf-8")
        return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that choose a cluster."""
    parser.add_argument("--cluster", choices=("local", "kind", "current"), default="local")
    parser.add_argument("--image", help="image with the demo in it; for kind and current")
    current = parser.add_argument_group("with --cluster current")
    current.add_argument("--context", default="", help="its context in your kubeconfig")
    current.add_argument("--gateway", default="gateway-system/public", metavar="NAMESPACE/NAME", help="its Gateway")
    current.add_argument("--gateway-url", default="", help="the gateway, as pods reach it")
    current.add_argument("--prometheus-url", default="", help="its Prometheus, as this machine reaches it")


@contextlib.contextmanager
def opened(options: argparse.Namespace, progress: Progress) -> Iterator[Cluster]:
    """The cluster that the flags name, for the length of the block."""
    if options.cluster == "local":
        with LocalCluster.start(progress=progress) as cluster:
            yield _Local(cluster)
        return
    _require(options, "image")
    with tempfile.TemporaryDirectory(prefix="modelrollout-demo-") as folder:
        if options.cluster == "kind":
            with KindProvider().open(progress) as access:
                _load_image(access, options.image)
                yield _Elsewhere(access, _KIND_GATEWAY, options.image, Path(folder), temporary=True)
            return
        _require(options, "context", "gateway_url", "prometheus_url")
        namespace, _, name = options.gateway.partition("/")
        provider = CurrentProvider(
            context=options.context,
            gateway_url=options.gateway_url,
            gateway=GatewayRef(namespace=namespace, name=name),
            prometheus_url=options.prometheus_url,
        )
        with provider.open(progress) as access:
            yield _Elsewhere(access, options.gateway_url, options.image, Path(folder), temporary=False)


def _require(options: argparse.Namespace, *names: str) -> None:
    missing = [f"--{name.replace('_', '-')}" for name in names if not getattr(options, name)]
    if missing:
        raise LocalClusterError(f"--cluster {options.cluster} also needs {', '.join(missing)}")


def _load_image(access: ClusterAccess, image: str) -> None:
    """Put an image of this machine into the kind cluster; a context of kind is named after its cluster."""
    name = access.kubectl("config", "current-context").stdout.strip().removeprefix("kind-")
    command = ["kind", "load", "docker-image", image, "--name", name]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LocalClusterError(f"{' '.join(command)} failed: {result.stderr.strip()}")
