"""Details 25 and 42: the postman. Nobody waits for a receiver that is slow, dead or wrong; nobody is told too often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from modelrollout.api.incident import Delivery, DeliveryState, Link, RolloutIncidentSpec
from modelrollout.api.notifications import Notification
from modelrollout.api.objects import Rollout
from modelrollout.api.status import Notice
from modelrollout.engine.notices import message_id
from modelrollout.notify import line
from modelrollout.notify.base import DeliveryError, Message
from modelrollout.notify.directory import Addressee, Directory
from modelrollout.notify.outbox import Outbox
from tests.support.world import spec
from tests.unit.notify.messages import message

KEY = ("recs", "ranker")


@dataclass
class Somebody:
    """A receiver that does as it is told."""

    hears_the_end: bool = True
    repeats_every: float | None = None
    does: Callable[[int], DeliveryError | None] = lambda attempt: None
    hangs: bool = False
    got: list[Message] = field(default_factory=list)
    attempts: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, told: Message) -> str:
        self.attempts += 1
        if self.hangs:
            await self.release.wait()
        error = self.does(self.attempts)
        if error is not None:
            raise error
        self.got.append(told)
        return "https://tickets.example/1"


@dataclass
class Desk:
    """Records and events, in memory."""

    record: RolloutIncidentSpec | None = None
    deliveries: list[tuple[str, Delivery]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def incident(self, namespace: str, name: str) -> RolloutIncidentSpec | None:
        return self.record

    async def delivered(self, namespace: str, incident: str, receiver: str, delivery: Delivery) -> None:
        self.deliveries.append((receiver, delivery))

    async def complain(self, rollout: Rollout, text: str) -> None:
        self.complaints.append(text)

    def links(self, rollout: Rollout, notice: Notice) -> tuple[Link, ...]:
        return ()


@dataclass
class Book:
    """Who is told."""

    people: dict[str, Somebody]

    def addressees(self, rollout: Rollout, notice: Notice) -> list[Addressee]:
        hears = {name: one for name, one in self.people.items() if notice.over_at is None or one.hears_the_end}
        return [Addressee(name, name, one) for name, one in hears.items()]


def rollout(generation: int = 1, **changes: Any) -> Rollout:
    metadata = {"namespace": "recs", "name": "ranker", "uid": "1", "resourceVersion": "1", "generation": generation}
    return Rollout.parse(
        {"metadata": metadata | {"creationTimestamp": "2026-11-21T02:00:00Z"}, "spec": spec(**changes), "status": {}}
    )


def notice(**changes: Any) -> Notice:
    return message().notice.model_copy(update={"at": datetime.now(UTC), **changes})


class Office:
    """An outbox with its people and its desk."""

    def __init__(self, **people: Somebody) -> None:
        self.desk = Desk(record=message().incident)
        self.book = Book(people)
        self.woken: list[tuple[str, str]] = []
        self.outbox = Outbox(cast(Directory, self.book), self.desk, self.woken.append)

    async def until(self, check: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait for something to be so."""
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110 - what is waited for are plain lists of the fakes
                await asyncio.sleep(0.01)

    def done(self, one: Notice) -> bool:
        """Whether all were told."""
        told = self.outbox.told(KEY).get(message_id(one))
        return told is not None and told.done


