"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelrollout.api.gate import Gate
from modelrollout.api.status import GateStatus
from modelrollout.screen import units
from tests.unit.cli.states import NOW


def gate(**measured: object) -> Gate:
    return Gate.model_validate({"name": "g", **measured})


def found(**numbers: object) -> GateStatus:
    return GateStatus.model_validate({"name": "g", "verdict": "NoHarmSeen", **numbers})


ERRORS = {"ratio": {"bad": "e", "total": "r"}, "labelsWithin": "0s", "atMost": "baseline + 0.2pp"}
CLICKS = {"ratio": {"good": "c", "total": "i"}, "labelsWithin": "0s", "atLeast": "99% of baseline"}
P95 = {"latency": {"histogram": "h", "quantile": "0.95"}, "atMost": "200ms"}
DRIFT = {"drift": {"histogram": "h"}, "atMost": "0.2"}
REPORT = {"report": {"configMap": "r-{version}", "metric": "auc"}, "atLeast": "baseline - 0.01"}
VALUE = {"value": {"promql": "up"}, "atMost": "22000"}


@pytest.mark.parametrize(
    ("said", "baseline", "text"),
    [
        (ERRORS, 0.002, "≤ 0.40 %"),
        (ERRORS, None, "≤ baseline + 0.2pp"),
        (CLICKS, 0.03, "≥ 2.97 %"),
        (P95, None, "≤ 200 ms"),
        (DRIFT, None, "≤ 0.2"),
        (REPORT, 0.9, "≥ 0.89"),
        (VALUE, None, "≤ 22,000"),
    ],
)
def test_a_limit_is_shown_in_numbers_as_soon_as_it_has_them(
    said: dict[str, object], baseline: float | None, text: str
) -> None:
    assert units.limit(gate(**said), baseline) == text


@pytest.mark.parametrize(
    ("said", "numbers", "text"),
    [
        (ERRORS, {"baseline": 0.002, "wouldHaveSeen": 0.0014}, "≥ 0.54 %"),
        (CLICKS, {"baseline": 0.03, "wouldHaveSeen": 0.0031}, "≤ 2.66 %"),
        (P95, {"baseline": 0.1, "wouldHaveSeen": 0.012}, "≥ 6.20 % slow"),
        (DRIFT, {"wouldHaveSeen": 0.03}, "≥ 0.23"),
        (REPORT, {"baseline": 0.9, "wouldHaveSeen": 0.01}, ""),
        (ERRORS, {"wouldHaveSeen": 0.0014}, ""),
        (ERRORS, {"baseline": 0.002}, ""),
    ],
)
def test_what_would_have_been_seen_is_a_value_of_the_gate(
    said: dict[str, object], numbers: dict[str, object], text: str
) -> None:
    assert units.seen(gate(**said), found(**numbers)) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9999, "9999"), (12310, "12.3k"), (999_000, "999k"), (1_230_000, "1.23M"), (4 * 10**9, "4G")],
)
def test_many_samples_are_told_in_few_letters(count: int, text: str) -> None:
    assert units.samples(found(samples=count)) == f"{text}/0"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (0.0297, "2.97 %"), (0.00012, "0.012 %"), (1.0, "100.00 %"), (-0.02, "-2.00 %")],
)
def test_shares(share: float, text: str) -> None:
    assert units.share(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (12, "12s"), (60, "1m"), (3600, "60m"), (7200, "2h"), (86_400, "24h"), (172_800, "2d")],
)
def test_ages(seconds: int, text: str) -> None:
    assert units.age(NOW - timedelta(seconds=seconds), NOW) == text
