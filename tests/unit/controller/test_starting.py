"""The first looks after a start: what has traffic comes first."""

from __future__ import annotations

import asyncio
from typing import Any

from modelrollout.controller.app import Application
from modelrollout.controller.settings import Settings
from modelrollout.metrics.source_config import single
from tests.support.memory_kube import MemoryKube
from tests.support.world import spec


def _body(number: int, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "recs", "name": f"m-{number}", "uid": str(number), "resourceVersion": str(number + 1)}
    return {"metadata": metadata, "spec": spec(), "status": status}


async def test_rule_14_after_a_start_candidates_with_traffic_are_looked_at_first() -> None:
    app = Application(Settings(single("http://127.0.0.1:1", allow_promql=False)), MemoryKube(), asyncio.Event())
    looked: list[str] = []

    async def look(key: tuple[str, str]) -> None:
        looked.append(key[1])

    app.queue._work = look
    candidate = {"revision": "5498b58d8f", "version": "2"}
    for number in range(20):
        risky = number in (7, 13)
        app.seen(_body(number, {"weight": 10, "candidate": candidate} if risky else {"weight": 100}))
    working = asyncio.create_task(app.queue.run())
    await asyncio.sleep(0.05)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await app.stop()
    assert looked[:2] == ["m-7", "m-13"]
    assert len(looked) == 20
