"""What `check` says of a cluster, with the cluster's answers given: gateways, routes, room, signs of an operator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from modelrollout.api.objects import Rollout
from modelrollout.check import installed, reach, room
from modelrollout.check.found import ForbiddenError, MissingError, RefusedError, Result, State
from modelrollout.check.quantity import quantity
from tests.support.operator import ROOT

Body = dict[str, Any]
_GATEWAY = "/apis/gateway.networking.k8s.io/v1/namespaces/recs"
_ROLLOUTS = "/apis/modelrollout.io/v1alpha1/namespaces/recs/modelrollouts"


class _Api:
    """Answers by path; what is not there is missing."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers

    def get(self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False) -> Body:
        found = self.answers.get(path, MissingError(path))
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def would_apply(self, path: str, body: Body) -> Body:
        if path in self.answers:
            raise self.answers[path]
        return body


def _api(answers: dict[str, Any]) -> _Api:
    return _Api(**answers)


def _rollout(**traffic: Any) -> Rollout:
    body = yaml.safe_load((ROOT / "manifests" / "samples" / "ranker.yaml").read_text(encoding="utf-8"))
    body["spec"]["traffic"]["gatewayAPI"] |= traffic
    known = {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-11-21T09:00:00Z"}
    return Rollout.parse(body | {"metadata": body["metadata"] | known})


def _gateway(**listener: Any) -> dict[str, Any]:
    one = {"name": "http", "port": 80, "protocol": "HTTP"} | listener
    body = {"metadata": {"name": "public", "namespace": "recs"}, "spec": {"listeners": [one]}}
    return {f"{_GATEWAY}/gateways/public": body, "/api/v1/namespaces/recs": {"metadata": {"labels": {"team": "ml"}}}}


def _state(results: Any) -> list[State]:
    return [one.state for one in results]


@pytest.mark.parametrize(
    ("listener", "state"),
    [
        ({}, State.OK),
        ({"hostname": "ranker.example.com"}, State.OK),
        ({"hostname": "*.example.com"}, State.OK),
        ({"hostname": "*.example.org"}, State.FAIL),
        ({"allowedRoutes": {"namespaces": {"from": "All"}}}, State.OK),
        ({"allowedRoutes": {"namespaces": {"from": "None"}}}, State.FAIL),
        (
            {"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "ml"}}}}},
            State.OK,
        ),
        (
            {"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "x"}}}}},
            State.FAIL,
        ),
    ],
)
def test_detail_37_check_tells_whether_the_gateway_lets_the_route_in(listener: Body, state: State) -> None:
    assert _state(reach.gateways(_api(_gateway(**listener)), _rollout())) == [state]


def test_detail_37_check_names_a_gateway_that_is_missing_forbidden_or_broken() -> None:
    missing = next(reach.gateways(_api({}), _rollout()))
    assert (missing.state, missing.what) == (State.FAIL, "there is no Gateway public in namespace recs")
    forbidden = next(reach.gateways(_api({f"{_GATEWAY}/gateways/public": ForbiddenError("cannot get x")}), _rollout()))
    assert (forbidden.state, forbidden.what) == (State.SKIPPED, "you cannot get x")
    broken = _gateway()
    broken[f"{_GATEWAY}/gateways/public"]["status"] = {
        "conditions": [{"type": "Programmed", "status": "False", "message": "no address"}]
    }
    assert "no address" in next(reach.gateways(_api(broken), _rollout())).what
    section = _rollout(parentRefs=[{"name": "public", "sectionName": "https"}])
    assert "there are http" in next(reach.gateways(_api(_gateway()), section)).what


def _route(called: str, host: str, labels: Body | None = None, **rule: Any) -> Body:
    rule = {"backendRefs": [{"name": "ranker", "port": 80}]} | rule
    spec = {"parentRefs": [{"name": "public"}], "hostnames": [host], "rules": [rule]}
    return {"metadata": {"name": called, "labels": labels or {}}, "spec": spec}


@pytest.mark.parametrize(
    ("routes", "state", "words"),
    [
        ([], State.OK, "will be the only one"),
        ([_route("shop", "shop.example.com")], State.OK, "only one"),
        ([_route("shop", "ranker.example.com")], State.FAIL, "the older one wins"),
        ([_route("shop", "ranker.example.com", matches=[{"path": {"value": "/admin"}}])], State.OK, "only one"),
        ([_route("ranker", "ranker.example.com")], State.FAIL, "RouteInUse"),
        ([_route("ranker", "ranker.example.com", {"modelrollout.io/name": "ranker"})], State.OK, "is there"),
    ],
)
def test_detail_37_check_tells_who_has_the_host_name_already(routes: list[Body], state: State, words: str) -> None:
    found = next(reach.routes(_api({f"{_GATEWAY}/httproutes": {"items": routes}}), _rollout()))
    assert found.state is state
    assert words in found.what


def test_detail_37_check_finds_a_rule_that_cannot_be_used() -> None:
    ours = _rollout()
    spec = ours.spec.model_dump(by_alias=True, exclude_none=True)
    spec["traffic"]["gatewayAPI"] = {"route": {"name": "shop", "rule": "score"}}
    attached = Rollout.parse(
        {
            "metadata": {
                "name": "ranker", "namespace": "recs", "uid": "u", "resourceVersion": "1",
                "creationTimestamp": "2026-11-21T09:00:00Z",
            },
            "spec": spec,
        }
    )  # fmt: skip
    path = f"{_GATEWAY}/httproutes/shop"
    assert next(reach.routes(_api({}), attached)).what == "there is no HTTPRoute shop in namespace recs"
    other = next(reach.routes(_api({path: _route("shop", "x", name="cart")}), attached))
    assert "no rule named score (rules: cart)" in other.what
    assert next(reach.routes(_api({path: _route("shop", "x", name="score")}), attached)).state is State.FAIL
    route = _route("shop", "x", name="score", backendRefs=[])
    assert next(reach.routes(_api({path: route}), attached)).state is State.OK


def _quota(hard: Body, used: Body) -> _Api:
    one = {"metadata": {"name": "small"}, "status": {"hard": hard, "used": used}}
    return _api({"/api/v1/namespaces/recs/resourcequotas": {"items": [one]}})


def _with(resources: Body) -> Body:
    return {"spec": {"containers": [{"name": "server", "resources": resources}]}}


@pytest.mark.parametrize(
    ("hard", "used", "resources", "states"),
    [
        ({"requests.cpu": "10"}, {"requests.cpu": "2"}, {"requests": {"cpu": "2"}}, [State.OK]),
        ({"requests.cpu": "10"}, {"requests.cpu": "4"}, {"requests": {"cpu": "2"}}, [State.WARN]),
        ({"requests.cpu": "10"}, {"requests.cpu": "7"}, {"requests": {"cpu": "2"}}, [State.FAIL]),
        ({"requests.cpu": "10"}, {}, {"limits": {"cpu": "4"}}, [State.WARN]),
        ({"requests.nvidia.com/gpu": "1"}, {}, {"limits": {"nvidia.com/gpu": "1"}}, [State.FAIL]),
        ({"pods": "5"}, {"pods": "4"}, {}, [State.FAIL]),
        ({"limits.memory": "10Gi"}, {}, {}, [State.WARN]),
        ({"services": "1"}, {"services": "1"}, {}, [State.OK]),
    ],
)
def test_detail_37_check_counts_the_room_that_a_quota_leaves(
    hard: Body, used: Body, resources: Body, states: list[State]
) -> None:
    """Four pods at last, two at first."""
    assert _state(room.quotas(_quota(hard, used), "recs", _rollout().spec, _with(resources))) == states


def test_detail_37_check_finds_what_a_limit_range_refuses() -> None:
    one = {"metadata": {"name": "max"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}}
    api = _api({"/api/v1/namespaces/recs/limitranges": {"items": [one]}})
    assert _state(room.limits(api, "recs", _with({"limits": {"memory": "512Mi"}}))) == [State.OK]
    found = next(room.limits(api, "recs", _with({"limits": {"memory": "2Gi"}})))
    assert found.what == "container server asks for 2Gi of memory; max allows 1Gi"


@pytest.mark.parametrize(
    ("text", "number"),
    [("500m", 0.5), ("2", 2.0), ("1Gi", 2.0**30), ("1e3", 1000.0), ("2k", 2000.0), ("100M", 1e8), (4, 4.0)],
)
def test_quantities(text: object, number: float) -> None:
    assert quantity(text) == pytest.approx(number)


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="write it like 500m or 2Gi"):
        quantity("lots")


def _seen(age: float, **status: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": "ranker", "generation": 3, "creationTimestamp": at}
    return {_ROLLOUTS: {"items": [{"metadata": metadata, "status": status}]}}


def _operator(answers: dict[str, Any]) -> Result:
    return next(installed.operator(_api(answers), "recs"))


def test_detail_37_check_tells_an_operator_by_two_signs() -> None:
    deployments = "/apis/apps/v1/deployments"
    ready = {deployments: {"items": [{"metadata": {"namespace": "ops"}, "status": {"readyReplicas": 1}}]}}
    none: dict[str, Any] = {deployments: {"items": []}}
    forbidden = {deployments: ForbiddenError("cannot list deployments")}
    assert _operator(ready | _seen(900)).state is State.FAIL, "it runs, but does not look here"
    assert _operator(ready | _seen(5)).state is State.OK
    assert _operator(ready).state is State.OK
    assert _operator(none).state is State.WARN
    assert _operator(none | _seen(900, observedGeneration=3)).state is State.WARN
    assert _operator(forbidden | _seen(900, observedGeneration=3)).state is State.OK
    assert _operator(forbidden).state is State.SKIPPED


def test_detail_37_check_tells_a_refusal_in_the_server_s_words() -> None:
    path = "/apis/apps/v1/namespaces/recs/deployments/ranker"
    refused, made = installed.taken(_api({path: RefusedError("quota exceeded")}), path, {}, check="pods")
    assert (refused.state, refused.what, made) == (State.FAIL, "quota exceeded", None)
    assert installed.taken(_api({}), path, {"a": 1}, check="pods")[1] == {"a": 1}


_ADMISSION = "/apis/admissionregistration.k8s.io/v1"


def _policies() -> dict[str, Any]:
    """The policies and bindings that are shipped, as a cluster has them."""
    read = (ROOT / "manifests" / "policies").glob("*.yaml")
    every = [one for file in read for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return {
        f"{_ADMISSION}/{plural}": {"items": [one for one in every if one["kind"] == kind]}
        for plural, kind in (
            ("validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
            ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
        )
    }


def test_detail_37_check_looks_for_each_of_our_policies_by_name() -> None:
    found = _policies()
    (said,) = installed.policies(_api(found))
    assert (said.state, said.what) == (State.OK, ", ".join(sorted(installed.POLICIES)))
    other = {"metadata": {"name": "labels"}, "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["*"]}]}}}
    kinds = {name: {"items": [other]} for name in found}
    kinds[f"{_ADMISSION}/validatingadmissionpolicybindings"] = {"items": []}
    (said,) = installed.policies(_api(kinds))
    assert said.state is State.WARN
    assert "missing: modelrollout-author, modelrollout-author-rights, modelrollout-decision-answers" in said.what
    assert said.remedy == "kubectl apply -k manifests/policies"
    for one in found[f"{_ADMISSION}/validatingadmissionpolicybindings"]["items"]:
        one["spec"]["validationActions"] = ["Warn"]
    (said,) = installed.policies(_api(found))
    assert said.state is State.WARN
    assert "without a binding that denies: modelrollout-author" in said.what
