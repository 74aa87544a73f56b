"""Traffic by a Gateway API HTTPRoute: one of the operator's own, or one rule in a route that the user owns.

``rules`` and ``backendRefs`` are atomic lists, so server-side apply takes over a whole route. That is right for a route
of the operator's own. In a user's route only the managed backends of the named rule are replaced, by a JSON patch that
tests the resourceVersion; every other byte is passed back as it was read.

Both writes carry the marker annotation in the same request, so that weights and their reason can never differ.

Sources: Gateway API v1 (HTTPRoute), RFC 6902 (JSON patch), KEP-555 (server-side apply).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from modelrollout.api.meta import (
    ANNOTATION_APPLIED,
    ANNOTATION_OWNER_UID,
    EXTERNAL,
    FIELD_MANAGER,
    LABEL_NAME,
    SERVICE_PORT,
)
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import DeletionPolicy, RouteRef
from modelrollout.engine.model import Marker, RouteState, RouteView, SetWeights
from modelrollout.engine.revision import child_name, is_hash
from modelrollout.kube.client import ENDPOINT_SLICES, HTTP_ROUTES, SERVICES, ConflictError, Kube, KubeError, NotFound
from modelrollout.kube.derived import Derived
from modelrollout.kube.limits import Lane
from modelrollout.kube.reflector import Reflector
from modelrollout.traffic.rivals import catches_all, competes

__all__ = ["GatewayApiTraffic", "Place", "UnusableError", "build_route", "find_place", "last_writer", "view_of"]

Body = dict[str, Any]

_ATTEMPTS: Final = 5
_LARGEST_WEIGHT: Final = 1_000_000
"""Source: Gateway API v1, BackendRef.weight."""
_SERVICE_KINDS: Final = ("", "Service")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a route the managed backends are: the rule's index, their shares, and what they share."""

    rule: int
    weights: Mapping[str, int]
    """Our revisions' raw weights, as they stand."""
    foreign: tuple[Body, ...]
    """Other people's backends in the rule."""
    total: int
    """What the managed backends share; a multiple of 100."""
    position: int
    """Where among the rule's backends ours begin."""
    placeholder: int = 0
    """Weight of the user's placeholder, if it stands in the rule."""
    filters: tuple[Body, ...] = ()
    """Filters of the managed backends; a placeholder's are handed down to the revisions."""
    port: int | None = None
    """Port at which the adopted Service stands in the rule."""


class UnusableError(Exception):
    """The route cannot be used as the spec says; the text names the remedy."""


def _revision_of(backend: Body, rollout: str, adopted: str) -> str:
    """The revision that a backend leads to; empty when it is not managed."""
    if backend.get("kind", "") not in _SERVICE_KINDS or backend.get("group"):
        return ""
    if backend["name"] == adopted and "namespace" not in backend:
        return EXTERNAL
    prefix, _, revision = backend["name"].rpartition("-")
    return revision if prefix == rollout and is_hash(revision) else ""


def find_place(route: Body, rollout: str, ref: RouteRef | None, adopted: str = "") -> Place:
    """Where the managed backends are, or belong. ``adopted``: the Service that is the revision ``external``.

    Raises
    ------
    UnusableError
        If the rule cannot be found, or its weights cannot be shared in percent.
    """
    rules = route["spec"].get("rules") or []
    index = 0 if ref is None else _rule_index(rules, rollout, ref, adopted)
    backends = rules[index].get("backendRefs") or [] if rules else []
    placeholder = ref.backend if ref is not None else None
    weights: dict[str, int] = {}
    foreign: list[Body] = []
    position, standing = None, None
    filters: list[Body] = []
    port: int | None = None
    for number, backend in enumerate(backends):
        revision = _revision_of(backend, rollout, adopted)
        port = backend.get("port") if revision == EXTERNAL else port
        if revision or backend["name"] == placeholder:
            filters = filters or backend.get("filters") or []
        if revision:
            weights[revision] = weights.get(revision, 0) + backend.get("weight", 1)
        elif backend["name"] == placeholder:
            standing = backend.get("weight", 1)
        else:
            foreign.append(backend)
            continue
        position = number if position is None else position
    total = 100 if ref is None else _total(route, ref, weights, foreign, standing)
    first = len(foreign) if position is None else position
    return Place(index, weights, tuple(foreign), total, first, standing or 0, tuple(filters), port)


