"""kustomize with manifests/gitops/kustomize/base/kustomizeconfig.yaml: names, images and replicas of a ModelRollout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.engine.revision import revision_hash
from tests.support.kubectl import kustomize

_FOLDER: Final = Path(__file__).parents[3] / "manifests" / "gitops" / "kustomize"


@pytest.fixture(scope="module")
def made() -> list[dict[str, Any]]:
    return kustomize(_FOLDER / "production")


def _one(made: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in made if one["kind"] == kind]
    return found


def _names(made: list[dict[str, Any]], kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in made if one["kind"] == kind}


def test_every_name_that_a_rollout_refers_to_follows_its_object(made: list[dict[str, Any]]) -> None:
    spec = _one(made, "ModelRollout")["spec"]
    pod = spec["workload"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    settings = {pod["containers"][0]["envFrom"][0]["configMapRef"]["name"], volumes["settings"]["configMap"]["name"]}
    assert settings == _names(made, "ConfigMap")
    secrets = {pod["initContainers"][0]["envFrom"][0]["secretRef"]["name"], pod["imagePullSecrets"][0]["name"]}
    assert secrets == _names(made, "Secret")
    assert {pod["serviceAccountName"]} == _names(made, "ServiceAccount") == {"eu-ranker"}
    assert {volumes["models"]["persistentVolumeClaim"]["claimName"]} == _names(made, "PersistentVolumeClaim")
    route = _one(made, "HTTPRoute")
    assert spec["traffic"]["gatewayAPI"]["route"]["name"] == route["metadata"]["name"] == "eu-shop"
    backend = spec["traffic"]["gatewayAPI"]["route"]["backend"]
    assert {backend} == _names(made, "Service") == {route["spec"]["rules"][0]["backendRefs"][0]["name"]}


def test_images_and_replicas_are_set(made: list[dict[str, Any]]) -> None:
    workload = _one(made, "ModelRollout")["spec"]["workload"]
    pod = workload["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example/ranker-server:1.8"
    assert pod["initContainers"][0]["image"].startswith("registry.example/fetch@sha256:")
    assert workload["replicas"] == 6


def test_common_labels_start_no_rollout(made: list[dict[str, Any]], tmp_path: Path) -> None:
    """They reach the object and not the pod template, which is part of the revision."""
    for name in ("base", "production"):
        (tmp_path / name).mkdir()
        for file in (_FOLDER / name).iterdir():
            (tmp_path / name / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    overlay = tmp_path / "production" / "kustomization.yaml"
    settings = yaml.safe_load(overlay.read_text(encoding="utf-8"))
    settings["commonLabels"] = {"cost-center": "42"}
    settings["commonAnnotations"] = {"contact": "recs@example.com"}
    overlay.write_text(yaml.safe_dump(settings), encoding="utf-8")
    before, after = _one(made, "ModelRollout"), _one(kustomize(tmp_path / "production"), "ModelRollout")
    assert after["metadata"]["labels"] == {"team": "recs", "cost-center": "42"}
    assert revision_hash(after["spec"]) == revision_hash(before["spec"])


def test_the_sample_is_a_rollout(made: list[dict[str, Any]]) -> None:
    assert ModelRolloutSpec.model_validate(_one(made, "ModelRollout")["spec"]).workload.replicas == 6
