"""The postman: takes notices from statuses to receivers, in the background, and says when everybody was told.

A reconcile only ever puts notices here and asks what became of earlier ones; it never waits. Everything here is memory:
what a crash takes is in status still, and is put here again by the next look at that rollout.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from modelrollout.api.incident import Delivery, DeliveryState, Link, RolloutIncidentSpec
from modelrollout.api.objects import Rollout
from modelrollout.api.status import Notice
from modelrollout.engine.model import Told
from modelrollout.engine.notices import message_id
from modelrollout.notify.base import DeliveryError, Message
from modelrollout.notify.directory import Addressee, Directory
from modelrollout.notify.line import Job, Line, Outcome

__all__ = ["Desk", "Outbox"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]
_REMEMBERED: Final = 256
_RECORD_WITHIN: Final = timedelta(seconds=60)
"""For so long a message waits for the record of its incident; then it is told without."""


class Desk(Protocol):
    """What the outbox needs from whoever owns it."""

    async def incident(self, namespace: str, name: str) -> RolloutIncidentSpec | None:
        """The record of an incident; None when it is not there."""
        ...

    async def delivered(self, namespace: str, incident: str, receiver: str, delivery: Delivery) -> None:
        """Note on the record what became of telling a receiver."""
        ...

    async def complain(self, rollout: Rollout, message: str) -> None:
        """Tell the rollout's people that somebody could not be told."""
        ...

    def links(self, rollout: Rollout, notice: Notice) -> tuple[Link, ...]:
        """Where to look further."""
        ...


@dataclass(slots=True)
class _Round:
    """One message and all who are told of it."""

    rollout: Rollout
    notice: Notice
    pending: dict[str, str] = field(default_factory=dict)
    """Who was not told yet: label by line."""
    labels: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    message: Message | None = None


