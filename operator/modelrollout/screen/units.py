"""Numbers and times as people read them; units are chosen by what a gate measures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from modelrollout.api.gate import Gate
from modelrollout.api.grammar import format_duration
from modelrollout.api.status import GateStatus

__all__ = ["UNKNOWN", "age", "duration_between", "limit", "limit_at", "samples", "seen", "share", "short", "value"]

UNKNOWN: Final = "–"
_SHARES: Final = ("ratio", "latency")


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
    """A gate's value in its unit: shares as percentages, latencies in milliseconds, anything else as it is."""
    if number is None:
        return UNKNOWN
    if gate is not None and gate.latency is not None:
        return _milliseconds(number)
    return share(number) if gate is None or gate.ratio is not None else _plain(number)


def _plain(number: float) -> str:
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e12 else f"{number:.4g}"


def limit_at(gate: Gate, baseline: float | None) -> float | None:
    """The limit as a number in the gate's own unit; None while the baseline that it needs is unknown."""
    try:
        return gate.limit.at(baseline)
    except ValueError:
        return None


def limit(gate: Gate, baseline: float | None) -> str:
    """The limit in numbers, as far as the baseline is known: ``≥ 2.97 %``; else as it was written."""
    sign = "≤" if gate.at_least is None else "≥"
    at = limit_at(gate, baseline)
    return f"{sign} {gate.at_most or gate.at_least}" if at is None else f"{sign} {value(at, gate)}"


def seen(gate: Gate, found: GateStatus) -> str:
    """The value from which a worse candidate would have been noticed; empty when that is no number of this gate."""
    beyond, drift = found.would_have_seen, gate.drift is not None
    if beyond is None or (gate.kind not in _SHARES and not drift):
        return ""
    if gate.latency is not None:
        return f"≥ {share(1.0 - float(gate.latency.quantile) + beyond)} slow"
    at = gate.limit.at(found.baseline) if not drift else gate.limit.offset
    if at is None:
        return ""
    return f"≤ {value(at - beyond, gate)}" if gate.at_least is not None else f"≥ {value(at + beyond, gate)}"


def samples(gate: GateStatus) -> str:
    """Samples of the candidate and of the baseline: ``12.3k/111k``."""
    return f"{_many(gate.samples)}/{_many(gate.baseline_samples)}"


def _many(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 10 * size or (unit != "k" and count >= size):
            return f"{count / size:.3g}{unit}"
    return f"{count}"


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: ``12s``, ``5m``, ``3h``, ``2d``."""
    if at is None:
        return UNKNOWN
    seconds = max(0.0, (now - _utc(at)).total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "m" and seconds >= size):
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def duration_between(start: datetime | None, end: datetime) -> str:
    """How long something took."""
    return UNKNOWN if start is None else format_duration((_utc(end) - _utc(start)).total_seconds())


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
