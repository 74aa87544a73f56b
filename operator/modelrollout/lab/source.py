"""Where the counts of a run come from: a recording as it is, or traffic that follows the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from modelrollout.gates.eprocess import Array
from modelrollout.gates.sequential import Mask
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.moves import moves

__all__ = ["Replay", "Source"]


class Source(Protocol):
    """Where counts come from: a recording, or traffic that follows the weights."""

    @property
    def runs(self) -> int:
        """How many runs go side by side."""
        ...

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        ...

    @property
    def times(self) -> Array:
        """Seconds from the candidate's first interval to each interval that can be asked for."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is counted."""
        ...

    @property
    def history(self) -> Recording | None:
        """What came before the candidate's first interval."""
        ...

    @property
    def moved(self) -> Mask:
        """Where another split began with this interval although the policy did not ask for it, shape (runs,)."""
        ...

    def advance(self, share: Array) -> None:
        """Go to the next interval, in which the candidate has these shares of the traffic, shape (runs,)."""
        ...

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """An arm's increments in this interval, each of shape (runs,); NaN where it was not measured."""
        ...


class Replay:
    """A recording as it is: what the policy decides changes nothing about the traffic."""

    def __init__(self, recording: Recording) -> None:
        begins = recording.begins
        if begins is None:
            raise ValueError(
                "the recording has no row of the candidate: at least one is needed, rows before it are history"
            )
        self.history = recording.between(0, begins)
        self._recording = recording.between(begins, len(recording.times))
        self.times: Array = self._recording.times - self._recording.times[0]
        self.runs, self.interval, self.columns = recording.runs, recording.interval, recording.columns
        self._at = -1
        self._cache: dict[tuple[str, ...], list[Array]] = {}
        self._moves = self._find_moves()

    def _find_moves(self) -> Mask:
        """Where the recorded split changed, by the column with the most events; shape (runs, T)."""
        totals = {name: self._recording.counts(BASELINE, [name])[0] for name in self.columns}
        busiest = max(totals, key=lambda name: float(np.nansum(totals[name])))
        ours = self._recording.counts(CANDIDATE, [busiest])[0]
        return np.stack([moves(one, other) for one, other in zip(ours, totals[busiest], strict=True)])

    @property
    def moved(self) -> Mask:
        """See :class:`Source`."""
        return self._moves[:, self._at]

    def advance(self, share: Array) -> None:
        """See :class:`Source`."""
        self._at += 1

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """See :class:`Source`."""
        key = (arm, *columns)
        if key not in self._cache:
            self._cache[key] = self._recording.counts(arm, columns)
        return [values[:, self._at] for values in self._cache[key]]
