"""A template read from the API server becomes what a person wrote."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from modelrollout.starting.template import as_written

_WRITTEN: dict[str, Any] = {
    "metadata": {"labels": {"app": "ranker"}, "annotations": {"example.com/owner": "recs"}},
    "spec": {
        "containers": [
            {
                "name": "server",
                "image": "registry.example/ranker:1.8",
                "ports": [{"containerPort": 8080}, {"containerPort": 9000, "protocol": "UDP"}],
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api"}}},
                    {"name": "LEVEL", "value": "info"},
                ],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5},
                "livenessProbe": {"grpc": {"port": 9000}},
            },
            {"name": "proxy", "image": "proxy@sha256:0123", "imagePullPolicy": "Always"},
        ],
        "initContainers": [{"name": "fetch", "image": "fetch"}],
        "serviceAccountName": "ranker",
        "terminationGracePeriodSeconds": 120,
        "securityContext": {"runAsNonRoot": True},
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "config", "configMap": {"name": "ranker"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 256}},
        ],
    },
}


def _as_read() -> dict[str, Any]:
    """The same, as the API server gives it out."""
    found = copy.deepcopy(_WRITTEN)
    found["metadata"] |= {"creationTimestamp": None}
    found["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2026-11-01T10:00:00Z"
    spec = found["spec"]
    spec |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    spec["serviceAccount"] = "ranker"
    policies = ("IfNotPresent", "Always", "Always")
    for one, policy in zip((*spec["containers"], *spec["initContainers"]), policies, strict=True):
        one |= {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}}
        one["imagePullPolicy"] = policy
    server = spec["containers"][0]
    server["ports"][0]["protocol"] = "TCP"
    server["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    probe = {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
    server["readinessProbe"] |= probe
    server["readinessProbe"]["httpGet"]["scheme"] = "HTTP"
    server["livenessProbe"] |= probe | {"periodSeconds": 10}
    server["livenessProbe"]["grpc"]["service"] = ""
    spec["volumes"][1]["configMap"]["defaultMode"] = 420
    return found


def test_what_the_api_server_filled_in_is_gone_and_nothing_else() -> None:
    read = _as_read()
    assert as_written(read) == _WRITTEN
    assert read == _as_read(), "what was read is not changed"


def test_the_containers_stand_first() -> None:
    assert next(iter(as_written(_as_read())["spec"])) == "containers"


@pytest.mark.parametrize(
    ("image", "policy", "stays"),
    [
        ("a:1", "IfNotPresent", False),
        ("a:1", "Always", True),
        ("a", "Always", False),
        ("a:latest", "Always", False),
        ("host:5000/a", "Always", False),
        ("a@sha256:12", "IfNotPresent", False),
        ("a:latest", "Never", True),
    ],
)
def test_a_pull_policy_is_kept_when_it_is_not_the_default(image: str, policy: str, stays: bool) -> None:
    template = {"spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]}}
    assert ("imagePullPolicy" in as_written(template)["spec"]["containers"][0]) is stays
