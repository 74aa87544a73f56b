"""One step after the other: its weight, its hold, and what must be true for the next one.

Weight goes up in two movements, each of which survives a crash: the step is entered (status), then the weight is set
once the pods can carry it and this very look at the metrics was a seeing one.
"""

from __future__ import annotations

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.grammar import format_duration
from modelrollout.api.rollout import OnBlind
from modelrollout.api.status import GateStatus, StepStatus
from modelrollout.engine import rollback
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import split_is_off, warm_from
from modelrollout.engine.model import RouteState
from modelrollout.engine.promotion import promote
from modelrollout.engine.raising import (
    held_back,
    in_route,
    may_raise,
    ready_for,
    ready_to_carry,
    relative_gates,
    version_of,
    wait_for_route,
)

__all__ = ["hold_step", "judged_anew", "start"]


_FORGOTTEN = {"checkpoint": "", "samples": 0, "baseline_samples": 0, "verdict": Verdict.TOO_EARLY, "shared": False}
_PASSING = (Verdict.NO_HARM_SEEN, Verdict.PROVEN)


def start(d: Draft) -> None:
    """At weight 0: pods, the backend in the route, and eyes open; then the first step."""
    steps = d.input.spec.steps
    if not ready_for(d, steps[0].weight):
        return
    if not in_route(d):
        wait_for_route(d)
        return
    _enter(d, 1)
    hold_step(d)


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
    kept = relative_gates(d) if weight == 100 else set()
    return [
        gate if gate.name in kept and gate.verdict in _PASSING else gate.model_copy(update=_FORGOTTEN)
        for gate in d.status.gates
    ]


def hold_step(d: Draft) -> None:
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
        d.say(*held_back(d, why))
        return False
    if not ready_for(d, weight):
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
    d.event(Reason.RAISING_WEIGHT, f"version {version_of(d)} gets {weight} % of the traffic")
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
            d.say(*held_back(d, ""))
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
        message = f"version {version_of(d)} has {d.status.weight} % of the traffic and holds"
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
    silent = relative_gates(d) if d.status.weight == 100 else set()
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
        promote(d)
        return
    weight = max(d.status.weight, d.input.spec.steps[step.number].weight)
    why = may_raise(d)
    if why:
        d.say(*held_back(d, why))
        return
    if not ready_for(d, weight):
        return
    d.event(Reason.STEP_DONE, f"step {step.number} of {step.of} ({step.name}) is done")
    d.human_raise = step.skipped
    _enter(d, step.number + 1)
    _raise_to(d, weight)
    d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, f"raising to {weight} %", "the hold begins when it is in effect")
