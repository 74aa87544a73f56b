"""Status stays small: where everything is full at once, the texts are shortened that stand in full elsewhere.

A status is read by whoever watches rollouts, with every write of it; so it is made to fit when it is written, and not
at every look. What is shortened first is worth least: the past (its incidents keep the whole), what was found before
the first traffic, what people are being told (events said it),
the comments of decisions (each RolloutDecision keeps its own), what conditions repeat of the message, and queries.
Verdicts, names, numbers and the sentence on top are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from modelrollout.api.enums import CheckState
from modelrollout.api.meta import ApiModel
from modelrollout.api.status import ModelRolloutStatus

__all__ = ["fitted"]

_Model = TypeVar("_Model", bound=ApiModel)

_MOST_BYTES: Final = 60 * 1024
"""Below the 64 KiB that are promised: what the shell adds to a status is not in it yet."""
_A_LINE: Final = 60
_A_SENTENCE: Final = 120


def fitted(status: ModelRolloutStatus) -> ModelRolloutStatus:
    """The status as it is written: texts are shortened, one kind after the other, until it is small enough."""
    for shorten in _IN_ORDER:
        if len(status.model_dump_json(by_alias=True, exclude_none=True).encode()) <= _MOST_BYTES:
            break
        status = status.model_copy(update=shorten(status))
    return status


def _cut(those: Iterable[_Model], **letters: int) -> list[_Model]:
    """The same with at most so many letters in the fields that are named."""
    return [one.model_copy(update={name: getattr(one, name)[:most] for name, most in letters.items()}) for one in those]


def _history(status: ModelRolloutStatus) -> dict[str, Any]:
    short = [
        one.model_copy(update={"overrides": [said[:_A_SENTENCE] for said in one.overrides[:1]]})
        for one in status.history
    ]
    return {"history": _cut(short, message=_A_LINE)}


def _preflight(status: ModelRolloutStatus) -> dict[str, Any]:
    fine = [one.model_copy(update={"message": ""}) if one.state is CheckState.OK else one for one in status.preflight]
    return {"preflight": _cut(fine, message=_A_SENTENCE)}


def _notices(status: ModelRolloutStatus) -> dict[str, Any]:
    return {"notices": _cut(status.notices, message=_A_SENTENCE, problem=_A_LINE)}


def _comments(status: ModelRolloutStatus) -> dict[str, Any]:
    return {
        "overrides": _cut(status.overrides, comment=_A_LINE, over=_A_LINE),
        "approvals": _cut(status.approvals, comment=_A_LINE),
    }


def _conditions(status: ModelRolloutStatus) -> dict[str, Any]:
    return {"conditions": _cut(status.conditions, message=_A_SENTENCE)}


def _queries(status: ModelRolloutStatus) -> dict[str, Any]:
    return {"gates": _cut(status.gates, query=_A_SENTENCE)}


_IN_ORDER: Final[tuple[Callable[[ModelRolloutStatus], dict[str, Any]], ...]] = (
    _history,
    _preflight,
    _notices,
    _comments,
    _conditions,
    _queries,
)
