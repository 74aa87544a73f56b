"""Policies are read from the manifests that the operator reads, and what is wrong is named."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from modelrollout.lab.policy import Buckets, Pair, find_policy, read_documents

ERRORS: dict[str, Any] = {
    "name": "errors",
    "ratio": {"bad": "errors", "total": "requests"},
    "atMost": "baseline + 0.2pp",
}
STEPS = [{"weight": 10, "hold": "2h"}, {"weight": 50, "hold": "1h"}]


def bare(*gates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"steps": STEPS, "gates": list(gates)} | more


def test_a_bare_mapping_has_the_defaults_of_the_manifest() -> None:
    policy = find_policy([bare(ERRORS)])
    assert policy.warmup == 300.0
    assert policy.interval == 15.0
    assert policy.false_rollback_rate == 0.01
    assert [(step.name, step.share, step.hold) for step in policy.steps] == [
        ("weight-10", 0.1, 7200.0),
        ("weight-50", 0.5, 3600.0),
    ]


def test_the_spec_of_a_modelrollout_is_the_same_policy() -> None:
    manifest = {"kind": "ModelRollout", "metadata": {"name": "ranker"}, "spec": bare(ERRORS)}
    assert find_policy([manifest]) == find_policy([bare(ERRORS)])


def test_the_horizon_counts_holds_by_their_weight() -> None:
    assert find_policy([bare(ERRORS)]).horizon(15.0) == 480.0 + 240.0 * 5.0


def test_a_holdback_leaves_a_baseline_at_the_last_step() -> None:
    policy = find_policy([bare(ERRORS, steps=[{"weight": 100, "hold": "1h"}], baselineHoldback=2)])
    assert policy.steps[0].share == 0.98


def test_a_selector_finds_its_column_by_its_text_and_else_by_its_name() -> None:
    gate = ERRORS | {"ratio": {"bad": 'requests{code="5xx"}', "total": "requests"}}
    by_text = find_policy([bare(gate)]).bind(['requests{code="5xx"}', "requests"], 15.0)
    assert by_text[0].source == Pair('requests{code="5xx"}', "requests")
    gate = ERRORS | {"ratio": {"bad": 'errors{code="5xx"}', "total": "requests"}}
    by_name = find_policy([bare(gate)]).bind(["errors", "requests"], 15.0)
    assert by_name[0].source == Pair("errors", "requests")


def test_events_and_total_are_never_the_same_column() -> None:
    gate = ERRORS | {"ratio": {"bad": 'requests{code="5xx"}', "total": "requests"}}
    with pytest.raises(ValueError, match='gate errors: events and total are both read from column "requests"'):
        find_policy([bare(gate)]).bind(["requests"], 15.0)


def test_a_column_that_is_missing_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match='gate errors: no column "errors": the columns are faults, requests'):
        find_policy([bare(ERRORS)]).bind(["requests", "faults"], 15.0)


def test_a_histogram_is_found_by_its_buckets() -> None:
    gate = {"name": "p95", "latency": {"histogram": "seconds"}, "atMost": "200ms"}
    columns = ["seconds_bucket_le_0.5", "seconds_bucket_le_0.1", "seconds_count", "requests"]
    bound = find_policy([bare(gate)]).bind(columns, 15.0)
    assert bound[0].source == Buckets((0.1, 0.5, inf), ("seconds_bucket_le_0.1", "seconds_bucket_le_0.5", columns[2]))


def test_a_latency_without_buckets_says_what_is_missing() -> None:
    gate = {"name": "p95", "latency": {"histogram": "seconds"}, "atMost": "200ms"}
    with pytest.raises(
        ValueError, match=r"gate p95: no columns seconds_bucket_le_<seconds> .* the columns are requests, slow"
    ):
        find_policy([bare(gate)]).bind(["slow", "requests"], 15.0)


def test_gates_share_what_may_go_wrong() -> None:
    other = ERRORS | {"name": "faults"}
    one = find_policy([bare(ERRORS)]).bind(["errors", "requests"], 15.0)[0].test
    two = find_policy([bare(ERRORS, other)]).bind(["errors", "requests"], 15.0)[0].test
    assert one.alpha == pytest.approx(2.0 * two.alpha)
    warning = find_policy([bare(ERRORS, other | {"onBreach": "warn"})]).bind(["errors", "requests"], 15.0)[0].test
    assert warning.alpha == pytest.approx(one.alpha)


def test_a_breach_takes_two_intervals_at_least() -> None:
    policy = find_policy([bare(ERRORS)])
    assert policy.bind(["errors", "requests"], 60.0)[0].test.intervals == 2
    assert policy.bind(["errors", "requests"], 10.0)[0].test.intervals == 3


def test_gates_that_need_more_than_counts_are_named() -> None:
    drift = {"name": "scores", "drift": {"histogram": "scores"}, "atMost": "0.2"}
    assert find_policy([bare(ERRORS, drift)]).skipped == ("scores",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (bare(ERRORS | {"atMost": "baseline + 0.2%"}), 'gate errors: atMost: "baseline \\+ 0.2%" has two readings'),
        (bare(ERRORS | {"atmost": "1%"}), r"gates\[0\].atmost: no such field: there are advanceOn"),
        (bare() | {"gates": 5}, "gates: 5 is not a list"),
        (bare() | {"gates": [5]}, r"gates.0: "),
        (bare(ERRORS, steps="ten"), "steps: Input should be a valid list"),
        (bare(ERRORS, warmUp="1m"), "warmUp: no such field"),
        (bare(ERRORS, warmup="1 minute"), 'warmup: "1 minute" is not a duration'),
        (bare(ERRORS, steps=[{"weight": 50, "hold": "1h"}, {"weight": 10, "hold": "1h"}]), "weight 10 follows 50"),
        (bare(ERRORS, steps=[{"weight": 500, "hold": "1h"}]), "steps.0.weight: Input should be less than"),
        (bare(ERRORS, evaluation={"falseRollbackRate": "90%"}), "evaluation.falseRollbackRate: "),
        (bare(ERRORS | {"ratio": {"good": "ok", "total": "requests"}}), "the limit points the wrong way"),
        (bare(ERRORS, ERRORS), "errors is there twice"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_policy([document])


def test_a_file_without_a_policy_says_what_to_give() -> None:
    with pytest.raises(ValueError, match="0 policies: give one ModelRollout"):
        find_policy([{"traffic": 50, "metrics": {}}])


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.yaml: No such file"):
        read_documents(tmp_path / "nowhere.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.yaml: not YAML"):
        read_documents(bad)
    bad.write_text("- a list", encoding="utf-8")
    with pytest.raises(ValueError, match="every document has to be a mapping"):
        read_documents(bad)
