"""Three places to get a cluster from, behind one small interface: ``--cluster local``, ``kind`` or ``current``."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from localcluster.cluster import GatewayRef, LocalCluster
from localcluster.errors import LocalClusterError
from localcluster.stack import Progress, Settings

KUBECTL_SECONDS = 120


class ClusterUnavailable(LocalClusterError):  # noqa: N818 - it is an answer, and reads as one
    """This kind of cluster cannot be had here, and why."""


@dataclass(frozen=True)
class ClusterAccess:
    """How to use a cluster, wherever it came from."""

    kubeconfig: Path
    context: str | None
    gateway_url: str
    gateway: GatewayRef
    prometheus_url: str
    kubectl_path: Path

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl against this cluster; a failure raises with kubectl's words unless ``check`` is off."""
        chosen = [f"--context={self.context}"] if self.context else []
        result = subprocess.run(
            [str(self.kubectl_path), *chosen, *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            check=False,
        )
        if check and result.returncode != 0:
            raise LocalClusterError(f"kubectl {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result


class ClusterProvider(Protocol):
    """Something that can hand out a cluster for the length of a block."""

    def open(self, progress: Progress) -> AbstractContextManager[ClusterAccess]:
        """Make or find the cluster, hand it out, and undo what was made at the end."""
        ...


@dataclass(frozen=True)
class LocalProvider:
    """The cluster of this package; needs the private namespace (``namespace.run``)."""

    settings: Settings = field(default_factory=Settings)

    @contextlib.contextmanager
    def open(self, progress: Progress) -> Iterator[ClusterAccess]:
        """Start it, and stop it at the end."""
        with LocalCluster.start(settings=self.settings, progress=progress) as cluster:
            yield ClusterAccess(
                kubeconfig=cluster.kubeconfig,
                context=None,
                gateway_url=cluster.gateway_url,
                gateway=cluster.gateway,
                prometheus_url=cluster.prometheus_url,
                kubectl_path=cluster.kubectl_path,
            )


@dataclass(frozen=True)
class CurrentProvider:
    """A cluster the person already has, named explicitly: nobody's production by accident."""

    context: str
    gateway_url: str
    gateway: GatewayRef
    prometheus_url: str
    kubectl_path: Path = Path("kubectl")

    @contextlib.contextmanager
    def open(self, progress: Progress) -> Iterator[ClusterAccess]:
        """Hand it out after a look whether it answers; nothing is installed and nothing removed."""
        if not self.context:
            raise ClusterUnavailable("which cluster?", "Name it: --cluster current --context NAME")
        access = ClusterAccess(
            kubeconfig=_own_kubeconfig(),
            context=self.context,
            gateway_url=self.gateway_url,
            gateway=self.gateway,
            prometheus_url=self.prometheus_url,
            kubectl_path=self.kubectl_path,
        )
        progress(f"asking the cluster of context {self.context}")
        answer = access.kubectl("version", "--request-timeout=10s", check=False)
        if answer.returncode != 0:
            raise ClusterUnavailable(
                f"the cluster of context {self.context!r} does not answer: {answer.stderr.strip()}",
                "`kubectl config get-contexts` lists the contexts there are.",
            )
        yield access


def _own_kubeconfig() -> Path:
    """The person's kubeconfig, as kubectl itself would choose it."""
    named = os.environ.get("KUBECONFIG")
    return Path(named) if named else Path.home() / ".kube" / "config"
