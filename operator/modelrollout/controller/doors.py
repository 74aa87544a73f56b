"""Where machines ask after the operator: kubelet's probes, and Prometheus. Opened with the process, whoever leads."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller.endpoint import serve
from modelrollout.controller.freezes import Freezes
from modelrollout.controller.health import Health
from modelrollout.controller.inside import Inside, Work
from modelrollout.controller.settings import Settings
from modelrollout.controller.store import Store
from modelrollout.controller.telemetry import Telemetry
from modelrollout.kube.reflector import Reflector

__all__ = ["Doors"]


class Doors:
    """See the module."""

    def __init__(self, settings: Settings, store: Store, freezes: Freezes, copies: Sequence[Reflector]) -> None:
        self._settings = settings
        self._inside = Inside(freezes)
        self._telemetry = Telemetry(store, copies, self._inside, most_rollouts=settings.metrics_rollouts)
        self._health = Health(copies, self._inside)

    def open(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What runs as long as the process."""
        yield self._telemetry.run()
        if self._settings.health is not None:
            routes = {"/healthz": self._health.live, "/readyz": self._health.ready}
            yield serve(self._settings.health, routes, "the probes are")
        if self._settings.metrics is not None:
            yield serve(self._settings.metrics, {"/metrics": self._telemetry.answer}, "metrics are")

    def expect(self, name: str, within: float) -> Callable[[], None]:
        """A task whose silence fails the liveness probe: it calls what is returned at least so often (seconds)."""
        return self._health.expect(name, within)

    def begin(self, work: Work, *, epoch: int = 0) -> None:
        """This process decides from now on; ``epoch`` of its Lease, 0 when there is no election."""
        self._inside.work = work
        self._telemetry.stand(leading=True, epoch=epoch)

    def end(self) -> None:
        """Another process decides, or nobody."""
        self._inside.work = None
        self._telemetry.stand(leading=False)

    def note(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        """Take in what a look left."""
        self._telemetry.note(rollout, status)
