"""One step after the other: its weight, its hold, and what must be true for the next one.

Weight goes up in two movements, each of which survives a crash: the step is entered (status), then the weight is set
once the pods can carry it and this very look at the metrics was a seeing one.
"""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import Final

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import AdvanceOn, Gate, OnBreach, OnUndecided
from modelrollout.api.grammar import format_duration
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import Approval, OnBlind, Step
from modelrollout.api.status import GateStatus, Pause, StepStatus
from modelrollout.engine import approvals, contest, preflight, rollback, windows
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import PASSING, judged_anew, split_is_off, take_planned_look
from modelrollout.engine.foresight import first_weight, weight_of
from modelrollout.engine.guards import gate_breached
from modelrollout.engine.looking import floored, renamed, warm_from
from modelrollout.engine.model import RouteState
from modelrollout.engine.observing import observes, would_hold
from modelrollout.engine.promotion import promote
from modelrollout.engine.raising import (
    closed,
    held_back,
    in_route,
    may_raise,
    pods_for,
    ready_for,
    ready_to_carry,
    relative_gates,
    version_of,
    wait_for_route,
)

__all__ = ["hold_step", "note_serving", "start"]


_SOON_SECONDS: Final = 900.0
_COVERAGE: Final = 0.9
_STAGGER: Final = 0.2


def start(d: Draft) -> None:
    """At weight 0: pods, the backend in the route, and eyes open; then the first step."""
    if not ready_for(d, first_weight(d.input.spec)):
        return
    if not in_route(d):
        wait_for_route(d)
        return
    _enter(d, 1)
    hold_step(d)


def _enter(d: Draft, number: int, *, overridden: bool = False) -> None:
    """Enter a step; its weight follows when the pods can carry it, over a freeze too if a human said so."""
    step = d.input.spec.steps[number - 1]
    weight = weight_of(d.input.spec, step)
    entered = StepStatus(
        number=number,
        of=len(d.input.spec.steps),
        name=step.title,
        weight=weight,
        since=d.now,
        hold_seconds=_hold_of(d, step),
        overridden=overridden,
    )
    if step.approval is not None:
        d.set(step=_keeping_on(d, entered, step.approval), phase=Phase.AWAITING_APPROVAL)
        d.event(Reason.AWAITING_APPROVAL, f"{approvals.wanted(d)}; {approvals.what_to_type(d)}")
        return
    d.set(step=entered, gates=judged_anew(d, weight), phase=Phase.PROGRESSING)


def _keeping_on(d: Draft, entered: StepStatus, approval: Approval) -> StepStatus:
    """An approval changes no weight: what serves goes on being judged as it was, without another warm-up or look."""
    before = d.status.step
    serving = before.serving_since if before is not None and d.status.weight > 0 else None
    known = {"role": approval.role, "looked": True, "serving_since": serving, "credited_at": d.now}
    return entered.model_copy(update=known)


def _hold_of(d: Draft, step: Step) -> float:
    """Seconds for which a step is held; none in an approval."""
    return d.seconds(step.hold) if step.hold is not None else 0.0


def hold_step(d: Draft) -> None:
    """One look at a step: set its weight, see it in effect, count the hold, go on when it is over and all is well."""
    _follow_edits(d)
    passed_by = approvals.passed_by(d)
    if passed_by:
        _enter(d, passed_by)
    step = d.status.step
    assert step is not None
    if d.status.weight < step.weight and not _raise_to(d, step.weight):
        if d.status.weight > 0:
            note_serving(d)  # lowered from outside: what it has left goes on being judged
            _retreat_if_asked(d)
        return
    in_effect = note_serving(d)
    step = d.status.step
    assert step is not None
    if step.serving_since is None and step.weight > 0:
        message = d.input.route.message or f"weight {step.weight} % is asked; the gateway has not accepted it yet"
        d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, message, "the hold begins when it is in effect")
        return
    waiting = _why_not_counting(d, in_effect)
    wanted = approvals.wanted(d)
    _credit(d, counting=not waiting and not wanted)
    if wanted:
        _await(d, wanted)
    elif step.skipped:
        _next_step(d)
    else:
        _hold(d, waiting)


def note_serving(d: Draft) -> bool:
    """Whether the weight is in effect; the first time it is, the step begins to be judged."""
    step = d.status.step
    observed = d.input.route.weights.get(d.candidate)
    in_effect = observed == d.status.weight and d.input.route.state is RouteState.ACCEPTED
    if step is not None and step.serving_since is None and in_effect and d.status.weight > 0:
        told = {"serving_since": d.now, "credited_at": d.now, "overridden": step.overridden and step.skipped}
        d.set(preflight_overruled=False, step=step.model_copy(update=told))
        d.set(evaluated_at=d.status.evaluated_at or floored(d.now, timedelta(seconds=max(1.0, d.interval))))
    return in_effect


