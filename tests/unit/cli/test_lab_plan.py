"""``modelrollout plan`` and ``calibrate`` from the words typed to the exit code, on files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from modelrollout.cli import main as entry

_POLICY = """
steps: [{weight: 10, hold: 1h}, {weight: 50, hold: 1h}]
gates:
- {name: errors, ratio: {bad: errors, total: requests}, atMost: baseline + 0.2pp}
- {name: ctr, ratio: {good: clicks, total: requests}, labelsWithin: 0s, atLeast: 90% of baseline}
"""
_STATED = ("--rate", "50", "--rate", "ctr=100", "--baseline", "errors=1%,ctr=3%")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy of two gates."""
    path = tmp_path / "policy.yaml"
    path.write_text(_POLICY, encoding="utf-8")
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Two hours of two pods of the baseline, 20 requests a second, and a minute of a candidate."""
    rng = np.random.default_rng(2)
    lines = ["time,arm,requests,errors,clicks"]
    for i in range(484):
        for arm in ("baseline/0", "baseline/1", *(("candidate",) if i >= 480 else ())):
            lines.append(f"{15 * i},{arm},150,{rng.binomial(150, 0.01)},{rng.binomial(150, 0.05)}")
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["modelrollout", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_plan_takes_stated_traffic(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], policy: Path
) -> None:
    assert _run(monkeypatch, "plan", policy, *_STATED, "--want", "errors=2%, ctr=50% of baseline", "-o", "json") == 0
    errors, ctr = json.loads(capsys.readouterr().out)["gates"]
    assert (errors["rate"], ctr["rate"]) == (50, 100)
    assert errors["wanted"] == 0.02 and ctr["wanted"] == 0.015
    assert _run(monkeypatch, "plan", policy, *_STATED) == 0
    assert "to prove a candidate just like the baseline" in capsys.readouterr().out


def test_plan_measures_the_traffic_of_a_recording(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], policy: Path, history: Path
) -> None:
    assert _run(monkeypatch, "plan", policy, "--csv", history, "-o", "json") == 0
    errors, ctr = json.loads(capsys.readouterr().out)["gates"]
    assert errors["rate"] == pytest.approx(20, rel=0.01) and errors["baseline"] == pytest.approx(0.01, rel=0.1)
    assert ctr["baseline"] == pytest.approx(0.05, rel=0.1)


def test_calibrate_tells_the_noise_and_proposes_limits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, policy: Path, history: Path
) -> None:
    page = tmp_path / "noise.html"
    assert _run(monkeypatch, "calibrate", policy, "--csv", history, "--accept", "ctr=2%", "--plot", page) == 0
    shown = capsys.readouterr().out
    assert "noise floor" in shown and "proposed       atMost: baseline + " in shown
    assert page.read_text(encoding="utf-8").count("<svg") == 2
    assert _run(monkeypatch, "calibrate", policy, "--csv", history, "-o", "json") == 0
    assert [gate["gate"] for gate in json.loads(capsys.readouterr().out)["gates"]] == ["errors", "ctr"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("plan",), 1, "give --rate 50"),
        (("plan", "--rate", "fast"), 2, '"fast" is no number of requests per second'),
        (("plan", "--rate", "-3"), 2, '"-3" is no number of requests per second'),
        (("plan", "--rate", "5", "--baseline", "errors"), 2, '"errors" is no pair'),
        (("plan", "--rate", "5", "--baseline", "errors=1"), 2, '"1" is not a percentage'),
        (("plan", "--rate", "5", "--baseline", "p95=1%"), 2, '"p95" is no gate of the policy: there are errors, ctr'),
        (("plan", *_STATED, "--want", "errors=1%"), 1, "is within the limit"),
        (("calibrate",), 2, "--csv"),
        (("calibrate", "--csv", "none.csv"), 1, "No such file"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    policy: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert _run(monkeypatch, words[0], policy, *words[1:]) == code
    shown = capsys.readouterr().err
    assert said in shown and "bug" not in shown


def test_a_recording_that_begins_with_the_candidate_teaches_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, policy: Path
) -> None:
    table = tmp_path / "late.csv"
    table.write_text("time,arm,requests,errors,clicks\n0,candidate,5,1,1\n15,candidate,5,1,1\n", encoding="utf-8")
    assert _run(monkeypatch, "calibrate", policy, "--csv", table) == 1
    assert "nothing was recorded before the candidate's first row" in capsys.readouterr().err


def test_measured_and_stated_traffic_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], policy: Path, history: Path
) -> None:
    assert _run(monkeypatch, "plan", policy, "--csv", history, "--rate", "5") == 2
    assert "give one or the other" in capsys.readouterr().err
