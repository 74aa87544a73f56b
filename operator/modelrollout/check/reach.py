"""Will users reach it: the namespace, the gateway, the route, and what serves now."""

from __future__ import annotations

from typing import Final

from modelrollout.api.meta import LABEL_FREEZE, LABEL_NAME
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import ParentRef
from modelrollout.check.found import Api, Body, ForbiddenError, MissingError, Result, Results, State, skipped
from modelrollout.traffic.gateway_api import UnusableError, find_place
from modelrollout.traffic.rivals import catches_all, competes
from modelrollout.workloads.adopted import problem_of

__all__ = ["adopted", "gateways", "namespace", "routes"]

_GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
_ROUTES: Final = f"/apis/{_GATEWAY_GROUP}/v1/namespaces"


def namespace(api: Api, name: str) -> Results:
    """Whether the namespace is there, stays, and is not frozen."""
    try:
        found = api.get(f"/api/v1/namespaces/{name}")
    except MissingError:
        yield Result("namespace", State.FAIL, f"there is no namespace {name}", f"kubectl create namespace {name}")
        return
    except ForbiddenError as error:
        yield skipped("namespace", error)
        return
    if "deletionTimestamp" in found["metadata"]:
        yield Result("namespace", State.FAIL, f"namespace {name} is being deleted", "wait, or use another")
    elif (found["metadata"].get("labels") or {}).get(LABEL_FREEZE) == "true":
        text = f"namespace {name} is frozen: the candidate starts and gets no traffic"
        yield Result("namespace", State.WARN, text, f"kubectl label namespace {name} {LABEL_FREEZE}-")
    else:
        yield Result("namespace", State.OK, f"{name} is there")


def gateways(api: Api, rollout: Rollout) -> Results:
    """Whether each parent of the own route is there and lets a route of this namespace in."""
    for ref in rollout.spec.traffic.gateway_api.parent_refs or []:
        where = ref.namespace or rollout.namespace
        kind = "services" if ref.kind == "Service" else "gateways"
        base = "/api/v1" if ref.kind == "Service" else f"/apis/{_GATEWAY_GROUP}/v1"
        try:
            found = api.get(f"{base}/namespaces/{where}/{kind}/{ref.name}")
        except MissingError:
            text = f"there is no {ref.kind} {ref.name} in namespace {where}"
            yield Result("gateway", State.FAIL, text, f"correct parentRefs: kubectl get {kind} -n {where}")
        except ForbiddenError as error:
            yield skipped("gateway", error)
        else:
            yield (
                _door(api, rollout, ref, found)
                if kind == "gateways"
                else Result("gateway", State.OK, f"Service {where}/{ref.name} is there")
            )


