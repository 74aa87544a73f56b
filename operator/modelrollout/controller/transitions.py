"""A line in the log for each transition of a rollout, and none for a look that changed only numbers."""

from __future__ import annotations

import logging

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller import logs
from modelrollout.telemetry import meters

__all__ = ["note", "tell"]

_log = logging.getLogger(__name__)


def tell(rollout: Rollout, before: ModelRolloutStatus, after: ModelRolloutStatus) -> None:
    """Say how it is now, if that is not as it was."""
    if _where(before) == _where(after):
        return
    if before.phase is not after.phase:
        meters.TRANSITIONS.labels(str(after.phase)).inc()
    step = f", step {after.step.number} of {after.step.of}" if after.step else ""
    where = f"{after.phase} ({after.reason}){step}, weight {after.weight} %"
    _log.info("%s/%s is %s: %s", *rollout.key, where, after.message)


def note(status: ModelRolloutStatus) -> None:
    """Let all that is logged from now on in this look say what it was decided for."""
    about = status.candidate or status.failed or status.stable
    logs.note(about.revision if about else "", str(status.reason))


def _where(status: ModelRolloutStatus) -> tuple[object, ...]:
    """What makes a transition."""
    stable, candidate, step = status.stable, status.candidate, status.step
    return (
        status.phase,
        status.reason,
        status.weight,
        step and step.number,
        stable and stable.revision,
        candidate and candidate.revision,
    )
