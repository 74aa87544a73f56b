"""What waits for whom, and the record of a model, from objects as an API server gives them."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import pytest

from modelrollout.cli import audit
from modelrollout.cli import main as entry
from modelrollout.cli.cluster import Cluster
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import STATES, rollout

_STEPS: Final = [{"weight": 10, "hold": "1h"}, {"approval": {"role": "risk", "count": 2}}, {"weight": 50, "hold": "1h"}]
_STATUS: Final[dict[str, Any]] = {
    "phase": "AwaitingApproval",
    "reason": "AwaitingApproval",
    "message": "step approval-risk waits for 1 more with the role risk; bob approved",
    "stable": {"revision": "0f3c9a1be2d4", "version": "41"},
    "candidate": {"revision": "77aa01c4ee90", "version": "42", "since": "2026-11-21T09:30:00Z"},
    "step": {
        "number": 2,
        "of": 3,
        "name": "approval-risk",
        "weight": 10,
        "role": "risk",
        "since": "2026-11-21T10:00:00Z",
    },
    "weight": 10,
    "authors": ["ann"],
    "approvals": [
        {"step": "approval-risk", "role": "risk", "author": "bob", "decision": "d-1", "at": "2026-11-21T10:30:00Z"}
    ],
    "gates": [{"name": "errors", "verdict": "Proven", "value": 0.002, "samples": 900, "limit": "0.4 %"}],
}


def _body(**status: Any) -> dict[str, Any]:
    body = rollout(_STATUS | status, namespace="recs")
    body["spec"]["steps"] = _STEPS
    return body


class _Cluster(FakeCluster):
    """Knows what this person may do."""

    allowed = True

    def may(self, verb: str, namespace: str, name: str) -> bool:
        """Only to approve this one."""
        return self.allowed and (verb, namespace, name) == ("approve-risk", "recs", "ranker")


def _run(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, *words: str) -> int:
    monkeypatch.setattr(Cluster, "connect", cluster.connect)
    monkeypatch.setattr(sys, "argv", ["modelrollout", *words])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_approvals_says_what_waits_for_whom_and_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = _Cluster(_body(), STATES["progressing"][0])
    assert _run(monkeypatch, cluster, "approvals", "-A", "--no-color") == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("recs"))
    for word in ("ranker", "42", "10 %", "risk", "1 of 2, bob", "may", "errors Proven"):
        assert word in row
    assert 'kubectl modelrollout approve ranker -n recs --role risk -m "why"' in shown
    cluster.allowed = False
    _run(monkeypatch, cluster, "approvals", "--no-color")
    shown = capsys.readouterr().out
    assert "may not" in shown
    assert "kubectl modelrollout approve" not in shown


def test_approvals_for_machines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, _Cluster(_body()), "approvals", "-o", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["role"] == "risk"
    assert found["count"] == 2
    assert found["approvedBy"] == ["bob"]
    assert found["authors"] == ["ann"]
    assert found["mayApprove"] is True
    assert found["gates"] == [
        {"name": "errors", "verdict": "Proven", "value": 0.002, "samples": 900, "limit": "0.4 %", "message": ""}
    ]


def test_approvals_says_when_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, _Cluster(STATES["progressing"][0]), "approvals") == 0
    assert "nothing waits" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_detail_41_both_words_print_the_plain_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    cluster = _Cluster(_body(), answer={"state": "Applied", "message": "step approval-risk is approved"})
    assert _run(monkeypatch, cluster, verb, "ranker", "--role", "risk", "-m", "report 7 read") == 0
    said = cluster.created[0]["spec"]
    assert said == {
        "rollout": "ranker", "action": verb, "revision": "77aa01c4ee90", "role": "risk", "author": "alice",
        "comment": "report 7 read",
    }  # fmt: skip
    assert "kubectl create -f - <<'EOF'" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("--role", "risk"), ("-m", "fine")])
def test_role_and_comment_must_be_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert _run(monkeypatch, _Cluster(_body()), "approve", "ranker", *words) == 2
    assert "Missing option" in capsys.readouterr().err


def _decision(at: str, **spec: Any) -> dict[str, Any]:
    seen = {
        "revision": "77aa01c4ee90",
        "version": "42",
        "weight": 10,
        "gates": [{"name": "errors", "verdict": "Proven"}],
    }
    return {
        "metadata": {"name": "d", "creationTimestamp": at},
        "spec": {"rollout": "ranker", **spec},
        "status": {"state": "Applied", "message": "done", "verified": spec["author"] == "bob", "seen": seen},
    }


def test_audit_is_a_timeline_of_everything_that_is_known() -> None:
    history = [
        {
            "revision": "0f3c9a1be2d4", "version": "41", "outcome": "Promoted", "reason": "Promoted", "weight": 100,
            "message": "every step held", "startedAt": "2026-11-14T05:00:00Z", "endedAt": "2026-11-14T09:00:00Z",
        }
    ]  # fmt: skip
    loosened = [{"gate": "errors", "old": "1%", "new": "2%", "at": "2026-11-21T10:10:00Z", "by": "ann"}]
    body = _body(history=history, limitChanges=loosened)
    body["metadata"]["annotations"] = {"modelrollout.io/author": "ann"}
    body["metadata"]["managedFields"] = [
        {"manager": "kubectl", "time": "2026-11-21T09:29:00Z", "fieldsV1": {"f:spec": {"f:model": {}, "f:steps": {}}}},
        {"manager": "modelrollout", "time": "2026-11-21T10:29:00Z", "fieldsV1": {"f:status": {"f:phase": {}}}},
        {"manager": "modelrollout", "time": "2026-11-21T09:28:00Z", "fieldsV1": {"f:spec": {"f:gates": {}}}},
    ]
    said = [
        _decision("2026-11-21T10:30:00Z", action="approve", role="risk", author="bob", comment="report 7 read"),
        _decision("2026-11-21T10:20:00Z", action="pause", author="mallory"),
    ]
    found = audit.timeline(body, said)
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert [(one.who, one.what.split(":")[0]) for one in found] == [
        ("unknown", "created the ModelRollout"),
        ("operator", "version 41 began"),
        ("operator", "version 41 ended"),
        ("program modelrollout", "wrote spec.gates"),
        ("program kubectl", "wrote spec.model, spec.steps, the last change of what is released by ann"),
        ("operator", "version 42 began"),
        ("ann", "loosened the limit of errors from 1% to 2%"),
        ("mallory (unverified)", "pause"),
        ("bob", "approve as risk"),
    ]
    assert found[-1].why == "report 7 read"
    assert "seen: version 42 at 10 %; errors Proven" in found[-1].what


def test_audit_prints_both_ways(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, _Cluster(_body()), "audit", "ranker", "--no-color") == 0
    assert "2026-11-21 09:30:00  operator" in capsys.readouterr().out
    assert _run(monkeypatch, _Cluster(_body()), "audit", "mro/ranker", "-o", "json") == 0
    assert {"at", "who", "what", "why", "source"} == set(json.loads(capsys.readouterr().out)[0])


def test_what_people_wrote_is_neither_obeyed_nor_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Markup, emoji and a terminal's own sequences in a comment are letters like any other, or nothing."""
    cluster = _Cluster(_body())
    comment = "[red]fine[/red] [/nope] :bomb: \x1b[2J\x1b]0;all is well\x07\x9b2J\rthen"
    said = [_decision("2026-11-21T10:30:00Z", action="pause", author="mallory", comment=comment)]
    monkeypatch.setattr(cluster, "decisions", lambda _: said, raising=False)
    assert _run(monkeypatch, cluster, "audit", "ranker", "--no-color") == 0
    shown = capsys.readouterr().out
    assert "[red]fine[/red] [/nope] :bomb: [2J]0;all is well2Jthen" in shown
    assert not set(shown) & set("\x1b\x07\x9b\r")
