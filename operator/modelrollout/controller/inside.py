"""What metrics and probes ask of the operator: of the work under way, which is another one in each term, and of what
lasts longer. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from modelrollout.controller.freezes import Freezes
from modelrollout.controller.queue import QueueState, WorkQueue
from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.store import Key
from modelrollout.notify.outbox import Outbox

__all__ = ["Inside", "Work"]

_IDLE = QueueState((0, 0), (0.0, 0.0), 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Work:
    """Who decides, and whom that keeps busy."""

    queue: WorkQueue
    reconciler: Reconciler
    outbox: Outbox


class Inside:
    """See the module; ``work`` is None while another process decides."""

    def __init__(self, freezes: Freezes) -> None:
        self._freezes = freezes
        self.work: Work | None = None

    def queue(self) -> QueueState:
        """How the queue is."""
        return self.work.queue.state if self.work else _IDLE

    def forgotten(self) -> dict[Key, float]:
        """Rollouts whose metrics were read, and that nobody is going to look at; when that was begun (seconds ago)."""
        if self.work is None:
            return {}
        read = self.work.reconciler.readings_to_take()
        return {key: seconds for key, seconds in read.items() if not self.work.queue.knows(key)}

    def frozen(self, namespace: str) -> bool:
        """Whether the line is stopped there now."""
        now = datetime.now(UTC)
        return any(one.until is None or one.until > now for one in self._freezes.of(namespace))

    def messages_waiting(self) -> int:
        """How many messages wait for their receivers."""
        return self.work.outbox.waiting if self.work else 0

    def unwritten_since(self, key: Key) -> datetime | None:
        """Since when lower weights cannot be written."""
        return self.work.reconciler.unwritten_since(key) if self.work else None

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""
        return self.work.reconciler.longest_measurement() if self.work else 0.0
