"""Several Prometheus: one that fails in every way, one behind TLS and a password, a team's own; each rollout sees its
own source's outage and no other."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcluster import LocalCluster
from localcluster.binaries import find_all
from tests.support import certificates
from tests.support.faults import Fault, FaultyProxy
from tests.support.operator import Operator
from tests.support.scene import Scene, changed, let_pass, together

PASSWORD = "s3cr3t-canary-Xy7"
_HASH = "$2b$04$gd560EwAsrhAwXO/xSPKXeeiOef4yZQJkR8/YDikT.8Tq5ECncd8i"
"""bcrypt of the password."""
TOKEN = "t0k3n-canary-Qz1"
_PORT = 9495
_PATIENCE = 240.0
"""Seconds; every wait ends when what it waits for is there."""
_RATE = 15.0
_STEPS = [{"weight": 20, "hold": "1s"}, {"weight": 50, "hold": "1h"}]
_SHORT = [{"weight": 50, "hold": "3s"}]


@dataclass(frozen=True)
class Place:
    """The operator with its sources."""

    operator: Operator
    faulty: FaultyProxy
    damaged: FaultyProxy
    own: FaultyProxy


@pytest.fixture(scope="module")
def protected(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder with the certificates for a real Prometheus that wants TLS, a certificate and a password."""
    folder = tmp_path_factory.mktemp("protected")
    authority = certificates.authority(folder)
    server = certificates.signed(folder, authority, "prometheus.internal")
    certificates.signed(folder, authority, "operator")
    tls = {"cert_file": str(server.cert), "key_file": str(server.key), "client_ca_file": str(authority.cert)}
    web = {
        "tls_server_config": tls | {"client_auth_type": "RequireAndVerifyClientCert"},
        "basic_auth_users": {"modelrollout": _HASH},
    }
    (folder / "web.yaml").write_text(yaml.safe_dump(web))
    (folder / "password").write_text(f"{PASSWORD}\n")
    command = [
        str(find_all().prometheus),
        f"--config.file={cluster.folder / 'prometheus.yaml'}",
        f"--web.config.file={folder / 'web.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{_PORT}",
        "--scrape.discovery-reload-interval=1s",
        "--log.level=warn",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield folder
    process.kill()
    process.wait()


def _file(folder: Path, faulty: FaultyProxy, damaged: FaultyProxy) -> Path:
    tls = {"caFile": "ca.crt", "certFile": "operator.crt", "keyFile": "operator.key"}
    sources: list[dict[str, Any]] = [
        {"name": "faulty", "url": faulty.url, "timeout": "3s"},
        {"name": "damaged", "url": damaged.url, "timeout": "3s"},
        {
            "name": "protected",
            "url": f"https://127.0.0.1:{_PORT}",
            "basic": {"user": "modelrollout", "passwordFile": str(folder / "password")},
            "tls": {name: str(folder / file) for name, file in tls.items()} | {"serverName": "prometheus.internal"},
        },
        {"name": "treasury", "url": "https://treasury.internal", "namespaces": ["treasury"]},
    ]
    file = folder / "sources.yaml"
    file.write_text(yaml.safe_dump({"sources": sources}))
    return file


@pytest.fixture(scope="module")
def place(installed: LocalCluster, protected: Path) -> Iterator[Place]:
    """The operator beside the sources that it is told of."""
    url = installed.prometheus_url
    with FaultyProxy(url) as faulty, FaultyProxy(url) as damaged, FaultyProxy(url) as own:
        operator = Operator(installed)
        file = _file(protected, faulty, damaged)
        operator.arguments += ["--sources", str(file), "--metric-hosts", "http://127.0.0.1"]
        operator.start()
        yield Place(operator, faulty, damaged, own)
        operator.kill()


@pytest.fixture(scope="module")
def scenes(cluster: LocalCluster) -> Iterator[str]:
    """One namespace for all."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


# Those that differ behind the client; tests/unit/metrics/test_source_faults.py has them all.
_KINDS = {
    Fault.ERROR: ("MetricsUnavailable", "answered HTTP 500 without JSON"),
    Fault.HANGING: ("MetricsUnavailable", "does not answer: timed out"),
    Fault.PARTIAL: ("MetricsUnavailable", "gave a partial answer: one store did not answer"),
    Fault.NAN: ("GateMisconfigured", "errors: "),
    Fault.EMPTY: ("GateMisconfigured", "errors: "),
    Fault.BEHIND: ("MetricsUnavailable", "behind the operator's"),
}


def _says(words: str, status: dict[str, Any]) -> bool:
    return words in status.get("message", "")


def _is_blind(words: str, status: dict[str, Any]) -> bool:
    return words in (status.get("blind") or {}).get("message", "")


def _fails_in_every_way(scene: Scene, place: Place) -> None:
    """At half the traffic, one fault after the other: held, said, never a bad model, and over when it is over."""
    change = changed(
        steps=_STEPS, workload={"replicas": 1}, evaluation={"source": "faulty", "blindTimeout": "4s", "interval": "1s"}
    )
    scene.serve_first(change=change)
    with scene.users(_RATE) as users:
        scene.apply("2", change=change)
        scene.at_weight(50, timeout=_PATIENCE)
        let_pass(11.0)  # series that are not there yet are only early for so long
        for fault, (reason, words) in _KINDS.items():
            place.faulty.fail(fault, 90.0)
            status = scene.until(partial(_is_blind, words), f"{fault} to be told", timeout=_PATIENCE)
            assert status["blind"]["reason"] == reason
            if fault is Fault.ERROR:
                status = scene.until(lambda s: s["blind"]["alerted"], "the alert after blindTimeout", timeout=_PATIENCE)
            assert (status["phase"], status["weight"]) == ("Progressing", 50)
            assert scene.condition("MetricsAvailable")["status"] == "False"
            assert scene.condition("GatesPassing")["status"] != "False"
            place.faulty.heal()
            scene.until(lambda s: not s.get("blind"), f"the end of {fault}", timeout=_PATIENCE)
        place.faulty.fail(Fault.SLOW, 0.6)
        before = scene.status["evaluatedAt"]
        scene.until(lambda s: s["evaluatedAt"] > before, "a look that is late", timeout=_PATIENCE)
        assert not scene.status.get("blind"), "slow is late, not blind"
        place.faulty.heal()
    assert users.lost == 0
    assert scene.status["weight"] == 50
    assert "RolledBack" not in [reason for reason, _ in scene.events()]


def _is_damaged_meanwhile(scene: Scene, place: Place, mark: Path) -> None:
    """The model breaks while nobody sees; it is found as soon as somebody does."""
    change = changed(steps=_STEPS, workload={"replicas": 1}, evaluation={"source": "damaged", "blindTimeout": "1m"})
    scene.serve_first(change=change)
    with scene.users(_RATE):
        scene.apply("2", change=change, ERRORS="0.5", BAD_WHILE=str(mark))
        scene.at_weight(50, timeout=_PATIENCE)
        let_pass(3.0)
        place.damaged.fail(Fault.HANGING)
        scene.until(lambda s: s.get("blind"), "the outage to be seen", timeout=_PATIENCE)
        mark.touch()
        let_pass(8.0)
        assert scene.status["weight"] == 50, "nobody knows yet"
        place.damaged.heal()
        status = scene.reach("RolledBack", version="1", timeout=_PATIENCE)
        assert status["failed"]["reason"] in ("GateBreached", "Catastrophe")


def _names_another_teams(scene: Scene) -> None:
    """A source of another namespace does not exist here; what is said tells neither its address nor that it does. Then
    one that wants TLS, a certificate and a password."""
    change = changed(steps=_SHORT, workload={"replicas": 1}, evaluation={"source": "treasury"})
    scene.serve_first(change=change)
    with scene.users(_RATE):
        scene.apply("2", change=change)
        status = scene.until(partial(_says, "there is no source treasury"), "the refusal", timeout=_PATIENCE)
        assert "write one of: damaged, default, faulty, protected" in status["message"]
        assert status["weight"] == 0
        assert "treasury.internal" not in scene.kubectl("get", "mro", scene.name, "-o", "yaml")
        known = changed(steps=_SHORT, workload={"replicas": 1}, evaluation={"source": "protected"})
        scene.apply("2", change=known)
        scene.reach("Stable", version="2", timeout=_PATIENCE)


def _brings_its_own(scene: Scene, place: Place) -> None:
    """By address, with a token from a Secret that the operator may read only after the team says so, as printed."""
    scene.kubectl("create", "secret", "generic", "team-metrics", f"--from-literal=token={TOKEN}")
    own = {"url": place.own.url, "token": {"name": "team-metrics", "key": "token"}}
    change = changed(steps=_SHORT, workload={"replicas": 1}, evaluation={"prometheus": own})
    scene.serve_first(change=change)
    with scene.users(_RATE):
        scene.apply("2", change=change)
        status = scene.until(partial(_says, "may not read Secret team-metrics"), "the command", timeout=_PATIENCE)
        command = re.search(r"allow that one: (.*?)(?: \(down since|$)", status["message"])
        assert command is not None
        for one in command.group(1).split(" && "):
            scene.cluster.kubectl(*shlex.split(one)[1:])
        scene.reach("Stable", version="2", timeout=_PATIENCE)
    assert place.own.seen[""] > 3


def test_detail_17_every_source_fails_for_itself(
    cluster: LocalCluster, place: Place, scenes: str, tmp_path: Path
) -> None:
    def scene(name: str) -> Scene:
        return Scene(cluster, scenes, name)

    together(
        lambda: _fails_in_every_way(scene("faults"), place),
        lambda: _is_damaged_meanwhile(scene("damage"), place, tmp_path / "bad"),
        lambda: _names_another_teams(scene("curious")),
        lambda: _brings_its_own(scene("team"), place),
    )


def test_detail_30_no_secret_of_a_source_is_told_anywhere(cluster: LocalCluster, place: Place, scenes: str) -> None:
    """After all of the above: in no object of the namespace, in no event and in no line of the log."""
    kinds = "mro,deployments,httproutes,events,rolloutincidents"
    told = cluster.kubectl("get", kinds, "-n", scenes, "-o", "yaml").stdout
    for secret in (PASSWORD, TOKEN):
        assert secret not in told
        assert secret not in place.operator.log()
    assert "Traceback" not in place.operator.log()
