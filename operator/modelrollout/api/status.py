"""The status of a ModelRollout: the dashboard, and all that the engine remembers.

Nothing the engine decides from lives only in memory: after a restart this object and the cluster are enough to go on.
Everything is bounded so that the whole stays far below what etcd and people can take.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, PlainSerializer

from modelrollout.api.enums import CheckState, ConditionType, Outcome, Phase, Reason, Urgency, Verdict
from modelrollout.api.meta import ApiModel

__all__ = [
    "AdoptedRef",
    "Approved",
    "Blind",
    "Condition",
    "Contest",
    "DecidedBy",
    "Failed",
    "GateStatus",
    "HistoryEntry",
    "LimitChange",
    "ModelRolloutStatus",
    "Notice",
    "Override",
    "Pause",
    "Pinned",
    "PreflightCheck",
    "RevisionRef",
    "Span",
    "StepStatus",
    "Time",
]


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _rfc3339_seconds(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


Time = Annotated[datetime, PlainSerializer(_rfc3339, when_used="json")]
"""UTC, written with milliseconds."""
ConditionTime = Annotated[datetime, PlainSerializer(_rfc3339_seconds, when_used="json")]
"""UTC, written with seconds, as metav1.Time is."""
Message = Annotated[str, Field(max_length=1024)]
Hash = Annotated[str, Field(max_length=64, pattern="^([0-9a-f]+|external)?$")]
"""A revision: hexadecimal digits, or `external`. Objects are named after it, so a status with anything else is not
read."""


class RevisionRef(ApiModel):
    """One revision."""

    revision: Hash
    """Hash of what serves: model and pod template; `external` for what was adopted."""
    version: str = Field(default="", max_length=128)
    """The model's version."""
    since: Time | None = None
    """Since when it has this role."""


class AdoptedRef(ApiModel):
    """What `spec.adopt` names, as it was when it served users."""

    service: str = Field(max_length=63)
    """Its Service."""
    workload: str = Field(default="", max_length=280)
    """What people call it: "Deployment ranker", or "Service ranker" when nobody knows what is behind it."""
    replicas: int = 0
    """How many pods its Deployment asked for when it last served; an undo gives it as many again."""
    retired_at: Time | None = None
    """When it stopped serving; absent while it does."""
    scaled_down: bool = False
    """Its Deployment was scaled to zero after `rollback.warmFor`. What others ask of it since is theirs to say."""
    kept_because: Message = ""
    """Why it was not scaled to zero although that time is over."""


class StepStatus(ApiModel):
    """Where the candidate is on its way up."""

    number: int = Field(ge=0)
    """1 for the first step; 0 while the pods start."""
    of: int = Field(ge=0)
    """How many steps there are."""
    name: str = Field(default="", max_length=63)
    """Name of the step."""
    weight: int = Field(default=0, ge=0, le=100)
    """Weight of the step."""
    since: Time | None = None
    """When the step began."""
    serving_since: Time | None = None
    """When the weight was seen to be in effect."""
    held_seconds: float = 0.0
    """Time that counted for the hold: at this weight, ready, measured, not paused."""
    hold_seconds: float = 0.0
    """Time that is needed."""
    extended_seconds: float = 0.0
    """Time held beyond that for gates that are undecided; each waits at most its `maxHold`."""
    credited_at: Time | None = None
    """Up to when the time was counted."""
    done: bool = False
    """The hold is over and the gates hold; the pods for the next step are being started."""
    looked: bool = False
    """The planned look at the end of the hold was taken."""
    skipped: bool = False
    """A human ended this step."""
    role: str = Field(default="", max_length=40)
    """In an approval: the role in which people must speak; empty in a step with a weight."""
    overridden: bool = False
    """What a human began goes on over a freeze and outside the window, until the weight is in effect."""


