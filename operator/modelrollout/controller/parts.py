"""Everything through which the operator sees and acts in one term, handed on as one: made in ``app.py``, used by
whoever decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from modelrollout.controller.elector import Term
from modelrollout.controller.events import Events
from modelrollout.controller.freezes import Freezes
from modelrollout.controller.incidents import Incidents
from modelrollout.controller.store import Store
from modelrollout.controller.vouching import Vouching
from modelrollout.kube.client import Kube
from modelrollout.metrics.sources import Sources
from modelrollout.notify.outbox import Outbox
from modelrollout.traffic.base import TrafficProvider
from modelrollout.workloads.adopted import AdoptedWorkload
from modelrollout.workloads.base import WorkloadProvider

__all__ = ["Parts"]


@dataclass(frozen=True, slots=True)
class Parts:
    """See the module."""

    term: Term
    kube: Kube
    """Writes in this term only."""
    store: Store
    workload: WorkloadProvider
    adopted: AdoptedWorkload
    traffic: TrafficProvider
    sources: Sources
    freezes: Freezes
    outbox: Outbox
    incidents: Incidents
    vouching: Vouching
    events: Events
