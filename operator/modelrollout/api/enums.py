"""The closed vocabularies: phases, reasons, condition types, verdicts, human actions.

Conditions, events, metrics, notifications and docs all use these words and no others, so that what a person reads in
one place can be searched for in every other.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Action", "CheckState", "ConditionType", "Outcome", "Phase", "Reason", "Role", "Urgency", "Verdict"]


class Phase(StrEnum):
    """What the rollout is doing now; the PHASE column."""

    PENDING = "Pending"
    """Nothing has been judged yet."""
    STARTING = "Starting"
    """The candidate's pods are being started; it gets no traffic yet."""
    PROGRESSING = "Progressing"
    """The candidate takes traffic in steps and is being judged."""
    PAUSED = "Paused"
    """A human, or an outside edit that lowered the weight, stopped the steps."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """The step is for people to decide; the candidate keeps its weight and is judged meanwhile."""
    PROMOTING = "Promoting"
    """Every step is done; the candidate is becoming the stable revision."""
    ROLLING_BACK = "RollingBack"
    """All traffic was put back; the candidate still answers what is in flight."""
    ROLLED_BACK = "RolledBack"
    """The candidate serves nobody; `spec` still names it."""
    STABLE = "Stable"
    """The revision named in `spec` serves all traffic."""
    STALLED = "Stalled"
    """Nothing moves until a person changes something; the reason says what."""

    @property
    def is_leaving(self) -> bool:
        """Whether traffic was put back and only what is in flight is waited for."""
        return self is Phase.ROLLING_BACK


class Reason(StrEnum):
    """Why a phase or a condition is as it is. CamelCase, as the Kubernetes API conventions ask."""

    FIRST_REVISION = "FirstRevision"
    NEW_REVISION = "NewRevision"
    STARTING_PODS = "StartingPods"
    WAITING_FOR_CAPACITY = "WaitingForCapacity"
    WAITING_FOR_ROUTE = "WaitingForRoute"
    PREFLIGHT = "Preflight"
    PREFLIGHT_FAILED = "PreflightFailed"
    HOLDING = "Holding"
    WARMING_UP = "WarmingUp"
    TOO_EARLY = "TooEarly"
    STEP_DONE = "StepDone"
    AWAITING_APPROVAL = "AwaitingApproval"
    NOT_WANTED = "NotWanted"
    APPROVALS_VOIDED = "ApprovalsVoided"
    RAISING_WEIGHT = "RaisingWeight"
    PAUSED_BY_SPEC = "PausedBySpec"
    PAUSED_BY_DECISION = "PausedByDecision"
    PAUSED_BY_OUTSIDE_EDIT = "PausedByOutsideEdit"
    FROZEN = "Frozen"
    OUTSIDE_WINDOW = "OutsideWindow"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    CANDIDATE_NOT_MEASURED = "CandidateNotMeasured"
    SPLIT_MISMATCH = "SplitMismatch"
    SHARED_DEGRADATION = "SharedDegradation"
    NO_BASELINE = "NoBaseline"
    UNDECIDED = "Undecided"
    GATE_UNDERPOWERED = "GateUnderpowered"
    GATE_WARNED = "GateWarned"
    ONE_POD_BAD = "OnePodBad"
    WOULD_ROLL_BACK = "WouldRollBack"
    WOULD_HOLD = "WouldHold"
    PROMOTED = "Promoted"
    REVERTED_TO_STABLE = "RevertedToStable"
    REVERTED_TO_PREVIOUS = "RevertedToPrevious"
    SUPERSEDED = "Superseded"
    ROLLED_BACK = "RolledBack"
    GATE_BREACHED = "GateBreached"
    CATASTROPHE = "Catastrophe"
    ABORTED = "Aborted"
    REJECTED = "Rejected"
    FAILED_TO_START = "FailedToStart"
    PODS_FAILING = "PodsFailing"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    ROLLBACK_INCOMPLETE = "RollbackIncomplete"
    GATE_MISCONFIGURED = "GateMisconfigured"
    INVALID_SPEC = "InvalidSpec"
    INVALID_TEMPLATE = "InvalidTemplate"
    ROUTE_IN_USE = "RouteInUse"
    ROUTE_NOT_FOUND = "RouteNotFound"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    ROUTE_RESTORED = "RouteRestored"
    ROUTE_CONTESTED = "RouteContested"
    STABLE_MISSING = "StableMissing"
    ADOPTED = "Adopted"
    DECISION_APPLIED = "DecisionApplied"
    DECISION_REFUSED = "DecisionRefused"
    DECISION_EXPIRED = "DecisionExpired"
    NOTIFICATION_FAILED = "NotificationFailed"
    METRICS_BACK = "MetricsBack"
    GATES_PASSING = "GatesPassing"
    SERVING = "Serving"
    DELETED = "Deleted"


class ConditionType(StrEnum):
    """Types of `status.conditions`; the first three follow kstatus, which GitOps controllers read."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    AVAILABLE = "Available"
    PROGRESSING = "Progressing"
    GATES_PASSING = "GatesPassing"
    METRICS_AVAILABLE = "MetricsAvailable"
    AWAITING_APPROVAL = "AwaitingApproval"


class CheckState(StrEnum):
    """What a check before the first traffic found."""

    OK = "Ok"
    WAITING = "Waiting"
    """Not yet; it holds the first traffic."""
    FAILED = "Failed"
    """Not without somebody doing something; it holds the first traffic."""
    UNKNOWN = "Unknown"
    """Nobody can tell, or it holds nothing up."""


class Verdict(StrEnum):
    """What is known of one gate."""

    BREACHED = "Breached"
    """The candidate is shown to be outside the limit."""
    PROVEN = "Proven"
    """The candidate is shown to be within the limit."""
    NO_HARM_SEEN = "NoHarmSeen"
    """Neither is shown; harm larger than `wouldHaveSeen` would have been."""
    TOO_EARLY = "TooEarly"
    """Not enough samples in one arm, or still warming up, or the labels are not in yet."""
    BLIND = "Blind"
    """There is no data: the source is down, the metric is missing or the candidate is not measured."""


class Action(StrEnum):
    """What a human can say of a rollout in a RolloutDecision."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    PROMOTE = "promote"
    UNDO = "undo"
    RETRY = "retry"
    APPROVE = "approve"
    REJECT = "reject"

    @property
    def needs_role(self) -> bool:
        """Whether it is said in a role."""
        return self in (Action.APPROVE, Action.REJECT)


class Role(StrEnum):
    """Value of the role label on a revision's objects: the truth that survives the loss of status."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    RETIRED = "retired"


class Outcome(StrEnum):
    """How a past rollout ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    REVERTED = "Reverted"


class Urgency(StrEnum):
    """How soon somebody must know."""

    PAGE = "page"
    """Users are being harmed, or may be, and no machine will end it: wake somebody."""
    TICKET = "ticket"
    """A release failed, users are safe: work for tomorrow."""
    CHAT = "chat"
    """Good to know, or somebody is waited for."""
