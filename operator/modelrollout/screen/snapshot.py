"""What is known of one rollout at one moment: all that the terminal and the web page show comes from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus

__all__ = ["Snapshot", "read", "was_judged"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at one moment."""

    rollout: Rollout
    judged: bool
    """Whether an operator has ever written a status."""
    deployments: tuple[dict[str, Any], ...] | None
    """The revisions' Deployments; None when this person may not see them."""
    now: datetime


def read(body: dict[str, Any], deployments: list[dict[str, Any]] | None, now: datetime) -> Snapshot:
    """Parse an object as the API server gave it.

    Raises
    ------
    ValueError
        When the object was written for another version of the CRD: shown wrongly would be worse than not shown.
    """
    status = body.get("status") or {}
    ModelRolloutStatus.model_validate(status)
    return Snapshot(Rollout.parse(body), was_judged(status), None if deployments is None else tuple(deployments), now)


def was_judged(status: dict[str, Any]) -> bool:
    """Whether an operator wrote this status: the API server gives every new object one that says -1."""
    return "phase" in status and int(status.get("observedGeneration", 0)) >= 0
