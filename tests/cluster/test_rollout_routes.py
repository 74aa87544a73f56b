"""HTTPRoutes: one of the operator's own, or a rule among other people's in a route that the user owns."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from localcluster import LocalCluster, eventually
from tests.support import manifests
from tests.support.scene import Scene, changed, together

if TYPE_CHECKING:
    from tests.support.operator import Operator

Body = dict[str, Any]

_GATEWAY = {"name": "public", "namespace": "gateway-system"}


def _users_route(scene: Scene, *, named: bool) -> Body:
    """A route with other people's rules, filters and backends around the one that is ours."""
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-team", "value": "a"}]}}
    ours: Body = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/rank"}}],
        "filters": [header],
        "timeouts": {"request": "7s"},
        "backendRefs": [
            {"name": "legacy", "port": 81, "weight": 0, "filters": [header]},
            {"name": "placeholder", "port": 80, "weight": 200},
            {"name": "other", "port": 82, "weight": 0},
        ],
    }
    if named:
        ours["name"] = "rank"
    redirect = {
        "type": "RequestRedirect",
        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}},
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "shop",
            "namespace": scene.namespace,
            "labels": {"team": "shop"},
            "annotations": {"owner": "shop@example.com"},
        },
        "spec": {
            "parentRefs": [_GATEWAY],
            "hostnames": [scene.host],
            "rules": [
                {"matches": [{"path": {"type": "Exact", "value": "/old"}}], "filters": [redirect]},
                ours,
                {
                    "matches": [{"headers": [{"name": "x-beta", "value": "1"}]}],
                    "backendRefs": [{"name": "beta", "port": 80}],
                },
            ],
        },
    }


def _service(scene: Scene, name: str, **selector: str) -> Body:
    ports = [{"name": f"p{port}", "port": port, "targetPort": 8080} for port in (80, 81, 82)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {"ports": ports, "selector": selector or {"nobody": "here"}},
    }


def _attach(**ref: str) -> Any:
    def change(spec: Body) -> None:
        spec["traffic"] = {"gatewayAPI": {"route": {"name": "shop"} | ref}}
        spec["gates"] = []
        spec["steps"] = [{"weight": 50, "hold": "3s"}]  # long enough to be seen on a busy machine

    return change


def _foreign(route: Body) -> Body:
    """The route without what the operator may write."""
    rest = copy.deepcopy({"spec": route["spec"], "labels": route["metadata"]["labels"]})
    backends = rest["spec"]["rules"][1]["backendRefs"]
    rest["spec"]["rules"][1]["backendRefs"] = [
        one for one in backends if not one["name"].startswith(("ranker-", "placeholder"))
    ]
    rest["annotations"] = {
        key: value
        for key, value in route["metadata"]["annotations"].items()
        if key not in ("modelrollout.io/applied", "kubectl.kubernetes.io/last-applied-configuration")
    }
    return rest


def _ours(route: Body) -> dict[str, int]:
    backends = route["spec"]["rules"][1]["backendRefs"]
    return {one["name"]: one["weight"] for one in backends if one["name"].startswith(("ranker-", "placeholder"))}


