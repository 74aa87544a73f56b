"""Which intervals to read next, and which of them the candidate is judged by.

The evidence of a gate is a function of (definition, the spans in which the candidate was judged, now) over Prometheus.
What status keeps is only a checkpoint of it: a gate whose checkpoint is lost is read again over all spans, and comes to
the same verdict; one that was edited is read again from the step's start.

All instants are multiples of the interval since 1970: rollouts that share metrics share the answers, and a look that is
repeated reads the very same intervals.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from modelrollout.api.enums import Phase
from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.memo import once
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import GateStatus, ModelRolloutStatus, Span
from modelrollout.engine.draft import Draft
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.model import Input, Past, Plan

__all__ = [
    "begins_step",
    "cut_by_retreat",
    "extended",
    "floored",
    "is_judged",
    "judged_from",
    "known_spans",
    "lag_of",
    "measurement_plan",
    "place_of",
    "renamed",
    "seconds_until_due",
    "stay_of",
    "warm_from",
    "watched_gates",
]

_CLOCKS_DIFFER_BY: Final = timedelta(seconds=30)
_MOST_SPANS: Final = 32
_PAST: Final = timedelta(hours=24)
_PAST_INTERVALS: Final = 1440
"""A day in minutes: enough to know the noise, and one modest query."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MEASURED_PHASES: Final = (
    Phase.STARTING,
    Phase.PROGRESSING,
    Phase.PAUSED,
    Phase.AWAITING_APPROVAL,
    Phase.PROMOTING,
    Phase.ROLLING_BACK,
    Phase.STALLED,
)


