"""Waiting, progress lines, stale folders, clusters of other kinds."""

import fcntl
from pathlib import Path

import pytest

from localcluster import eventually, kind, namespace, publish
from localcluster.cluster import GatewayRef, LocalCluster
from localcluster.errors import LocalClusterError
from localcluster.process import Program
from localcluster.provider import ClusterUnavailable, CurrentProvider
from localcluster.ticker import Ticker


def test_eventually_returns_what_was_waited_for() -> None:
    answers = iter(["", "", "here"])
    assert eventually(lambda: next(answers), "an answer", interval=0) == "here"


def test_eventually_says_what_was_missing() -> None:
    with pytest.raises(AssertionError, match="not within 0 s: a miracle; last seen: False"):
        eventually(lambda: False, "a miracle", timeout=0, interval=0)


def test_eventually_shows_the_last_refusal() -> None:
    def refuse() -> bool:
        raise OSError("connection refused")

    with pytest.raises(AssertionError, match="last seen: OSError: connection refused"):
        eventually(refuse, "an answer", timeout=0, interval=0)


def test_a_quiet_ticker_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Ticker("etcd"):
        pass
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == ["etcd", "0", "s", "done"]


def test_stale_folders_are_collected_and_living_ones_kept(tmp_path: Path) -> None:
    for name in ("dead", "alive", "unlocked-yet"):
        (tmp_path / name).mkdir()
    (tmp_path / "dead" / "lock").touch()
    with (tmp_path / "alive" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        publish.collect_stale(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alive", "unlocked-yet"]


def test_a_program_that_ends_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    program = Program("etcd", ["sh", "-c", "echo disk is full; exit 3"], log, {"PATH": "/usr/bin:/bin"})
    program.start()
    with pytest.raises(LocalClusterError, match=r"etcd ended \(exit code 3\)[\s\S]*disk is full"):
        program.wait_until(lambda: False, "an answer", 10)


def test_a_cluster_outside_the_namespace_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(namespace.MARKER, raising=False)
    with pytest.raises(LocalClusterError, match="python -m localcluster exec"), LocalCluster.start():
        pass


def test_kind_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnavailable, match="no `docker` on PATH") as caught, kind.KindProvider().open(print):
        pass
    assert "use --cluster local" in str(caught.value)


def test_kind_says_that_the_engine_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "`docker info` failed: Cannot connect" in str(kind.unavailable())


def test_the_current_cluster_must_be_named() -> None:
    provider = CurrentProvider("", "http://gateway", GatewayRef("ns", "name"), "http://prometheus")
    with pytest.raises(ClusterUnavailable, match="--context NAME"), provider.open(print):
        pass
