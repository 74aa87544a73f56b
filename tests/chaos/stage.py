"""Where a trial plays: a namespace with one ModelRollout, its users, and an operator behind proxies."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from localcluster import LocalCluster, LocalClusterError, eventually
from modelrollout.controller.__main__ import main
from tests.chaos.life import Life, Start
from tests.chaos.proxy import Background, Proxy, Rule
from tests.chaos.witness import Witness
from tests.support.faults import FaultyProxy
from tests.support.operator import Operator
from tests.support.scene import Scene, changed
from tests.support.tracker import Tracker
from tests.support.users import Users

__all__ = ["Stage"]

Body = dict[str, Any]

REPLICAS = 2
HOLD_SECONDS = 3.0
PER_SECOND = 40.0
_QUICK = changed(
    steps=[{"weight": weight, "hold": f"{HOLD_SECONDS:g}s"} for weight in (20, 50)],
    rollback={"warmFor": "3s", "keep": 1},
)


class Stage:
    """See the module. Trials follow each other on it: each releases a version upon what the last one left."""

    def __init__(self, cluster: LocalCluster, folder: Path, start: Start) -> None:
        self.cluster = cluster
        self.namespace = f"chaos-{uuid.uuid4().hex[:6]}"
        self.scene = Scene(cluster, self.namespace)
        self.injected: Counter[str] = Counter()
        """What the present fault did, by its own counting."""
        self.applied = 0
        """How many times the spec was changed since the trial began."""
        self.version = 0
        """The newest version that was named."""
        self.mark = folder / f"{self.namespace}.mark"
        """A file that a story may make; pods that were told of it crash when it is there."""
        self.folder = folder
        self._start = start
        self._background = Background()
        self.api = Proxy(self._background, cluster.apiserver_url, cluster.ca_file)
        self.prometheus = FaultyProxy(cluster.prometheus_url)
        self.tracker = Tracker()
        self.witness = Witness(self._background, cluster.kubeconfig, cluster.ca_file, self.namespace)
        self.life: Life
        self._others: list[Life] = []
        self._lives = 0
        self._exchanged = False
        self._logs: list[Life] = []
        self._healed = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[Stage]:
        """Set it up: the first version serves."""
        self.make_namespace()
        self.api.open()
        with self.prometheus:
            self.witness.start()
            self.life = self.new_life()
            try:
                self.life.start()
                self.release()
                self.scene.reach("Stable", version=str(self.version), timeout=90)
                yield self
            finally:
                for life in (self.life, *self._others):
                    life.stop()
                self.witness.stop()
                self.api.close()
                self.tracker.close()
                self._background.close()
                self.cluster.kubectl("delete", "namespace", self.namespace, "--wait=false", check=False)

    def make_namespace(self) -> None:
        """Make the namespace, and wait until it takes pods."""
        self.cluster.kubectl("create", "namespace", self.namespace)
        default = ("get", "serviceaccount", "default")
        eventually(lambda: self.scene.kubectl(*default), "the namespace", errors=(LocalClusterError,), timeout=60)
        self.scene.kubectl("create", "role", "lease", "--verb=get,create,update", "--resource=leases")
        account = "--serviceaccount=modelrollout-system:modelrollout"
        self.scene.kubectl("create", "rolebinding", "lease", "--role=lease", account)
        # As overlays/namespaced has it: an operator of one namespace reads that one.
        self.scene.kubectl("create", "role", "namespace", "--verb=get", "--resource=namespaces")
        self.scene.kubectl("create", "rolebinding", "namespace", "--role=namespace", account)

    def new_life(self, start: Start | None = None, *first: str, replica: int = 1) -> Life:
        """An operator that works through the proxies, with the rights of its ServiceAccount; not started yet.
        ``start``: another way to start it, which wants ``first`` before the operator's own arguments."""
        self._lives += 1
        arguments = [*first, "--kubeconfig", str(self._kubeconfig()), "--prometheus-url", self.prometheus.url]
        arguments += self._lease(replica)
        arguments += [
            "--namespace",
            self.namespace,
            "--notifications",
            str(self._receivers()),
            "--notify-hosts",
            "http://127.0.0.1",
        ]
        return Life(start or self._start, arguments, self.folder / f"{self.namespace}-{self._lives}.log")

    def second_operator(self) -> Life:
        """Another one, by mistake; it is stopped with the stage at the latest."""
        life = self.new_life(replica=2)
        self._others.append(life)
        life.start()
        return life

    def exchange(self, life: Life) -> None:
        """From now on another process is the operator."""
        self.life.stop()
        self._logs.append(self.life)
        self._exchanged = True
        self.life = life
        life.start()

    def release(self, **env: str) -> str:
        """Apply the next version; its name."""
        self.version += 1
        self.apply(str(self.version), **env)
        return str(self.version)

    def apply(self, version: str, **env: str) -> None:
        """Apply a version, as it was applied before."""
        self.applied += 1
        self.scene.apply(version, change=_QUICK, **env)

    def users(self) -> Users:
        """Users who call it all the time."""
        return self.scene.users(PER_SECOND)

    def restore(self) -> None:
        """One ordinary operator again."""
        for life in self._others:
            life.stop()
        self._logs += self._others
        self._others = []
        if self._exchanged:
            self.exchange(self.new_life())
            self._exchanged = False

    def begin_trial(self) -> int:
        """Forget what the last trial counted; the version of the cluster at which this one begins."""
        self.injected.clear()
        self.applied = 0
        self.mark.unlink(missing_ok=True)
        self.api.writes.clear()
        self.api.calls.clear()
        self.api.rule = Rule()
        return self.witness.latest

    def break_api(self, rule: Rule) -> None:
        """From now on this is done to requests to the API server; what was done so far is counted."""
        before = self.api.rule
        self.api.rule = rule
        before.over = True
        self.injected.update(before.injected)

    def every(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something again and again, until all is healed."""
        healed = self._healed

        def again() -> None:
            while not healed.wait(seconds):
                work()

        threading.Thread(target=again, daemon=True).start()

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """Do something once, later; at the latest when all is healed."""
        healed = self._healed

        def then() -> None:
            healed.wait(seconds)
            work()

        threading.Thread(target=then, daemon=True).start()

    def heal(self) -> None:
        """Everything around the operator works again."""
        self._healed.set()
        self._healed = threading.Event()
        self.break_api(Rule())
        self.prometheus.heal()
        self.mark.unlink(missing_ok=True)

    def log(self) -> str:
        """All that its operators wrote."""
        return "".join(life.log() for life in (*self._logs, self.life, *self._others))

    def let_pass(self, seconds: float) -> None:
        """Let time pass: the fault lasts."""
        time.sleep(seconds)

    def _lease(self, replica: int) -> list[str]:
        """A Lease for each stage, in its own namespace; who starts again in a replica's place goes on at once."""
        if all(option.name != "lease_namespace" for option in main.params):
            return []
        return ["--lease-namespace", self.namespace, "--identity", f"{self.namespace}-{replica}"]

    def _kubeconfig(self) -> Path:
        """The operator's own, leading through the proxy."""
        own = Operator(self.cluster).kubeconfig
        config = yaml.safe_load(own.read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] = {"server": self.api.url}
        file = self.folder / f"{self.namespace}.kubeconfig"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        file.chmod(0o600)
        return file

    def _receivers(self) -> Path:
        """A tracker, which must get one ticket for each rollback, and a webhook, which must get one key."""
        token = self.folder / "token"
        token.write_text("ghp_0123456789abcdefghij\n", encoding="ascii")
        github = {"url": self.tracker.url, "repository": "acme/models", "tokenFile": str(token)}
        receivers = [
            {"name": "tickets", "about": ["ticket"], "github": github},
            {"name": "hook", "about": ["ticket"], "webhook": {"url": f"{self.tracker.url}/hook"}},
        ]
        file = self.folder / f"{self.namespace}-receivers.yaml"
        file.write_text(yaml.safe_dump({"receivers": receivers}), encoding="utf-8")
        return file