def _rule_index(rules: list[Body], rollout: str, ref: RouteRef, adopted: str) -> int:
    if ref.rule is not None:
        named = [number for number, rule in enumerate(rules) if rule.get("name") == ref.rule]
        if not named:
            names = ", ".join(rule["name"] for rule in rules if rule.get("name")) or "none has a name"
            raise UnusableError(f"HTTPRoute {ref.name} has no rule named {ref.rule} (rules: {names})")
        return named[0]
    found = [
        number
        for number, rule in enumerate(rules)
        if any(
            one["name"] == ref.backend or _revision_of(one, rollout, adopted) for one in rule.get("backendRefs") or []
        )
    ]
    if len(found) != 1:
        many = "several rules" if found else "no rule"
        raise UnusableError(
            f"{many} of HTTPRoute {ref.name} contain{'' if found else 's'} the backend {ref.backend}: "
            "name the rule (spec.rules[].name) and give traffic.gatewayAPI.route.rule"
        )
    return found[0]


def _total(route: Body, ref: RouteRef, weights: Mapping[str, int], foreign: list[Body], standing: int | None) -> int:
    if not foreign:
        return 100
    if standing is None:
        marked = _whole(_annotation(route).get("total"))
        if not marked and not weights:
            others = ", ".join(str(backend["name"]) for backend in foreign)
            missing = f"has no backend {ref.backend}" if ref.backend else "has backends of its own"
            raise UnusableError(
                f"the rule of HTTPRoute {ref.name} {missing} ({others}): give traffic.gatewayAPI.route.backend, the "
                "Service in it whose weight the revisions take over"
            )
        standing = marked if marked else sum(weights.values())
    if standing < 100 or standing % 100:
        raise UnusableError(
            f"the backend's weight is {standing}, which cannot be split in percent beside other backends: make it 100 "
            "(or a multiple) and scale the others' weights alike"
        )
    return standing


def _annotation(route: Body) -> Mapping[str, Any]:
    return _read((route["metadata"].get("annotations") or {}).get(ANNOTATION_APPLIED, "{}"))


