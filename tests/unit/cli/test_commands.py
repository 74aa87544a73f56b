"""The commands, from the words typed to the exit code, against a cluster in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from modelrollout.cli import follow
from modelrollout.cli import main as entry
from modelrollout.cli.cluster import Cluster, Connection
from modelrollout.cli.errors import CliError, UnreachableError
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import STATES, rollout

_PROGRESSING = STATES["progressing"][0]
_ROLLED_BACK = STATES["rolled-back"][0]
_STABLE = STATES["stable"][0]


def _run(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, *words: str) -> int:
    """Type a command; return its exit code."""
    monkeypatch.setattr(Cluster, "connect", cluster.connect)
    monkeypatch.setattr(sys, "argv", ["modelrollout", *words])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_status_prints_the_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), "status", "mro/ranker", "--no-color") == 0
    assert capsys.readouterr().out.startswith("Now   version 41 serves 50 % of users")


def test_the_list_of_commands_is_told_in_whole_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), "--help") == 0
    assert "..." not in capsys.readouterr().out.split("Commands:")[1], "a first sentence fits on a line"


@pytest.mark.parametrize(("output", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_status_gives_the_object_to_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str, parse: Any
) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), "status", "ranker", "-o", output) == 0
    assert parse(capsys.readouterr().out) == _PROGRESSING


def test_the_flags_of_kubectl_reach_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(_PROGRESSING)
    _run(monkeypatch, cluster, "status", "ranker", "-n", "ads", "--context", "prod", "--kubeconfig", "/k")
    assert cluster.asked == [Connection("/k", "prod", "ads")]


def test_watch_in_a_pipe_prints_a_line_per_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster(_PROGRESSING, _PROGRESSING, _ROLLED_BACK)
    assert _run(monkeypatch, cluster, "status", "ranker", "--watch") == 1
    shown = capsys.readouterr()
    assert [line.split()[1] for line in shown.out.splitlines()] == ["Progressing", "RolledBack"]
    assert 'the ModelRollout "ranker" was deleted' in shown.err


def test_watch_and_a_machine_format_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, FakeCluster(), "status", "ranker", "-w", "-o", "json") == 2
    assert "kubectl get mro ranker -w -o json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("versions", "timeout", "code"),
    [
        ([_PROGRESSING, _STABLE], None, 0),
        ([_PROGRESSING, _ROLLED_BACK], None, 1),
        ([STATES["stalled"][0]], None, 1),
        ([_PROGRESSING], "1m", 124),
        ([STATES["edited"][0]], "1m", 124),
        ([STATES["empty"][0]], "1m", 124),
        ([rollout(_STABLE["status"] | {"pinned": {"revision": "0f3c9a1be2d4", "insteadOf": "77aa01c4ee90"}})], None, 1),
    ],
    ids=["stable", "rolled-back", "stalled", "progressing", "spec-not-judged", "no-status", "undone"],
)
def test_the_exit_code_of_wait_tells_the_end(
    monkeypatch: pytest.MonkeyPatch, versions: list[dict[str, Any]], timeout: str | None, code: int
) -> None:
    flags = ["--timeout", timeout] if timeout else []
    assert _run(monkeypatch, FakeCluster(*versions), "wait", "ranker", *flags) == code


def test_wait_outlasts_a_lost_connection(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An API server that restarts must not look like a release that was rolled back."""
    cluster = FakeCluster(_PROGRESSING, _STABLE)
    cluster.failures = [UnreachableError("the API server does not answer", "wait")]
    monkeypatch.setattr(follow, "_AGAIN_SECONDS", 0.0)
    assert _run(monkeypatch, cluster, "wait", "ranker") == 0
    assert "connection lost, trying again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "body", "spec"),
    [
        (["pause", "ranker"], _PROGRESSING, {"action": "pause", "revision": "77aa01c4ee90"}),
        (["resume", "ranker"], _PROGRESSING, {"action": "resume", "revision": "77aa01c4ee90"}),
        (["abort", "ranker"], _PROGRESSING, {"action": "abort", "revision": "77aa01c4ee90"}),
        (["promote", "ranker"], _PROGRESSING, {"action": "promote", "revision": "77aa01c4ee90"}),
        (
            ["promote", "ranker", "--full"],
            _PROGRESSING,
            {"action": "promote", "revision": "77aa01c4ee90", "full": True},
        ),
        (["retry", "ranker"], _ROLLED_BACK, {"action": "retry", "revision": "77aa01c4ee90"}),
        (["undo", "ranker"], _PROGRESSING, {"action": "undo"}),
        (["undo", "ranker", "40"], _PROGRESSING, {"action": "undo", "revision": "c0ffee001122"}),
        (["undo", "ranker", "c0ff"], _PROGRESSING, {"action": "undo", "revision": "c0ffee001122"}),
        (["undo", "ranker", "abcdef0123"], _PROGRESSING, {"action": "undo", "revision": "abcdef0123"}),
        (["abort", "ranker"], STATES["empty"][0], {"action": "abort"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_verb_writes_one_decision(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    body: dict[str, Any],
    spec: dict[str, Any],
) -> None:
    """§7.23, §7.41: with the revision that the person sees, the author, and the plain kubectl that does the same."""
    cluster = FakeCluster(body, answer={"state": "Applied", "message": "done"})
    assert _run(monkeypatch, cluster, *words, "-m", "it's «odd»: $HOME") == 0
    (created,) = cluster.created
    assert created["spec"] == {"rollout": "ranker", "author": "alice", "comment": "it's «odd»: $HOME"} | spec
    assert created["metadata"]["generateName"] == f"ranker-{words[0]}-"
    shown = capsys.readouterr().out
    pasted = shown.split("<<'EOF'\n")[1].split("\nEOF\n")[0]
    assert yaml.safe_load(pasted)["spec"] == created["spec"]
    assert "Applied: done" in shown


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ({"state": "Applied", "message": "paused"}, 0, "Applied: paused"),
        ({"state": "Refused", "message": "no version is on trial"}, 1, "Refused: no version is on trial"),
        ({"state": "Expired", "message": "too late"}, 1, "Expired: too late"),
        (None, 124, "not acted on within 5 s"),
    ],
    ids=["applied", "refused", "expired", "unanswered"],
)
def test_what_became_of_a_decision_is_told(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: dict[str, Any] | None,
    code: int,
    words: str,
) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING, answer=answer), "pause", "ranker") == code
    shown = capsys.readouterr()
    assert words in shown.out + shown.err


