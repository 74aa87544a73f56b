"""One rollback, and an operator that dies again and again between it and its ticket: one ticket, one record, one key.

The receivers are a real Alertmanager and an HTTP server that speaks GitHub's, Slack's and a webhook's side. One
rollback serves all tests of this file: each looks at another side of it. The operator is this file's own, because it
is started with receivers; without the fixture ``operator`` these tests come before any other one runs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from localcluster import LocalCluster, eventually
from tests.support.operator import ROOT
from tests.support.scene import Scene, api, changed
from tests.support.tracker import Tracker

if TYPE_CHECKING:
    from tests.support.operator import Operator

TOKEN = "ghp_0123456789abcdefghij"
SLACK = "T0000/B0000/verysecretpath"
TEAM = "teamsecretpath42"
SIGNING = "signing-key-of-the-team"
OPERATOR = "modelrollout-system:modelrollout"


@dataclass
class Told:
    """What is left of the rollback."""

    scene: Scene
    tracker: Tracker
    operator: Operator
    alertmanager: str
    deaths: int

    @property
    def log(self) -> str:
        """All that the operator wrote."""
        return self.operator.log()

    def alerts(self) -> list[dict[str, Any]]:
        """What Alertmanager knows."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts", timeout=5) as answer:
            return list(json.load(answer))


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    running = Tracker()
    yield running
    running.close()


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Alertmanager; empty when there is none on this machine."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        yield ""
        return
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    flags = [f"--config.file={folder}/config.yml", f"--storage.path={folder}", "--cluster.listen-address="]
    with (folder / "log").open("wb") as log:
        command = [program, *flags, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def ready() -> bool:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)

    eventually(ready, "Alertmanager to be ready", timeout=30, errors=(AssertionError, OSError))
    yield url
    process.kill()
    process.wait()


def _receivers(folder: Path, tracker: Tracker, alertmanager: str) -> Path:
    """The operator's file of receivers, and the files of its secrets."""
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "slack").write_text(f"{tracker.url}/services/{SLACK}\n")
    github = {"url": tracker.url, "repository": "acme/models", "tokenFile": str(folder / "token")}
    receivers: list[dict[str, Any]] = [
        {"name": "tickets", "about": ["ticket"], "github": github},
        {"name": "chat", "about": ["page", "ticket", "chat"], "slack": {"urlFile": str(folder / "slack")}},
        {"name": "hook", "about": ["RolledBack"], "webhook": {"url": f"{tracker.url}/hook"}},
        {"name": "events", "cloudEvents": {"url": f"{tracker.url}/events"}},
    ]
    if alertmanager:
        receivers.append({"name": "oncall", "about": ["page", "ticket"], "alertmanager": {"url": alertmanager}})
    file = folder / "notifications.yaml"
    file.write_text(yaml.safe_dump({"receivers": receivers}))
    return file


@pytest.fixture(scope="module")
def told(
    installed: LocalCluster,
    tracker: Tracker,
    alertmanager: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Told]:
    """A rollback, with an operator that dies four times on the way to its ticket."""
    from tests.support.operator import Operator

    cluster = installed
    file = _receivers(tmp_path_factory.mktemp("receivers"), tracker, alertmanager)
    link = "Grafana=https://grafana.example/d/x?var-ns={namespace}&from={from}"
    flags = ["--notifications", str(file), "--notify-hosts", "http://127.0.0.1", "--link-template", link]
    ours = Operator(cluster)
    ours.arguments += flags
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    scene = Scene(cluster, namespace)
    address = f"--from-literal=url={tracker.url}/team/{TEAM}"
    scene.kubectl("create", "secret", "generic", "team", address, f"--from-literal=sign={SIGNING}")
    scene.kubectl("create", "secret", "generic", "elsewhere", "--from-literal=url=https://elsewhere.example/x")
    ours.start()
    try:
        yield _roll_back(Told(scene, tracker, ours, alertmanager, 0))
    finally:  # else it would decide in the tests after these, too
        ours.kill()
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


NOTIFICATIONS = [
    {"name": "team", "webhook": {"secretRef": {"name": "team", "key": "url"}, "signingKey": "sign"}},
    {"name": "away", "about": ["ticket"], "slack": {"secretRef": {"name": "elsewhere", "key": "url"}}},
    {"name": "mesh", "about": ["RolledBack"], "receiver": "events"},
    {"name": "nobody", "about": ["ticket"], "receiver": "pager"},
]


