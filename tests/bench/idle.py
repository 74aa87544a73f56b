"""What the operator costs with many ModelRollouts at rest: memory, CPU time, API requests per minute.

    python -m localcluster exec -- .venv/bin/python -m tests.bench.idle [--objects 300] [--seconds 60]

Every object is a stable rollout with a Deployment, a pod (``sleep``), a Service and an HTTPRoute of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from localcluster import LocalCluster, Settings, eventually
from tests.support import manifests
from tests.support.audit import Audit
from tests.support.operator import Operator
from tests.support.scene import Scene, let_pass

_BATCH = 25
"""Objects in one `kubectl apply`, so that none takes longer than its timeout on a busy machine."""


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _object(number: int) -> dict[str, Any]:
    body = manifests.rollout("idle", name=f"idle-{number}")
    body["spec"]["gates"] = []
    container: dict[str, Any] = {"name": "server", "image": "registry.example/idle:1"}
    container |= {"command": ["sleep", "infinity"], "ports": [{"containerPort": 8080}]}
    template = {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    body["spec"]["workload"] = {"replicas": 1, "allowWithoutReadinessProbe": True, "template": template}
    return body


def _measure(what: str, operator: Operator, cluster: LocalCluster, seconds: float) -> None:
    audit, cpu = Audit(cluster), _cpu_seconds(operator.pid)
    let_pass(seconds)
    requests = audit.requests()
    used = 100 * (_cpu_seconds(operator.pid) - cpu) / seconds
    print(
        f"{what:32} {operator.memory_mib:6.0f} MiB   {used:5.2f} % CPU   "
        f"{60 * sum(requests.values()) / seconds:6.1f} requests/min   {dict(requests)}",
        flush=True,
    )


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    settings = Settings(audit_log=True, node_pods=given.objects + 20)
    with LocalCluster.start(settings=settings) as cluster:
        Operator.install(cluster)
        operator = Operator(cluster)
        try:
            operator.start()
            _measure("no object", operator, cluster, min(10.0, given.seconds))
            cluster.kubectl("create", "namespace", "idle")
            items = [_object(number) for number in range(given.objects)]
            begun, audit = time.monotonic(), Audit(cluster)
            for start in range(0, len(items), _BATCH):
                batch = {"apiVersion": "v1", "kind": "List", "items": items[start : start + _BATCH]}
                cluster.kubectl("apply", "-f", "-", input=json.dumps(batch))
            scene = Scene(cluster, "idle")

            def stable() -> bool:
                phases = [(one.get("status") or {}).get("phase") for one in scene.every("modelrollouts")]
                assert phases.count("Stable") == given.objects, f"{phases.count('Stable')} stable"
                return True

            eventually(stable, "all to be stable", timeout=900, interval=1)
            asked = sum(audit.requests().values()) / given.objects
            print(f"{given.objects} stable after {time.monotonic() - begun:.0f} s, {asked:.1f} requests each")
            let_pass(5.0)
            _measure(f"{given.objects} at rest", operator, cluster, given.seconds)
            operator.kill()
            audit = Audit(cluster)
            begun = time.monotonic()
            operator.start()
            let_pass(10.0)
            print(f"restart: {time.monotonic() - begun:.0f} s, {dict(audit.requests())}")
            _measure(f"{given.objects} at rest, restarted", operator, cluster, given.seconds)
        finally:
            operator.kill()


if __name__ == "__main__":
    main()
