"""The way of the candidate: its pods start, it takes traffic step by step, and it becomes stable.

Weight goes up in two movements, each of which survives a crash: the step is entered (status), then the weight is set
once the pods can carry it and this very look at the metrics was a seeing one.
"""

from __future__ import annotations

import math

from modelrollout.api.enums import Outcome, Phase, Reason, Role, Verdict
from modelrollout.api.grammar import format_duration
from modelrollout.api.rollout import Scaling
from modelrollout.api.status import HistoryEntry, Pause, StepStatus
from modelrollout.engine import identity, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import split_is_off, warm_from
from modelrollout.engine.model import RouteState, SetRole

__all__ = ["begin", "go_on", "is_fast", "may_raise", "pods_for"]

_FORGOTTEN = {"checkpoint": "", "samples": 0, "baseline_samples": 0, "verdict": Verdict.TOO_EARLY, "shared": False}
_PASSING = (Verdict.NO_HARM_SEEN, Verdict.PROVEN)


def is_fast(d: Draft) -> bool:
    """Whether the candidate goes to 100 % without steps: the first revision, or one that was promoted before."""
    view = d.view(d.candidate)
    return not d.stable or (view is not None and view.promoted_at is not None)


def pods_for(d: Draft, weight: int) -> int:
    """Pods that a weight (percent) needs."""
    workload = d.input.spec.workload
    if workload.scaling is Scaling.FULL or weight >= 100:
        return workload.replicas
    return min(workload.replicas, max(2, math.ceil(workload.replicas * weight / 100)))


def begin(d: Draft, target: str) -> None:
    """A new candidate: against the same stable, from the first step."""
    if d.candidate:
        rollback.record(d, Outcome.SUPERSEDED, Reason.SUPERSEDED, f"revision {target} was named in its stead")
    first_of = len(d.input.spec.steps)
    d.set(
        candidate=identity.ref(d, target, d.now),
        step=StepStatus(number=0, of=first_of, name="start", since=d.now),
        weight=0,
        peak_weight=0,
        stable_replicas=_stable_pods(d),
        gates=[],
        evaluated_at=None,
        breach_since=None,
        blind=None,
        failed=None,
        paused=None,
        observed_revision=target,
    )
    version = d.status.candidate.version if d.status.candidate else ""
    if not d.stable:
        reason, message = Reason.FIRST_REVISION, f"version {version} is the first one: it is deployed without steps"
    elif is_fast(d):
        reason, message = Reason.REVERTED_TO_PREVIOUS, f"going back to version {version}, which was promoted before"
    else:
        reason, message = Reason.NEW_REVISION, f"version {version} is starting beside the stable revision"
    d.event(reason, message)
    d.say(Phase.STARTING, reason, message, "its pods must become ready")
    d.wake_in(1.0)


def _stable_pods(d: Draft) -> int:
    view = d.view(d.stable)
    return view.desired if view is not None else 0


def go_on(d: Draft) -> None:
    """One look at a candidate on its way."""
    _note_pause_in_spec(d)
    if _broken_pods(d) or _breached(d):
        return
    if is_fast(d) or d.status.phase is Phase.PROMOTING:
        _promote(d)
    elif d.status.step is None or d.status.step.number == 0:
        _start(d)
    else:
        _step(d)
    d.wake_in(d.interval)


def _note_pause_in_spec(d: Draft) -> None:
    """Keep status honest about a pause in spec, without touching one that a human decided."""
    paused = d.status.paused
    if d.input.spec.paused and paused is None:
        d.set(paused=Pause(reason=Reason.PAUSED_BY_SPEC, at=d.now, message="spec.paused is true"))
    elif not d.input.spec.paused and paused is not None and paused.reason is Reason.PAUSED_BY_SPEC:
        d.set(paused=None)