class GateStatus(ApiModel):
    """What is known of one gate."""

    name: str = Field(max_length=32)
    """Name of the gate."""
    verdict: Verdict
    """`Breached`, `Proven`, `NoHarmSeen`, `TooEarly` or `Blind`."""
    value: float | None = None
    """The candidate's value: a share, or seconds."""
    baseline: float | None = None
    """The stable revision's value at the same time."""
    difference: float | None = None
    """Candidate minus baseline (or minus the limit when it is absolute), positive is worse: a share."""
    low: float | None = None
    """Lower end of the difference's interval."""
    high: float | None = None
    """Upper end of the difference's interval."""
    would_have_seen: float | None = None
    """With `NoHarmSeen`: a difference as large as this would have been found."""
    samples: int = 0
    """Samples of the candidate."""
    baseline_samples: int = 0
    """Samples of the stable revision."""
    limit: str = Field(default="", max_length=160)
    """The limit, in numbers."""
    evidence: float | None = None
    """How strong the evidence of a breach is: 0 none, 1 enough to act. On a logarithmic scale."""
    noise_floor: float | None = None
    """What the baseline's own history shows beyond coin flips: relative variance per second of bad events' rate."""
    noise_known: bool = False
    """The noise floor was learnt from history."""
    underpowered: Message = ""
    """What this gate cannot see at this traffic, weight and hold; empty when it sees what it should."""
    leaning: bool = False
    """Beyond the limit by two standard errors: no reason to roll back, and none to go up either."""
    unseen: Message = ""
    """What `mustSee` asks for and this step could not have seen yet."""
    covered_seconds: float = 0.0
    """For how much of the step there were data to judge."""
    says: str = Field(default="", max_length=80)
    """The limit as it was written when it was judged."""
    pods: dict[str, Annotated[str, Field(max_length=32)]] = Field(default_factory=dict, max_length=16)
    """Bad and all events of each pod of the candidate, while there is evidence against it."""
    shared: bool = False
    """Beyond an absolute limit, but no worse than the baseline: held, not rolled back."""
    since: Time | None = None
    """Since when the verdict is as it is."""
    message: Message = ""
    """The verdict as a sentence."""
    query: str = Field(default="", max_length=1024)
    """What Prometheus was asked; paste it there."""
    definition: str = Field(default="", max_length=16)
    """Hash of the gate's metric, limit and identity."""
    restarted_because: Message = ""
    """Why the evidence was begun anew within this rollout; empty when it was not."""
    evidence_since: Time | None = None
    """From when the evidence counts after an edit; all of the rollout's when there was none."""
    checkpoint: str = Field(default="", max_length=2048)
    """The counts so far; opaque."""


class PreflightCheck(ApiModel):
    """What was found before the first traffic."""

    check: str = Field(max_length=48)
    """What was looked at: `capacity`, `artifact`, `route`, `scraped`, `noise`, or a gate by name."""
    state: CheckState
    """`Ok`, `Waiting` (holds the first traffic), `Failed` (likewise, and will not pass by itself) or `Unknown` (holds
    nothing up)."""
    message: str = Field(default="", max_length=320)
    """What was found, and what to do about it."""


class Span(ApiModel):
    """Some time in which the candidate was judged: warm, ready and measured at one weight. From these and Prometheus
    every gate's verdict can be made again."""

    step: Annotated[str, Field(max_length=63)]
    """Name of the step."""
    weight: int = Field(ge=0, le=100)
    """Percent of the traffic."""
    start: Time
    """From when."""
    end: Time
    """Until when."""
    looked_at: Time | None = None
    """When the planned look at the end of the hold was taken."""


class LimitChange(ApiModel):
    """A limit that was loosened while a candidate was on trial: it is recorded, and lifts no breach."""

    gate: str = Field(max_length=32)
    """Name of the gate."""
    old: str = Field(max_length=64)
    """The limit before."""
    new: str = Field(max_length=64)
    """The limit after."""
    at: Time
    """When it was noticed."""
    by: str = Field(default="", max_length=253)
    """Who wrote it: the field manager of the spec, as far as the object says."""


class Approved(ApiModel):
    """An approval of the candidate that counts."""

    step: str = Field(max_length=63)
    """Name of the step."""
    role: str = Field(max_length=40)
    """The role in which it was said."""
    author: str = Field(max_length=256)
    """Who said it, as the API server vouched."""
    decision: str = Field(max_length=253)
    """Name of the RolloutDecision; it has the whole comment and what was seen."""
    at: Time
    """When it was said."""
    comment: str = Field(default="", max_length=160)
    """Why."""
    terms: str = Field(default="", max_length=256)
    """Hashes of how the candidate was judged then, apart from the limits."""


class Pause(ApiModel):
    """Why nothing moves up."""

    reason: Reason
    """Who or what paused."""
    at: Time
    """When."""
    message: Message = ""
    """Who, and the comment."""


