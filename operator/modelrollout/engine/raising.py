"""What it takes for weight to go up: pods that can carry it, open eyes, and nobody who stopped it.

And the sentences for a candidate that must wait.
"""

from __future__ import annotations

import math

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import OnBreach
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import Scaling
from modelrollout.api.status import Pause
from modelrollout.engine import adoption, autoscaling, contest, windows
from modelrollout.engine.draft import Draft
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.model import Freeze, RouteState
from modelrollout.engine.observing import observes

__all__ = [
    "by_a_human",
    "closed",
    "held_back",
    "in_route",
    "is_fast",
    "may_raise",
    "pods_for",
    "ready_for",
    "ready_to_carry",
    "relative_gates",
    "stopped",
    "version_of",
    "wait_for_route",
    "what_is_closed",
]


def is_fast(d: Draft) -> bool:
    """Whether the candidate goes to 100 % without steps: the first revision, or one that was promoted before."""
    view = d.view(d.candidate)
    return not d.stable or (view is not None and view.promoted_at is not None)


def pods_for(d: Draft, weight: int) -> int:
    """Pods that a weight (percent) needs."""
    workload = d.input.spec.workload
    if workload.scaling is Scaling.FULL or weight >= 100:
        return autoscaling.full_size(d)
    replicas = autoscaling.full_size(d)
    return min(replicas, max(2, math.ceil(replicas * weight / 100)))


def _needed(d: Draft, weight: int) -> int:
    """Pods of the candidate that a weight needs."""
    return adoption.pods_needed(d) if d.candidate == EXTERNAL else pods_for(d, weight)


def ready_to_carry(d: Draft, weight: int) -> bool:
    """Whether the candidate's pods that are ready now can carry a weight."""
    view = d.view(d.candidate)
    return view is not None and view.ready >= _needed(d, weight)


def relative_gates(d: Draft) -> set[str]:
    """Names of the gates whose limit is measured from the baseline."""
    return {gate.name for gate in d.input.spec.gates if is_relative(gate)}


def by_a_human(d: Draft) -> bool:
    """Whether someone said `promote`, which overrules a pause in spec, missing metrics and the preflight."""
    step = d.status.step
    begun = d.status.preflight_overruled and step is not None and step.serving_since is None
    return d.human_raise or begun or (step is not None and step.skipped)


def closed(d: Draft) -> str:
    """The freeze, or the window that is not open; empty when neither stands in the way."""
    freeze = d.input.freeze
    return f"steps up are frozen: {freeze}" if freeze else windows.closed(d.input.spec.advance_only, d.now)


def what_is_closed(d: Draft) -> str:
    """What :func:`closed` speaks of, as who goes on over it has it on record; empty when all is open."""
    window = d.input.spec.advance_only
    if d.input.freeze is not None or window is None:
        return str(d.input.freeze or "")
    return f"the closed window {windows.in_words(window)}" if windows.closed(window, d.now) else ""


def _overridden(d: Draft) -> bool:
    """Whether a human's recorded override leads this step past a freeze and a closed window."""
    return d.status.step is not None and d.status.step.overridden


def stopped(d: Draft, *, upward: bool = True) -> str:
    """What stops every movement upward, also the last one, of stable's role; empty when nothing does. Who may be asked
    for an approval (not ``upward``) is asked at any time."""
    why = closed(d) if upward and not _overridden(d) else ""
    if why:
        return why
    if contest.is_on(d):
        return "the route is contested"
    if by_a_human(d):
        return ""
    if d.status.paused is not None or d.input.spec.paused:
        return "paused"
    if d.status.blind is not None:
        return f"no metrics: {d.status.blind.message}"
    return ""


def may_raise(d: Draft, *, upward: bool = True) -> str:
    """Why the weight must not go up now; empty when it may. A human's promotion overrules all but a freeze, a closed
    window and missing pods."""
    why = stopped(d, upward=upward)
    if not why and d.input.spec.gates and not d.seeing and not by_a_human(d):
        return "waiting for a fresh look at the metrics"
    return why or ("" if by_a_human(d) else _broken(d))


