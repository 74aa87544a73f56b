"""Detail 7: what a revision is. A golden value that changes here restarts every model in every cluster."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.engine.revision import child_name, revision_hash
from tests.support.world import spec

_CRDS = Path(__file__).parents[3] / "crds" / "modelrollouts.yaml"

_TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "recs"}},
    "spec": {
        "containers": [{"name": "server", "image": "registry.example/ranker:1.8", "ports": [{"containerPort": 80}]}]
    },
}
_GOLDEN = [
    ({"version": "42"}, _TEMPLATE, "5ec439f156"),
    ({"version": "42", "uri": "s3://models/ranker/42"}, _TEMPLATE, "4b082bb9e0"),
    ({"version": "模型-七", "digest": "sha256:00"}, _TEMPLATE, "493bf9db9a"),
]


def _spec(model: dict[str, Any], template: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": model, "workload": {"template": template}} | more


@pytest.mark.parametrize(("model", "template", "expected"), _GOLDEN)
def test_detail_7_the_hash_never_changes(model: dict[str, Any], template: dict[str, Any], expected: str) -> None:
    assert revision_hash(_spec(model, template)) == expected


def test_detail_7_defaults_of_the_crd_are_no_part_of_it() -> None:
    """The API server writes `uri: ""` and `digest: ""` into what a person left out."""
    plain = _spec({"version": "42"}, _TEMPLATE)
    assert revision_hash(_spec({"version": "42", "uri": "", "digest": ""}, _TEMPLATE)) == revision_hash(plain)


def test_detail_7_nothing_below_model_and_template_has_a_default_that_says_something() -> None:
    """Else upgrading the operator, which brings new defaults, would begin a rollout of everything."""
    crd = yaml.safe_load(_CRDS.read_text())
    found = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    def defaults(schema: Any) -> list[Any]:
        if isinstance(schema, list):
            return [one for item in schema for one in defaults(item)]
        if not isinstance(schema, dict):
            return []
        own = [schema["default"]] if "default" in schema and not isinstance(schema["default"], dict | None) else []
        return own + [one for value in schema.values() for one in defaults(value)]

    assert set(defaults(found["model"])) <= {""}
    assert defaults(found["workload"]["properties"]["template"]) == []


@pytest.mark.parametrize(
    "edit",
    [
        {"steps": [{"weight": 100, "hold": "1m"}]},
        {"gates": []},
        {"paused": True},
        {"warmup": "1h"},
        {"somethingNew": {"withDefaults": 7}},
    ],
)
def test_detail_7_only_model_and_template_count(edit: dict[str, Any]) -> None:
    before = spec()
    assert revision_hash(before) == revision_hash(before | edit)
    scaled = deepcopy(before)
    scaled["workload"]["replicas"] = 9
    assert revision_hash(before) == revision_hash(scaled)


def test_detail_7_the_order_of_keys_does_not_count_and_what_serves_does() -> None:
    before = spec()
    turned = deepcopy(before)
    turned["workload"]["template"]["spec"]["containers"][0] = dict(
        reversed(before["workload"]["template"]["spec"]["containers"][0].items())
    )
    assert revision_hash(turned) == revision_hash(before)
    other = deepcopy(before)
    other["workload"]["template"]["spec"]["containers"][0]["image"] = "registry.example/ranker:2"
    assert revision_hash(other) != revision_hash(before)
    assert revision_hash(spec("2")) != revision_hash(spec("1"))


def test_detail_7_fields_that_the_models_do_not_know_are_part_of_the_template() -> None:
    before, after = spec(), spec()
    after["workload"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    assert revision_hash(before) != revision_hash(after)
    assert ModelRolloutSpec.model_validate(after)


def test_detail_7_names_of_children_fit_into_a_label() -> None:
    name = child_name("r" * 40, revision_hash(spec()))
    assert len(name) <= 63
    assert name.startswith("r" * 40 + "-")
