"""The CLI as people run it, a process with a kubeconfig, against a real API server. No operator runs here."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from localcluster import LocalCluster
from tests.support.terminal import Line, Terminal
from tests.unit.cli.states import STATES

_ROOT: Final = Path(__file__).parents[2]
_NAMESPACE: Final = "cli-tests"
_SECONDS: Final = 30.0


def _environment(cluster: LocalCluster) -> dict[str, str]:
    return os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(_ROOT / "operator"), "NO_COLOR": "1"}


def _command(*words: str) -> list[str]:
    return [sys.executable, "-u", "-m", "modelrollout.cli.main", *words]


class _Cli:
    """Runs the command in the tests' namespace."""

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            _command(*words, "-n", _NAMESPACE),
            env=_environment(self.cluster) | environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def cli(cluster: LocalCluster) -> _Cli:
    """The command, with the CRDs and a namespace to work in."""
    cluster.kubectl("apply", "-f", str(_ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", str(_ROOT / "crds"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(namespace))
    return _Cli(cluster)


@pytest.fixture
def rollout(cli: _Cli, request: pytest.FixtureRequest) -> Iterator[str]:
    """A ModelRollout without status, named after the test; it is deleted afterwards."""
    name = "t" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    body = yaml.safe_load((_ROOT / "manifests" / "samples" / "ranker.yaml").read_text(encoding="utf-8"))
    body["metadata"] = {"name": name, "namespace": _NAMESPACE}
    cli.cluster.kubectl("apply", "-f", "-", input=json.dumps(body))
    yield name
    cli.cluster.kubectl("delete", "mro", "-n", _NAMESPACE, name, "--ignore-not-found")


def _write_status(cluster: LocalCluster, kind: str, name: str, status: dict[str, Any]) -> None:
    patch = json.dumps({"status": status})
    cluster.kubectl("patch", kind, "-n", _NAMESPACE, name, "--subresource=status", "--type=merge", "-p", patch)


def _status(state: str) -> dict[str, Any]:
    """The status of a state from the unit tests, for the object's first generation."""
    return {**STATES[state][0]["status"], "observedGeneration": 1}


class _Lines:
    """The output of a running command, line by line, without waiting longer than the test may take."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def _read(self, stream: Iterator[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def until(self, words: str) -> str:
        """The next line with these words."""
        while words not in (line := self._lines.get(timeout=_SECONDS)):
            continue
        return line


@pytest.fixture
def running(cli: _Cli) -> Iterator[Any]:
    """Start a command that goes on; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> tuple[subprocess.Popen[str], _Lines]:
        process = subprocess.Popen(
            _command(*words, "-n", _NAMESPACE),
            env=_environment(cli.cluster),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process, _Lines(process)

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_status_without_an_operator_says_so(cli: _Cli, rollout: str) -> None:
    done = cli("status", rollout)
    assert done.returncode == 0
    assert done.stdout.startswith("Now   unknown: no operator has looked at this object yet")
    assert "the operator is not running" in done.stdout


@pytest.mark.parametrize("state", ["progressing", "rolled-back"])
def test_status_of_a_real_object(cli: _Cli, rollout: str, state: str) -> None:
    """The status that the unit tests draw is one that the CRD's schema takes."""
    _write_status(cli.cluster, "mro", rollout, _status(state))
    done = cli("status", rollout)
    assert done.returncode == 0
    assert f"{_NAMESPACE}/{rollout}" in done.stdout
    assert re.search(r"NoHarmSeen +≥ 0\.54 %", done.stdout)


@pytest.mark.parametrize("state", sorted(set(STATES) - {"empty"}))
def test_the_schema_takes_every_state(cli: _Cli, rollout: str, state: str) -> None:
    _write_status(cli.cluster, "mro", rollout, _status(state))


def test_status_shows_the_pods_of_each_revision(cli: _Cli, rollout: str) -> None:
    labels = {
        "modelrollout.io/name": rollout,
        "modelrollout.io/revision": "0f3c9a1be2d4",
        "modelrollout.io/role": "stable",
    }
    name = f"{rollout}-0f3c9a1b"
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": _NAMESPACE,
            "labels": labels,
            "annotations": {"modelrollout.io/version": "41"},
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}},
        },
    }
    cli.cluster.kubectl("apply", "-f", "-", input=json.dumps(deployment))
    assert ["stable", "41", "0f3c9a1b", "0/0"] in [line.split() for line in cli("status", rollout).stdout.splitlines()]
    cli.cluster.kubectl("delete", "deployment", "-n", _NAMESPACE, name)


