"""The cluster of the bench with all that belongs to it, and what a scenario can do with it."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from localcluster import LocalCluster, LocalClusterError, Settings, addresses, eventually
from localcluster.process import Program
from tests.bench.scale import kwok
from tests.bench.scale.api import Body, send_all
from tests.bench.scale.manifests import TEAMS
from tests.bench.scale.meters import Meter, memory_mib
from tests.bench.scale.standin import PORT, SHARDS
from tests.support.operator import Operator

__all__ = ["Progress", "Rig", "running"]

Progress = Callable[[str], None]
Key = tuple[str, str]

_STANDIN: Final = f"http://{addresses.HOST}:{PORT}"
_ALL_STABLE_SECONDS: Final = 1200.0


def _scrape_jobs() -> tuple[dict[str, Any], ...]:
    """The stand-in's targets. Its labels win, for it speaks for thousands of pods."""
    targets = [
        {"targets": [f"{addresses.HOST}:{PORT}"], "labels": {"__metrics_path__": f"/metrics/{shard}"}}
        for shard in range(SHARDS)
    ]
    for shard, one in enumerate(targets):
        one["labels"] |= {"instance": f"shard-{shard}"}  # type: ignore[operator]
    return ({"job_name": "pods", "honor_labels": True, "static_configs": targets},)


@contextmanager
def running(
    *,
    seed: int = 1,
    operator_arguments: Sequence[str] = (),
    audit: bool = True,
    progress: Progress = lambda _line: None,
) -> Iterator[Rig]:
    """Start everything but the operator; all of it ends with the block.

    ``audit``: requests can be counted; the log grows by a gigabyte in some hours.
    """
    settings = Settings(audit_log=audit, data_plane=False, scrape_jobs=_scrape_jobs())
    with LocalCluster.start(settings=settings, progress=progress) as cluster:
        standin = _standin(cluster, seed)
        programs = [kwok.program(cluster), standin]
        operator: Operator | None = None
        try:
            Operator.install(cluster)
            for program in programs:
                program.start()
            standin.wait_until(lambda: bool(_ask("/seen") is not None), "it answers", 60)
            operator = Operator(cluster)
            operator.arguments += operator_arguments
            rig = Rig(cluster, operator, {program.name: program for program in programs})
            rig.prepare()
            yield rig
        finally:
            if operator is not None:
                operator.kill()
            for program in programs:
                program.stop()


def _standin(cluster: LocalCluster, seed: int) -> Program:
    command = [sys.executable, "-m", "tests.bench.scale.standin", str(cluster.kubeconfig), str(PORT), str(seed)]
    path = os.pathsep.join(one for one in sys.path if one)
    return Program("standin", command, cluster.folder / "logs" / "standin.log", {**os.environ, "PYTHONPATH": path})


def _ask(path: str, body: Body | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(_STANDIN + path, data=data), timeout=60) as answer:
        return json.load(answer)


class Rig:
    """See the module."""

    def __init__(self, cluster: LocalCluster, operator: Operator, programs: Mapping[str, Program]) -> None:
        self.cluster, self.operator, self._programs = cluster, operator, programs

    def prepare(self) -> None:
        """Nodes and namespaces."""
        send_all(self.cluster.kubeconfig, "nodes", kwok.nodes())
        teams = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{one}"}} for one in range(TEAMS)]
        send_all(self.cluster.kubeconfig, "namespaces", teams)

    def apply(self, rollouts: Iterable[Body]) -> dict[str, float]:
        """Apply ModelRollouts side by side; by key, when each was there."""
        bodies = list(rollouts)
        times = send_all(self.cluster.kubeconfig, "modelrollouts", bodies)
        names = ["/".join((one["metadata"]["namespace"], one["metadata"]["name"])) for one in bodies]
        return dict(zip(names, times, strict=True))

    def seen(self) -> dict[str, Any]:
        """What the stand-in saw of every rollout, by key.

        Raises
        ------
        LocalClusterError
            If the operator has ended: nothing that is waited for would ever come.
        """
        if not self.operator.is_alive:
            raise LocalClusterError("the operator has ended", f"The end of its log:\n{self.operator.log()[-3000:]}")
        found: dict[str, Any] = _ask("/seen")
        return found

    def let_fail(self, keys: Iterable[str], version: str, errors: float) -> float:
        """Let one version of some rollouts fail from now on; when that was."""
        asked = {"keys": [key.split("/") for key in keys], "version": version, "errors": errors}
        return float(_ask("/break", asked)["at"])

    def until(self, check: Callable[[dict[str, Any]], object], what: str, *, timeout: float) -> dict[str, Any]:
        """Wait until what was seen is as wanted, looking twice a second; what was seen."""

        def there() -> dict[str, Any]:
            found = self.seen()
            assert check(found), "not yet"
            return found

        return eventually(there, what, timeout=timeout, interval=0.5)

    def all_stable(self, keys: Sequence[str], version: str, progress: Progress) -> float:
        """Wait until all serve a version; seconds."""
        begun = told = time.monotonic()

        def check(seen: dict[str, Any]) -> bool:
            nonlocal told
            now = [(seen.get(key, {}).get("phase"), seen.get(key, {}).get("stable")) for key in keys]
            ready = now.count(("Stable", version))
            if time.monotonic() - told > 10:
                told = time.monotonic()
                progress(f"{ready} of {len(keys)} stable")
            return ready == len(keys)

        self.until(check, f"all to be stable at version {version}", timeout=_ALL_STABLE_SECONDS)
        return time.monotonic() - begun

    def pids(self) -> dict[str, int]:
        """All processes by name."""
        ours = {name: program.pid for name, program in self._programs.items() if program.pid is not None}
        return {**self.cluster.pids(), **ours, "operator": self.operator.pid}

    def meter(self) -> Meter:
        """Count costs from now on."""
        return Meter(self.cluster, self.pids())

    def operator_mib(self) -> float:
        """The operator's memory at most, since its start."""
        return memory_mib(self.operator.pid, peak=True)

    def looked_at_since(self, moment: float) -> int:
        """How many rollouts on trial the operator has judged by metrics of after a moment, by its own metrics."""
        name = "modelrollout_rollout_evaluated_timestamp_seconds"
        return sum(value > moment for one, _, value in self.operator.scrape().of() if one == name)
