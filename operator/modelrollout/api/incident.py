"""RolloutIncident: the record of a rollback, for whoever reads it a week later.

Written once by the operator and then a record like a decision: it cannot be edited, belongs to nobody and outlives the
ModelRollout. Numbers are texts in it, because they are quoted and never calculated with.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelrollout.api.enums import Reason, Verdict
from modelrollout.api.meta import ApiModel, rule
from modelrollout.api.status import Time

__all__ = [
    "Delivery",
    "DeliveryState",
    "GateEvidence",
    "Link",
    "Moment",
    "RolloutIncidentSpec",
    "RolloutIncidentStatus",
]

_Short = Annotated[str, Field(max_length=64)]
_Sentence = Annotated[str, Field(max_length=1024)]


class GateEvidence(ApiModel):
    """What one gate knew when the traffic was put back."""

    name: str = Field(max_length=32)
    """Name of the gate."""
    verdict: Verdict
    """Its verdict."""
    value: _Short = ""
    """The candidate's value: a share, seconds, or what the gate measures."""
    baseline: _Short = ""
    """The stable revision's value at the same time."""
    limit: str = Field(default="", max_length=160)
    """The limit, in numbers."""
    samples: _Short = ""
    """Samples of the candidate."""
    baseline_samples: _Short = ""
    """Samples of the stable revision."""
    evidence: _Short = ""
    """How strong the evidence of a breach was: 0 none, 1 enough to act."""
    message: _Sentence = ""
    """The verdict as a sentence."""
    query: _Sentence = ""
    """What Prometheus was asked."""


class Moment(ApiModel):
    """Something that happened."""

    at: Time
    """When."""
    what: str = Field(max_length=512)
    """What."""


class Link(ApiModel):
    """Where to look further."""

    name: str = Field(max_length=63)
    """What is there."""
    url: str = Field(max_length=2048)
    """Where."""


class RolloutIncidentSpec(ApiModel):
    """A rollback: what, when, why, and how to go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self == oldSelf", "an incident is a record and cannot be edited: write what you add elsewhere")
            ]
        }
    )

    rollout: str = Field(max_length=40)
    """Name of the ModelRollout."""
    revision: _Short
    """The revision that was rolled back."""
    version: str = Field(default="", max_length=128)
    """Its model version."""
    stable_revision: _Short = ""
    """The revision that serves instead."""
    stable_version: str = Field(default="", max_length=128)
    """Its model version."""
    reason: Reason
    """Why."""
    message: _Sentence = ""
    """Why, as a sentence."""
    at: Time
    """When the traffic was put back."""
    weight: int = Field(default=0, ge=0, le=100)
    """The highest share of the traffic that the revision reached, in percent."""
    evidence: list[GateEvidence] = Field(default_factory=list, max_length=20)
    """What each gate knew."""
    timeline: list[Moment] = Field(default_factory=list, max_length=64)
    """What happened, the oldest first."""
    links: list[Link] = Field(default_factory=list, max_length=8)
    """Where to look further."""
    commands: list[Annotated[str, Field(max_length=256)]] = Field(default_factory=list, max_length=8)
    """What to type to go on."""


class DeliveryState(StrEnum):
    """What became of telling one receiver."""

    TOLD = "Told"
    TRYING = "Trying"
    GIVEN_UP = "GivenUp"


class Delivery(ApiModel):
    """What became of telling one receiver."""

    state: DeliveryState
    """`Told`, `Trying` or `GivenUp`."""
    attempts: int = Field(default=0, ge=0)
    """How often it was tried since the operator started."""
    reference: str = Field(default="", max_length=2048)
    """What it made of it: the ticket's address."""
    message: _Sentence = ""
    """What is wrong, while it is not told."""
    at: Time | None = None
    """When this was so."""


class RolloutIncidentStatus(ApiModel):
    """Who was told of it."""

    deliveries: dict[str, Delivery] = Field(default_factory=dict, max_length=32)
    """By receiver."""
