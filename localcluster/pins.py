"""The programs the cluster is made of: which Go module pins them, and how they are built."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from localcluster.paths import cache_dir

MODULES = Path(__file__).parent / "tools"
_HASH_LENGTH = 12
_STRIP = "-s -w"


@dataclass(frozen=True)
class Tool:
    """One program: its module's folder, its package, and the flags it is built with."""

    name: str
    module: str
    package: str
    version: str
    minimum: tuple[int, int]
    flags: tuple[str, ...] = ("-ldflags", _STRIP)
    version_arguments: tuple[str, ...] = ("--version",)
    estimate_seconds: int = 60
    root: Path = MODULES
    """Below which folder its module is."""

    @property
    def folder(self) -> Path:
        """Its module's folder."""
        return self.root / self.module


@dataclass(frozen=True)
class Files:
    """Files taken as they are out of pinned modules."""

    name: str
    modules: tuple[tuple[str, str, str], ...] = field(default=())
    """(folder below ``tools/``, module, path inside it)."""


_KUBERNETES = "v1.36.3"
_KUBERNETES_FLAGS = ("-ldflags", f"{_STRIP} -X k8s.io/component-base/version.gitVersion={_KUBERNETES}")


def _kubernetes(
    name: str,
    seconds: int,
    version_arguments: tuple[str, ...] = ("--version",),
    minimum: tuple[int, int] = (1, 30),
) -> Tool:
    return Tool(
        name=name,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        version=_KUBERNETES,
        minimum=minimum,
        flags=_KUBERNETES_FLAGS,
        version_arguments=version_arguments,
        estimate_seconds=seconds,
    )


TOOLS = (
    Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3", "v3.7.3", minimum=(3, 5), estimate_seconds=60),
    _kubernetes("kube-apiserver", 300),
    _kubernetes("kube-controller-manager", 90),
    _kubernetes("kube-scheduler", 30),
    _kubernetes("kubectl", 60, ("version", "--client"), minimum=(1, 35)),
    Tool(
        "prometheus",
        "prometheus",
        "github.com/prometheus/prometheus/cmd/prometheus",
        "v0.315.0",
        minimum=(3, 0),
        # The built-in service discoveries of all the clouds are two thirds of the program; pods is what we need.
        flags=("-tags", "remove_all_sd,enable_kubernetes_sd", "-ldflags", _STRIP),
        estimate_seconds=210,
    ),
    Tool(
        "contour",
        "contour",
        "github.com/projectcontour/contour/cmd/contour",
        "v1.33.8",
        minimum=(1, 33),
        version_arguments=("version",),
        estimate_seconds=180,
    ),
)

CRDS = Files(
    "crds",
    (
        ("gateway-api", "sigs.k8s.io/gateway-api", "config/crd/standard"),
        ("contour", "github.com/projectcontour/contour", "examples/contour"),
        ("contour", "github.com/projectcontour/contour", "examples/gateway"),
    ),
)


def cached_path(item: Tool | Files) -> Path:
    """Where this very version, built this very way, is kept."""
    return cache_dir() / "bin" / cache_key(item) / item.name


def cache_key(item: Tool | Files) -> str:
    """Name, version and a hash of everything that decides about the result."""
    if isinstance(item, Tool):
        return f"{item.name}-{item.version}-{_digest([item.folder], [item.package, *item.flags])}"
    return f"{item.name}-{_digest([MODULES / row[0] for row in item.modules], [repr(item.modules)])}"


def _digest(folders: list[Path], words: list[str]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in (folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))):
            digest.update(path.read_bytes())
    digest.update("\0".join(words).encode())
    return digest.hexdigest()[:_HASH_LENGTH]