@lru_cache(maxsize=4096)
def _read(marker: str) -> Mapping[str, Any]:
    """What a marker says; the same text is met at every look. Whoever may edit the route may write anything into it:
    what is no marker is none."""
    try:
        found = json.loads(marker)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int:
    """A whole number as the operator writes them; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_WEIGHT else 0


def _marker(route: Body) -> Marker | None:
    found = _annotation(route)
    weights = found.get("weights")
    if not isinstance(weights, dict):
        return None
    return Marker(
        weights={str(revision): _whole(weight) for revision, weight in weights.items()},
        revision=str(found.get("revision", "")),
        reason=str(found.get("reason", "")),
        message=str(found.get("message", "")),
        decision=str(found.get("decision", "")),
        epoch=_epoch(found),
    )


def _epoch(annotation: Mapping[str, Any]) -> int:
    epoch = annotation.get("epoch")
    return epoch if isinstance(epoch, int) else 0


def _marker_text(marker: Marker, total: int) -> str:
    fields = {
        "revision": marker.revision,
        "weights": dict(marker.weights),
        "reason": marker.reason,
        "message": marker.message,
        "decision": marker.decision,
        "total": total,
        "epoch": marker.epoch or "",
    }
    return json.dumps({key: value for key, value in fields.items() if value != ""}, sort_keys=True, ensure_ascii=False)


def view_of(route: Body, place: Place, rollout: str, *, shared: bool, adopted: str = "") -> RouteView:
    """The route as the engine sees it; ``shared``: other people have backends in it."""
    whole = sum(place.weights.values()) + place.placeholder
    percents = {revision: round(100 * weight / whole) if whole else 0 for revision, weight in place.weights.items()}
    ours = {adopted if revision == EXTERNAL else child_name(rollout, revision) for revision in place.weights}
    state, message = _acceptance(route, ours if shared else None)
    generation = int(route["metadata"].get("generation", 0))
    return RouteView(state=state, weights=percents, marker=_marker(route), message=message, generation=generation)


def last_writer(route: Body) -> str:
    """Who wrote the rules last, other than the operator: the field manager; empty when nobody else did.

    Source: KEP-555, managedFields.
    """
    others = [
        (str(entry.get("time", "")), str(entry.get("manager", "")))
        for entry in route["metadata"].get("managedFields") or []
        if entry.get("manager") != FIELD_MANAGER and "f:rules" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    ]
    return max(others)[1] if others else ""


def _acceptance(route: Body, ours: set[str] | None) -> tuple[RouteState, str]:
    """What the gateways say of this very generation of the route.

    ResolvedRefs speaks of all rules at once. In a route that others share (``ours``: the names of our Services in it),
    a backend of theirs that is missing is no reason to stop, so it counts only when it names one of ours.
    """
    generation = route["metadata"].get("generation", 0)
    parents = (route.get("status") or {}).get("parents") or []
    taken = False
    for parent in parents:
        for condition in parent.get("conditions") or []:
            if condition["type"] not in ("Accepted", "ResolvedRefs"):
                continue
            if condition.get("observedGeneration", generation) < generation:
                return RouteState.PENDING, "the gateway has not seen the last change yet"
            others = condition["type"] == "ResolvedRefs" and ours is not None
            if others and not any(name in condition.get("message", "") for name in ours or ()):
                continue
            if condition["status"] == "False":
                text = f"{condition['type']}=False ({condition.get('reason')}): {condition.get('message', '')}"
                return RouteState.REJECTED, f"the gateway refuses the HTTPRoute: {text}"
            taken = taken or condition["type"] == "Accepted"
    if not taken:
        return RouteState.PENDING, "no gateway has taken the HTTPRoute yet: is the parentRef's Gateway there?"
    return RouteState.ACCEPTED, ""


def _backends(
    rollout: Rollout, weights: Mapping[str, int], port: int | None, filters: tuple[Body, ...] = ()
) -> list[Body]:
    """One for each revision; ``port``: the adopted Service's."""
    shared: Body = {"filters": list(filters)} if filters else {}
    backends = []
    for revision, weight in weights.items():
        name, at = child_name(rollout.name, revision), SERVICE_PORT
        if revision == EXTERNAL:
            assert rollout.spec.adopt is not None and port is not None
            name, at = rollout.spec.adopt.service, port
        backends.append({"group": "", "kind": "Service", "name": name, "port": at, "weight": weight} | shared)
    return backends


def build_route(rollout: Rollout, write: SetWeights, port: int | None = None) -> Body:
    """The operator's own HTTPRoute; ``port``: the adopted Service's."""
    return _own_route(rollout, write.weights, _marker_text(write.marker, 100), port)


def _own_route(rollout: Rollout, weights: Mapping[str, int], marker: str, port: int | None) -> Body:
    spec = rollout.spec.traffic.gateway_api
    metadata: Body = {
        "name": rollout.name,
        "namespace": rollout.namespace,
        "labels": {"app.kubernetes.io/managed-by": "modelrollout", LABEL_NAME: rollout.name},
        "annotations": {ANNOTATION_APPLIED: marker, ANNOTATION_OWNER_UID: rollout.uid},
    }
    if rollout.spec.deletion_policy is DeletionPolicy.DELETE and not weights.get(EXTERNAL):  # not theirs to lose
        metadata["ownerReferences"] = [rollout.owner_reference()]
    parents = [ref.model_dump(by_alias=True, exclude_none=True) for ref in spec.parent_refs or []]
    route: Body = {"parentRefs": parents, "rules": [{"backendRefs": _backends(rollout, weights, port)}]}
    if spec.hostnames:
        route["hostnames"] = list(spec.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": route,
    }


