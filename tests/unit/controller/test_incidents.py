"""Records of rollbacks: what the API server says to a write, and what is believed of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from modelrollout.api.enums import Reason
from modelrollout.api.incident import RolloutIncidentSpec
from modelrollout.api.objects import Rollout
from modelrollout.controller.events import Events
from modelrollout.controller.incidents import Incidents
from modelrollout.engine.model import RecordIncident
from modelrollout.kube.client import ConflictError, Kube, KubeError, NotFound
from tests.support.world import spec

SPEC = RolloutIncidentSpec(
    rollout="ranker", revision="0123456789", reason=Reason.GATE_BREACHED, at=datetime(2026, 11, 21, tzinfo=UTC)
)
ACTION = RecordIncident("ranker-0123456789-1", SPEC)
ROLLOUT = Rollout.parse(
    {
        "metadata": {
            "namespace": "recs",
            "name": "ranker",
            "uid": "u-1",
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-21T12:00:00Z",
        },
        "spec": spec(),
    }
)


class _Kube:
    """An API server that answers a create as it is told, and has the record or not."""

    def __init__(self, answer: KubeError | None, *, there: bool) -> None:
        self._answer, self._there = answer, there

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._answer is not None:
            raise self._answer
        return body

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        if query:
            return {"items": []}
        if not self._there:
            raise NotFound(404, "there is none")
        return {"spec": SPEC.model_dump(mode="json", by_alias=True)}


@pytest.mark.parametrize(
    ("answer", "there", "known"),
    [
        (None, True, True),
        (ConflictError(409, "already exists"), True, True),
        (ConflictError(409, "Operation cannot be fulfilled on resourcequotas"), False, False),
        (KubeError(500, "internal error"), False, False),
    ],
)
async def test_detail_25_a_record_counts_as_written_only_when_it_is_there(
    answer: KubeError | None, there: bool, known: bool
) -> None:
    """409 says that somebody was faster, and not always with this very record; what is not known is tried again."""
    incidents = Incidents(cast(Kube, _Kube(answer, there=there)), (), cast(Events, None))
    await incidents.record(ROLLOUT, ACTION)
    assert incidents.recorded(("recs", "ranker")) == ({ACTION.name} if known else frozenset())
