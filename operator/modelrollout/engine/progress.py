"""The way of the candidate: its pods start, it takes traffic step by step, and it becomes stable.

Weight goes up in two movements, each of which survives a crash: the step is entered (status), then the weight is set
once the pods can carry it and this very look at the metrics was a seeing one.
"""

from __future__ import annotations

import math
from datetime import datetime

from modelrollout.api.enums import Outcome, Phase, Reason, Role, Verdict
from modelrollout.api.grammar import format_duration
from modelrollout.api.rollout import OnBlind, Scaling
from modelrollout.api.status import GateStatus, Pause, StepStatus
from modelrollout.engine import identity, rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import split_is_off, warm_from
from modelrollout.engine.model import RevisionView, RouteState, SetRole

__all__ = [
    "adopt_promotion",
    "begin",
    "go_on",
    "guard",
    "is_fast",
    "judged_anew",
    "may_raise",
    "pods_for",
    "ready_to_carry",
]

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


def ready_to_carry(d: Draft, weight: int) -> bool:
    """Whether the candidate's pods that are ready now can carry a weight."""
    view = d.view(d.candidate)
    return view is not None and view.ready >= pods_for(d, weight)


def begin(d: Draft, target: str) -> None:
    """A new candidate: against the same stable, from the first step."""
    identity.forget_lost_stable(d)
    if d.candidate and d.status.phase is not Phase.ROLLING_BACK:
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
        pods_missing_since=None,
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
    identity.forget_lost_stable(d)
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


def guard(d: Draft) -> None:
    """Watch over a candidate that must stay where it is, because ``spec`` names one that cannot begin."""
    if d.candidate and d.status.weight > 0:
        _ = _broken_pods(d) or _breached(d)
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
    if view is None and d.stable and d.status.weight > 0:
        rollback.roll_back(d, Reason.PODS_FAILING, "its Deployment was deleted while it had traffic")
        return True
    if view is None:
        return False
    if view.failure:
        reason = Reason.PODS_FAILING if d.status.weight > 0 else Reason.FAILED_TO_START
        rollback.roll_back(d, reason, view.failure)
        return True
    since = _note_missing_pods(d, view)
    if since is None:
        return False
    patience = d.seconds(d.input.spec.evaluation.min_breach_time)
    if d.stable and d.status.weight > 0 and view.ready == 0 and d.since(since) >= patience:
        rollback.roll_back(d, Reason.PODS_FAILING, f"none of its {view.desired} pods is ready, and it has traffic")
        return True
    stuck = d.since(max(since, view.progress_at or since))
    if stuck <= d.seconds(d.input.spec.workload.progress_deadline):
        return False
    message = f"{view.ready} of {view.desired} pods ready, and no progress for {format_duration(stuck)}"
    rollback.roll_back(d, Reason.PROGRESS_DEADLINE_EXCEEDED, message)
    return True


def _note_missing_pods(d: Draft, view: RevisionView) -> datetime | None:
    """Since when pods are missing; None when none is. Pods that were just asked for are given their time anew, and
    time without room for them does not count."""
    missing = view.ready < view.desired
    since = None if not missing else d.now if view.waiting else d.status.pods_missing_since or d.now
    d.set(pods_missing_since=since)
    return since


def _breached(d: Draft) -> bool:
    if d.catastrophe and d.status.weight > 0:
        rollback.roll_back(d, Reason.CATASTROPHE, d.catastrophe)
        return True
    mismatch = bool(split_is_off(d))
    relative = _relative_gates(d)
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
    patience = d.seconds(d.input.spec.evaluation.min_breach_time)
    left = patience - d.since(since)
    if left > 0:
        d.wake_in(left)
        return False
    if patience > 0 and (d.status.evaluated_at or since) <= since:
        return False  # one look is not enough, however long ago it was
    worst = breached[0]
    message = f"{worst.name}: {worst.message}; {worst.samples} samples against {worst.baseline_samples}"
    rollback.roll_back(d, Reason.GATE_BREACHED, message)
    return True


