"""simulate: what it says of good and of harmful candidates, and that it says it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelrollout.cli.main import cli
from modelrollout.lab import simulate

POLICY = """
warmup: 0s
steps: [{weight: 10, hold: 20m}]
gates: [{name: errors, ratio: {bad: errors, total: requests}, atMost: baseline + 0.2pp}]
"""
TRAFFIC = """
traffic: 50
metrics: {errors: 1%}
history: 2h
"""
HARM = "candidate: {errors: {value: 10%, at: 5m}}\n"


def written(tmp_path: Path, *documents: str) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text("---\n".join(documents), encoding="utf-8")
    return path


def ran(path: Path, runs: int = 40, seed: int = 1) -> simulate.Simulation:
    return simulate.simulate(*simulate.read([path]), runs=runs, seed=seed)


def test_a_good_model_passes_here_and_hardly_anywhere_else(tmp_path: Path) -> None:
    found = ran(written(tmp_path, POLICY, TRAFFIC))
    ours, flagger, argo, *_ = found.candidate.rows
    assert found.good is None
    assert (ours.rolled_back, found.candidate.promoted) == (0.0, 1.0)
    assert ours.interval[1] > 0.05
    assert flagger.rolled_back > 0.7
    assert argo.rolled_back > 0.9


def test_harm_is_caught_soon_after_it_begins_and_a_good_model_is_tried_too(tmp_path: Path) -> None:
    found = ran(written(tmp_path, POLICY, TRAFFIC + HARM))
    ours = found.candidate.rows[0]
    assert (ours.rolled_back, ours.early) == (1.0, 0.0)
    assert 30.0 <= ours.seconds <= 120.0
    assert 100 < ours.exposed < 700
    assert found.candidate.gates == {"errors": 1.0}
    assert found.good is not None
    assert found.good.rows[0].rolled_back == 0.0
    assert "good" in found.summary()


def test_the_same_seed_says_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, POLICY, TRAFFIC + HARM)
    assert ran(path, 10).summary() == ran(path, 10).summary()
    assert ran(path, 10).summary() != ran(path, 10, seed=2).summary()


def test_policy_and_scenario_may_be_two_files(tmp_path: Path) -> None:
    policy, scenario = tmp_path / "policy.yaml", tmp_path / "scenario.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    scenario.write_text(TRAFFIC, encoding="utf-8")
    assert simulate.read([policy, scenario]) == simulate.read([written(tmp_path, POLICY, TRAFFIC)])


def test_the_sample_is_a_policy_and_a_scenario_that_fit_each_other() -> None:
    policy, scenario = simulate.read([])
    assert [gate.name for gate in policy.gates] == ["errors", "ctr", "p95"]
    assert scenario.has_effect


def test_the_command_prints_a_timeline_and_a_table(tmp_path: Path) -> None:
    path, page = written(tmp_path, POLICY, TRAFFIC + HARM), tmp_path / "page.html"
    told = CliRunner().invoke(cli, ["simulate", str(path), "--runs", "10", "--plot", str(page)])
    assert told.exit_code == 0
    for text in ("step weight-10", "rolled back", "ModelRollout", "Flagger, threshold 5", "Kayenta"):
        assert text in told.stdout
    assert page.read_text(encoding="utf-8").count("<svg") == 3


def test_the_command_ends_with_one_line_for_machines(tmp_path: Path) -> None:
    path = written(tmp_path, POLICY, TRAFFIC + HARM)
    told = CliRunner().invoke(cli, ["simulate", str(path), "--runs", "10", "-o", "json"])
    found = json.loads(told.stdout.splitlines()[-1])
    assert found["runs"] == 10
    assert found["run"]["outcome"] == "rolledBack"
    assert found["candidate"]["rolledBack"] == 1.0
    assert found["candidate"]["medianSeconds"] >= 30.0
    assert found["good"]["rolledBack"] == 0.0
    assert found["good"]["rules"]["Flagger, threshold 5"]["rolledBack"] > 0.5


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((POLICY,), "0 scenarios: give one mapping with traffic and metrics"),
        ((TRAFFIC,), "0 policies: give one ModelRollout"),
        ((POLICY, "traffic: 50\nmetrics: {faults: 1%}\n"), 'gate errors: no column "errors": the columns are faults'),
    ],
)
def test_what_is_missing_is_named_without_a_traceback(tmp_path: Path, documents: tuple[str, ...], message: str) -> None:
    told = CliRunner().invoke(cli, ["simulate", str(written(tmp_path, *documents))])
    assert told.exit_code != 0
    assert message in str(told.exception)
