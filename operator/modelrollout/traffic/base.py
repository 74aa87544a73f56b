"""What every way of moving traffic can do; a new one is a file in this package and an entry in its registry."""

from __future__ import annotations

from typing import Protocol

from modelrollout.api.objects import Rollout
from modelrollout.engine.model import RouteView, SetWeights

__all__ = ["TrafficProvider"]


class TrafficProvider(Protocol):
    """Moves weights between the Services of the revisions."""

    async def observe(self, rollout: Rollout, *, first: bool) -> RouteView:
        """The route as the cluster shows it, with the gateway's word on it.

        ``first``: no revision is stable yet, so a route that serves users already must be left alone.
        """
        ...

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone."""
        ...

    async def apply(self, rollout: Rollout, write: SetWeights) -> None:
        """Write weights and marker in one request. A raise fails when the route changed since it was observed."""
        ...

    async def align(self, rollout: Rollout) -> None:
        """Bring what ``spec`` says of the route besides weights in line with it. Changes nobody's share."""
        ...
