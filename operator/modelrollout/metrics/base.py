"""What every metrics provider answers, whatever it asks.

A provider reads the gates of one rollout at aligned instants and returns increments for both arms, or says why it
cannot. A new one is a file in this package with an entry in :mod:`modelrollout.metrics.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from modelrollout.api.gate import Gate
from modelrollout.engine.evidence import Plan
from modelrollout.engine.model import Measurement

__all__ = ["Arm", "MetricsProvider", "Watched"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One revision, as metrics know it."""

    revision: str
    namespace: str
    name: str
    """Name of its Deployment, and of its Service."""
    port: int
    """Port of its Service."""
    pods: Mapping[str, datetime]
    """Its pods, and when each was created."""
    its_service: str = ""
    """Name of its Service, where that is another."""

    @property
    def service(self) -> str:
        """Name of its Service."""
        return self.its_service or self.name


@dataclass(frozen=True, slots=True)
class Watched:
    """A candidate that is watched between two looks."""

    key: tuple[str, str]
    """(namespace, name) of its rollout."""
    gates: tuple[Gate, ...]
    """Ratios of bad events."""
    candidate: Arm
    share: float
    """More bad events than this share are reason for an alarm."""


class MetricsProvider(Protocol):
    """Reads the gates of one rollout. Gates that are no metric (``report``) are passed over."""

    async def measure(self, gates: list[Gate], plan: Plan, candidate: Arm, baseline: Arm) -> Measurement:
        """What both arms did in the plan's intervals. Never raises for a source that is down: that is an answer.

        The measurement ends before ``plan.end`` when the source is not that far yet; what is missing is to be asked
        for again.
        """
        ...

    async def history(
        self, gates: list[Gate], start: datetime, end: datetime, step: timedelta, baseline: Arm
    ) -> Measurement:
        """What the baseline alone did in the past, also in pods that are gone: intervals without a candidate, with
        the baseline's pods in two halves where there are at least two."""
        ...

    async def alarms(self, watched: Sequence[Watched], at: datetime, window: timedelta) -> frozenset[tuple[str, str]]:
        """Rollouts whose candidates may have failed too much in a window that ends at an instant; with few requests
        for all of them. It may tell too many, and none while the source is down; it never raises for that."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