def _raise_to(d: Draft, weight: int) -> bool:
    """Ask for a higher weight if that may be; says why not otherwise."""
    why = may_raise(d)
    if why or preflight.holds(d):
        d.say(*(preflight.sentence(d) or held_back(d, why)))
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
    )
    d.event(Reason.RAISING_WEIGHT, f"version {version_of(d)} gets {weight} % of the traffic")
    return True


def _follow_edits(d: Draft) -> None:
    """After an edit of the steps: the step of the same name, else the last one that is not above the current weight."""
    step, steps = d.status.step, d.input.spec.steps
    assert step is not None
    number = next((n for n, one in enumerate(steps, 1) if _is_still(d, step, one)), 0)
    if not number:
        reached = max(d.status.weight, 1)
        number = max((n for n, one in enumerate(steps, 1) if one.weight and one.weight <= reached), default=1)
    chosen = steps[number - 1]
    if chosen.title != step.name:
        d.set(spans=renamed(d.status.spans, step.name, chosen.title))
    hold = _hold_of(d, chosen)
    now = {
        "number": number,
        "of": len(steps),
        "name": chosen.title,
        "weight": weight_of(d.input.spec, chosen),
        "hold_seconds": hold,
        "role": chosen.approval.role if chosen.approval else "",
    }
    if step.role and chosen.weight is not None and weight_of(d.input.spec, chosen) <= d.status.weight:
        now |= {"held_seconds": hold}  # whoever waited for people had held this weight before
    if any(getattr(step, name) != value for name, value in now.items()):
        d.set(step=step.model_copy(update=now))


def _is_still(d: Draft, before: StepStatus, now: Step) -> bool:
    """Whether an edited step is the one that the candidate is in. While people are waited for, only an approval at no
    higher weight is: no name may carry the candidate past them."""
    if now.title != before.name:
        return False
    return not before.role or (now.approval is not None and weight_of(d.input.spec, now) <= d.status.weight)


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
    shared = [gate for gate in d.status.gates if gate.shared and gate.name not in d.status.accepted]
    if not shared or _step_back(d, shared[0]):
        return None
    message = f"{shared[0].name} is beyond its limit in both revisions: {shared[0].message}"
    if observes(d):
        would_hold(d, Reason.SHARED_DEGRADATION, message)
        return None
    return Reason.SHARED_DEGRADATION, message


def _step_back(d: Draft, gate: GateStatus) -> bool:
    """Both arms broke an absolute limit soon after our own raise: perhaps the raise itself is too much for something
    that both depend on. Back to the weight before, and a human decides."""
    step = d.status.step
    assert step is not None
    before = max(
        (weight_of(d.input.spec, one) for one in d.input.spec.steps if weight_of(d.input.spec, one) < d.status.weight),
        default=0,
    )
    soon = step.serving_since is not None and d.since(step.serving_since) <= _SOON_SECONDS
    fresh = gate.since is not None and step.serving_since is not None and gate.since >= step.serving_since
    if not (before and soon and fresh and step.number > 1) or observes(d):
        return False
    message = (
        f"{gate.name} is beyond its limit in both revisions since the raise to {d.status.weight} %: {gate.message}; "
        f"back to {before} %"
    )
    number = next(n for n, one in enumerate(d.input.spec.steps, 1) if weight_of(d.input.spec, one) == before)
    chosen = d.input.spec.steps[number - 1]
    d.set(
        weight=before,
        gates=judged_anew(d, before),
        paused=Pause(reason=Reason.SHARED_DEGRADATION, at=d.now, message=message[:1024]),
        step=StepStatus(
            number=number,
            of=step.of,
            name=chosen.title,
            weight=before,
            since=d.now,
            hold_seconds=_hold_of(d, chosen),
        ),
    )
    d.event(Reason.SHARED_DEGRADATION, message, warning=True)
    return True


