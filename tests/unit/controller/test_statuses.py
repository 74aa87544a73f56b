"""How often status is written: a change at once, numbers once a minute, beside the looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from modelrollout.api.enums import Phase, Verdict
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.controller.statuses import Statuses, next_minute
from modelrollout.kube.client import ConflictError
from tests.support.world import spec

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class _Hands:
    """Notes what is written; numbers arrive when ``slow`` is set, and are refused while ``refuses``."""

    def __init__(self) -> None:
        self.changes: list[ModelRolloutStatus] = []
        self.numbers: list[ModelRolloutStatus] = []
        self.slow = asyncio.Event()
        self.slow.set()
        self.refuses = False

    async def write_status(self, _: Rollout, status: ModelRolloutStatus) -> None:
        self.changes.append(status)

    async def write_numbers(self, _: Rollout, status: ModelRolloutStatus) -> None:
        await self.slow.wait()
        if self.refuses:
            raise ConflictError(422, "testing path /metadata/resourceVersion value failed")
        self.numbers.append(status)


def _rollout(uid: str = "1") -> Rollout:
    metadata = {"namespace": "recs", "name": "ranker", "uid": uid, "resourceVersion": "1"}
    return Rollout.parse({"metadata": metadata | {"creationTimestamp": "2026-11-21T02:00:00Z"}, "spec": spec()})


def _status(second: int, phase: Phase = Phase.PROGRESSING) -> ModelRolloutStatus:
    return ModelRolloutStatus(phase=phase, evaluated_at=NOW + timedelta(seconds=second))


async def test_detail_29_numbers_are_written_once_a_minute_and_a_change_at_once() -> None:
    hands, rollout = _Hands(), _rollout()
    statuses = Statuses(cast(Any, hands))
    for second in range(0, 600, 2):
        phase = Phase.PAUSED if second >= 300 else Phase.PROGRESSING
        await statuses.keep(rollout, _status(second, phase), NOW + timedelta(seconds=second))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [status.phase for status in hands.changes] == [Phase.PROGRESSING, Phase.PAUSED]
    assert 8 <= len(hands.numbers) <= 10


async def test_detail_29_after_a_start_nothing_is_written_that_is_there_already() -> None:
    """A thousand statuses that were written at a restart would stand in the way of what is urgent."""
    hands, found = _Hands(), _status(0)
    rollout = replace(_rollout(), status=found)
    statuses = Statuses(cast(Any, hands))
    await statuses.keep(rollout, found.model_copy(update={"evaluated_at": NOW + timedelta(seconds=9)}), NOW)
    await asyncio.sleep(0)
    assert not hands.changes
    assert not hands.numbers
    wait = statuses.seconds_until_due(rollout, _status(9), NOW)
    assert wait is not None
    assert 10 <= wait <= 70


async def test_detail_29_numbers_that_come_late_or_not_at_all_hinder_nothing() -> None:
    hands, rollout = _Hands(), _rollout()
    statuses = Statuses(cast(Any, hands))
    await statuses.keep(rollout, _status(0), NOW)
    hands.slow.clear()
    hands.refuses = True
    later = NOW + timedelta(seconds=95)
    await statuses.keep(rollout, _status(95), later)
    assert statuses.seconds_until_due(rollout, _status(97), later) is None, "one write at a time"
    await statuses.keep(rollout, _status(97, Phase.PAUSED), later + timedelta(seconds=2))
    assert len(hands.changes) == 2, "a change does not wait for the numbers"
    hands.slow.set()
    await asyncio.sleep(0.01)
    assert statuses.seconds_until_due(rollout, _status(97, Phase.PAUSED), later) is None, "the change brought them"
    hands.slow.clear()
    much_later = later + timedelta(seconds=95)
    await statuses.keep(rollout, _status(190, Phase.PAUSED), much_later)
    hands.slow.set()
    await asyncio.sleep(0.01)
    wait = statuses.seconds_until_due(rollout, _status(192, Phase.PAUSED), much_later)
    assert wait is not None, "refused numbers are written another time"
    assert wait >= 10


@given(st.text(max_size=40), st.floats(0, 10_000))
def test_detail_29_the_minute_of_a_rollout_comes_once_a_minute(uid: str, second: float) -> None:
    written = NOW + timedelta(seconds=second)
    first = next_minute(uid, written)
    assert timedelta(seconds=10) <= first - written <= timedelta(seconds=70)
    following = next_minute(uid, first)
    assert abs(following - first - timedelta(seconds=60)) < timedelta(milliseconds=1)


def test_detail_29_the_minutes_of_many_rollouts_are_spread() -> None:
    seconds = Counter(next_minute(f"{number}-4f1c-9a7e", NOW).second for number in range(1000))
    assert len(seconds) == 60
    assert max(seconds.values()) < 45


async def _written(seconds: int, said: Callable[[int], ModelRolloutStatus]) -> list[tuple[float, ModelRolloutStatus]]:
    """What is written of a status that is looked at ten times a second, and when; ``said`` gets the tenth."""
    hands, rollout, found = _Hands(), _rollout(), list[tuple[float, ModelRolloutStatus]]()
    statuses = Statuses(cast(Any, hands))
    for tenth in range(10 * seconds):
        status, now = said(tenth), NOW + timedelta(seconds=tenth / 10)
        if await statuses.keep(rollout, status, now):
            found.append((tenth / 10, status))
        await asyncio.sleep(0)
    return found


async def test_detail_29_words_that_change_again_at_once_are_not_written() -> None:
    def said(tenth: int) -> ModelRolloutStatus:
        return _status(0).model_copy(update={"message": "abcdefghij"[min(tenth // 3, 9)]})

    assert [(at, one.message) for at, one in await _written(9, said)] == [(0.0, "a"), (4.7, "j")]


async def test_detail_29_words_that_never_stay_are_written_now_and_then() -> None:
    def said(tenth: int) -> ModelRolloutStatus:
        return _status(0).model_copy(update={"message": chr(ord("a") + tenth // 10)})

    assert [at for at, _ in await _written(20, said)] == [0.0, 7.0, 14.0]


async def test_detail_29_a_verdict_that_all_is_well_may_take_ten_seconds() -> None:
    """And brings no write of its own when it comes and goes."""

    def said(tenth: int) -> ModelRolloutStatus:
        verdict = Verdict.TOO_EARLY if tenth < 50 or 80 <= tenth < 100 else Verdict.NO_HARM_SEEN
        return _status(0).model_copy(update={"gates": [GateStatus(name="errors", verdict=verdict)]})

    assert [at for at, _ in await _written(30, said)] == [0.0, 20.0]


async def test_detail_29_a_breach_that_only_warns_is_written_when_it_lasts() -> None:
    def said(tenth: int) -> ModelRolloutStatus:
        verdict = Verdict.NO_HARM_SEEN if tenth < 50 else Verdict.BREACHED
        return _status(0).model_copy(update={"gates": [GateStatus(name="errors", verdict=verdict)]})

    assert [at for at, _ in await _written(12, said)] == [0.0, 7.0]
