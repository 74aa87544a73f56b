"""The records of rollbacks as people read them: all at a glance, and one with everything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelrollout.cli.errors import CliError
from modelrollout.cli.incidents import text
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import STATES
from tests.unit.cli.test_commands import _run
from tests.unit.notify.messages import message

_PROGRESSING = STATES["progressing"][0]


def _incident(name: str = "ranker-0123456789-1795230855", at: str = "2026-11-21T03:14:15.926Z") -> dict[str, Any]:
    spec = message().incident
    assert spec is not None
    body = {"metadata": {"name": name, "namespace": "recs"}, "spec": spec.model_dump(mode="json", by_alias=True)}
    body["spec"] = body["spec"] | {"at": at, "commands": ["kubectl modelrollout retry ranker -n recs"]}
    delivery = {"state": "Told", "attempts": 1, "reference": "https://tickets.example/7"}
    return body | {"status": {"deliveries": {"tickets": delivery}}}


def _cluster(*incidents: dict[str, Any]) -> FakeCluster:
    cluster = FakeCluster(_PROGRESSING)
    cluster.incidents = list(incidents)
    return cluster


def test_detail_25_the_record_says_what_when_why_and_what_to_type() -> None:
    shown = text(_incident())
    for part in (
        "recs/ranker: version 42 was rolled back (GateBreached)",
        "2026-11-21 03:14:15 UTC, having reached 50 % of the traffic",
        "version 41",
        "errors  Breached",
        "0.09 against 0.01, 1234 samples against 12340; limit: at most 1 %",
        'sum(x{code=~"5..|4.."})',
        "all traffic is put back",
        "kubectl modelrollout retry ranker -n recs",
        "tickets: Told, https://tickets.example/7",
    ):
        assert part in shown


def test_incident_finds_the_newest_of_a_rollout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = _cluster(_incident("old", "2026-11-20T03:14:15Z"), _incident("new", "2026-11-21T03:14:15Z"))
    assert _run(monkeypatch, cluster, "incident", "ranker", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["name"] == "new"
    assert _run(monkeypatch, cluster, "incident", "mri/old") == 0
    assert "record    old" in capsys.readouterr().out


def test_incident_that_is_not_there_says_what_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, _cluster(_incident()), "incident", "rankr") == 1
    assert "ranker-0123456789-1795230855" in capsys.readouterr().err


def test_incidents_lists_them_the_newest_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = _cluster(_incident("old", "2026-11-20T03:14:15Z"), _incident("new", "2026-11-21T03:14:15Z"))
    assert _run(monkeypatch, cluster, "incidents", "--no-color") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:3] == ["NAME", "ROLLOUT", "VERSION"]
    assert [line.split()[0] for line in shown[1:]] == ["new", "old"]
    assert _run(monkeypatch, cluster, "incidents", "other") == 0
    assert "no rollback is on record" in capsys.readouterr().err


def test_a_record_of_a_newer_operator_is_no_traceback() -> None:
    with pytest.raises(CliError, match="cannot read the record"):
        text({"metadata": {"name": "x", "namespace": "recs"}, "spec": {"rollout": "ranker"}})