class Override(ApiModel):
    """A human went on over a freeze or outside the window, or accepted gates that are breached: on record with the
    release."""

    at: Time
    """When."""
    by: str = Field(default="", max_length=256)
    """Who."""
    comment: str = Field(default="", max_length=256)
    """Why."""
    over: str = Field(default="", max_length=256)
    """The freeze or the closed window."""
    gates: list[Annotated[str, Field(max_length=32)]] = Field(default_factory=list, max_length=20)
    """The gates that neither hold nor roll back this candidate any more."""

    def in_words(self) -> str:
        """As one sentence."""
        accepted = f"accepted {', '.join(self.gates)}" if self.gates else ""
        went_on = f"went on over {self.over}" if self.over else ""
        return f'{self.by or "someone"} {" and ".join(filter(None, (accepted, went_on)))} ("{self.comment}")'


class Failed(ApiModel):
    """The revision that was rolled back; it is not tried again until another one is named or someone says retry."""

    revision: Hash
    """The revision."""
    version: str = Field(default="", max_length=128)
    """Its model version."""
    reason: Reason
    """Why."""
    message: Message = ""
    """Why, as a sentence."""
    at: Time
    """When traffic was put back."""


class Pinned(ApiModel):
    """An undo: another revision serves instead of the one named in `spec`, until `spec` names another."""

    revision: Hash
    """What serves."""
    instead_of: Hash
    """What `spec` names."""


class Blind(ApiModel):
    """A metrics outage."""

    since: Time
    """Since when."""
    reason: Reason = Reason.METRICS_UNAVAILABLE
    """Whether the source is down, the candidate is not measured, or a gate is misconfigured."""
    message: Message = ""
    """What is missing."""
    alerted: bool = False
    """Whether the alert after `blindTimeout` was raised."""


class Contest(ApiModel):
    """Somebody else who writes the route's weights."""

    by: str = Field(default="", max_length=128)
    """Who: the field manager, as far as the route says."""
    overwritten_at: list[Time] = Field(min_length=1, max_length=3)
    """When our weights were written over, the newest first."""
    generation: int = 0
    """Generation of the route that was counted last."""
    since: Time | None = None
    """Since when it is a fight: nothing goes up until it ends."""


class HistoryEntry(ApiModel):
    """A past rollout."""

    revision: Hash
    """The revision."""
    version: str = Field(default="", max_length=128)
    """Its model version."""
    outcome: Outcome
    """How it ended."""
    reason: Reason
    """Why."""
    message: str = Field(default="", max_length=512)
    """Why, as a sentence."""
    started_at: Time | None = None
    """When it began."""
    ended_at: Time
    """When it ended."""
    weight: int = 0
    """The highest weight that it reached."""
    overrides: list[Annotated[str, Field(max_length=256)]] = Field(default_factory=list, max_length=4)
    """Who overruled what in it, the newest first."""


class Notice(ApiModel):
    """Something that people are told, and whether they were: what a crash must not lose."""

    id: str = Field(max_length=256)
    """Namespace, name, revision, reason and time; the same in every attempt to tell it."""
    urgency: Urgency
    """`page`, `ticket` or `chat`."""
    reason: Reason
    """What it is about."""
    cause: Reason | None = None
    """Why that is so, where it is another word."""
    revision: Hash = ""
    """The revision that it is about."""
    version: str = Field(default="", max_length=128)
    """Its model version."""
    message: str = Field(default="", max_length=512)
    """As a sentence."""
    at: Time
    """Since when it is so."""
    lasts: bool = False
    """It is told when it is over, too."""
    gone_since: Time | None = None
    """Since when it is not so any more; of what comes and goes that must last a while."""
    over_at: Time | None = None
    """Since when it is over."""
    told: bool = False
    """Everybody who is told of such things was, or was given up."""
    incident: str = Field(default="", max_length=63)
    """Name of the RolloutIncident."""
    problem: str = Field(default="", max_length=512)
    """Why somebody could not be told, and what to do about it."""


