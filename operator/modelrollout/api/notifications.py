"""Whom a rollout tells of what: the part of the spec that a team writes itself.

Addresses are secrets (whoever has a Slack webhook's URL can write to the channel), so a manifest only ever names them:
a receiver of the operator's, or a key of a Secret in the same namespace.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from modelrollout.api.enums import Reason, Urgency
from modelrollout.api.fields import ObjectName
from modelrollout.api.meta import ApiModel, rule

__all__ = ["KINDS", "SUBJECTS", "Notification", "OwnReceiver", "OwnWebhook", "SecretKey", "Subject"]

KINDS: Final = ("webhook", "slack", "alertmanager", "cloudEvents")
"""Fields of a notification that bring an address of their own."""

_TOLD: Final = (
    Reason.ROLLBACK_INCOMPLETE,
    Reason.SHARED_DEGRADATION,
    Reason.STABLE_MISSING,
    Reason.METRICS_UNAVAILABLE,
    Reason.CANDIDATE_NOT_MEASURED,
    Reason.GATE_MISCONFIGURED,
    Reason.SPLIT_MISMATCH,
    Reason.ROLLED_BACK,
    Reason.FAILED_TO_START,
    Reason.GATE_BREACHED,
    Reason.CATASTROPHE,
    Reason.PODS_FAILING,
    Reason.PROGRESS_DEADLINE_EXCEEDED,
    Reason.UNDECIDED,
    Reason.ABORTED,
    Reason.PROMOTED,
    Reason.GATE_UNDERPOWERED,
    Reason.GATE_WARNED,
    Reason.PREFLIGHT_FAILED,
    Reason.WOULD_ROLL_BACK,
    Reason.WOULD_HOLD,
    Reason.ONE_POD_BAD,
    Reason.PAUSED_BY_OUTSIDE_EDIT,
    Reason.INVALID_TEMPLATE,
    Reason.ROUTE_IN_USE,
    Reason.ROUTE_NOT_FOUND,
    Reason.ROUTE_CONTESTED,
    Reason.AWAITING_APPROVAL,
)
SUBJECTS: Final = (*(str(one) for one in Urgency), *(str(one) for one in _TOLD))
"""What `about` may name: how urgent it is, or what it is about."""

Subject = Annotated[str, Field(max_length=63, json_schema_extra={"enum": list(SUBJECTS)})]


class SecretKey(ApiModel):
    """A value in a Secret."""

    name: ObjectName
    """Name of the Secret, in the rollout's namespace. The operator reads it only if a Role of yours lets it."""
    key: str = Field(min_length=1, max_length=253)
    """Key in the Secret."""


class OwnReceiver(ApiModel):
    """An address of your own."""

    secret_ref: SecretKey
    """Where the address (a URL) is kept. Its host must be one that the operator may call (`--notify-hosts`)."""


class OwnWebhook(OwnReceiver):
    """An address of your own that takes JSON by POST."""

    signing_key: str | None = Field(default=None, min_length=1, max_length=253)
    """Key in the same Secret that holds what the body is signed with (HMAC-SHA256)."""


class Notification(ApiModel):
    """Somebody who is told."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"[has(self.receiver), {', '.join(f'has(self.{kind})' for kind in KINDS)}]"
                    ".filter(given, given).size() == 1",
                    f"say in exactly one way who is told: receiver (a name), or one of {', '.join(KINDS)}",
                )
            ]
        }
    )

    name: str = Field(min_length=1, max_length=32)
    """Name of the entry."""
    about: list[Subject] = Field(
        default_factory=lambda: [str(one) for one in Urgency],
        min_length=1,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set", "default": [str(one) for one in Urgency]},
    )
    """Of what: `page`, `ticket`, `chat`, or reasons like `RolledBack` and `Promoted`."""
    receiver: str | None = Field(default=None, min_length=1, max_length=63)
    """Name of a receiver that whoever runs the operator has set up."""
    webhook: OwnWebhook | None = None
    """JSON by POST, to an address of your own."""
    slack: OwnReceiver | None = None
    """A Slack channel, by the URL of an incoming webhook."""
    alertmanager: OwnReceiver | None = None
    """An Alertmanager, by its base URL."""
    cloud_events: OwnReceiver | None = None
    """A sink of CloudEvents 1.0 (structured JSON)."""

    def own(self) -> tuple[str, OwnReceiver] | None:
        """The kind and the place of an address of its own; None when it names a receiver of the operator's."""
        given = (self.webhook, self.slack, self.alertmanager, self.cloud_events)
        return next(((kind, one) for kind, one in zip(KINDS, given, strict=True) if one is not None), None)
