"""Classic and native histograms: which bounds are read, and exact sums of what is in them."""

from __future__ import annotations

import math

import pytest

from modelrollout.metrics.buckets import around, histogram, le_matcher, note_on_limit, seconds_per_unit
from modelrollout.metrics.native import (
    Native,
    bounds_around,
    bounds_everywhere,
    cumulative,
    parse_native,
    total,
)


def test_a_histogram_is_ordered_by_its_bounds_in_seconds() -> None:
    found = histogram({"+Inf": 9.0, "10": 7.0, "2.5": 3.0, "": 1.0}, 0.001)
    assert found.bounds == (0.0025, 0.01, math.inf)
    assert found.counts == (3.0, 7.0, 9.0)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("ranker_request_seconds", 1.0),
        ("envoy_cluster_upstream_rq_time", 0.001),
        ("istio_request_duration_milliseconds", 0.001),
        ("queue_microseconds", 1e-6),
        ("model_time", 1.0),
    ],
)
def test_the_unit_is_known_by_the_name(name: str, unit: float) -> None:
    assert seconds_per_unit(name) == unit


def test_detail_22_only_the_buckets_around_the_limit_are_read() -> None:
    every = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"]
    assert set(around(every, 0.2, 1.0)) == {"0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "+Inf"}
    assert set(around(every, 0.25, 1.0)) >= {"0.25", "+Inf"}
    assert set(around(["100", "200.0", "+Inf"], 0.2, 0.001)) == {"100", "200.0", "+Inf"}
    assert le_matcher(("+Inf", "0.25")) == r'le=~"\\+Inf|0\\.25"'


def test_detail_36_a_limit_between_two_bounds_is_said() -> None:
    assert note_on_limit((0.1, 0.25, math.inf), 0.25) == ""
    text = note_on_limit((0.1, 0.25, math.inf), 0.2)
    assert text == "judged at 250ms (next bucket): 200ms is no bucket's bound (found: 100ms, 250ms)"
    assert "nothing can breach" in note_on_limit((0.1, math.inf), 0.2)


def _exponential(schema: int, **more: float) -> Native:
    return Native(more.get("count", 6.0), schema, 0.001, 1.0, {-1: 2.0, 0: 3.0})


def test_a_native_histogram_is_read_from_the_answer() -> None:
    found = parse_native(
        {
            "count": "6",
            "sum": "3",
            "buckets": [[3, "-0.001", "0.001", "1"], [0, "0.25", "0.5", "2"], [0, "0.5", "1", "3"]],
        }
    )
    assert found == _exponential(0)


def test_detail_36_a_native_limit_is_bracketed_by_the_bounds_around_it() -> None:
    fine = Native(10.0, 2, 0.0, 0.0, {-9: 4.0, -8: 5.0, -3: 1.0})
    bounds = bounds_around(0.2, [fine])
    found = cumulative(fine, bounds)
    low, high = found.bound_at_or_below(0.2), found.bound_at_or_above(0.2)
    assert low == pytest.approx(2 ** (-10 / 4))
    assert high == pytest.approx(2 ** (-9 / 4))
    assert found.slower_than(high).bad == 6.0
    assert low is not None
    assert found.slower_than(low).bad == 10.0


def test_differences_across_a_reduced_resolution_are_exact() -> None:
    before = Native(10.0, 1, 0.001, 1.0, {1: 2.0, 2: 3.0, 3: 4.0})
    after = Native(15.0, 0, 0.001, 1.0, {1: 7.0, 2: 7.0})
    found = after.since(before)
    assert (found.count, found.schema, found.positive) == (5.0, 0, {1: 2.0, 2: 3.0})


def test_a_native_histogram_that_fell_was_reset() -> None:
    before = Native(10.0, 0, 0.0, 0.0, {1: 6.0, 2: 4.0})
    after = Native(12.0, 0, 0.0, 0.0, {1: 2.0, 2: 10.0})
    assert after.since(before) == after


def test_a_wider_zero_bucket_is_no_reset() -> None:
    before = Native(10.0, 0, 0.001, 1.0, {-3: 5.0, 1: 4.0})
    after = Native(13.0, 0, 0.125, 7.0, {1: 6.0})
    found = after.since(before)
    assert (found.count, found.zero_count, found.positive) == (3.0, 1.0, {1: 2.0})


def test_sums_of_intervals_keep_the_bounds_around_the_limit() -> None:
    """A finer and a coarser interval: what the coarser tells, the sum tells, exactly."""
    fine, coarse = Native(3.0, 3, 0.0, 0.0, {0: 1.0, 1: 2.0}), Native(4.0, 0, 0.0, 0.0, {0: 1.0, 1: 3.0})
    found = cumulative(fine, bounds_around(1.5, [fine])) + cumulative(coarse, bounds_around(1.5, [coarse]))
    assert found.bound_at_or_below(1.5) == 1.0
    assert found.bound_at_or_above(1.5) == 2.0
    assert found.slower_than(1.0).bad == 5.0


def test_custom_bounds_are_the_histograms_own() -> None:
    one = parse_native(
        {"count": "6", "buckets": [[0, "-Inf", "0.1", "1"], [0, "0.1", "0.25", "2"], [0, "0.25", "+Inf", "3"]]}
    )
    found = cumulative(one, bounds_around(0.2, [one]))
    assert found.bounds == (0.1, 0.25, math.inf)
    assert found.counts == (1.0, 3.0, 6.0)


def test_bounds_of_a_distribution_do_not_depend_on_what_is_in_it() -> None:
    one, other = Native(1.0, 3, 0.0, 0.0, {-40: 1.0}), Native(1.0, 5, 0.0, 0.0, {90: 1.0})
    assert bounds_everywhere([one], 1) == bounds_everywhere([other], 1)
    below = bounds_everywhere([Native(1.0, 3, 0.0, 0.0, {}, {2: 1.0})], 1)
    assert below[0] == -below[-1]
    assert total([one, other]).count == 2.0
