"""Asking once for many: what all rollouts want to know of one instant goes to Prometheus as one query.

Rollouts read at aligned instants, so those that come due together want the same. Their questions are collected for a
moment and asked as one ``or`` of all series of all their namespaces; each namespace is handed its own rows alone. Who
asked lately is asked for too, so that a rollout that comes a second later finds its answer waiting; and the reading at
the end of one interval is the reading at the start of the next. The number of requests therefore does not grow with
the number of rollouts that share definitions, only with the caps below.

An instant shows what is there; a range also what was there in the last minutes and is gone. Prometheus reads every
sample of those minutes for that, so whoever reads two instants asks for it only where they differ in what is there.

A question that fails, fails for all who asked it, and is not remembered. A query that Prometheus refuses, or that is
too much for it, is halved until the part that is wrong stands alone; from then on that is asked apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from modelrollout.metrics.answers import Question, SeriesBook, read_answer
from modelrollout.metrics.client import Client, NotYetError, RefusedQueryError, SourceDownError
from modelrollout.metrics.snapshot import Snapshot, Unit

__all__ = ["QUERY_CHARACTERS", "Batch", "given"]

_WINDOW_SECONDS: Final = 0.01
"""How long questions are collected: much shorter than any interval, longer than rollouts take that wake together."""
QUERY_CHARACTERS: Final = 32_000
"""Thanos and Mimir log whole queries, and their frontends are given lines of some 64 KiB."""
_NAMESPACES: Final = 100
"""So many names stand in one matcher."""
_ROWS: Final = 50_000
"""About 20 MB of JSON, a second of Prometheus' time; far below its own limit of 50 million samples."""
_ROWS_GUESSED: Final = 50
"""Of a unit in a namespace that was never read."""
_POINTS: Final = 1_000
"""Instants in one range query; Prometheus refuses more than 11,000 for a series."""
_KEPT_SECONDS: Final = 15.0
"""An answer is kept for a step, at whose end it is the start of the next, and as long as this for who comes late."""
_KEPT_STEPS: Final = 4
"""But no longer than so many steps: a thousand rollouts at 2 s would fill the memory with answers."""
_KEPT_FOR_OTHERS_SECONDS: Final = 1.0
"""Looks at the same instants are over by then."""
_TIDY_SECONDS: Final = 5.0
_ASKED_APART_SECONDS: Final = 600.0
_PAGE_SECONDS: Final = 300.0
"""Series that nobody met for so long are forgotten; longer than nearly any interval."""
_NO_STEP: Final = timedelta(0)

_Piece = tuple[Unit, tuple[str, ...]]


