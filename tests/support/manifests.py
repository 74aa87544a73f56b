"""A ModelRollout with everything compressed into seconds, to be varied by tests."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

from localcluster import LocalCluster
from tests.support.operator import ROOT

Body = dict[str, Any]

ERRORS = {
    "name": "errors",
    "ratio": {"bad": 'ranker_requests_total{code=~"5.."}', "total": "ranker_requests_total"},
    "atMost": "baseline + 1pp",
    "minSamples": 20,
}
P95 = {"name": "p95", "latency": {"histogram": "ranker_request_seconds", "quantile": "0.95"}, "atMost": "200ms"}
CTR = {
    "name": "ctr",
    "ratio": {"good": "ranker_clicks_total", "total": "ranker_impressions_total"},
    "labelsWithin": "0s",
    "atLeast": "80% of baseline",
    "minSamples": 20,
}


def template(**env: str) -> Body:
    """Pods that run the test's model server."""
    own = {"PYTHONPATH": str(ROOT)} | env
    return {
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {
                    "name": "server",
                    "image": "registry.example/ranker-server:1.8",
                    "command": [sys.executable, "-m", "tests.support.model_server"],
                    "env": [
                        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                        *({"name": name, "value": value} for name, value in own.items()),
                    ],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1},
                    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
                }
            ],
        }
    }


def rollout(namespace: str, *, version: str = "1", name: str = "ranker", **env: str) -> Body:
    """The ModelRollout."""
    return {
        "apiVersion": "modelrollout.io/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"version": version, "uri": f"s3://models/{name}/{version}"},
            "workload": {"replicas": 2, "template": template(**env)},
            "traffic": {
                "gatewayAPI": {
                    "parentRefs": [{"name": "public", "namespace": "gateway-system"}],
                    "hostnames": [host(namespace, name)],
                }
            },
            "steps": [{"weight": 20, "hold": "4s"}, {"weight": 50, "hold": "4s"}],
            "gates": [copy.deepcopy(ERRORS)],
            "warmup": "1s",
            "drainDelay": "1s",
            "evaluation": {"interval": "1s", "minBreachTime": "1s", "blindTimeout": "8s"},
            "rollback": {"warmFor": "1m"},
        },
    }


def host(namespace: str, name: str = "ranker") -> str:
    """Host name of a rollout's route."""
    return f"{name}.{namespace}.example.com"


def apply(cluster: LocalCluster, body: Body) -> None:
    """kubectl apply."""
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
