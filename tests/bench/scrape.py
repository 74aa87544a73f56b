"""What a scrape of the operator's metrics costs: ``python -m tests.bench.scrape``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from modelrollout.api.objects import Rollout
from modelrollout.controller.queue import QueueState
from modelrollout.controller.store import Key, Store
from modelrollout.controller.telemetry import Telemetry
from modelrollout.kube.reflector import Reflector
from tests.unit.cli.states import STATES

_GATES: Final = ("ctr", "p95", "errors")
_NO_COPIES: Final[Sequence[Reflector]] = ()


class _Idle:
    """Nothing else goes on."""

    def queue(self) -> QueueState:
        return QueueState((0, 0), (0.0, 0.0), 0, 0.0, 0.0, 0.0)

    def frozen(self, _: str) -> bool:
        return False

    def unwritten_since(self, _: Key) -> datetime | None:
        return None

    def longest_measurement(self) -> float:
        return 0.0

    def messages_waiting(self) -> int:
        return 0


async def _measure(rollouts: int) -> None:
    store = Store()
    telemetry = Telemetry(store, _NO_COPIES, _Idle(), most_rollouts=10_000)
    telemetry.stand(leading=True)
    body = STATES["breached"][0]
    for number in range(rollouts):
        store.put(body | {"metadata": body["metadata"] | {"name": f"r{number}", "uid": str(number)}})
    looks = [
        Rollout.parse(body | {"metadata": body["metadata"] | {"name": f"r{number}"}}) for number in range(rollouts)
    ]
    status = looks[0].status
    gates = [status.gates[0].model_copy(update={"name": name}) for name in _GATES]
    trial = status.model_copy(update={"gates": gates})
    begun = time.process_time()
    for look in looks:
        telemetry.note(look, trial)
    noted = time.process_time() - begun
    begun = time.process_time()
    text = await telemetry.text()
    spent = time.process_time() - begun
    print(f"{rollouts:>9} | {noted / rollouts * 1e6:>16.1f} | {spent * 1e3:>14.0f} | {len(text) / 1e6:>6.1f}")


if __name__ == "__main__":
    print("rollouts on trial, three gates each")
    print(" rollouts | CPU of a look, µs | of a scrape, ms | answer, MB")
    for count in (1, 100, 1000):
        asyncio.run(_measure(count))
