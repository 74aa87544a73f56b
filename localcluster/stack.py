"""The programs of one cluster and the order in which they start and stop."""

import http.client
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster import addresses, controlplane, credentials, definitions, gateway, kubeconfig, prometheus
from localcluster.api import ApiClient, ApiError
from localcluster.binaries import Binaries
from localcluster.errors import LocalClusterError
from localcluster.process import Program

Progress = Callable[[str], None]
START_SECONDS = 240.0
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """What a caller may choose about a cluster."""

    scrape_interval: str = "1s"
    audit_log: bool = False
    node_cpu: str = "64"
    node_memory: str = "128Gi"
    node_pods: int = 200
    crash_backoff: float = 1.0
    data_plane: bool = True
    """Contour, Envoy and the process runner. Without them somebody else looks after pods and routes."""
    scrape_jobs: tuple[dict[str, Any], ...] = ()
    """What Prometheus scrapes in place of the pods and Envoy."""


class Stack:
    """All programs of the cluster, by name."""

    def __init__(self, found: Binaries, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "admin.kubeconfig"
        self.credentials = credentials.create(folder)
        self.environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        self._found = found
        self._settings = settings
        self._programs: dict[str, Program] = {}

    def __getitem__(self, name: str) -> Program:
        return self._programs[name]

    def pids(self) -> dict[str, int]:
        """The process ids of the programs that run."""
        return {name: program.pid for name, program in self._programs.items() if program.pid is not None}

    def client(self) -> ApiClient:
        """An administrator's client of the API server."""
        url = addresses.url(addresses.APISERVER, "https")
        return ApiClient(url, controlplane.ca_file(self.folder), self.credentials.tokens[credentials.ADMIN])

    def start(self, progress: Progress) -> None:
        """Start everything; returns once the gateway, the node and Prometheus work."""
        begun = time.monotonic()

        def tell(what: str) -> None:
            progress(f"{time.monotonic() - begun:5.1f} s  {what}")

        self._start_apiserver()
        tell("API server ready")
        self._start_around_apiserver()
        client = self.client()
        self._define(client)
        tell("Gateway API installed")
        if self._settings.data_plane:
            self._start_gateway()
            tell("gateway answers")
        self._wait_for_the_rest(client)
        tell("cluster ready")

    def stop(self) -> None:
        """Kill everything: the state is thrown away with the tmpfs, so nothing needs an orderly end."""
        # The API server goes before etcd, without which it would hang; the node takes its pods along.
        for program in reversed(self._programs.values()):
            program.kill()

    def wait_for_apiserver(self) -> None:
        """Wait until the API server says that it is ready."""
        self["kube-apiserver"].wait_until(lambda: self.client().text("/readyz") == "ok", "/readyz", START_SECONDS)

    def wait_for_prometheus(self) -> None:
        """Wait until Prometheus answers queries."""
        url = addresses.url(addresses.PROMETHEUS) + "/-/ready"
        self["prometheus"].wait_until(lambda: _status(url) == http.client.OK, "/-/ready", START_SECONDS)

    def wait_for_contour(self) -> None:
        """Wait until Contour hands out configuration."""
        self["contour"].wait_until(lambda: _listens(addresses.XDS), "its xDS port", START_SECONDS)

    def _add(self, program: Program) -> Program:
        self._programs[program.name] = program
        return program

    def _start_apiserver(self) -> None:
        found, audit = self._found, self._settings.audit_log
        self._add(controlplane.etcd(found.etcd, self.folder, self.environment)).start()
        self._add(
            controlplane.apiserver(found.kube_apiserver, self.folder, self.credentials, self.environment, audit=audit)
        ).start()
        self.wait_for_apiserver()

    def _start_around_apiserver(self) -> None:
        """What needs nothing but the API server starts side by side."""
        found, folder, environment = self._found, self.folder, self.environment
        configs = {user: self._write_kubeconfig(user) for user in self.credentials.tokens}
        managers = found.kube_controller_manager
        controllers = configs[credentials.CONTROLLERS]
        interval = self._settings.scrape_interval
        metrics = configs[credentials.PROMETHEUS]
        node = [self._node(configs[credentials.NODE])] if self._settings.data_plane else []
        jobs = self._settings.scrape_jobs
        for program in (
            controlplane.controller_manager(managers, folder, controllers, self.credentials, environment),
            controlplane.scheduler(found.kube_scheduler, folder, configs[credentials.SCHEDULER], environment),
            *node,
            prometheus.program(found.prometheus, folder, metrics, environment, scrape_interval=interval, jobs=jobs),
        ):
            self._add(program).start()

    def _write_kubeconfig(self, user: str) -> Path:
        name = "admin" if user == credentials.ADMIN else user.rpartition(":")[2]
        return kubeconfig.write(
            self.folder / f"{name}.kubeconfig",
            server=addresses.url(addresses.APISERVER, "https"),
            ca_file=controlplane.ca_file(self.folder),
            token=self.credentials.tokens[user],
        )

    def _node(self, config: Path) -> Program:
        arguments = [
            sys.executable,
            "-m",
            "localcluster.node",
            f"--kubeconfig={config}",
            f"--folder={self.folder}",
            f"--cpu={self._settings.node_cpu}",
            f"--memory={self._settings.node_memory}",
            f"--pods={self._settings.node_pods}",
            f"--backoff={self._settings.crash_backoff}",
        ]
        # The node imports this very package, wherever the caller's Python found it.
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        return Program("node", arguments, self.folder / "logs" / "node.log", {**self.environment, "PYTHONPATH": path})

    def _define(self, client: ApiClient) -> None:
        definitions.install(client, self._found.crds)
        for path, body in gateway.objects():
            _post_when_served(client, path, body)

    def _start_gateway(self) -> None:
        found, folder, environment = self._found, self.folder, self.environment
        config = folder / "contour.kubeconfig"
        self._add(gateway.contour(found.contour, folder, config, environment)).start()
        envoy = self._add(gateway.envoy(found.envoy, found.contour, folder, environment))
        # An Envoy that finds nobody to ask at its start waits before it asks again.
        self.wait_for_contour()
        envoy.start()
        url = addresses.url(addresses.GATEWAY)
        envoy.wait_until(lambda: _status(url) > 0, "an answer of the gateway", START_SECONDS)

    def _wait_for_the_rest(self, client: ApiClient) -> None:
        # Without the default ServiceAccount no pod can be created.
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self["kube-controller-manager"].wait_until(
            lambda: bool(client.get(account)), "the default ServiceAccount", START_SECONDS
        )
        if self._settings.data_plane:
            nodes = "/api/v1/nodes"
            self["node"].wait_until(lambda: _schedulable(client.get(nodes)), "its registration", START_SECONDS)
        self.wait_for_prometheus()
        self["kube-scheduler"].require_alive()


def _post_when_served(client: ApiClient, path: str, body: dict[str, Any]) -> None:
    """Create an object whose kind was defined a moment ago and may not be served yet."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.post(path, body)
        except ApiError as error:
            if error.status != http.client.NOT_FOUND or time.monotonic() > deadline:
                raise LocalClusterError(f"the API server refused {path}: {error}") from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _schedulable(nodes: dict[str, Any]) -> bool:
    return any(not node["spec"].get("taints") for node in nodes["items"])


def _listens(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=_ANSWER_SECONDS):
        return True


def _status(url: str) -> int:
    """The HTTP status of an address, whatever it is; OSError when nothing answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