def _roll_back(told: Told) -> Told:
    scene, tracker = told.scene, told.tracker
    tracker.hang("GET")
    with_people = changed(notifications=NOTIFICATIONS)
    scene.serve_first(change=with_people)
    with scene.users(40):
        scene.apply("2", change=with_people, ERRORS="0.5")
        scene.until(lambda status: status.get("failed"), "the rollback in status", timeout=90)
        eventually(lambda: set(scene.weights.values()) <= {0, 100}, "all traffic to be back")
    for moment in ("GET", "POST"):
        tracker.wait_reached(60)  # the tracker hangs, and all traffic is back
        told.operator.kill()
        tracker.hang("POST" if moment == "GET" else "")
        told.operator.start()
        told.deaths += 1
    eventually(lambda: _delivery(told, "tickets").get("state") == "Told", "the ticket to be noted", timeout=60)
    told.operator.kill()
    told.operator.start()
    told.deaths += 1
    return told


def _incident(told: Told) -> dict[str, Any]:
    (found,) = told.scene.every("rolloutincidents")
    return found


def _delivery(told: Told, receiver: str) -> dict[str, Any]:
    found = told.scene.every("rolloutincidents")
    return dict(((found[0].get("status") or {}).get("deliveries") or {}).get(receiver) or {}) if found else {}


def test_detail_25_one_ticket_however_often_the_operator_dies(told: Told) -> None:
    assert told.deaths == 3
    assert len(told.tracker.issues) == 1, "one rollback, one ticket"
    issue = told.tracker.issues[0]
    assert "ranker: RolledBack" in issue["title"]
    assert "errors" in issue["body"]
    assert _delivery(told, "tickets")["reference"] == issue["html_url"]


def test_detail_25_one_record_with_everything_in_it(told: Told) -> None:
    incident = _incident(told)
    spec, status = incident["spec"], told.scene.status
    assert incident["metadata"]["name"].startswith(f"ranker-{status['failed']['revision']}-")
    assert not incident["metadata"].get("ownerReferences"), "it outlives the rollout"
    assert (spec["version"], spec["stableVersion"]) == ("2", "1")
    (gate,) = [one for one in spec["evidence"] if one["name"] == "errors"]
    assert float(gate["value"]) > 0.1
    assert "ranker_requests_total" in gate["query"]
    assert spec["links"][0]["url"].startswith(f"https://grafana.example/d/x?var-ns={told.scene.namespace}&from=17")
    edit = json.dumps({"spec": {"message": "nothing happened"}})
    name = incident["metadata"]["name"]
    refused = told.scene.cluster.kubectl(
        "-n", told.scene.namespace, "patch", "mri", name, "--type=merge", "-p", edit, check=False
    )
    assert "cannot be edited" in refused.stderr


def test_detail_25_every_attempt_carries_the_same_key(told: Told) -> None:
    calls = told.tracker.to("/hook")
    keys = {headers["idempotency-key"] for _, _, headers, _ in calls}
    assert len(keys) == 1, keys
    assert {body["incidentName"] for _, _, _, body in calls} == {_incident(told)["metadata"]["name"]}
    assert calls[0][3]["incident"]["evidence"]
    chats = [body for _, _, _, body in told.tracker.to("/services") if "RolledBack" in body["text"]]
    assert chats
    events = [body for _, _, _, body in told.tracker.to("/events")]
    assert {event["type"] for event in events} == {"io.modelrollout.rolledback"}, "who is named by the rollout alone"
    assert {event["id"] for event in events} == keys


def test_detail_25_the_record_on_the_command_line(told: Told) -> None:
    """As docs/notifications.md says, by the rollout's name."""
    flags = ["-n", told.scene.namespace, "--kubeconfig", str(told.scene.cluster.kubeconfig), "--no-color"]
    command = [sys.executable, "-m", "modelrollout.cli.main", "incident", "ranker", *flags]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    record = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=60).stdout
    assert "ranker: version 2 was rolled back" in record
    assert _incident(told)["metadata"]["name"] in record
    assert f"tickets: Told, {told.tracker.issues[0]['html_url']}" in record


