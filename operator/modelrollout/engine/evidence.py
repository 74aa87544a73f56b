"""From measurements to gate verdicts: which interval to read next, and what to make of what was read.

The evidence of a gate is a function of (definition, when the step began to be judged, now) over Prometheus. What status
keeps is only a checkpoint of it: a gate without one (a new or an edited gate, a lost status) is read again from the
step's start.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import parse_percent
from modelrollout.api.status import Blind, GateStatus, ModelRolloutStatus
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import GateMeasurement, Input, Measurement, Problem, ProblemKind
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.checkpoint import dump, load
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.judge import Definition, GateState, catastrophic, fold, judge
from modelrollout.gates.split import split_differs

__all__ = [
    "Plan",
    "define",
    "definition_hash",
    "follow_gate_edits",
    "measurement_plan",
    "requests_seen",
    "seconds_until_due",
    "split_is_off",
    "take_evidence",
    "warm_from",
]

_CLOCKS_DIFFER_BY = timedelta(seconds=30)
_MEASURED_PHASES = (
    Phase.STARTING,
    Phase.PROGRESSING,
    Phase.PAUSED,
    Phase.PROMOTING,
    Phase.ROLLING_BACK,
    Phase.STALLED,
)
_EDITED = "new or edited: judged from the beginning of the step"
_NOT_READ = GateMeasurement()
_REASONS = {
    ProblemKind.SOURCE_DOWN: Reason.METRICS_UNAVAILABLE,
    ProblemKind.CANDIDATE_MISSING: Reason.CANDIDATE_NOT_MEASURED,
    ProblemKind.BASELINE_MISSING: Reason.GATE_MISCONFIGURED,
    ProblemKind.METRIC_MISSING: Reason.GATE_MISCONFIGURED,
    ProblemKind.MISCONFIGURED: Reason.GATE_MISCONFIGURED,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read: for each gate from when, and up to when for all, in intervals of ``step``.

    All times are multiples of ``step`` since 1970, so that rollouts share the answers and a look that is repeated
    later reads the very same intervals."""

    starts: dict[str, datetime]
    end: datetime
    step: timedelta = timedelta(seconds=15)
    per_pod: frozenset[str] = frozenset()
    """Gates of which every pod of the candidate is wanted apart, over the whole time from their start."""


def define(gate: Gate) -> Definition:
    """A gate of the spec, compiled.

    Raises
    ------
    ValueError
        If the limit cannot be read; the message shows how to write one.
    """
    return Definition(
        name=gate.name,
        limit=gate.limit,
        at_least=gate.at_least is not None,
        min_samples=gate.min_samples,
        quantile=float(gate.latency.quantile) if gate.latency else None,
        counts_good=gate.ratio is not None and gate.ratio.good is not None,
    )


def definition_hash(gate: Gate) -> str:
    """Changes when the gate's metric, limit or identity does: then what was earned so far means something else."""
    said = gate.model_dump_json(by_alias=True, exclude={"name"}, exclude_defaults=True)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


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


def _judged_from(i: Input, status: ModelRolloutStatus, gate: Gate) -> datetime | None:
    """Like :func:`warm_from`, and with late labels in."""
    warm = warm_from(i, status)
    lag = Draft.seconds(gate.labels_within) if gate.labels_within else 0.0
    return None if warm is None else warm + timedelta(seconds=lag)


def measurement_plan(i: Input, *, delay: float) -> Plan | None:
    """What to read now; None when there is nothing to read yet.

    ``delay`` (seconds) is how far in the past both arms are read, so that every scrape of that instant is in. The end
    is a whole second, so that rollouts which are due together share the answers.
    """
    status = i.status
    if not i.spec.gates or status.candidate is None or status.stable is None or status.phase not in _MEASURED_PHASES:
        return None
    interval = timedelta(seconds=Draft.seconds(i.spec.evaluation.interval))
    end = (i.now - timedelta(seconds=delay)).replace(microsecond=0)
    last = status.evaluated_at
    if last is None or last > end:
        return Plan({gate.name: end - interval for gate in i.spec.gates}, end) if last is None else None
    if end - last < interval:
        return None
    known = {gate.name: gate for gate in status.gates}
    starts = {}
    for gate in i.spec.gates:
        start = _judged_from(i, status, gate) if _is_read_anew(status, gate, known.get(gate.name)) else None
        starts[gate.name] = last if start is None else min(start, last)
    return Plan(starts, end)


