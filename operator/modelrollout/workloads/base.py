"""What every kind of workload can do; a new kind is a file in this package and an entry in its registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from modelrollout.api.enums import Role
from modelrollout.api.objects import Rollout
from modelrollout.engine.model import Autoscaler, RevisionView

__all__ = ["WorkloadProvider"]


class WorkloadProvider(Protocol):
    """Runs the pods of a revision."""

    def observe(self, rollout: Rollout) -> Mapping[str, RevisionView]:
        """Every revision of a rollout as the cluster shows it."""
        ...

    def pods(self, rollout: Rollout, revision: str) -> Mapping[str, datetime]:
        """A revision's pods, and when each was created."""
        ...

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone."""
        ...

    async def refuses(self, rollout: Rollout, revision: str) -> str:
        """Why the API server would refuse the workload; empty when it would not."""
        ...

    async def create(self, rollout: Rollout, revision: str, role: Role, replicas: int) -> None:
        """Make a revision's objects from ``spec``."""
        ...

    async def scale(self, rollout: Rollout, revision: str, replicas: int) -> None:
        """Give a revision this many pods."""
        ...

    async def autoscale(self, rollout: Rollout, revision: str, autoscaler: Autoscaler | None) -> None:
        """Give a revision an autoscaler like this, or none any more."""
        ...

    async def replace_pod(self, rollout: Rollout, revision: str, pod: str) -> None:
        """Delete one pod of a revision, so that another takes its place."""
        ...

    async def set_role(self, rollout: Rollout, revision: str, role: Role, at: datetime) -> None:
        """Write a revision's role on its objects."""
        ...

    async def delete(self, rollout: Rollout, revision: str) -> None:
        """Remove a revision's objects."""
        ...

    async def align(self, rollout: Rollout) -> None:
        """Bring what goes with the ModelRollout when it is deleted in line with ``spec``. Restarts no pod."""
        ...
