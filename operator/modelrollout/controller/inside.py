"""What metrics and probes ask of the operator, beside its queue and its copies."""

from __future__ import annotations

from datetime import UTC, datetime

from modelrollout.controller.freezes import Freezes
from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.store import Key
from modelrollout.notify.outbox import Outbox

__all__ = ["Inside"]


class Inside:
    """Read-only."""

    def __init__(self, freezes: Freezes, outbox: Outbox, reconciler: Reconciler) -> None:
        self._freezes = freezes
        self._outbox = outbox
        self._reconciler = reconciler

    def frozen(self, namespace: str) -> bool:
        """Whether the line is stopped there now."""
        now = datetime.now(UTC)
        return any(one.until is None or one.until > now for one in self._freezes.of(namespace))

    def messages_waiting(self) -> int:
        """How many messages wait for their receivers."""
        return self._outbox.waiting

    def unwritten_since(self, key: Key) -> datetime | None:
        """Since when lower weights cannot be written."""
        return self._reconciler.unwritten_since(key)

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""
        return self._reconciler.longest_measurement()

    def measuring(self, key: Key) -> bool:
        """Whether a reading for it is under way, or came in."""
        return self._reconciler.measuring(key)
