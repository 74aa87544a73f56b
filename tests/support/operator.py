"""The operator as a process with its own ServiceAccount's rights, to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from localcluster import LocalCluster, eventually
from tests.support.scraped import Scraped, free_port, probe, scrape

ROOT = Path(__file__).resolve().parents[2]
_WORKS = "the copies are filled; working"


class Operator:
    """Runs ``python -m modelrollout.controller`` against the local cluster."""

    def __init__(self, cluster: LocalCluster, *, metrics_delay: str = "", identity: str = "operator") -> None:
        self._cluster = cluster
        self._health, self._metrics = free_port(), free_port()
        self.identity = identity
        """Like the UID of a pod, which stays when the container starts again."""
        self.arguments = ["--metrics-delay", metrics_delay] if metrics_delay else []
        """More of the command line; it counts from the next start on."""
        self._log = cluster.folder / "logs" / f"{identity}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.kubeconfig = cluster.service_account_kubeconfig("modelrollout-system", "modelrollout")

    @staticmethod
    def install(cluster: LocalCluster) -> None:
        """CRDs, and the operator's ServiceAccount and roles as they are shipped."""
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        base = ROOT / "manifests" / "base"
        cluster.kubectl("apply", "-f", str(base / "namespace.yaml"), "-f", str(base / "rbac.yaml"))
        cluster.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=30s")

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; returns when it works: it decides, or stands by because another one does. One that still runs is
        killed first, for nobody else would."""
        self.kill()
        command = [sys.executable, "-m", "modelrollout.controller"]
        command += ["--kubeconfig", str(self.kubeconfig), "--prometheus-url", self._cluster.prometheus_url]
        command += ["--health", f"127.0.0.1:{self._health}", "--metrics", f"127.0.0.1:{self._metrics}"]
        command += ["--identity", self.identity, *self.arguments]
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONFAULTHANDLER": "1"}
        before = self.log().count(_WORKS)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        try:
            eventually(lambda: self.log().count(_WORKS) > before, "the operator to work", timeout=60)
        except AssertionError as error:
            self._process.send_signal(signal.SIGABRT)  # the fault handler writes where every thread is
            self._process.wait()
            raise AssertionError(f"{error}; its log ends with: {self.log()[-4000:]}") from error

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """SIGTERM, as in a rolling update; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(timeout=30)
        self._process = None
        return code

    def scrape(self) -> Scraped:
        """Its own metrics."""
        return scrape(self._metrics)

    def probe(self, path: str, *, timeout: float = 10.0) -> int:
        """The HTTP status of ``/healthz`` or ``/readyz``; 0 when there is no answer in time."""
        return probe(self._health, path, timeout)

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        fields = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").split("VmRSS:")[1].split()
        return int(fields[0]) / 1024

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""
