"""``modelrollout explain`` from the words typed to the exit code, against a cluster in memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from modelrollout.cli import main as entry
from modelrollout.cli.cluster import Cluster, Connection
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import STATES

_ROLLED_BACK = STATES["rolled-back"][0]


def _run(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, *words: str) -> int:
    monkeypatch.setattr(Cluster, "connect", cluster.connect)
    monkeypatch.setattr(sys, "argv", ["modelrollout", "explain", *words])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_status_alone_tells_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = FakeCluster(_ROLLED_BACK)
    assert _run(monkeypatch, cluster, "mro/ranker", "-n", "ads") == 0
    assert "was rolled back after 2h52m" in capsys.readouterr().out
    assert cluster.asked == [Connection(None, None, "ads")]


def test_machines_get_one_object_and_people_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "why.html"
    assert _run(monkeypatch, FakeCluster(_ROLLED_BACK), "ranker", "-o", "json", "--plot", str(page)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["version"], len(found["gates"])) == ("RolledBack", "42", 3)
    assert "Why: ranker" in page.read_text(encoding="utf-8")


def test_a_rollout_without_a_release_and_a_wrong_name_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, FakeCluster(STATES["empty"][0]), "ranker") == 1
    assert "no release yet" in capsys.readouterr().err
    assert _run(monkeypatch, FakeCluster(_ROLLED_BACK), "rankr") == 1
    assert "did you mean ranker?" in capsys.readouterr().err


def test_a_prometheus_that_does_not_answer_is_said_and_what_status_knows_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, FakeCluster(_ROLLED_BACK), "ranker", "--prometheus", "http://127.0.0.1:1") == 1
    shown = capsys.readouterr()
    assert "Prometheus at http://127.0.0.1:1 does not answer" in shown.err
    assert "was rolled back after" in shown.out
