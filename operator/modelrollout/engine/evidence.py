"""From measurements to gate verdicts.

Each gate's test folds in the intervals that were read, one after the other; what is known is kept in status. Nothing
here knows which kind of gate it has before it (:mod:`modelrollout.engine.gate_tests` does), and nothing acts on a
verdict (:mod:`modelrollout.engine.guards` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from modelrollout.api.enums import Reason, Verdict
from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.grammar import parse_limit, parse_percent
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import GateStatus, LimitChange
from modelrollout.engine import approvals
from modelrollout.engine.blindness import (
    lasting,
    no_baseline_yet,
    note_blindness,
    source_down,
    without_unneeded_problem,
)
from modelrollout.engine.draft import Draft
from modelrollout.engine.folding import Folder, folded
from modelrollout.engine.foresight import Traffic, cannot_see, traffic_of
from modelrollout.engine.gate_tests import compiled, definition_hash, is_relative
from modelrollout.engine.looking import (
    extended,
    judged_from,
    measurement_plan,
    seconds_until_due,
    stay_of,
    warm_from,
)
from modelrollout.engine.model import GateMeasurement, Measurement, Plan, Problem, ProblemKind
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.base import GateTest
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval
from modelrollout.gates.pods import carried_by_one
from modelrollout.gates.rate import RateTest
from modelrollout.gates.report import ReportTest
from modelrollout.gates.split import split_differs

__all__ = [
    "PASSING",
    "Plan",
    "all_gates_together",
    "begun_anew",
    "definition_hash",
    "follow_gate_edits",
    "judged_anew",
    "measurement_plan",
    "note_split",
    "one_bad_pod",
    "requests_seen",
    "seconds_until_due",
    "split_is_off",
    "take_evidence",
    "take_glance",
    "take_planned_look",
    "warm_from",
]

_NOT_READ: Final = GateMeasurement()
_EDITED: Final = "edited: judged from the beginning of the step"
_FORGOTTEN: Final = {
    "verdict": Verdict.TOO_EARLY,
    "message": _EDITED,
    "restarted_because": _EDITED,
    "checkpoint": "",
    "covered_seconds": 0.0,
    "evidence": None,
    "pods": {},
    "underpowered": "",
    "shared": False,
    "leaning": False,
    "unseen": "",
}
_STEP_BEGINS: Final = {
    "samples": 0,
    "baseline_samples": 0,
    "verdict": Verdict.TOO_EARLY,
    "shared": False,
    "leaning": False,
    "unseen": "",
    "covered_seconds": 0.0,
}
PASSING: Final = (Verdict.NO_HARM_SEEN, Verdict.PROVEN)
_ROOM: Final = 6_000
_NEW: Final = "not read yet"
_NO_BASELINE: Final = "NoBaseline: at 100 % nobody is left to compare with"
_SUSPICION_ENDS: Final = 0.15
_MOST_PODS: Final = 16


@dataclass(frozen=True, slots=True)
class _Look:
    """What is at hand about one gate in this look."""

    gate: Gate
    before: GateStatus | None
    seen: GateMeasurement
    past: tuple[Interval, ...] | None
    room: int
    """Letters that a text of this gate may take: with many gates, status would burst otherwise."""
    definition: str


def follow_gate_edits(d: Draft) -> None:
    """A gate that ``spec`` names no more is forgotten; an edited one is undecided until it is read anew, and a limit
    that was loosened is recorded."""
    if not d.status.candidate:
        return
    wanted = {gate.name: gate for gate in d.input.spec.gates}
    if not wanted and d.status.blind is not None:
        d.set(blind=None)
    gates = []
    for known in d.status.gates:
        gate = wanted.get(known.name)
        if gate is None:
            approvals.void(d, f"gate {known.name} was taken away")
            continue
        definition = definition_hash(gate, d.input.spec.evaluation)
        if known.definition == definition:
            gates.append(known)
            continue
        _record_loosening(d, gate, known)
        stay = stay_of(d.status.spans)
        told = {"definition": definition, "evidence_since": stay[0].start if stay else d.now}
        gates.append(known.model_copy(update=_FORGOTTEN | told))
    if gates != d.status.gates:
        d.set(gates=gates)


def _record_loosening(d: Draft, gate: Gate, known: GateStatus) -> None:
    """A loosened limit stays on record; what was rolled back by the old one stays rolled back."""
    try:
        old, new = parse_limit(known.says, kind=gate.kind), gate.limit
    except ValueError:
        return
    baseline = known.baseline if known.baseline is not None else 0.5
    before, after = old.at(baseline) or 0.0, new.at(baseline) or 0.0
    looser = after < before if gate.at_least is not None else after > before
    if looser:
        by = d.input.author or d.input.edited_by
        change = LimitChange(gate=gate.name, old=known.says, new=new.text, at=d.now, by=by[:253])
        d.set(limit_changes=[change, *d.status.limit_changes][:5])
        approvals.void(d, f"the limit of {gate.name} was loosened from {known.says} to {new.text}")
        d.event(Reason.GATE_WARNED, f"the limit of {gate.name} was loosened from {known.says} to {new.text}")


def judged_anew(d: Draft, weight: int) -> list[GateStatus]:
    """The gates when another weight begins: what is shown is of the new split alone, while the evidence, which is
    stratified, goes on. At 100 % nobody is left to compare with, so relative gates keep the verdict that brought the
    candidate there."""
    kept = {gate.name for gate in d.input.spec.gates if is_relative(gate)} if weight == 100 else set()
    return [
        gate if gate.name in kept and gate.verdict in PASSING else gate.model_copy(update=_STEP_BEGINS)
        for gate in d.status.gates
    ]


def take_glance(d: Draft) -> None:
    """What was read between two looks is no evidence of any gate, but may be a catastrophe: in its last part alone, or
    all of it together."""
    if d.input.glance is None or d.status.weight == 0:
        return
    known = {gate.name: gate for gate in d.status.gates}
    for gate in d.input.spec.gates:
        parts = d.input.glance.gates.get(gate.name, _NOT_READ).intervals
        if parts:
            _look_for_catastrophe(d, gate, known.get(gate.name), [parts[-1], _joined(parts)])


def _joined(parts: Sequence[Interval]) -> Interval:
    """Intervals of counts as one."""
    ours = [one.candidate for one in parts if isinstance(one.candidate, Counts)]
    theirs = [one.baseline for one in parts if isinstance(one.baseline, Counts)]
    none = Counts(0.0, 0.0)
    return Interval(parts[0].start, parts[-1].end, sum(ours, none), sum(theirs, none))


def take_evidence(d: Draft) -> None:
    """Fold a measurement into the gates' verdicts, and notice outages and catastrophes."""
    measurement = d.input.measurement
    if measurement is None:
        return
    down = source_down(measurement)
    serving = d.status.step is not None and d.status.step.serving_since is not None and d.status.weight > 0
    if down is None and serving and d.status.evaluated_at is not None:
        d.set(spans=extended(d, d.status.evaluated_at, measurement.end))
    known = {gate.name: gate for gate in d.status.gates}
    gates: list[GateStatus] = []
    problems: list[tuple[Reason, str]] = []
    unsure = False
    for gate in d.input.spec.gates:
        room = min(1024, _ROOM // len(d.input.spec.gates))
        past = measurement.past.get(gate.name)
        seen = without_unneeded_problem(d, gate, measurement.gates.get(gate.name, _NOT_READ))
        definition = definition_hash(gate, d.input.spec.evaluation)
        look = _Look(gate, known.get(gate.name), seen, past, room, definition)
        status, problem, sure = _weigh(d, look, down, serving=serving)
        gates.append(status)
        unsure = unsure or (gate.required and not sure)
        if problem is not None and gate.required:
            problems.append((problem.reason, problem.message if down else f"{gate.name}: {problem.message}"))
    d.set(gates=gates)
    all_gates_together(d)
    if down is None and (serving or d.status.phase.is_leaving):
        d.set(evaluated_at=measurement.end)
    split = _split_that_stays_off(d)
    d.seeing = not problems and not unsure and not split
    if not d.status.phase.is_leaving:
        note_blindness(d, problems or split)


def _weigh(d: Draft, look: _Look, down: Problem | None, *, serving: bool) -> tuple[GateStatus, Problem | None, bool]:
    """One gate: its status, a problem that makes it blind, and whether it was really seen."""
    try:
        problem = down or lasting(d, look.gate, look.seen.problem) or _unreadable_report(d, look)
        if look.seen.interval is not None and d.status.weight > 0:
            _look_for_catastrophe(d, look.gate, look.before, look.seen.intervals)
        if problem is None:
            status, sure = _measured(d, look, serving=serving)
            return status, None, sure
    except (ValueError, TypeError) as error:
        problem = Problem(ProblemKind.MISCONFIGURED, str(error))
    return _blind(d, look, problem), problem, False


def _measured(d: Draft, look: _Look, *, serving: bool) -> tuple[GateStatus, bool]:
    """The status of a gate that has no lasting problem, and whether it was really seen."""
    gate, seen = look.gate, look.seen
    if seen.problem is not None or not serving:
        status = _early(d, replace(look, before=_with_past(d, look) or look.before))
        return status, not no_baseline_yet(d, gate, seen.problem)
    unread = look.before is None and seen.interval is None and not seen.report
    return (_early(d, look), False) if unread else (_judged(d, look), True)


def _unreadable_report(d: Draft, look: _Look) -> Problem | None:
    """What is wrong with the report, also before there is any traffic."""
    test = _test(d, look.gate) if look.seen.report else None
    if not isinstance(test, ReportTest):
        return None
    try:
        test.read(test.start(), look.seen.report)
    except ValueError as error:
        return Problem(ProblemKind.MISCONFIGURED, str(error))
    return None


def _with_past(d: Draft, look: _Look) -> GateStatus | None:
    """The gate with what the baseline's past teaches, once it was read; None when there is nothing to add."""
    if look.past is None or (look.before is not None and look.before.checkpoint):
        return None
    test = _test(d, look.gate)
    assert isinstance(test, RateTest), "only of gates over counts the past is asked for"
    blank = look.before or _blank(look, Verdict.TOO_EARLY, _NEW)
    history = test.learn(look.past)
    test = replace(test, history=history)
    state = test.start()
    found = traffic_of(look.past, test.baseline_share(state), test.noise_floor(state))
    return blank.model_copy(
        update={
            "checkpoint": test.dump(state),
            "underpowered": blank.underpowered or _underpowered(d, look, test, found),
            "noise_floor": _rounded(history.floor),
            "noise_known": history.floor is not None,
            "says": look.gate.limit.text,
        }
    )


def _underpowered(d: Draft, look: _Look, test: RateTest, found: Traffic | None) -> str:
    """What the gate will not see, told once."""
    text = "" if found is None else cannot_see(look.gate, test, d.input.spec, found)
    if text:
        d.event(Reason.GATE_UNDERPOWERED, f"{look.gate.name}: {text}", warning=True)
    return text[: look.room]


def _underpowered_here(
    d: Draft, look: _Look, before: GateStatus | None, test: GateTest[Any], state: Any, found: Assessment
) -> str:
    """The same without history, from the step's own counts, when it first has enough of them."""
    known = before is not None and (before.noise_known or before.underpowered or before.verdict in PASSING)
    if known or found.verdict not in PASSING or not isinstance(test, RateTest):
        return before.underpowered if before is not None else ""
    seconds = max(sum((span.end - span.start).total_seconds() for span in stay_of(d.status.spans)), d.interval)
    rate = (found.samples + found.baseline_samples) / seconds
    return _underpowered(d, look, test, Traffic(rate, test.baseline_share(state), test.noise_floor(state)))


def _judged(d: Draft, look: _Look) -> GateStatus:
    """The gate's status after what was read. The candidate serves, and the gate was measured."""
    gate = look.gate
    if is_relative(gate) and d.status.weight == 100:
        return _without_baseline(d, look)
    test = _test(d, gate)
    before = _with_past(d, look) or look.before
    try:
        state = _state(d, test, before)
    except ValueError as error:
        return _read_again(d, look, error)
    resumed = look.before is not None and bool(look.before.checkpoint)
    checkpoint = before.checkpoint if before is not None else ""
    folder = Folder(test, state, checkpoint, d.input.ahead.get(gate.name))
    state, covered = folded(folder, gate, look.seen.intervals, d.status.spans, resumed=resumed)
    if isinstance(test, ReportTest) and look.seen.report:
        state = test.read(state, look.seen.report)
    assessment = test.assess(state)
    start = judged_from(d.input, d.status, gate)
    if start is not None and d.now < start and assessment.verdict is not Verdict.BREACHED:
        wait = f"warming up: judged in {round((start - d.now).total_seconds())} s"
        assessment = replace(assessment, verdict=Verdict.TOO_EARLY, message=wait, would_have_seen=None)
    covered += look.before.covered_seconds if look.before is not None and resumed else 0.0
    told: dict[str, Any] = {
        "since": _since(d, look.before, assessment.verdict),
        "checkpoint": test.dump(state),
        "covered_seconds": round(covered, 3),
        "underpowered": _underpowered_here(d, look, before, test, state, assessment),
        "pods": _pods(assessment, look),
    }
    told |= _found(look, assessment)
    return GateStatus(name=gate.name, **told) if before is None else before.model_copy(update=told)


def _test(d: Draft, gate: Gate) -> GateTest[Any]:
    return compiled(gate, d.input.spec)


def _loaded(d: Draft, test: GateTest[Any], checkpoint: str) -> Any:
    """The state that a checkpoint holds.

    Raises
    ------
    ValueError
        If it is none of this gate's.
    """
    if checkpoint not in d.states:
        d.states[checkpoint] = test.load(checkpoint)
    return d.states[checkpoint]


def _state(d: Draft, test: GateTest[Any], before: GateStatus | None) -> Any:
    """The state that status keeps; a fresh one where it keeps none. Errors as :func:`_loaded`."""
    return test.start() if before is None or not before.checkpoint else _loaded(d, test, before.checkpoint)


def _read_again(d: Draft, look: _Look, error: ValueError) -> GateStatus:
    """A checkpoint that cannot be read (written by another version) costs no evidence: all of it is read again."""
    text = f"its checkpoint could not be read ({error}); the evidence is read again"
    return _with_verdict(d, look.before, _blank(look, Verdict.TOO_EARLY, text).model_copy(update={"checkpoint": ""}))


def take_planned_look(d: Draft) -> None:
    """The hold is over: every gate's planned look, once, at the last instant that was read."""
    step = d.status.step
    if step is None or step.looked:
        return
    gates = []
    for gate in d.input.spec.gates:
        known = next((one for one in d.status.gates if one.name == gate.name), None)
        if known is None:
            continue
        gates.append(_looked(d, gate, known))
    spans = d.status.spans
    if spans:
        spans = [*spans[:-1], spans[-1].model_copy(update={"looked_at": spans[-1].end})]
    d.set(gates=gates, spans=spans, step=step.model_copy(update={"looked": True}))


def _looked(d: Draft, gate: Gate, known: GateStatus) -> GateStatus:
    if not known.checkpoint or (is_relative(gate) and d.status.weight == 100):
        return known
    test = _test(d, gate)
    try:
        state = test.end_hold(_loaded(d, test, known.checkpoint))
    except ValueError:
        return known.model_copy(update={"checkpoint": ""})
    found = test.assess(state)
    if found.verdict is not Verdict.BREACHED or known.verdict is Verdict.BREACHED:
        return known.model_copy(update={"checkpoint": test.dump(state)})
    told = {"verdict": found.verdict, "message": found.message[:1024], "evidence": 1.0, "since": d.now}
    return known.model_copy(update=told | {"checkpoint": test.dump(state), "shared": found.shared})


def all_gates_together(d: Draft) -> None:
    """Evidence that is enough only in sum breaches the gate that has most of it.

    A weighted mean of e-values is one (V. Vovk, R. Wang, Annals of Statistics 49, 2021), whatever their dependence.
    """
    acting = {gate.name: gate for gate in d.input.spec.gates if gate.on_breach is OnBreach.ROLLBACK}
    stakes = {}
    for status in d.status.gates:
        gate = acting.get(status.name)
        if gate is None or status.verdict in (Verdict.BREACHED, Verdict.BLIND) or not status.evidence:
            continue
        if gate.name in d.status.accepted:
            continue
        if gate.kind in ("ratio", "latency"):
            test = _test(d, gate)
            assert isinstance(test, RateTest)
            stakes[status.name] = test.alpha ** (1.0 - status.evidence)
    if len(stakes) < 2 or sum(stakes.values()) < 1.0:
        return
    worst = max(stakes, key=lambda name: stakes[name])
    told = {"verdict": Verdict.BREACHED, "since": d.now, "evidence": 1.0}
    d.set(gates=[one.model_copy(update=told) if one.name == worst else one for one in d.status.gates])


def _with_verdict(d: Draft, before: GateStatus | None, status: GateStatus) -> GateStatus:
    return status.model_copy(update={"since": _since(d, before, status.verdict)})


def _since(d: Draft, before: GateStatus | None, verdict: Verdict) -> datetime | None:
    """Since when the verdict is what it is."""
    return before.since if before is not None and before.verdict is verdict else d.now


def _blank(look: _Look, verdict: Verdict, message: str) -> GateStatus:
    query = look.seen.query
    if look.before is not None:
        update = {
            "verdict": verdict,
            "message": message[: look.room],
            "query": (query or look.before.query)[: look.room],
        }
        return look.before.model_copy(update=update)
    return GateStatus(
        name=look.gate.name,
        verdict=verdict,
        message=message[: look.room],
        query=query[: look.room],
        limit=look.gate.at_most or look.gate.at_least or "",
        definition=look.definition,
    )


def _blind(d: Draft, look: _Look, problem: Problem) -> GateStatus:
    return _with_verdict(d, look.before, _blank(look, Verdict.BLIND, problem.message))


def _early(d: Draft, look: _Look) -> GateStatus:
    before = look.before
    if d.status.phase.is_leaving and before is not None:
        return before
    message = "the candidate has no traffic yet" if d.status.weight == 0 else _NEW
    if before is not None and before.message == _EDITED:
        message = _EDITED
    message = look.seen.problem.message if look.seen.problem else message
    return _with_verdict(d, before, _blank(look, Verdict.TOO_EARLY, message))


def _without_baseline(d: Draft, look: _Look) -> GateStatus:
    """At 100 % there is no baseline: a relative gate keeps its last verdict."""
    before = look.before
    if before is None or before.verdict in (Verdict.TOO_EARLY, Verdict.BLIND):
        return _with_verdict(d, before, _blank(look, Verdict.TOO_EARLY, f"{_NO_BASELINE}; nothing was decided before"))
    if before.message.startswith(_NO_BASELINE):
        return before
    return before.model_copy(update={"message": f"{_NO_BASELINE}; the last verdict stands: {before.message}"[:1024]})


def _rounded(value: float | None) -> float | None:
    return None if value is None or value in (float("inf"), float("-inf")) else float(f"{value:.6g}")


def _found(look: _Look, found: Assessment) -> dict[str, Any]:
    """What a gate's status says of an assessment."""
    note = f" ({look.seen.note})" if look.seen.note and look.seen.note not in found.message else ""
    return {
        "verdict": found.verdict,
        "value": _rounded(found.value),
        "baseline": _rounded(found.baseline),
        "difference": _rounded(found.difference),
        "low": _rounded(found.low),
        "high": _rounded(found.high),
        "would_have_seen": _rounded(found.would_have_seen),
        "samples": found.samples,
        "baseline_samples": found.baseline_samples,
        "limit": found.limit[:160],
        "message": f"{found.message}{note}"[: look.room],
        "query": look.seen.query[: look.room] or (look.before.query if look.before else ""),
        "definition": look.before.definition if look.before is not None else look.definition,
        "says": look.gate.limit.text,
        "evidence": _rounded(found.evidence),
        "leaning": found.leaning,
        "unseen": found.unseen[: look.room],
        "shared": found.shared,
    }


def _pods(found: Assessment, look: _Look) -> dict[str, str]:
    """What each pod did since there is evidence against the candidate."""
    if (_rounded(found.evidence) or 0.0) < _SUSPICION_ENDS:
        return {}
    pods = dict(look.before.pods) if look.before is not None else {}
    for name, arm in (look.seen.pods or {}).items():
        more = _bad(look.gate, arm)
        if more is not None and (name in pods or len(pods) < _MOST_PODS):
            bad, _, total = pods.get(name, "0/0").partition("/")
            pods[name] = f"{float(bad) + more.bad:g}/{float(total) + more.total:g}"
    return pods


def _bad(gate: Gate, arm: Arm) -> Counts | None:
    if isinstance(arm, Counts):
        return arm
    if isinstance(arm, Histogram) and gate.latency is not None and not gate.limit.relative and arm.bounds:
        return arm.slower_than(arm.bound_at_or_above(gate.limit.offset))
    return None


def one_bad_pod(gate: Gate, status: GateStatus, spec: ModelRolloutSpec) -> str:
    """Name of the pod that alone carries a breach; empty when it is the model."""
    test = compiled(gate, spec)
    if not isinstance(test, RateTest) or not status.checkpoint:
        return ""
    pods = {}
    for name, text in status.pods.items():
        bad, _, total = text.partition("/")
        pods[name] = Counts(float(bad), float(total))
    return carried_by_one(pods, test.line, test.baseline_share(test.load(status.checkpoint)))


def begun_anew(d: Draft, because: str) -> list[GateStatus]:
    """Every gate without its evidence; it begins with what the baseline's past teaches, as at first.

    It costs nothing of the budget: a rollback that follows has been preceded by a first breach, whose probability the
    budget bounds already.
    """
    told = {"message": because[:1024], "restarted_because": because[:1024], "evidence_since": None}
    return [gate.model_copy(update=_FORGOTTEN | told) for gate in d.status.gates]


def _look_for_catastrophe(d: Draft, gate: Gate, before: GateStatus | None, intervals: Sequence[Interval]) -> None:
    if gate.on_breach is not OnBreach.ROLLBACK or gate.ratio is None:
        return
    test = _test(d, gate)
    assert isinstance(test, RateTest)
    try:
        state = _state(d, test, before)
    except ValueError:
        state = test.start()
    rule = d.input.spec.evaluation.catastrophe
    for interval in intervals:
        if test.catastrophe(state, interval, share=parse_percent(rule.errors_above), requests=rule.min_requests):
            counts = interval.candidate
            assert isinstance(counts, Counts)
            d.catastrophe = d.catastrophe or (
                f"{gate.name}: {counts.bad:.0f} of {counts.total:.0f} requests failed within "
                f"{(interval.end - interval.start).total_seconds():g} s (catastrophe: more than {rule.errors_above})"
            )


def split_is_off(d: Draft) -> str:
    """Why the observed split contradicts the weight asked; empty when it does not (or nobody can tell)."""
    step = d.status.step
    if step is None or step.serving_since is None or not 0 < d.status.weight < 100:
        return ""
    counting = {gate.name for gate in d.input.spec.gates if gate.kind in ("ratio", "latency")}
    told = [gate for gate in d.status.gates if gate.name in counting and gate.verdict is not Verdict.BLIND]
    best = max(told, key=lambda gate: gate.samples + gate.baseline_samples, default=None)
    if best is None or not split_differs(best.samples, best.baseline_samples, weight=d.status.weight):
        return ""
    share = best.samples / (best.samples + best.baseline_samples)
    return (
        f"the candidate has {share * 100:.3g} % of the requests that {best.name} counts, but its weight is "
        f"{d.status.weight} %: do callers bypass the route, or do retries land on the other revision?"
    )


def note_split(d: Draft) -> None:
    """Since when the split is off."""
    d.set(split_off_since=(d.status.split_off_since or d.now) if split_is_off(d) else None)


def _split_that_stays_off(d: Draft) -> list[tuple[Reason, str]]:
    """When the split is off for longer than ``blindTimeout`` it counts as blind, whatever the numbers."""
    since, off = d.status.split_off_since, split_is_off(d)
    lasts = since is not None and d.since(since) >= d.seconds(d.input.spec.evaluation.blind_timeout)
    return [(Reason.SPLIT_MISMATCH, off)] if off and lasts else []


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
