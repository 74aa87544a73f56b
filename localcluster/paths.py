"""Where things live on the machine: everything below one folder in the user's cache."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The project's folder in the user's cache (XDG); created when it is first written to."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "modelrollout"


def run_dir() -> Path:
    """The mount point of the cluster's tmpfs: an empty folder outside, all files of the cluster inside.

    Each namespace mounts its own tmpfs here, in its own mount namespace; so clusters side by side share the
    path and never see each other, and a killed one leaves an empty folder.
    """
    return cache_dir() / "run"


def published_dir() -> Path:
    """Folders of the clusters that are reachable from outside; one each, collected when stale."""
    return cache_dir() / "published"
