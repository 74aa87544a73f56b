"""Scenarios are read as they are documented, and what is wrong is named with its remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelrollout.lab.scenario import (
    Blips,
    Curve,
    Diurnal,
    Effect,
    Failures,
    Noise,
    Scenario,
    Shared,
    Wander,
    find_scenario,
)


def read(**fields: Any) -> Scenario:
    return find_scenario([{"traffic": 50, "metrics": {"errors": "1%"}} | fields])


def test_the_smallest_scenario_is_two_lines() -> None:
    scenario = read()
    assert scenario.rate == Curve.level(50.0)
    assert scenario.metrics[0].share == Curve.level(0.01)
    assert scenario.metrics[0].total == "requests"
    assert scenario.history == 43_200.0
    assert not scenario.has_effect


def test_traffic_may_follow_points_and_the_time_of_day() -> None:
    scenario = read(
        traffic={"rate": [["0h", 20], ["6h", 80]], "diurnal": {"amplitude": "60%", "period": "24h", "phase": "6h"}}
    )
    assert scenario.rate == Curve((0.0, 21_600.0), (20.0, 80.0))
    assert scenario.diurnal == Diurnal(0.6, 86_400.0, 21_600.0)


def test_effects_are_values_factors_or_points() -> None:
    metrics = {"errors": "1%", "slow": 0.04, "clicks": {"share": "3%", "of": "impressions", "lag": "30s"}}
    candidate = {
        "errors": "5%",
        "slow": {"plus": "1pp", "at": "1h", "ramp": "10m", "until": "2h"},
        "clicks": {"times": 0.9},
    }
    scenario = read(metrics=metrics, candidate=candidate)
    assert scenario.effects == {
        "errors": Effect(value=0.05),
        "slow": Effect(plus=0.01, at=3600.0, ramp=600.0, until=7200.0),
        "clicks": Effect(times=0.9),
    }
    assert scenario.metrics[2].total == "impressions"
    assert scenario.metrics[2].lag == 30.0


def test_noise_is_for_every_metric_unless_one_has_its_own() -> None:
    noise = {
        "bursty": {"cv": 0.5},
        "wander": {"rho": 0.9, "sigma": 0.3},
        "shared": {"rho": 0.8, "sigma": 0.5, "failures": {"every": "2h", "for": "5m", "times": 20}},
        "blips": {"every": "30m", "share": "50%"},
    }
    scenario = read(metrics={"errors": "1%", "slow": {"share": "4%", "noise": {"bursty": {"cv": 0.1}}}}, noise=noise)
    assert scenario.metrics[0].noise == Noise(
        0.5, Wander(0.9, 0.3), Shared(Wander(0.8, 0.5), Failures(7200.0, 300.0, 20.0)), Blips(1800.0, 0.5)
    )
    assert scenario.metrics[1].noise == Noise(0.1)


def test_gaps_are_spans_or_a_share_of_the_intervals() -> None:
    scenario = read(gaps=[{"at": "20m", "for": "5m"}], lost="20%")
    assert scenario.gaps == ((1200.0, 1500.0),)
    assert scenario.lost == 0.2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traffic": "much"}, "traffic: 'much' is not a number: write it like 50"),
        ({"traffic": -1}, "traffic: -1 is below zero"),
        ({"traffic": {"diurnal": {"amplitude": "5%"}}}, "traffic.rate: missing"),
        ({"traffic": [["2h", 1], ["1h", 2]]}, "traffic: the times of the points must rise"),
        ({"metrics": {"errors": "150%"}}, "metrics.errors: 150% is not a share"),
        ({"metrics": {"errors": "1 percent"}}, 'metrics.errors: "1 percent" cannot be read: write it like 5%'),
        ({"metrics": {"errors": {"share": "1%", "of": "errors"}}}, "errors cannot be a share of itself"),
        ({"candidate": {"faults": "5%"}}, "candidate.faults: no such metric: there are errors"),
        ({"candidate": {"errors": {"times": 2, "plus": "1pp"}}}, "give exactly one of value, times, plus"),
        ({"candidate": {"errors": {"times": 2, "form": "1h"}}}, "candidate.errors.form: no such field: there are at"),
        ({"noise": {"wander": {"rho": 1.0, "sigma": 1}}}, "noise.wander.rho: 1.0 is no correlation"),
        ({"noise": {"shared": {"rho": 0.5}}}, "noise.shared: give rho and sigma together"),
        ({"noise": {"busty": {"cv": 1}}}, "noise.busty: no such field: there are blips, bursty"),
        ({"gaps": [{"at": "5m"}]}, r"gaps\[0\].for: missing"),
        ({"histroy": "1h"}, "histroy: no such field"),
        ({"history": "a day"}, 'history: "a day" is not a duration'),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(**fields)


def test_a_time_can_only_be_multiplied() -> None:
    latencies = {"seconds": {"median": "60ms", "p95": "160ms", "buckets": ["100ms", "200ms"]}}
    assert read(latencies=latencies, candidate={"seconds": {"times": 1.5}}).has_effect
    with pytest.raises(ValueError, match=r"candidate\.seconds: times can only be multiplied"):
        read(latencies=latencies, candidate={"seconds": "5%"})


def test_a_file_without_a_scenario_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="0 scenarios: give one mapping with traffic and metrics"):
        find_scenario([{"steps": [], "gates": []}])


PAGE = (Path(__file__).resolve().parents[3] / "docs" / "scenarios.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
def test_every_scenario_of_the_documentation_is_one(block: str) -> None:
    assert find_scenario(list(yaml.safe_load_all(block))).metrics


def test_every_field_is_documented() -> None:
    with pytest.raises(ValueError, match=r"no such field: there are \w+") as told:
        read(nothing=1)
    fields = str(told.value).partition("there are ")[2].split(", ")
    assert not [field for field in fields if f"| `{field}` |" not in PAGE]