def test_the_samples_fit_the_operator_that_is_shipped(told: Told, tmp_path: Path) -> None:
    """The Role and the receivers are taken as they are, and the patch finds its container."""
    samples = ROOT / "manifests" / "samples" / "notifications"
    for name in ("team.yaml", "receivers.yaml"):
        told.scene.cluster.kubectl("apply", "--dry-run=client", "-f", str(samples / name))
    shutil.copy(ROOT / "manifests" / "base" / "deployment.yaml", tmp_path)
    shutil.copy(samples / "operator.yaml", tmp_path)
    kustomization = {"resources": ["deployment.yaml"], "patches": [{"path": "operator.yaml"}]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    built = yaml.safe_load(told.scene.cluster.kubectl("kustomize", str(tmp_path)).stdout)
    (container,) = built["spec"]["template"]["spec"]["containers"]
    assert container["image"]
    assert "--notifications=/etc/modelrollout/notifications.yaml" in container["args"]


def test_detail_42_a_receiver_that_hangs_delays_no_traffic(told: Told) -> None:
    """While the tracker hung, the weights went to zero and the others were told."""
    first_hook = told.tracker.calls.index(told.tracker.to("/hook")[0])
    answered = [n for n, call in enumerate(told.tracker.calls) if call[0] == "POST" and "/issues" in call[1]]
    assert first_hook < answered[0]
    assert list(told.scene.weights.values()) == [100]


def test_detail_25_a_team_is_told_what_to_type_and_then_is_told(told: Told) -> None:
    """The operator may read no Secret; the event has the command that allows this one, and it works as printed."""
    scene = told.scene
    assert not told.tracker.to("/team")
    problems = [message for reason, message in scene.events() if reason == "NotificationFailed"]
    forbidden = next(message for message in problems if "may not read Secret team" in message)
    command = forbidden.split("allow that one: ")[1]
    for part in command.split(" && "):
        scene.kubectl(*part.removeprefix("kubectl ").split())
    scene.kubectl("create", "role", "away", "--verb=get", "--resource=secrets", "--resource-name=elsewhere")
    scene.kubectl("create", "rolebinding", "away", "--role=away", f"--serviceaccount={OPERATOR}")
    calls = eventually(lambda: told.tracker.to(f"/team/{TEAM}"), "the team to be told", timeout=60)
    assert calls[0][2]["x-modelrollout-signature"].startswith("sha256=")

    def all_said() -> bool:
        said = "\n".join(message for reason, message in scene.events() if reason == "NotificationFailed")
        return "--notify-hosts elsewhere.example" in said and "there is no receiver pager here" in said

    eventually(all_said, "what is wrong with the others, in events", timeout=60)
    problem = [one.get("problem", "") for one in scene.status["notices"] if one["reason"] == "RolledBack"]
    assert "pager" in problem[0], "and in status"


def test_detail_42_a_real_alertmanager_fires_and_resolves(told: Told) -> None:
    """The last one: it ends the incident by a version that is named next."""
    if not told.alertmanager:
        pytest.skip("there is no prometheus-alertmanager on this machine: apt-get install prometheus-alertmanager")
    scene = told.scene

    def ours() -> list[dict[str, Any]]:
        return [one for one in told.alerts() if one["labels"]["namespace"] == scene.namespace]

    (alert,) = eventually(ours, "the alert", timeout=30)
    assert alert["labels"]["alertname"] == "ModelRolloutRolledBack"
    assert alert["labels"]["severity"] == "warning"
    assert alert["annotations"]["incident"] == _incident(told)["metadata"]["name"]
    assert alert["status"]["state"] == "active"
    scene.apply("1", change=changed(notifications=NOTIFICATIONS))
    eventually(lambda: not ours(), "the alert to be resolved", timeout=60)
    assert len(scene.every("rolloutincidents")) == 1
    assert len(told.tracker.issues) == 1


def test_no_secret_is_told_to_anybody(told: Told) -> None:
    """Not in the log, not in a status, an event or a record, also where something failed."""
    everything = told.log + told.scene.kubectl("get", "mro,mri,events", "-o", "yaml")
    assert told.scene.namespace in everything
    for secret in (TOKEN, SLACK, SLACK.rsplit("/", 1)[1], TEAM, SIGNING):
        assert secret not in everything
    assert "Traceback" not in told.log
    readable = api(told.scene.cluster)
    assert readable.get(f"/api/v1/namespaces/{told.scene.namespace}/secrets/team"), "the question is put right"
