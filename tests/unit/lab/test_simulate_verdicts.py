"""The bench of verdicts works: its cases are what they are called, and its page is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.verdicts import report
from tests.bench.verdicts.cases import Case, core, margin, matrix
from tests.bench.verdicts.measure import measure

CASES = {f"{case.group}: {case.name}": case for case in matrix()}


def test_every_case_is_there_once() -> None:
    assert len(CASES) == len(matrix())


def test_harm_is_beyond_the_limit_and_nothing_else_is() -> None:
    harms = {case.group for case in CASES.values() if case.harmful}
    assert all(group.startswith(("harm", "turns bad")) for group in harms)
    assert not [name for name, case in CASES.items() if case.harmful != (case.group in harms)]


@pytest.mark.parametrize("case", [case for case in core() if "margin" in case.name], ids=lambda case: case.name)
def test_the_margin_lies_exactly_on_the_limit(case: Case) -> None:
    assert case.candidate == pytest.approx(margin(case.kind, case.share))
    assert case.bad(case.candidate) == pytest.approx(case.kind.line.at(case.bad(case.share)))


def test_a_page_with_charts_comes_out(tmp_path: Path) -> None:
    some = ["smooth: 10 rps 10 %, errors 1.0%, A/A", "harm: 10 rps 10 %, errors 1.0% outage"]
    found = [measure(replace(CASES[name], history=7200.0), 20, 1) for name in some]
    good, outage = found
    assert good.caught["ours"] == 0.0
    assert good.caught["argo 0"] > 0.5
    assert outage.delay["oracle"] <= outage.delay["ours"] <= 30.0
    report.write(found, tmp_path, "the command", 60.0)
    page = (tmp_path / "verdicts.md").read_text(encoding="utf-8")
    assert all(name in page for name in some)
    assert "the command" in page
    for chart in ("verdicts-false.svg", "verdicts-delay.svg"):
        assert (tmp_path / "img" / chart).read_text(encoding="utf-8").startswith("<svg")