def test_a_decision_is_written_with_the_author_that_the_api_server_knows(cli: _Cli, rollout: str) -> None:
    _write_status(cli.cluster, "mro", rollout, _status("progressing"))
    done = cli("pause", rollout, "-m", "looking at the scores", "--no-wait")
    assert done.returncode == 0
    found = json.loads(cli.cluster.kubectl("get", "mrd", "-n", _NAMESPACE, "-o", "json").stdout)["items"]
    (spec,) = [item["spec"] for item in found if item["spec"]["rollout"] == rollout]
    whoami = json.loads(cli.cluster.kubectl("auth", "whoami", "-o", "json").stdout)
    assert spec["author"] == whoami["status"]["userInfo"]["username"]
    assert (spec["action"], spec["revision"]) == ("pause", "77aa01c4ee90")
    assert spec["comment"] == "looking at the scores"
    assert "looking at the scores" in cli("history", rollout).stdout


def test_the_printed_command_does_the_same(cli: _Cli, rollout: str) -> None:
    """§7.41: what is printed can be pasted."""
    done = cli("abort", rollout, "-m", "it's «odd»: $HOME", "--no-wait")
    pasted = done.stdout.split("<<'EOF'\n")[1].split("\nEOF\n")[0]
    made = cli.cluster.kubectl("create", "-f", "-", "-o", "json", input=pasted)
    assert json.loads(made.stdout)["spec"]["comment"] == "it's «odd»: $HOME"


@pytest.mark.parametrize(("state", "code"), [("Applied", 0), ("Refused", 1)])
def test_what_became_of_a_decision_is_waited_for(cli: _Cli, rollout: str, running: Any, state: str, code: int) -> None:
    process, lines = running("abort", rollout)
    name = lines.until("rolloutdecision/").split("/")[1].split()[0]
    _write_status(cli.cluster, "mrd", name, {"state": state, "message": "said by the test"})
    assert lines.until(state).strip() == f"{state}: said by the test"
    assert process.wait(_SECONDS) == code


def test_watch_follows_the_changes_until_the_object_is_gone(cli: _Cli, rollout: str, running: Any) -> None:
    process, lines = running("status", rollout, "--watch")
    lines.until("no operator has looked")
    _write_status(cli.cluster, "mro", rollout, _status("progressing"))
    lines.until("Progressing Holding step 2/3")
    _write_status(cli.cluster, "mro", rollout, _status("rolled-back"))
    lines.until("RolledBack")
    cli.cluster.kubectl("delete", "mro", "-n", _NAMESPACE, rollout)
    lines.until("was deleted")
    assert process.wait(_SECONDS) == 1


def _fits(width: int, *words: str) -> Callable[[list[str]], bool]:
    """Whether a screen has the three lines on top, these words, and no line that is too long or left over."""

    def check(lines: list[str]) -> bool:
        text = "\n".join(lines)
        once = all(sum(line.startswith(label) for line in lines) == 1 for label in ("Now  ", "Why  ", "Next  "))
        return (
            lines[:1] != []
            and lines[0].startswith("Now  ")
            and once
            and all(word in text for word in words)
            and (max(map(len, lines)) <= width)
        )

    return check