def _is_read_anew(status: ModelRolloutStatus, gate: Gate, known: GateStatus | None) -> bool:
    """Whether a gate is read from the beginning of the step: it was edited, or nothing has been counted yet."""
    if status.weight == 0 or (status.weight == 100 and define(gate).limit.relative):
        return False
    return known is None or not known.checkpoint or known.definition != definition_hash(gate)


def seconds_until_due(i: Input, *, delay: float) -> float | None:
    """When :func:`measurement_plan` will have something to read; None when it never will as things are."""
    status = i.status
    if not i.spec.gates or status.candidate is None or status.stable is None or status.phase not in _MEASURED_PHASES:
        return None
    if status.evaluated_at is None:
        return 0.0
    passed = (i.now - status.evaluated_at).total_seconds()
    return max(0.0, Draft.seconds(i.spec.evaluation.interval) + delay - passed)


def follow_gate_edits(d: Draft) -> None:
    """A gate that ``spec`` names no more is forgotten, and an edited one is undecided until it is read anew."""
    if not d.status.candidate:
        return
    wanted = {gate.name: definition_hash(gate) for gate in d.input.spec.gates}
    if not wanted and d.status.blind is not None:
        d.set(blind=None)
    gates = [
        gate
        if gate.definition == wanted[gate.name]
        else gate.model_copy(update={"verdict": Verdict.TOO_EARLY, "message": _EDITED, "shared": False})
        for gate in d.status.gates
        if gate.name in wanted
    ]
    if gates != d.status.gates:
        d.set(gates=gates)


def take_evidence(d: Draft) -> None:
    """Fold a measurement into the gates' verdicts, and notice outages and catastrophes."""
    measurement = d.input.measurement
    if measurement is None:
        return
    down = _source_down(measurement)
    serving = d.status.step is not None and d.status.step.serving_since is not None and d.status.weight > 0
    known = {gate.name: gate for gate in d.status.gates}
    gates: list[GateStatus] = []
    problems: list[tuple[Reason, str]] = []
    unsure = False
    for gate in d.input.spec.gates:
        before = known.get(gate.name)
        seen = measurement.gates.get(gate.name, _NOT_READ)
        if before is not None and before.definition != definition_hash(gate):
            before, seen = None, replace(seen, intervals=())  # perhaps still what the old definition asked for
        if before is None and seen.interval is None and seen.problem is None:
            unsure = True
            gates.append(_early(d, gate, None, seen))
            continue
        seen = _without_unneeded_problem(d, gate, seen)
        if seen.interval is not None and d.status.weight > 0:
            _look_for_catastrophe(d, define(gate), seen.interval)
        problem = down or _lasting(d, gate, seen.problem)
        if problem is not None:
            problems.append((_REASONS[problem.kind], problem.message if down else f"{gate.name}: {problem.message}"))
            gates.append(_blind(d, gate, before, problem, seen.query))
        elif seen.problem is not None or not serving:
            unsure = unsure or _no_baseline_yet(d, gate, seen.problem)
            gates.append(_early(d, gate, before, seen))
        else:
            gates.append(_judged(d, gate, before, seen))
    d.set(gates=gates)
    if down is None and (serving or d.status.phase is Phase.ROLLING_BACK):
        d.set(evaluated_at=measurement.end)
    d.seeing = not problems and not unsure
    if d.status.phase is not Phase.ROLLING_BACK:
        _note_blindness(d, problems)


def _without_unneeded_problem(d: Draft, gate: Gate, seen: GateMeasurement) -> GateMeasurement:
    """A missing baseline is no problem for a gate that needs none."""
    missing = seen.problem is not None and seen.problem.kind is ProblemKind.BASELINE_MISSING
    return replace(seen, problem=None) if missing and not _needs_baseline(d, gate) else seen


def _needs_baseline(d: Draft, gate: Gate) -> bool:
    step = d.status.step
    return define(gate).limit.relative and d.status.weight < 100 and (step is None or step.weight < 100)