def _broken_pods(d: Draft) -> bool:
    view = d.view(d.candidate)
    if view is None:
        return False
    if view.failure:
        reason = Reason.PODS_FAILING if d.status.weight > 0 else Reason.FAILED_TO_START
        rollback.roll_back(d, reason, view.failure)
        return True
    deadline = d.seconds(d.input.spec.workload.progress_deadline)
    started = view.progress_at or (d.status.step.since if d.status.step else None)
    late = view.ready < view.desired and not view.waiting and d.since(started) > deadline
    if late:
        message = f"{view.ready} of {view.desired} pods ready, and no progress for {format_duration(d.since(started))}"
        rollback.roll_back(d, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return late


def _breached(d: Draft) -> bool:
    if d.catastrophe and d.status.weight > 0:
        rollback.roll_back(d, Reason.CATASTROPHE, d.catastrophe)
        return True
    mismatch = bool(split_is_off(d))
    relative = {gate.name for gate in d.input.spec.gates if "baseline" in (gate.at_most or gate.at_least or "")}
    breached = [
        gate
        for gate in d.status.gates
        if gate.verdict is Verdict.BREACHED and not gate.shared and not (mismatch and gate.name in relative)
    ]
    if not breached or d.status.weight == 0:
        d.set(breach_since=None)
        return False
    since = d.status.breach_since or d.now
    d.set(breach_since=since)
    left = d.seconds(d.input.spec.evaluation.min_breach_time) - d.since(since)
    if left > 0:
        d.wake_in(left)
        return False
    worst = breached[0]
    message = f"{worst.name}: {worst.message}; {worst.samples} samples against {worst.baseline_samples}"
    rollback.roll_back(d, Reason.GATE_BREACHED, message)
    return True


def may_raise(d: Draft) -> str:
    """Why the weight must not go up now; empty when it may. A human's promotion overrules all but missing pods."""
    if d.human_raise or (d.status.step is not None and d.status.step.skipped):
        return ""
    if d.input.frozen:
        return f"frozen: {d.input.frozen}"
    if d.status.paused is not None or d.input.spec.paused:
        return "paused"
    if d.status.blind is not None:
        return f"no metrics: {d.status.blind.message}"
    if d.input.spec.gates and not d.seeing:
        return "waiting for a fresh look at the metrics"
    return ""


def _held_back(d: Draft, why: str) -> tuple[Phase, Reason, str, str]:
    """Phase, reason, message and next sentence for a candidate that must not go up."""
    paused = d.status.paused
    if d.input.frozen:
        return Phase.PROGRESSING, Reason.FROZEN, f"steps up are frozen: {d.input.frozen}", "lift the freeze"
    if paused is not None:
        return Phase.PAUSED, paused.reason, paused.message, _how_to_resume(paused)
    if d.status.blind is not None:
        message = f"the weight is held: {d.status.blind.message}"
        following = "goes on when the metrics return"
        if d.status.blind.reason is Reason.GATE_MISCONFIGURED:
            following = "correct the gate, or the scraping of the pods"
        return _current_phase(d), d.status.blind.reason, message, following
    return _current_phase(d), Reason.HOLDING, why, "looks again at the next interval"


def _current_phase(d: Draft) -> Phase:
    return Phase.STARTING if d.status.step is None or d.status.step.number == 0 else Phase.PROGRESSING


def _how_to_resume(paused: Pause) -> str:
    if paused.reason is Reason.PAUSED_BY_SPEC:
        return "set spec.paused to false"
    return "type: kubectl modelrollout resume, or abort"


def _ready_for(d: Draft, weight: int) -> bool:
    """Whether the candidate's pods can carry a weight; says why not when they cannot."""
    view = d.view(d.candidate)
    needed = pods_for(d, weight)
    if view is not None and view.ready >= needed:
        return True
    have = view.ready if view is not None else 0
    if view is not None and view.waiting:
        d.say(_current_phase(d), Reason.WAITING_FOR_CAPACITY, view.waiting, "goes on when there is room")
    else:
        message = f"{have} of {needed} pods of version {_version(d)} are ready"
        d.say(_current_phase(d), Reason.STARTING_PODS, message, f"weight {weight} % when they all are")
    return False


def _version(d: Draft) -> str:
    return d.status.candidate.version if d.status.candidate else ""


def _start(d: Draft) -> None:
    """At weight 0: pods, the backend in the route, and eyes open; then the first step."""
    steps = d.input.spec.steps
    if not _ready_for(d, steps[0].weight):
        return
    in_route = d.input.route.state is RouteState.ACCEPTED and d.candidate in d.input.route.weights
    if not in_route:
        message = d.input.route.message or "waiting for the gateway to accept the route with the candidate at weight 0"
        reason = Reason.ROUTE_NOT_ACCEPTED if d.input.route.state is RouteState.REJECTED else Reason.WAITING_FOR_ROUTE
        d.say(Phase.STARTING, reason, message, "then the first step")
        return
    _enter(d, 1)
    _step(d)


def _enter(d: Draft, number: int) -> None:
    """Enter a step; its weight follows when the pods can carry it."""
    step = d.input.spec.steps[number - 1]
    keep = step.weight == 100
    relative = {gate.name for gate in d.input.spec.gates if "baseline" in (gate.at_most or gate.at_least or "")}
    gates = [gate if keep and gate.name in relative else gate.model_copy(update=_FORGOTTEN) for gate in d.status.gates]
    d.set(
        step=StepStatus(
            number=number,
            of=len(d.input.spec.steps),
            name=step.title,
            weight=step.weight,
            since=d.now,
            hold_seconds=d.seconds(step.hold),
        ),
        gates=gates,
        phase=Phase.PROGRESSING,
    )


def _step(d: Draft) -> None:
    """One look at a step: set its weight, see it in effect, count the hold, go on when it is over and all is well."""
    _follow_edits(d)
    step = d.status.step
    assert step is not None
    if d.status.weight < step.weight:
        if not _raise_to(d, step.weight):
            return
        step = d.status.step
        assert step is not None
    observed = d.input.route.weights.get(d.candidate)
    in_effect = observed == d.status.weight and d.input.route.state is RouteState.ACCEPTED
    if step.serving_since is None:
        if not in_effect:
            message = d.input.route.message or f"weight {step.weight} % is asked; the gateway has not accepted it yet"
            d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, message, "the hold begins when it is in effect")
            return
        step = step.model_copy(update={"serving_since": d.now, "credited_at": d.now})
        d.set(step=step, evaluated_at=d.status.evaluated_at or d.now)
    waiting = _why_not_counting(d, in_effect)
    _credit(d, counting=not waiting)
    if step.skipped:
        _next_step(d)
    else:
        _hold(d, waiting)


