"""What pods say of themselves: why they cannot run, why they cannot be placed, and when they last got further. Pure.

A candidate that crashes, runs out of memory or has no image is a failed start at once, in the pod's own words; a
candidate that finds no room is nobody's fault and only waits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from modelrollout.api.objects import parse_time

__all__ = ["failure", "progress_at", "ready_since", "waiting"]

Body = dict[str, Any]

_HOPELESS: Final = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_FORGIVEN_RESTARTS: Final = 1


def _containers(pod: Body) -> list[Body]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _condition(pod: Body, kind: str) -> Body:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), {})


def failure(pod: Body) -> str:
    """Why a pod cannot run, in its own words; empty while it can."""
    name = pod["metadata"]["name"]
    for container in _containers(pod):
        waits = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        reason = waits.get("reason", "")
        if reason in _HOPELESS:
            return f"pod {name}: {reason}: {waits.get('message', '')}".rstrip(": ")
        restarts = container.get("restartCount", 0)
        if ended.get("reason") == "OOMKilled" and restarts > 0:
            return f"pod {name}: OOMKilled: the container needs more memory than its limit"
        if reason == "CrashLoopBackOff" and restarts > _FORGIVEN_RESTARTS:
            words = ended.get("message") or f"exit code {ended.get('exitCode', '?')} ({ended.get('reason', 'Error')})"
            return f"pod {name}: CrashLoopBackOff after {restarts} restarts: {words}"
    return ""


def waiting(pod: Body) -> str:
    """Why a pod cannot be placed; empty when it can."""
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return f"pod {pod['metadata']['name']} finds no node: {scheduled.get('message', '')}"
    return ""


def ready_since(pod: Body) -> datetime | None:
    """Since when a pod is ready; None when it is not."""
    ready = _condition(pod, "Ready")
    if ready.get("status") != "True" or not ready.get("lastTransitionTime"):
        return None
    return parse_time(ready["lastTransitionTime"])


def progress_at(pod: Body) -> datetime | None:
    """When a pod last got further: scheduled, a container started, ready."""
    times = [
        condition.get("lastTransitionTime")
        for condition in (_condition(pod, "PodScheduled"), _condition(pod, "Ready"))
        if condition.get("status") == "True"
    ]
    for container in _containers(pod):
        running = (container.get("state") or {}).get("running") or {}
        times.append(running.get("startedAt"))
    known = [parse_time(time) for time in times if time]
    return max(known, default=None)
