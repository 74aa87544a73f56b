"""What served before the first revision of ours: the baseline of that one, and the way back from it.

It is called ``external``, has no labels of ours, and belongs to others. So its role is not written on it but follows:
it is stable while no revision of ours is labelled so. Nothing is ever done to it but to scale it, and that only when
``spec`` names its Deployment: to zero, once, when a revision of ours has replaced it for ``rollback.warmFor``; up again
when an undo goes back to it.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.enums import Reason
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import AdoptedRef
from modelrollout.engine import autoscaling
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RevisionView, RouteState, Scale

__all__ = ["cool_down", "may_be_stable", "pods_needed", "problem", "remember", "warm_up", "way_back"]

_LOOK_AGAIN_SECONDS: Final = 600.0
"""How often it is looked at whether others still need it; nobody watches their routes for that."""


def may_be_stable(d: Draft) -> bool:
    """Whether it serves, when no revision of ours is labelled stable.

    The route must agree: labels can be taken off by anybody, and what it gives no traffic to has perhaps no pods. A
    route that cannot be used tells nothing, and then ``adopt`` may still be corrected. When status still names a stable
    revision, that was replaced only by an undo whose end a crash kept out of status.
    """
    view, shares = d.view(EXTERNAL), d.input.route.weights
    if d.input.spec.adopt is None or view is None or d.stable == EXTERNAL:
        return False
    if d.input.route.state in (RouteState.IN_USE, RouteState.UNUSABLE):
        return False
    if d.stable:
        return d.candidate == EXTERNAL and shares.get(EXTERNAL) == 100
    return d.status.weight == 0 and view.ready > 0 and (not shares or shares.get(EXTERNAL, 0) > 0)


def problem(d: Draft) -> str:
    """Why no candidate can be tried against it, with the remedy; empty when it is not the baseline, or serves."""
    adopt, found, remembered = d.input.spec.adopt, d.input.adopted, d.status.adopted
    if d.stable == EXTERNAL and adopt is None:
        was = f"adopt: {{service: {remembered.service}}}" if remembered is not None else "spec.adopt"
        return f"spec.adopt was taken away while what it names serves users: put {was} back"
    is_baseline = d.stable == EXTERNAL or (not d.stable and remembered is None)
    if adopt is None or found is None or not is_baseline or d.status.weight > 0:
        return ""
    if found.problem:
        return found.problem
    if found.view is None or found.view.ready == 0:
        return f"nobody is ready behind Service {adopt.service} (spec.adopt), so it cannot be the stable revision"
    return ""


def remember(d: Draft) -> None:
    """Note how large it is while it serves, and when a revision of ours took its place."""
    adopt, found, known = d.input.spec.adopt, d.input.adopted, d.status.adopted
    if adopt is None or found is None:
        if d.stable != EXTERNAL:
            d.set(adopted=None)
        return
    if known is not None and known.service != adopt.service:
        known = None
    if d.stable == EXTERNAL:
        asked = found.view.desired if found.view is not None else 0
        before = known.replicas if known is not None else 0
        known = AdoptedRef(service=adopt.service, workload=found.name, replicas=asked or before)
    elif known is not None and known.retired_at is None and d.status.stable is not None:
        known = known.model_copy(update={"retired_at": d.status.stable.since or d.now})
    d.set(adopted=known)


def way_back(d: Draft) -> RevisionView | None:
    """What an undo can go back to; with the time at which it stopped serving, as far as that is known."""
    view = d.view(EXTERNAL)
    if view is None or EXTERNAL in (d.stable, d.candidate) or not d.stable:
        return None
    return view


def pods_needed(d: Draft) -> int:
    """Pods that must be ready before it gets all traffic again: what its Deployment asks for, or, while that is
    nothing, what it asked for when it last served."""
    view, known = d.view(EXTERNAL), d.status.adopted
    asked = view.desired if view is not None else 0
    return asked or (known.replicas if known is not None else 0) or autoscaling.full_size(d)


def warm_up(d: Draft) -> None:
    """On the way back to it: as many pods as it had. One that has some is left to itself and to its autoscaler."""
    view = d.view(EXTERNAL)
    if view is not None and view.desired == 0 and d.input.adopted is not None and d.input.adopted.scalable:
        d.then.append(Scale(EXTERNAL, pods_needed(d)))


def _keep(d: Draft, known: AdoptedRef, why: str) -> None:
    """Say, once, why it is not scaled down."""
    if known.kept_because != why:
        d.set(adopted=known.model_copy(update={"kept_because": why}))
        d.event(Reason.ADOPTED, f"{known.workload}: {why}")


def cool_down(d: Draft) -> None:
    """Once a revision of ours has replaced it for ``warmFor``: no pods. Only one that served here is scaled down, and
    only once: whoever scales it up afterwards has a reason."""
    known, found, view = d.status.adopted, d.input.adopted, d.view(EXTERNAL)
    if known is None or known.retired_at is None or known.scaled_down or found is None or view is None:
        return
    if not found.scalable or d.candidate == EXTERNAL or EXTERNAL in d.input.route.weights:
        return
    if view.desired == 0:
        d.set(adopted=known.model_copy(update={"scaled_down": True}))
        return
    left = d.seconds(d.input.spec.rollback.warm_for) - d.since(known.retired_at)
    if left > 0:
        d.wake_in(left)
        return
    elsewhere = d.input.route.adopted_elsewhere
    if elsewhere:
        _keep(d, known, f"it keeps its pods, because {elsewhere} leads users to Service {known.service} too")
        d.wake_in(_LOOK_AGAIN_SECONDS)
        return
    d.set(adopted=known.model_copy(update={"replicas": view.desired, "kept_because": ""}))
    d.then.append(Scale(EXTERNAL, 0))
    d.wake_in(1.0)