def test_detail_41_the_live_screen_in_real_terminals(cli: _Cli, rollout: str, tmp_path: Path) -> None:
    """At 80 and 200 columns, without colours, resized, with the API server gone and back, ended by ^C."""
    config = yaml.safe_load(cli.cluster.kubeconfig.read_text(encoding="utf-8"))
    server = urllib.parse.urlsplit(config["clusters"][0]["cluster"]["server"])
    line = Line(str(server.hostname), int(server.port or 443))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{line.port}"
    (tmp_path / "config").write_text(yaml.safe_dump(config), encoding="utf-8")
    _write_status(cli.cluster, "mro", rollout, _status("progressing"))
    command = [*_command("status", rollout, "--watch"), "-n", _NAMESPACE]
    environment = {"PYTHONPATH": str(_ROOT / "operator"), "KUBECONFIG": str(tmp_path / "config")}
    with (
        Terminal(command, environment, width=80) as narrow,
        Terminal([*command, "--no-color"], environment, width=200) as wide,
    ):
        for width, terminal in ((80, narrow), (200, wide)):
            terminal.until(_fits(width, "STEPS", "HISTORY", "of 1h"), f"the screen at {width} columns")
        assert (narrow.colours(), wide.colours()) == (True, False)
        _write_status(cli.cluster, "mro", rollout, _status("rolled-back"))
        for width, terminal in ((80, narrow), (200, wide)):
            terminal.until(_fits(width, "RolledBack", "ended here"), "the change")
        narrow.resize(60, 15)
        wide.resize(100, 40)
        narrow.until(_fits(60, "RolledBack"), "the smaller window")
        wide.until(_fits(100, "RolledBack", "HISTORY"), "the narrower window")
        line.cut()
        narrow.until(_fits(60, "connection lost, trying again"), "the loss")
        line.mend()
        _write_status(cli.cluster, "mro", rollout, _status("stable"))
        wide.until(lambda lines: "connection lost" not in "".join(lines) and _fits(100, "Stable")(lines), "the return")
        wide.press("C-c")
        left = "\n".join(wide.until(lambda lines: "exit=130" in lines, "the end"))
        assert "Traceback" not in left
        assert "Now  " in left, "what was seen last stays"
        cli.cluster.kubectl("delete", "mro", "-n", _NAMESPACE, rollout)
        gone = narrow.until(lambda lines: "exit=1" in lines, "the end of the object")
        assert any("was deleted" in one for one in gone)


def test_a_terminal_that_knows_no_escape_codes_gets_lines(cli: _Cli, rollout: str) -> None:
    command = [*_command("status", rollout, "--watch"), "-n", _NAMESPACE]
    dumb = {"PYTHONPATH": str(_ROOT / "operator"), "KUBECONFIG": str(cli.cluster.kubeconfig), "TERM": "dumb"}
    with Terminal(["env", "TERM=dumb", *command], dumb, width=200) as terminal:
        lines = terminal.until(lambda lines: any("no operator has looked" in one for one in lines), "a line")
        assert len(lines) == 1
        terminal.press("C-c")
        terminal.until(lambda lines: any(one.endswith("exit=130") for one in lines), "the end")


def test_kubectl_itself_completes_names(cli: _Cli, rollout: str, tmp_path: Path) -> None:
    """``kubectl modelrollout status <Tab>``: kubectl asks the plugin's own program."""
    for name, body in {
        "kubectl-modelrollout": "-m modelrollout.cli.main",
        "kubectl_complete-modelrollout": "-c 'from modelrollout.cli.completion import for_kubectl; for_kubectl()'",
    }.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {body} "$@"\n', encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    words = ["kubectl", "__complete", "modelrollout", "status", "-n", _NAMESPACE, rollout[:-2]]
    kubectl = shutil.which("kubectl") or cli.cluster.kubectl_path
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        words,
        executable=kubectl,
        env=_environment(cli.cluster) | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert rollout in done.stdout, done.stderr


