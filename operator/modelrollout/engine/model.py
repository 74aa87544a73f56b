"""Plain data in, plain data out: everything that :func:`modelrollout.engine.decide.decide` sees and says.

Frozen values without behaviour. The shell fills an :class:`Input` from the cluster, Prometheus and the clock, and
carries out a :class:`Decision`; tests, simulations and the property tests do the same without any of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from modelrollout.api.decision import DecisionState, Seen
from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Reason, Role
from modelrollout.api.incident import RolloutIncidentSpec
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.gates.evidence import Arm, Interval
from modelrollout.gates.rate import RateState, RateTest
from modelrollout.gates.together import Link

__all__ = [
    "Action",
    "Adopted",
    "Ahead",
    "Answer",
    "Autoscale",
    "Autoscaler",
    "Create",
    "Decision",
    "Delete",
    "Event",
    "Freeze",
    "GateMeasurement",
    "Human",
    "Input",
    "Marker",
    "Measurement",
    "Past",
    "Plan",
    "Problem",
    "ProblemKind",
    "RecordIncident",
    "ReplacePod",
    "RevisionView",
    "RouteState",
    "RouteView",
    "Scale",
    "SetFinalizer",
    "SetRole",
    "SetWeights",
    "Target",
    "Told",
]


_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """What ``spec`` names: the revision's hash, its model version, and whether the API server takes its template."""

    revision: str
    version: str
    template_error: str = ""


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A revision's HorizontalPodAutoscaler."""

    floor: int
    """Pods that it leaves at least."""
    ceiling: int
    target: str
    """Digest of what it scales by."""


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One revision as the cluster shows it. Times are UTC."""

    revision: str
    version: str = ""
    role: Role = Role.CANDIDATE
    promoted_at: datetime | None = None
    retired_at: datetime | None = None
    desired: int = 0
    autoscaler: Autoscaler | None = None
    """What else changes the number of its pods; None: nothing that we made."""
    ready: int = 0
    """Pods that are ready *and* in the Service's endpoints."""
    failure: str = ""
    """Why the pods cannot run, in their own words; empty while they can."""
    waiting: str = ""
    """Why the pods cannot be placed (no room, quota); empty when they can."""
    progress_at: datetime | None = None
    """When a pod last got further: scheduled, container started, ready."""
    youngest_ready_at: datetime | None = None
    """When the youngest ready pod became ready."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What ``spec.adopt`` names, as the cluster shows it."""

    name: str
    """What people call it: "Deployment ranker"."""
    view: RevisionView | None = None
    """As a revision that was promoted before ours; None when it is not there."""
    problem: str = ""
    """Why it cannot be the stable revision, with the remedy."""
    scalable: bool = False
    """Whether ``spec`` names its Deployment, and so allows it to be scaled."""


class RouteState(StrEnum):
    """What became of the route."""

    MISSING = "Missing"
    IN_USE = "InUse"
    PENDING = "Pending"
    """Written, but the gateway has not accepted that generation yet."""
    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    UNUSABLE = "Unusable"
    """A route of the user's that cannot be used as the spec says; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What our last write of weights said, kept on the route itself (annotation ``modelrollout.io/applied``)."""

    weights: Mapping[str, int]
    revision: str = ""
    reason: str = ""
    message: str = ""
    decision: str = ""
    epoch: int = 0
    """In which time of whom it was written; the shell's, decisions do not depend on it."""


@dataclass(frozen=True, slots=True)
class RouteView:
    """The route as it stands: our backends' shares in percent (they sum to 100 when there are any)."""

    state: RouteState = RouteState.MISSING
    weights: Mapping[str, int] = field(default_factory=dict)
    marker: Marker | None = None
    message: str = ""
    generation: int = 0
    """Changes with every edit of the route's spec."""
    edited_by: str = ""
    """Who wrote the weights last, when they are not those of the marker: the field manager."""
    adopted_elsewhere: str = ""
    """Another rule that leads users to what was adopted; empty when there is none."""


