"""Messages as the outbox makes them, also with the worst that a user can write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from modelrollout.api.enums import Reason, Urgency, Verdict
from modelrollout.api.incident import GateEvidence, Link, Moment, RolloutIncidentSpec
from modelrollout.api.status import Notice
from modelrollout.notify.base import Message

__all__ = ["AT", "NASTY", "message", "read"]

AT = datetime(2026, 11, 21, 3, 14, 15, 926000, tzinfo=UTC)
NASTY = (
    "42 ``` </td> <script>x</script> @kim #7 $version ${key} {noformat} | \\ [~kim] *b* _i_ !x.png! <!here>\n# h\nh1. x"
)


def read(value: str) -> Callable[[], Awaitable[str]]:
    """A secret."""

    async def it() -> str:
        return value

    return it


def message(
    *, over: bool = False, version: str = "42", text: str = "errors 9 %, at most 1 %", **changes: Any
) -> Message:
    """A rollback, with everything."""
    ident = f"recs/ranker/0123456789/RolledBack/{int(AT.timestamp())}"
    notice = Notice(
        id=ident,
        urgency=Urgency.TICKET,
        reason=Reason.ROLLED_BACK,
        cause=Reason.GATE_BREACHED,
        revision="0123456789",
        version=version,
        message=text,
        at=AT,
        lasts=True,
        over_at=AT.replace(hour=5) if over else None,
        incident="ranker-0123456789-1795230855",
    ).model_copy(update=changes)
    incident = RolloutIncidentSpec(
        rollout="ranker",
        revision="0123456789",
        version=version,
        stable_revision="abcdef0123",
        stable_version="41",
        reason=Reason.GATE_BREACHED,
        message=text,
        at=AT,
        weight=50,
        evidence=[
            GateEvidence(
                name="errors", verdict=Verdict.BREACHED, value="0.09", baseline="0.01", limit="at most 1 %",
                samples="1234", baseline_samples="12340", message=text, query='sum(x{code=~"5..|4.."})',
            )
        ],
        timeline=[Moment(at=AT, what=f"all traffic is put back: {text}"[:512])],
    )  # fmt: skip
    return Message(
        id=f"{ident}/over" if over else ident,
        notice=notice,
        namespace="recs",
        name="ranker",
        stable="41",
        incident=incident,
        links=(Link(name="Grafana", url="https://grafana.example/d/x?var-ns=recs"),),
        commands=("kubectl modelrollout status ranker -n recs", "kubectl modelrollout retry ranker -n recs"),
    )