@pytest.mark.parametrize(("state", "code"), [("stable", 0), ("rolled-back", 1), ("stalled", 1)])
def test_wait_ends_with_the_release(cli: _Cli, rollout: str, running: Any, state: str, code: int) -> None:
    process, lines = running("wait", rollout, "--timeout", "1m")
    lines.until("no operator has looked")
    _write_status(cli.cluster, "mro", rollout, _status(state))
    assert process.wait(_SECONDS) == code


def test_wait_times_out_with_124(cli: _Cli, rollout: str) -> None:
    done = cli("wait", rollout, "--timeout", "1s")
    assert done.returncode == 124
    assert "timed out" in done.stdout


def test_the_list_of_all_namespaces(cli: _Cli, rollout: str) -> None:
    lines = cli("list", "-A").stdout.splitlines()
    assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [_NAMESPACE, rollout] in [line.split()[:2] for line in lines]


def test_a_near_name_is_suggested(cli: _Cli, rollout: str) -> None:
    done = cli("status", rollout[:-1])
    assert done.returncode == 1
    assert f"did you mean {rollout}" in done.stderr


def test_errors_name_a_remedy(cli: _Cli, rollout: str, tmp_path: Path) -> None:
    missing = cli("status", rollout, "--kubeconfig", str(tmp_path / "nothing"))
    assert missing.returncode == 1
    assert "kubectl config view" in missing.stderr
    config = yaml.safe_load(cli.cluster.kubeconfig.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "dead").write_text(yaml.safe_dump(config), encoding="utf-8")
    dead = cli("status", rollout, "--kubeconfig", str(tmp_path / "dead"))
    assert dead.returncode == 1
    assert "does not answer: Connection refused" in dead.stderr.replace("[Errno 111] ", "")
    assert "kubectl cluster-info" in dead.stderr


def test_a_stranger_is_told_to_log_in(cli: _Cli, rollout: str, tmp_path: Path) -> None:
    config = yaml.safe_load(cli.cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": "no-such-token"}
    (tmp_path / "stranger").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = cli("status", rollout, "--kubeconfig", str(tmp_path / "stranger"))
    assert done.returncode == 1
    assert "does not know who you are" in done.stderr


def test_who_is_not_allowed_is_told_what_to_ask_for(cli: _Cli, rollout: str) -> None:
    cli.cluster.kubectl("create", "serviceaccount", "nobody", "-n", _NAMESPACE)
    kubeconfig = cli.cluster.service_account_kubeconfig(_NAMESPACE, "nobody")
    done = cli("status", rollout, "--kubeconfig", str(kubeconfig))
    assert done.returncode == 1
    assert "forbidden to list modelrollouts" in done.stderr
    assert "ask an administrator for the right" in done.stderr


def test_who_may_not_see_deployments_sees_the_rest(cli: _Cli, rollout: str) -> None:
    """Pods are a detail of the screen; a person with the view on ModelRollouts alone is not sent away."""
    who = f"{_NAMESPACE}:reader"
    cli.cluster.kubectl("create", "serviceaccount", "reader", "-n", _NAMESPACE)
    cli.cluster.kubectl(
        "create", "role", "reader", "-n", _NAMESPACE, "--verb=get,list,watch", "--resource=modelrollouts"
    )
    cli.cluster.kubectl("create", "rolebinding", "reader", "-n", _NAMESPACE, "--role=reader", f"--serviceaccount={who}")
    kubeconfig = cli.cluster.service_account_kubeconfig(_NAMESPACE, "reader")
    done = cli("status", rollout, "--kubeconfig", str(kubeconfig))
    assert done.returncode == 0
    assert "PODS  not shown: you may not list Deployments" in done.stdout
    refused = cli("pause", rollout, "--kubeconfig", str(kubeconfig))
    assert refused.returncode == 1
    assert "forbidden to create rolloutdecisions" in refused.stderr
