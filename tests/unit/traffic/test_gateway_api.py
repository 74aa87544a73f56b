"""HTTPRoutes: where the managed backends are, what a write changes, and what the gateways' words mean."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest

from modelrollout.api.meta import ANNOTATION_APPLIED
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import RouteRef
from modelrollout.engine.model import Marker, RouteState, SetWeights
from modelrollout.traffic.gateway_api import UnusableError, build_route, find_place, last_writer, patch_for, view_of

Body = dict[str, Any]
NEW, OLD = "aaaaaaaaaa", "bbbbbbbbbb"


def _backend(name: str, weight: int | None = None, **more: Any) -> Body:
    return {"name": name, "port": 80} | ({} if weight is None else {"weight": weight}) | more


def _route(*rules: Body, **metadata: Any) -> Body:
    return {
        "metadata": {"name": "shop", "resourceVersion": "7", "generation": 3} | metadata,
        "spec": {"rules": list(rules)},
    }


def _rollout(route: RouteRef | None = None, **spec: Any) -> Rollout:
    traffic: Body = (
        {"route": route.model_dump()} if route else {"parentRefs": [{"name": "public"}], "hostnames": ["a.b"]}
    )
    container = {"name": "server", "image": "i", "ports": [{"containerPort": 8080}], "readinessProbe": {"httpGet": {}}}
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
                "traffic": {"gatewayAPI": traffic},
                "steps": [{"weight": 50, "hold": "1s"}],
            }
            | spec,
        }
    )


def _patched(route: Body, ops: Any) -> Body:
    patched: Any = jsonpatch.JsonPatch(ops).apply(route)
    return dict(patched)


def _write(**weights: int) -> SetWeights:
    return SetWeights(weights, Marker(weights, NEW, "RaisingWeight", "why"), raises=True)


BY_BACKEND = RouteRef(name="shop", backend="placeholder")
BY_RULE = RouteRef(name="shop", rule="rank", backend="placeholder")
FOREIGN = {"matches": [{"path": {"value": "/old"}}], "backendRefs": [_backend("other", 3)]}


def test_the_rule_is_found_by_the_placeholder_and_later_by_our_own_backends() -> None:
    before = _route(FOREIGN, {"backendRefs": [_backend("placeholder", 1)]})
    assert find_place(before, "ranker", BY_BACKEND).rule == 1
    after = _route(FOREIGN, {"backendRefs": [_backend(f"ranker-{NEW}", 30), _backend(f"ranker-{OLD}", 70)]})
    place = find_place(after, "ranker", BY_BACKEND)
    assert (place.rule, dict(place.weights), place.total) == (1, {NEW: 30, OLD: 70}, 100)


@pytest.mark.parametrize("name", ["ranker-2", "ranker-zzzzzzzzzz", f"my-ranker-{NEW}", f"ranker-x-{NEW}", "ranker"])
def test_a_backend_with_a_like_name_is_not_ours(name: str) -> None:
    route = _route({"backendRefs": [_backend("placeholder", 100), _backend(name, 0)]})
    place = find_place(route, "ranker", BY_BACKEND)
    assert not place.weights
    assert [one["name"] for one in place.foreign] == [name]


@pytest.mark.parametrize(
    ("ref", "rules", "words"),
    [
        (BY_BACKEND, [FOREIGN], "no rule of HTTPRoute shop contains the backend placeholder: name the rule"),
        (
            BY_BACKEND,
            [{"backendRefs": [_backend("placeholder")]}, {"backendRefs": [_backend("placeholder")]}],
            "several rules of HTTPRoute shop contain the backend placeholder",
        ),
        (BY_RULE, [FOREIGN], "has no rule named rank (rules: none has a name)"),
        (BY_RULE, [{"name": "a"}, {"name": "b"}], "(rules: a, b)"),
        (
            BY_RULE,
            [{"name": "rank", "backendRefs": [_backend("placeholder", 50), _backend("other", 50)]}],
            "the backend's weight is 50, which cannot be split in percent beside other backends: make it 100",
        ),
        (
            BY_RULE,
            [{"name": "rank", "backendRefs": [_backend("other", 50)]}],
            "has no backend placeholder (other): give traffic.gatewayAPI.route.backend",
        ),
        (
            RouteRef(name="shop", rule="rank"),
            [{"name": "rank", "backendRefs": [_backend("other", 50)]}],
            "has backends of its own (other): give traffic.gatewayAPI.route.backend",
        ),
    ],
)
def test_what_cannot_be_used_says_the_remedy(ref: RouteRef, rules: list[Body], words: str) -> None:
    with pytest.raises(UnusableError) as refused:
        find_place(_route(*rules), "ranker", ref)
    assert words in str(refused.value)


def test_a_patch_changes_our_backends_and_the_marker_only() -> None:
    filters = [{"type": "RequestHeaderModifier"}]
    mine = {
        "name": "rank",
        "filters": [{"type": "URLRewrite"}],
        "backendRefs": [_backend("first", 7), _backend("placeholder", 300, filters=filters), _backend("last", 1)],
    }
    route = _route(FOREIGN, mine, annotations={"owner": "shop"})
    place = find_place(route, "ranker", BY_RULE)
    after = _patched(copy.deepcopy(route), patch_for(route, _rollout(BY_RULE), place, _write(**{OLD: 80, NEW: 20})))
    backends = after["spec"]["rules"][1]["backendRefs"]
    assert [(one["name"], one["weight"]) for one in backends] == [
        ("first", 7),
        (f"ranker-{OLD}", 240),
        (f"ranker-{NEW}", 60),
        ("last", 1),
    ]
    assert backends[1]["filters"] == backends[2]["filters"] == filters, "the placeholder's filters are handed down"
    expected = copy.deepcopy(route)
    expected["spec"]["rules"][1]["backendRefs"] = backends
    expected["metadata"]["annotations"][ANNOTATION_APPLIED] = after["metadata"]["annotations"][ANNOTATION_APPLIED]
    assert after == expected

    again = find_place(after, "ranker", BY_RULE)
    assert (again.total, again.filters) == (300, tuple(filters))
    assert dict(view_of(after, again, "ranker", shared=True).weights) == {OLD: 80, NEW: 20}


@pytest.mark.parametrize(
    "change",
    [
        lambda route: route["metadata"].update(resourceVersion="8"),
        lambda route: route["spec"]["rules"][0].update(name="other"),
        lambda route: route["spec"]["rules"][0]["backendRefs"].insert(0, _backend("new")),
    ],
)
def test_a_patch_of_a_route_that_changed_meanwhile_fails(change: Any) -> None:
    route = _route({"name": "rank", "backendRefs": [_backend("placeholder", 1)]})
    ops = patch_for(route, _rollout(BY_RULE), find_place(route, "ranker", BY_RULE), _write(**{NEW: 100}))
    change(route)
    with pytest.raises((jsonpatch.JsonPatchTestFailed, jsonpatch.JsonPatchConflict)):
        _patched(route, ops)


def test_a_marker_survives_the_way_there_and_back() -> None:
    weights = {OLD: 100, NEW: 0}
    marker = Marker(weights, NEW, "GateBreached", "errors: 3 % against 1 %", "uid-9")
    body = build_route(_rollout(), SetWeights(weights, marker, raises=False))
    body["metadata"]["generation"] = 1
    view = view_of(body, find_place(body, "ranker", None), "ranker", shared=False)
    assert view.marker == marker
    assert dict(view.weights) == weights


@pytest.mark.parametrize("annotation", ["not json", "[]", '{"weights": 3}'])
def test_a_spoilt_marker_is_none(annotation: str) -> None:
    route = _route({"backendRefs": [_backend(f"ranker-{NEW}", 100)]}, annotations={ANNOTATION_APPLIED: annotation})
    assert view_of(route, find_place(route, "ranker", None), "ranker", shared=False).marker is None


def test_deletion_policy_delete_makes_the_route_go_with_the_rollout() -> None:
    assert "ownerReferences" not in build_route(_rollout(), _write(**{NEW: 100}))["metadata"]
    owners = build_route(_rollout(deletionPolicy="Delete"), _write(**{NEW: 100}))["metadata"]["ownerReferences"]
    assert [(one["uid"], one["blockOwnerDeletion"]) for one in owners] == [("u-1", False)]


def _condition(kind: str, status: str, generation: int = 3, message: str = "") -> Body:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": message}


@pytest.mark.parametrize(
    ("parents", "shared", "state"),
    [
        ([], False, RouteState.PENDING),
        ([[]], False, RouteState.PENDING),
        ([[_condition("Accepted", "True"), _condition("ResolvedRefs", "True")]], False, RouteState.ACCEPTED),
        ([[_condition("Accepted", "True", 2), _condition("ResolvedRefs", "True", 2)]], False, RouteState.PENDING),
        ([[_condition("Accepted", "False")]], False, RouteState.REJECTED),
        ([[_condition("Accepted", "True"), _condition("ResolvedRefs", "False")]], False, RouteState.REJECTED),
        (
            [
                [
                    _condition("Accepted", "True"),
                    _condition("ResolvedRefs", "False", message="service shop/beta not found"),
                ]
            ],
            True,
            RouteState.ACCEPTED,
        ),
        (
            [[_condition("Accepted", "True"), _condition("ResolvedRefs", "False", message=f"ranker-{NEW} not found")]],
            True,
            RouteState.REJECTED,
        ),
        ([[_condition("Accepted", "True")], [_condition("Accepted", "False")]], False, RouteState.REJECTED),
    ],
)
def test_the_gateways_word(parents: list[list[Body]], shared: bool, state: RouteState) -> None:
    route = _route({"backendRefs": [_backend(f"ranker-{NEW}", 100)]})
    route["status"] = {"parents": [{"conditions": conditions} for conditions in parents]}
    view = view_of(route, find_place(route, "ranker", None), "ranker", shared=shared)
    assert view.state is state
    assert bool(view.message) is (state is not RouteState.ACCEPTED)


def test_a_placeholder_that_came_back_is_seen_as_a_smaller_share() -> None:
    rule = {"backendRefs": [_backend(f"ranker-{NEW}", 100), _backend("placeholder", 100)]}
    route = _route(rule)
    place = find_place(route, "ranker", BY_BACKEND)
    assert dict(view_of(route, place, "ranker", shared=True).weights) == {NEW: 50}


def _written(manager: str, at: str, *, field: str = "f:rules", operation: str = "Apply") -> Body:
    fields: Body = {"f:spec": {field: {}}}
    return {"manager": manager, "operation": operation, "time": at, "fieldsV1": fields}


def test_detail_5_the_last_writer_of_the_rules_is_named() -> None:
    """Not the operator, and nobody who wrote something else."""
    route = _route(
        managedFields=[
            _written("kustomize-controller", "2026-11-21T12:00:00Z"),
            _written("kubectl-edit", "2026-11-21T12:05:00Z", operation="Update"),
            _written("modelrollout", "2026-11-21T12:09:00Z", operation="Update"),
            _written("envoy", "2026-11-21T12:09:00Z", field="f:hostnames"),
        ]
    )
    assert last_writer(route) == "kubectl-edit"
    assert last_writer(_route()) == ""
