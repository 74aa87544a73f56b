"""What the gates read over time, for the charts: a little memory that a restart may lose.

Status keeps the last numbers only, and Prometheus keeps the rest; the page must not ask it once more for everybody who
looks. So each live rollout has at most so many points, evenly thinned as it goes on, and so many rollouts at most have
any: 100 rollouts of 300 points of 123 numbers are 30 MB with twenty gates in each, and 5 MB with three.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.screen.gates import Reach, reach

__all__ = ["Readings", "Series"]

MOST_POINTS: Final = 300
MOST_ROLLOUTS: Final = 100
_FIELDS: Final = ("value", "baseline", "low", "high", "limit", "evidence")
_FIRST: Final = 3
"""Before the gates' numbers: when (seconds since 1970), the weight asked and the weight observed."""
_DIGITS: Final = 5
"""A chart needs no more than can be seen."""


@dataclass(slots=True)
class Series:
    """The points of one candidate."""

    trial: tuple[object, ...]
    """Whose points they are: the object, the revision and since when it is the candidate."""
    gates: list[str] = field(default_factory=list)
    """Names, in the order of their numbers in a point."""
    points: list[array[float]] = field(default_factory=list)
    """The oldest first. A point is shorter than others when a gate came later; NaN is a number that was not known."""
    spacing: float = 0.0
    """Seconds that points are apart at least, except the newest."""
    seen: tuple[object, ...] = ()

    def add(self, point: array[float]) -> None:
        """Take in the newest point; when there are too many, every second one goes and later ones keep that pace."""
        if len(self.points) >= 2 and self.points[-1][0] - self.points[-2][0] < self.spacing:
            self.points[-1] = point
        else:
            self.points.append(point)
        if len(self.points) > MOST_POINTS:
            self.points = self.points[-1::-2][::-1]
            self.spacing = (self.points[-1][0] - self.points[0][0]) / len(self.points)

    def document(self) -> dict[str, Any]:
        """For the page: when each point was taken, the weights, and each gate's numbers; null where unknown."""
        gates = {
            name: {one: self._column(_FIRST + len(_FIELDS) * place + number) for number, one in enumerate(_FIELDS)}
            for place, name in enumerate(self.gates)
        }
        return {"at": self._column(0), "asked": self._column(1), "observed": self._column(2), "gates": gates}

    def _column(self, index: int) -> list[float | None]:
        column = (point[index] if index < len(point) else math.nan for point in self.points)
        return [None if math.isnan(number) else number for number in column]


class Readings:
    """Notes each look at a live rollout."""

    def __init__(self) -> None:
        self._series: OrderedDict[tuple[str, str], Series] = OrderedDict()

    def note(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> None:
        """Take in what a look left; without a candidate the last one's points stay as they are."""
        if status.candidate is None:
            return
        trial = (rollout.uid, status.candidate.revision, status.candidate.since)
        series = self._series.get(rollout.key)
        if series is None or series.trial != trial:
            series = self._series[rollout.key] = Series(trial)
        self._series.move_to_end(rollout.key)
        while len(self._series) > MOST_ROLLOUTS:
            self._series.popitem(last=False)
        point = _point(series, rollout, status, now)
        seen = (status.evaluated_at, point[1:].tobytes())
        if seen != series.seen:
            series.seen = seen
            series.add(point)

    def of(self, rollout: Rollout) -> Series | None:
        """The points of the candidate on trial, or of the last one."""
        series = self._series.get(rollout.key)
        return series if series is not None and series.trial[0] == rollout.uid else None


def _point(series: Series, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> array[float]:
    known = {gate.name: gate for gate in status.gates}
    limits = {gate.name: gate for gate in rollout.spec.gates}
    series.gates += [name for name in limits if name not in series.gates]
    observed = math.nan if status.observed_weight is None else float(status.observed_weight)
    point = array("d", [round(now.astimezone(UTC).timestamp(), 1), float(status.weight), observed])
    for name in series.gates:
        gate, found = limits.get(name), known.get(name)
        numbers = reach(gate, found) if gate is not None and found is not None else Reach()
        point.extend(_numbers(found, numbers))
    return point


def _numbers(found: GateStatus | None, numbers: Reach) -> list[float]:
    if found is None:
        return [math.nan] * len(_FIELDS)
    given = (found.value, found.baseline, numbers.low, numbers.high, numbers.limit, found.evidence)
    return [math.nan if one is None or not math.isfinite(one) else float(f"{one:.{_DIGITS}g}") for one in given]