def _relative_gates(d: Draft) -> set[str]:
    return {gate.name for gate in d.input.spec.gates if "baseline" in (gate.at_most or gate.at_least or "")}


def _by_a_human(d: Draft) -> bool:
    """Whether someone said `promote`, which overrules a pause in spec and missing metrics."""
    return d.human_raise or (d.status.step is not None and d.status.step.skipped)


def _stopped(d: Draft) -> str:
    """What stops every movement upward, also the last one, of stable's role; empty when nothing does."""
    if d.input.frozen:
        return f"frozen: {d.input.frozen}"
    if _by_a_human(d):
        return ""
    if d.status.paused is not None or d.input.spec.paused:
        return "paused"
    if d.status.blind is not None:
        return f"no metrics: {d.status.blind.message}"
    return ""


def may_raise(d: Draft) -> str:
    """Why the weight must not go up now; empty when it may. A human's promotion overrules all but a freeze and
    missing pods."""
    why = _stopped(d)
    if not why and d.input.spec.gates and not d.seeing and not _by_a_human(d):
        return "waiting for a fresh look at the metrics"
    return why


def _held_back(d: Draft, why: str) -> tuple[Phase, Reason, str, str]:
    """Phase, reason, message and next sentence for a candidate that must not go up."""
    paused = d.status.paused
    if d.input.frozen:
        return Phase.PROGRESSING, Reason.FROZEN, f"steps up are frozen: {d.input.frozen}", "lift the freeze"
    if paused is not None:
        return Phase.PAUSED, paused.reason, paused.message, _how_to_resume(d, paused)
    if d.status.blind is not None:
        message = f"the weight is held: {d.status.blind.message}"
        following = "goes on when the metrics return"
        if d.status.blind.reason is Reason.GATE_MISCONFIGURED:
            following = "correct the gate, or the scraping of the pods"
        return _current_phase(d), d.status.blind.reason, message, following
    return _current_phase(d), Reason.HOLDING, why, "looks again at the next interval"


def _current_phase(d: Draft) -> Phase:
    return Phase.STARTING if d.status.step is None or d.status.step.number == 0 else Phase.PROGRESSING


def _how_to_resume(d: Draft, paused: Pause) -> str:
    if paused.reason is Reason.PAUSED_BY_SPEC:
        return "set spec.paused to false"
    return f"type: {d.command('resume')} (or abort)"


def _ready_for(d: Draft, weight: int) -> bool:
    """Whether the candidate's pods can carry a weight; says why not when they cannot."""
    view = d.view(d.candidate)
    needed = pods_for(d, weight)
    if ready_to_carry(d, weight):
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
    if not _in_route(d):
        _wait_for_route(d)
        return
    _enter(d, 1)
    _step(d)


def _in_route(d: Draft) -> bool:
    """Whether the gateway knows the candidate, at whatever weight."""
    return d.input.route.state is RouteState.ACCEPTED and d.candidate in d.input.route.weights


def _wait_for_route(d: Draft) -> None:
    message = d.input.route.message or "waiting for the gateway to accept the route with the candidate at weight 0"
    reason = Reason.ROUTE_NOT_ACCEPTED if d.input.route.state is RouteState.REJECTED else Reason.WAITING_FOR_ROUTE
    d.say(Phase.STARTING, reason, message, "then its first traffic")


def _enter(d: Draft, number: int) -> None:
    """Enter a step; its weight follows when the pods can carry it."""
    step = d.input.spec.steps[number - 1]
    d.set(
        step=StepStatus(
            number=number,
            of=len(d.input.spec.steps),
            name=step.title,
            weight=step.weight,
            since=d.now,
            hold_seconds=d.seconds(step.hold),
        ),
        gates=judged_anew(d, step.weight),
        phase=Phase.PROGRESSING,
    )


