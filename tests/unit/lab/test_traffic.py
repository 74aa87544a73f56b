"""Simulated counts are what the scenario says: in the mean, in their spread, and over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelrollout.gates.eprocess import Array
from modelrollout.lab.columns import BASELINE, CANDIDATE
from modelrollout.lab.scenario import find_scenario
from modelrollout.lab.traffic import Traffic


def traffic(runs: int = 400, seed: int = 1, **fields: Any) -> Traffic:
    document = {"traffic": 50, "metrics": {"errors": "1%"}, "history": "0s", "length": "1h"} | fields
    return Traffic(find_scenario([document]), interval=15.0, runs=runs, seed=seed)


def drawn(source: Traffic, slots: int, share: float, *columns: str) -> dict[str, list[Array]]:
    """For each arm the columns, of shape (runs, slots)."""
    found: dict[str, list[list[Array]]] = {CANDIDATE: [], BASELINE: []}
    for _ in range(slots):
        source.advance(np.full(source.runs, share))
        for arm, rows in found.items():
            rows.append(source.counts(arm, columns))
    return {arm: [np.stack(values, axis=1) for values in zip(*rows, strict=True)] for arm, rows in found.items()}


def test_the_traffic_is_split_by_weight() -> None:
    seen = drawn(traffic(), 20, 0.1, "requests", "errors")
    assert seen[CANDIDATE][0].mean() == pytest.approx(75.0, rel=0.01)
    assert seen[BASELINE][0].mean() == pytest.approx(675.0, rel=0.01)
    assert seen[BASELINE][1].sum() / seen[BASELINE][0].sum() == pytest.approx(0.01, rel=0.02)


def test_the_same_seed_gives_the_same_counts_and_another_one_others() -> None:
    one, same, other = (drawn(traffic(20, seed), 5, 0.5, "errors")[CANDIDATE][0] for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_an_effect_begins_grows_and_ends_when_it_says() -> None:
    effect = {"errors": {"value": "50%", "at": "2m", "ramp": "2m", "until": "5m"}}
    seen = drawn(traffic(candidate=effect), 24, 0.5, "requests", "errors")
    share = seen[CANDIDATE][1].sum(axis=0) / seen[CANDIDATE][0].sum(axis=0)
    assert share[:8] == pytest.approx(0.01, abs=0.002)
    assert share[12] == pytest.approx(0.255, abs=0.01)
    assert share[16:20] == pytest.approx(0.5, abs=0.01)
    assert share[20:] == pytest.approx(0.01, abs=0.002)
    base = seen[BASELINE][1].sum(axis=0) / seen[BASELINE][0].sum(axis=0)
    assert base == pytest.approx(0.01, abs=0.002)


def test_traffic_follows_the_time_of_day() -> None:
    day = {"rate": 100, "diurnal": {"amplitude": "50%", "period": "1h"}}
    seen = drawn(traffic(traffic=day), 240, 0.5, "requests")[CANDIDATE][0].mean(axis=0)
    assert seen[60] == pytest.approx(1.5 * 750, rel=0.02)
    assert seen[180] == pytest.approx(0.5 * 750, rel=0.02)


def _spread(seen: list[Array]) -> float:
    """Relative variance of shares beyond the binomial's."""
    share = seen[1] / seen[0]
    mean = share.mean()
    return float((share.var() - mean * (1 - mean) / seen[0].mean()) / mean**2)


def test_bursts_have_the_coefficient_of_variation_that_is_asked_for() -> None:
    seen = drawn(traffic(traffic=1000, noise={"bursty": {"cv": 0.5}}), 20, 0.5, "requests", "errors")
    assert _spread(seen[CANDIDATE]) == pytest.approx(0.25, rel=0.1)
    assert seen[CANDIDATE][1].sum() / seen[CANDIDATE][0].sum() == pytest.approx(0.01, rel=0.03)


def test_a_wander_is_remembered_from_interval_to_interval() -> None:
    seen = drawn(traffic(traffic=4000, noise={"wander": {"rho": 0.9, "sigma": 0.3}}), 20, 0.5, "requests", "errors")
    rate = np.log(seen[CANDIDATE][1] / seen[CANDIDATE][0])
    assert np.corrcoef(rate[:, 5], rate[:, 6])[0, 1] == pytest.approx(0.88, abs=0.05)
    assert abs(np.corrcoef(rate[:, 5], np.log(seen[BASELINE][1] / seen[BASELINE][0])[:, 5])[0, 1]) < 0.2


