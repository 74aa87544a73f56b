"""The question that is asked between two looks: whose candidate fails more than it may? Pure.

Prometheus itself compares, for all rollouts at once, and nearly always names nobody. So a catastrophe need not wait for
the next look, and watching for it costs one short question, however many rollouts there are. What it says is a hint:
it looks at each pod (or label) alone and knows neither baseline nor noise. The exact counts of whom it names are then
read as for any look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from modelrollout.metrics.answers import MARK
from modelrollout.metrics.base import Watched
from modelrollout.metrics.batch import QUERY_CHARACTERS
from modelrollout.metrics.identity import is_pattern, owner_of, owner_pattern
from modelrollout.metrics.readings import RatioReading, owner
from modelrollout.metrics.snapshot import Want

__all__ = ["AlarmQuestion", "questions"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Definition:
    """What many rollouts call bad, and all."""

    bad: Want
    rest: Want
    adds_up: bool
    """Whether all events are both together."""

    @property
    def by(self) -> tuple[str, ...]:
        """The labels of whoever is accused."""
        return (self.bad.label,) if self.bad.by_service else ("namespace", self.bad.label or "pod")


@dataclass(frozen=True, slots=True)
class _Suspect:
    namespace: str
    owner: str
    key: Key
    share: float


_Group = tuple[_Definition, Sequence[_Suspect]]


class AlarmQuestion:
    """Some definitions, each with those who use it, as one query."""

    def __init__(self, groups: Sequence[_Group], window: timedelta) -> None:
        self._groups = groups
        self._window = window
        self.promql = " or ".join(
            f'label_replace({_expression(one, some, window)},"{MARK}","{number}","","")'
            for number, (one, some) in enumerate(groups)
        )

    def halves(self) -> list[AlarmQuestion]:
        """The same in two questions; nothing when it is about one definition."""
        middle = len(self._groups) // 2
        parts = (self._groups[:middle], self._groups[middle:]) if middle else ()
        return [AlarmQuestion(part, self._window) for part in parts]

    def alarmed(self, result: Iterable[Mapping[str, Any]]) -> Iterator[Key]:
        """The rollouts that an answer names.

        Raises
        ------
        LookupError, TypeError, ValueError
            If the answer is none to this question.
        """
        for row in result:
            labels = row["metric"]
            definition, suspects = self._groups[int(labels[MARK])]
            accused = owner_of(labels, definition.bad.label)
            for one in suspects:
                here = definition.bad.by_service or one.namespace == labels.get("namespace", "")
                if here and _is(one.owner, accused):
                    yield one.key


def questions(watched: Sequence[Watched], window: timedelta) -> Iterator[AlarmQuestion]:
    """As few questions as a query's length allows."""
    groups: dict[_Definition, list[_Suspect]] = {}
    for one in watched:
        for gate in one.gates:
            reading = RatioReading(gate)
            definition = _Definition(reading.counted, reading.rest, reading.adds_up)
            suspect = _Suspect(one.candidate.namespace, owner(gate, one.candidate), one.key, one.share)
            groups.setdefault(definition, []).append(suspect)
    some: list[_Group] = []
    characters = 0
    for group in groups.items():
        length = len(_expression(*group, window))
        if some and characters + length > QUERY_CHARACTERS:
            yield AlarmQuestion(some, window)
            some, characters = [], 0
        some.append(group)
        characters += length
    if some:
        yield AlarmQuestion(some, window)


def _expression(definition: _Definition, suspects: Sequence[_Suspect], window: timedelta) -> str:
    """Who had at least two bad events, and more than the smallest share that anybody of these allows."""
    namespaces = {one.namespace for one in suspects}
    bad, rest = (_gained(want, namespaces, definition.by, window) for want in (definition.bad, definition.rest))
    total = f"({bad} + ({rest} or 0 * {bad}))" if definition.adds_up else rest
    return f"({bad} > 1) / {total} > {min(one.share for one in suspects):g}"


def _gained(want: Want, namespaces: Iterable[str], by: Sequence[str], window: timedelta) -> str:
    """What counters gained; all they show, where they were not there before."""
    ((_, series),) = want.expressions(namespaces, gone=False)
    before = f"{series} offset {round(window.total_seconds() * 1000)}ms"
    return f"sum by ({', '.join(by)}) ({series} - ({before} or 0 * {series}))"


def _is(wanted: str, accused: str) -> bool:
    return wanted == accused or (is_pattern(wanted) and re.fullmatch(owner_pattern(wanted), accused) is not None)