def judged_anew(d: Draft, weight: int) -> list[GateStatus]:
    """The gates when another weight begins: counts of different splits are never mixed. At 100 % nobody is left to
    compare with, so relative gates keep the verdict that brought the candidate there."""
    kept = _relative_gates(d) if weight == 100 else set()
    return [
        gate if gate.name in kept and gate.verdict in _PASSING else gate.model_copy(update=_FORGOTTEN)
        for gate in d.status.gates
    ]


def _step(d: Draft) -> None:
    """One look at a step: set its weight, see it in effect, count the hold, go on when it is over and all is well."""
    _follow_edits(d)
    step = d.status.step
    assert step is not None
    if d.status.weight < step.weight and not _raise_to(d, step.weight):
        if d.status.weight > 0:
            _note_serving(d)  # lowered from outside: what it has left goes on being judged
        return
    in_effect = _note_serving(d)
    step = d.status.step
    assert step is not None
    if step.serving_since is None:
        message = d.input.route.message or f"weight {step.weight} % is asked; the gateway has not accepted it yet"
        d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, message, "the hold begins when it is in effect")
        return
    waiting = _why_not_counting(d, in_effect)
    _credit(d, counting=not waiting)
    if step.skipped:
        _next_step(d)
    else:
        _hold(d, waiting)


def _note_serving(d: Draft) -> bool:
    """Whether the weight is in effect; the first time it is, the step begins to be judged."""
    step = d.status.step
    observed = d.input.route.weights.get(d.candidate)
    in_effect = observed == d.status.weight and d.input.route.state is RouteState.ACCEPTED
    if step is not None and step.serving_since is None and in_effect:
        step = step.model_copy(update={"serving_since": d.now, "credited_at": d.now})
        d.set(step=step, evaluated_at=d.status.evaluated_at or d.now.replace(microsecond=0))
    return in_effect


def _raise_to(d: Draft, weight: int) -> bool:
    """Ask for a higher weight if that may be; says why not otherwise."""
    why = may_raise(d)
    if why:
        d.say(*_held_back(d, why))
        return False
    if not _ready_for(d, weight):
        return False
    if weight <= d.status.weight:
        return True  # the steps were edited below the weight that it has: an edit never lowers it
    step = d.status.step
    anew = step.model_copy(update={"serving_since": None}) if step is not None else None
    d.set(
        weight=weight,
        peak_weight=max(d.status.peak_weight, weight),
        step=anew,
        gates=judged_anew(d, weight),
        breach_since=None,
    )
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
    if view is not None and view.waiting and not ready_to_carry(d, d.status.weight):
        return Reason.WAITING_FOR_CAPACITY, view.waiting
    if not ready_to_carry(d, d.status.weight):
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
        if not _retreat_if_asked(d):
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
    undecided = _undecided(d)
    if step.held_seconds < step.hold_seconds:
        message = f"version {_version(d)} has {d.status.weight} % of the traffic and holds"
        d.say(Phase.PROGRESSING, Reason.HOLDING, message, _what_comes(d, step))
    elif undecided:
        message = f"the hold is over, but {undecided} is not decided"
        d.say(Phase.PROGRESSING, Reason.TOO_EARLY, message, "goes on when every gate has enough samples")
    else:
        d.set(step=step.model_copy(update={"done": True}))
        _next_step(d)


def _undecided(d: Draft) -> str:
    """The first gate that does not hold yet, with the reason; empty when all do. At 100 % relative gates can say no
    more, and hold nothing up."""
    known = {gate.name: gate for gate in d.status.gates}
    silent = _relative_gates(d) if d.status.weight == 100 else set()
    for gate in d.input.spec.gates:
        found = known.get(gate.name)
        if gate.name in silent:
            continue
        if found is None or found.verdict not in _PASSING:
            return f"{gate.name} ({found.message})" if found is not None and found.message else gate.name
        if _leans_beyond(found):
            return f"{gate.name} (it leans beyond its limit, and more samples will tell: {found.message})"
    return ""


