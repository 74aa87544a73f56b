"""Which programs are acceptable, how they are keyed in the cache, and what they are configured with."""

from pathlib import Path

import pytest
import yaml

from localcluster import definitions, gateway, golang, kubeconfig, prometheus
from localcluster.binaries import find, parse_version, unacceptable
from localcluster.errors import LocalClusterError
from localcluster.pins import CRDS, TOOLS, Tool, cache_key, cached_path

ETCD = TOOLS[0]


def program(folder: Path, name: str, words: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{words}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("etcd Version: 3.7.3\nGit SHA: abc\nGo Version: go1.26.8", (3, 7)),
        ("Kubernetes v1.36.3", (1, 36)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32)),
        ("prometheus, version 3.15.0 (branch: HEAD)", (3, 15)),
        ("Client: \n  Version: v1.33.8", (1, 33)),
        ("no idea", None),
    ],
)
def test_versions_are_read(output: str, version: tuple[int, int] | None) -> None:
    assert parse_version(output) == version


@pytest.mark.parametrize(
    ("output", "version"), [("go version go1.26.8 linux/amd64", (1, 26)), ("go version devel", None), ("", None)]
)
def test_go_versions_are_read(output: str, version: tuple[int, int] | None) -> None:
    assert golang.parse_version(output) == version


def test_a_too_old_program_is_ignored_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "etcd", "etcd Version: 3.4.23")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)

    found = find(ETCD)

    assert found.path is None
    assert found.ignored == (f"{old} is ignored: version 3.4 is older than 3.5",)


def test_a_new_enough_program_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    given = program(assets, "etcd", "etcd Version: 3.6.1")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert find(ETCD).path == given


def test_what_is_no_program_is_ignored(tmp_path: Path) -> None:
    broken = tmp_path / "etcd"
    broken.write_text("not a program")
    broken.chmod(0o755)
    assert "is ignored" in str(unacceptable(ETCD, broken))
    assert "does not tell its version" in str(unacceptable(ETCD, program(tmp_path, "silent", "hello")))


def test_the_cache_key_covers_everything_that_decides() -> None:
    changed = Tool(ETCD.name, ETCD.module, ETCD.package, ETCD.version, ETCD.minimum, flags=("-race",))
    keys = {cache_key(tool) for tool in (*TOOLS, changed)} | {cache_key(CRDS)}
    assert len(keys) == len(TOOLS) + 2
    assert cache_key(ETCD).startswith("etcd-v3.7.3-")


def test_the_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_path(ETCD).is_relative_to(tmp_path / "modelrollout" / "bin")


@pytest.mark.parametrize(("text", "number"), [("1s", 1000), ("500ms", 500), ("1m", 60_000)])
def test_scrape_intervals(text: str, number: int) -> None:
    assert prometheus.milliseconds(text) == number


@pytest.mark.parametrize("text", ["", "s", "1", "-1s", "0s", "1h", "1.5s"])
def test_wrong_scrape_intervals_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a scrape interval"):
        prometheus.milliseconds(text)


def test_a_scrape_ends_before_the_next_begins() -> None:
    settings = prometheus.configuration(Path("/k"), "1s")["global"]
    assert settings == {"scrape_interval": "1000ms", "scrape_timeout": "900ms"}
    assert prometheus.configuration(None, "30s")["global"]["scrape_timeout"] == "10000ms"


def test_definitions_are_told_apart() -> None:
    content = b"# a licence\n---\n# nothing\n---\napiVersion: x\nkind: CustomResourceDefinition\n--- # end\n"
    (document,) = definitions.split(content)
    assert definitions.path_for(document).endswith("/customresourcedefinitions")
    with pytest.raises(LocalClusterError, match="Secret"):
        definitions.path_for(b"kind: Secret")


def test_the_gateway_takes_routes_from_everywhere() -> None:
    found = {body["kind"]: body for _, body in gateway.objects()}
    (listener,) = found["Gateway"]["spec"]["listeners"]
    assert listener["allowedRoutes"] == {"namespaces": {"from": "All"}}


def test_a_kubeconfig_is_private(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("certificate")
    path = kubeconfig.write(tmp_path / "config", server="https://127.0.0.1:1", ca_file=ca, token="secret")
    assert path.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(path.read_text())
    assert content["clusters"][0]["cluster"]["tls-server-name"] == "kubernetes"
