"""Small objects of a namespace in which something serves."""

from __future__ import annotations

from typing import Any

from modelrollout.starting.serving import Namespace

Body = dict[str, Any]


def deployment(name: str = "ranker", **spec: Any) -> Body:
    """A Deployment with one container on port 8080."""
    container = {
        "name": "server",
        "image": "registry.example/ranker:1.8",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
    }
    template = {"metadata": {"labels": {"app": name, "team": "recs"}}, "spec": {"containers": [container]}}
    return {"metadata": {"name": name}, "spec": {"replicas": 3, "template": template} | spec}


def service(name: str = "ranker", *, target: Any = "http", **selector: str) -> Body:
    """A Service on port 80."""
    chosen = selector or {"app": "ranker"}
    return {"metadata": {"name": name}, "spec": {"selector": chosen, "ports": [{"port": 80, "targetPort": target}]}}


def rule(*backends: str, name: str = "", weight: int = 1, port: int = 80) -> Body:
    """A rule that leads to Services."""
    found: Body = {"backendRefs": [{"name": one, "port": port, "weight": weight} for one in backends]}
    return found | ({"name": name} if name else {})


def route(*rules: Body, name: str = "ranker") -> Body:
    """An HTTPRoute."""
    return {"metadata": {"name": name}, "spec": {"rules": list(rules) or [rule("ranker")]}}


def namespace(**objects: list[Body]) -> Namespace:
    """All of it; ``objects`` in place of the usual ones."""
    usual: dict[str, Any] = {"deployments": [deployment()], "services": [service()], "routes": [route()]}
    return Namespace("recs", **(usual | objects))