@pytest.fixture(autouse=True)
async def quick(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Pauses of hundredths of seconds."""
    monkeypatch.setattr(line, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(line, "_LONGEST_PAUSE", 0.1)
    yield


async def test_detail_25_everybody_is_told_once_and_the_next_look_hears_of_it() -> None:
    one, two = Somebody(), Somebody()
    office = Office(one=one, two=two)
    told = notice()
    for _ in range(3):
        office.outbox.offer(rollout(), [told])
    await office.until(lambda: office.done(told))
    assert [len(one.got), len(two.got)] == [1, 1]
    assert KEY in office.woken
    assert {(name, delivery.state) for name, delivery in office.desk.deliveries} == {
        ("one", DeliveryState.TOLD),
        ("two", DeliveryState.TOLD),
    }
    assert office.desk.deliveries[0][1].reference == "https://tickets.example/1"


async def test_nobody_to_tell_is_done_at_once() -> None:
    office = Office()
    told = notice()
    office.outbox.offer(rollout(), [told])
    assert office.done(told)
    assert office.woken == [KEY]


async def test_detail_42_who_hangs_keeps_nobody_else_waiting() -> None:
    dead, well = Somebody(hangs=True), Somebody()
    office = Office(dead=dead, well=well)
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: well.got)
    assert not office.done(told)
    await asyncio.wait_for(office.outbox.close(), 1.0)


async def test_detail_42_a_dead_receiver_is_not_flooded() -> None:
    """Twenty messages wait; while it is down it is asked with one of them, after ever longer pauses."""
    down = Somebody(does=lambda attempt: DeliveryError("down") if attempt <= 6 else None)
    office = Office(down=down)
    notices = [notice(id=f"n{number}", incident="") for number in range(20)]
    began = asyncio.get_running_loop().time()
    office.outbox.offer(rollout(), notices)
    await office.until(lambda: down.attempts >= 6)
    assert asyncio.get_running_loop().time() - began > 0.1
    assert down.attempts == 6
    await office.until(lambda: all(office.done(one) for one in notices))
    assert sorted(one.id for one in down.got) == sorted(one.id for one in notices)


async def test_what_one_message_is_refused_does_not_hold_up_the_others() -> None:
    def picky(attempt: int) -> DeliveryError | None:
        return DeliveryError("400: bad", refused=True) if attempt == 1 else None

    office = Office(one=Somebody(does=picky))
    first, second = notice(id="first", incident=""), notice(id="second", incident="")
    office.outbox.offer(rollout(), [first, second])
    await office.until(lambda: office.done(first) and office.done(second))


async def test_the_most_urgent_is_told_first() -> None:
    one = Somebody()
    office = Office(one=one)
    notices = [notice(id=urgency, urgency=urgency, incident="") for urgency in ("chat", "ticket", "page")]
    office.outbox.offer(rollout(), notices)
    await office.until(lambda: len(one.got) == 3)
    assert [told.id for told in one.got] == ["page", "ticket", "chat"]


async def test_a_wrong_setting_is_told_at_once_and_once() -> None:
    office = Office(one=Somebody(does=lambda _: DeliveryError("host x is not allowed", settings=True)))
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: office.book.people["one"].attempts >= 3)
    assert office.desk.complaints == ["RolledBack is not told: one: host x is not allowed"]
    assert office.outbox.told(KEY)[told.id].problem == "one: host x is not allowed"
    assert [one.state for _, one in office.desk.deliveries] == [DeliveryState.TRYING]


async def test_after_a_day_it_is_given_up_with_an_event() -> None:
    office = Office(one=Somebody(does=lambda _: DeliveryError("down")))
    told = notice(at=datetime.now(UTC) - timedelta(hours=25))
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: office.done(told))
    assert office.desk.complaints == ["RolledBack is not told: given up after a day: one: down"]
    assert office.desk.deliveries[-1][1].state is DeliveryState.GIVEN_UP


async def test_a_corrected_spec_is_tried_anew_and_who_was_told_is_not_told_again() -> None:
    well, wrong = Somebody(), Somebody(does=lambda _: DeliveryError("wrong", settings=True))
    office = Office(well=well, wrong=wrong)
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: well.got and wrong.attempts)
    office.book.people = {"well": well, "right": (right := Somebody())}
    office.outbox.offer(rollout(generation=2), [told])
    await office.until(lambda: office.done(told))
    assert len(well.got) == len(right.got) == 1
    before = wrong.attempts
    await asyncio.sleep(0.15)
    assert wrong.attempts == before


async def test_one_that_is_corrected_while_it_is_sent_is_still_told() -> None:
    """The attempt under way belongs to the settings before; what it does must not cross out its successor."""
    slow = Somebody(hangs=True)
    office = Office(one=slow)
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: slow.attempts == 1)
    office.outbox.offer(rollout(generation=2), [told])
    slow.hangs = False
    slow.release.set()
    await office.until(lambda: office.done(told))


async def test_detail_25_a_message_waits_for_its_record_but_not_for_ever() -> None:
    one = Somebody()
    office = Office(one=one)
    office.desk.record = None
    fresh, old = notice(id="fresh"), notice(id="old", at=datetime.now(UTC) - timedelta(minutes=2))
    office.outbox.offer(rollout(), [fresh, old])
    await office.until(lambda: office.done(old))
    assert [told.id for told in one.got] == ["old"]
    office.desk.record = message().incident
    await office.until(lambda: office.done(fresh))
    assert one.got[-1].incident is not None


async def test_what_lasts_is_repeated_until_it_is_over() -> None:
    oncall, once = Somebody(repeats_every=0.02), Somebody()
    office = Office(oncall=oncall, once=once)
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: len(oncall.got) >= 4)
    assert len(once.got) == 1
    over = told.model_copy(update={"over_at": datetime.now(UTC)})
    office.outbox.offer(rollout(), [over])
    await office.until(lambda: office.done(over))
    assert oncall.got[-1].is_over
    count = len(oncall.got)
    await asyncio.sleep(0.1)
    assert len(oncall.got) == count


async def test_after_a_restart_what_was_told_is_only_repeated() -> None:
    oncall, once = Somebody(repeats_every=0.02), Somebody()
    office = Office(oncall=oncall, once=once)
    office.outbox.offer(rollout(), [notice(told=True)])
    await office.until(lambda: len(oncall.got) >= 2)
    assert not once.got


async def test_a_rollout_that_is_gone_ends_the_repeating_not_the_telling() -> None:
    oncall, late = Somebody(repeats_every=0.02), Somebody(does=lambda n: DeliveryError("down") if n < 4 else None)
    office = Office(oncall=oncall, late=late)
    office.outbox.offer(rollout(), [notice()])
    await office.until(lambda: oncall.got)
    office.outbox.forget(KEY)
    await office.until(lambda: late.got)
    count = len(oncall.got)
    await asyncio.sleep(0.1)
    assert len(oncall.got) == count


async def test_a_bug_in_a_notifier_stops_nothing() -> None:
    def buggy(attempt: int) -> DeliveryError | None:
        if attempt == 1:
            raise ZeroDivisionError
        return None

    office = Office(one=Somebody(does=buggy))
    told = notice()
    office.outbox.offer(rollout(), [told])
    await office.until(lambda: office.done(told))


async def test_a_page_about_a_route_that_cannot_be_written_is_told_once() -> None:
    one = Somebody()
    office = Office(one=one)
    page = notice(id="page", incident="", lasts=False)
    for _ in range(3):
        office.outbox.offer_unwritten(rollout(), page)
        office.outbox.offer(rollout(), [])
    await office.until(lambda: one.got)
    await asyncio.sleep(0.05)
    assert len(one.got) == 1


def test_a_rollout_names_its_people_in_one_way() -> None:
    entry = Notification.model_validate({"name": "a", "slack": {"secretRef": {"name": "s", "key": "url"}}})
    own = entry.own()
    assert own is not None
    assert own[0] == "slack"
    assert replace(rollout(), generation=3).generation == 3