def test_shared_shocks_hit_both_arms() -> None:
    noise = {"shared": {"rho": 0.9, "sigma": 0.5, "failures": {"every": "10m", "for": "1m", "times": 20}}}
    seen = drawn(traffic(traffic=4000, noise=noise), 40, 0.5, "requests", "errors")
    one, other = (np.log(seen[arm][1] / seen[arm][0]).ravel() for arm in (CANDIDATE, BASELINE))
    assert np.corrcoef(one, other)[0, 1] > 0.95
    failing = (seen[BASELINE][1] / seen[BASELINE][0] > 0.06).mean()
    assert 0.04 < failing < 0.16


def test_blips_are_single_intervals_of_one_arm() -> None:
    seen = drawn(traffic(noise={"blips": {"every": "5m", "share": "50%"}}), 60, 0.5, "requests", "errors")
    one, other = (seen[arm][1] / seen[arm][0] > 0.3 for arm in (CANDIDATE, BASELINE))
    assert one.mean() == pytest.approx(0.05, abs=0.01)
    assert (one & other).mean() < 0.01


def test_late_events_are_counted_later_and_none_is_lost() -> None:
    metrics = {"clicks": {"share": "50%", "lag": "30s"}}
    source = traffic(metrics=metrics, traffic=1000)
    first = drawn(source, 1, 0.5, "requests", "clicks")[CANDIDATE]
    # Of clicks that are due 30 s later on average, (1 - 2(1 - e^-0.5)) come within an interval of 15 s.
    assert first[1].sum() / first[0].sum() == pytest.approx(0.5 * (1 - 2 * (1 - np.exp(-0.5))), rel=0.03)
    asked = first[0].sum() + drawn(source, 40, 0.5, "requests")[CANDIDATE][0].sum()
    source = traffic(metrics=metrics, traffic=1000)
    counted = drawn(source, 41, 0.5, "clicks")[CANDIDATE][0].sum()
    counted += drawn(source, 60, 0.0, "clicks")[CANDIDATE][0].sum()
    assert counted / asked == pytest.approx(0.5, rel=0.01)


def test_lost_intervals_and_gaps_are_not_numbers_in_both_arms() -> None:
    seen = drawn(traffic(lost="20%", gaps=[{"at": "1m", "for": "30s"}]), 40, 0.5, "requests", "errors")
    gone = np.isnan(seen[CANDIDATE][0])
    assert gone[:, 4:6].all()
    assert gone[:, 8:].mean() == pytest.approx(0.2, abs=0.02)
    assert (gone == np.isnan(seen[BASELINE][1])).all()


def test_durations_are_log_normal_and_an_effect_multiplies_them() -> None:
    latencies = {"seconds": {"median": "60ms", "p95": "160ms", "buckets": ["60ms", "160ms", "300ms"]}}
    source = traffic(metrics={}, latencies=latencies, candidate={"seconds": {"times": 2}})
    columns = [f"seconds_bucket_le_{bound}" for bound in ("0.06", "0.16", "0.3", "+Inf")]
    assert set(columns) <= set(source.columns)
    seen = drawn(source, 20, 0.5, *columns)
    share = [values.sum() / seen[BASELINE][3].sum() for values in seen[BASELINE]]
    assert share[:2] == pytest.approx([0.5, 0.95], abs=0.01)
    slower = [values.sum() / seen[CANDIDATE][3].sum() for values in seen[CANDIDATE]]
    assert slower[0] == pytest.approx(0.123, abs=0.01)
    assert all((low <= high).all() for low, high in zip(seen[CANDIDATE], seen[CANDIDATE][1:], strict=False))


def test_the_history_is_two_pods_with_noise_of_their_own() -> None:
    source = traffic(200, history="10m", noise={"bursty": {"cv": 1.0}, "shared": {"rho": 0.9, "sigma": 0.2}})
    assert source.history is not None
    assert source.history.times[-1] == -15.0
    assert source.history.begins is None
    halves = source.history.halves(["requests", "errors"])
    assert halves is not None
    (n1, x1), (n2, x2) = halves
    assert (n1 + n2).mean() == pytest.approx(750.0, rel=0.01)
    assert abs(np.corrcoef((x1 / n1).ravel(), (x2 / n2).ravel())[0, 1]) < 0.2
