"""How fast a version was taken away: pure arithmetic on scrapes and route changes."""

from __future__ import annotations

import pytest

from demo.measuring import (
    ENOUGH,
    Point,
    Release,
    RouteChange,
    Series,
    Share,
    Users,
    first_below,
    increase,
    raised_and_zero,
)


def ramp(begin: float, per_second: float, seconds: int) -> Series:
    """A counter that is scraped each second, growing steadily from 0."""
    return [Point(begin + second, per_second * second) for second in range(seconds + 1)]


def test_increase_takes_the_last_value_before_each_end() -> None:
    series = [Point(0.0, 10.0), Point(1.0, 12.0), Point(2.0, 17.0)]
    assert increase([series], 0.5, 1.9) == 2.0
    assert increase([series, series], 0.0, 2.0) == 14.0


def test_a_series_of_a_new_pod_begins_at_zero() -> None:
    assert increase([[Point(5.0, 3.0), Point(6.0, 4.0)]], 0.0, 10.0) == 4.0


def test_the_first_scrape_that_shows_a_share_below_its_floor() -> None:
    fast, total = ramp(100.0, 2.0, 20), ramp(100.0, 10.0, 20)
    shown = first_below(Share([fast], [total], since=100.0), lambda _: 0.95)
    assert shown == 100.0 + ENOUGH / 10.0


def test_a_share_above_its_floor_is_never_shown() -> None:
    assert first_below(Share([ramp(0.0, 99.0, 20)], [ramp(0.0, 100.0, 20)], since=0.0), lambda _: 0.95) is None


def test_too_few_samples_show_nothing() -> None:
    assert first_below(Share([ramp(0.0, 0.0, 20)], [ramp(0.0, 0.9, 20)], since=0.0), lambda _: 0.95) is None


def test_late_events_are_compared_with_what_they_belong_to() -> None:
    clicks = [Point(second + 2.0, 5.0 * second) for second in range(20)]
    share = Share([clicks], [ramp(0.0, 10.0, 20)], since=0.0, late=2.0)
    assert share.at(12.0) == (0.5, 100.0)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0, 10, 0], (1.0, 2.0)),
        ([0, 10, 50, 0, 0], (1.0, 3.0)),
        ([0, 10, 50], (1.0, None)),
        ([0, 0], (None, None)),
    ],
)
def test_when_the_route_gave_and_took(weights: list[int], expected: tuple[float | None, float | None]) -> None:
    changes = [RouteChange(float(at), {"new": weight, "old": 100 - weight}) for at, weight in enumerate(weights)]
    assert raised_and_zero(changes, "new") == expected


def test_a_backend_that_is_gone_gets_nothing() -> None:
    changes = [RouteChange(1.0, {"old": 90, "new": 10}), RouteChange(2.5, {"old": 100})]
    assert raised_and_zero(changes, "new") == (1.0, 2.5)


def test_seconds_to_zero() -> None:
    release = Release("v3", False, "p95", Users(100.0, 0.0), 10, raised_at=5.0, shown_at=8.0, zero_at=12.5)
    assert release.to_zero(release.shown_at) == 4.5
    assert release.to_zero(None) is None
