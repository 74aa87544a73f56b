"""What goes wrong now and then."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.bench.scale.rig import Progress, Rig
from tests.support.scene import let_pass

__all__ = ["FAULTS", "Faults"]

_PROMETHEUS_SECONDS: Final = 30.0
_FROZEN_SECONDS: Final = 8.0
_AWAY_SECONDS: Final = 5.0


def _kill_operator(rig: Rig) -> None:
    rig.operator.kill()
    rig.operator.start()


def _stop_operator(rig: Rig) -> None:
    rig.operator.stop()
    rig.operator.start()


def _kill_apiserver(rig: Rig) -> None:
    rig.cluster.kill_apiserver()
    let_pass(_AWAY_SECONDS)
    rig.cluster.start_apiserver()


def _freeze_apiserver(rig: Rig) -> None:
    rig.cluster.pause_apiserver()
    let_pass(_FROZEN_SECONDS)
    rig.cluster.resume_apiserver()


def _stop_prometheus(rig: Rig) -> None:
    rig.cluster.stop_prometheus()
    let_pass(_PROMETHEUS_SECONDS)
    rig.cluster.start_prometheus()


FAULTS: Final[dict[str, Callable[[Rig], None]]] = {
    "operator killed": _kill_operator,
    "API server killed": _kill_apiserver,
    "Prometheus away": _stop_prometheus,
    "API server frozen": _freeze_apiserver,
    "operator restarted": _stop_operator,
}
_OPERATORS: Final = ("operator killed", "operator restarted")


class Faults:
    """One every so often, in a shuffled order that begins anew when all have been."""

    def __init__(self, every: float, seed: int) -> None:
        self._every = every
        self._random = random.Random(seed)
        self._left: list[str] = []
        self._next = every
        self.counts: Counter[str] = Counter()

    def maybe(self, rig: Rig, elapsed: float, progress: Progress) -> bool:
        """Do the next one if it is time; whether the operator is another process now."""
        if elapsed < self._next:
            return False
        self._next = elapsed + self._every
        if not self._left:
            self._left = self._random.sample(list(FAULTS), len(FAULTS))
        name = self._left.pop()
        self.counts[name] += 1
        progress(f"fault: {name}")
        FAULTS[name](rig)
        return name in _OPERATORS
