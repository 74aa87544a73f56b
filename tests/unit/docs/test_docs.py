"""The docs say what the code does: generated pages are fresh, dependencies have reasons, words and links exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from modelrollout.api.enums import Reason
from modelrollout.api.reference import render

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_up_to_date() -> None:
    """Stale: run `make docs`."""
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == render(), "run `make docs`"


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


def test_every_reason_in_the_runbook_exists() -> None:
    """The table "By reason" names reasons of the code."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.split("## By reason")[1].split("## ")[0]
    named = {word for row in re.findall(r"^\| (`.*?) \|", table, re.M) for word in re.findall(r"`(\w+)`", row)}
    assert named
    assert not named - {str(reason) for reason in Reason}


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
