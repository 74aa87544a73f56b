"""Building the cluster's programs from pinned Go modules into the user's cache, once per version."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from localcluster import golang
from localcluster.binaries import find
from localcluster.errors import LocalClusterError
from localcluster.paths import cache_dir
from localcluster.pins import CRDS, MODULES, TOOLS, Files, Tool, cached_path
from localcluster.ticker import Ticker

_ERROR_LINES = 15


def build_everything() -> None:
    """Find or build every program; one line of progress each."""
    with _lock():
        missing = []
        for tool in TOOLS:
            found = find(tool)
            for reason in found.ignored:
                _say(f"  {reason}")
            if found.path is None:
                missing.append(tool)
            else:
                _say(f"  {tool.name:<24} {found.path}")
        if missing or not cached_path(CRDS).is_dir():
            _build(missing)
    _say("The local cluster's programs are all there.")


def build(tool: Tool) -> Path:
    """Build one program that is not part of the cluster, if it is not there; where it is."""
    target = cached_path(tool)
    with _lock():
        if not target.is_file():
            _build_tool(golang.find(), tool)
    return target


def _build(missing: list[Tool]) -> None:
    minutes = max(1, round(sum(tool.estimate_seconds for tool in missing) / 60))
    _say(f"{len(missing)} programs to build, about {minutes} min on two cores; this is done once.")
    with Ticker("Go compiler"):
        go = golang.find()
    for tool in missing:
        _build_tool(go, tool)
    if not cached_path(CRDS).is_dir():
        _copy_files(go, CRDS)


def _build_tool(go: Path, tool: Tool) -> None:
    folder = tool.folder
    target = cached_path(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.partial")
    command = [str(go), "build", "-v", "-trimpath", *tool.flags, "-o", str(draft), tool.package]
    with Ticker(tool.name, f"about {tool.estimate_seconds} s") as ticker:
        try:
            total = _count_packages(go, folder, tool)
            _run(command, folder, lambda done: ticker.show(f"{done} of at most {total} packages"))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


def _count_packages(go: Path, folder: Path, tool: Tool) -> int:
    """How many packages there are; the ones in Go's own cache will not be compiled again."""
    command = [str(go), "list", "-deps", *_build_tags(tool), tool.package]
    return len(_output(command, folder).splitlines())


def _build_tags(tool: Tool) -> list[str]:
    if "-tags" not in tool.flags:
        return []
    position = tool.flags.index("-tags")
    return list(tool.flags[position : position + 2])


def _run(command: list[str], folder: Path, report: Callable[[int], None]) -> None:
    """Run a build whose output names a package per line."""
    process = subprocess.Popen(
        command, cwd=folder, env=golang.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None, "it was asked for"
    tail: deque[str] = deque(maxlen=_ERROR_LINES)
    try:
        for count, line in enumerate(process.stderr, start=1):
            tail.append(line.rstrip())
            report(count)
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code != 0:
        raise _failure(command, "\n".join(tail))


def _output(command: list[str], folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, env=golang.environment(), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise _failure(command, "\n".join(result.stderr.splitlines()[-_ERROR_LINES:]))
    return result.stdout


def _failure(command: list[str], words: str) -> LocalClusterError:
    return LocalClusterError(
        f"{' '.join(command[:2])} {command[-1]} failed:\n{words}",
        "The modules come through the Go module proxy (`go env GOPROXY`); what was built so far stays.",
    )


def _copy_files(go: Path, files: Files) -> None:
    """Copy folders out of downloaded modules; go.sum vouches for their content."""
    target = cached_path(files)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    with Ticker(files.name):
        try:
            for folder, module, path in files.modules:
                answer = json.loads(_output([str(go), "mod", "download", "-json", module], MODULES / folder))
                # The module cache is read-only; the copy must not be, or it could not be removed.
                source = Path(answer["Dir"]) / path
                shutil.copytree(source, draft / folder / source.name, copy_function=shutil.copyfile)
            _make_writable(draft)
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _make_writable(folder: Path) -> None:
    """copytree gives the copied folders the read-only mode of the originals."""
    for path in (folder, *(entry for entry in folder.rglob("*") if entry.is_dir())):
        path.chmod(0o755)


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """One build at a time; a second one waits and then finds everything done."""
    folder = cache_dir() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with Ticker("another build"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