def patch_for(route: Body, rollout: Rollout, place: Place, write: SetWeights, port: int | None = None) -> list[Body]:
    """JSON patch that replaces the managed backends of one rule of a user's route; ``port``: the adopted Service's."""
    raw = {revision: weight * place.total // 100 for revision, weight in write.weights.items()}
    ours = _backends(rollout, raw, port, place.filters)
    foreign = list(place.foreign)
    backends = [*foreign[: place.position], *ours, *foreign[place.position :]]
    ops: list[Body] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": route["metadata"]["resourceVersion"]}
    ]
    rule = route["spec"]["rules"][place.rule]
    path = f"/spec/rules/{place.rule}"
    if rule.get("name"):
        ops.append({"op": "test", "path": f"{path}/name", "value": rule["name"]})
    for number, backend in enumerate(rule.get("backendRefs") or []):
        ops.append({"op": "test", "path": f"{path}/backendRefs/{number}/name", "value": backend["name"]})
    ops.append({"op": "add", "path": f"{path}/backendRefs", "value": backends})
    if not route["metadata"].get("annotations"):
        ops.append({"op": "add", "path": "/metadata/annotations", "value": {}})
    key = ANNOTATION_APPLIED.replace("/", "~1")
    ops.append({"op": "add", "path": f"/metadata/annotations/{key}", "value": _marker_text(write.marker, place.total)})
    return ops