def _credit(d: Draft, *, counting: bool) -> None:
    """Count the time since the last look for the hold, and beyond it; after an absence of the operator at most two
    intervals."""
    step = d.status.step
    assert step is not None
    paused = d.status.paused is not None or d.status.blind is not None
    stopped = paused or d.input.freeze is not None or contest.is_on(d)
    gained = min(d.since(step.credited_at), 2.0 * d.interval) if counting and not stopped else 0.0
    held = step.held_seconds + gained
    waits_for_gates = step.held_seconds >= step.hold_seconds and not closed(d)
    beyond = step.extended_seconds + (gained if waits_for_gates else 0.0)
    told = {"held_seconds": round(held, 3), "extended_seconds": round(beyond, 3), "credited_at": d.now}
    d.set(step=step.model_copy(update=told))


def _await(d: Draft, wanted: str) -> None:
    """Say who must speak, and watch over what serves meanwhile."""
    if d.status.blind is not None and _retreat_if_asked(d):
        return
    if d.status.paused is not None:
        d.say(*held_back(d, ""))
    else:
        d.say(Phase.AWAITING_APPROVAL, Reason.AWAITING_APPROVAL, wanted, approvals.what_to_type(d))


def _hold(d: Draft, waiting: tuple[Reason, str] | None) -> None:
    """Say what is being waited for, or go on."""
    step = d.status.step
    assert step is not None
    paused = d.status.paused is not None or d.status.blind is not None
    if d.input.freeze is not None or paused or contest.is_on(d):
        if not _retreat_if_asked(d):
            d.say(*held_back(d, ""))
        return
    if waiting is not None:
        d.say(Phase.PROGRESSING, waiting[0], waiting[1], f"then {_left(step)} of the hold at {step.weight} %")
        return
    if step.held_seconds < step.hold_seconds:
        message = f"version {version_of(d)} has {d.status.weight} % of the traffic and holds"
        d.say(Phase.PROGRESSING, Reason.HOLDING, message, _what_comes(d, step))
        return
    take_planned_look(d)
    if gate_breached(d):
        return
    _end_hold(d)


def _end_hold(d: Draft) -> None:
    """The hold is over: on, unless a gate is not decided."""
    undecided = _undecided(d)
    if undecided is not None and observes(d):
        would_hold(d, Reason.TOO_EARLY, f"{undecided[0].name} is not decided: {undecided[1]}")
        undecided = None
    step = d.status.step
    assert step is not None
    if undecided is None:
        d.set(step=step.model_copy(update={"done": step.done or not closed(d)}))
        _next_step(d)
        return
    gate, why = undecided
    if gate.max_hold is not None and step.extended_seconds >= d.seconds(gate.max_hold):
        message = f"{gate.name} is still undecided after maxHold ({gate.max_hold}): {why}"
        if gate.on_undecided is OnUndecided.ROLLBACK:
            rollback.roll_back(d, Reason.UNDECIDED, message)
        else:
            d.set(paused=Pause(reason=Reason.UNDECIDED, at=d.now, message=message[:1024]))
            d.event(Reason.UNDECIDED, message, warning=True)
            d.say(*held_back(d, ""))
        return
    message = f"the hold is over, but {gate.name} is not decided ({why})"
    left = "" if gate.max_hold is None else f", for {format_duration(d.seconds(gate.max_hold) - step.extended_seconds)}"
    d.say(Phase.PROGRESSING, Reason.TOO_EARLY, message, f"goes on when every gate has enough samples{left}")


def _undecided(d: Draft) -> tuple[Gate, str] | None:
    """The first gate that does not hold yet, with the reason; None when all do. At 100 % relative gates can say no
    more, and hold nothing up."""
    step = d.status.step
    assert step is not None
    if d.status.weight == 0:
        return None  # an approval before the first traffic: there is nothing to judge
    known = {gate.name: gate for gate in d.status.gates}
    silent = relative_gates(d) if d.status.weight == 100 else set()
    for gate in d.input.spec.gates:
        if gate.name in silent | d.status.accepted or not gate.required:
            continue
        why = _why_undecided(gate, known.get(gate.name), step)
        over = gate.max_hold is not None and step.extended_seconds >= d.seconds(gate.max_hold)
        if why and not (over and gate.on_undecided is OnUndecided.ADVANCE):
            return gate, why
    return None


def _why_undecided(gate: Gate, found: GateStatus | None, step: StepStatus) -> str:
    """Why a gate does not let the step end; empty when it does."""
    if found is None or found.verdict not in PASSING:
        acts_not = found is not None and found.verdict is Verdict.BREACHED and gate.on_breach is not OnBreach.ROLLBACK
        return "" if acts_not else found.message if found is not None and found.message else "not read yet"
    if found.leaning:
        return f"it leans beyond its limit, and more samples will tell: {found.message}"
    if gate.advance_on is AdvanceOn.PROVEN and found.verdict is not Verdict.PROVEN:
        return f"it must be proven: {found.message}"
    if found.verdict is Verdict.NO_HARM_SEEN and found.unseen:
        return found.unseen
    if gate.report is None and found.covered_seconds < _COVERAGE * step.hold_seconds:
        have = found.covered_seconds / max(step.hold_seconds, 1e-9)
        return f"there were data for {have * 100:.0f} % of the hold, and {_COVERAGE * 100:.0f} % are needed"
    return ""


