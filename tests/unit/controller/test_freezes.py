"""What stops the line for an operator that may see one namespace alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from modelrollout.controller.freezes import Freezes
from modelrollout.kube.client import Kube, KubeError
from modelrollout.kube.reflector import Reflector

Body = dict[str, Any]


class _Cluster:
    """One namespace, and an API server that refuses what belongs to the cluster."""

    def __init__(self) -> None:
        self.labels: dict[str, str] = {}
        self.readable = True
        self.freezes_readable = False

    async def get(self, path: str, **_: str) -> Body:
        if path == "/api/v1/namespaces/recs" and self.readable:
            return {"metadata": {"name": "recs", "labels": dict(self.labels), "resourceVersion": "1"}}
        if path.endswith("/rolloutfreezes") and self.freezes_readable:
            freeze = {"metadata": {"name": "all", "resourceVersion": "2"}, "spec": {"reason": "x", "author": "a"}}
            return {"metadata": {"resourceVersion": "2"}, "items": [freeze]}
        raise KubeError(403, f"cannot read {path}")


async def _look(*copies: Reflector) -> None:
    """Let reflectors try once."""
    tasks = [asyncio.ensure_future(one.run()) for one in copies]
    await asyncio.gather(*(one.tried.wait() for one in copies))
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, AttributeError):
            await task


async def test_detail_30_the_namespaces_own_label_holds() -> None:
    cluster, changed = _Cluster(), list[str | None]()
    freezes = Freezes(cast(Kube, cluster), changed.append, "recs")
    await _look(freezes.labelled, freezes.objects)
    assert freezes.of("recs") == ()
    cluster.labels["modelrollout.io/freeze"] = "true"
    await _look(freezes.labelled)
    (held,) = freezes.of("recs")
    assert held.lift == "kubectl label namespace recs modelrollout.io/freeze-"
    cluster.labels["modelrollout.io/freeze"] = "false"
    await _look(freezes.labelled)
    assert freezes.of("recs") == ()
    assert changed == ["recs", "recs"]


async def test_detail_30_what_cannot_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """RolloutFreezes that are out of reach on purpose hold nothing; a namespace that cannot be read holds."""
    cluster = _Cluster()
    freezes = Freezes(cast(Kube, cluster), lambda _: None, "recs")
    assert freezes.of("recs")[0].what == "the operator cannot read RolloutFreezes", "before anybody has looked"
    await _look(freezes.labelled, freezes.objects)
    assert (freezes.of("recs"), freezes.of("recs")) == ((), ())
    assert caplog.text.count("RolloutFreezes hold nothing here") == 1
    cluster.readable = False
    await _look(freezes.labelled)
    assert "the operator cannot read namespace recs" in freezes.of("recs")[0].what


async def test_detail_30_a_right_that_is_taken_away_lifts_no_freeze() -> None:
    cluster = _Cluster()
    cluster.freezes_readable = True
    freezes = Freezes(cast(Kube, cluster), lambda _: None, "recs")
    await _look(freezes.labelled, freezes.objects)
    assert freezes.of("recs")[0].what == "RolloutFreeze all"
    freezes.objects.error = KubeError(403, "not any more")
    assert freezes.of("recs")[0].what == "RolloutFreeze all"


async def test_an_operator_of_the_cluster_takes_what_it_may_not_read_for_a_freeze() -> None:
    freezes = Freezes(cast(Kube, _Cluster()), lambda _: None)
    await _look(freezes.objects)
    assert freezes.of("recs")[0].what == "the operator cannot read RolloutFreezes"
