"""Everything that stands on the stage before the story begins: definitions, the operator, the users, the watch.

The operator runs as a process of this machine, and never as administrator: it gets the token of the ServiceAccount
that ``manifests/base`` gives it in a real cluster, so a missing permission shows here first.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from demo.clusters import Cluster
from demo.measuring import Users
from demo.prometheus import Prometheus
from demo.rendering import NAMESPACE, ROLLOUT, Rendering, as_json
from demo.versions import Version
from demo.watching import Recorder

__all__ = ["Stage", "StoryError", "opened", "prepare_environment"]

_ROOT: Final = Path(__file__).resolve().parent.parent
_OPERATOR_NAMESPACE: Final = "modelrollout-system"
_OPERATOR_ACCOUNT: Final = "modelrollout"
_STOP_SECONDS: Final = 10.0
_LOG_LINES: Final = 30
_USERS_QUERY: Final = f'sum(frontend_requests_total{{namespace="{NAMESPACE}"%s}})'


class StoryError(Exception):
    """Something did not go as the story says; the message is for the person who watches."""


def operator_command(kubeconfig: Path, prometheus_url: str) -> list[str]:
    """How the operator is started."""
    flags = ["--kubeconfig", str(kubeconfig), "--prometheus-url", prometheus_url]
    return [sys.executable, "-m", "modelrollout.controller", *flags]


def prepare_environment() -> None:
    """Let every process that is started from here on, pods included, find this Python and the project's packages."""
    packages = [str(_ROOT), str(_ROOT / "operator"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(packages)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


class Stage:
    """The cluster with the operator in it, and the ways to act on it and to look at it."""

    def __init__(self, cluster: Cluster, rendering: Rendering, recorder: Recorder, operator_log: Path) -> None:
        self.cluster = cluster
        self.prometheus = Prometheus(cluster.prometheus_url)
        self.recorder = recorder
        self._rendering = rendering
        self._operator_log = operator_log
        self._operator: subprocess.Popen[bytes] | None = None

    def start_operator(self) -> None:
        """Start the operator with the rights of its ServiceAccount."""
        kubeconfig = self.cluster.service_account_kubeconfig(_OPERATOR_NAMESPACE, _OPERATOR_ACCOUNT)
        environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        with self._operator_log.open("ab") as log:
            self._operator = subprocess.Popen(
                operator_command(kubeconfig, self.cluster.prometheus_url),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                # A ^C in the terminal is for the demo, which then stops the operator.
                start_new_session=True,
            )

    def require_operator(self) -> None:
        """Raise if the operator has ended."""
        if self._operator is not None and self._operator.poll() is not None:
            raise StoryError(f"the operator ended (exit code {self._operator.returncode})")

    def stop_operator(self) -> None:
        """Ask the operator to end; kill it when it does not."""
        if self._operator is None:
            return
        self._operator.terminate()
        try:
            self._operator.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._operator.kill()
            self._operator.wait()

    def release(self, version: Version) -> int:
        """``kubectl apply`` of the ModelRollout that names this version; returns the generation that this made."""
        rollout = json.dumps(self._rendering.ranker(version))
        answer = self.cluster.kubectl("apply", "-f", "-", "-o", "json", input=rollout)
        return int(json.loads(answer)["metadata"]["generation"])

    def start_users(self) -> None:
        """Start the frontend and wait until users come."""
        # On the server's side: the artifacts are too large for the annotation that the client's side would keep.
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=as_json(self._rendering.recs()))
        self.cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/frontend", "--timeout=60s")

    def users(self) -> Users | None:
        """How many requests users sent so far and how many of them failed; None while Prometheus does not say."""
        try:
            asked = self.prometheus.number(_USERS_QUERY % "")
            failed = self.prometheus.number(_USERS_QUERY % ',result="failed"')
        except OSError:
            return None
        return None if asked is None or failed is None else Users(asked, failed)

    def clear(self) -> None:
        """Remove what the demo put into a cluster that goes on to live, while the operator can still let go of it."""
        self.cluster.kubectl("delete", "mro", ROLLOUT, "-n", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")

    def evidence(self) -> str:
        """For a person who must find out what went wrong: the ModelRollout as it stands, the operator's last words."""
        rollout = self.cluster.kubectl("get", "mro", ROLLOUT, "-n", NAMESPACE, "-o", "yaml", "--ignore-not-found")
        log = self._operator_log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join([rollout, "The end of the operator's log:", *log])


def install(cluster: Cluster, rendering: Rendering) -> None:
    """The resource definitions, the operator's permissions and the demo's namespace."""
    cluster.kubectl("apply", "--server-side", "-f", str(_ROOT / "crds"))
    # Without the operator's Deployment, which is in the same folder: here the operator is a process.
    base = _ROOT / "manifests" / "base"
    cluster.kubectl("apply", "-f", str(base / "namespace.yaml"), "-f", str(base / "rbac.yaml"))
    (namespace, *_) = rendering.recs()
    cluster.kubectl("apply", "--server-side", "-f", "-", input=as_json([namespace]))
    kinds: Sequence[str] = ("modelrollouts.modelrollout.io", "rolloutdecisions.modelrollout.io")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{kind}" for kind in kinds))


@contextlib.contextmanager
def opened(cluster: Cluster, rendering: Rendering, folder: Path, progress: Callable[[str], None]) -> Iterator[Stage]:
    """A stage that is ready for the first release; its operator ends with the block."""
    install(cluster, rendering)
    progress("definitions and permissions installed: crds/, manifests/base/rbac.yaml")
    stage = Stage(cluster, rendering, Recorder.following(cluster.kubeconfig), folder / "operator.log")
    with contextlib.ExitStack() as at_the_end:
        at_the_end.callback(stage.stop_operator)
        if not cluster.temporary:
            at_the_end.callback(stage.clear)
        stage.start_operator()
        progress(f"operator started as ServiceAccount {_OPERATOR_NAMESPACE}/{_OPERATOR_ACCOUNT}")
        yield stage


def seconds_since(begin: float) -> float:
    """Seconds of wall-clock time: the clock that Prometheus's samples carry, too."""
    return time.time() - begin


def newest(rollout: dict[str, Any]) -> dict[str, Any]:
    """The status, if it speaks of the newest spec; otherwise nothing."""
    status: dict[str, Any] = rollout.get("status") or {}
    return status if status.get("observedGeneration", 0) >= rollout["metadata"]["generation"] else {}