def _left(step: StepStatus) -> str:
    return format_duration(step.hold_seconds - step.held_seconds)


def _what_comes(d: Draft, step: StepStatus) -> str:
    what = "promotion"
    if step.number < step.of:
        after = d.input.spec.steps[step.number]
        approval = after.approval
        what = f"approval by role {approval.role}" if approval else f"weight {weight_of(d.input.spec, after)} %"
    over = d.now + timedelta(seconds=step.hold_seconds - step.held_seconds)
    shut = windows.closed(d.input.spec.advance_only, over)
    return f"{what} if the gates hold; {shut}" if shut else f"{what} in {_left(step)} if the gates hold"


def _retreat_if_asked(d: Draft) -> bool:
    """After blindTimeout the traffic goes back, and the way up begins anew when it sees: with ``onBlind: retreat``, and
    under ``hold`` too while the candidate has finished no judged step or its pods show harm."""
    blind, policy = d.status.blind, d.input.spec.evaluation
    if blind is None or d.status.weight == 0 or observes(d) or _nobody_to_go_back_to(d):
        return False
    patience = d.seconds(policy.blind_timeout) * (1.0 + _STAGGER * _own_fraction(d))
    if d.since(blind.since) < patience:
        d.wake_in(patience - d.since(blind.since))
        return False
    why = "onBlind: retreat" if policy.on_blind is OnBlind.RETREAT else _harm_or_youth(d)
    if not why:
        return False
    message = f"retreated to weight 0 ({why}): {blind.message}"
    rollback.retreat(d, blind.reason, message)
    if blind.reason is Reason.SPLIT_MISMATCH:  # at weight 0 nothing can show that it is over: it would come and go
        d.set(blind=None, paused=Pause(reason=blind.reason, at=d.now, message=message[:1024]))
        d.say(*held_back(d, ""))
    return True


def _nobody_to_go_back_to(d: Draft) -> bool:
    """Whether what was adopted is gone: only its owner can make it again, and the candidate still serves some."""
    return d.stable == EXTERNAL and d.view(EXTERNAL) is None


def _harm_or_youth(d: Draft) -> str:
    """Why a blind candidate must not keep its traffic even under ``onBlind: hold``."""
    step, view = d.status.step, d.view(d.candidate)
    if step is not None and all(one.approval for one in d.input.spec.steps[: max(step.number - 1, 0)]):
        return "no judged step is finished yet"
    if view is not None and view.ready < pods_for(d, d.status.weight) and not view.waiting:
        return f"{view.ready} of its {pods_for(d, d.status.weight)} pods are ready"
    return ""


def _own_fraction(d: Draft) -> float:
    """A number between 0 and 1 of this rollout's own, so that an outage does not move the traffic of all at once."""
    return zlib.crc32(f"{d.input.namespace}/{d.input.name}".encode()) % 1000 / 1000.0


def _next_step(d: Draft) -> None:
    """Enter the next step as soon as its pods are there; until then this one goes on and is judged."""
    step = d.status.step
    assert step is not None
    if step.number >= step.of and (step.overridden or not closed(d)):
        d.set(phase=Phase.PROMOTING)
        promote(d)
        return
    if step.number >= step.of:
        d.say(*held_back(d, ""))
        return
    following = d.input.spec.steps[step.number]
    weight = max(d.status.weight, weight_of(d.input.spec, following))
    why = may_raise(d, upward=following.approval is None)
    if why:
        d.say(*held_back(d, why))
        return
    if not ready_for(d, weight):
        return
    d.event(Reason.STEP_DONE, f"step {step.number} of {step.of} ({step.name}) is done")
    d.human_raise = step.skipped
    _enter(d, step.number + 1, overridden=step.overridden and following.approval is None)
    if following.approval is not None:
        _await(d, approvals.wanted(d))
        return
    if _raise_to(d, weight):
        text = f"raising to {weight} %"
        d.say(Phase.PROGRESSING, Reason.RAISING_WEIGHT, text, "the hold begins when it is in effect")
