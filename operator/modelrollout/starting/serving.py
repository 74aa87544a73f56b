"""What serves now, found from the objects of a namespace: the Deployment, its Service, the rule that leads to it. Pure.

Nothing is asked that can be found out, and nothing is guessed: where there are two that fit, the person says which.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelrollout.api.meta import LABEL_NAME
from modelrollout.starting.template import Body

__all__ = ["Asked", "Namespace", "Serving", "UnclearError", "find_serving"]

_SERVICE_KINDS: Final = (None, "Service")


class UnclearError(Exception):
    """Something is missing, or fits twice; ``remedy`` is what to do or to say."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person says; empty for what is to be found out."""

    deployment: str
    service: str = ""
    route: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Namespace:
    """The objects of a namespace, as the API server gives them out."""

    name: str
    deployments: Sequence[Body]
    services: Sequence[Body]
    routes: Sequence[Body]
    autoscalers: Sequence[Body] = ()


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves now. ``port`` is the Service's, ``container_port`` where it leads to, ``rule`` empty when the Service
    alone tells which rule of the route it is."""

    namespace: str
    deployment: Body
    service: Body
    port: int
    container: int
    """Index of the container that serves."""
    container_port: int
    route: Body
    rule: str
    backend: Body
    others: tuple[Body, ...]
    """Other backends of the rule."""
    autoscaler: Body | None
    elsewhere: tuple[str, ...]
    """Other routes and rules that lead to the Service."""

    @property
    def name(self) -> str:
        """The Deployment's name."""
        return str(self.deployment["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class _Way:
    route: Body
    index: int
    backend: Body

    @property
    def rule(self) -> Body:
        found: Body = self.route["spec"]["rules"][self.index]
        return found

    def text(self) -> str:
        name = self.rule.get("name")
        return f"{_name(self.route)} (rule {name})" if name else f"{_name(self.route)} (rule {self.index}, unnamed)"


def find_serving(there: Namespace, asked: Asked) -> Serving:
    """What serves now.

    Raises
    ------
    UnclearError
        If something is missing or fits twice.
    """
    deployment = _deployment(there, asked.deployment)
    service, ways = _service(there, deployment, asked)
    way = _way(service, ways, asked)
    port = _port(service, way.backend)
    container, container_port = _container(deployment, service, port)
    return Serving(
        namespace=there.name,
        deployment=deployment,
        service=service,
        port=int(port["port"]),
        container=container,
        container_port=container_port,
        route=way.route,
        rule=str(way.rule.get("name", "")) if len([one for one in ways if one.route is way.route]) > 1 else "",
        backend=way.backend,
        others=tuple(one for one in way.rule["backendRefs"] if one is not way.backend),
        autoscaler=next((one for one in there.autoscalers if _scales(one, deployment)), None),
        elsewhere=tuple(one.text() for one in ways if one is not way),
    )


def _name(body: Body) -> str:
    return str(body["metadata"]["name"])


def _deployment(there: Namespace, name: str) -> Body:
    found = next((one for one in there.deployments if _name(one) == name), None)
    if found is None:
        names = sorted(_name(one) for one in there.deployments)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:10]
        remedy = f"did you mean {' or '.join(near)}?" if near else "give its namespace with -n"
        raise UnclearError(f'there is no Deployment "{name}" in namespace {there.name}', remedy)
    owner = (found["metadata"].get("labels") or {}).get(LABEL_NAME)
    if owner:
        raise UnclearError(
            f"Deployment {name} is a revision of the ModelRollout {owner}", f"edit that: kubectl edit mro {owner}"
        )
    return found


def _service(there: Namespace, deployment: Body, asked: Asked) -> tuple[Body, list[_Way]]:
    """The Service of the pods, and every way to it; of several the one that a route leads to."""
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    fitting = [one for one in there.services if _selects(one, labels)]
    names = ", ".join(sorted(_name(one) for one in fitting))
    if asked.service:
        fitting = [one for one in fitting if _name(one) == asked.service]
        if not fitting:
            raise UnclearError(
                f"Service {asked.service} does not select the pods of {_name(deployment)}",
                f"these do: {names}" if names else "no Service of the namespace does",
            )
    if not fitting:
        raise UnclearError(
            f"no Service selects the pods of Deployment {_name(deployment)}",
            f"users must reach it by one: kubectl expose deployment {_name(deployment)} -n {there.name} --port 80",
        )
    ways = {_name(one): _ways(there.routes, _name(one)) for one in fitting}
    led_to = [one for one in fitting if ways[_name(one)]]
    if not led_to:
        raise UnclearError(
            f"no HTTPRoute of namespace {there.name} leads to Service {names}",
            "traffic is shifted by an HTTPRoute, so users must come through one: make one whose backendRefs name the "
            "Service, and see that a request through it is answered",
        )
    if len(led_to) > 1:
        several = ", ".join(sorted(_name(one) for one in led_to))
        raise UnclearError(f"several Services lead to these pods: {several}", "say which one: --service NAME")
    return led_to[0], ways[_name(led_to[0])]


def _selects(service: Body, labels: Mapping[str, str]) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _ways(routes: Sequence[Body], service: str) -> list[_Way]:
    return [
        _Way(route, index, backend)
        for route in routes
        for index, rule in enumerate(route["spec"].get("rules") or [])
        for backend in rule.get("backendRefs") or []
        if backend["name"] == service and backend.get("kind") in _SERVICE_KINDS and not backend.get("namespace")
    ]


def _way(service: Body, ways: list[_Way], asked: Asked) -> _Way:
    fitting = [
        one
        for one in ways
        if (not asked.route or _name(one.route) == asked.route)
        and (not asked.rule or one.rule.get("name") == asked.rule)
    ]
    if not fitting:
        there = "; ".join(one.text() for one in ways)
        raise UnclearError(f"no such rule leads to Service {_name(service)}", f"these do: {there}")
    if len(fitting) == 1 and (fitting[0].rule.get("name") or _alone(fitting[0], ways)):
        return fitting[0]
    there = "; ".join(one.text() for one in fitting)
    if len({_name(one.route) for one in fitting}) > 1:
        raise UnclearError(f"several HTTPRoutes lead to Service {_name(service)}: {there}", "say which: --route NAME")
    raise UnclearError(
        f"several rules lead to Service {_name(service)}: {there}",
        "say which: --rule NAME (a rule without a name needs one first: spec.rules[].name)",
    )


def _alone(way: _Way, ways: list[_Way]) -> bool:
    return sum(one.route is way.route for one in ways) == 1


def _port(service: Body, backend: Body) -> Body:
    ports = service["spec"].get("ports") or []
    for port in ports:
        if port["port"] == backend.get("port") or (backend.get("port") is None and len(ports) == 1):
            found: Body = port
            return found
    raise UnclearError(
        f"the route leads to port {backend.get('port')} of Service {_name(service)}, which has none of that number",
        "correct the route or the Service: this backend answers nobody",
    )


def _container(deployment: Body, service: Body, port: Body) -> tuple[int, int]:
    """Which container serves, and on which port."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    target: Any = port.get("targetPort", port["port"])
    for index, container in enumerate(containers):
        for one in container.get("ports") or []:
            if target in (one["containerPort"], one.get("name")):
                return index, int(one["containerPort"])
    if isinstance(target, int):
        return 0, target
    raise UnclearError(
        f'Service {_name(service)} leads to a port named "{target}", and no container has one',
        "name the container's port, or give the Service a number as targetPort",
    )


def _scales(autoscaler: Body, deployment: Body) -> bool:
    target = autoscaler["spec"].get("scaleTargetRef") or {}
    return target.get("kind") == "Deployment" and target.get("name") == _name(deployment)
