"""History from range queries: increments, revisions, releases; the answers are made here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from modelrollout.lab import history
from modelrollout.lab.calibrate import measure
from modelrollout.lab.history import Found
from modelrollout.lab.policy import Policy, find_policy

_STEP = 15.0
_OLD, _NEW = "aaaaaaaa", "bbbbbbbb"
_RATIO = {"bad": 'requests_total{code="500"}', "total": "requests_total"}


def _policy(**gate: Any) -> Policy:
    made = {"name": "errors", "ratio": _RATIO, "atMost": "baseline + 1pp"} | gate
    return find_policy([{"steps": [{"weight": 10, "hold": "10m"}], "gates": [made]}])


class _Source:
    """Answers with the series whose selector begins with the name that is asked for."""

    def __init__(self, *series: tuple[str, dict[str, str], Sequence[float]]) -> None:
        self.series = series
        self.asked: list[tuple[str, float, float]] = []

    def range(self, query: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        self.asked.append((query, start, end))
        name = query.partition("{")[0]
        found = []
        for metric, labels, values in self.series:
            failing = 'code="500"' in query
            if metric != name or (failing and labels.get("code") != "500"):
                continue
            pairs = [
                [_STEP * i, f"{value:g}"]
                for i, value in enumerate(values)
                if start <= _STEP * i <= end and not math.isnan(value)
            ]
            if pairs:
                found.append({"metric": labels | {"__name__": metric}, "values": pairs})
        return found


def _labels(revision: str, pod: int = 0, code: str = "200", **more: str) -> dict[str, str]:
    return {"namespace": "recs", "pod": f"ranker-{revision}-6f7c9d-abcd{pod}", "code": code, **more}


def _read(source: _Source, policy: Policy | None = None, intervals: int = 5) -> Found:
    return history.read(source, policy or _policy(), namespace="recs", name="ranker", start=0.0, end=_STEP * intervals)


def _gained(found: Found, column: str = "requests_total", revision: str = _OLD, pod: int = 0) -> list[float]:
    return list(found.revisions[revision][f"ranker-{revision}-6f7c9d-abcd{pod}"][column])


def test_increments_are_exact_and_survive_a_reset() -> None:
    found = _read(_Source(("requests_total", _labels(_OLD), [100, 110, 125, 5, 9, 20])))
    assert _gained(found) == [10, 15, 5, 4, 11]
    assert found.times.tolist() == [15, 30, 45, 60, 75]


def test_a_series_that_appears_on_a_pod_that_was_there_began_at_zero() -> None:
    nan = math.nan
    source = _Source(
        ("requests_total", _labels(_OLD), [100, 110, 120, 130, 140, 150]),
        ("requests_total", _labels(_OLD, code="500"), [nan, nan, nan, 4, 6, 6]),
    )
    found = _read(source)
    assert _gained(found, _RATIO["bad"]) == [0, 0, 4, 2, 0]
    assert _gained(found) == [10, 10, 14, 12, 10]


def test_a_new_pod_counts_from_zero_only_when_others_were_seen_before_it() -> None:
    nan = math.nan
    both = _Source(
        ("requests_total", _labels(_OLD), [100, 110, 120, 130, 140, 150]),
        ("requests_total", _labels(_OLD, 1), [nan, nan, 7, 9, 9, 9]),
    )
    np.testing.assert_array_equal(_gained(_read(both), pod=1), [nan, 7, 2, 0, 0])
    alone = _Source(("requests_total", _labels(_OLD), [nan, nan, 700, 709, 710, 711]))
    np.testing.assert_array_equal(_gained(_read(alone)), [nan, nan, 9, 1, 1])


def test_after_a_gap_the_increment_comes_late_and_nothing_is_lost() -> None:
    nan = math.nan
    found = _read(_Source(("requests_total", _labels(_OLD), [100, 110, nan, nan, 140, 150])))
    np.testing.assert_array_equal(_gained(found), [10, nan, nan, 30, 10])


def test_the_same_series_seen_by_two_scrapers_counts_once() -> None:
    values = [100, 110, 120, 130, 140, 150]
    source = _Source(
        ("requests_total", _labels(_OLD, replica="a"), values),
        ("requests_total", _labels(_OLD, replica="b"), values),
    )
    assert _gained(_read(source)) == [10] * 5


def test_a_long_time_is_asked_for_in_parts_that_prometheus_answers() -> None:
    source = _Source(("requests_total", _labels(_OLD), list(range(0, 250_010, 10))))
    found = _read(source, intervals=25_000)
    assert _gained(found) == [10.0] * 25_000
    asked = [(end - start) / _STEP + 1 for query, start, end in source.asked if "code" not in query]
    assert len(asked) == 3 and max(asked) <= 11_000


def test_only_the_rollout_s_own_pods_are_asked_for_and_taken() -> None:
    other = {"namespace": "recs", "pod": "ranker-shadow-aaaaaaaa-6f7c9d-abcd0", "code": "200"}
    source = _Source(
        ("requests_total", _labels(_OLD), [1, 2, 3, 4, 5, 6]), ("requests_total", other, [1, 2, 3, 4, 5, 6])
    )
    assert list(_read(source).revisions) == [_OLD]
    assert all('namespace="recs",pod=~"ranker-[0-9a-f]{8,10}-.+"' in query for query, *_ in source.asked)


@pytest.mark.parametrize(
    ("identity", "labels"),
    [
        ({"by": "podLabel"}, {"pod": "ranker-aaaaaaaa-6f-abcd0", "modelrollout_io_revision": f"{_OLD}11223344"}),
        ({"by": "label", "label": "rev"}, {"rev": f"{_OLD}11223344"}),
        ({"by": "service"}, {"envoy_cluster_name": f"recs_ranker-{_OLD}_8080"}),
        (
            {"by": "service", "label": "service", "value": "*-svc-{namespace}-{service}-{number}@kubernetesgateway"},
            {"service": f"httproute-recs-ranker-gw-a-b-ep-web-0-1c0c-svc-recs-ranker-{_OLD}ff-3@kubernetesgateway"},
        ),
        (
            {"by": "service", "label": "destination_service", "value": "{service}.{namespace}.svc.cluster.local"},
            {"destination_service": f"ranker-{_OLD}ff.recs.svc.cluster.local"},
        ),
    ],
)
def test_revisions_are_told_apart_by_the_gate_s_identity(identity: dict[str, str], labels: dict[str, str]) -> None:
    found = _read(_Source(("requests_total", labels, [1, 2, 3, 4, 5, 6])), _policy(identity=identity))
    assert list(found.revisions) == [_OLD]


def test_histograms_become_columns_by_bound_in_seconds() -> None:
    gate = {"name": "p95", "ratio": None, "latency": {"histogram": "took_milliseconds"}, "atMost": "200ms"}
    source = _Source(
        ("took_milliseconds_bucket", _labels(_OLD, le="200"), [0, 8, 16, 24, 32, 40]),
        ("took_milliseconds_bucket", _labels(_OLD, le="+Inf"), [0, 10, 20, 30, 40, 50]),
    )
    found = _read(source, _policy(**gate))
    assert found.columns == ("took_milliseconds_bucket_le_+Inf", "took_milliseconds_bucket_le_0.2")
    (bound,) = _policy(**gate).bind(found.columns, _STEP)
    assert bound.source.columns == ("took_milliseconds_bucket_le_0.2", "took_milliseconds_bucket_le_+Inf")


def test_presets_are_read_as_what_they_stand_for() -> None:
    """Failures beside successes are added up, and a histogram's unit is the preset's."""
    names = (
        ":tensorflow:serving:request_latency_bucket",
        "nv_inference_request_failure",
        "nv_inference_request_success",
    )
    source = _Source(
        (names[0], _labels(_OLD, le="67465.6"), [0, 8, 16, 24, 32, 40]),
        (names[0], _labels(_OLD, le="+Inf"), [0, 10, 20, 30, 40, 50]),
        (names[1], _labels(_OLD, reason="BACKEND"), [0, 1, 2, 3, 4, 5]),
        (names[2], _labels(_OLD), [0, 9, 18, 27, 36, 45]),
    )
    slow_gate = {"name": "slow", "preset": "tfserving/latency", "atMost": "67.4656ms"}
    gates = [slow_gate, {"name": "errors", "preset": "triton/errors"}]
    policy = find_policy([{"steps": [{"weight": 10, "hold": "1m"}], "gates": gates}])
    found = _read(source, policy)
    assert ":tensorflow:serving:request_latency_bucket_le_0.0674656" in found.columns
    slow, errors = measure(policy, history.baseline(found))
    assert slow.share == pytest.approx(0.2)
    assert errors.share == pytest.approx(0.1)


def test_a_metric_that_nobody_has_is_refused_and_one_of_bad_events_is_only_noted() -> None:
    with pytest.raises(ValueError, match=r"no series of requests_total.* of the pods of ranker in namespace recs"):
        _read(_Source())
    found = _read(_Source(("requests_total", _labels(_OLD), [1, 2, 3, 4, 5, 6])))
    assert "never seen and counts as none" in found.notes[0]
    assert _gained(found, _RATIO["bad"]) == [0] * 5


def _served(rate: float, begin: int, last: int, length: int) -> list[float]:
    """A counter that grows from one interval to another, and is gone before and afterwards."""
    return [rate * (i - begin) if begin <= i <= last else math.nan for i in range(length)]


def test_a_release_is_a_revision_that_got_requests_while_another_one_served() -> None:
    length = 401
    source = _Source(
        ("requests_total", _labels(_OLD), _served(90, 0, 400, length)),
        ("requests_total", _labels(_OLD, 1), _served(90, 0, 400, length)),
        ("requests_total", _labels(_NEW), _served(20, 300, 340, length)),
    )
    found = _read(source, intervals=400)
    (release,) = history.releases(found, _policy())
    assert (release.revision, release.baseline) == (_NEW, _OLD)
    assert release.at == found.times[300]
    assert release.recording.begins == 300 and len(release.recording.times) == 340
    (ours,) = release.recording.counts("candidate", ["requests_total"])
    assert np.nansum(ours) == 40 * 20
    assert sorted(release.recording.arms["baseline"]) == ["0", "1"]


def test_what_served_from_the_beginning_is_no_release() -> None:
    found = _read(_Source(("requests_total", _labels(_OLD), _served(90, 0, 400, 401))), intervals=400)
    assert history.releases(found, _policy()) == ()


def test_pods_that_follow_each_other_take_each_other_s_place() -> None:
    length = 41
    source = _Source(
        ("requests_total", _labels(_OLD, 0), _served(10, 0, 20, length)),
        ("requests_total", _labels(_OLD, 1), _served(10, 0, 40, length)),
        ("requests_total", _labels(_OLD, 2), _served(10, 21, 40, length)),
    )
    past = history.baseline(_read(source, intervals=40))
    assert sorted(past.arms["baseline"]) == ["0", "1"]
    for place in ("0", "1"):
        (counts,) = past.counts("baseline", ["requests_total"], replicas=[place])
        assert np.isfinite(counts).all()
    (whole,) = past.counts("baseline", ["requests_total"])
    assert whole.sum() == 20 * 10 + 40 * 10 + 19 * 10