def _leans_beyond(gate: GateStatus) -> bool:
    """Whether a gate that shows no harm yet is beyond its limit by two of its interval's four standard errors: more
    users are not given to a candidate that looks bad, while nothing is held against it either."""
    if gate.verdict is not Verdict.NO_HARM_SEEN or gate.low is None or gate.high is None:
        return False
    return gate.low + (gate.high - gate.low) / 4.0 > 0.0


def _left(step: StepStatus) -> str:
    return format_duration(step.hold_seconds - step.held_seconds)


def _what_comes(d: Draft, step: StepStatus) -> str:
    after = d.input.spec.steps[step.number].weight if step.number < step.of else None
    what = f"weight {after} %" if after is not None else "promotion"
    return f"{what} in {_left(step)} if the gates hold"


def _retreat_if_asked(d: Draft) -> bool:
    """With ``onBlind: retreat``: after blindTimeout the traffic goes back, and the way up begins anew when it sees."""
    blind, policy = d.status.blind, d.input.spec.evaluation
    if blind is None or policy.on_blind is not OnBlind.RETREAT or d.status.weight == 0:
        return False
    if d.since(blind.since) < d.seconds(policy.blind_timeout):
        return False
    rollback.retreat(d, Reason.METRICS_UNAVAILABLE, "retreated to weight 0: " + blind.message)
    return True


def _next_step(d: Draft) -> None:
    """Enter the next step as soon as its pods are there; until then this one goes on and is judged."""
    step = d.status.step
    assert step is not None
    if step.number >= step.of:
        d.set(phase=Phase.PROMOTING)
        _promote(d)
        return
    weight = max(d.status.weight, d.input.spec.steps[step.number].weight)
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
    fast = is_fast(d)
    phase = Phase.STARTING if fast else Phase.PROMOTING
    why = _why_not_promoting(d, fast=fast)
    if why:
        d.say(*_held_back(d, why))
        d.set(phase=Phase.PAUSED if d.status.paused and not d.input.frozen else phase)
        return
    if not _ready_for(d, 100):
        d.set(phase=phase)
        return
    if fast and d.stable and d.status.weight == 0 and not _in_route(d):
        _wait_for_route(d)
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


def _why_not_promoting(d: Draft, *, fast: bool) -> str:
    """Why the last movement must wait. The fast track asks for no metrics and minds neither a freeze nor spec.paused:
    it restores what served before. A pause that a human put on this very candidate stops it too."""
    if fast:
        paused = d.status.paused
        return "" if paused is None or paused.reason is Reason.PAUSED_BY_SPEC else "paused"
    return may_raise(d) if d.status.weight < 100 else _stopped(d)


def adopt_promotion(d: Draft) -> None:
    """The candidate's own objects say that it is stable: its promotion, which a crash kept out of status."""
    if d.candidate and d.candidate == d.stable:
        _record_promotion(d, Reason.PROMOTED, f"version {_version(d)} serves all traffic")


def _become_stable(d: Draft) -> None:
    old, new = d.stable, d.candidate
    reason = Reason.FIRST_REVISION if not old else Reason.REVERTED_TO_PREVIOUS if is_fast(d) else Reason.PROMOTED
    message = f"version {_version(d)} serves all traffic"
    if reason is Reason.FIRST_REVISION:
        message += "; it is the first one, so there were no steps"
    at = identity.promotion_time(d)
    d.first.append(SetRole(new, Role.STABLE, at))
    d.set(stable=identity.ref(d, new, at))
    _record_promotion(d, reason, message)
    if not old:
        d.set(draining_since=None)
    rollback.say_stable(d, reason, message)


def _record_promotion(d: Draft, reason: Reason, message: str) -> None:
    d.set(peak_weight=100)
    rollback.record(d, Outcome.PROMOTED, reason, message)
    d.set(
        candidate=None,
        step=None,
        weight=0,
        draining_since=d.now,
        paused=None,
        pods_missing_since=None,
        breach_since=None,
        blind=None,
        stable_replicas=0,
    )
    d.event(reason, message)