class _Moment(NamedTuple):
    """One instant (``start`` is ``end``), or every ``step`` from ``start`` to ``end``."""

    start: datetime
    end: datetime
    step: timedelta = _NO_STEP

    @property
    def many(self) -> bool:
        """Whether it is a range."""
        return bool(self.step)

    @property
    def points(self) -> int:
        """How many instants."""
        return 1 + ((self.end - self.start) // self.step if self.step else 0)

    def chunks(self) -> Iterator[_Moment]:
        """In parts that one request may ask for."""
        for first in range(0, self.points, _POINTS):
            last = min(first + _POINTS, self.points) - 1
            yield _Moment(self.start + first * self.step, self.start + last * self.step, self.step)


_Key = tuple[Unit, str, _Moment]
_Answer = asyncio.Future[list[Snapshot]]


class Batch:
    """Collects questions and answers them; see the module."""

    def __init__(self, client: Client, *, window: float = _WINDOW_SECONDS) -> None:
        self._client = client
        self._window = window
        self._answers: dict[_Key, tuple[float, _Answer]] = {}
        self._pending: dict[_Moment, dict[Unit, set[str]]] = {}
        self._asked_lately: dict[tuple[Unit, timedelta], dict[str, datetime]] = {}
        self._sizes: dict[tuple[Unit, str], int] = {}
        self._refused: dict[Unit, float] = {}
        self._book = SeriesBook()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_at: asyncio.TimerHandle | None = None
        self._tidied = self._turned = 0.0

    async def close(self) -> None:
        """Give up what is under way."""
        if self._flush_at is not None:
            self._flush_at.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def at(self, unit: Unit, namespace: str, at: datetime, step: timedelta) -> Snapshot:
        """What a namespace shows at an instant. ``step``: how long until the next one is asked for.

        Raises
        ------
        SourceDownError, RefusedQueryError, NotYetError
        """
        return (await given(self.ask(unit, namespace, at, step)))[0]

    def ask(self, unit: Unit, namespace: str, at: datetime, step: timedelta) -> _Answer:
        """The same question, of which nobody has to wait for the answer."""
        lately = self._asked_lately.setdefault((unit, step), {})
        if namespace not in lately or lately[namespace] < at:
            lately[namespace] = at
        return self._ask((unit, namespace, _Moment(at, at)), _kept(step))

    async def over(self, unit: Unit, namespace: str, start: datetime, end: datetime, step: timedelta) -> list[Snapshot]:
        """The same every ``step`` from ``start`` to ``end``; fewer when Prometheus' clock is not that far yet.

        Raises
        ------
        SourceDownError, RefusedQueryError, NotYetError
        """
        return await given(self._ask((unit, namespace, _Moment(start, end, step)), self._window))

    async def both(self, unit: Unit, namespace: str, start: datetime, end: datetime) -> list[Snapshot]:
        """The same at two instants, with what is gone; kept for a moment for others who find that they need it.

        Raises
        ------
        SourceDownError, RefusedQueryError, NotYetError
        """
        return await given(self._ask((unit, namespace, _Moment(start, end, end - start)), _KEPT_FOR_OTHERS_SECONDS))

    async def past(
        self, unit: Unit, namespace: str, start: datetime, end: datetime, step: timedelta
    ) -> AsyncIterator[Snapshot]:
        """The same for a question that nobody shares, a part at a time, so that a day need not fit into memory.

        Raises
        ------
        SourceDownError, RefusedQueryError, NotYetError
        """
        for part in _Moment(start, end, step).chunks():
            found = await self._fetch_part(part, [(unit, (namespace,))], patient=True)
            for snapshot in found[unit, namespace]:
                yield snapshot

    def _ask(self, key: _Key, kept: float) -> _Answer:
        known = self._answers.get(key)
        if known is not None:
            return known[1]
        answer = self._expect(key, kept)
        if self._flush_at is None:
            self._flush_at = asyncio.get_running_loop().call_later(self._window, self._flush)
        return answer

    def _expect(self, key: _Key, kept: float) -> _Answer:
        loop = asyncio.get_running_loop()
        answer: _Answer = loop.create_future()
        answer.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # nobody may be waiting
        self._answers[key] = (loop.time() + kept, answer)
        unit, namespace, moment = key
        self._pending.setdefault(moment, {}).setdefault(unit, set()).add(namespace)
        return answer

    def _flush(self) -> None:
        self._flush_at = None
        self._expect_the_usual()
        pending, self._pending = self._pending, {}
        for moment, wanted in pending.items():
            for pieces in self._packed(moment, wanted):
                task = asyncio.ensure_future(self._answer(moment, pieces))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self._tidy()

    def _expect_the_usual(self) -> None:
        """Ask for all namespaces that asked for the same lately."""
        for moment, wanted in list(self._pending.items()):
            if moment.step:
                continue
            for (unit, step), namespaces in self._asked_lately.items():
                if unit not in wanted or wanted[unit].isdisjoint(namespaces):
                    continue
                for namespace, last in namespaces.items():
                    usual = last <= moment.end <= last + 2 * step
                    if usual and (unit, namespace, moment) not in self._answers:
                        self._expect((unit, namespace, moment), _kept(step))

    def _tidy(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._tidied < _TIDY_SECONDS:
            return
        self._tidied = now
        if now - self._turned >= _PAGE_SECONDS:
            self._turned = now
            self._book.turn()
        old = [key for key, (until, answer) in self._answers.items() if until < now and answer.done()]
        for key in old:
            del self._answers[key]
        self._refused = {unit: until for unit, until in self._refused.items() if until > now}
        newest = max((moment.end for _, _, moment in self._answers), default=None)
        for (unit, step), namespaces in list(self._asked_lately.items()):
            kept = {one: at for one, at in namespaces.items() if newest is None or at + 4 * step >= newest}
            if kept:
                self._asked_lately[unit, step] = kept
            else:
                del self._asked_lately[unit, step]
        in_use = {(unit, one) for (unit, _), namespaces in self._asked_lately.items() for one in namespaces}
        self._sizes = {key: size for key, size in self._sizes.items() if key in in_use}

    def _packed(self, moment: _Moment, wanted: Mapping[Unit, set[str]]) -> Iterator[list[_Piece]]:
        """Questions in as few requests as the caps allow. A unit's wants are never parted."""
        room, characters = max(1, _ROWS // min(moment.points, _POINTS)), 0
        pieces: list[_Piece] = []
        rows = 0
        for unit, namespaces, size in self._sliced(wanted, room):
            length = sum(len(text) + 50 for want in unit for _, text in want.expressions(namespaces, gone=moment.many))
            if unit in self._refused:
                yield [(unit, namespaces)]
                continue
            full = characters + length > QUERY_CHARACTERS or rows + size > room
            if pieces and (full or pieces[-1][0] == unit):
                yield pieces
                pieces, characters, rows = [], 0, 0
            pieces.append((unit, namespaces))
            characters, rows = characters + length, rows + size
        if pieces:
            yield pieces

    def _sliced(self, wanted: Mapping[Unit, set[str]], room: int) -> Iterator[tuple[Unit, tuple[str, ...], int]]:
        for unit, namespaces in wanted.items():
            some: list[str] = []
            rows = 0
            for one in sorted(namespaces):
                size = self._sizes.get((unit, one), _ROWS_GUESSED)
                if some and (len(some) >= _NAMESPACES or rows + size > room):
                    yield unit, tuple(some), rows
                    some, rows = [], 0
                some.append(one)
                rows += size
            yield unit, tuple(some), rows

    async def _answer(self, moment: _Moment, pieces: Sequence[_Piece]) -> None:
        try:
            found = await self._fetch(moment, pieces)
        except (RefusedQueryError, SourceDownError) as error:
            parts = _halves(pieces, error)
            if parts:
                await asyncio.gather(*(self._answer(moment, part) for part in parts))
                return
            if isinstance(error, RefusedQueryError) or error.splittable:
                until = asyncio.get_running_loop().time() + _ASKED_APART_SECONDS
                self._refused.update((unit, until) for unit, _ in pieces)
            self._fail(moment, pieces, error)
        except BaseException as error:
            lost = SourceDownError("the question was given up") if isinstance(error, asyncio.CancelledError) else error
            self._fail(moment, pieces, lost)
            if not isinstance(error, Exception):
                raise
        else:
            for (unit, namespace), snapshots in found.items():
                self._refused.pop(unit, None)
                self._sizes[unit, namespace] = snapshots[-1].size
                self._settle((unit, namespace, moment), snapshots)

    def _settle(self, key: _Key, snapshots: list[Snapshot]) -> None:
        answer = self._answers[key][1]
        if not answer.done():
            answer.set_result(snapshots)

    def _fail(self, moment: _Moment, pieces: Sequence[_Piece], error: BaseException) -> None:
        for unit, namespaces in pieces:
            for namespace in namespaces:
                known = self._answers.pop((unit, namespace, moment), None)
                if known is not None and not known[1].done():
                    known[1].set_exception(error)

    async def _fetch(self, moment: _Moment, pieces: Sequence[_Piece]) -> dict[tuple[Unit, str], list[Snapshot]]:
        found: dict[tuple[Unit, str], list[Snapshot]] = {}
        for part in moment.chunks():
            try:
                more = await self._fetch_part(part, pieces)
            except NotYetError:
                if found:
                    break
                raise
            for key, snapshots in more.items():
                found.setdefault(key, []).extend(snapshots)
        return found

    async def _fetch_part(
        self, moment: _Moment, pieces: Sequence[_Piece], *, patient: bool = False
    ) -> dict[tuple[Unit, str], list[Snapshot]]:
        question = Question(pieces, gone=moment.many)
        if moment.step:
            answer = await self._client.range(question.promql, moment.start, moment.end, moment.step, patient=patient)
        else:
            answer = await self._client.instant(question.promql, moment.end)
        instants = [moment.start + i * moment.step for i in range(moment.points)]
        final = [at for at in instants if answer.clock is None or at <= answer.clock]
        if not final:
            assert answer.clock is not None
            raise NotYetError((moment.end - answer.clock).total_seconds())
        try:
            return read_answer(question, answer.result, final, moment.step, self._book)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise SourceDownError(
                f"Prometheus at {self._client.url} gave an answer of another kind: {error!r}"
            ) from error


@lru_cache(maxsize=64)
def _kept(step: timedelta) -> float:
    """Seconds for which an answer is kept: until the next, and a while for who comes late."""
    seconds = step.total_seconds()
    return seconds + min(_KEPT_SECONDS, _KEPT_STEPS * seconds)


async def given(answer: _Answer) -> list[Snapshot]:
    """The answer; whoever is cancelled while waiting takes it from nobody else."""
    return answer.result() if answer.done() else await asyncio.shield(answer)


def _halves(pieces: Sequence[_Piece], error: RefusedQueryError | SourceDownError) -> list[list[_Piece]]:
    """What to ask apart after a failure; nothing when it would not help."""
    if isinstance(error, SourceDownError) and not error.splittable:
        return []
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return [list(pieces[:middle]), list(pieces[middle:])]
    unit, namespaces = pieces[0]
    if isinstance(error, RefusedQueryError) or len(namespaces) < 2:
        return []
    middle = len(namespaces) // 2
    return [[(unit, namespaces[:middle])], [(unit, namespaces[middle:])]]
