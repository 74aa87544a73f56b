"""promtool, of the Prometheus that the local cluster has: built once, by ``python -m tests.support.promtool``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from localcluster.building import build
from localcluster.pins import TOOLS, Tool

__all__ = ["promtool"]

_ROOT: Final = Path(__file__).parents[2]
_PROMETHEUS: Final = next(tool for tool in TOOLS if tool.name == "prometheus")
_PROGRAM: Final = Tool(
    "promtool",
    "promtool",
    "github.com/prometheus/prometheus/cmd/promtool",
    _PROMETHEUS.version,
    minimum=_PROMETHEUS.minimum,
    flags=_PROMETHEUS.flags,  # so that Go compiles nothing twice
    estimate_seconds=20,
    root=_ROOT / "tests" / "monitoring",
)


def promtool(*arguments: str | Path) -> None:
    """Run it; what it complains of fails the test."""
    done = subprocess.run([build(_PROGRAM), *arguments], capture_output=True, text=True, check=False, cwd=_ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    build(_PROGRAM)
