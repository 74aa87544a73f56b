"""Numbers and times as people read them; units are chosen by what a gate measures."""

from __future__ import annotations

from datetime import UTC, datetime

from modelrollout.api.gate import Gate
from modelrollout.api.grammar import format_duration
from modelrollout.api.status import GateStatus

__all__ = ["age", "difference", "duration_between", "samples", "share", "short", "value"]

_UNKNOWN = "–"


def short(revision: str) -> str:
    """A revision as it appears in the names of its objects."""
    return revision[:8]


def share(number: float) -> str:
    """A share as a percentage with three significant digits: ``2.97 %``."""
    percent = 100.0 * number
    digits = 2 if abs(percent) >= 0.1 or percent == 0 else 3
    return f"{percent:.{digits}f} %"


def _milliseconds(seconds: float) -> str:
    return f"{1000.0 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def value(number: float | None, gate: Gate | None) -> str:
    """A gate's value in its unit: shares as percentages, latencies in milliseconds."""
    if number is None:
        return _UNKNOWN
    return _milliseconds(number) if gate is not None and gate.latency is not None else share(number)


def difference(gate: GateStatus) -> str:
    """The difference in percentage points with its interval; plus is worse."""
    if gate.difference is None:
        return _UNKNOWN
    points = f"{100 * gate.difference:+.2f} pp"
    if gate.low is None or gate.high is None:
        return points
    return f"{points} [{100 * gate.low:+.2f}, {100 * gate.high:+.2f}]"


def samples(gate: GateStatus) -> str:
    """Samples of the candidate and of the baseline."""
    return f"{gate.samples:,} / {gate.baseline_samples:,}"


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: ``12s``, ``5m``, ``3h``, ``2d``."""
    if at is None:
        return _UNKNOWN
    seconds = max(0.0, (now - _utc(at)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m" and seconds >= size):
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def duration_between(start: datetime | None, end: datetime) -> str:
    """How long something took."""
    return _UNKNOWN if start is None else format_duration((_utc(end) - _utc(start)).total_seconds())


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