class ProblemKind(StrEnum):
    """Why a gate could not be measured."""

    SOURCE_DOWN = "SourceDown"
    SOURCE_REFUSED = "SourceRefused"
    """The rollout names a source that there is not, or not for it."""
    METRIC_UNKNOWN = "MetricUnknown"
    """Nobody has ever exported a metric, or a label, of that name: a slip of the pen rather than a lack of requests."""
    METRIC_MISSING = "MetricMissing"
    BASELINE_MISSING = "BaselineMissing"
    CANDIDATE_MISSING = "CandidateMissing"
    MISCONFIGURED = "Misconfigured"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a gate could not be measured, with what to do about it."""

    kind: ProblemKind
    message: str

    @property
    def reason(self) -> Reason:
        """The reason under which people are told."""
        return _REASONS[self.kind]

    @property
    def hides_everything(self) -> bool:
        """Whether nothing was read at all, so that what happened meanwhile is read later."""
        return self.kind in (ProblemKind.SOURCE_DOWN, ProblemKind.SOURCE_REFUSED)


_REASONS: Final = {
    ProblemKind.SOURCE_DOWN: Reason.METRICS_UNAVAILABLE,
    ProblemKind.SOURCE_REFUSED: Reason.GATE_MISCONFIGURED,
    ProblemKind.CANDIDATE_MISSING: Reason.CANDIDATE_NOT_MEASURED,
    ProblemKind.BASELINE_MISSING: Reason.GATE_MISCONFIGURED,
    ProblemKind.METRIC_UNKNOWN: Reason.GATE_MISCONFIGURED,
    ProblemKind.METRIC_MISSING: Reason.GATE_MISCONFIGURED,
    ProblemKind.MISCONFIGURED: Reason.GATE_MISCONFIGURED,
}


@dataclass(frozen=True, slots=True)
class Scraping:
    """Which pods the metrics source visits, as far as it tells pods apart."""

    candidate: int
    """Pods of the candidate that were visited with success."""
    baseline: int
    """Pods of the stable revision that were."""
    failing: tuple[str, ...] = ()
    """Pods of the candidate whose visit failed."""
    others: int = 0
    """Other pods of the namespace."""


@dataclass(frozen=True, slots=True)
class GateMeasurement:
    """What one gate's metrics showed: intervals in order of time (those that are missing could not be read), and
    perhaps a problem."""

    intervals: tuple[Interval, ...] = ()
    problem: Problem | None = None
    query: str = ""
    pods: Mapping[str, Arm] | None = None
    """What each pod of the candidate did over the whole time; only when the plan asks for it."""
    report: str = ""
    """The report that holds a result of an evaluation, as it is."""
    note: str = ""
    """What a person should know of the metric (the bounds that were found around a latency's limit)."""
    scraping: Scraping | None = None
    """Who is scraped, for a gate whose series come from the pods themselves; only when the plan asks for it."""

    @property
    def interval(self) -> Interval | None:
        """The newest interval."""
        return self.intervals[-1] if self.intervals else None


@dataclass(frozen=True, slots=True)
class Past:
    """Of which gates the baseline's own past is wanted, from when to when, and in intervals of which length."""

    gates: frozenset[str]
    start: datetime
    end: datetime
    step: timedelta


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read: for each gate from when, and up to when for all, in intervals of ``step``.

    All times are multiples of ``step`` since 1970, so that rollouts share the answers and a look that is repeated
    later reads the very same intervals.
    """

    starts: Mapping[str, datetime]
    end: datetime
    step: timedelta = timedelta(seconds=15)
    per_pod: frozenset[str] = frozenset()
    """Gates of which every pod of the candidate is wanted apart."""
    past: Past | None = None
    """What to learn of the noise before the first interval is judged."""
    preflight: bool = False
    """Before the first traffic: also who is scraped."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look at the metrics, of all gates over the same interval."""

    start: datetime
    end: datetime
    gates: Mapping[str, GateMeasurement]
    past: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    """The baseline's own past, of the gates of which the plan wanted it."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """Intervals of a gate, folded before the decision that needs it: it is much cheaper together with those of other
    rollouts. Taken only where they are exactly what the decision would fold first itself."""

    test: RateTest
    checkpoint: str
    """The state before."""
    links: tuple[Link, ...]
    state: RateState
    """The state after."""

    @property
    def against(self) -> float:
        """How much speaks against the candidate, to see to the worst first: its evidence, or that it is beyond."""
        if self.state.counts.beyond[0] > 0.0:
            return math.inf
        worked = self.state.worked
        return worked.concluded.breach if worked is not None else 0.0

    def fits(self, test: object, checkpoint: str, links: Sequence[Link]) -> bool:
        """Whether this is the fold of the first of those intervals into that state."""
        same = test is self.test and checkpoint == self.checkpoint
        return same and self.links == tuple(links[: len(self.links)])


@dataclass(frozen=True, slots=True)
class Human:
    """A RolloutDecision that has not been answered yet."""

    uid: str
    name: str
    verb: Verb
    created: datetime
    expires: datetime
    revision: str = ""
    full: bool = False
    author: str = ""
    comment: str = ""
    override_freeze: bool = False
    accept_breached: tuple[str, ...] = ()
    role: str = ""
    unverified: str = ""
    """Why nobody vouches for its author and right; empty when the API server's policy does."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Something that stops steps upward for everybody: a labelled namespace, or a RolloutFreeze."""

    what: str
    why: str = ""
    by: str = ""
    until: datetime | None = None
    lift: str = ""
    """What a person types to end it."""

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        until = f", until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.what}{by}{until}{why}"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of telling people something."""

    done: bool
    """Everybody was told, or was given up."""
    problem: str = ""
    """Who could not be told, why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Input:
    """Everything that a decision may depend on."""

    namespace: str
    name: str
    now: datetime
    generation: int
    created: datetime
    spec: ModelRolloutSpec
    target: Target
    status: ModelRolloutStatus
    revisions: Mapping[str, RevisionView]
    route: RouteView
    measurement: Measurement | None = None
    ahead: Mapping[str, Ahead] = field(default_factory=dict)
    """By gate, what was folded of the measurement already; nothing depends on it but the time that a decision takes."""
    glance: Measurement | None = None
    """What was read between two looks, after an alarm: only for a catastrophe."""
    humans: tuple[Human, ...] = ()
    """In the order in which they were created, which times of one second alone do not tell."""
    author: str = ""
    """Who last changed what is released, as a policy of the API server vouches; empty when none does."""
    edited_by: str = ""
    """Who wrote ``spec`` last, as far as the object says: the field manager."""
    adopted: Adopted | None = None
    """What ``spec.adopt`` names. It is none of ``revisions``: nothing that is done to those is done to it."""
    freezes: tuple[Freeze, ...] = ()
    """What stops steps upward for everybody, also what is over by now."""
    deleting: bool = False
    has_finalizer: bool = False
    told: Mapping[str, Told] = field(default_factory=dict)
    """What became of the notices, by message id, as far as this process knows."""
    recorded: frozenset[str] = frozenset()
    """Incidents that this process knows to be recorded, by name."""

    @property
    def freeze(self) -> Freeze | None:
        """The freeze that lasts longest of those that are not over."""
        lasting = [one for one in self.freezes if one.until is None or one.until > self.now]
        return max(lasting, key=lambda one: one.until or _NEVER, default=None)


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Give the revisions these shares of the traffic (percent, summing to 100) and leave a marker saying why."""

    weights: Mapping[str, int]
    marker: Marker
    raises: bool
    """Whether the write must fail when the route changed meanwhile, as every one that raises the candidate's share."""


@dataclass(frozen=True, slots=True)
class Create:
    """Make a revision's Deployment and Service from ``spec``."""

    revision: str
    role: Role
    replicas: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Give a revision this many pods."""

    revision: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Give a revision an autoscaler like this, or (None) none any more."""

    revision: str
    autoscaler: Autoscaler | None


@dataclass(frozen=True, slots=True)
class SetRole:
    """Write a revision's role on its objects."""

    revision: str
    role: Role
    at: datetime


@dataclass(frozen=True, slots=True)
class ReplacePod:
    """Delete one pod, so that another takes its place."""

    revision: str
    pod: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a revision's objects."""

    revision: str


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Hold (or no longer hold) the ModelRollout against deletion, while the candidate has traffic."""

    present: bool


@dataclass(frozen=True, slots=True)
class RecordIncident:
    """Write the record of a rollback, unless there is one of this name."""

    name: str
    spec: RolloutIncidentSpec = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Say what became of a human's decision."""

    name: str
    state: DecisionState
    message: str
    unverified: str = ""
    """Why nobody vouches for its author and right; empty when the API server does."""
    seen: Seen | None = None
    """What was known when it was heard."""


Action = (
    SetWeights | Create | Scale | Autoscale | SetRole | ReplacePod | Delete | SetFinalizer | RecordIncident | Answer
)


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event to post, after everything else."""

    reason: Reason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, in this order: ``first``, then write ``status``, then ``then``, then ``events``.

    Whatever lowers the candidate's weight stands in ``first``; whatever raises it stands in ``then``.
    """

    first: tuple[Action, ...]
    status: ModelRolloutStatus
    then: tuple[Action, ...]
    events: tuple[Event, ...]
    requeue_after: float | None
    """Seconds until the next look even if nothing happens; None when only a change matters."""
