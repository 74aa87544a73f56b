"""The policy over recorded history: outcomes, what is said of them, and the baseline against itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelrollout.gates.eprocess import Array
from modelrollout.lab import backtest, runner
from modelrollout.lab.backtest import AgainstItself
from modelrollout.lab.columns import Recording
from modelrollout.lab.policy import Policy, find_policy

_INTERVAL = 15.0
_HOUR = 240


def _policy(*weights: int, hold: str = "30m") -> Policy:
    gate = {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "baseline + 0.2pp"}
    return find_policy([{"steps": [{"weight": weight, "hold": hold} for weight in weights], "gates": [gate]}])


def _replica(rng: np.random.Generator, present: slice, length: int, share: Array | float) -> dict[str, Array]:
    requests = rng.poisson(300, length).astype(np.float64)
    errors = rng.binomial(requests.astype(np.int64), share).astype(np.float64)
    absent = np.ones(length, dtype=np.bool_)
    absent[present] = False
    requests[absent] = errors[absent] = math.nan
    return {"requests": requests[np.newaxis], "errors": errors[np.newaxis]}


def _recording(share: float, *, hours: int = 6, pods: int = 4, noise: float = 0.0) -> Recording:
    """History of some hours, then two hours with a candidate of this error share."""
    rng = np.random.default_rng(4)
    before, length = hours * _HOUR, (hours + 2) * _HOUR
    arms: dict[str, dict[str, dict[str, Array]]] = {"baseline": {}, "candidate": {}}
    for pod in range(pods):
        wander = rng.gamma(1.0 / noise, noise, length) if noise else 1.0
        arms["baseline"][str(pod)] = _replica(rng, slice(0, length), length, np.minimum(0.01 * wander, 1.0))
    arms["candidate"]["0"] = _replica(rng, slice(before, length), length, share)
    return Recording(_INTERVAL * np.arange(length, dtype=np.float64), _INTERVAL, arms)


def test_a_bad_release_would_have_been_rolled_back_and_the_sentence_says_by_what() -> None:
    results = runner.run(_policy(10, 100), _recording(0.05))
    text = backtest.text(_policy(10, 100), results)
    assert results.summary()["outcome"] == "rolledBack"
    assert "rolled back (evidence): errors" in text and "TIMELINE" in text
    assert backtest.sentence(results).startswith("rolled back after 5m") and "errors: " in backtest.sentence(results)


def test_a_good_release_would_have_been_promoted_and_a_short_recording_leaves_it_undecided() -> None:
    good = runner.run(_policy(10, 100), _recording(0.01))
    assert backtest.sentence(good).startswith("promoted after 1h9m")
    short = runner.run(_policy(10, 100, hold="3h"), _recording(0.01))
    assert backtest.sentence(short).startswith("undecided: the recording ends in step 1")
    assert short.summary()["at"] is None and short.summary()["gate"] is None


@pytest.mark.parametrize(("share", "outcome"), [(0.05, "rolledBack"), (0.01, "promoted")])
def test_a_release_without_history_is_judged_after_its_warm_up_like_any_other(share: float, outcome: str) -> None:
    recording = _recording(share)
    policy = _policy(10, hold="1h")
    results = runner.run(policy, recording.between(6 * _HOUR - 100, 8 * _HOUR))
    assert results.outcome() == outcome
    assert all(math.isfinite(nats) for nats in results.trace.evidence["errors"])


def test_rare_events_without_history_leave_the_evidence_a_number() -> None:
    recording = _recording(0.0005)
    for replica in recording.arms["baseline"].values():
        replica["errors"][:] = np.where(np.arange(8 * _HOUR) % 37 == 0, 1.0, 0.0)
    results = runner.run(_policy(10, hold="1h"), recording.between(6 * _HOUR - 100, 8 * _HOUR))
    assert all(math.isfinite(nats) for nats in results.trace.evidence["errors"])


def test_what_needs_more_than_counts_is_said_to_be_left_out() -> None:
    gates = [
        {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "5%"},
        {"name": "auc", "report": {"configMap": "evaluation-{version}", "metric": "auc"}, "atLeast": "0.9"},
    ]
    policy = find_policy([{"steps": [{"weight": 10, "hold": "30m"}], "gates": gates}])
    assert "need more than counts: auc" in backtest.text(policy, runner.run(policy, _recording(0.01)))


def test_the_baseline_against_itself_is_never_rolled_back_by_its_own_noise() -> None:
    found = backtest.against_itself(_policy(10, 50), _recording(0.01, hours=12, noise=0.2))
    assert isinstance(found, AgainstItself)
    assert found.runs >= 40 and found.rolled_back == 0 and 0 < found.independent <= found.runs


def test_pods_that_differ_for_real_are_found_by_the_split() -> None:
    recording = _recording(0.01, hours=12)
    pod = recording.arms["baseline"]["3"]
    pod["errors"][:, 6 * _HOUR :] = np.minimum(pod["requests"], 30.0)[:, 6 * _HOUR :]
    found = backtest.against_itself(_policy(10, 50), recording)
    assert isinstance(found, AgainstItself)
    assert 0 < found.rolled_back < found.runs and set(found.gates) == {"errors"}
    assert "rolled back (errors" in found.text()


def test_what_was_not_recorded_cannot_be_wronged() -> None:
    recording = _recording(0.01, hours=12, pods=2)
    for values in recording.arms["baseline"]["1"].values():
        values[:, : 7 * _HOUR] = math.nan
    found = backtest.against_itself(_policy(10), recording)
    whole = backtest.against_itself(_policy(10), _recording(0.01, hours=12, pods=2))
    assert isinstance(found, AgainstItself) and isinstance(whole, AgainstItself)
    assert found.runs < 0.7 * whole.runs and found.independent < whole.independent
    for values in recording.arms["baseline"]["1"].values():
        values[:] = math.nan
    assert "never recorded side by side" in str(backtest.against_itself(_policy(10), recording))


def test_more_splits_of_two_pods_tell_nothing_new() -> None:
    found = backtest.against_itself(_policy(10), _recording(0.01, hours=8, pods=2))
    assert isinstance(found, AgainstItself)
    stretches_at_most = (10 - 1) * 3600 // (35 * 60)
    assert 8 <= found.independent <= stretches_at_most and found.runs == 48


def test_the_same_seed_splits_the_same_way() -> None:
    recording = _recording(0.01, pods=6)
    assert backtest.against_itself(_policy(20), recording, seed=3) == backtest.against_itself(
        _policy(20), recording, seed=3
    )


def test_too_little_history_and_pods_that_are_not_told_apart_are_said() -> None:
    short = backtest.against_itself(_policy(10, 50, hold="6h"), _recording(0.01))
    assert isinstance(short, str) and "it needs 13h10m of history and there is 8h" in short
    nothing = find_policy([{"steps": [{"weight": 10, "hold": "10m"}]}])
    assert "no gate counts events" in str(backtest.against_itself(nothing, _recording(0.01)))
    alone = backtest.against_itself(_policy(10), _recording(0.01, pods=1))
    assert isinstance(alone, str) and "baseline/0" in alone


@pytest.mark.parametrize(
    ("rolled", "runs", "independent", "interval"),
    [(0, 20, 20, (0.0, 0.1611)), (5, 50, 50, (0.0435, 0.2136)), (0, 100, 20, (0.0, 0.1611))],
)
def test_the_interval_counts_only_what_is_independent(
    rolled: int, runs: int, independent: int, interval: tuple[float, float]
) -> None:
    """Without an event Wilson's upper end is z²/(n + z²): 0.161 of 20."""
    assert AgainstItself(runs, rolled, independent, ()).interval == pytest.approx(interval, abs=5e-4)


def test_charts_show_the_evidence_and_each_gate() -> None:
    policy, recording = _policy(10, 100), _recording(0.05)
    charts = backtest.chart(policy, recording, runner.run(policy, recording))
    assert len(charts) == 2 and all(chart.startswith("<svg") for chart in charts)
    assert "enough to roll back" in charts[0] and "errors: errors per requests" in charts[1]
