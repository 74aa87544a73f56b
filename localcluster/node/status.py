"""The status of a Pod as the kubelet would write it, built from what its worker knows; no input or output."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def timestamp(moment: datetime) -> str:
    """A time the way the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Waiting:
    """The container does not run yet, or not again yet."""

    reason: str
    message: str = ""

    def state(self) -> dict[str, Any]:
        """As in containerStatuses."""
        text = {"message": self.message} if self.message else {}
        return {"waiting": {"reason": self.reason, **text}}


@dataclass(frozen=True)
class Running:
    """The container runs."""

    started_at: datetime

    def state(self) -> dict[str, Any]:
        """As in containerStatuses."""
        return {"running": {"startedAt": timestamp(self.started_at)}}


@dataclass(frozen=True)
class Terminated:
    """The container has run."""

    exit_code: int
    started_at: datetime
    finished_at: datetime
    message: str = ""

    def state(self) -> dict[str, Any]:
        """As in containerStatuses."""
        terminated: dict[str, Any] = {
            "exitCode": self.exit_code,
            "reason": "Completed" if self.exit_code == 0 else "Error",
            "startedAt": timestamp(self.started_at),
            "finishedAt": timestamp(self.finished_at),
        }
        if self.message:
            terminated["message"] = self.message
        return {"terminated": terminated}


@dataclass
class PodState:
    """Everything a worker knows about its Pod."""

    pod_ip: str
    host_ip: str
    started_at: datetime
    current: Waiting | Running | Terminated = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    restart_policy: str = "Always"
    _since: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def status(self, container: dict[str, Any], now: datetime) -> dict[str, Any]:
        """The whole status, to be merged into the Pod's."""
        container_status: dict[str, Any] = {
            "name": container["name"],
            "image": container.get("image", ""),
            "imageID": "",
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
            "state": self.current.state(),
            "lastState": self.last.state() if self.last else {},
        }
        return {
            "phase": self.phase(),
            "hostIP": self.host_ip,
            "hostIPs": [{"ip": self.host_ip}],
            "podIP": self.pod_ip,
            "podIPs": [{"ip": self.pod_ip}],
            "startTime": timestamp(self.started_at),
            "conditions": self._conditions(container["name"], now),
            "containerStatuses": [container_status],
        }

    def phase(self) -> str:
        """Pending until the container ran once; Succeeded or Failed once it will not run again."""
        if isinstance(self.current, Terminated) and not self.will_restart(self.current.exit_code):
            return "Succeeded" if self.current.exit_code == 0 else "Failed"
        if isinstance(self.current, Waiting) and self.last is None:
            return "Pending"
        return "Running"

    def will_restart(self, exit_code: int) -> bool:
        """What the Pod's restart policy says about this exit code."""
        if self.restart_policy == "OnFailure":
            return exit_code != 0
        return self.restart_policy == "Always"

    def _conditions(self, name: str, now: datetime) -> list[dict[str, Any]]:
        done = self.phase() == "Succeeded"
        unready: dict[str, Any] = {
            "reason": "PodCompleted" if done else "ContainersNotReady",
            "message": "" if done else f"containers with unready status: [{name}]",
        }
        verdicts: tuple[tuple[str, bool, dict[str, Any]], ...] = (
            ("PodReadyToStartContainers", True, {}),
            ("Initialized", True, {}),
            ("ContainersReady", self.ready, unready),
            ("Ready", self.ready, unready),
        )
        return [self._condition(kind, holds, words if not holds else {}, now) for kind, holds, words in verdicts]

    def _condition(self, kind: str, holds: bool, words: dict[str, Any], now: datetime) -> dict[str, Any]:
        value = "True" if holds else "False"
        known = self._since.get(kind)
        if known is None or known[0] != value:
            known = self._since[kind] = (value, now)
        since = timestamp(known[1])
        # Empty words erase what an earlier status said: the patch merges conditions by their type.
        texts = {"reason": words.get("reason"), "message": words.get("message")}
        return {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since, **texts}
