"""An adopted Service among the managed backends, and routes that serve users already."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any, cast

import jsonpatch
import pytest

from modelrollout.api.meta import ANNOTATION_APPLIED, EXTERNAL
from modelrollout.api.objects import Rollout
from modelrollout.engine.model import Marker, RouteState, RouteView, SetWeights
from modelrollout.kube.client import NotFound
from modelrollout.traffic.gateway_api import GatewayApiTraffic, build_route, find_place, patch_for, view_of
from modelrollout.traffic.rivals import catches_all, competes

Body = dict[str, Any]
NEW = "aaaaaaaaaa"
HOST = "ranker.example.com"


def _rollout(gateway: Body | None = None, **spec: Any) -> Rollout:
    container = {"name": "server", "image": "i", "ports": [{"containerPort": 8080}], "readinessProbe": {"httpGet": {}}}
    own = {"parentRefs": [{"name": "public"}], "hostnames": [HOST]}
    return Rollout.parse(
        {
            "metadata": {
                "namespace": "recs",
                "name": "ranker",
                "uid": "u-1",
                "resourceVersion": "1",
                "creationTimestamp": "2026-11-21T12:00:00Z",
            },
            "spec": {
                "model": {"version": "2"},
                "workload": {"template": {"spec": {"containers": [container]}}},
                "traffic": {"gatewayAPI": gateway or own},
                "steps": [{"weight": 50, "hold": "1s"}],
            }
            | spec,
        }
    )


def _route(*rules: Body, name: str = "shop", labels: Body | None = None, **spec: Any) -> Body:
    metadata = {"name": name, "namespace": "recs", "resourceVersion": "7", "generation": 3, "labels": labels or {}}
    return {
        "metadata": metadata,
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": [HOST], "rules": [*rules]},
    } | {key: value for key, value in spec.items() if key == "status"}


def _write(**weights: int) -> SetWeights:
    return SetWeights(weights, Marker(weights, NEW, "RaisingWeight", "why"), raises=True)


def _patched(route: Body, ops: Any) -> Body:
    patched: Any = jsonpatch.JsonPatch(ops).apply(copy.deepcopy(route))
    return dict(patched)


ATTACHED = {"route": {"name": "shop"}}
ADOPT = {"service": "old"}


def test_detail_3_the_adopted_service_is_a_revision_with_its_own_port_and_filters() -> None:
    filters = [{"type": "RequestHeaderModifier"}]
    rule = {
        "backendRefs": [
            {"name": "legacy", "port": 81, "weight": 3},
            {"name": "old", "port": 8080, "weight": 200, "filters": filters},
        ]
    }
    other = {"matches": [{"path": {"value": "/x"}}], "backendRefs": [{"name": "beta", "port": 80}]}
    route, rollout = _route(other, rule), _rollout(ATTACHED, adopt=ADOPT)
    place = find_place(route, "ranker", rollout.spec.route, "old")
    assert (place.rule, dict(place.weights), place.total, place.port) == (1, {EXTERNAL: 200}, 200, 8080)
    assert dict(view_of(route, place, "ranker", shared=True, adopted="old").weights) == {EXTERNAL: 100}

    after = _patched(route, patch_for(route, rollout, place, _write(**{EXTERNAL: 90, NEW: 10}), place.port))
    assert after["spec"]["rules"][0] == other
    backends = after["spec"]["rules"][1]["backendRefs"]
    assert [(one["name"], one["port"], one["weight"]) for one in backends] == [
        ("legacy", 81, 3),
        ("old", 8080, 180),
        (f"ranker-{NEW}", 80, 20),
    ]
    assert all(one["filters"] == filters for one in backends[1:])
    again = find_place(after, "ranker", rollout.spec.route, "old")
    assert dict(view_of(after, again, "ranker", shared=True, adopted="old").weights) == {EXTERNAL: 90, NEW: 10}


@pytest.mark.parametrize("backend", [{"namespace": "shop"}, {"group": "x.io"}, {"kind": "ServiceImport"}])
def test_a_backend_of_the_same_name_that_is_no_service_here_is_not_adopted(backend: Body) -> None:
    route = _route({"backendRefs": [{"name": "old", "port": 80} | backend]})
    assert not find_place(route, "ranker", None, "old").weights


def test_detail_3_without_a_weight_of_its_own_it_has_all_of_the_rule() -> None:
    route = _route({"backendRefs": [{"name": "old", "port": 80}]})
    place = find_place(route, "ranker", _rollout(ATTACHED, adopt=ADOPT).spec.route, "old")
    assert (place.total, dict(place.weights)) == (100, {EXTERNAL: 1})
    assert dict(view_of(route, place, "ranker", shared=True, adopted="old").weights) == {EXTERNAL: 100}


def test_detail_3_with_deletion_policy_delete_the_own_route_stays_while_it_leads_to_it() -> None:
    rollout = _rollout(adopt=ADOPT, deletionPolicy="Delete")
    assert "ownerReferences" not in build_route(rollout, _write(**{EXTERNAL: 90, NEW: 10}), 8080)["metadata"]
    assert build_route(rollout, _write(**{EXTERNAL: 0, NEW: 100}), 8080)["metadata"]["ownerReferences"]


class _Routes:
    """As much of a reflector as is read."""

    def __init__(self, *routes: Body) -> None:
        self.objects = {("recs", route["metadata"]["name"]): route for route in routes}

    def get(self, namespace: str, name: str) -> Body | None:
        return self.objects.get((namespace, name))


class _Cluster:
    """Services with so many endpoints."""

    def __init__(self, **endpoints: int) -> None:
        self.endpoints = endpoints
        self.asked: list[str] = []

    async def get(self, path: str, **query: str) -> Body:
        self.asked.append(path)
        if "endpointslices" not in path:
            raise NotFound(404, path)
        name = query["labelSelector"].partition("=")[2]
        return {"items": [{"endpoints": [{}] * self.endpoints.get(name, 0)}]}


def _seen(rollout: Rollout, *routes: Body, first: bool = True, **endpoints: int) -> RouteView:
    traffic = GatewayApiTraffic(cast(Any, _Cluster(**endpoints)), cast(Any, _Routes(*routes)))
    return asyncio.run(traffic.observe(rollout, first=first))


def test_a_route_is_read_once_until_it_changes() -> None:
    ours = [{"name": f"ranker-{NEW}", "port": 80, "weight": 100}]
    own = _marked(_route({"backendRefs": ours}, name="ranker", labels={"modelrollout.io/name": "ranker"}), **{NEW: 100})
    routes, rollout = _Routes(own), _rollout()
    traffic = GatewayApiTraffic(cast(Any, _Cluster()), cast(Any, routes))
    before = asyncio.run(traffic.observe(rollout, first=False))
    assert asyncio.run(traffic.observe(rollout, first=False)) is before
    routes.objects[("recs", "ranker")] = _marked(copy.deepcopy(own), **{NEW: 40})
    after = asyncio.run(traffic.observe(rollout, first=False))
    assert after.marker is not None
    assert after.marker.weights == {NEW: 40}
    del routes.objects[("recs", "ranker")]
    assert asyncio.run(traffic.observe(rollout, first=False)).state is RouteState.MISSING


def test_detail_3_a_rule_that_leads_to_the_adopted_service_later_is_known_at_once() -> None:
    """What depends on routes other than the managed one is looked for at every look."""
    route = _marked(_route({"backendRefs": [{"name": f"ranker-{NEW}", "port": 80, "weight": 100}]}), **{NEW: 100})
    routes, attached = _Routes(route), _rollout({"route": {"name": "shop"}}, adopt=ADOPT)
    traffic = GatewayApiTraffic(cast(Any, _Cluster()), cast(Any, routes))
    assert asyncio.run(traffic.observe(attached, first=False)).adopted_elsewhere == ""
    routes.objects[("recs", "beta")] = _route({"backendRefs": [{"name": "old", "port": 80}]}, name="beta")
    assert asyncio.run(traffic.observe(attached, first=False)).adopted_elsewhere == "rule 1 of HTTPRoute beta"


def test_detail_5_a_rule_that_serves_is_refused_and_the_remedy_is_named() -> None:
    route = _route({"backendRefs": [{"name": "old", "port": 80}]})
    view = _seen(_rollout({"route": {"name": "shop", "backend": "old"}}), route, old=3)
    assert view.state is RouteState.IN_USE
    assert "the backend old of HTTPRoute shop serves users already (3 endpoints)" in view.message
    assert "spec.adopt: {service: old}" in view.message
    assert _seen(_rollout(ATTACHED, adopt=ADOPT), route, old=3).state is not RouteState.IN_USE


def test_detail_5_another_route_with_the_same_host_name_is_in_use_for_a_route_of_our_own() -> None:
    rival = _route({"backendRefs": [{"name": "old", "port": 80}]})
    view = _seen(_rollout(), rival, old=2)
    assert view.state is RouteState.IN_USE
    assert "HTTPRoute shop serves these host names already (backend old, 2 endpoints)" in view.message
    assert "traffic.gatewayAPI.route: {name: shop}" in view.message
    assert "spec.adopt: {service: old}" in view.message
    assert _seen(_rollout(adopt=ADOPT), rival, old=2).state is RouteState.IN_USE, "adopting does not make it older"


@pytest.mark.parametrize(
    ("change", "endpoints"),
    [
        (lambda route: None, 0),
        (lambda route: route["spec"].update(hostnames=["other.example.com"]), 2),
        (lambda route: route["spec"].update(hostnames=[]), 2),
        (lambda route: route["spec"].update(parentRefs=[{"name": "private"}]), 2),
        (lambda route: route["spec"].update(parentRefs=[{"name": "public", "namespace": "elsewhere"}]), 2),
        (lambda route: route["spec"]["rules"][0].update(matches=[{"path": {"value": "/old"}}]), 2),
        (lambda route: route["spec"]["rules"][0]["backendRefs"][0].update(weight=0), 2),
        (lambda route: route["metadata"].update(namespace="other"), 2),
    ],
)
def test_detail_5_a_route_that_takes_nothing_from_ours_is_no_hindrance(change: Any, endpoints: int) -> None:
    rival = _route({"backendRefs": [{"name": "old", "port": 80}]})
    change(rival)
    traffic = GatewayApiTraffic(cast(Any, _Cluster(old=endpoints)), cast(Any, _Routes()))
    traffic._routes.objects[rival["metadata"]["namespace"], "shop"] = rival
    assert asyncio.run(traffic.observe(_rollout(), first=True)).state is RouteState.MISSING


def test_detail_5_once_a_revision_of_ours_is_stable_nobody_is_asked() -> None:
    rival = _route({"backendRefs": [{"name": "old", "port": 80}]})
    assert _seen(_rollout(), rival, first=False, old=2).state is RouteState.MISSING


def test_detail_5_our_own_route_that_still_leads_to_what_was_adopted_is_in_use_without_adopt() -> None:
    """The ModelRollout was deleted while it served, and applied again without the field."""
    own = _route(
        {"backendRefs": [{"name": "old", "port": 80}]}, name="ranker", labels={"modelrollout.io/name": "ranker"}
    )
    view = _seen(_rollout(), own, old=2)
    assert view.state is RouteState.IN_USE
    assert "spec.adopt: {service: old}" in view.message
    assert dict(_seen(_rollout(adopt=ADOPT), own, old=2).weights) == {EXTERNAL: 100}


def _marked(route: Body, **weights: int) -> Body:
    marker = {"weights": weights, "revision": NEW, "total": 100}
    route["metadata"]["annotations"] = {ANNOTATION_APPLIED: json.dumps(marker)}
    return route


def test_detail_5_a_route_that_was_shared_with_what_was_adopted_is_in_use_without_adopt() -> None:
    """The object was deleted by force in a rollout, and applied again without the field: the adopted backend must
    neither be taken for a stray one nor be joined by a first revision."""
    backends = [{"name": "old", "port": 80, "weight": 90}, {"name": f"ranker-{NEW}", "port": 80, "weight": 10}]
    own = _route({"backendRefs": backends}, name="ranker", labels={"modelrollout.io/name": "ranker"})
    view = _seen(_rollout(), _marked(own, **{EXTERNAL: 90, NEW: 10}), old=2)
    assert view.state is RouteState.IN_USE
    assert "spec.adopt: {service: old}" in view.message

    kube = cast(Any, None)  # nothing may be written
    asyncio.run(GatewayApiTraffic(kube, cast(Any, _Routes(own))).align(_rollout()))

    theirs = _marked(_route({"name": "rank", "backendRefs": backends[:1]}), **{EXTERNAL: 100})
    view = _seen(_rollout({"route": {"name": "shop", "rule": "rank"}}), theirs, old=2)
    assert view.state is RouteState.IN_USE


@pytest.mark.parametrize(
    ("rule", "elsewhere"),
    [
        ({"backendRefs": [{"name": "old", "port": 80}]}, "rule 2 of HTTPRoute shop"),
        ({"name": "beta", "backendRefs": [{"name": "old", "port": 80}]}, "rule beta of HTTPRoute shop"),
        ({"backendRefs": [{"name": "old", "port": 80, "weight": 0}]}, ""),
        ({"backendRefs": [{"name": "old", "port": 80, "namespace": "shop"}]}, ""),
        ({"filters": []}, ""),
    ],
)
def test_detail_3_other_rules_that_lead_to_the_adopted_service_are_known(rule: Body, elsewhere: str) -> None:
    route = _route({"backendRefs": [{"name": f"ranker-{NEW}", "port": 80}]}, rule)
    attached = _rollout({"route": {"name": "shop"}}, adopt=ADOPT)
    traffic = GatewayApiTraffic(cast(Any, _Cluster()), cast(Any, _Routes(route)))
    assert traffic._elsewhere(route, 0, "old") == elsewhere
    if not elsewhere:
        assert asyncio.run(traffic.observe(attached, first=False)).adopted_elsewhere == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ({}, {}, True),
        ({"sectionName": "https"}, {}, True),
        ({"sectionName": "https"}, {"sectionName": "https"}, True),
        ({"sectionName": "https"}, {"sectionName": "http"}, False),
        ({"port": 80}, {"port": 81}, False),
        ({"namespace": "recs"}, {}, True),
        ({"group": "", "kind": "Service"}, {}, False),
    ],
)
def test_which_parents_are_one(ours: Body, theirs: Body, same: bool) -> None:
    rollout = _rollout({"parentRefs": [{"name": "public"} | ours], "hostnames": [HOST]})
    route = _route()
    route["spec"]["parentRefs"] = [{"name": "public"} | theirs]
    assert competes(route, rollout) is same


@pytest.mark.parametrize(
    ("matches", "everything"),
    [
        (None, True),
        ([{"path": {"type": "PathPrefix", "value": "/"}}], True),
        ([{"path": {"value": "/x"}}, {}], True),
        ([{"path": {"type": "Exact", "value": "/"}}], False),
        ([{"headers": [{"name": "x", "value": "1"}]}], False),
        ([{"path": {"value": "/"}, "method": "GET"}], False),
    ],
)
def test_which_rules_take_everything(matches: Any, everything: bool) -> None:
    assert catches_all({"matches": matches} if matches is not None else {}) is everything