def _raise_to(d: Draft, weight: int) -> bool:
    """Ask for a higher weight if that may be; says why not otherwise."""
    why = may_raise(d)
    if why:
        d.say(*_held_back(d, why))
        return False
    if not _ready_for(d, weight):
        return False
    step = d.status.step
    anew = step.model_copy(update={"serving_since": None}) if step is not None else None
    d.set(weight=weight, peak_weight=max(d.status.peak_weight, weight), step=anew)
    d.event(Reason.RAISING_WEIGHT, f"version {_version(d)} gets {weight} % of the traffic")
    return True


def _follow_edits(d: Draft) -> None:
    """After an edit of the steps: the step of the same name, else the last one that is not above the current weight."""
    step, steps = d.status.step, d.input.spec.steps
    assert step is not None
    titles = [one.title for one in steps]
    if step.name in titles:
        number = titles.index(step.name) + 1
    else:
        number = max((n for n, one in enumerate(steps, 1) if one.weight <= max(d.status.weight, 1)), default=1)
    chosen = steps[number - 1]
    d.set(
        step=step.model_copy(
            update={
                "number": number,
                "of": len(steps),
                "name": chosen.title,
                "weight": chosen.weight,
                "hold_seconds": d.seconds(chosen.hold),
            }
        )
    )


def _why_not_counting(d: Draft, in_effect: bool) -> tuple[Reason, str] | None:
    """Why this time does not count for the hold; None when it does."""
    view = d.view(d.candidate)
    warm = warm_from(d.input, d.status) or d.now
    if not in_effect:
        return Reason.WAITING_FOR_ROUTE, d.input.route.message or "the weight asked is not in effect"
    if view is None or view.ready < pods_for(d, d.status.weight):
        return Reason.STARTING_PODS, "not all of the candidate's pods are ready"
    if d.now < warm:
        return Reason.WARMING_UP, f"warming up for {format_duration((warm - d.now).total_seconds())} more"
    off = split_is_off(d)
    if off:
        return Reason.SPLIT_MISMATCH, off
    shared = [gate for gate in d.status.gates if gate.shared]
    if shared:
        return Reason.SHARED_DEGRADATION, f"{shared[0].name} is beyond its limit in both revisions: {shared[0].message}"
    return None


def _credit(d: Draft, *, counting: bool) -> None:
    """Count the time since the last look for the hold; after an absence of the operator at most two intervals."""
    step = d.status.step
    assert step is not None
    stopped = d.status.paused is not None or bool(d.input.frozen) or d.status.blind is not None
    gained = min(d.since(step.credited_at), 2.0 * d.interval) if counting and not stopped else 0.0
    d.set(step=step.model_copy(update={"held_seconds": round(step.held_seconds + gained, 3), "credited_at": d.now}))


