"""What kstatus and Flux say of an object: their own code, as a program that is built once (tests/gitops/kstatus).

``python -m tests.support.kstatus`` builds it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from localcluster.building import build
from localcluster.pins import Tool

__all__ = ["FLUX", "verdicts"]

_ROOT: Final = Path(__file__).parents[2]
FLUX: Final = _ROOT / "manifests" / "gitops" / "flux" / "kustomization.yaml"
_PROGRAM: Final = Tool(
    "kstatus", "kstatus", ".", "v0.37.2", minimum=(0, 37), estimate_seconds=180, root=_ROOT / "tests" / "gitops"
)


def verdicts(objects: Mapping[str, Any], flux: Path = FLUX) -> dict[str, dict[str, str]]:
    """By name: ``{"kstatus": …, "flux": …}``, each `Current`, `InProgress`, `Failed`, `Terminating`, or an error."""
    done = subprocess.run(
        [build(_PROGRAM), flux], input=json.dumps(objects), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    build(_PROGRAM)
