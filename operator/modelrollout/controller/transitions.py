"""A line in the log for each transition of a rollout, and none for a look that changed only numbers."""

from __future__ import annotations

import logging

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller import logs
from modelrollout.telemetry import meters

__all__ = ["tell"]

_log = logging.getLogger(__name__)


def tell(rollout: Rollout, before: ModelRolloutStatus, after: ModelRolloutStatus) -> None:
    """Say how it is now, if that is not as it was."""
    revision = after.candidate or after.stable
    logs.note(revision.revision if revision else "", str(after.reason))
    if _where(before) == _where(after):
        return
    if before.phase is not after.phase:
        meters.TRANSITIONS.labels(str(after.phase)).inc()
    step = f", step {after.step.number} of {after.step.of}" if after.step else ""
    where = f"{after.phase} ({after.reason}){step}, weight {after.weight} %"
    _log.info("%s/%s is %s: %s", *rollout.key, where, after.message)


def _where(status: ModelRolloutStatus) -> tuple[object, ...]:
    """What makes a transition."""
    revisions = tuple(one.revision if one else "" for one in (status.stable, status.candidate))
    step = status.step.number if status.step else 0
    return status.phase, status.reason, status.weight, step, revisions
