"""Exact counting: resets, pods that come and go, and whose series is whose."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from modelrollout.api.gate import IdentityBy, MetricIdentity
from modelrollout.metrics.base import Arm
from modelrollout.metrics.counting import (
    Readings,
    belongs,
    histogram,
    identity_pattern,
    identity_value,
    increments_by_bound,
    seconds_per_unit,
)

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OLD = START - timedelta(hours=1)
REVISION = "0123456789"
POD, OTHER = f"ranker-{REVISION}-7d9c5b6f4-abcde", f"ranker-{REVISION}-7d9c5b6f4-fghij"
BY_POD = MetricIdentity()


def _arm(**pods: datetime) -> Arm:
    return Arm(REVISION, "recs", f"ranker-{REVISION}", 80, {POD: OLD, OTHER: OLD} | pods)


def _key(pod: str, le: str = "") -> tuple[str, str, str, str]:
    return "recs", pod, "", le


def _gained(before: Readings, after: Readings, *scraped: str, arm: Arm | None = None) -> float:
    found = increments_by_bound(
        before,
        after,
        identity=BY_POD,
        arm=arm or _arm(),
        scraped=frozenset(("recs", pod) for pod in scraped),
        start=START,
    )
    return found.get("", 0.0)


def test_increments_are_differences_summed_over_pods() -> None:
    before = {_key(POD): 10.0, _key(OTHER): 5.0}
    assert _gained(before, {_key(POD): 13.0, _key(OTHER): 6.0}) == 4.0


def test_a_counter_that_fell_was_reset() -> None:
    assert _gained({_key(POD): 1000.0}, {_key(POD): 7.0}) == 7.0


def test_a_pod_that_vanished_counts_no_more() -> None:
    assert _gained({_key(POD): 10.0, _key(OTHER): 5.0}, {_key(POD): 11.0}) == 1.0


def test_a_series_that_appears_on_a_scraped_pod_began_at_zero() -> None:
    assert _gained({}, {_key(POD): 3.0}, POD) == 3.0


def test_a_pod_created_in_the_interval_began_at_zero() -> None:
    assert _gained({}, {_key(POD): 3.0}, arm=_arm(**{POD: START + timedelta(seconds=1)})) == 3.0


def test_an_unknown_start_is_left_out_rather_than_invented() -> None:
    assert _gained({}, {_key(POD): 90_000.0}) == 0.0
    assert _gained({_key(OTHER): 1.0}, {_key(POD): 90_000.0, _key(OTHER): 2.0}) == 1.0


def test_increments_of_adjacent_intervals_add_up() -> None:
    readings = [{_key(POD): value} for value in (0.0, 4.0, 4.0, 9.0, 2.0)]
    parts = [_gained(a, b) for a, b in itertools.pairwise(readings)]
    assert sum(parts) == 9.0 + 2.0


@pytest.mark.parametrize(
    ("pod", "ours"),
    [
        (POD, True),
        (f"ranker-{REVISION}-7d9c5b6f4-abcde-x", False),
        (f"ranker-{REVISION}", False),
        (f"my-ranker-{REVISION}-7d9c5b6f4-abcde", False),
        ("ranker-9999999999-7d9c5b6f4-abcde", False),
    ],
)
def test_a_pod_is_known_by_its_deployments_exact_name(pod: str, ours: bool) -> None:
    assert belongs(_key(pod), BY_POD, _arm()) is ours


def test_the_same_pod_name_in_another_namespace_is_not_ours() -> None:
    assert not belongs(("other", POD, "", ""), BY_POD, _arm())


def test_by_service_and_by_label() -> None:
    service = MetricIdentity(by=IdentityBy.SERVICE)
    assert identity_value(service, _arm()) == f"recs_ranker-{REVISION}_80"
    assert belongs(("gateways", "envoy-1", f"recs_ranker-{REVISION}_80", ""), service, _arm())
    assert not belongs(("gateways", "envoy-1", f"shop_ranker-{REVISION}_80", ""), service, _arm())
    assert identity_pattern(service, "recs") == "recs_.+_.+"
    label = MetricIdentity(by=IdentityBy.LABEL, label="model", value="m:{revision}")
    assert belongs(("recs", "frontend", f"m:{REVISION}", ""), label, _arm())
    assert not belongs(("shop", "frontend", f"m:{REVISION}", ""), label, _arm())


def test_a_histogram_is_ordered_by_its_bounds_in_seconds() -> None:
    found = histogram({"+Inf": 9.0, "10": 7.0, "2.5": 3.0, "": 1.0}, 0.001)
    assert found.bounds == (0.0025, 0.01, float("inf"))
    assert found.counts == (3.0, 7.0, 9.0)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("ranker_request_seconds", 1.0),
        ("envoy_cluster_upstream_rq_time", 0.001),
        ("istio_request_duration_milliseconds", 0.001),
        ("model_time", 1.0),
    ],
)
def test_milliseconds_are_known_by_the_name(name: str, unit: float) -> None:
    assert seconds_per_unit(name) == unit