def _door(api: Api, rollout: Rollout, ref: ParentRef, gateway: Body) -> Result:
    name = f"{gateway['metadata']['namespace']}/{ref.name}"
    for condition in (gateway.get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Accepted", "Programmed") and condition["status"] == "False":
            text = f"Gateway {name} is not {condition['type']}: {condition.get('message', '')}"
            return Result("gateway", State.FAIL, text, "see who runs the gateway")
    listeners = [
        one
        for one in gateway["spec"].get("listeners") or []
        if ref.section_name in (None, one["name"]) and ref.port in (None, one["port"])
    ]
    if not listeners:
        names = ", ".join(one["name"] for one in gateway["spec"].get("listeners") or [])
        text = f"Gateway {name} has no such listener (there are {names})"
        return Result("gateway", State.FAIL, text, "correct sectionName or port of the parentRef")
    open_to_us = [one for one in listeners if _lets_in(api, rollout.namespace, gateway, one)]
    if not open_to_us:
        text = f"no listener of Gateway {name} takes routes of namespace {rollout.namespace} (allowedRoutes)"
        return Result("gateway", State.FAIL, text, "ask who runs the gateway, or use another")
    fitting = [one for one in open_to_us if _serves(one, rollout.spec.traffic.gateway_api.hostnames)]
    if not fitting:
        text = f"no listener of Gateway {name} is for {', '.join(rollout.spec.traffic.gateway_api.hostnames or [])}"
        return Result("gateway", State.FAIL, text, "correct hostnames; they must lie within the listener's hostname")
    return Result("gateway", State.OK, f"Gateway {name} takes it at listener {fitting[0]['name']}")


def _lets_in(api: Api, ours: str, gateway: Body, listener: Body) -> bool:
    allowed = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    source = allowed.get("from", "Same")
    if source == "Selector":
        return _is_selected(api, ours, allowed.get("selector") or {})
    return source == "All" or (source == "Same" and bool(gateway["metadata"]["namespace"] == ours))


def _is_selected(api: Api, ours: str, selector: Body) -> bool:
    """Whether the namespace's labels fit; one that may not be seen is believed to."""
    try:
        labels = api.get(f"/api/v1/namespaces/{ours}")["metadata"].get("labels") or {}
    except (ForbiddenError, MissingError):
        return True
    wanted = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return wanted and all(_fits(labels, one) for one in selector.get("matchExpressions") or [])


def _fits(labels: Body, expression: Body) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _serves(listener: Body, hostnames: list[str] | None) -> bool:
    """Whether a listener's host name and one of ours meet; a star stands for one or more labels."""
    theirs = listener.get("hostname")
    if not theirs or not hostnames:
        return True
    return any(
        one == theirs
        or (theirs.startswith("*.") and one.removeprefix("*").endswith(theirs[1:]))
        or (one.startswith("*.") and theirs.endswith(one[1:]))
        for one in hostnames
    )


def routes(api: Api, rollout: Rollout) -> Results:
    """Whether the rule that is to be used is there, or nobody else has the host names already."""
    ref = rollout.spec.route
    try:
        if ref is not None:
            yield _rule(api.get(f"{_ROUTES}/{rollout.namespace}/httproutes/{ref.name}"), rollout)
            return
        found = api.get(f"{_ROUTES}/{rollout.namespace}/httproutes")["items"]
    except MissingError:
        what = f"there is no HTTPRoute {ref.name} in namespace {rollout.namespace}" if ref else "no Gateway API here"
        yield Result("route", State.FAIL, what, "apply it first" if ref else "install the Gateway API's CRDs")
        return
    except ForbiddenError as error:
        yield skipped("route", error)
        return
    yield _own(found, rollout)


def _rule(route: Body, rollout: Rollout) -> Result:
    adopted = rollout.spec.adopt.service if rollout.spec.adopt is not None else ""
    try:
        place = find_place(route, rollout.name, rollout.spec.route, adopted)
    except UnusableError as error:
        return Result("route", State.FAIL, str(error), "correct traffic.gatewayAPI.route, or the route")
    return Result("route", State.OK, f"HTTPRoute {route['metadata']['name']}, rule {place.rule + 1}: it can be used")


def _own(found: list[Body], rollout: Rollout) -> Result:
    own = next((one for one in found if one["metadata"]["name"] == rollout.name), None)
    if own is not None and (own["metadata"].get("labels") or {}).get(LABEL_NAME) != rollout.name:
        text = f"HTTPRoute {rollout.name} exists and is not the operator's (RouteInUse)"
        return Result("route", State.FAIL, text, "name it in traffic.gatewayAPI.route, or call the rollout otherwise")
    rivals = [one["metadata"]["name"] for one in found if own is None and _takes_all(one, rollout)]
    if rivals:
        text = f"HTTPRoute {rivals[0]} serves the same host on the same gateway, and the older one wins"
        return Result("route", State.FAIL, text, "adopt what serves there (adopt, traffic.gatewayAPI.route)")
    return Result("route", State.OK, "the operator's own HTTPRoute " + ("is there" if own else "will be the only one"))


def _takes_all(route: Body, rollout: Rollout) -> bool:
    rules = route["spec"].get("rules") or []
    return competes(route, rollout) and any(catches_all(rule) and rule.get("backendRefs") for rule in rules)


def adopted(api: Api, rollout: Rollout) -> Results:
    """Whether what is to be taken over is there."""
    adopt = rollout.spec.adopt
    if adopt is None:
        return
    try:
        service = _or_none(api, f"/api/v1/namespaces/{rollout.namespace}/services/{adopt.service}")
        path = f"/apis/apps/v1/namespaces/{rollout.namespace}/deployments/{adopt.deployment}"
        deployment = _or_none(api, path) if adopt.deployment else None
    except ForbiddenError as error:
        yield skipped("adopt", error)
        return
    labels = rollout.spec.workload.template.metadata.labels
    problem = problem_of(adopt, rollout.namespace, labels, service, deployment)
    if problem:
        yield Result("adopt", State.FAIL, problem, "correct spec.adopt")
        return
    ready = (deployment.get("status") or {}).get("readyReplicas", 0) if deployment is not None else None
    if ready == 0:
        text = f"Deployment {adopt.deployment} has no ready pod, so nothing serves that could be the baseline"
        yield Result("adopt", State.WARN, text, "start it first")
        return
    yield Result("adopt", State.OK, f"Service {adopt.service} serves" + (f", {ready} pods" if ready else ""))


def _or_none(api: Api, path: str) -> Body | None:
    try:
        return api.get(path)
    except MissingError:
        return None