class Condition(ApiModel):
    """metav1.Condition."""

    type: ConditionType
    """Type of the condition."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    """`True`, `False` or `Unknown`."""
    reason: Reason
    """Why."""
    message: Message = ""
    """Why, as a sentence."""
    observed_generation: int = 0
    """Generation of the object that was judged."""
    last_transition_time: ConditionTime
    """When the status last changed."""


class DecidedBy(ApiModel):
    """Which process of the operator wrote a status."""

    lease: Annotated[str, Field(max_length=317)] = ""
    """Namespace and name of the Lease that gave it the right to; empty: it was started without."""
    holder: Annotated[str, Field(max_length=256)] = ""
    """Its name, as the Lease has it: pod and UID."""
    epoch: int = 0
    """Rises each time that a process begins to decide; what bears a lower one is never written over a higher one."""


class ModelRolloutStatus(ApiModel):
    """What serves now, what is being tried, and why."""

    observed_generation: int = 0
    """Generation of the spec that this status speaks of."""
    decided_by: DecidedBy | None = None
    """Which process of the operator wrote this."""
    observed_revision: Hash = ""
    """Revision of the spec that the last transition was made for."""
    hash_version: int = 1
    """How the revision's hash was made."""
    phase: Phase = Phase.PENDING
    """What the rollout is doing."""
    reason: Reason = Reason.NEW_REVISION
    """Why, in one word."""
    message: Message = ""
    """Why, in one sentence."""
    next: Message = ""
    """What happens next, or what to type."""
    stable: RevisionRef | None = None
    """The last promoted revision."""
    candidate: RevisionRef | None = None
    """The revision on trial."""
    adopted: AdoptedRef | None = None
    """What was adopted and served before the first promotion."""
    step: StepStatus | None = None
    """Where the candidate is on its way up."""
    weight: int = 0
    """Percent of the traffic that the candidate should have."""
    observed_weight: int | None = None
    """Percent that the route, as accepted by the gateway, gives it."""
    peak_weight: int = 0
    """The highest weight that this candidate reached."""
    replicas: int = 0
    """Pods of the stable revision and of the candidate together, as they were asked for."""
    selector: Annotated[str, Field(max_length=317)] = ""
    """Labels of all of them, for `kubectl scale` and for autoscalers."""
    stable_replicas: int = 0
    """The stable revision's pods at the start of the rollout; it keeps at least as many while it lasts."""
    gates: list[GateStatus] = Field(default_factory=list, max_length=20)
    """What is known of each gate."""
    preflight: list[PreflightCheck] = Field(default_factory=list, max_length=32)
    """What was found before the candidate's first traffic."""
    preflight_overruled: bool = False
    """Someone said `promote` while that held the first traffic back."""
    approvals: list[Approved] = Field(default_factory=list, max_length=40)
    """Approvals of this candidate, the newest first. Voided when it is judged otherwise, unless by a stricter limit or
    another gate, and when another revision begins."""
    authors: list[Annotated[str, Field(max_length=256)]] = Field(default_factory=list, max_length=8)
    """Who changed what is released, or how it is judged, for this candidate: their approvals do not count alone. Empty
    while nobody vouches for it."""
    limit_changes: list[LimitChange] = Field(default_factory=list, max_length=5)
    """Limits that were loosened during this rollout, the newest first."""
    observed: Message = ""
    """With `mode: observe`: what would have been done, when and because of which gate."""
    overrides: list[Override] = Field(default_factory=list, max_length=8)
    """What humans overruled for this candidate, the newest first."""
    replaced_pod: str = Field(default="", max_length=253)
    """The candidate's pod that alone carried a breach and was replaced; it happens once in a rollout."""
    pods_missing_since: Time | None = None
    """Since when the candidate has fewer ready pods than it was given; not counted while there is no room for them."""
    spans: list[Span] = Field(default_factory=list, max_length=32)
    """When the candidate was judged, the oldest first."""
    split_off_since: Time | None = None
    """Since when the observed split contradicts the weight that was asked."""
    evaluated_at: Time | None = None
    """Up to when the metrics were read."""
    paused: Pause | None = None
    """Why nothing moves up."""
    blind: Blind | None = None
    """A metrics outage."""
    contest: Contest | None = None
    """Somebody else who writes the route's weights."""
    failed: Failed | None = None
    """The revision that was rolled back and is not tried again."""
    pinned: Pinned | None = None
    """An undo."""
    draining_since: Time | None = None
    """Since when traffic has been put back and what is in flight is being answered."""
    handled: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=32)
    """UIDs of the decisions that were acted on."""
    columns: dict[str, Annotated[str, Field(max_length=64)]] = Field(default_factory=dict, max_length=8)
    """What `kubectl get` shows."""
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Conditions, kstatus and our own."""
    notices: list[Notice] = Field(default_factory=list, max_length=10)
    """What people are being told, and what is still so."""
    history: list[HistoryEntry] = Field(default_factory=list, max_length=10)
    """Past rollouts, the newest first."""

    @property
    def accepted(self) -> frozenset[str]:
        """Names of the gates that humans accepted for this candidate: their breach does nothing."""
        return frozenset(name for override in self.overrides for name in override.gates)