def _no_baseline_yet(d: Draft, gate: Gate, problem: Problem | None) -> bool:
    """Whether the first traffic would be given before there is anything to compare it with."""
    missing = problem is not None and problem.kind in (ProblemKind.BASELINE_MISSING, ProblemKind.METRIC_MISSING)
    return missing and d.status.weight == 0 and define(gate).limit.relative


def _source_down(measurement: Measurement) -> Problem | None:
    return next(
        (g.problem for g in measurement.gates.values() if g.problem and g.problem.kind is ProblemKind.SOURCE_DOWN), None
    )


def _lasting(d: Draft, gate: Gate, problem: Problem | None) -> Problem | None:
    """The problem, if it is one: right after a raise, series that are not there yet are only early."""
    if problem is None or problem.kind in (ProblemKind.SOURCE_DOWN, ProblemKind.MISCONFIGURED):
        return problem
    if d.status.blind is not None and d.status.weight == 0 and d.status.peak_weight > 0:
        return problem  # after a retreat nothing but an answer is a reason to go up again
    step = d.status.step
    since = step.serving_since if step and step.serving_since else step.since if step else None
    if d.status.weight == 0 and problem.kind is ProblemKind.CANDIDATE_MISSING:
        return None
    if d.status.weight == 0 and not _needs_baseline(d, gate):
        return None
    grace = max(d.seconds(d.input.spec.warmup), 4.0 * d.interval, 10.0)
    return problem if d.since(since) > grace else None


def _note_blindness(d: Draft, problems: list[tuple[Reason, str]]) -> None:
    blind = d.status.blind
    if not problems:
        if blind is not None:
            d.event(Reason.METRICS_BACK, f"the metrics are back after {round(d.since(blind.since))} s")
            d.set(blind=None)
        return
    reason, text = problems[0]
    text += f" (and {len(problems) - 1} more)" if len(problems) > 1 and text != problems[1][1] else ""
    if blind is None:
        d.event(reason, f"the weight is held: {text}", warning=True)
        blind = Blind(since=d.now, reason=reason, message=text[:1024])
    else:
        blind = blind.model_copy(update={"reason": reason, "message": text[:1024]})
        if not blind.alerted and d.since(blind.since) >= d.seconds(d.input.spec.evaluation.blind_timeout):
            d.event(reason, f"still no metrics after blindTimeout: {text}", warning=True)
            blind = blind.model_copy(update={"alerted": True})
    d.set(blind=blind)


def _with_verdict(d: Draft, before: GateStatus | None, status: GateStatus) -> GateStatus:
    same = before is not None and before.verdict == status.verdict
    return status.model_copy(update={"since": before.since if before and same else d.now})


def _blank(gate: Gate, before: GateStatus | None, verdict: Verdict, message: str, query: str) -> GateStatus:
    if before is not None:
        return before.model_copy(update={"verdict": verdict, "message": message[:1024], "query": query or before.query})
    return GateStatus(
        name=gate.name,
        verdict=verdict,
        message=message[:1024],
        query=query[:1024],
        limit=gate.at_most or gate.at_least or "",
        definition=definition_hash(gate),
    )


def _blind(d: Draft, gate: Gate, before: GateStatus | None, problem: Problem, query: str) -> GateStatus:
    return _with_verdict(d, before, _blank(gate, before, Verdict.BLIND, problem.message, query))


def _early(d: Draft, gate: Gate, before: GateStatus | None, seen: GateMeasurement) -> GateStatus:
    if d.status.phase is Phase.ROLLING_BACK and before is not None:
        return before
    message = (
        "the candidate has no traffic yet" if d.status.weight == 0 else _EDITED if before is None else "not read yet"
    )
    message = seen.problem.message if seen.problem else message
    return _with_verdict(d, before, _blank(gate, before, Verdict.TOO_EARLY, message, seen.query))


