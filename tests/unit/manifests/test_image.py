"""What the image is made of. No container engine is needed: the Dockerfile is read, not run."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[3]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def _stages() -> dict[str, str]:
    """The Dockerfile's stages by name, comments and continued lines aside."""
    text = re.sub(r"(?m)^#.*\n", "", DOCKERFILE).replace("\\\n", "")
    found = {}
    for part in re.split(r"(?m)^(?=FROM )", text):
        name = re.match(r"FROM \S+ AS (\w+)\n", part)
        if name:
            found[name[1]] = part
    return found


def test_base_images_are_pinned_by_digest() -> None:
    bases = re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)
    assert len(bases) == len(_stages()) == 3
    assert all(re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", base) for base in bases)


def test_the_operators_stage_runs_nothing_and_is_nobody() -> None:
    """It has no shell to run anything with; what it has comes from the stage that is thrown away."""
    stage = _stages()["operator"]
    assert "distroless" in stage.splitlines()[0]
    assert "\nRUN" not in stage
    assert re.findall(r"(?m)^COPY (.*)", stage) == ["--from=packages /srv /srv"]
    assert "\nUSER 65532:65532\n" in stage
    assert json.loads(stage.split("ENTRYPOINT ")[1].strip())[-2:] == ["-m", "modelrollout.controller"]


def test_packages_are_checked_by_hash_and_run_nothing_when_installed() -> None:
    stage = _stages()["packages"]
    assert '"--require-hashes"' in stage
    assert '"--only-binary=:all:"' in stage
    assert "requirements-operator.lock" in stage
    assert not re.search(r"(?m)^RUN [^\[]", stage), "no shell"


def test_nothing_but_what_is_copied_is_sent_to_the_builder() -> None:
    lines = [
        one for one in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if one[:1] not in ("#", "")
    ]
    assert lines[0] == "*"
    sent = {one[1:] for one in lines if one.startswith("!")}
    copied = {word for one in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", DOCKERFILE) for word in one.split()}
    assert copied == sent


def test_every_package_of_the_image_is_in_the_bill_with_its_hashes(sbom: ModuleType) -> None:
    bill: dict[str, Any] = sbom.bill()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {one["name"]: one for one in bill["components"]}
    lock = sbom.taken((ROOT / "requirements-operator.lock").read_text(encoding="utf-8"))
    pinned = dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", lock))
    assert {name: one["version"] for name, one in found.items() if one["type"] == "library"} == pinned
    for name in pinned:
        (reference,) = found[name]["externalReferences"]
        assert {one["alg"] for one in reference["hashes"]} == {"SHA-256"}
    (base,) = [one for one in bill["components"] if one["type"] == "container"]
    assert base["hashes"][0]["content"] in DOCKERFILE


def test_what_the_image_does_not_take_is_not_in_the_bill(sbom: ModuleType) -> None:
    lock = "a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:0\nb==2 \\\n    --hash=sha256:1\n    # via a\n"
    assert sbom.taken(lock) == "b==2 \\\n    --hash=sha256:1\n    # via a\n"
    with pytest.raises(ValueError, match="must be FROM an image with @sha256"):
        sbom.base_image("FROM python:3.11 AS operator\n")
