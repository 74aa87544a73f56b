"""What is kept of watched objects is what is read of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from modelrollout.workloads import pods
from modelrollout.workloads.copies import slim_deployment, slim_pod, slim_slice
from modelrollout.workloads.deployment import view_of

Body = dict[str, Any]

_AT = "2026-11-21T03:00:00Z"
_MANAGED = [{"manager": "kubelet", "fieldsV1": {f"f:{number}": {} for number in range(200)}}]
_LABELS = {"modelrollout.io/name": "ranker", "modelrollout.io/revision": "5498b58d8f", "modelrollout.io/role": "stable"}
_TEMPLATE = {
    "metadata": {"labels": _LABELS},
    "spec": {
        "containers": [
            {
                "name": "server",
                "image": "x",
                "env": [{"name": "A", "value": "b"}] * 50,
                "ports": [{"containerPort": 8080}],
            }
        ]
    },
}


def _pod() -> Body:
    ended = {"exitCode": 1, "reason": "Error", "message": "no model"}
    return {
        "metadata": {
            "namespace": "recs",
            "name": "a",
            "resourceVersion": "5",
            "creationTimestamp": _AT,
            "labels": _LABELS,
            "managedFields": _MANAGED,
        },
        "spec": _TEMPLATE["spec"],
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": _AT},
                {"type": "Ready", "status": "True", "lastTransitionTime": _AT},
            ],
            "containerStatuses": [
                {
                    "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": ended},
                }
            ],
        },
    }


def _deployment() -> Body:
    return {
        "metadata": {
            "namespace": "recs",
            "name": "ranker-5498b58d8f",
            "resourceVersion": "7",
            "labels": _LABELS,
            "annotations": {"modelrollout.io/promoted-at": _AT, "modelrollout.io/version": "1"},
            "managedFields": _MANAGED,
        },
        "spec": {"replicas": 2, "template": _TEMPLATE, "selector": {"matchLabels": _LABELS}},
        "status": {"readyReplicas": 2},
    }


def test_a_revision_looks_the_same_from_the_slim_copies() -> None:
    whole = view_of(_deployment(), [_pod()], 2)
    assert view_of(slim_deployment(_deployment()), [slim_pod(_pod())], 2) == whole
    assert whole.failure == "pod a: CrashLoopBackOff after 3 restarts: no model"
    assert whole.promoted_at == datetime(2026, 11, 21, 3, tzinfo=UTC)


def test_a_pod_says_the_same_of_itself_and_is_small() -> None:
    slim = slim_pod(_pod())
    for ask in (pods.failure, pods.waiting, pods.ready_since, pods.progress_at):
        assert ask(slim) == ask(_pod())
    assert len(json.dumps(slim)) < len(json.dumps(_pod())) / 4
    assert len(json.dumps(slim_deployment(_deployment()))) < len(json.dumps(_deployment())) / 4


def test_the_endpoints_keep_only_whether_they_are_ready() -> None:
    ready = {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"name": "a"}}
    labels = _LABELS | {"kubernetes.io/service-name": "ranker-5498b58d8f"}
    body = {"metadata": {"namespace": "recs", "name": "s", "resourceVersion": "3", "labels": labels}, "ports": [{}]}
    assert slim_slice(body | {"endpoints": [ready, {"addresses": ["10.0.0.2"]}]}) == {
        "metadata": body["metadata"],
        "endpoints": [{"conditions": {"ready": True}}, {}],
    }
    assert slim_slice(body | {"endpoints": None})["endpoints"] == []
