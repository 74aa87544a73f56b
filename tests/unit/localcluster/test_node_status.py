"""The status a Pod gets, from what its worker knows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcluster.node.status import PodState, Running, Terminated, Waiting

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
CONTAINER = {"name": "server", "image": "example.com/ranker:1"}
FAILED = Terminated(3, NOW, LATER)
ENDED = Terminated(0, NOW, LATER)


def state(**values: Any) -> PodState:
    return replace(PodState(pod_ip="10.99.1.7", host_ip="10.99.0.1", started_at=NOW), **values)


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry["status"] for entry in status["conditions"]}


@pytest.mark.parametrize(
    ("values", "phase"),
    [
        ({}, "Pending"),
        ({"current": Waiting("ImagePullBackOff")}, "Pending"),
        ({"current": Running(NOW)}, "Running"),
        ({"current": Waiting("CrashLoopBackOff"), "last": FAILED}, "Running"),
        ({"current": FAILED}, "Running"),
        ({"current": FAILED, "restart_policy": "Never"}, "Failed"),
        ({"current": FAILED, "restart_policy": "OnFailure"}, "Running"),
        ({"current": ENDED, "restart_policy": "OnFailure"}, "Succeeded"),
        ({"current": ENDED, "restart_policy": "Always"}, "Running"),
    ],
)
def test_phases(values: dict[str, Any], phase: str) -> None:
    assert state(**values).phase() == phase


def test_a_ready_pod() -> None:
    status = state(current=Running(NOW), started=True, ready=True).status(CONTAINER, NOW)
    assert status["podIP"] == "10.99.1.7"
    assert set(conditions(status).values()) == {"True"}
    (container,) = status["containerStatuses"]
    assert container["state"] == {"running": {"startedAt": "2026-03-01T12:00:00Z"}}
    assert (container["ready"], container["started"], container["restartCount"]) == (True, True, 0)


def test_a_crash_loop() -> None:
    waiting = Waiting("CrashLoopBackOff", "back-off 1s")
    status = state(current=waiting, last=FAILED, restarts=2).status(CONTAINER, NOW)
    (container,) = status["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1s"}}
    assert container["lastState"]["terminated"]["exitCode"] == 3
    assert container["lastState"]["terminated"]["reason"] == "Error"
    assert container["restartCount"] == 2
    assert conditions(status)["Ready"] == "False"
    ready = next(entry for entry in status["conditions"] if entry["type"] == "Ready")
    assert ready["reason"] == "ContainersNotReady"


def test_the_transition_time_changes_only_with_the_value() -> None:
    pod = state(current=Running(NOW))

    def since() -> str:
        status = pod.status(CONTAINER, moment)
        return str(next(entry for entry in status["conditions"] if entry["type"] == "Ready")["lastTransitionTime"])

    moment = NOW
    assert since() == "2026-03-01T12:00:00Z"
    moment = LATER
    assert since() == "2026-03-01T12:00:00Z"
    pod.ready = True
    assert since() == "2026-03-01T12:00:30Z"