def _hold(d: Draft, waiting: tuple[Reason, str] | None) -> None:
    """Say what is being waited for, or go on."""
    step = d.status.step
    assert step is not None
    if d.input.frozen or d.status.paused is not None or d.status.blind is not None:
        _retreat_if_asked(d)
        d.say(*_held_back(d, ""))
        return
    if waiting is not None:
        d.say(Phase.PROGRESSING, waiting[0], waiting[1], f"then {_left(step)} of the hold at {step.weight} %")
        return
    if d.status.breach_since is not None:
        breached = next(gate for gate in d.status.gates if gate.verdict is Verdict.BREACHED)
        message = f"{breached.name} is breached and is being confirmed: {breached.message}"
        d.say(Phase.PROGRESSING, Reason.HOLDING, message, "rolled back if it lasts (evaluation.minBreachTime)")
        return
    open_gates = [gate for gate in d.status.gates if gate.verdict not in _PASSING]
    if step.held_seconds < step.hold_seconds or (d.input.spec.gates and not d.status.gates):
        message = f"version {_version(d)} has {d.status.weight} % of the traffic and holds"
        d.say(Phase.PROGRESSING, Reason.HOLDING, message, _what_comes(d, step))
    elif open_gates:
        gate = open_gates[0]
        message = f"the hold is over, but {gate.name} is not decided: {gate.message}"
        d.say(Phase.PROGRESSING, Reason.TOO_EARLY, message, "goes on when every gate has enough samples")
    else:
        d.set(step=step.model_copy(update={"done": True}))
        _next_step(d)


def _left(step: StepStatus) -> str:
    return format_duration(step.hold_seconds - step.held_seconds)


def _what_comes(d: Draft, step: StepStatus) -> str:
    after = d.input.spec.steps[step.number].weight if step.number < step.of else None
    what = f"weight {after} %" if after is not None else "promotion"
    return f"{what} in {_left(step)} if the gates hold"


def _retreat_if_asked(d: Draft) -> None:
    """With ``onBlind: retreat``: after blindTimeout the traffic goes back, and the way up begins anew when it sees."""
    blind, policy = d.status.blind, d.input.spec.evaluation
    if blind is None or policy.on_blind.value != "retreat" or d.status.weight == 0:
        return
    if d.since(blind.since) >= d.seconds(policy.blind_timeout):
        rollback.retreat(d, Reason.METRICS_UNAVAILABLE, "retreated to weight 0: " + blind.message)


def _next_step(d: Draft) -> None:
    """Enter the next step as soon as its pods are there; until then this one goes on and is judged."""
    step = d.status.step
    assert step is not None
    if step.number >= step.of:
        d.set(phase=Phase.PROMOTING)
        _promote(d)
        return
    weight = d.input.spec.steps[step.number].weight
    why = may_raise(d)
    if why:
        d.say(*_held_back(d, why))
        return
    if not _ready_for(d, weight):
        return
    d.event(Reason.STEP_DONE, f"step {step.number} of {step.of} ({step.name}) is done")
    d.human_raise = step.skipped
    _enter(d, step.number + 1)
    _raise_to(d, weight)
    d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, f"raising to {weight} %", "the hold begins when it is in effect")


def _promote(d: Draft) -> None:
    """All traffic to the candidate, then the role of stable, then the old stable steps down."""
    phase = Phase.STARTING if is_fast(d) else Phase.PROMOTING
    if not is_fast(d) and d.status.weight < 100:
        why = may_raise(d)
        if why:
            d.say(*_held_back(d, why))
            d.set(phase=Phase.PAUSED if d.status.paused else Phase.PROMOTING)
            return
    if not _ready_for(d, 100):
        d.set(phase=phase)
        return
    if d.input.route.state is RouteState.REJECTED and d.status.weight == 100:
        d.say(phase, Reason.ROUTE_NOT_ACCEPTED, d.input.route.message, "correct the Gateway or spec.traffic")
        return
    d.set(weight=100, peak_weight=100)
    served = d.input.route.weights.get(d.candidate) == 100 and d.input.route.state is RouteState.ACCEPTED
    if not served:
        message = f"all traffic goes to version {_version(d)}"
        d.say(Phase.PROMOTING if d.stable else Phase.STARTING, Reason.RAISING_WEIGHT, message, "then it is stable")
        return
    _become_stable(d)


def _become_stable(d: Draft) -> None:
    old, new = d.stable, d.candidate
    reason = Reason.FIRST_REVISION if not old else Reason.REVERTED_TO_PREVIOUS if is_fast(d) else Reason.PROMOTED
    message = f"version {_version(d)} serves all traffic"
    if reason is Reason.FIRST_REVISION:
        message += "; it is the first one, so there were no steps"
    d.first.append(SetRole(new, Role.STABLE, d.now))
    entry = HistoryEntry(
        revision=new,
        version=_version(d),
        outcome=Outcome.PROMOTED,
        reason=reason,
        message=message,
        started_at=d.status.candidate.since if d.status.candidate else None,
        ended_at=d.now,
        weight=100,
    )
    d.set(
        stable=identity.ref(d, new, d.now),
        candidate=None,
        step=None,
        weight=0,
        draining_since=d.now if old else None,
        history=[entry, *d.status.history][:10],
        paused=None,
        breach_since=None,
        blind=None,
        stable_replicas=0,
    )
    d.event(reason, message)
    rollback.say_stable(d, reason, message)