class GatewayApiTraffic:
    """HTTPRoutes; see :class:`modelrollout.traffic.base.TrafficProvider`."""

    def __init__(self, kube: Kube, routes: Reflector) -> None:
        self._kube = kube
        self._routes = routes
        self._views: Derived[RouteView] = Derived()
        self._aligned: Derived[bool] = Derived()

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone."""
        self._views.forget(key)
        self._aligned.forget(key)

    async def observe(self, rollout: Rollout, *, first: bool) -> RouteView:
        """The route as the cluster shows it."""
        ref, adopted = rollout.spec.route, _adopted(rollout)
        route = self._routes.get(rollout.namespace, ref.name if ref else rollout.name)
        sources = (route, rollout.spec, first)
        known = self._views.get(rollout.key, sources)
        if known is not None:
            return known
        if route is None or "deletionTimestamp" in route["metadata"]:
            if ref is None:
                rival = await self._rival(rollout) if first else ""
                return RouteView(state=RouteState.IN_USE, message=rival) if rival else RouteView()
            message = f"there is no HTTPRoute {ref.name} in namespace {rollout.namespace}: apply it, or give parentRefs"
            return RouteView(state=RouteState.UNUSABLE, message=message)
        if ref is None and (route["metadata"].get("labels") or {}).get(LABEL_NAME) != rollout.name:
            message = (
                f"an HTTPRoute named {rollout.name} exists and is not this rollout's: rename one of them, or attach to "
                "it with traffic.gatewayAPI.route"
            )
            return RouteView(state=RouteState.UNUSABLE, message=message)
        try:
            place = find_place(route, rollout.name, ref, adopted)
        except UnusableError as error:
            return RouteView(state=RouteState.UNUSABLE, message=str(error))
        if first and (not place.weights or _forgotten(route, rollout)):
            serving = await self._serving(rollout, route, place)
            if serving:
                return RouteView(state=RouteState.IN_USE, message=serving)
        view = view_of(route, place, rollout.name, shared=ref is not None, adopted=adopted)
        if adopted and not first:
            view = replace(view, adopted_elsewhere=self._elsewhere(route, place.rule, adopted))
        if view.marker is not None and dict(view.marker.weights) == dict(view.weights):
            alone = not (first or adopted)  # nothing but the route was looked at
            return self._views.keep(rollout.key, sources, view) if alone else view
        return replace(view, edited_by=await self._edited_by(route))

    async def _edited_by(self, route: Body) -> str:
        """Who changed the weights. The copies are kept without managedFields, so this asks, which is rarely needed."""
        path = HTTP_ROUTES.path(route["metadata"]["namespace"], route["metadata"]["name"])
        try:
            return last_writer(await self._kube.get(path))
        except KubeError:
            return ""  # a name is not worth the delay

    def _elsewhere(self, ours: Body, managed: int, service: str) -> str:
        """Another rule, of whatever route, that leads users to the adopted Service."""
        here = ours["metadata"]["namespace"]
        for (namespace, name), route in self._routes.objects.items():
            for number, rule in enumerate(route["spec"].get("rules") or []):
                if (namespace, name, number) == (here, ours["metadata"]["name"], managed):
                    continue
                for backend in rule.get("backendRefs") or []:
                    meant = backend["name"] == service and backend.get("namespace", namespace) == here
                    if meant and backend.get("kind", "Service") == "Service" and backend.get("weight", 1) > 0:
                        return f"rule {rule.get('name') or number + 1} of HTTPRoute {name}"
        return ""

    async def _serving(self, rollout: Rollout, route: Body, place: Place) -> str:
        """Whether the rule's backends already serve users, whom a first revision without steps would cut off. In a
        user's route foreign backends of the rule stay, so only the placeholder counts; in our own, or in a rule that we
        left to something adopted, only foreign ones can be meant."""
        backends = (route["spec"].get("rules") or [{}])[place.rule].get("backendRefs") or []
        stay = rollout.spec.route is not None and not _forgotten(route, rollout)
        backends = [one for one in backends if (one in place.foreign) is not stay]
        live = await self._live(rollout.namespace, backends)
        if live is None:
            return ""
        name, ready = live
        return (
            f"the backend {name} of HTTPRoute {route['metadata']['name']} serves users already ({ready} endpoints), "
            "and the first revision would replace it without any step: take it over with spec.adopt: "
            f"{{service: {name}}}"
        )

    async def _rival(self, rollout: Rollout) -> str:
        """Whether another route already serves the host names that one of ours would be made for. Of two that match
        alike the older one wins, so ours would serve nobody.

        Source: Gateway API v1, HTTPRouteRule.matches, on conflicts.
        """
        for (namespace, name), route in list(self._routes.objects.items()):  # they change while endpoints are asked for
            if namespace != rollout.namespace or not competes(route, rollout):
                continue
            for rule in route["spec"].get("rules") or []:
                live = await self._live(namespace, rule.get("backendRefs") or []) if catches_all(rule) else None
                if live is not None:
                    return (
                        f"HTTPRoute {name} serves these host names already (backend {live[0]}, {live[1]} endpoints), "
                        "and being older it would win over ours: attach to it with traffic.gatewayAPI.route: "
                        f"{{name: {name}}} and take over what serves with spec.adopt: {{service: {live[0]}}}"
                    )
        return ""

    async def _live(self, namespace: str, backends: list[Body]) -> tuple[str, int] | None:
        """The first of some backends that has traffic and endpoints, and how many; None when none has."""
        for backend in backends:
            if backend.get("weight", 1) == 0 or backend.get("namespace", namespace) != namespace:
                continue
            selector = f"kubernetes.io/service-name={backend['name']}"
            slices = await self._kube.get(ENDPOINT_SLICES.path(namespace), labelSelector=selector)
            ready = sum(len(one.get("endpoints") or []) for one in slices.get("items") or [])
            if ready:
                return str(backend["name"]), ready
        return None

    async def apply(self, rollout: Rollout, write: SetWeights) -> None:
        """Write weights and marker; a lowering is repeated until it is through."""
        ref, adopted = rollout.spec.route, _adopted(rollout)
        if ref is None:
            port = await self._port(rollout, write.weights)
            await self._apply_own(rollout, build_route(rollout, write, port), careful=write.raises)
            return
        path = HTTP_ROUTES.path(rollout.namespace, ref.name)
        known = self._routes.get(rollout.namespace, ref.name)
        if known is None:
            raise NotFound(404, f"there is no HTTPRoute {ref.name}")
        for attempt in range(_ATTEMPTS):
            try:
                place = find_place(known, rollout.name, ref, adopted)
                port = place.port or await self._port(rollout, write.weights)
                ops = patch_for(known, rollout, place, write, port)
                lane = Lane.WORK if write.raises else Lane.LOWERING
                self._routes.learn(await self._kube.json_patch(path, ops, lane=lane, careful=write.raises))
                return
            except ConflictError:
                if write.raises or attempt == _ATTEMPTS - 1:
                    raise
                known = await self._kube.get(path)
            except UnusableError as error:
                raise ConflictError(409, str(error)) from error

    async def _port(self, rollout: Rollout, weights: Mapping[str, int]) -> int | None:
        """The adopted Service's port, if it is among the weights: what ``spec`` says, what the own route has, or what
        the Service has."""
        adopt = rollout.spec.adopt
        if adopt is None or EXTERNAL not in weights:
            return None
        if adopt.port is not None:
            return adopt.port
        own = None if rollout.spec.route else self._routes.get(rollout.namespace, rollout.name)
        standing = find_place(own, rollout.name, None, adopt.service).port if own is not None else None
        if standing is not None:
            return standing
        service = await self._kube.get(SERVICES.path(rollout.namespace, adopt.service))
        return int(service["spec"]["ports"][0]["port"])

    async def align(self, rollout: Rollout) -> None:
        """Parents, host names and ownership of the operator's own route, as ``spec`` has them now."""
        if rollout.spec.route is not None:
            return
        sources = (rollout, self._routes.get(rollout.namespace, rollout.name))
        if self._aligned.get(rollout.key, sources) is None:
            await self._align(rollout)
            self._aligned.keep(rollout.key, sources, True)

    async def _align(self, rollout: Rollout) -> None:
        route = self._routes.get(rollout.namespace, rollout.name)
        if route is None or "deletionTimestamp" in route["metadata"] or _marker(route) is None:
            return
        if (route["metadata"].get("labels") or {}).get(LABEL_NAME) != rollout.name or _forgotten(route, rollout):
            return
        place = find_place(route, rollout.name, None, _adopted(rollout))
        port = place.port or await self._port(rollout, place.weights)
        wanted = _own_route(rollout, place.weights, route["metadata"]["annotations"][ANNOTATION_APPLIED], port)
        if place.weights and _outline(route, rollout) != _outline(wanted, rollout):
            await self._apply_own(rollout, wanted, careful=True)

    async def _apply_own(self, rollout: Rollout, body: Body, *, careful: bool) -> None:
        """Server-side apply of the own route; ``careful``: only if nobody changed it since it was observed."""
        known = self._routes.get(rollout.namespace, rollout.name)
        if careful and known is not None:
            body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
        path = HTTP_ROUTES.path(rollout.namespace, rollout.name)
        lane = Lane.WORK if careful else Lane.LOWERING
        self._routes.learn(await self._kube.apply(path, body, lane=lane, careful=careful))


def _adopted(rollout: Rollout) -> str:
    """Name of the Service that is adopted; empty when none is."""
    return rollout.spec.adopt.service if rollout.spec.adopt is not None else ""


def _forgotten(route: Body, rollout: Rollout) -> bool:
    """Whether the route leads to something adopted that ``spec`` does not name any more: then its backend reads like a
    stray one, and must not be taken for that."""
    marker = _marker(route)
    return rollout.spec.adopt is None and marker is not None and marker.weights.get(EXTERNAL, 0) > 0


def _outline(route: Body, rollout: Rollout) -> tuple[object, ...]:
    """What of the own route follows from ``spec`` alone, and what nobody else may add to it."""
    metadata, spec = route["metadata"], route["spec"]
    rules = spec.get("rules") or [{}]
    ours = [one for one in rules[0].get("backendRefs") or [] if _revision_of(one, rollout.name, _adopted(rollout))]
    return (
        spec.get("parentRefs"),
        spec.get("hostnames") or [],
        len(rules),
        len(rules[0].get("backendRefs") or []) - len(ours),
        sorted(owner["uid"] for owner in metadata.get("ownerReferences") or []),
        (metadata.get("annotations") or {}).get(ANNOTATION_OWNER_UID),
    )