def _judged(d: Draft, gate: Gate, before: GateStatus | None, seen: GateMeasurement) -> GateStatus:
    """The gate's status after one more interval. The candidate serves, and the gate was measured."""
    definition = define(gate)
    if definition.limit.relative and d.status.weight == 100:
        return _without_baseline(d, gate, before, seen.query)
    start = _judged_from(d.input, d.status, gate)
    state = load(before.checkpoint if before else "", definition)
    if seen.interval is not None and start is not None and seen.interval.start >= start:
        state = fold(state, seen.interval)
    assessment = judge(definition, state)
    if start is not None and d.now < start:
        wait = f"warming up: judged in {round((start - d.now).total_seconds())} s"
        assessment = _early_assessment(assessment, wait)
    return _with_verdict(d, before, _gate_status(gate, assessment, state, seen.query))


def _early_assessment(assessment: Assessment, message: str) -> Assessment:
    return Assessment(
        Verdict.TOO_EARLY,
        assessment.limit,
        message,
        value=assessment.value,
        baseline=assessment.baseline,
        samples=assessment.samples,
        baseline_samples=assessment.baseline_samples,
    )


def _without_baseline(d: Draft, gate: Gate, before: GateStatus | None, query: str) -> GateStatus:
    """At 100 % there is no baseline: a relative gate keeps its last verdict."""
    message = "NoBaseline: at 100 % nobody is left to compare with; the last verdict stands"
    if before is None or before.verdict in (Verdict.TOO_EARLY, Verdict.BLIND):
        message = "NoBaseline: at 100 % nobody is left to compare with; nothing was decided before"
        return _with_verdict(d, before, _blank(gate, before, Verdict.TOO_EARLY, message, query))
    return before if before.message.startswith("NoBaseline") else before.model_copy(update={"message": message})


def _rounded(value: float | None) -> float | None:
    return None if value is None or value in (float("inf"), float("-inf")) else float(f"{value:.6g}")


def _gate_status(gate: Gate, found: Assessment, state: GateState, query: str) -> GateStatus:
    return GateStatus(
        name=gate.name,
        verdict=found.verdict,
        value=_rounded(found.value),
        baseline=_rounded(found.baseline),
        difference=_rounded(found.difference),
        low=_rounded(found.low),
        high=_rounded(found.high),
        would_have_seen=_rounded(found.would_have_seen),
        samples=found.samples,
        baseline_samples=found.baseline_samples,
        limit=found.limit[:160],
        message=found.message[:1024],
        query=query[:1024],
        definition=definition_hash(gate),
        checkpoint=dump(state),
        shared=found.shared,
    )


def _look_for_catastrophe(d: Draft, definition: Definition, interval: Interval) -> None:
    rule = d.input.spec.evaluation.catastrophe
    if not catastrophic(definition, interval, share=parse_percent(rule.errors_above), requests=rule.min_requests):
        return
    counts = interval.candidate
    assert isinstance(counts, Counts)
    d.catastrophe = (
        f"{definition.name}: {counts.bad:.0f} of {counts.total:.0f} requests failed since the last look "
        f"(catastrophe: more than {rule.errors_above})"
    )


def split_is_off(d: Draft) -> str:
    """Why the observed split contradicts the weight asked; empty when it does not (or nobody can tell)."""
    step = d.status.step
    if step is None or step.serving_since is None or not 0 < d.status.weight < 100:
        return ""
    best = max(d.status.gates, key=lambda gate: gate.samples + gate.baseline_samples, default=None)
    if best is None or not split_differs(best.samples, best.baseline_samples, weight=d.status.weight):
        return ""
    share = best.samples / (best.samples + best.baseline_samples)
    return (
        f"the candidate has {share * 100:.3g} % of the requests that {best.name} counts, but its weight is "
        f"{d.status.weight} %: do callers bypass the route, or do retries land on the other revision?"
    )


def requests_seen(measurement: Measurement | None, since: datetime | None) -> float | None:
    """Requests of the candidate in an interval that began after ``since``; None when that was not measured."""
    if measurement is None or since is None:
        return None
    seen = None
    for gate in measurement.gates.values():
        if gate.interval is not None and gate.interval.start >= since:
            arm = gate.interval.candidate
            total = arm.total if isinstance(arm, Counts | Histogram) else 0.0
            seen = max(seen or 0.0, total)
        elif gate.problem is not None and gate.problem.kind is ProblemKind.CANDIDATE_MISSING:
            seen = max(seen or 0.0, 0.0)
    return seen
