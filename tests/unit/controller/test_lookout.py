"""Between two looks: when is asked, whose counts are read, and that nothing is told of who is not watched any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

from modelrollout.api.gate import Gate
from modelrollout.api.objects import Rollout
from modelrollout.controller.lookout import Lookout
from modelrollout.engine.model import Input, Measurement, Plan
from modelrollout.metrics.base import Arm, Watched
from tests.support.world import CTR, ERRORS, LATENCY, spec
from tests.unit.engine.test_rules import stepping

Key = tuple[str, str]


class _Source:
    """Names those that it is told to name."""

    def __init__(self, *named: str) -> None:
        self.named = named
        self.asked: list[tuple[datetime, list[Key]]] = []
        self.read: list[Plan] = []

    async def alarms(self, watched: Sequence[Watched], at: datetime, window: timedelta) -> frozenset[Key]:
        self.asked.append((at, [one.key for one in watched]))
        return frozenset(("recs", name) for name in self.named)

    async def measure(self, gates: list[Gate], plan: Plan, candidate: Arm, baseline: Arm) -> Measurement:
        self.read.append(plan)
        return Measurement(min(plan.starts.values()), plan.end, {})


def _rollout(name: str, interval: str = "2s") -> Rollout:
    metadata = {"namespace": "recs", "name": name, "uid": name, "resourceVersion": "1"}
    said = spec(gates=[ERRORS, LATENCY, CTR], evaluation={"interval": interval})
    return Rollout.parse({"metadata": metadata | {"creationTimestamp": "2026-11-21T02:00:00Z"}, "spec": said})


def _seen(rollout: Rollout, **change: Any) -> Input:
    seen = stepping(10).observe()
    return replace(seen, spec=rollout.spec, status=seen.status.model_copy(update=change))


def _lookout(source: _Source, woken: list[Key]) -> Lookout:
    def arm(rollout: Rollout, revision: str) -> Arm:
        return Arm(revision, rollout.namespace, f"{rollout.name}-{revision}", 80, {})

    return Lookout(0.05, source=lambda _: cast(Any, source), arm=arm, wake=woken.append)


async def test_detail_13_the_middle_of_an_interval_is_watched_and_who_is_named_is_read() -> None:
    source, woken = _Source("bad"), list[Key]()
    lookout = _lookout(source, woken)
    bad, good = _rollout("bad"), _rollout("good")
    for one in (bad, good):
        lookout.keep(one, _seen(one))
    await asyncio.sleep(2.2)
    assert source.asked[0][1] == [bad.key, good.key], "all in one question"
    assert {at.timestamp() % 2.0 for at, _ in source.asked} == {1.0}, "looks are at even seconds"
    plan = source.read[0]
    assert (plan.end - plan.starts["errors"], plan.step) == (timedelta(seconds=2), timedelta(seconds=1))
    assert set(plan.starts) == {"errors"}, "no other gate knows catastrophes"
    assert set(woken) == {bad.key}
    assert lookout.take(good.key) is None
    assert lookout.take(bad.key) is not None
    assert lookout.take(bad.key) is None, "once"
    lookout.close()


async def test_nobody_is_asked_about_who_has_no_traffic() -> None:
    source, woken = _Source("one"), list[Key]()
    lookout = _lookout(source, woken)
    one, quick = _rollout("one"), _rollout("quick", "1s")
    lookout.keep(one, _seen(one))
    lookout.keep(one, _seen(one, weight=0))
    lookout.keep(quick, _seen(quick))
    await asyncio.sleep(2.2)
    assert source.asked == []
    lookout.close()


async def test_what_was_read_of_another_candidate_is_not_told() -> None:
    source, woken = _Source("one"), list[Key]()
    lookout = _lookout(source, woken)
    one = _rollout("one")
    lookout.keep(one, _seen(one))
    await asyncio.sleep(2.2)
    assert woken
    seen = _seen(one)
    assert seen.status.candidate is not None
    lookout.keep(one, _seen(one, candidate=seen.status.candidate.model_copy(update={"revision": "0000000000"})))
    assert lookout.take(one.key) is None
    lookout.close()


async def test_a_source_that_breaks_ends_nothing() -> None:
    class Broken(_Source):
        async def alarms(self, watched: Sequence[Watched], at: datetime, window: timedelta) -> frozenset[Key]:
            self.asked.append((at, []))
            raise RuntimeError("broken")

    source, woken = Broken(), list[Key]()
    lookout = _lookout(source, woken)
    one = _rollout("one")
    lookout.keep(one, _seen(one))
    await asyncio.sleep(4.5)
    assert len(source.asked) >= 2, "it is asked again"
    assert woken == []
    lookout.close()
