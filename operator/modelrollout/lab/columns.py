"""The one form of data in the laboratory: increments of counters per interval, for both arms and many runs at once.

A recording of the past has one run; simulated ones have thousands, along a leading axis, because the gates judge all of
them in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.gates.eprocess import Array

__all__ = ["BASELINE", "CANDIDATE", "Ints", "Recording"]

Ints = NDArray[np.int64]

BASELINE: Final = "baseline"
CANDIDATE: Final = "candidate"


@dataclass(frozen=True, slots=True)
class Recording:
    """What the counters of both arms grew by.

    ``times``: end of each interval in seconds, evenly spaced, shape (T,). ``interval``: their distance in seconds.
    ``arms``: arm → replica → column → increments of shape (runs, T); NaN where nothing was recorded. An arm whose pods
    are not told apart has one replica.
    """

    times: Array
    interval: float
    arms: Mapping[str, Mapping[str, Mapping[str, Array]]]

    @property
    def runs(self) -> int:
        """How many runs there are."""
        for replicas in self.arms.values():
            for columns in replicas.values():
                for values in columns.values():
                    return int(values.shape[0])
        return 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, sorted."""
        return tuple(sorted({name for replicas in self.arms.values() for one in replicas.values() for name in one}))

    @property
    def begins(self) -> int | None:
        """Index of the first interval in which anything of the candidate was recorded; None when it never was."""
        seen = np.zeros(len(self.times), dtype=np.bool_)
        for columns in self.arms.get(CANDIDATE, {}).values():
            for values in columns.values():
                seen |= np.isfinite(values).any(axis=0)
        return int(seen.argmax()) if seen.any() else None

    def counts(self, arm: str, columns: Sequence[str], *, replicas: Sequence[str] | None = None) -> list[Array]:
        """The arm's increments in these columns, each of shape (runs, T), summed over (some of) its replicas.

        A replica counts where all of the columns were recorded, so that shares stay shares; NaN where none does.
        """
        shape = (self.runs, len(self.times))
        sums = [np.zeros(shape) for _ in columns]
        seen = np.zeros(shape, dtype=np.bool_)
        for name, found in self.arms.get(arm, {}).items():
            if (replicas is not None and name not in replicas) or any(column not in found for column in columns):
                continue
            values = [found[column] for column in columns]
            whole = np.isfinite(values[0])
            for value in values[1:]:
                whole = whole & np.isfinite(value)
            sums = [total + np.where(whole, value, 0.0) for total, value in zip(sums, values, strict=True)]
            seen |= whole
        return [np.where(seen, total, np.nan) for total in sums]

    def halves(self, columns: Sequence[str]) -> tuple[list[Array], list[Array]] | None:
        """The baseline's increments in two halves, every other replica by name; None when it has only one."""
        names = sorted(self.arms.get(BASELINE, {}))
        if len(names) < 2:
            return None
        return (
            self.counts(BASELINE, columns, replicas=names[::2]),
            self.counts(BASELINE, columns, replicas=names[1::2]),
        )

    def between(self, first: int, last: int) -> Recording:
        """The intervals from one index up to another (exclusive)."""
        arms = {
            arm: {
                replica: {column: values[:, first:last] for column, values in columns.items()}
                for replica, columns in replicas.items()
            }
            for arm, replicas in self.arms.items()
        }
        return Recording(self.times[first:last], self.interval, arms)
