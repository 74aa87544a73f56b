"""How a private namespace and its cluster begin and end: exit codes, signals, publishing, nothing left behind."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import LocalCluster, LocalClusterError, eventually
from localcluster.binaries import find_kubectl
from localcluster.paths import published_dir, run_dir

ROOT = Path(__file__).parents[2]
EXEC = (sys.executable, "-m", "localcluster", "exec")


def run(
    *command: str, publish: bool = False, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a new namespace, to its end."""
    arguments = [*EXEC, *(["--publish"] if publish else []), "--", *command]
    environment = {**os.environ, **(variables or {})}
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=False)


@contextlib.contextmanager
def started(*command: str, publish: bool = False, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a new namespace; it is killed if it is still there at the end."""
    arguments = [*EXEC, *(["--publish"] if publish else []), "--", *command]
    environment = {**os.environ, **variables}
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def processes(marker: str) -> list[str]:
    """The processes that carry a marker in their arguments or their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # Processes come and go while one looks.
            with contextlib.suppress(OSError):
                content = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if marker.encode() in content:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def line_from(process: subprocess.Popen[str], beginning: str) -> str:
    """Read a process's output up to a line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line.removeprefix(beginning).strip()
    raise AssertionError(f"the process ended without a line {beginning!r}")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_the_exit_code_passes_through(script: str, code: int) -> None:
    assert run("sh", "-c", script).returncode == code


def test_an_unknown_command_is_said_plainly() -> None:
    result = run("no-such-command")
    assert result.returncode == 127
    assert result.stderr == "no-such-command: command not found\n"


def test_the_persons_kubeconfig_is_out_of_reach(tmp_path: Path) -> None:
    own = tmp_path / ".kube" / "config"
    own.parent.mkdir()
    own.write_text("precious")
    for variables in ({"KUBECONFIG": str(own)}, {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}):
        script = f"{find_kubectl()} config set-cluster intruder; {find_kubectl()} config view"
        result = run("sh", "-c", script, variables=variables)
        assert "intruder" in result.stdout
        assert own.read_text() == "precious"
        assert not (tmp_path / ".kube" / "cache").exists()


def test_files_inside_are_invisible_outside() -> None:
    name = uuid.uuid4().hex
    script = f'touch "{run_dir()}/{name}" && ls "{run_dir()}"'
    assert run("sh", "-c", script).stdout.split() == [name]
    assert not (run_dir() / name).exists()


def test_orphans_are_reaped() -> None:
    # The outer shell's child leaves an orphan that ends; a PID 1 that did not care would keep a zombie.
    script = "sh -c 'sh -c \"exit 0\" & exit 0'; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z ' || true"
    assert run("sh", "-c", script).stdout.strip() == "0"


def test_sigterm_reaches_the_command() -> None:
    script = "trap 'echo stopping; exit 3' TERM; echo up; while true; do sleep 0.05; done"
    with started("sh", "-c", script) as process:
        line_from(process, "up")
        process.terminate()
        assert process.wait(timeout=5) == 3


def test_kill_9_leaves_nothing() -> None:
    marker = uuid.uuid4().hex
    script = f'touch "{run_dir()}/{marker}"; sleep 600 & setsid sleep 600 & echo up; sleep 600'
    with started("sh", "-c", script, MARKER=marker, publish=True) as process:
        line_from(process, "up")
        assert len(processes(marker)) >= 5
        process.kill()
        process.wait()
        eventually(lambda: not processes(marker), "all its processes to be gone", timeout=5)
    assert not (run_dir() / marker).exists()
    (stale,) = published_dir().glob(f"{process.pid}-*")
    run("true", publish=True)
    assert not stale.exists(), "the next start collects what only an orderly end could remove"


def test_control_c_in_a_terminal_arrives_once() -> None:
    code = (
        "import signal, time; seen = []\n"
        "signal.signal(signal.SIGINT, lambda *_: seen.append(1))\n"
        "print('up', flush=True)\n"
        "deadline = time.monotonic() + 10\n"
        "while not seen and time.monotonic() < deadline: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "print(f'interrupts={len(seen)};', flush=True)\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [*EXEC, "--", sys.executable, "-c", code])
    output = _read_until(terminal, "up")
    os.write(terminal, b"\x03")
    output += _read_until(terminal, ";")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert "interrupts=1;" in output
    assert os.waitstatus_to_exitcode(status) == 0


def _read_until(terminal: int, word: str) -> str:
    output = ""
    # A terminal whose last process is gone reads as an error.
    with contextlib.suppress(OSError):
        while word not in output:
            output += os.read(terminal, 1024).decode()
    assert word in output, output
    return output


def test_one_namespace_holds_one_cluster(cluster: LocalCluster) -> None:
    with pytest.raises(LocalClusterError, match="already runs"), LocalCluster.start():
        pass


def test_clusters_side_by_side_and_from_outside(cluster: LocalCluster) -> None:
    marker = uuid.uuid4().hex
    serve = (sys.executable, "-m", "localcluster", "serve")
    with started(*serve, publish=True, MARKER=marker) as process:
        config = line_from(process, "export KUBECONFIG=")
        gateway = line_from(process, "gateway:")
        metrics = line_from(process, "Prometheus:")

        assert _node_uid(Path(config)) != _node_uid(cluster.kubeconfig)
        assert _status(gateway) == 404
        assert _status(f"{metrics}/-/ready") == 200
        assert _status(cluster.gateway_url) == 404

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0
        eventually(lambda: not processes(marker), "all its processes to be gone", timeout=20)
        assert not Path(config).parent.exists()


def _node_uid(config: Path) -> str:
    command = [str(find_kubectl()), f"--kubeconfig={config}", "get", "nodes", "-o", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return str(json.loads(result.stdout)["items"][0]["metadata"]["uid"])


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
