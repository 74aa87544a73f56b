"""What every write of a term carries, so that a later one cannot be undone by it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from modelrollout.api.enums import Reason
from modelrollout.api.objects import Rollout
from modelrollout.api.status import DecidedBy, ModelRolloutStatus
from modelrollout.controller.actions import Actions
from modelrollout.controller.elector import Term
from modelrollout.controller.store import Store
from modelrollout.engine.model import Marker, Scale, SetWeights
from modelrollout.traffic.gateway_api import build_route, find_place, view_of
from modelrollout.workloads.deployment import DeploymentWorkload
from tests.support.world import spec

Body = dict[str, Any]


class _Kube:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, Any, bool]] = []

    async def json_patch(self, path: str, ops: list[Body], *, careful: bool = False, **_: Any) -> Body:
        self.written.append((path, ops, careful))
        return _body(9)

    async def merge_patch(self, path: str, body: Body, *, careful: bool = False, **_: Any) -> Body:
        self.written.append((path, body, careful))
        return {"metadata": {"resourceVersion": "9"}}


def _body(version: int, **status: Any) -> Body:
    metadata = {"namespace": "recs", "name": "ranker", "uid": "u-1", "resourceVersion": str(version)}
    metadata["creationTimestamp"] = "2026-11-21T02:00:00Z"
    return {"metadata": metadata, "spec": spec(), "status": status}


@pytest.fixture
def parts() -> Any:
    term = Term(DecidedBy(lease="a/b", holder="us", epoch=7), careful=2.5)
    return SimpleNamespace(kube=_Kube(), store=Store(), term=term)


async def test_detail_28_a_status_is_written_only_over_one_of_the_epoch_that_was_seen(parts: Any) -> None:
    parts.store.put(_body(4, decidedBy={"epoch": 5}))
    await Actions(parts).write_status(Rollout.parse(_body(4)), ModelRolloutStatus())
    (_, ops, _) = parts.kube.written[0]
    assert {"op": "test", "path": "/status/decidedBy/epoch", "value": 5} in ops
    assert ops[-1]["value"]["decidedBy"] == {"lease": "a/b", "holder": "us", "epoch": 7}


async def test_detail_28_the_first_status_is_written_only_over_the_object_that_was_seen(parts: Any) -> None:
    parts.store.put(_body(4))
    await Actions(parts).write_status(Rollout.parse(_body(4)), ModelRolloutStatus())
    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "4"} in parts.kube.written[0][1]


async def test_detail_28_weights_carry_the_epoch(parts: Any) -> None:
    applied: list[SetWeights] = []

    async def apply(_: Rollout, write: SetWeights) -> None:
        applied.append(write)

    parts.traffic = SimpleNamespace(apply=apply)
    rollout = Rollout.parse(_body(1))
    marker = Marker(weights={"0123456789": 100}, revision="0123456789", reason=str(Reason.PROMOTED))
    await Actions(parts).carry_out(rollout, SetWeights(marker.weights, marker, raises=False))
    route = build_route(rollout, applied[0])
    assert json.loads(route["metadata"]["annotations"]["modelrollout.io/applied"])["epoch"] == 7
    seen = view_of(route, find_place(route, "ranker", None), "ranker", shared=False).marker
    assert seen is not None
    assert seen.epoch == 7


@pytest.mark.parametrize(("replicas", "careful"), [(0, True), (2, True), (4, False), (6, False)])
async def test_detail_28_pods_are_taken_away_only_from_what_is_as_it_was_seen(
    parts: Any, replicas: int, careful: bool
) -> None:
    deployment = {"metadata": {"resourceVersion": "8"}, "spec": {"replicas": 4}}
    copies: Any = SimpleNamespace(get=lambda *_: deployment, learn=lambda _: None)
    parts.workload = DeploymentWorkload(parts.kube, copies, copies, copies, copies)
    await Actions(parts).carry_out(Rollout.parse(_body(1)), Scale("0123456789", replicas))
    (_, body, was_careful) = parts.kube.written[0]
    assert was_careful is careful
    assert body.get("metadata") == ({"resourceVersion": "8"} if careful else None)
