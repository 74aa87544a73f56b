"""Whose request goes next: in pure steps with any history, and with coroutines that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.kube.fairness import FairLine
from modelrollout.kube.limits import Lane, Limits, Ticket, Turnstile
from modelrollout.telemetry.meters import REGISTRY

_OTHERS = [lane for lane in Lane if lane is not Lane.LOWERING]
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from(_OTHERS), st.sampled_from("abc")),
        st.tuples(st.just("leave"), st.integers(0, 50), st.just("")),
        st.tuples(st.just("refused"), st.sampled_from(_OTHERS), st.just("")),
        st.tuples(st.just("pass"), st.integers(0, 3), st.just("")),
    ),
    max_size=80,
)


@given(steps=_STEPS, qps=st.sampled_from([1.0, 10.0, 400.0]), burst=st.sampled_from([2, 10, 800]))
def test_rule_14_everybody_gets_a_turn_in_the_end_and_never_too_many_at_once(
    steps: list[tuple[str, int, str]], qps: float, burst: int
) -> None:
    now, limits = 0.0, Limits(qps, burst, 0.0)
    waiting: list[Ticket] = []
    running: list[Ticket] = []
    admitted_at: list[float] = []

    def let_in() -> None:
        for ticket in limits.admit(now):
            assert ticket in waiting
            waiting.remove(ticket)
            running.append(ticket)
            admitted_at.append(now)

    for what, number, namespace in steps:
        match what:
            case "join":
                waiting.append(limits.join(Lane(number), namespace))
            case "leave" if number < len(running):
                limits.leave(running.pop(number))
            case "leave" if waiting:
                limits.leave(waiting.pop(number % len(waiting)))
            case "refused":
                limits.refused(Lane(number), 2.0, now)
            case "pass":
                now += number
        let_in()
        assert max(Counter(ticket.lane for ticket in running).values(), default=0) <= 24
        assert max(Counter((ticket.lane, ticket.namespace) for ticket in running).values(), default=0) <= 12
        assert len(admitted_at) <= burst + qps * now + 0.01
    for _ in range(10_000):
        if not waiting:
            break
        while running:
            limits.leave(running.pop())
        let_in()
        later = limits.next_at(now)
        if not running and waiting:
            assert later is not None
            assert later > now, "nobody goes now, so time must help"
            now = later
    assert not waiting


def test_rule_14_the_lanes_go_in_order_and_namespaces_in_turn() -> None:
    limits = Limits(qps=1.0, burst=8, now=0.0)
    for lane in reversed(_OTHERS):
        for namespace in ("big", "big", "big", "small"):
            limits.join(lane, namespace)
    assert [(one.lane, one.namespace) for one in limits.admit(0.0)] == [
        (Lane.WORK, "big"),
        (Lane.WORK, "small"),
        (Lane.WORK, "big"),
        (Lane.WORK, "big"),
        (Lane.STATUS, "big"),
        (Lane.STATUS, "small"),
        (Lane.STATUS, "big"),
        (Lane.STATUS, "big"),
    ]
    assert limits.admit(2.5) == [], "mere numbers leave a quarter of the bucket to the others"
    assert [one.lane for one in limits.admit(3.0)] == [Lane.NUMBERS]


def test_rule_14_who_is_told_to_stay_away_does_and_comes_back() -> None:
    limits = Limits(qps=400.0, burst=800, now=0.0)
    limits.refused(Lane.EVENTS, 5.0, now=1.0)
    assert limits.rate == 200.0
    limits.refused(Lane.EVENTS, 2.0, now=1.5)
    assert limits.rate > 200.0, "many answers of one moment halve it once"
    limits.join(Lane.EVENTS, "a")
    limits.join(Lane.WORK, "a")
    assert [one.lane for one in limits.admit(2.0)] == [Lane.WORK]
    assert limits.next_at(2.0) == 6.0
    assert [one.lane for one in limits.admit(6.0)] == [Lane.EVENTS]
    limits.admit(40.0)
    assert limits.rate == 400.0


async def test_rule_14_a_lowering_never_waits_whoever_else_does() -> None:
    turnstile = Turnstile(qps=0.001, burst=2)
    stuck = [asyncio.create_task(_hold(turnstile, lane)) for lane in _OTHERS for _ in range(50)]
    await asyncio.sleep(0)
    for _ in range(100):
        async with asyncio.timeout(1), turnstile.turn(Lane.LOWERING, "a"):
            pass
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def _hold(turnstile: Turnstile, lane: Lane) -> None:
    async with turnstile.turn(lane, "a"):
        await asyncio.sleep(1000)


async def test_rule_14_who_gives_up_frees_the_place() -> None:
    turnstile = Turnstile()
    stuck = [asyncio.create_task(_hold(turnstile, Lane.NUMBERS)) for _ in range(50)]
    await asyncio.sleep(0)
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    async with asyncio.timeout(1), turnstile.turn(Lane.NUMBERS, "a"):
        pass


async def test_rule_14_the_rate_is_kept() -> None:
    turnstile, loop = Turnstile(qps=100.0, burst=5), asyncio.get_running_loop()
    begun = loop.time()
    for _ in range(15):
        async with turnstile.turn(Lane.WORK, "a"):
            pass
    assert loop.time() - begun >= 0.09


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20)), max_size=40))
def test_a_line_gives_back_what_was_put_in_once_and_in_order(items: list[tuple[str, int]]) -> None:
    line: FairLine[tuple[str, int]] = FairLine()
    for item in items:
        line.add(item[0], item)
    if items:
        assert line.discard(items[-1][0], items[-1])
        assert not line.discard(items[-1][0], items[-1])
    left = list(dict.fromkeys(item for item in items if item != items[-1]))
    found = []
    while line:
        first = line.pop()
        assert first is not None
        found.append(first)
    assert line.pop() is None
    assert sorted(found) == sorted(left)
    for namespace in "abc":
        assert [one for one in found if one[0] == namespace] == [one for one in left if one[0] == namespace]
    ahead = Counter(one[0] for one in found[:3])
    assert len(ahead) == min(3, len({one[0] for one in left}))


@pytest.mark.parametrize("lane", list(Lane))
async def test_an_error_in_a_turn_passes_through(lane: Lane) -> None:
    turnstile = Turnstile()
    with contextlib.suppress(KeyError):
        async with turnstile.turn(lane, "a"):
            raise KeyError
    async with asyncio.timeout(1), turnstile.turn(lane, "a"):
        pass


def _waited(lane: str, part: str) -> float:
    return REGISTRY.get_sample_value(f"modelrollout_api_wait_seconds_{part}", {"lane": lane}) or 0.0


async def test_how_long_requests_wait_for_each_other_is_seen() -> None:
    count, total = _waited("work", "count"), _waited("work", "sum")
    turnstile = Turnstile()
    async with turnstile.turn(Lane.WORK, "a"), turnstile.turn(Lane.LOWERING, "a"):
        pass
    assert _waited("work", "count") == count + 1
    turnstile.refused(Lane.WORK, 0.2)
    async with turnstile.turn(Lane.WORK, "a"):
        pass
    assert _waited("work", "sum") - total >= 0.15