def test_a_users_route_keeps_everything_foreign(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Through a first revision and a rollout, with the rule found by its name and by the placeholder in it."""

    def walk(named: bool) -> None:
        where = namespace if named else f"{namespace}-b"
        scene = Scene(cluster, where)
        for name in ("legacy", "placeholder", "other", "beta"):
            manifests.apply(cluster, _service(scene, name))
        manifests.apply(cluster, _users_route(scene, named=named))
        before = scene.get("httproutes", "shop")
        change = _attach(rule="rank", backend="placeholder") if named else _attach(backend="placeholder")
        scene.serve_first(change=change)
        first = scene.get("httproutes", "shop")
        assert _ours(first) == {f"ranker-{scene.revision('1')}": 200}, "the placeholder's weight is shared"
        assert _foreign(first) == _foreign(before)
        assert [one["name"] for one in first["spec"]["rules"][1]["backendRefs"]][::2] == ["legacy", "other"]

        scene.apply("2", change=change)
        scene.at_weight(50)
        middle = scene.get("httproutes", "shop")
        assert sorted(_ours(middle).values()) == [100, 100]
        assert _foreign(middle) == _foreign(before)
        scene.reach("Stable", version="2")
        eventually(lambda: len(_ours(scene.get("httproutes", "shop"))) == 1, "one backend")
        assert _foreign(scene.get("httproutes", "shop")) == _foreign(before)

    cluster.kubectl("create", "namespace", f"{namespace}-b")
    together(lambda: walk(True), lambda: walk(False))
    cluster.kubectl("delete", "namespace", f"{namespace}-b", "--wait=false")


def test_what_cannot_be_used_is_refused_with_the_remedy(
    cluster: LocalCluster, operator: Operator, namespace: str
) -> None:
    scene = Scene(cluster, namespace)
    change = _attach(rule="rank", backend="placeholder")
    scene.apply("1", change=change)
    status = scene.reach("Stalled", reason="RouteNotFound")
    assert "there is no HTTPRoute shop" in status["message"]
    assert scene.condition("Ready")["status"] == "False"

    route = _users_route(scene, named=False)
    manifests.apply(cluster, route)
    status = scene.until(lambda s: "no rule named rank" in s["message"], "the missing rule to be named")
    assert "none has a name" in status["message"]

    route = _users_route(scene, named=True)
    route["spec"]["rules"][1]["backendRefs"][1]["weight"] = 1
    manifests.apply(cluster, route)
    status = scene.until(lambda s: "split in percent" in s["message"], "the weight to be refused")
    assert "make it 100" in status["message"]

    del route["spec"]["rules"][1]["backendRefs"][1]
    manifests.apply(cluster, route)
    scene.until(lambda s: "has no backend placeholder (legacy, other)" in s["message"], "the missing placeholder")

    manifests.apply(cluster, _users_route(scene, named=True))
    scene.reach("Stable", version="1")


def test_a_rule_that_serves_already_is_left_alone(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Somebody's pods answer behind the placeholder: the first revision must not cut them off."""
    scene = Scene(cluster, namespace)
    other = Scene(cluster, namespace, "other")
    other.serve_first(change=changed(gates=[]))
    manifests.apply(cluster, _service(scene, "placeholder", **{"modelrollout.io/name": "other"}))
    manifests.apply(cluster, _users_route(scene, named=True))
    before = scene.get("httproutes", "shop")["spec"]
    scene.apply("1", change=_attach(rule="rank", backend="placeholder"))
    status = scene.reach("Stalled", reason="RouteInUse")
    assert "placeholder" in status["message"]
    assert scene.get("httproutes", "shop")["spec"] == before


def test_a_foreign_route_of_the_same_name_is_refused(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    route = _users_route(scene, named=True)
    route["metadata"]["name"] = "ranker"
    manifests.apply(cluster, route)
    before = scene.route["spec"]
    scene.apply("1")
    status = scene.reach("Stalled", reason="RouteNotFound")
    assert "is not this rollout's" in status["message"]
    assert scene.route["spec"] == before
    scene.kubectl("delete", "httproute", "ranker")
    scene.reach("Stable", version="1")


def _edit_weights(scene: Scene, weights: dict[str, int]) -> None:
    names = [one["name"] for one in scene.route["spec"]["rules"][0]["backendRefs"]]
    ops = [
        {"op": "replace", "path": f"/spec/rules/0/backendRefs/{names.index(name)}/weight", "value": weight}
        for name, weight in weights.items()
    ]
    scene.kubectl("patch", "httproute", "ranker", "--type=json", "-p", json.dumps(ops))


def test_outside_edits(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Upwards is corrected, downwards is obeyed as a pause until `resume`."""
    scene = Scene(cluster, namespace)
    change = changed(steps=[{"weight": 20, "hold": "1h"}, {"weight": 50, "hold": "1h"}])
    scene.serve_first(change=change)
    with scene.users(40) as users:
        scene.apply("2", change=change)
        scene.at_weight(20)
        old, new = (f"ranker-{scene.revision(version)}" for version in ("1", "2"))

        _edit_weights(scene, {old: 10, new: 90})
        eventually(lambda: scene.weights == {old: 80, new: 20}, "the edit upwards to be corrected")
        assert scene.status["phase"] == "Progressing"

        _edit_weights(scene, {old: 95, new: 5})
        status = scene.reach("Paused", reason="PausedByOutsideEdit")
        assert status["weight"] == 5
        assert "from 20 % to 5 %" in status["message"]
        assert scene.weights == {old: 95, new: 5}

        _edit_weights(scene, {old: 100, new: 0})
        scene.until(lambda s: s["weight"] == 0, "the second edit to be obeyed")
        assert scene.answer(scene.decide("resume"))["state"] == "Applied"
        scene.at_weight(20)

        scene.kubectl("delete", "httproute", "ranker")
        status = scene.until(lambda s: bool(scene.weights), "the route to be made again")
        assert scene.weights.get(new, 0) <= 20
        eventually(lambda: scene.weights == {old: 80, new: 20}, "the weights as they were")
        assert scene.status["candidate"]["version"] == "2"
    assert users.codes[0] == 0
    assert [reason for reason, _ in scene.events()].count("PausedByOutsideEdit") == 2


def test_the_own_route_follows_spec(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    """Host names are changed on the living route, and backends that others put into it are taken out."""
    scene = Scene(cluster, namespace)
    scene.serve_first()
    traffic = {"gatewayAPI": {"parentRefs": [_GATEWAY], "hostnames": ["new.example.com"]}}
    scene.apply("1", change=changed(traffic=traffic))
    eventually(lambda: scene.route["spec"]["hostnames"] == ["new.example.com"], "the new host name")
    assert list(scene.weights.values()) == [100]
    add = [{"op": "add", "path": "/spec/rules/0/backendRefs/-", "value": {"name": "stray", "port": 80, "weight": 50}}]
    scene.kubectl("patch", "httproute", "ranker", "--type=json", "-p", json.dumps(add))
    eventually(lambda: "stray" not in scene.weights, "the stray backend to go")
    scene.reach("Stable", version="1")


def test_a_gateway_that_refuses_is_quoted(cluster: LocalCluster, operator: Operator, namespace: str) -> None:
    scene = Scene(cluster, namespace)
    traffic = {"gatewayAPI": {"parentRefs": [_GATEWAY | {"sectionName": "nowhere"}], "hostnames": [scene.host]}}
    scene.apply("1", change=changed(traffic=traffic))
    status = scene.until(lambda s: s.get("reason") == "RouteNotAccepted", "the gateway's words")
    assert "NoMatchingParent" in status["message"], status
    assert scene.condition("Ready")["status"] != "True"
    scene.apply("1")
    scene.reach("Stable", version="1")
