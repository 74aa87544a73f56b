"""Pods for each revision: enough before traffic comes, and gone only after traffic left."""

from __future__ import annotations

from typing import Final

from modelrollout.api.enums import Phase, Reason, Role
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import Scaling
from modelrollout.engine import adoption, autoscaling, identity, raising
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import Create, Delete, RevisionView, SetRole

__all__ = ["size"]

_LOOK_AGAIN_SECONDS: Final = 10.0


def size(d: Draft) -> None:
    """Create, scale, relabel and remove the revisions' objects."""
    if d.input.deleting:
        return
    _size_stable(d)
    _size_candidate(d)
    _size_kept(d)
    _collect(d)
    adoption.cool_down(d)


def _size_stable(d: Draft) -> None:
    if not d.stable:
        return
    if d.stable == EXTERNAL:
        if d.view(EXTERNAL) is None and d.input.adopted is not None:
            _say_missing(d, d.input.adopted.problem, "goes on by itself when that is mended")
            d.wake_in(_LOOK_AGAIN_SECONDS)  # nobody watches it
        return
    replicas = d.input.spec.workload.least
    if d.candidate:
        replicas = max(replicas, d.status.stable_replicas)
    view = d.view(d.stable)
    if view is not None:
        autoscaling.give(d, view, replicas)
        return
    if d.stable == d.input.target.revision:
        d.then.append(Create(d.stable, Role.STABLE, replicas))
        return
    message = f"the objects of the stable revision {d.stable} are gone, and only spec can make them again"
    _say_missing(d, message, "name the stable version in spec, or the one that should serve")


def _say_missing(d: Draft, message: str, remedy: str) -> None:
    """Users are sent to nobody. What moves traffic by now, a rollback or a promotion, is brought to its end."""
    phase = d.status.phase if d.status.phase in (Phase.PROMOTING, Phase.ROLLING_BACK) else Phase.STALLED
    if phase is Phase.STALLED and d.status.weight > 0:
        remedy += f"; or, if the candidate should serve everybody, type: {d.command('promote')} --full"
    d.say(phase, Reason.STABLE_MISSING, message, remedy)


def _size_candidate(d: Draft) -> None:
    if not d.candidate or d.status.phase in (Phase.STALLED, Phase.ROLLING_BACK):
        return
    if d.candidate == EXTERNAL:
        adoption.warm_up(d)
        return
    replicas = _candidate_pods(d)
    view = d.view(d.candidate)
    if view is not None:
        autoscaling.give(d, view, max(_has(view), replicas) if d.status.weight > 0 else replicas)
    elif d.candidate == d.input.target.revision:
        d.then.append(Create(d.candidate, Role.CANDIDATE, replicas))


def _candidate_pods(d: Draft) -> int:
    """Pods for the weight that comes next, so that they are there before the traffic."""
    steps, first, step = d.input.spec.steps, d.input.spec.weight_steps[0].weight, d.status.step
    if d.input.spec.workload.scaling is Scaling.FULL or raising.is_fast(d) or d.status.phase is Phase.PROMOTING:
        return autoscaling.full_size(d)
    if step is None or step.number == 0:
        return raising.pods_for(d, first)
    coming = max(d.status.weight, step.weight, first)
    if step.done or step.skipped:
        coming = max(coming, steps[step.number].weight or 0) if step.number < len(steps) else 100
    return raising.pods_for(d, coming)


def _size_kept(d: Draft) -> None:
    """The previous revisions: warm for a while, then without pods; later ones go."""
    warm = d.seconds(d.input.spec.rollback.warm_for)
    for number, view in enumerate(identity.kept_revisions(d)):
        if view.revision in d.input.route.weights:
            continue
        left = warm - d.since(view.retired_at)
        if number >= d.input.spec.rollback.keep:
            d.then.append(Delete(view.revision))
        elif left > 0:
            d.wake_in(left)
        else:
            autoscaling.give(d, view, 0)


def _collect(d: Draft) -> None:
    """Revisions that were never promoted and are on trial no more, and labels that a crash left behind."""
    kept = {view.revision for view in identity.kept_revisions(d)}
    relabelled = {one.revision for one in d.first if isinstance(one, SetRole)}
    for view in d.input.revisions.values():
        if view.revision in (d.stable, d.candidate) or view.revision in kept | relabelled:
            continue
        if view.role is Role.STABLE:
            d.then.append(SetRole(view.revision, Role.RETIRED, d.now))
        elif view.revision in d.input.route.weights:
            continue
        elif d.status.failed is not None and d.status.failed.revision == view.revision:
            autoscaling.give(d, view, 0)
        else:
            d.then.append(Delete(view.revision))


def _has(view: RevisionView) -> int:
    """Pods that it is given now; what an autoscaler added is the autoscaler's to take away."""
    return view.autoscaler.floor if view.autoscaler is not None else view.desired
