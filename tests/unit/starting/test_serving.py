"""Finding out what serves: nothing is asked that can be known, nothing is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.starting.serving import Asked, Namespace, UnclearError, find_serving
from tests.unit.starting.objects import deployment, namespace, route, rule, service

_SIDECAR = {"name": "proxy", "image": "proxy:1", "ports": [{"name": "proxy", "containerPort": 15001}]}


def test_one_of_each_needs_no_question() -> None:
    found = find_serving(namespace(), Asked("ranker"))
    assert (found.port, found.container, found.container_port, found.rule) == (80, 0, 8080, "")
    assert found.backend["name"] == "ranker"
    assert found.autoscaler is None


def test_of_several_services_the_one_that_a_route_leads_to_is_meant() -> None:
    headless = service("ranker-headless")
    assert (
        find_serving(namespace(services=[headless, service()]), Asked("ranker")).service["metadata"]["name"] == "ranker"
    )


def test_other_people_s_services_routes_and_autoscalers_do_not_count() -> None:
    autoscalers = [
        {"metadata": {"name": kind}, "spec": {"scaleTargetRef": {"kind": kind, "name": "ranker"}, "maxReplicas": 9}}
        for kind in ("StatefulSet", "Deployment")
    ]
    there = namespace(
        services=[service(), service("search", app="search"), {"metadata": {"name": "empty"}, "spec": {}}],
        routes=[route(rule("search"), rule("ranker", "search")), route(rule("search"), name="other")],
        autoscalers=autoscalers,
    )
    found = find_serving(there, Asked("ranker"))
    assert [one["name"] for one in found.others] == ["search"]
    assert found.autoscaler is autoscalers[1]


def test_a_sidecar_is_not_what_serves() -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"].insert(0, _SIDECAR)
    found = find_serving(namespace(deployments=[body]), Asked("ranker"))
    assert (found.container, found.container_port) == (1, 8080)
    numbered = find_serving(namespace(deployments=[body], services=[service(target=9999)]), Asked("ranker"))
    assert (numbered.container, numbered.container_port) == (0, 9999)


def test_a_named_rule_of_several_can_be_said() -> None:
    there = namespace(routes=[route(rule("ranker", name="a"), rule("ranker", name="b"), rule("ranker"))])
    found = find_serving(there, Asked("ranker", rule="b"))
    assert found.rule == "b"
    assert found.elsewhere == ("ranker (rule a)", "ranker (rule 2, unnamed)")
    two = namespace(routes=[route(), route(name="internal")])
    assert find_serving(two, Asked("ranker", route="internal")).elsewhere == ("ranker (rule 0, unnamed)",)


_REVISION = deployment()
_REVISION["metadata"]["labels"] = {"modelrollout.io/name": "ranker"}
_UNCLEAR: list[tuple[Namespace, Asked, str, str]] = [
    (namespace(), Asked("rankr"), 'no Deployment "rankr"', "did you mean ranker?"),
    (namespace(deployments=[]), Asked("ranker"), 'no Deployment "ranker"', "-n"),
    (namespace(deployments=[_REVISION]), Asked("ranker"), "a revision of the ModelRollout ranker", "kubectl edit"),
    (namespace(services=[]), Asked("ranker"), "no Service selects", "kubectl expose deployment ranker -n recs"),
    (namespace(routes=[]), Asked("ranker"), "leads to Service ranker", "backendRefs name the Service"),
    (namespace(), Asked("ranker", service="search"), "does not select the pods", "these do: ranker"),
    (namespace(), Asked("ranker", route="other"), "no such rule", "these do: ranker (rule 0, unnamed)"),
    (
        namespace(services=[service(), service("other")], routes=[route(rule("ranker"), rule("other"))]),
        Asked("ranker"),
        "several Services lead to these pods: other, ranker",
        "--service NAME",
    ),
    (namespace(routes=[route(), route(name="b")]), Asked("ranker"), "several HTTPRoutes", "--route NAME"),
    (namespace(routes=[route(rule("ranker"), rule("ranker"))]), Asked("ranker"), "several rules", "--rule NAME"),
    (namespace(routes=[route(rule("ranker", port=81))]), Asked("ranker"), "port 81", "answers nobody"),
    (namespace(services=[service(target="grpc")]), Asked("ranker"), 'a port named "grpc"', "name the container's port"),
]


@pytest.mark.parametrize(("there", "asked", "words", "remedy"), _UNCLEAR, ids=lambda one: str(one)[:30])
def test_what_is_missing_or_fits_twice_is_said_with_a_remedy(there: Any, asked: Asked, words: str, remedy: str) -> None:
    with pytest.raises(UnclearError) as said:
        find_serving(there, asked)
    assert words in str(said.value)
    assert remedy in said.value.remedy