def test_no_wait_does_not_ask_what_became_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), "pause", "ranker", "--no-wait") == 0


def test_an_unknown_revision_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster(_PROGRESSING)
    assert _run(monkeypatch, cluster, "undo", "ranker", "39") == 1
    assert "c0ffee001122 (version 40)" in capsys.readouterr().err
    assert cluster.created == []


@pytest.mark.parametrize(
    "words", [["status"], ["wait", "ranker", "--timeout", "5 minutes"], ["stop", "ranker"], ["list", "-o", "xml"]]
)
def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), *words) == 2


def test_a_wrong_name_is_told_with_near_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, FakeCluster(_PROGRESSING), "pause", "rnker") == 1
    assert "did you mean ranker?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (CliError("no", "do this", code=3), 3, "error: no\n  do this"),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("boom"), 1, "MODELROLLOUT_DEBUG=1 shows where"),
    ],
)
def test_whatever_goes_wrong_there_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    words: str,
) -> None:
    def fails(self: FakeCluster, name: str) -> dict[str, Any]:
        raise raised

    monkeypatch.setattr(FakeCluster, "rollout", fails)
    assert _run(monkeypatch, FakeCluster(), "status", "ranker") == code
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_help_does_not_import_the_kubernetes_client() -> None:
    code = (
        "import sys; from modelrollout.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "sys.exit('kubernetes' in sys.modules or 'kopf' in sys.modules)"
    )
    path = os.pathsep.join(folder for folder in sys.path if folder)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ | {"PYTHONPATH": path})


def test_freeze_stops_the_line_and_unfreeze_starts_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster(_PROGRESSING)
    words = ("-m", "Black Friday", "--until", "2h", "--only-namespace", "recs", "--only-namespace", "ads")
    assert _run(monkeypatch, cluster, "freeze", *words) == 0
    shown = capsys.readouterr().out
    assert "kubectl create -f - <<'EOF'" in shown
    assert "nothing goes up in recs, ads until" in shown
    spec = cluster.freezes["freeze-x7k2p"]["spec"]
    assert spec["namespaces"] == ["recs", "ads"]
    assert (spec["reason"], spec["author"]) == ("Black Friday", "alice")
    assert _run(monkeypatch, cluster, "freeze", "outage", "-m", "all hands") == 0
    assert _run(monkeypatch, cluster, "freezes") == 0
    shown = capsys.readouterr().out
    assert "all hands" in shown
    assert "ads, recs" in shown
    assert _run(monkeypatch, cluster, "unfreeze") == 1
    assert "name one: freeze-x7k2p, outage" in capsys.readouterr().err
    assert _run(monkeypatch, cluster, "unfreeze", "mrf/outage") == 0
    assert _run(monkeypatch, cluster, "unfreeze") == 0
    assert not cluster.freezes
    assert _run(monkeypatch, cluster, "unfreeze") == 1
    assert _run(monkeypatch, cluster, "freezes") == 0
    assert "not stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "why", "--until", "tomorrow"], "neither a duration nor a time"),
        (["-m", "why", "--until", "2026-11-30T09:00:00"], "says no time zone"),
        (["-m", "why", "--until", "2020-11-30T09:00:00Z"], "is over already"),
        (["-m", "why", "-n", "recs"], "--only-namespace recs"),
        ([], "--reason"),
    ],
)
def test_a_freeze_that_says_something_else_than_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    cluster = FakeCluster(_PROGRESSING)
    assert _run(monkeypatch, cluster, "freeze", *words) == 2
    assert said in capsys.readouterr().err
    assert not cluster.freezes


def test_detail_24_an_override_needs_a_comment_and_is_in_the_decision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster(_PROGRESSING, answer={"state": "Applied", "message": "done"})
    assert _run(monkeypatch, cluster, "promote", "ranker", "--override-freeze") == 2
    assert _run(monkeypatch, cluster, "promote", "ranker", "--accept-breached", "ctr", "-m", "why") == 2
    assert "add --full" in capsys.readouterr().err
    words = ("--full", "--override-freeze", "--accept-breached", "ctr", "--accept-breached", "p95", "-m", "agreed")
    assert _run(monkeypatch, cluster, "promote", "ranker", *words) == 0
    spec = cluster.created[0]["spec"]
    assert (spec["overrideFreeze"], spec["acceptBreached"], spec["comment"]) == (True, ["ctr", "p95"], "agreed")
