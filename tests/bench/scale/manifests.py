"""The rollouts of the bench: three gates, 200 requests a second, of which a candidate at 10 % gets 20."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from localcluster import LocalCluster

__all__ = ["ERRORS_LABEL", "REQUESTS", "TEAMS", "Setting", "keys", "rollout"]

REQUESTS: Final = 200.0
"""Requests a second of each rollout, both revisions together."""
TEAMS: Final = 10
"""Namespaces that the rollouts are spread over."""
ERRORS_LABEL: Final = "bench/errors"
"""Label of pods whose version fails from the beginning: the share, in percent."""

Key = tuple[str, str]
Body = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """How the rollouts are judged; printed beside every figure, because speed is bought with it."""

    interval: str = "10s"
    min_breach_time: str = "4s"
    errors_above: str = "15%"
    false_rollback_rate: str = "1%"


def keys(number: int) -> list[Key]:
    """Namespace and name of so many rollouts."""
    return [(f"team-{one % TEAMS}", f"ranker-{one}") for one in range(number)]


def _gates() -> list[Body]:
    return [
        {
            "name": "errors",
            "ratio": {"bad": 'ranker_requests_total{code=~"5.."}', "total": "ranker_requests_total"},
            "atMost": "baseline + 1pp",
        },
        {"name": "p95", "latency": {"histogram": "ranker_request_seconds", "quantile": "0.95"}, "atMost": "200ms"},
        {
            "name": "ctr",
            "ratio": {"good": "ranker_clicks_total", "total": "ranker_impressions_total"},
            "labelsWithin": "0s",
            "atLeast": "80% of baseline",
        },
    ]


def _template(labels: dict[str, str]) -> Body:
    container: Body = {
        "name": "server",
        "image": "registry.example/ranker-server:1",
        "ports": [{"containerPort": 8080}],
    }
    container["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 8080}}
    return {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def rollout(
    key: Key, version: str, setting: Setting, *, steps: list[Body], errors: str = "", warm_for: str = "1h"
) -> Body:
    """A ModelRollout. ``errors``: percent of requests that this version fails."""
    labels = {"bench/version": version} | ({ERRORS_LABEL: errors} if errors else {})
    gateway = LocalCluster.gateway
    return {
        "apiVersion": "modelrollout.io/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"namespace": key[0], "name": key[1]},
        "spec": {
            "model": {"version": version, "uri": f"s3://models/{key[1]}/{version}"},
            "workload": {"replicas": 1, "template": _template(labels)},
            "traffic": {
                "gatewayAPI": {
                    "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace}],
                    "hostnames": [f"{key[1]}.{key[0]}.example.com"],
                }
            },
            "steps": steps,
            "gates": _gates(),
            "warmup": "0s",
            "drainDelay": "1s",
            "evaluation": {
                "interval": setting.interval,
                "minBreachTime": setting.min_breach_time,
                "falseRollbackRate": setting.false_rollback_rate,
                "catastrophe": {"errorsAbove": setting.errors_above, "minRequests": 20},
            },
            "rollback": {"warmFor": warm_for},
        },
    }
