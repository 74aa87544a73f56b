"""The cluster as one object: start it, use it, break it, and leave nothing behind."""

import contextlib
import fcntl
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster import addresses, controlplane, gateway, kubeconfig, namespace, publish
from localcluster.binaries import Binaries, find_all
from localcluster.credentials import ADMIN
from localcluster.errors import LocalClusterError
from localcluster.paths import run_dir
from localcluster.stack import Progress, Settings, Stack

_TOKEN_SECONDS = 7 * 24 * 3600
_KUBECTL_SECONDS = 120


@dataclass(frozen=True)
class GatewayRef:
    """The Gateway that HTTPRoutes name as their parent."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Published:
    """How the cluster is reached from outside its namespace (``exec --publish``)."""

    kubeconfig: Path
    apiserver_url: str
    gateway_url: str
    prometheus_url: str


class LocalCluster:
    """A running cluster; make one with :meth:`start`."""

    gateway = GatewayRef(namespace=gateway.NAMESPACE, name=gateway.NAME)
    apiserver_url = addresses.url(addresses.APISERVER, "https")
    gateway_url = addresses.url(addresses.GATEWAY)
    prometheus_url = addresses.url(addresses.PROMETHEUS)
    envoy_admin_url = addresses.url(addresses.ENVOY_ADMIN)

    def __init__(self, found: Binaries, settings: Settings, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "admin.kubeconfig"
        self.ca_file = controlplane.ca_file(folder)
        self.audit_log = controlplane.audit_log(folder) if settings.audit_log else None
        self.published: Published | None = None
        self.start_seconds = 0.0
        self.kubectl_path = found.kubectl
        self._stack = Stack(found, settings, folder)

    @classmethod
    @contextlib.contextmanager
    def start(cls, *, settings: Settings | None = None, progress: Progress | None = None) -> Iterator["LocalCluster"]:
        """Start everything, hand out the cluster once its gateway answers, and stop everything at the end.

        ``progress`` is called with one line per stage.
        """
        namespace.require()
        found = find_all()
        folder = run_dir()
        with _only_one(folder):
            _make_folders(folder)
            cluster = cls(found, settings or Settings(), folder)
            try:
                cluster._start(progress or (lambda _line: None))
                yield cluster
            finally:
                cluster._stack.stop()
                _clear(folder)

    def _start(self, progress: Progress) -> None:
        begun = time.monotonic()
        self._stack.start(progress)
        self.published = self._publish()
        self.start_seconds = time.monotonic() - begun

    def _publish(self) -> Published | None:
        ports = publish.from_environment()
        if ports is None:
            return None
        server = f"https://127.0.0.1:{ports.apiserver}"
        config = kubeconfig.write(
            ports.folder / "kubeconfig",
            server=server,
            ca_file=self.ca_file,
            token=self._stack.credentials.tokens[ADMIN],
        )
        return Published(
            kubeconfig=config,
            apiserver_url=server,
            gateway_url=f"http://127.0.0.1:{ports.gateway}",
            prometheus_url=f"http://127.0.0.1:{ports.prometheus}",
        )

    # -- using it -------------------------------------------------------------------------------

    def kubectl(
        self, *arguments: str, input: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; a failure raises with kubectl's words unless ``check`` is off."""
        result = subprocess.run(
            [str(self.kubectl_path), *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_SECONDS,
            env=self._stack.environment,
            check=False,
        )
        if check and result.returncode != 0:
            raise LocalClusterError(f"kubectl {' '.join(arguments)} failed: {result.stderr.strip()}")
        return result

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a week's token of an existing ServiceAccount, to try what its roles allow."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self._stack.client().post(path, {"spec": {"expirationSeconds": _TOKEN_SECONDS}})
        return kubeconfig.write(
            self.folder / "accounts" / f"{namespace}_{name}.kubeconfig",
            server=self.apiserver_url,
            ca_file=self.ca_file,
            token=answer["status"]["token"],
            namespace=namespace,
        )

    def person_kubeconfig(self, person: str, namespace: str) -> Path:
        """A kubeconfig with the token of an ordinary user (:data:`localcluster.credentials.PEOPLE`)."""
        return kubeconfig.write(
            self.folder / "accounts" / f"{namespace}_{person}.kubeconfig",
            server=self.apiserver_url,
            ca_file=self.ca_file,
            token=self._stack.credentials.tokens[person],
            namespace=namespace,
        )

    def logs(self, namespace: str, pod: str) -> str:
        """What a pod's processes have written so far, over all restarts; also after the pod is gone."""
        log = self.folder / "logs" / "pods" / f"{namespace}_{pod}.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def program_log(self, name: str) -> Path:
        """The log of one of the cluster's programs (kube-apiserver, contour, node, …)."""
        return self._stack[name].log

    def pids(self) -> dict[str, int]:
        """The process id of every running program, by name."""
        return self._stack.pids()

    def memory_mib(self) -> dict[str, int]:
        """The resident memory of every running program, for the curious."""
        sizes = {}
        for name, pid in self._stack.pids().items():
            fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii").split("VmRSS:")[1].split()
            sizes[name] = int(fields[0]) // 1024
        return sizes

    # -- breaking it ----------------------------------------------------------------------------

    def stop_prometheus(self) -> None:
        """Stop Prometheus; what it has stored stays."""
        self._stack["prometheus"].stop()

    def pause_prometheus(self) -> None:
        """Freeze Prometheus: connections stay open and nothing answers."""
        self._stack["prometheus"].send(signal.SIGSTOP)

    def resume_prometheus(self) -> None:
        """Let a frozen Prometheus go on."""
        self._stack["prometheus"].send(signal.SIGCONT)

    def start_prometheus(self) -> None:
        """Start Prometheus again, with what it had stored; returns when it answers."""
        self._stack["prometheus"].start()
        self._stack.wait_for_prometheus()

    def pause_apiserver(self) -> None:
        """Freeze the API server: connections stay open and nothing answers."""
        self._stack["kube-apiserver"].send(signal.SIGSTOP)

    def resume_apiserver(self) -> None:
        """Let a frozen API server go on."""
        self._stack["kube-apiserver"].send(signal.SIGCONT)

    def kill_apiserver(self) -> None:
        """Kill the API server; connections are refused until it is started again."""
        self._stack["kube-apiserver"].kill()

    def start_apiserver(self) -> None:
        """Start a killed API server; returns when it is ready."""
        self._stack["kube-apiserver"].start()
        self._stack.wait_for_apiserver()

    def kill_etcd(self) -> None:
        """Kill etcd; the API server answers nothing that it does not have in memory."""
        self._stack["etcd"].kill()

    def start_etcd(self) -> None:
        """Start a killed etcd with what it had stored; returns when the API server is ready again."""
        self._stack["etcd"].start()
        self._stack.wait_for_apiserver()

    def kill_contour(self) -> None:
        """Kill Contour; Envoy goes on with the last configuration it got."""
        self._stack["contour"].kill()

    def start_contour(self) -> None:
        """Start a killed Contour; returns when it hands out configuration."""
        self._stack["contour"].start()
        self._stack.wait_for_contour()


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Addresses are fixed in a namespace, so it holds one cluster at a time."""
    with (folder / "lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalClusterError(
                "a cluster already runs in this namespace",
                "Start the other one in a namespace of its own: python -m localcluster exec -- COMMAND",
            ) from error
        yield


def _make_folders(folder: Path) -> None:
    for name in ("logs/pods", "pods", "accounts", "certificates"):
        (folder / name).mkdir(parents=True, exist_ok=True)


def _clear(folder: Path) -> None:
    """Empty the tmpfs for the next cluster in this namespace, but for the lock that is still held."""
    for entry in folder.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
