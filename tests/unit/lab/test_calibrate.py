"""The noise floor of recorded metrics, and the limits that follow from it."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from modelrollout.gates import noise
from modelrollout.gates.eprocess import Array
from modelrollout.lab import calibrate
from modelrollout.lab.columns import Recording
from modelrollout.lab.policy import Policy, find_policy

_INTERVAL = 15.0


def _policy(*gates: dict[str, Any], hold: str = "2h", weight: int = 10) -> Policy:
    return find_policy([{"steps": [{"weight": weight, "hold": hold}], "gates": list(gates)}])


def _errors(limit: str = "baseline + 0.2pp", **more: str) -> dict[str, Any]:
    return {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": limit, **more}


def _clicks(limit: str = "99% of baseline") -> dict[str, Any]:
    ratio = {"good": "clicks", "total": "requests"}
    return {"name": "ctr", "ratio": ratio, "labelsWithin": "0s", "atLeast": limit}


def _history(*, share: float = 0.01, cv: float = 0.0, requests: float = 2000.0, hours: float = 24.0) -> Recording:
    """Two pods whose shares wander independently of each other, each with this coefficient of variation."""
    rng = np.random.default_rng(7)
    length = round(hours * 240)
    pods: dict[str, dict[str, Array]] = {}
    for pod in ("0", "1"):
        total = rng.poisson(requests / 2.0, length)
        wander = rng.gamma(1.0 / cv**2, cv**2, length) if cv else np.ones(length)
        bad = rng.binomial(total, np.minimum(share * wander, 1.0))
        clicks = rng.binomial(total, np.minimum(0.05 * wander, 1.0))
        pods[pod] = {
            name: values[np.newaxis].astype(np.float64)
            for name, values in (("requests", total), ("errors", bad), ("clicks", clicks))
        }
    return Recording(_INTERVAL * np.arange(length, dtype=np.float64), _INTERVAL, {"baseline": pods})


def test_independent_requests_have_no_noise_floor_and_burstiness_is_found() -> None:
    policy = _policy(_errors())
    (quiet,) = calibrate.measure(policy, _history())
    (bursty,) = calibrate.measure(policy, _history(cv=0.5))
    assert quiet.floor == 0.0 and quiet.wander == 0.0
    assert bursty.wander == pytest.approx(0.5, rel=0.35)
    assert quiet.rate == pytest.approx(2000 / 15, rel=0.01) and quiet.share == pytest.approx(0.01, rel=0.05)


def test_a_history_below_an_hour_teaches_nothing_and_the_careful_assumption_is_named() -> None:
    (found,) = calibrate.calibrate(_policy(_errors()), _history(hours=0.5))
    assert found.found.floor is None and found.found.believed == noise.UNKNOWN
    assert "assumed: under 1h of data" in calibrate.text([found])


def test_the_distance_that_is_not_noise_is_what_two_equal_models_stay_within() -> None:
    """By simulation of the pooled difference at the end of the step; burst by burst, both arms apart."""
    policy = _policy(_errors())
    (found,) = calibrate.calibrate(policy, _history(cv=0.4, hours=48))
    rng = np.random.default_rng(8)
    slots, runs = 480, 2000
    sums = []
    for requests in (200, 1800):
        cv = 0.4 / math.sqrt(2.0)  # an arm's pods wander independently of each other
        wander = rng.gamma(1.0 / cv**2, cv**2, (runs, slots))
        sums.append(rng.binomial(requests, np.minimum(0.01 * wander, 1.0)).sum(axis=1) / (requests * slots))
    beyond = np.mean(sums[0] - sums[1] > found.noise)
    assert beyond <= 0.01 + 3 * math.sqrt(0.01 / runs)
    assert np.mean(sums[0] - sums[1] > found.noise / 2) > 0.02, "a distance of nothing but caution would be useless"


def test_the_proposed_limit_is_noise_plus_the_accepted_regression() -> None:
    policy, history = _policy(_errors(), _clicks()), _history(cv=0.3)
    errors, ctr = calibrate.calibrate(policy, history, {"errors": 0.1, "ctr": 0.02})
    assert errors.accepted == pytest.approx(0.1 * errors.found.share)
    proposed = float(errors.limit.removeprefix("atMost: baseline + ").removesuffix("pp")) / 100
    assert errors.noise + errors.accepted <= proposed <= 1.1 * (errors.noise + errors.accepted)
    kept = float(ctr.limit.removeprefix("atLeast: ").removesuffix("% of baseline")) / 100
    assert 1 - kept == pytest.approx((ctr.noise + ctr.accepted) / ctr.found.events, rel=0.1)
    assert ctr.accepted == pytest.approx(0.02 * ctr.found.events)


@pytest.mark.parametrize(
    ("gate", "form"),
    [
        (_errors(), r"atMost: baseline \+ [\d.]+pp"),
        (_errors("120% of baseline"), r"atMost: 1[\d.]+% of baseline"),
        (_errors("2%"), r"atMost: [\d.]+%"),
        (_clicks(), r"atLeast: 9[\d.]+% of baseline"),
        (_clicks("4%"), r"atLeast: [34][\d.]*%"),
    ],
)
def test_a_limit_is_proposed_in_the_words_of_the_manifest_and_the_manifest_takes_it(
    gate: dict[str, Any], form: str
) -> None:
    (found,) = calibrate.calibrate(_policy(gate), _history())
    assert found.proposed and re.fullmatch(form, found.limit), found.limit
    field, _, limit = found.limit.partition(": ")
    again = {key: value for key, value in gate.items() if key not in ("atMost", "atLeast")} | {field: limit}
    assert _policy(again).gates[0].gate.limit.text == limit


def test_a_limit_within_the_noise_is_called_that() -> None:
    history = _history(requests=20.0)
    (narrow,) = calibrate.calibrate(_policy(_errors("baseline + 0.01pp"), hold="10m"), history)
    assert "within the noise" in calibrate.text([narrow])
    (absolute,) = calibrate.calibrate(_policy(_errors("0.5%")), history)
    assert "the baseline itself is beyond the limit" in calibrate.text([absolute])


def test_a_step_in_which_chance_takes_all_clicks_gets_no_limit_but_advice() -> None:
    (found,) = calibrate.calibrate(_policy(_clicks(), hold="1m", weight=1), _history(requests=20.0))
    assert not found.proposed and "hold longer" in found.limit and found.summary()["limit"] is None


def _histogram(*shares: float) -> Recording:
    """A day of a thousand requests an interval, with these shares within 100 ms, 200 ms, 400 ms."""
    length = 5760
    names = [f"seconds_bucket_le_{bound}" for bound in ("0.1", "0.2", "0.4", "+Inf")]
    rows = {name: np.full((1, length), 1000.0 * share) for name, share in zip(names, (*shares, 1.0), strict=True)}
    return Recording(_INTERVAL * np.arange(length, dtype=np.float64), _INTERVAL, {"baseline": {"": rows}})


def test_a_latency_gets_the_first_bound_that_leaves_room_for_the_noise() -> None:
    gate = {"name": "p95", "latency": {"histogram": "seconds", "quantile": "0.95"}, "atMost": "100ms"}
    tight, wide = (
        calibrate.calibrate(_policy(gate), _histogram(*shares))[0]
        for shares in ((0.949, 0.97, 0.99), (0.9, 0.949, 0.99))
    )
    assert tight.limit == "atMost: 200ms" and wide.limit == "atMost: 400ms"
    (none,) = calibrate.calibrate(_policy(gate), _histogram(0.5, 0.6, 0.7))
    assert not none.proposed and "add buckets" in none.limit
    (relative,) = calibrate.calibrate(_policy(gate | {"atMost": "110% of baseline"}), _histogram(0.9, 0.96, 0.99))
    assert not relative.proposed


def test_a_baseline_without_events_is_refused() -> None:
    history = _history(requests=0.0)
    with pytest.raises(ValueError, match="gate errors: the baseline has no requests"):
        calibrate.measure(_policy(_errors()), history)


def test_charts_show_each_gate() -> None:
    policy, history = _policy(_errors(), _clicks()), _history()
    charts = calibrate.chart(policy, history, calibrate.calibrate(policy, history))
    assert len(charts) == 2 and "not noise in a step" in charts[1]