def _broken(d: Draft) -> str:
    """The gate that would have rolled back, had the split been right: no reason to go up either."""
    acting = {gate.name for gate in d.input.spec.gates if gate.on_breach is OnBreach.ROLLBACK} - d.status.accepted
    broken = [gate for gate in d.status.gates if gate.verdict is Verdict.BREACHED and gate.name in acting]
    if not broken or observes(d) or all(gate.shared for gate in broken):
        return ""
    return f"{broken[0].name} is breached: {broken[0].message}"


def held_back(d: Draft, why: str) -> tuple[Phase, Reason, str, str]:
    """Phase, reason, message and next sentence for a candidate that must not go up."""
    paused, freeze = d.status.paused, d.input.freeze
    if freeze is not None:
        ends = "goes on when it is over" if freeze.until else "goes on when it is lifted"
        too = f"; it is paused too: {_how_to_resume(d, paused)}" if paused is not None else ""
        return Phase.PROGRESSING, Reason.FROZEN, closed(d), f"{ends}; {_how_to_end(d, freeze)}{too}"
    if paused is not None:
        return Phase.PAUSED, paused.reason, paused.message, _how_to_resume(d, paused)
    if d.status.blind is not None:
        message = f"the weight is held: {d.status.blind.message}"
        following = "goes on when the metrics return"
        if d.status.blind.reason is Reason.GATE_MISCONFIGURED:
            following = "correct the gate, or the scraping of the pods"
        return _current_phase(d), d.status.blind.reason, message, following
    if closed(d):
        return _current_phase(d), Reason.OUTSIDE_WINDOW, closed(d), f"goes on then; or type: {_how_to_override(d)}"
    return _current_phase(d), Reason.HOLDING, why, "looks again at the next interval"


def _current_phase(d: Draft) -> Phase:
    return Phase.STARTING if d.status.step is None or d.status.step.number == 0 else Phase.PROGRESSING


def _how_to_end(d: Draft, freeze: Freeze) -> str:
    lift = f"lift it: {freeze.lift}; " if freeze.lift else ""
    return f"{lift}or over it: {_how_to_override(d)}"


def _how_to_override(d: Draft) -> str:
    return f"{d.command('promote')} --override-freeze -m WHY"


def _how_to_resume(d: Draft, paused: Pause) -> str:
    if paused.reason is Reason.PAUSED_BY_SPEC:
        return "set spec.paused to false"
    return f"type: {d.command('resume')} (or abort)"


def ready_for(d: Draft, weight: int) -> bool:
    """Whether the candidate's pods can carry a weight; says why not when they cannot."""
    view = d.view(d.candidate)
    needed = _needed(d, weight)
    if ready_to_carry(d, weight):
        return True
    have = view.ready if view is not None else 0
    if view is not None and view.waiting:
        d.say(_current_phase(d), Reason.WAITING_FOR_CAPACITY, view.waiting, "goes on when there is room")
    else:
        message = f"{have} of {needed} pods of version {version_of(d)} are ready"
        d.say(_current_phase(d), Reason.STARTING_PODS, message, f"weight {weight} % when they all are")
    return False


def version_of(d: Draft) -> str:
    """The candidate's model version."""
    return d.status.candidate.version if d.status.candidate else ""


def in_route(d: Draft) -> bool:
    """Whether the gateway knows the candidate, at whatever weight."""
    return d.input.route.state is RouteState.ACCEPTED and d.candidate in d.input.route.weights


def wait_for_route(d: Draft) -> None:
    """Say what the gateway still has to do."""
    message = d.input.route.message or "waiting for the gateway to accept the route with the candidate at weight 0"
    reason = Reason.ROUTE_NOT_ACCEPTED if d.input.route.state is RouteState.REJECTED else Reason.WAITING_FOR_ROUTE
    d.say(Phase.STARTING, reason, message, "then its first traffic")