class Outbox:
    """See the module."""

    def __init__(self, directory: Directory, desk: Desk, wake: Callable[[Key], None]) -> None:
        self._directory = directory
        self._desk = desk
        self._wake = wake
        self._lines: dict[str, Line] = {}
        self._rounds: dict[Key, dict[str, _Round]] = {}
        self._unwritten: OrderedDict[str, _Round] = OrderedDict()

    def offer(self, rollout: Rollout, notices: list[Notice]) -> None:
        """Begin to tell what is new, and forget what is not in the outbox of the status any more."""
        rounds = self._rounds.setdefault(rollout.key, {})
        current = {message_id(notice): notice for notice in notices}
        for gone in rounds.keys() - current.keys():
            self._end(rounds, gone)
        for mid, notice in current.items():
            known = rounds.get(mid)
            if known is None:
                rounds[mid] = self._begin(rollout, notice, mid, told=frozenset())
            elif known.pending and known.rollout.generation != rollout.generation:
                # Perhaps what was wrong was corrected; who was told already is not told again.
                self._stop(known, mid)
                rounds[mid] = self._begin(rollout, notice, mid, told=known.labels.keys() - known.pending.keys())
        if not rounds:
            del self._rounds[rollout.key]

    def offer_unwritten(self, rollout: Rollout, notice: Notice) -> None:
        """Tell what could not be written to a status: once, as far as this process remembers."""
        if notice.id not in self._unwritten:
            self._unwritten[notice.id] = self._begin(rollout, notice, notice.id, told=frozenset())
        while len(self._unwritten) > _REMEMBERED:
            self._unwritten.popitem(last=False)

    def told(self, key: Key) -> dict[str, Told]:
        """What became of the messages about a rollout."""
        return {
            mid: Told(done=not one.pending, problem="; ".join(sorted(one.problems.values())))
            for mid, one in self._rounds.get(key, {}).items()
        }

    def forget(self, key: Key) -> None:
        """The rollout is gone: nothing is repeated any more; what waits is told all the same."""
        rounds = self._rounds.pop(key, {})
        for mid in list(rounds):
            self._end(rounds, mid)

    @property
    def waiting(self) -> int:
        """How many messages wait for a receiver, or are repeated to one."""
        return sum(line.waiting for line in self._lines.values())

    async def close(self) -> None:
        """Stop every line."""
        for line in self._lines.values():
            await line.close()

    def _begin(self, rollout: Rollout, notice: Notice, mid: str, *, told: Set[str]) -> _Round:
        """Queue it for everybody who is told; after a restart what was told already is only repeated."""
        begun = _Round(rollout, notice)
        for one in self._directory.addressees(rollout, notice):
            repeats = one.receiver.repeats_every is not None and notice.lasts and notice.over_at is None
            begun.labels[one.line] = one.label
            untold = not notice.told and one.line not in told
            if untold:
                begun.pending[one.line] = one.label
            if repeats or untold:
                self._line(one).put(
                    Job(
                        id=mid,
                        urgency=notice.urgency,
                        since=notice.over_at or notice.at,
                        compose=self._composer(begun, mid),
                        repeats=repeats,
                        settle=self._settler(begun, one.line),
                    )
                )
        if not begun.pending and not notice.told:
            self._wake(rollout.key)
        return begun

    def _line(self, addressee: Addressee) -> Line:
        self._lines = {name: line for name, line in self._lines.items() if line.waiting or name == addressee.line}
        known = self._lines.get(addressee.line)
        if known is None:
            known = self._lines[addressee.line] = Line(addressee.label, addressee.receiver)
        return known

    def _end(self, rounds: dict[str, _Round], mid: str) -> None:
        """Repeat it no more; who was not told yet is told all the same."""
        ended = rounds.pop(mid)
        for name in ended.labels.keys() - ended.pending.keys():
            if name in self._lines:
                self._lines[name].cancel(mid)

    def _stop(self, one: _Round, mid: str) -> None:
        for name in one.labels:
            if name in self._lines:
                self._lines[name].cancel(mid)

    def _composer(self, one: _Round, mid: str) -> Callable[[], Awaitable[Message]]:
        async def compose() -> Message:
            if one.message is None:
                one.message = await self._compose(one, mid)
            return one.message

        return compose

    async def _compose(self, one: _Round, mid: str) -> Message:
        rollout, notice = one.rollout, one.notice
        incident = None
        if notice.incident:
            incident = await self._desk.incident(rollout.namespace, notice.incident)
            if incident is None and datetime.now(UTC) - notice.at < _RECORD_WITHIN:
                raise DeliveryError("the record of the incident is not written yet", refused=True)
        stable = rollout.status.stable.version if rollout.status.stable else ""
        where = f"{rollout.name} -n {rollout.namespace}"
        return Message(
            id=mid,
            notice=notice,
            namespace=rollout.namespace,
            name=rollout.name,
            stable=incident.stable_version if incident is not None else stable,
            incident=incident,
            links=self._desk.links(rollout, notice),
            commands=tuple(incident.commands) if incident is not None else (f"kubectl modelrollout status {where}",),
        )

    def _settler(self, one: _Round, line: str) -> Callable[[Outcome], Awaitable[None]]:
        async def settle(outcome: Outcome) -> None:
            if line in one.pending:
                await self._settle(one, line, outcome)

        return settle

    async def _settle(self, one: _Round, line: str, outcome: Outcome) -> None:
        """Take note of an attempt; people hear of a problem once, and of a message that is given up."""
        label = one.labels[line]
        problem = f"{label}: {outcome.problem}" if outcome.problem else ""
        new = problem != one.problems.get(line, "")
        if outcome.done:
            del one.pending[line]
        if problem:
            one.problems[line] = problem
        else:
            one.problems.pop(line, None)
        if problem and (outcome.done or (new and outcome.settings)):
            text = f"given up after a day: {problem}" if outcome.done else problem
            await self._desk.complain(one.rollout, f"{one.notice.reason} is not told: {text}")
        if one.notice.incident and (outcome.done or new):
            ended = DeliveryState.GIVEN_UP if problem else DeliveryState.TOLD
            delivery = Delivery(
                state=ended if outcome.done else DeliveryState.TRYING,
                attempts=outcome.attempts,
                reference=outcome.reference[:2048],
                message=outcome.problem[:1024],
                at=datetime.now(UTC),
            )
            await self._desk.delivered(one.rollout.namespace, one.notice.incident, label, delivery)
        if outcome.done or new:
            self._wake(one.rollout.key)
