"""``modelrollout backtest`` from the words typed to the exit code, on files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelrollout.cli import main as entry

_POLICY = """
steps:
- {weight: 10, hold: 20m}
- {weight: 50, hold: 10m}
warmup: 1m
gates:
- {name: errors, ratio: {bad: errors, total: requests}, atMost: baseline + 0.2pp}
- {name: ctr, ratio: {good: clicks, total: impressions}, labelsWithin: 0s, atLeast: 90% of baseline}
"""


def _policy(tmp_path: Path, text: str = _POLICY) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _table(tmp_path: Path, share: float, *, candidate: int = 180, history: int = 960) -> Path:
    """Four hours of history of two pods, then a candidate with this share of errors."""
    rng = np.random.default_rng(5)
    lines = ["time,arm,requests,errors,impressions,clicks"]
    for i in range(history + candidate):
        for arm in ("baseline/0", "baseline/1", *(("candidate",) if i >= history else ())):
            wrong = share if arm == "candidate" else 0.01
            lines.append(f"{15 * i},{arm},300,{rng.binomial(300, wrong)},500,{rng.binomial(500, 0.05)}")
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["modelrollout", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_last_line_is_the_verdict_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("backtest", _policy(tmp_path), "--csv", _table(tmp_path, 0.06), "-o", "json")
    assert _run(monkeypatch, *words) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert len(lines) == 1 and set(found) == {"outcome", "at", "gate", "gates"}
    assert (found["outcome"], found["gate"]) == ("rolledBack", "errors") and 60 <= found["at"] <= 300
    assert set(found["gates"]["errors"]) == {"verdict", "value", "baseline", "samples", "evidence"}
    assert found["gates"]["errors"]["verdict"] == "Breached"
    assert found["gates"]["errors"]["value"] == pytest.approx(0.06, abs=0.02)


def test_the_baseline_against_itself_comes_before_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("backtest", _policy(tmp_path), "--csv", _table(tmp_path, 0.01), "-o", "json", "--aa")
    assert _run(monkeypatch, *words) == 0
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["aa"]["falseRollbacks"] == 0 and first["aa"]["runs"] > 1
    assert last["outcome"] == "promoted" and last["at"] == pytest.approx(1905, abs=60)


def test_people_get_a_timeline_a_table_a_sentence_and_the_service_s_own_noise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "out.html"
    words = ("backtest", _policy(tmp_path), "--csv", _table(tmp_path, 0.06), "--plot", page)
    assert _run(monkeypatch, *words) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("intervals of 15s: 4h of history of 2 replicas, 45m with the candidate")
    assert "TIMELINE" in shown and "rolled back after" in shown and "baseline against itself: 0 of" in shown
    assert "<svg" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("policy", "table", "said"),
    [
        (_POLICY.replace("errors, total", "failures, total"), None, 'gate errors: no column "failures"'),
        (_POLICY.replace("0.2pp", "0.2%"), None, "has two readings"),
        ("steps: 3", None, "steps"),
        ("gates: []", None, "0 policies: give one ModelRollout"),
        (_POLICY, "time,arm,requests,errors,impressions,clicks\n0,baseline,5,9,1,1\n15,candidate,5,1,1,1\n", "line 2"),
        (
            _POLICY,
            "time,arm,requests,errors,impressions,clicks\n0,baseline,5,1,1,1\n15,baseline,5,1,1,1\n",
            "candidate",
        ),
        (_POLICY, "a,b\n", 'no column "time"'),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    policy: str,
    table: str | None,
    said: str,
) -> None:
    data = _table(tmp_path, 0.01, history=20, candidate=20)
    if table is not None:
        data.write_text(table, encoding="utf-8")
    assert _run(monkeypatch, "backtest", _policy(tmp_path, policy), "--csv", data) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and said in shown and "bug" not in shown


def test_missing_files_and_missing_flags_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert _run(monkeypatch, "backtest", tmp_path / "none.yaml", "--csv", _table(tmp_path, 0.01)) == 1
    assert "No such file" in capsys.readouterr().err
    assert _run(monkeypatch, "backtest", _policy(tmp_path)) == 2
    assert "--csv" in capsys.readouterr().err


def test_a_backtest_needs_neither_kubernetes_nor_a_web_client(tmp_path: Path) -> None:
    """What is not imported costs no time and cannot be missing."""
    program = (
        "import sys; from modelrollout.cli import main as entry; "
        f"sys.argv = ['modelrollout', 'backtest', {str(_policy(tmp_path))!r}, '--csv', "
        f"{str(_table(tmp_path, 0.01, history=300))!r}]\n"
        "try: entry.main()\n"
        "except SystemExit: print(*sorted({'kubernetes', 'kopf', 'aiohttp', 'pandas'} & set(sys.modules)), 'loaded')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded"
