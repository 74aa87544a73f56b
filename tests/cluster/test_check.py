"""``modelrollout check`` against a real API server, gateway and Prometheus, as an administrator and as a viewer."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.operator import ROOT, Operator
from tests.support.scene import Scene

Body = dict[str, Any]


@pytest.fixture
def serving(cluster: LocalCluster, operator: Operator, namespace: str) -> Scene:
    """A first version that serves and has had requests."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    with scene.users(40):
        eventually(lambda: _counted(cluster, namespace), "its requests in Prometheus", timeout=60)
    return scene


def _counted(cluster: LocalCluster, namespace: str) -> bool:
    query = urllib.parse.urlencode({"query": f'sum(ranker_requests_total{{namespace="{namespace}"}} offset 5s) > 20'})
    with urllib.request.urlopen(f"{cluster.prometheus_url}/api/v1/query?{query}", timeout=10) as answer:
        return bool(json.load(answer)["data"]["result"])


def _check(
    cluster: LocalCluster, body: Body, *, kubeconfig: Path | None = None, more: tuple[str, ...] = ()
) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Exit code, and by check: state, what, remedy (the worst where several have the same name)."""
    environment = os.environ | {
        "KUBECONFIG": str(kubeconfig or cluster.kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
    }
    command = [sys.executable, "-m", "modelrollout.cli.main", "check", "-f", "-", "-o", "json", *more]
    done = subprocess.run(
        command, input=json.dumps(body), capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    worst = ["ok", "skipped", "warn", "fail"]
    found: dict[str, tuple[str, str, str]] = {}
    for one in json.loads(done.stdout):
        before = found.get(one["check"])
        if before is None or worst.index(one["state"]) > worst.index(before[0]):
            found[one["check"]] = (one["state"], one["what"], one["remedy"])
    return done.returncode, found


def test_detail_37_check_finds_from_outside_what_a_release_would_stumble_over(
    cluster: LocalCluster, serving: Scene
) -> None:
    prometheus = ("--prometheus", cluster.prometheus_url)
    right = serving.manifest("2")
    code, found = _check(cluster, right, more=prometheus)
    assert code == 0, found
    for check in ("crds", "namespace", "dry run", "pods", "quota", "gateway", "route", "prometheus"):
        assert found[check][0] == "ok", (check, found[check])
    assert "it has looked at ranker" in found["operator"][1], "here it is a process and no pod"
    assert found["gate errors"][0] == "ok", (found["gate errors"], found["scraped"], found["sees errors"])
    assert "events" in found["gate errors"][1]
    assert found["scraped"][0] == "ok", found

    wrong = copy.deepcopy(right)
    wrong["spec"]["gates"] = [
        manifests.ERRORS | {"ratio": {"bad": 'ranker_request_total{code="5"}', "total": "ranker_request_total"}},
        manifests.P95 | {"atMost": "1ms"},
    ]
    wrong["spec"]["traffic"]["gatewayAPI"]["parentRefs"] = [{"name": "pubic", "namespace": "gateway-system"}]
    wrong["spec"]["workload"]["template"]["spec"]["imagePullSecrets"] = [{"name": "pull"}]
    wrong["spec"]["workload"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    serving.kubectl("apply", "-f", "-", input=json.dumps(quota | {"spec": {"hard": {"requests.cpu": "3"}}}))
    eventually(
        lambda: json.loads(serving.kubectl("get", "quota", "small", "-o", "json"))["status"]["hard"],
        "the quota to count",
    )
    code, found = _check(cluster, wrong, more=prometheus)
    assert code == 1
    assert found["gateway"][0] == "fail"
    assert "there is no Gateway pubic in namespace gateway-system" in found["gateway"][1]
    assert found["gate errors"][0] == "fail"
    assert "near names are ranker_requests_total" in found["gate errors"][1]
    assert found["gate p95"][0] == "warn"
    assert "stable revision itself is beyond the limit" in found["gate p95"][1]
    assert found["pull secret"][0] == "fail"
    assert found["quota"][0] == "fail"
    assert "room for 1 pods more" in found["quota"][1]


def test_detail_37_check_works_for_who_may_only_look(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """The built-in role `view` in one namespace: what it may not see is skipped, and the right is named."""
    scene = Scene(cluster, namespace)
    scene.kubectl("create", "serviceaccount", "viewer")
    scene.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", f"--serviceaccount={namespace}:viewer")
    kubeconfig = cluster.service_account_kubeconfig(namespace, "viewer")
    body = scene.manifest("1")
    body["spec"]["workload"]["template"]["spec"]["imagePullSecrets"] = [{"name": "pull"}]

    def looked() -> dict[str, tuple[str, str, str]]:
        code, found = _check(cluster, body, kubeconfig=kubeconfig)
        assert found["quota"][0] == "ok", found
        assert code == 0, found
        return found

    found = eventually(looked, "the role to be known", timeout=30)
    assert found["dry run"][0] == "skipped"
    assert 'cannot patch resource "modelrollouts"' in found["dry run"][1]
    assert found["gateway"][0] == "skipped"
    assert 'cannot get resource "gateways"' in found["gateway"][1]
    assert found["pull secret"][0] == "skipped"
    assert found["policies"][0] == "skipped"
    assert found["crds"][0] == "ok"
    assert found["prometheus"][0] == "skipped"


def test_check_of_a_manifest_that_is_wrong_asks_no_cluster(cluster: LocalCluster, namespace: str) -> None:
    body = Scene(cluster, namespace).manifest("1")
    body["spec"]["warmup"] = "soon"
    code, found = _check(cluster, body, kubeconfig=Path("/nonexistent"))
    assert code == 1
    assert set(found) == {"manifest"}
    assert "spec.warmup" in found["manifest"][1]
