"""The manifests are what the API takes, and differ from release to release in nothing but the release."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo import story
from demo.rendering import Rendering
from demo.versions import FIRST, GOOD, SLOW, WORSE, Version
from localcluster import GatewayRef
from modelrollout.api.rollout import ModelRolloutSpec


@pytest.fixture
def local(tmp_path: Path) -> Rendering:
    """A rendering for the local cluster."""
    (tmp_path / "v1.npz").write_bytes(b"weights")
    return Rendering(tmp_path, "http://10.0.0.1:8080", 80.0, GatewayRef("gateways", "outer"))


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """The one container of a pod template."""
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(pod: dict[str, Any]) -> dict[str, str]:
    """The plain variables of its container."""
    return {entry["name"]: entry["value"] for entry in container(pod)["env"] if "value" in entry}


@pytest.mark.parametrize("version", [FIRST, GOOD, SLOW, WORSE])
def test_every_version_is_a_valid_rollout(local: Rendering, version: Version) -> None:
    spec = ModelRolloutSpec.model_validate(local.ranker(version)["spec"])
    assert spec.model.version == version.name
    assert spec.model.uri == (local.artifacts / f"{version.name}.npz").as_uri()
    assert [step.weight for step in spec.steps] == [10, 50, 100]
    assert [gate.name for gate in spec.gates] == ["ctr", "p95", "errors"]


def test_the_route_hangs_on_the_gateway_there_is(local: Rendering) -> None:
    traffic = local.ranker(FIRST)["spec"]["traffic"]["gatewayAPI"]
    assert traffic["parentRefs"] == [{"name": "outer", "namespace": "gateways"}]


def test_processes_get_no_volumes_and_read_where_training_wrote(local: Rendering) -> None:
    template = local.ranker(SLOW)["spec"]["workload"]["template"]
    assert "volumes" not in template["spec"]
    assert "volumeMounts" not in container(template)
    assert environment(template)["FEATURES_URI"] == (local.artifacts / "features.npz").as_uri()
    assert environment(template)["FEATURE_STORE_SECONDS"] == "0.3"


def test_releases_differ_in_the_model_and_in_what_they_say(local: Rendering) -> None:
    good, worse = local.ranker(GOOD)["spec"], local.ranker(WORSE)["spec"]
    assert good.pop("model") != worse.pop("model")
    assert good == worse


def test_the_frontend_is_told_gateway_and_rate(local: Rendering) -> None:
    namespace, deployment = local.recs()
    assert namespace["kind"] == "Namespace"
    told = environment(deployment["spec"]["template"])
    assert told["GATEWAY_URL"] == "http://10.0.0.1:8080"
    assert told["USERS_PER_SECOND"] == "80"
    names = [entry["name"] for entry in container(deployment["spec"]["template"])["env"]]
    assert len(names) == len(set(names))


def test_a_cluster_with_images_gets_the_artifacts_in_a_volume(local: Rendering) -> None:
    elsewhere = replace(local, image="demo:1")
    _, artifacts, deployment = elsewhere.recs()
    assert set(artifacts["binaryData"]) == {"v1.npz"}
    assert container(deployment["spec"]["template"])["image"] == "demo:1"
    rollout = elsewhere.ranker(FIRST)
    assert rollout["spec"]["model"]["uri"] == "file:///artifacts/v1.npz"
    assert rollout["spec"]["workload"]["template"]["spec"]["volumes"]


def test_what_the_story_calls_shown_is_what_the_gates_say(local: Rendering) -> None:
    gates = {gate.name: gate for gate in ModelRolloutSpec.model_validate(local.ranker(FIRST)["spec"]).gates}
    assert gates["ctr"].at_least == f"{story.OF_BASELINE:.0%} of baseline"
    assert gates["ctr"].labels_within == f"{story.LABELS_WITHIN:g}s"
    assert gates["p95"].at_most == f"{float(story.LIMIT_SECONDS) * 1000:g}ms"
    assert gates["p95"].latency is not None
    assert float(gates["p95"].latency.quantile) == story.QUANTILE