def floored(at: datetime, step: timedelta) -> datetime:
    """The last multiple of an interval that is not after ``at``."""
    return _EPOCH + ((at - _EPOCH) // step) * step


def _ceiled(at: datetime, step: timedelta) -> datetime:
    below = floored(at, step)
    return below if below == at else below + step


def _step(i: Input) -> timedelta:
    return timedelta(seconds=max(1.0, Draft.seconds(i.spec.evaluation.interval)))


def _is_measured(i: Input) -> bool:
    status = i.status
    both = status.candidate is not None and status.stable is not None
    return bool(i.spec.gates) and both and status.phase in MEASURED_PHASES


def warm_from(i: Input, status: ModelRolloutStatus) -> datetime | None:
    """From when the candidate is judged in this step: its weight in effect, its youngest pod ready, and warm.

    Pods that are started for the next step do not set this one back: the next raise has a warm-up of its own. Nor does
    a time further in the future than clocks of one cluster differ.
    """
    step, candidate = status.step, status.candidate
    if step is None or step.serving_since is None or candidate is None:
        return None
    base = step.serving_since
    view = i.revisions.get(candidate.revision)
    ready_at = view.youngest_ready_at if view is not None and not (step.done or step.skipped) else None
    if ready_at is not None and ready_at <= i.now + _CLOCKS_DIFFER_BY:
        base = max(base, ready_at)
    return base + timedelta(seconds=Draft.seconds(i.spec.warmup))


def lag_of(gate: Gate) -> timedelta:
    """How long after a change of weight the labels of what came before it are still coming in."""
    return timedelta(seconds=Draft.seconds(gate.labels_within)) if gate.labels_within else timedelta(0)


def judged_from(i: Input, status: ModelRolloutStatus, gate: Gate) -> datetime | None:
    """Like :func:`warm_from`, and with late labels in."""
    warm = warm_from(i, status)
    return None if warm is None else warm + lag_of(gate)


def measurement_plan(i: Input, *, delay: float) -> Plan | None:
    """What to read now; None when there is nothing to read yet.

    ``delay`` (seconds) is how far in the past both arms are read, so that every scrape of that instant is in.
    """
    if not _is_measured(i):
        return None
    status, step = i.status, _step(i)
    end = floored(i.now - timedelta(seconds=delay), step)
    last = status.evaluated_at
    if last is not None and end - last < step:
        return None
    since = end - step if last is None else floored(last, step)
    known = {gate.name: gate for gate in status.gates}
    starts, unread = {}, set()
    for gate in i.spec.gates:
        again = _reads_again(i, gate, known.get(gate.name))
        if again is not None and gate.kind in ("ratio", "latency"):
            unread.add(gate.name)
        starts[gate.name] = min(again or since, since)
    apart = frozenset(starts) if status.weight > 0 else frozenset()
    past = _past(i, step, frozenset(unread))
    return Plan(starts, end, step, per_pod=apart, past=past, preflight=status.weight == 0)


def _reads_again(i: Input, gate: Gate, known: GateStatus | None) -> datetime | None:
    """From when a gate is read again; None when its checkpoint is good."""
    status = i.status
    if status.weight == 100 and is_relative(gate):
        return None
    if known is not None and known.checkpoint:
        return None
    spans = known_spans(status.spans, known)
    return spans[0].start if spans else i.now


def _past(i: Input, step: timedelta, gates: frozenset[str]) -> Past | None:
    """The stable revision's past up to the candidate's beginning, a day at most."""
    stable, candidate = i.status.stable, i.status.candidate
    if not gates or stable is None or candidate is None or candidate.since is None:
        return None
    begin = max(stable.since or candidate.since - _PAST, candidate.since - _PAST)
    coarse = step * max(1, math.ceil((candidate.since - begin) / step / _PAST_INTERVALS))
    end = floored(candidate.since, coarse)
    start = _ceiled(begin, coarse)
    return Past(gates, start, end, coarse) if start < end else None


def watched_gates(i: Input) -> tuple[Gate, ...]:
    """Whose catastrophe is watched for between two looks: ratios of bad events, while the candidate has traffic."""
    return _of_bad_events(i.spec) if i.status.weight > 0 and _is_measured(i) else ()


@once
def _of_bad_events(spec: ModelRolloutSpec) -> tuple[Gate, ...]:
    return tuple(
        gate
        for gate in spec.gates
        if gate.on_breach is OnBreach.ROLLBACK and gate.ratio is not None and gate.ratio.bad is not None
    )


def seconds_until_due(i: Input, *, delay: float) -> float | None:
    """When :func:`measurement_plan` will have something to read; None when it never will as things are."""
    if not _is_measured(i):
        return None
    last = i.status.evaluated_at
    if last is None:
        return 0.0
    step = _step(i)
    return max(0.0, (floored(last, step) + step - i.now).total_seconds() + delay)


def extended(d: Draft, start: datetime, end: datetime) -> list[Span]:
    """The spans after a look from ``start`` to ``end``: the last one is longer, or another has begun."""
    spans, step = d.status.spans, d.status.step
    warm = warm_from(d.input, d.status)
    if step is None or warm is None:
        return spans
    begin = max(_ceiled(warm, _step(d.input)), start)
    if begin >= end:
        return spans
    last = spans[-1] if spans else None
    waits = bool(step.role) and last is not None and last.weight == d.status.weight
    name = last.step if last is not None and waits else step.name  # an approval is no step of the evidence
    span = Span(step=name, weight=d.status.weight, start=begin, end=end)
    if last is not None and _same_place(last, span) and last.end >= begin:
        return [*spans[:-1], last.model_copy(update={"end": end})]
    return [*spans, span][-_MOST_SPANS:]


def known_spans(spans: list[Span], gate: GateStatus | None) -> list[Span]:
    """The spans whose evidence counts for a gate: after an edit, those that did not begin before."""
    since = gate.evidence_since if gate is not None else None
    return [span for span in spans if since is None or span.start >= since]


def stay_of(spans: list[Span]) -> list[Span]:
    """The last spans without a change of step or weight between them."""
    stay: list[Span] = []
    for span in reversed(spans):
        if not _same_place(span, spans[-1]):
            break
        stay.insert(0, span)
    return stay


def begins_step(spans: list[Span], before: int, at: int) -> bool:
    """Whether step or weight changed between two spans, given by their places; the first one begins nothing."""
    return 0 <= before < at and any(not _same_place(spans[n], spans[at]) for n in range(before, at))


def _same_place(one: Span, other: Span) -> bool:
    return (one.step, one.weight) == (other.step, other.weight)


def cut_by_retreat(spans: list[Span], at: datetime) -> list[Span]:
    """The spans after a retreat to weight 0: what is judged after it at the same weight is judged anew."""
    return [*spans, Span(step="start", weight=0, start=at, end=at)][-_MOST_SPANS:] if spans else spans


def renamed(spans: list[Span], old: str, new: str) -> list[Span]:
    """The spans after a step got another name: what was earned in it stays its own."""
    return [span.model_copy(update={"step": new}) if span.step == old else span for span in spans]


def place_of(spans: list[Span], start: datetime) -> int | None:
    """The place of the span in which an interval that starts then lies."""
    return next((n for n in reversed(range(len(spans))) if spans[n].start <= start < spans[n].end), None)


def is_judged(spans: list[Span], place: int, start: datetime, lag: timedelta) -> bool:
    """Whether an interval of a span is judged by a gate with late labels: a lag after the weight last changed."""
    began = spans[place].start
    for one in reversed(spans[:place]):
        if one.weight != spans[place].weight:
            break
        began = one.start
    return start >= began + lag
