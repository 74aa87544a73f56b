"""How many pods carry all the traffic, and how an autoscaler is kept from taking them away in mid-rollout.

An autoscaler sees only its own revision's load. Left alone it would shrink the stable revision as its traffic goes, and
nothing would be left for the way back; and it would grow the candidate only after the traffic is there. So its lower
bound follows the rollout, and everything above that is its own business.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from modelrollout.api.rollout import Autoscaling
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import Autoscale, Autoscaler, RevisionView, Scale

__all__ = ["digest", "full_size", "give", "metrics_of"]


def full_size(d: Draft) -> int:
    """Pods that carry all the traffic: what ``spec`` says, or, with an autoscaler, as many as the stable revision had
    when the candidate began."""
    workload = d.input.spec.workload
    auto = workload.autoscaling
    return workload.replicas if auto is None else max(auto.min, min(auto.max, d.status.stable_replicas))


def metrics_of(auto: Autoscaling) -> list[dict[str, Any]]:
    """What it scales by, as autoscaling/v2 has it."""
    if auto.cpu is None:
        return [metric.model_dump(by_alias=True) for metric in auto.metrics]
    target = {"type": "Utilization", "averageUtilization": auto.cpu}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def digest(auto: Autoscaling) -> str:
    """Ten digits for what it scales by, to be told apart without knowing what the API server adds."""
    text = json.dumps(metrics_of(auto), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def give(d: Draft, view: RevisionView, pods: int) -> None:
    """Let a revision have so many pods, or, with an autoscaler, at least so many."""
    auto = d.input.spec.workload.autoscaling
    wanted = Autoscaler(pods, max(pods, auto.max), digest(auto)) if auto is not None and pods else None
    if wanted != view.autoscaler and (wanted is not None or auto is None):
        d.then.append(Autoscale(view.revision, wanted))
    fixed = auto is None or pods == 0  # an autoscaler leaves alone what has no pods
    if view.desired < pods or (fixed and view.desired != pods):
        d.then.append(Scale(view.revision, pods))
