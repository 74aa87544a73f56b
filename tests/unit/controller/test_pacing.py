"""How often Prometheus is asked: once an interval, also while it is down and nothing comes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelrollout.api.objects import Rollout
from modelrollout.controller.reconcile import Reconciler
from tests.support.world import spec

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def _rollout(interval: str) -> Rollout:
    metadata = {"namespace": "recs", "name": "ranker", "uid": "1", "resourceVersion": "1"}
    body = {"metadata": metadata | {"creationTimestamp": "2026-11-21T02:00:00Z"}, "spec": spec()}
    found = Rollout.parse(body)
    evaluation = found.spec.evaluation.model_copy(update={"interval": interval})
    return replace(found, spec=found.spec.model_copy(update={"evaluation": evaluation}))


@pytest.mark.parametrize(("interval", "pause"), [("15s", 14.0), ("2s", 1.0), ("1s", 1.0), ("500ms", 0.5)])
def test_prometheus_is_asked_once_an_interval_also_when_nothing_comes_of_it(interval: str, pause: float) -> None:
    nothing = cast(Any, None)
    reconciler = Reconciler(nothing, metrics_delay=1.0, wake=lambda key: None, heard=lambda *_: None)
    rollout = _rollout(interval)
    assert reconciler._pause_before_look(rollout, NOW) == 0.0
    reconciler._last_look[rollout.key] = NOW
    assert reconciler._pause_before_look(rollout, NOW) == pause
    assert reconciler._pause_before_look(rollout, NOW + timedelta(seconds=pause)) == 0.0
    assert reconciler._pause_before_look(rollout, NOW - timedelta(hours=1)) == 0.0, "the clock was set back"


def test_a_reading_that_is_due_brings_the_next_look_by_itself() -> None:
    nothing = cast(Any, None)
    reconciler = Reconciler(nothing, metrics_delay=1.0, wake=lambda key: None, heard=lambda *_: None)
    rollout = _rollout("5s")
    seen = cast(Any, SimpleNamespace(status=rollout.status, now=NOW))
    reconciler._at = cast(Any, SimpleNamespace(store=SimpleNamespace(decisions=lambda key: [])))
    assert reconciler._next_look(rollout, seen, 5.0) == 5.0
    reconciler._readings[rollout.key] = cast(Any, None)
    assert reconciler._next_look(rollout, seen, 5.0) == 10.0, "only if the metrics do not come"
    assert reconciler._next_look(rollout, seen, 1.0) == 1.0, "something else that is sooner"
