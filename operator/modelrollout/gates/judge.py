"""One gate: from its definition and its counts to a verdict in words and numbers.

Two kinds, ratio and latency, share one machinery: a latency quantile "p95 ≤ 200 ms" is "the share of requests slower
than 200 ms is at most 5 %". A limit between two buckets' bounds is bracketed: breached only by what is slower than the
next higher bound, proven only by what is slower than the next lower one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.plain import Distance, distance

__all__ = ["Definition", "GateState", "catastrophic", "fold", "judge"]

_NO_COUNTS: Final = Counts(0.0, 0.0)
_NO_HISTOGRAM: Final = Histogram((), ())


@dataclass(frozen=True, slots=True)
class Definition:
    """What a gate says, compiled: ``quantile`` is None for a ratio; ``counts_good``: the ratio counts good events."""

    name: str
    limit: Limit
    at_least: bool
    min_samples: int
    quantile: float | None = None
    counts_good: bool = False

    @property
    def empty(self) -> Counts | Histogram:
        """No events."""
        return _NO_COUNTS if self.quantile is None else _NO_HISTOGRAM

    def line(self) -> tuple[float, float]:
        """The limit of a ratio as (factor, offset) on the share of bad events."""
        turned = self.counts_good
        factor, offset = self.limit.factor, self.limit.offset
        return (factor, 1.0 - factor - offset) if turned else (factor, offset)


@dataclass(frozen=True, slots=True)
class GateState:
    """The sufficient statistics of one gate: sums of both arms since the step is judged."""

    candidate: Counts | Histogram
    baseline: Counts | Histogram


def _sum(total: Counts | Histogram, more: Counts | Histogram | None) -> Counts | Histogram:
    if more is None:
        return total
    if isinstance(total, Counts) and isinstance(more, Counts):
        return total + more
    if isinstance(total, Histogram) and isinstance(more, Histogram):
        return total + more
    raise TypeError("a ratio's counts and a latency's histogram cannot be added")


def fold(state: GateState, interval: Interval) -> GateState:
    """The state after one more interval."""
    return GateState(_sum(state.candidate, interval.candidate), _sum(state.baseline, interval.baseline))


def catastrophic(definition: Definition, interval: Interval, *, share: float, requests: int) -> bool:
    """Whether this one interval shows so many failed requests that no more need be waited for.

    Only for ratios that count bad events, and only when the candidate fails at least twice as often as the baseline:
    a dependency that is down for both is no reason to roll back.
    """
    ours, theirs = interval.candidate, interval.baseline
    if definition.counts_good or not isinstance(ours, Counts) or ours.total < requests:
        return False
    rate = ours.rate or 0.0
    baseline = (theirs.rate or 0.0) if isinstance(theirs, Counts) else 0.0
    return rate > share and rate >= 2.0 * baseline


def judge(definition: Definition, state: GateState) -> Assessment:
    """The verdict on one gate."""
    ours, theirs = state.candidate, state.baseline
    samples, baseline_samples = int(ours.total), int(theirs.total)
    if isinstance(ours, Histogram) and isinstance(theirs, Histogram):
        found = _judge_latency(definition, ours, theirs)
    elif isinstance(ours, Counts) and isinstance(theirs, Counts):
        found = _judge_ratio(definition, ours, theirs)
    else:
        raise TypeError("both arms of a gate hold the same kind of counts")
    found = replace(found, samples=samples, baseline_samples=baseline_samples)
    wanted = definition.min_samples
    if samples < wanted or (definition.limit.relative and baseline_samples < wanted):
        arm = "candidate" if samples < wanted else "baseline"
        have = min(samples, baseline_samples) if arm == "baseline" else samples
        message = f"{have} of {wanted} samples of the {arm}"
        return replace(found, verdict=Verdict.TOO_EARLY, message=message, would_have_seen=None)
    return found


def _judge_ratio(definition: Definition, ours: Counts, theirs: Counts) -> Assessment:
    factor, offset = definition.line()
    found = distance(ours, theirs if definition.limit.relative else None, factor=factor, offset=offset)
    shared = not definition.limit.relative and _no_worse_than(ours, theirs, definition.min_samples)
    value, baseline = ours.rate, theirs.rate
    if definition.counts_good:
        value = None if value is None else 1.0 - value
        baseline = None if baseline is None else 1.0 - baseline
    limit = _limit_text(definition, baseline, _percent)
    message = f"{_show(value, _percent)} against {_show(baseline, _percent)} of the baseline; {limit}"
    return _assessment(found, found, limit, message, value, baseline, shared)


def _judge_latency(definition: Definition, ours: Histogram, theirs: Histogram) -> Assessment:
    quantile = definition.quantile or 0.0
    value, baseline = ours.quantile(quantile), theirs.quantile(quantile)
    limit = _limit_text(definition, baseline, _milliseconds)
    seconds = definition.limit.at(baseline)
    if seconds is None or not ours.bounds:
        return Assessment(Verdict.TOO_EARLY, limit, "no requests yet", value=value, baseline=baseline)
    above, below = ours.bound_at_or_above(seconds), ours.bound_at_or_below(seconds)
    allowed = 1.0 - quantile
    measured = allowed * (1.0 - allowed) / max(theirs.total, 1.0) if definition.limit.relative else 0.0
    strict = distance(ours.slower_than(above), None, factor=0.0, offset=allowed, offset_variance=measured)
    lenient = strict if below == above else _lenient(ours, below, allowed, measured)
    shared = False
    if not definition.limit.relative and above in theirs.bounds:
        shared = _no_worse_than(ours.slower_than(above), theirs.slower_than(above), definition.min_samples)
    message = f"{_show(value, _milliseconds)} against {_show(baseline, _milliseconds)} of the baseline; {limit}"
    if below != above:
        message += f"; judged at {_milliseconds(above)} (next bucket)"
    return _assessment(strict, lenient, limit, message, value, baseline, shared)


def _lenient(ours: Histogram, below: float | None, allowed: float, measured: float) -> Distance:
    """The distance with every doubtful request counted as slow."""
    counts = Counts(ours.total, ours.total) if below is None else ours.slower_than(below)
    return distance(counts, None, factor=0.0, offset=allowed, offset_variance=measured)


def _no_worse_than(ours: Counts, theirs: Counts, min_samples: int) -> bool:
    """Whether the candidate is not shown to be worse than the baseline itself."""
    return theirs.total >= min_samples and not distance(ours, theirs, factor=1.0, offset=0.0).breached


def _assessment(
    strict: Distance,
    lenient: Distance,
    limit: str,
    message: str,
    value: float | None,
    baseline: float | None,
    shared: bool,
) -> Assessment:
    verdict = Verdict.BREACHED if strict.breached else Verdict.PROVEN if lenient.proven else Verdict.NO_HARM_SEEN
    if verdict is Verdict.NO_HARM_SEEN:
        message += f"; would have seen ≥ {_percent(strict.would_have_seen)} beyond it"
    return Assessment(
        verdict=verdict,
        limit=limit,
        message=message,
        value=value,
        baseline=baseline,
        difference=strict.estimate,
        low=strict.low,
        high=strict.high,
        would_have_seen=strict.would_have_seen if verdict is Verdict.NO_HARM_SEEN else None,
        shared=shared and verdict is Verdict.BREACHED,
    )


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def _milliseconds(seconds: float) -> str:
    return "∞" if seconds == float("inf") else f"{seconds * 1000:.4g} ms"


def _show(value: float | None, unit: object) -> str:
    return "nothing" if value is None else (_percent(value) if unit is _percent else _milliseconds(value))


def _limit_text(definition: Definition, baseline: float | None, unit: object) -> str:
    """The limit echoed in numbers: "may fall to 2.97 % (99% of baseline 3 %)"."""
    verb = "may fall to" if definition.at_least else "may rise to"
    at = definition.limit.at(baseline)
    if at is None:
        return f"{verb} {definition.limit.text}"
    if not definition.limit.relative:
        return f"{verb} {_show(at, unit)}"
    return f"{verb} {_show(at, unit)} ({definition.limit.text}, {_show(baseline, unit)})"
