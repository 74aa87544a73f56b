"""Tab: in a real bash, as kubectl asks for it, and with names from a cluster in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from click.shell_completion import ShellComplete

from modelrollout.cli import completion
from modelrollout.cli.cluster import Cluster
from modelrollout.cli.main import cli
from tests.unit.cli.fake import FakeCluster
from tests.unit.cli.states import STATES

_ROOT: Final = Path(__file__).parents[3]
_PROGRESSING = STATES["progressing"][0]


def _offered(*words: str) -> list[str]:
    shell = ShellComplete(cli, {}, "modelrollout", completion.VARIABLE)
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("status", ""), ["ranker"]),
        (("explain", "ra"), ["ranker"]),
        (("status", "x"), []),
        (("status", "-n", ""), ["recs"]),
        (("promote", "ranker", "--full", "--accept-breached", ""), ["ctr", "p95", "errors"]),
        (("unfreeze", ""), ["line"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_tab_offers_what_is_there(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: list[str]) -> None:
    cluster = FakeCluster(_PROGRESSING)
    cluster.freezes["line"] = {"metadata": {"name": "line"}, "spec": {"reason": "why"}}
    monkeypatch.setattr(Cluster, "connect", cluster.connect)
    assert _offered(*words) == expected


def test_tab_asks_the_cluster_that_the_flags_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(_PROGRESSING)
    monkeypatch.setattr(Cluster, "connect", cluster.connect)
    assert _offered("status", "-n", "ads", "--context", "prod", "") == ["ranker"]
    assert (cluster.asked[0].namespace, cluster.asked[0].context) == ("ads", "prod")


def test_tab_without_a_cluster_offers_nothing_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert _offered("status", "") == []
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that has the commands on its PATH, as pip would put them there."""
    for name, body in {
        "modelrollout": "-m modelrollout.cli.main",
        "kubectl_complete-modelrollout": "-c 'from modelrollout.cli.completion import for_kubectl; for_kubectl()'",
    }.items():
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {body} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(_ROOT / "operator"), "KUBECONFIG": "/nowhere"}
    return os.environ | path


def _run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("typed", "expected"), [("pro", "promote"), ("unf", "unfreeze")])
def test_bash_completes(shell: dict[str, str], typed: str, expected: str) -> None:
    script = f"""
        source <(modelrollout completion bash)
        COMP_WORDS=(modelrollout {typed}) COMP_CWORD=1
        _modelrollout_completion modelrollout
        echo "offers ${{COMPREPLY[*]}}"
    """
    done = _run(shell, "bash", "-c", script)
    assert done.stdout.strip() == f"offers {expected}", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("name", "words"), [("zsh", "#compdef modelrollout"), ("fish", "complete --no-files")])
def test_the_scripts_of_other_shells_are_printed(shell: dict[str, str], name: str, words: str) -> None:
    done = _run(shell, "modelrollout", "completion", name)
    assert done.returncode == 0
    assert words in done.stdout
    assert completion.VARIABLE in done.stdout


def test_kubectl_gets_one_offer_a_line_and_no_names_of_files(shell: dict[str, str]) -> None:
    done = _run(shell, "kubectl_complete-modelrollout", "sta")
    name, *rest = done.stdout.splitlines()
    assert name.startswith("status\tWho serves users now")
    assert rest == [":4"]


def test_kubectl_is_told_what_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Cluster, "connect", FakeCluster(_PROGRESSING).connect)
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-modelrollout", "status", ""])
    completion.for_kubectl()
    assert capsys.readouterr().out == "ranker\tProgressing 42\n:4\n"


def _never(*_: Any) -> Any:
    raise AssertionError("asked although nothing was to be completed")


def test_help_asks_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "connect", _never)
    assert "freeze" in _offered("free")
