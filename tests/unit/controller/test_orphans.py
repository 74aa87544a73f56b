"""Decisions that are heard before the ModelRollout that they are about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modelrollout.controller.reconcile import Reconciler
from modelrollout.controller.store import Store

_KEY = ("recs", "ranker")


class _Kube:
    """Remembers what was answered."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.answers.append(body["status"] | {"path": path})
        return body


async def test_rule_14_a_decision_from_a_time_without_an_operator_waits_for_its_rollout_to_be_seen() -> None:
    """After a start they arrive in any order; how old the decision is says nothing about that."""
    kube, store = _Kube(), Store()
    parts: Any = SimpleNamespace(kube=kube, store=store, vouching=SimpleNamespace(why_not=lambda *_: ""))
    parts.workload = parts.traffic = parts.adopted = SimpleNamespace(forget=lambda _: None)
    parts.outbox = parts.incidents = parts.adopted
    reconciler = Reconciler(parts, metrics_delay=1.0, wake=lambda key: None, heard=lambda *_: None)
    metadata = {"namespace": "recs", "name": "ranker-pause", "uid": "7", "resourceVersion": "9"}
    store.put_decision(
        {
            "metadata": metadata | {"creationTimestamp": "2026-11-21T02:00:00Z"},
            "spec": {"rollout": "ranker", "action": "pause"},
        }
    )
    wait = await reconciler.reconcile(_KEY)
    assert not kube.answers
    assert wait is not None
    assert wait > 0

    reconciler._orphans[_KEY]["7"] -= wait
    assert await reconciler.reconcile(_KEY) is None
    assert [one["message"] for one in kube.answers] == ["there is no ModelRollout ranker in namespace recs"]
