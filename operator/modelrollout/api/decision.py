"""RolloutDecision: what a human says of a rollout.

A decision is an object of its own, and immutable, because it is the audit trail: who said what, when, of which
revision, and why. It is acted on once; its outcome is written to its status and nothing deletes it with the rollout.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelrollout.api.enums import Action, Verdict
from modelrollout.api.fields import Duration, RoleName
from modelrollout.api.meta import ApiModel, rule
from modelrollout.api.status import Time

__all__ = ["DecisionState", "RolloutDecisionSpec", "RolloutDecisionStatus", "Seen", "SeenGate"]


class DecisionState(StrEnum):
    """What became of a decision."""

    APPLIED = "Applied"
    REFUSED = "Refused"
    EXPIRED = "Expired"


class RolloutDecisionSpec(ApiModel):
    """What a human says of a rollout."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self == oldSelf", "a decision is a record and cannot be edited: create another one"),
                rule(
                    "!has(self.full) || !self.full || self.action == 'promote'",
                    "full is for action: promote; leave it out",
                    field_path=".full",
                ),
                rule(
                    "!has(self.overrideFreeze) || !self.overrideFreeze || self.action == 'promote'",
                    "overrideFreeze is for action: promote; leave it out",
                    field_path=".overrideFreeze",
                ),
                rule(
                    "!has(self.acceptBreached) || (self.action == 'promote' && has(self.full) && self.full)",
                    "acceptBreached is for action: promote with full: true; add full, or leave it out",
                    field_path=".acceptBreached",
                ),
                rule(
                    "!((has(self.overrideFreeze) && self.overrideFreeze) || has(self.acceptBreached)) || "
                    "(has(self.comment) && self.comment.matches('[^ ]'))",
                    "who overrules a freeze or a breached gate must say why, for the record: give a comment",
                    field_path=".comment",
                ),
                rule(
                    "!(self.action in ['approve', 'reject']) || has(self.role)",
                    "approve and reject are said in a role: give the one that the step names, like role: risk",
                    field_path=".role",
                ),
                rule(
                    "!has(self.role) || self.action in ['approve', 'reject']",
                    "role is for action: approve or reject; leave it out",
                    field_path=".role",
                ),
                rule(
                    "!(self.action in ['approve', 'reject']) || (has(self.comment) && self.comment.matches('[^ ]'))",
                    "approve and reject stay on record with their reason: say why in comment",
                    field_path=".comment",
                ),
                rule(
                    "self.action != 'approve' || has(self.revision)",
                    "an approval is of one revision: copy it from status.candidate.revision",
                    field_path=".revision",
                ),
            ]
        }
    )

    rollout: str = Field(min_length=1, max_length=40)
    """Name of the ModelRollout, in the same namespace."""
    action: Action
    """`pause`, `resume`, `abort` (put all traffic back), `promote` (end this step now), `undo` (back to an earlier
    revision), `retry` (try a rolled-back revision again), `approve` or `reject` (in a role)."""
    revision: (
        Annotated[
            str,
            Field(
                min_length=8,
                max_length=64,
                json_schema_extra={
                    "x-kubernetes-validations": [
                        rule(
                            "self.matches('^([0-9a-f]+|external)$')",
                            "is not a revision; copy it from status.candidate.revision or status.history, or leave it "
                            "out",
                        )
                    ]
                },
            ),
        ]
        | None
    ) = None
    """The revision that is meant: the decision is refused when another one is being rolled out by then. For `undo`:
    where to go back to (`external` for what was adopted); the previous one when absent."""
    role: RoleName | None = None
    """With `approve` and `reject`: the role in which it is said, as the step of the rollout names it."""
    full: bool = False
    """With `promote`: skip every step that is left."""
    override_freeze: bool = False
    """With `promote`: also over a freeze and outside `advanceOnly`. It is recorded, and needs a comment."""
    accept_breached: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=32)]],
            Field(min_length=1, max_length=20),
        ]
        | None
    ) = None
    """With `promote` and `full`: names of gates whose breach neither holds nor rolls back this candidate. Other gates
    and a catastrophe still act. It is recorded, and needs a comment."""
    author: str = Field(default="", max_length=256)
    """Who says it: the user name by which the API server knows you, as the policy in manifests/policies checks."""
    comment: str = Field(default="", max_length=1024)
    """Why."""
    expires_after: Duration = "10m"
    """A decision that could not be acted on within this time is dropped."""


class SeenGate(ApiModel):
    """What was known of one gate when a decision was heard."""

    name: str = Field(max_length=32)
    """Name of the gate."""
    verdict: Verdict
    """Its verdict."""
    value: float | None = None
    """The candidate's value."""
    baseline: float | None = None
    """The stable revision's value at the same time."""
    limit: str = Field(default="", max_length=160)
    """The limit, in numbers."""
    samples: int = 0
    """Samples of the candidate."""
    message: str = Field(default="", max_length=512)
    """The verdict as a sentence."""


class Seen(ApiModel):
    """The evidence at the moment in which a decision was heard: what its author could see."""

    revision: str = Field(default="", max_length=64)
    """The revision on trial; empty when there was none."""
    version: str = Field(default="", max_length=128)
    """Its model version."""
    step: str = Field(default="", max_length=63)
    """Name of the step."""
    weight: int = 0
    """Percent of the traffic that it had."""
    gates: list[SeenGate] = Field(default_factory=list, max_length=20)
    """What was known of each gate."""
    evaluated_at: Time | None = None
    """Up to when the metrics had been read."""


class RolloutDecisionStatus(ApiModel):
    """What became of the decision."""

    state: DecisionState | None = None
    """`Applied`, `Refused` or `Expired`."""
    message: str = Field(default="", max_length=1024)
    """What was done, or why not."""
    at: datetime | None = None
    """When."""
    verified: bool | None = None
    """Whether the API server vouched for author and right, by the policy in manifests/policies. Approvals that nobody
    vouches for do not count."""
    unverified_because: str = Field(default="", max_length=1024)
    """Why nobody vouched for it, and what to do."""
    seen: Seen | None = None
    """What was known of the rollout when this was heard."""
