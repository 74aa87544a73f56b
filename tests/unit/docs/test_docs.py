"""The docs say what the code does: generated pages are fresh, dependencies have reasons, words and links exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from modelrollout import __version__
from modelrollout.api.enums import Reason, Verdict
from modelrollout.api.reference import render
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.cli.main import cli
from modelrollout.engine.gate_tests import compiled
from modelrollout.gates.report import ReportTest
from modelrollout.telemetry.page import render as metrics_page

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_up_to_date() -> None:
    """Stale: run `make docs`."""
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == render(), "run `make docs`"


def test_the_page_of_metrics_is_up_to_date() -> None:
    """Stale: run `make docs`."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics_page(), "run `make docs`"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    deployment = (ROOT / "manifests" / "base" / "deployment.yaml").read_text(encoding="utf-8")
    assert project["version"] == __version__
    assert f"image: modelrollout:{__version__}" in deployment


def test_every_dependency_has_a_reason() -> None:
    """A package that is in pyproject.toml is explained in docs/dependencies.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~ ]", entry)[0] for entry in wanted}
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert not [name for name in names if name not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links and named files of the repository exist."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    files = re.findall(r"`((?:docs|manifests|operator|tests|crds|localcluster|demo)/[\w./-]+\.\w+)`", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert not missing


def _anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub calls them in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_into_a_page_find_their_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))
    assert not [(file, to) for file, to in links if to not in _anchors(page.parent / file if file else page)]


def test_detail_41_the_runbook_knows_every_reason_that_waits_for_somebody() -> None:
    """Those that go on by themselves, and those that are only events, need nothing to be typed."""
    by_themselves = {
        *(Reason.FIRST_REVISION, Reason.NEW_REVISION, Reason.STARTING_PODS, Reason.HOLDING, Reason.WARMING_UP),
        *(Reason.STEP_DONE, Reason.NOT_WANTED, Reason.RAISING_WEIGHT, Reason.NO_BASELINE, Reason.PROMOTED),
        *(Reason.REVERTED_TO_STABLE, Reason.SUPERSEDED, Reason.METRICS_BACK, Reason.GATES_PASSING, Reason.SERVING),
        *(Reason.DECISION_APPLIED, Reason.DECISION_REFUSED, Reason.DECISION_EXPIRED, Reason.DELETED),
    }
    table = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("## By reason")[1].split("\n#")[0]
    assert {str(reason) for reason in set(Reason) - by_themselves} <= set(re.findall(r"`(\w+)`", table))


def test_every_reason_in_the_runbook_exists() -> None:
    """The table "By reason" names reasons of the code."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("## By reason")[1].split("## ")[0]
    named = {word for row in re.findall(r"^\| (`.*?) \|", table, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert named
    assert not named - {str(reason) for reason in Reason}


def test_every_verdict_is_explained() -> None:
    """The table of verdicts has each word of the code, and no other."""
    text = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
    table = text.split("| verdict | meaning |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(Verdict)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_field_of_status_that_is_named_exists(page: Path) -> None:
    """What people are told to type is there, and so is what they are told to look at."""
    text = page.read_text(encoding="utf-8")
    verbs = set(re.findall(r"(?:kubectl |`|^|&& )modelrollout ([a-z]+)", text, re.M))
    fields = set(re.findall(r"[`{]\.?status\.(\w+)", text))
    assert not verbs - set(cli.commands)
    assert not fields - {field.alias or name for name, field in ModelRolloutStatus.model_fields.items()}


def test_the_readme_shows_the_sample() -> None:
    """Who copies from the README and who applies the sample release the same way."""
    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert shown is not None
    sample = (ROOT / "manifests" / "samples" / "ranker.yaml").read_text(encoding="utf-8")
    ours, theirs = yaml.safe_load(shown.group(1)), yaml.safe_load(sample)
    assert all(ours["spec"][part] == theirs["spec"][part] for part in ("model", "traffic", "steps", "gates"))


@pytest.mark.parametrize("name", ["auc", "size", "speed"])
def test_the_sample_report_is_judged_by_the_sample_gates(name: str) -> None:
    """manifests/samples/report.yaml and the result beside it belong together."""
    folder = ROOT / "manifests" / "samples"
    spec = ModelRolloutSpec.model_validate(yaml.safe_load((folder / "report.yaml").read_text(encoding="utf-8"))["spec"])
    test = compiled(next(gate for gate in spec.gates if gate.name == name), spec)
    assert isinstance(test, ReportTest)
    found = test.assess(test.read(test.start(), (folder / "evaluation-8.json").read_text(encoding="utf-8")))
    assert found.verdict in (Verdict.PROVEN, Verdict.NO_HARM_SEEN), found.message


@pytest.mark.parametrize("sample", sorted((ROOT / "manifests" / "samples").glob("*.yaml")), ids=lambda one: one.name)
def test_the_gates_of_every_sample_can_be_judged(sample: Path) -> None:
    """Not only the API server takes them: each becomes a test."""
    manifest = yaml.safe_load(sample.read_text(encoding="utf-8"))
    if manifest["kind"] == "ModelRollout":
        spec = ModelRolloutSpec.model_validate(manifest["spec"])
        assert all(compiled(gate, spec).start() is not None for gate in spec.gates)


def test_every_rule_has_a_test_named_after_it() -> None:
    """docs/rules.md promises `pytest -k rule_3` and `-k detail_18` for every number that it lists."""
    text = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    rules, details = text.split("## Details")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = re.findall(r"def (test_\w+)", tests)
    wanted = [f"rule_{number}" for number in re.findall(r"^\| (\d+) \|", rules, re.M)]
    wanted += [f"detail_{number}" for number in re.findall(r"^\| (\d+) \|", details, re.M)]
    missing = [one for one in wanted if not any(re.search(rf"(^|_){one}(_|$)", name) for name in names)]
    assert not missing


def test_detail_32_the_first_page_tells_who_bypasses_the_route() -> None:
    """Callers who use a Service's name, and the ways out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "bypasses the HTTPRoute" in text
    assert "GAMMA" in text
