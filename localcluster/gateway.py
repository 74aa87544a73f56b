"""The data plane: Contour, which turns HTTPRoutes into Envoy's configuration, and Envoy itself."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcluster import addresses
from localcluster.errors import LocalClusterError
from localcluster.process import Program

NAMESPACE = "gateway-system"
NAME = "public"
CLASS = "contour"
_OPENER = "listener.invalid"
# Kinds whose definitions are not installed; Contour would wait for them for ever.
FEATURES_OFF = ("extensionservices", "tlsroutes", "grpcroutes", "tcproutes", "backendtlspolicies")


def objects() -> list[tuple[str, dict[str, Any]]]:
    """The API paths and objects of the one Gateway every route of the cluster may use."""
    api = "/apis/gateway.networking.k8s.io/v1"
    version = "gateway.networking.k8s.io/v1"
    listener = {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}}
    spec = {"gatewayClassName": CLASS, "listeners": [listener]}
    # Contour opens the listener only when a route is attached; this one never matches a real host.
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": _OPENER, "statusCode": 302}}
    route = {"parentRefs": [{"name": NAME}], "hostnames": [_OPENER], "rules": [{"filters": [redirect]}]}
    controller = {"controllerName": "projectcontour.io/gateway-controller"}
    return [
        ("/api/v1/namespaces", _named("v1", "Namespace", NAMESPACE)),
        (f"{api}/gatewayclasses", _named(version, "GatewayClass", CLASS, controller)),
        (f"{api}/namespaces/{NAMESPACE}/gateways", _named(version, "Gateway", NAME, spec)),
        (f"{api}/namespaces/{NAMESPACE}/httproutes", _named(version, "HTTPRoute", "listener", route)),
    ]


def contour_configuration() -> str:
    """Contour's own configuration file: it serves this one Gateway."""
    return json.dumps({"gateway": {"gatewayRef": {"namespace": NAMESPACE, "name": NAME}}})


def contour(binary: Path, folder: Path, kubeconfig: Path, environment: Mapping[str, str]) -> Program:
    """Contour for one static Gateway, serving Envoy's configuration without TLS: nobody else is in the network."""
    config = folder / "contour.yaml"
    config.write_text(contour_configuration(), encoding="utf-8")
    arguments = [
        str(binary),
        "serve",
        "--insecure",
        f"--kubeconfig={kubeconfig}",
        f"--config-path={config}",
        f"--xds-address={addresses.XDS[0]}",
        f"--xds-port={addresses.XDS[1]}",
        f"--http-address={addresses.CONTOUR_HEALTH[0]}",
        f"--http-port={addresses.CONTOUR_HEALTH[1]}",
        f"--health-address={addresses.CONTOUR_HEALTH[0]}",
        f"--health-port={addresses.CONTOUR_HEALTH[1]}",
        f"--debug-http-address={addresses.CONTOUR_DEBUG[0]}",
        f"--debug-http-port={addresses.CONTOUR_DEBUG[1]}",
        f"--stats-address={addresses.ENVOY_STATS[0]}",
        f"--stats-port={addresses.ENVOY_STATS[1]}",
        f"--envoy-service-http-address={addresses.GATEWAY[0]}",
        f"--envoy-service-http-port={addresses.GATEWAY[1]}",
        f"--envoy-service-https-address={addresses.GATEWAY_TLS[0]}",
        f"--envoy-service-https-port={addresses.GATEWAY_TLS[1]}",
        "--disable-leader-election",
        "--kubernetes-client-qps=500",
        "--kubernetes-client-burst=1000",
        *(f"--disable-feature={feature}" for feature in FEATURES_OFF),
    ]
    return Program("contour", arguments, folder / "logs" / "contour.log", environment)


def envoy(binary: Path, contour_binary: Path, folder: Path, environment: Mapping[str, str]) -> Program:
    """Envoy, told by Contour's own bootstrap where to get its configuration."""
    config = folder / "envoy.json"
    command = [
        str(contour_binary),
        "bootstrap",
        str(config),
        f"--admin-address={folder / 'envoy.sock'}",
        f"--xds-address={addresses.XDS[0]}",
        f"--xds-port={addresses.XDS[1]}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, env=dict(environment), check=False)
    if result.returncode != 0:
        raise LocalClusterError("contour bootstrap failed", result.stderr)
    config.write_text(json.dumps(_with_tcp_admin(json.loads(config.read_text()))), encoding="utf-8")
    arguments = [
        str(binary),
        *("--config-path", str(config)),
        *("--service-node", "envoy"),
        *("--service-cluster", "contour"),
        # There is no second Envoy to hand over to, and its shared memory would clash with other clusters.
        "--disable-hot-restart",
        *("--concurrency", "2"),
        *("--log-level", "warning"),
    ]
    return Program("envoy", arguments, folder / "logs" / "envoy.log", environment)


def _with_tcp_admin(bootstrap: Any) -> Any:
    """Envoy's admin interface on an address: a socket's path may be 107 bytes long, and home folders vary."""
    if isinstance(bootstrap, dict):
        if "pipe" in bootstrap:
            host, port = addresses.ENVOY_ADMIN
            return {"socket_address": {"address": host, "port_value": port}}
        return {key: _with_tcp_admin(value) for key, value in bootstrap.items()}
    if isinstance(bootstrap, list):
        return [_with_tcp_admin(value) for value in bootstrap]
    return bootstrap


def _named(version: str, kind: str, name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    rest = {} if spec is None else {"spec": spec}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **rest}
