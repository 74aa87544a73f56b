"""kubectl without a cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from localcluster.binaries import find_kubectl

__all__ = ["kustomize"]


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """What ``kubectl kustomize`` makes of a folder; its words are the error when it makes nothing."""
    done = subprocess.run([find_kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
