"""The same set-up on kind (Kubernetes in Docker): for machines with a container engine, and for CI.

Contour, Envoy and Prometheus come as images here, with the versions and settings the local cluster uses.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from localcluster import gateway, prometheus
from localcluster.binaries import find_definitions, find_kubectl
from localcluster.cluster import GatewayRef
from localcluster.provider import ClusterAccess, ClusterUnavailable
from localcluster.stack import Progress

MANIFESTS = Path(__file__).parent.parent / "tests" / "kind"
_CREATE_SECONDS = 600
_INFO_SECONDS = 20
_READY = "--timeout=300s"
_CONTOUR_NAMESPACE = "projectcontour"


def unavailable() -> str | None:
    """Why kind cannot be used here; None when it can."""
    if shutil.which("docker") is None:
        return "kind needs a container engine: there is no `docker` on PATH"
    try:
        info = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=_INFO_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"kind needs a container engine: `docker info` did not answer within {_INFO_SECONDS} s"
    if info.returncode != 0:
        return f"kind needs a container engine: `docker info` failed: {_last_line(info.stderr)}"
    if shutil.which("kind") is None:
        return "there is no `kind` on PATH"
    return None


@dataclass(frozen=True)
class KindProvider:
    """A kind cluster with a name of its own, deleted at the end."""

    scrape_interval: str = "1s"

    @contextlib.contextmanager
    def open(self, progress: Progress) -> Iterator[ClusterAccess]:
        """Create it, install the Gateway API, Contour and Prometheus, and delete it at the end."""
        reason = unavailable()
        if reason is not None:
            raise ClusterUnavailable(reason, "Install Docker and kind, or use --cluster local")
        name = f"modelrollout-{uuid.uuid4().hex[:8]}"
        with tempfile.TemporaryDirectory(prefix="modelrollout-kind-") as folder:
            access = self._access(Path(folder))
            try:
                progress(f"creating the kind cluster {name}")
                self._create(name, Path(folder), access)
                progress("installing the Gateway API and Contour")
                _install_gateway(access)
                progress("installing Prometheus")
                self._install_prometheus(access)
                yield access
            finally:
                progress(f"deleting the kind cluster {name}")
                _run("kind", "delete", "cluster", "--name", name, "--kubeconfig", str(access.kubeconfig))

    def _access(self, folder: Path) -> ClusterAccess:
        return ClusterAccess(
            kubeconfig=folder / "kubeconfig",
            context=None,
            gateway_url=f"http://127.0.0.1:{_free_port()}",
            gateway=GatewayRef(namespace=gateway.NAMESPACE, name=gateway.NAME),
            prometheus_url=f"http://127.0.0.1:{_free_port()}",
            kubectl_path=find_kubectl(),
        )

    def _create(self, name: str, folder: Path, access: ClusterAccess) -> None:
        config = yaml.safe_load((MANIFESTS / "kind.yaml").read_text(encoding="utf-8"))
        urls = (access.gateway_url, access.prometheus_url)
        for mapping, url in zip(config["nodes"][0]["extraPortMappings"], urls, strict=True):
            mapping["hostPort"] = int(url.rpartition(":")[2])
        path = folder / "kind.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = ("kind", "create", "cluster", "--name", name, "--config", str(path))
        _run(*command, "--kubeconfig", str(access.kubeconfig), "--wait", "180s")

    def _install_prometheus(self, access: ClusterAccess) -> None:
        access.kubectl("apply", "-f", str(MANIFESTS / "prometheus.yaml"))
        config = yaml.safe_dump(prometheus.configuration(None, self.scrape_interval))
        _apply(access, _config_map("prometheus", "monitoring", "prometheus.yaml", config))
        access.kubectl("rollout", "status", "deployment/prometheus", "-n", "monitoring", _READY)


def _install_gateway(access: ClusterAccess) -> None:
    definitions = find_definitions()
    access.kubectl("apply", "--server-side", "-f", str(definitions / "gateway-api" / "standard"))
    access.kubectl("apply", "--server-side", "-f", str(definitions / "contour" / "contour"))
    _apply(access, _config_map("contour", _CONTOUR_NAMESPACE, "contour.yaml", gateway.contour_configuration()))
    # The definitions are of another release than Contour's own; the kinds it would look for in vain are left out.
    switches = [
        {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": f"--disable-feature={feature}"}
        for feature in gateway.FEATURES_OFF
    ]
    patch = json.dumps(switches)
    access.kubectl("patch", "deployment/contour", "-n", _CONTOUR_NAMESPACE, "--type=json", "-p", patch)
    for path, body in gateway.objects():
        inside = path.partition("/namespaces/")[2].partition("/")[0]
        _apply(access, {**body, "metadata": {**body["metadata"], **({"namespace": inside} if inside else {})}})
    access.kubectl("rollout", "status", "deployment/contour", "-n", _CONTOUR_NAMESPACE, _READY)
    access.kubectl("rollout", "status", "daemonset/envoy", "-n", _CONTOUR_NAMESPACE, _READY)


def _config_map(name: str, namespace: str, file: str, content: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {file: content}}


def _apply(access: ClusterAccess, body: dict[str, object]) -> None:
    access.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(body))


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=_CREATE_SECONDS, check=False)
    if result.returncode != 0:
        raise ClusterUnavailable(f"{' '.join(command[:3])} failed: {_last_line(result.stderr)}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "without a word"
