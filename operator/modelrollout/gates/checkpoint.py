"""The state of a gate as a short string for status, and back.

Not JSON inside JSON: people look at status, and a gate has to stay below a kilobyte. ``r1;12/1000;30/9000`` is a ratio
(bad/total of candidate, then of baseline); ``h1;0.1,0.2,inf;90,99,100;…`` is a latency's bounds and counts.
"""

from __future__ import annotations

from modelrollout.gates.evidence import Counts, Histogram
from modelrollout.gates.judge import Definition, GateState

__all__ = ["dump", "load"]


def dump(state: GateState) -> str:
    """The state as text."""
    ours, theirs = state.candidate, state.baseline
    if isinstance(ours, Counts) and isinstance(theirs, Counts):
        return ";".join(("r1", _ratio(ours), _ratio(theirs)))
    if isinstance(ours, Histogram) and isinstance(theirs, Histogram):
        parts = [_numbers(part) for histogram in (ours, theirs) for part in (histogram.bounds, histogram.counts)]
        return ";".join(("h1", *parts))
    raise TypeError("both arms of a gate hold the same kind of counts")


def load(text: str, definition: Definition) -> GateState:
    """The state from text; an empty state when the text is empty or of another kind (the metric was changed)."""
    fields = text.split(";")
    try:
        if fields[0] == "r1" and definition.quantile is None and len(fields) == 3:
            return GateState(_read_ratio(fields[1]), _read_ratio(fields[2]))
        if fields[0] == "h1" and definition.quantile is not None and len(fields) == 5:
            return GateState(_read_histogram(fields[1], fields[2]), _read_histogram(fields[3], fields[4]))
    except ValueError:
        return GateState(definition.empty, definition.empty)
    return GateState(definition.empty, definition.empty)


def _ratio(counts: Counts) -> str:
    return f"{counts.bad:.12g}/{counts.total:.12g}"


def _read_ratio(text: str) -> Counts:
    bad, total = text.split("/")
    return Counts(float(bad), float(total))


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:.12g}" for value in values)


def _read_histogram(bounds: str, counts: str) -> Histogram:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(float(part) for part in text.split(",") if part)

    histogram = Histogram(numbers(bounds), numbers(counts))
    if len(histogram.bounds) != len(histogram.counts):
        raise ValueError("bounds and counts differ in length")
    return histogram
