"""The first looks after a start: what has traffic comes first."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelrollout.api.status import DecidedBy
from modelrollout.controller.app import Application, Ending
from modelrollout.controller.elector import Term
from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.settings import Settings
from modelrollout.metrics.source_config import single
from tests.support.memory_kube import MemoryKube
from tests.support.world import spec


def _body(number: int, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"namespace": "recs", "name": f"m-{number}", "uid": str(number), "resourceVersion": str(number + 1)}
    return {"metadata": metadata, "spec": spec(), "status": status}


async def test_rule_14_after_a_start_candidates_with_traffic_are_looked_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    term = Term(DecidedBy(), careful=1.0)
    app = Application(Settings(single("http://127.0.0.1:1", allow_promql=False)), MemoryKube(), Ending())
    looked: list[str] = []

    async def look(_: Reconciler, key: tuple[str, str]) -> None:
        looked.append(key[1])

    monkeypatch.setattr(Reconciler, "reconcile", look)
    candidate = {"revision": "5498b58d8f", "version": "2"}
    for number in range(20):
        risky = number in (7, 13)
        app.seen(_body(number, {"weight": 10, "candidate": candidate} if risky else {"weight": 100}))
    working = asyncio.create_task(app._decide_in(term))
    async with asyncio.timeout(20):
        while len(looked) < 20:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await app.stop()
    assert looked[:2] == ["m-7", "m-13"]
    assert len(looked) == 20
