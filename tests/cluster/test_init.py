"""``modelrollout init`` for a service that nobody here wrote a sample of: what it writes is taken by the API server."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.users import Users

_ROOT: Final = Path(__file__).parents[2]
_NAME: Final = "price-guard"
_TEMPLATE: Final[dict[str, Any]] = {
    "metadata": {
        "labels": {"app": _NAME, "tier": "web", "team": "pricing"},
        "annotations": {"example.com/owner": "pricing"},
    },
    "spec": {
        "terminationGracePeriodSeconds": 5,
        "containers": [
            {
                "name": "guard",
                "image": "registry.example:5000/pricing/guard:2.7.1",
                "command": [sys.executable, "-m", "tests.support.model_server"],
                "env": [
                    {"name": "PYTHONPATH", "value": str(_ROOT)},
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {
                        "name": "API_KEY",
                        "valueFrom": {"secretKeyRef": {"name": "guard", "key": "api", "optional": True}},
                    },
                    {"name": "MODEL_VERSION", "value": "2026-11-01"},
                ],
                "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9901}],
                "resources": {"requests": {"cpu": "10m"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1},
                "volumeMounts": [{"name": "scratch", "mountPath": "/tmp/scratch"}],
            }
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    },
}


def _objects(namespace: str) -> list[dict[str, Any]]:
    labels = {"app": _NAME, "tier": "web"}
    other = {"matches": [{"path": {"value": "/static"}}], "backendRefs": [{"name": "assets", "port": 80}]}
    mine = {"name": "prices", "backendRefs": [{"name": f"{_NAME}-svc", "port": 8000}]}
    bodies: list[dict[str, Any]] = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": _NAME},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": _TEMPLATE},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"{_NAME}-svc"},
            "spec": {"selector": labels, "ports": [{"port": 8000, "targetPort": "http"}]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "shop"},
            "spec": {
                "parentRefs": [{"name": "public", "namespace": "gateway-system"}],
                "hostnames": [manifests.host(namespace, _NAME)],
                "rules": [other, mine],
            },
        },
    ]
    return [body | {"metadata": body["metadata"] | {"namespace": namespace}} for body in bodies]


def _init(cluster: LocalCluster, namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(_ROOT / "operator")}
    command = [sys.executable, "-m", "modelrollout.cli.main", "init", "-n", namespace, *words]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def service(installed: LocalCluster, namespace: str) -> str:
    """A namespace in which the service runs and answers through the gateway."""
    installed.kubectl(
        "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": _objects(namespace)})
    )
    installed.kubectl("rollout", "status", "-n", namespace, f"deployment/{_NAME}", "--timeout=60s")
    return namespace


def test_what_init_writes_for_a_running_service_is_accepted(installed: LocalCluster, service: str) -> None:
    """From Deployment, Service, route and the gateway's metrics; accepted as it is, with every field known."""
    with Users(installed.gateway_url, manifests.host(service, _NAME), per_second=30) as users:
        eventually(lambda: users.codes[200] > 60, "requests through the gateway")
        done = _written(installed, service)
    made = yaml.safe_load(done)
    spec = made["spec"]
    assert spec["model"] == {"version": "2026-11-01"}
    assert spec["adopt"] == {"service": f"{_NAME}-svc", "port": 8000, "deployment": _NAME}
    assert spec["traffic"] == {"port": 8080, "gatewayAPI": {"route": {"name": "shop", "backend": f"{_NAME}-svc"}}}
    assert spec["workload"]["replicas"] == 2
    wanted = copy.deepcopy(_TEMPLATE)
    wanted["metadata"]["labels"] = {"team": "pricing"}
    del wanted["spec"]["containers"][0]["env"][-1]
    assert spec["workload"]["template"] == wanted, "as a person wrote it"
    assert [gate["preset"] for gate in spec["gates"]] == ["envoy/errors", "envoy/latency"]
    taken = installed.kubectl("apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", input=done)
    assert json.loads(taken.stdout)["spec"]["adopt"]["deployment"] == _NAME


def _written(cluster: LocalCluster, namespace: str) -> str:
    """The manifest, once Prometheus has seen the service at the gateway."""

    def written() -> str:
        done = _init(cluster, namespace, "--deployment", _NAME, "--prometheus", cluster.prometheus_url)
        assert done.returncode == 0, done.stderr
        return done.stdout if "preset: envoy/latency" in done.stdout else ""

    return eventually(written, "gates that are counted at the gateway", timeout=30)


def test_metrics_of_nobody_we_know_are_offered_and_mistakes_get_a_remedy(installed: LocalCluster, service: str) -> None:
    """A route without traffic: the pods' own metrics are there from the start. A slip in the name is named."""

    def offered() -> list[dict[str, Any]]:
        done = _init(installed, service, "--deployment", _NAME, "--prometheus", installed.prometheus_url, "-o", "json")
        gates: list[dict[str, Any]] = json.loads(done.stdout)["manifest"]["spec"]["gates"]
        return gates

    own = {"histogram": "ranker_request_seconds", "quantile": "0.95"}
    assert own in [gate.get("latency") for gate in eventually(offered, "the pods' metrics", timeout=30)]
    near = _init(installed, service, "--deployment", "price-gard")
    assert near.returncode == 1
    assert "did you mean price-guard?" in near.stderr
