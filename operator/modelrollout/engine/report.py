"""Conditions and columns: the same truth for GitOps controllers (kstatus), for `kubectl wait` and for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from modelrollout.api.enums import ConditionType, Phase, Reason, Verdict
from modelrollout.api.memo import once
from modelrollout.api.meta import LABEL_NAME
from modelrollout.api.status import Condition, GateStatus, ModelRolloutStatus
from modelrollout.engine import approvals
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RouteState
from modelrollout.engine.observing import observes

__all__ = ["details", "remarks", "summarize", "turns", "unreadable"]

_MOVING = (
    Phase.PENDING,
    Phase.STARTING,
    Phase.PROGRESSING,
    Phase.AWAITING_APPROVAL,
    Phase.PROMOTING,
    Phase.PAUSED,
    Phase.ROLLING_BACK,
)


_TURNS: Final = (
    *("observed_generation", "observed_revision", "hash_version", "stable", "candidate", "adopted", "weight"),
    *("peak_weight", "stable_replicas", "preflight_overruled", "approvals", "authors", "limit_changes", "overrides"),
    *("replaced_pod", "paused", "contest", "failed", "pinned", "draining_since", "handled", "notices", "history"),
    "selector",
)
"""What a crash must not lose, and what machines wait for."""
_REMARKS: Final = ("phase", "reason", "observed", "observed_weight")
"""What people read first."""
_DETAILS: Final = ("pods_missing_since", "columns")
"""What they read to find out more."""
_BAD: Final = (Verdict.BREACHED, Verdict.BLIND)
_GOOD: Final = (Verdict.NO_HARM_SEEN, Verdict.PROVEN)
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")


class _Said(NamedTuple):
    """A condition without its times."""

    type: ConditionType
    status: str
    reason: Reason
    message: str


@once
def turns(status: ModelRolloutStatus) -> list[object]:
    """The part of a status whose change is written at once. On its way to its first traffic a candidate is one turn:
    where it stands is found out again in one look, and nobody has been served by it."""
    step, blind = status.step, status.blind
    underway = status.phase in (Phase.STARTING, Phase.PROGRESSING) and not status.weight and not (step and step.role)
    said = step and (step.done, step.skipped, step.role, step.overridden)
    place = None if underway else (status.phase, step and (step.number, step.of, step.name, step.since))
    outage = blind and (blind.since, blind.reason, blind.alerted)
    in_effect = status.weight > 0 and status.observed_weight == status.weight
    return [place, said, outage, in_effect, *(getattr(status, name) for name in _TURNS)]


@once
def remarks(status: ModelRolloutStatus) -> list[object]:
    """The part whose change is written when it lasts."""
    step = status.step
    return [
        step and (step.number, step.weight, step.serving_since, step.hold_seconds, step.looked),
        [_condition(one) for one in status.conditions if one.type is not ConditionType.GATES_PASSING],
        [(gate.name, gate.verdict, gate.definition) for gate in status.gates if gate.verdict in _BAD],
        [_without_numbers(text) for text in (status.message, status.next)],
        status.weight and (status.pods_missing_since, status.split_off_since),
        *(getattr(status, name) for name in _REMARKS),
    ]


@once
def details(status: ModelRolloutStatus) -> list[object]:
    """The part whose change is written when it lasts longer; what is neither here, nor a remark, nor a turn is numbers.
    So is which of the gates that hold are proven: near the boundary that comes and goes, and a step that waits for it
    is a turn."""
    return [
        [_condition(one) for one in status.conditions if one.type is ConditionType.GATES_PASSING],
        [(gate.name, gate.verdict in _GOOD or gate.verdict, gate.definition) for gate in status.gates],
        [(one.check, one.state) for one in status.preflight],
        *(getattr(status, name) for name in _DETAILS),
    ]


def _condition(one: Condition) -> tuple[object, ...]:
    return one.type, one.status, one.reason, one.observed_generation


@lru_cache(maxsize=8192)
def _without_numbers(text: str) -> str:
    return _NUMBER.sub("#", text)


def summarize(d: Draft) -> None:
    """Fill in what people and machines look at first."""
    reason = d.status.reason
    if reason in (Reason.FROZEN, Reason.OUTSIDE_WINDOW) and reason is not d.input.status.reason:
        d.event(reason, f"{d.status.message}; {d.status.next}")
    if not d.candidate:
        d.set(observed_weight=None)
    views = [d.view(revision) for revision in {d.stable, d.candidate} if revision]
    d.set(
        observed_generation=d.input.generation,
        columns=_columns(d),
        replicas=sum(view.desired for view in views if view is not None),
        selector=f"{LABEL_NAME}={d.input.name}",
        conditions=_with_times(d.status.conditions, _conditions(d), d.input.generation, d.now),
    )


def unreadable(before: ModelRolloutStatus, generation: int, message: str, now: datetime) -> ModelRolloutStatus:
    """The status of an object whose spec this operator cannot read: what serves goes on, and somebody must act."""
    status = before.model_copy(
        update={
            "phase": Phase.STALLED,
            "reason": Reason.INVALID_SPEC,
            "message": message[:1024],
            "next": "correct spec, or run the operator that goes with this version of the CRD",
            "observed_generation": generation,
        }
    )
    verdicts = {
        ConditionType.READY: "False",
        ConditionType.RECONCILING: "False",
        ConditionType.STALLED: "True",
        ConditionType.PROGRESSING: "False",
    }
    said = [_Said(kind, verdict, status.reason, status.message) for kind, verdict in verdicts.items()]
    others = [condition for condition in before.conditions if condition.type not in verdicts]
    conditions = [*_with_times(before.conditions, said, generation, now), *others]
    return status.model_copy(update={"conditions": conditions})


def _with_times(before: Iterable[Condition], after: Iterable[_Said], generation: int, now: datetime) -> list[Condition]:
    found = {condition.type: condition for condition in before}
    return [_kept(found.get(said.type), said, generation, now) for said in after]


def _kept(before: Condition | None, said: _Said, generation: int, now: datetime) -> Condition:
    """The time of a condition is when its status last changed; most say what they said before."""
    if before is not None and (*said, generation) == (*_words_of(before), before.observed_generation):
        return before
    return Condition(
        type=said.type,
        status=said.status,
        reason=said.reason,
        message=said.message[:1024],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and before.status == said.status else now,
    )


def _words_of(condition: Condition) -> _Said:
    return _Said(condition.type, condition.status, condition.reason, condition.message)


def _conditions(d: Draft) -> list[_Said]:
    phase, reason, message = d.status.phase, d.status.reason, d.status.message
    rejected = phase is Phase.STABLE and reason in (Reason.ROUTE_NOT_ACCEPTED, Reason.INVALID_SPEC)
    ready = "True" if phase is Phase.STABLE and not rejected else "Unknown" if phase in _MOVING else "False"
    if phase is Phase.ROLLING_BACK and d.status.failed is not None:
        ready = "False"
    stalled = phase in (Phase.ROLLED_BACK, Phase.STALLED) or rejected
    moving = phase in (Phase.STARTING, Phase.PROGRESSING, Phase.PROMOTING, Phase.ROLLING_BACK)
    return [
        _Said(ConditionType.READY, ready, reason, message),
        _Said(ConditionType.RECONCILING, "True" if phase in _MOVING else "False", reason, message),
        _Said(ConditionType.STALLED, "True" if stalled else "False", reason, message if stalled else ""),
        _available(d),
        _Said(ConditionType.PROGRESSING, "True" if moving else "False", reason, message),
        _gates_passing(d),
        _metrics_available(d),
        _awaiting_approval(d),
    ]


def _available(d: Draft) -> _Said:
    view = d.view(d.stable)
    ready = view.ready if view is not None else 0
    routed = d.input.route.state is RouteState.ACCEPTED
    version = d.status.stable.version if d.status.stable else ""
    if ready > 0 and routed:
        return _Said(ConditionType.AVAILABLE, "True", Reason.SERVING, f"version {version} serves, {ready} pods")
    if not d.stable:
        message = "no revision has been promoted yet"
        return _Said(ConditionType.AVAILABLE, "False", Reason.FIRST_REVISION, message)
    message = f"{ready} pods of version {version} are ready; the route is {d.input.route.state}"
    return _Said(ConditionType.AVAILABLE, "False", Reason.WAITING_FOR_ROUTE, message)


def _gates_passing(d: Draft) -> _Said:
    gates = d.status.gates
    breached = [gate for gate in gates if gate.verdict is Verdict.BREACHED]
    if breached:
        message = f"{breached[0].name}: {breached[0].message}"
        return _Said(ConditionType.GATES_PASSING, "False", Reason.GATE_BREACHED, message)
    early = [gate for gate in gates if gate.verdict in (Verdict.TOO_EARLY, Verdict.BLIND)]
    if early or not gates:
        message = f"{early[0].name}: {early[0].message}" if early else "nothing has been judged"
        return _Said(ConditionType.GATES_PASSING, "Unknown", Reason.TOO_EARLY, message)
    weak = next((f"; but {gate.name}: {gate.underpowered}" for gate in gates if gate.underpowered), "")
    return _Said(ConditionType.GATES_PASSING, "True", Reason.GATES_PASSING, f"every gate holds{weak}")


def _metrics_available(d: Draft) -> _Said:
    blind = d.status.blind
    if blind is not None:
        return _Said(ConditionType.METRICS_AVAILABLE, "False", blind.reason, blind.message)
    if d.seeing or d.status.evaluated_at is not None:
        return _Said(ConditionType.METRICS_AVAILABLE, "True", Reason.SERVING, "the metrics are read")
    before = next((c for c in d.status.conditions if c.type is ConditionType.METRICS_AVAILABLE), None)
    if before is not None and before.status == "True":
        return _words_of(before)
    return _Said(ConditionType.METRICS_AVAILABLE, "Unknown", Reason.TOO_EARLY, "not needed yet")


def _awaiting_approval(d: Draft) -> _Said:
    """True as long as people must speak, also while the phase tells of something else that stands in the way."""
    step = d.status.step
    if d.candidate and step is not None and not d.status.phase.is_leaving and approvals.wanted(d):
        message = f"step {step.name} waits for people with the role {step.role}"
        return _Said(ConditionType.AWAITING_APPROVAL, "True", Reason.AWAITING_APPROVAL, message)
    return _Said(ConditionType.AWAITING_APPROVAL, "False", Reason.NOT_WANTED, "no approval is waited for")


def _columns(d: Draft) -> dict[str, str]:
    step, observed = d.status.step, d.status.observed_weight
    columns = {"step": f"{step.number}/{step.of}" if step is not None else "-"}
    weight = f"{d.status.weight}%"
    if d.candidate and observed is not None and observed != d.status.weight:
        weight += f" (now {observed}%)"
    columns["weight"] = weight if d.candidate else "-"
    columns["gates"] = _gates_column(d)
    return columns


def _gates_column(d: Draft) -> str:
    gates = d.status.gates
    if not gates:
        return "-"
    return f"{_gates_in_short(gates)} (observed)" if observes(d) else _gates_in_short(gates)


def _gates_in_short(gates: list[GateStatus]) -> str:
    for verdict in _BAD:
        bad = next((gate for gate in gates if gate.verdict is verdict), None)
        if bad is not None:
            return f"{bad.name} {verdict}"
    passing = sum(gate.verdict in _GOOD for gate in gates)
    return f"{passing}/{len(gates)} ok"
