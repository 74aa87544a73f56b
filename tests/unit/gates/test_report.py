"""Reports: their form, exact numbers, estimates, latencies per batch size, Student's t."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit, parse_limit
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.estimate import auc_error, share_error
from modelrollout.gates.evidence import Interval
from modelrollout.gates.report import ReportTest
from modelrollout.gates.student import t_quantile
from tests.bench.reports import auc_report, latency_report, verdicts

_NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_RELATIVE = Limit("98% of baseline", 0.98, 0.0)


def _text(**metrics: Any) -> str:
    return json.dumps({"metrics": metrics})


def _test(limit: str | Limit, *, metric: str = "auc", at_least: bool = True, alpha: float = 0.01) -> ReportTest:
    return ReportTest(metric, parse_limit(limit) if isinstance(limit, str) else limit, alpha, at_least)


def _judged(test: ReportTest, **metrics: Any) -> Assessment:
    return test.assess(test.read(test.start(), _text(**metrics)))


# Student's t


@pytest.mark.parametrize(
    ("probability", "freedom", "published"),
    [
        (0.95, 1, 6.314),
        (0.99, 2, 6.965),
        (0.975, 3, 3.182),
        (0.95, 5, 2.015),
        (0.99, 8, 2.896),
        (0.975, 10, 2.228),
        (0.995, 15, 2.947),
        (0.9995, 20, 3.850),
        (0.99, 30, 2.457),
        (0.95, 120, 1.658),
        (0.975, 1000, 1.962),
        (0.5, 7, 0.0),
    ],
)
def test_quantiles_of_students_t_are_those_of_the_printed_tables(
    probability: float, freedom: int, published: float
) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(published, abs=6e-4)


def test_a_t_quantile_outside_its_range_is_refused() -> None:
    for probability, freedom in ((0.4, 5), (1.0, 5), (0.9, 0)):
        with pytest.raises(ValueError, match="t quantile"):
            t_quantile(probability, freedom)


# Estimates


def test_the_error_of_an_auc_is_exact_for_exponential_scores() -> None:
    """As its authors derived it: positives with mean 9, negatives with mean 1, so an area of 9/10."""
    random = np.random.default_rng(4)
    found = []
    for _ in range(3000):
        ours, theirs = random.exponential(9.0, 40), np.sort(random.exponential(1.0, 60))
        found.append(np.searchsorted(theirs, ours).sum() / (40 * 60))
    assert np.mean(found) == pytest.approx(0.9, abs=3e-3)
    assert auc_error(0.9, 40, 60) == pytest.approx(np.std(found), rel=0.05)


def test_an_exact_number_is_compared_as_it_is() -> None:
    size = _test("500", metric="size", at_least=False)
    assert _judged(size, size={"candidate": 501}).verdict is Verdict.BREACHED
    assert _judged(size, size={"candidate": 500}).verdict is Verdict.PROVEN
    grown = _test(Limit("110% of baseline", 1.1, 0.0), metric="size", at_least=False)
    assert _judged(grown, size={"candidate": 111, "baseline": 100}).verdict is Verdict.BREACHED
    found = _judged(grown, size={"candidate": 109, "baseline": 100})
    assert found.verdict is Verdict.PROVEN and found.message.endswith("exact") and found.difference == pytest.approx(-1)


def test_an_estimate_is_judged_by_its_standard_error() -> None:
    test = _test("0.9")
    assert _judged(test, auc={"candidate": 0.85, "stderr": 0.01}).verdict is Verdict.BREACHED
    assert _judged(test, auc={"candidate": 0.95, "stderr": 0.01}).verdict is Verdict.PROVEN
    between = _judged(test, auc={"candidate": 0.89, "stderr": 0.01})
    assert between.verdict is Verdict.NO_HARM_SEEN and between.would_have_seen == pytest.approx(
        0.01 * (2.576 + 0.842), rel=1e-3
    )
    assert "would have seen 0.034 beyond the limit" in between.message


def test_the_edge_of_the_first_look_is_half_of_alpha_and_beta() -> None:
    test = _test("0.9")
    assert _judged(test, auc={"candidate": 0.9 - 0.02577, "stderr": 0.01}).verdict is Verdict.BREACHED
    assert _judged(test, auc={"candidate": 0.9 - 0.02574, "stderr": 0.01}).verdict is Verdict.NO_HARM_SEEN
    assert _judged(test, auc={"candidate": 0.9 + 0.0197, "stderr": 0.01}).verdict is Verdict.PROVEN
    assert _judged(test, auc={"candidate": 0.9 + 0.0195, "stderr": 0.01}).verdict is Verdict.NO_HARM_SEEN


def test_a_paired_difference_is_judged_by_its_own_error() -> None:
    """Two models on the same examples: the shared part of their errors cancels."""
    apart = {"candidate": 0.900, "baseline": 0.915, "stderr": {"candidate": 0.01, "baseline": 0.01}}
    paired = {**apart, "stderr": {"candidate": 0.01, "baseline": 0.01, "difference": 0.003}}
    test = _test(Limit("baseline", 1.0, 0.0))
    assert _judged(test, auc=apart).verdict is Verdict.NO_HARM_SEEN
    assert _judged(test, auc=paired).verdict is Verdict.BREACHED
    alone = {"candidate": 0.900, "baseline": 0.915, "stderr": {"difference": 0.003}}
    assert _judged(test, auc=alone).verdict is Verdict.BREACHED


def test_a_limit_relative_to_the_baseline_weighs_its_error() -> None:
    """c - 0.98 b: 0.01² + 0.98² 0.01² without pairing, and less twice 0.98 times the covariance with it."""
    found = _judged(_test(_RELATIVE), auc={"candidate": 0.9, "baseline": 0.9, "stderr": 0.01})
    assert found.would_have_seen == pytest.approx((2.576 + 0.842) * 0.01 * math.hypot(1, 0.98), rel=1e-3)
    paired = {"candidate": 0.01, "baseline": 0.01, "difference": 0.01}
    found = _judged(_test(_RELATIVE), auc={"candidate": 0.9, "baseline": 0.9, "stderr": paired})
    assert found.would_have_seen == pytest.approx((2.576 + 0.842) * 0.01 * math.sqrt(1 + 0.98**2 - 0.98), rel=1e-3)


def test_the_error_of_a_share_follows_from_its_samples_at_the_limit() -> None:
    found = _judged(_test("0.9"), auc={"candidate": 0.89, "samples": 1000})
    assert found.would_have_seen == pytest.approx((2.576 + 0.842) * share_error(0.9, 1000), rel=1e-3)
    assert found.samples == 1000


def test_a_perfect_score_on_few_examples_proves_nothing() -> None:
    found = _judged(_test("0.9"), auc={"candidate": 1.0, "samples": {"positives": 50, "negatives": 50}})
    assert found.verdict is not Verdict.BREACHED and found.high is not None and found.high > -0.1


def test_too_few_samples_are_too_early() -> None:
    test = _test("0.9")
    assert _judged(test, auc={"candidate": 0.1, "samples": 99}).message == "99 of 100 samples"
    found = _judged(test, auc={"candidate": 0.1, "samples": {"positives": 49, "negatives": 4000}})
    assert (found.verdict, found.message) == (Verdict.TOO_EARLY, "49 of 50 positives")


# Batch sizes


def _runs(*, ratio: float, seed: int = 1, runs: int = 5, scatter: float = 0.02) -> dict[str, Any]:
    report = latency_report(np.random.default_rng(seed), ratio=ratio, runs=runs, scatter=scatter)
    metrics: dict[str, Any] = json.loads(report)["metrics"]
    return metrics


_TENTH = Limit("110% of baseline", 1.1, 0.0)


def test_batch_sizes_get_three_verdicts() -> None:
    test = _test(_TENTH, metric="latency", at_least=False)
    assert _judged(test, **_runs(ratio=1.3)).verdict is Verdict.BREACHED
    assert _judged(test, **_runs(ratio=1.0)).verdict is Verdict.PROVEN
    between = _judged(test, **_runs(ratio=1.1))
    assert between.verdict is Verdict.NO_HARM_SEEN and "runs scatter by" in between.message


def test_the_distance_is_that_of_a_pooled_t_test() -> None:
    """One batch size: equals the textbook's two-sample test on logarithms, computed apart."""
    ours, theirs = [10.2, 10.9, 10.4, 11.0], [9.9, 10.1, 10.3, 9.8]
    found = _judged(
        _test(_TENTH, metric="latency", at_least=False),
        latency={"batch": {"8": {"candidate": ours, "baseline": theirs}}},
    )
    a, b = np.log(ours), np.log(theirs)
    error = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2 * 2 / 4)
    beyond = a.mean() - b.mean() - math.log(1.1)
    assert found.difference == pytest.approx(math.expm1(beyond), rel=1e-5)
    assert found.low == pytest.approx(math.expm1(beyond - t_quantile(0.995, 6) * error), rel=1e-4)
    assert found.high == pytest.approx(math.expm1(beyond + t_quantile(0.975, 6) * error), rel=1e-4)
    assert found.value == pytest.approx(math.exp(a.mean())) and found.baseline == pytest.approx(math.exp(b.mean()))


def test_one_slow_batch_size_breaches_and_is_named() -> None:
    metrics = _runs(ratio=1.0)
    slow = metrics["latency"]["batch"]["32"]
    slow["candidate"] = [1.4 * p95 for p95 in slow["candidate"]]
    found = _judged(_test(_TENTH, metric="latency", at_least=False), **metrics)
    assert found.verdict is Verdict.BREACHED and found.message.startswith("batch 32: p95")


def test_an_undecided_table_says_how_many_more_runs() -> None:
    found = _judged(_test(_TENTH, metric="latency", at_least=False), **_runs(ratio=1.04, scatter=0.05, runs=4))
    assert found.verdict is Verdict.NO_HARM_SEEN and "more runs of each should decide it" in found.message


def test_of_ten_runs_the_slowest_two_do_not_count() -> None:
    metrics = _runs(ratio=1.0, runs=10)
    for row in metrics["latency"]["batch"].values():
        row["candidate"][3] *= 3.0
        row["candidate"][7] *= 3.0
    assert _judged(_test(_TENTH, metric="latency", at_least=False), **metrics).verdict is Verdict.PROVEN


def test_an_absolute_limit_needs_no_baseline() -> None:
    batch = {"1": {"candidate": [101.0, 99.0, 100.0]}}
    assert _judged(_test("120", metric="latency", at_least=False), latency={"batch": batch}).verdict is Verdict.PROVEN
    assert _judged(_test("80", metric="latency", at_least=False), latency={"batch": batch}).verdict is Verdict.BREACHED


def test_two_runs_are_too_early() -> None:
    batch = {"1": {"candidate": [1.0, 2.0], "baseline": [1.0, 2.0]}}
    found = _judged(_test(_TENTH, metric="latency", at_least=False), latency={"batch": batch})
    assert (found.verdict, found.message) == (Verdict.TOO_EARLY, "2 of 3 runs of a batch size, better 5")


# More reports, and the state


def test_each_further_report_is_judged_more_strictly_and_the_same_one_is_not_counted_again() -> None:
    test = _test("0.9")
    near = _text(auc={"candidate": 0.9 - 0.026, "stderr": 0.01})
    state = test.read(test.start(), near)
    assert test.assess(state).verdict is Verdict.BREACHED
    assert test.read(state, near) == state
    second = test.read(test.read(test.start(), _text(auc={"candidate": 0.9, "stderr": 0.01})), near)
    assert second.reports == 2 and test.assess(second).verdict is Verdict.NO_HARM_SEEN


def test_intervals_and_steps_say_nothing_of_a_report() -> None:
    test = _test("0.9")
    state = test.read(test.start(), _text(auc={"candidate": 0.9}))
    assert test.fold(state, Interval(_NOW, _NOW, None, None)) == test.begin_step(state) == test.end_hold(state) == state
    assert test.assess(test.start()).message == 'no report with "auc" yet'


@pytest.mark.parametrize(
    "result",
    [
        {"candidate": 0.91, "baseline": 0.92},
        {"candidate": 0.91, "baseline": 0.92, "stderr": {"candidate": 0.1 + 0.2, "baseline": 1e-3, "difference": 1e-4}},
        {"candidate": 0.91, "baseline": 0.92, "samples": {"positives": 500, "negatives": 9500}},
        {"candidate": 0.91, "baseline": 0.92, "samples": 777},
    ],
)
def test_a_state_that_was_written_and_read_is_the_same(result: dict[str, Any]) -> None:
    test = _test(_RELATIVE)
    state = test.read(test.start(), _text(auc=result))
    assert test.load(test.dump(state)) == state
    assert test.load(test.dump(test.start())) == test.start()


def test_the_state_of_twelve_batch_sizes_with_a_hundred_runs_stays_small() -> None:
    test = _test(_TENTH, metric="latency", at_least=False)
    arm = np.random.default_rng(1).normal(100.0, 3.0, 100).tolist()
    batch = {str(2**i): {"candidate": arm, "baseline": arm} for i in range(12)}
    state = test.read(test.start(), _text(latency={"batch": batch}))
    assert len(test.dump(state)) < 1024 and test.load(test.dump(state)) == state


@pytest.mark.parametrize(
    "text", ["", "e1", "e1;1", "e1;1;[1]", 'e1;1;{"1":[1]}', 'e1;1;["a",1,1,1,1,null]', "e1;x;null"]
)
def test_rubbish_is_no_state(text: str) -> None:
    with pytest.raises(ValueError, match="not one of a report gate"):
        _test("0.9").load(text)


# The form


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the report is not JSON: .* in line 1"),
        ("[]", 'no object "metrics": write'),
        ('{"metrics": []}', 'no object "metrics"'),
        ('{"metrics": {"loss": {"candidate": 1}}}', r"metrics\.auc is missing: the report has loss"),
        ('{"metrics": {"auc": 0.9}}', r"metrics\.auc is 0\.9: write an object with candidate"),
        ('{"metrics": {"auc": {"baseline": 1}}}', r"metrics\.auc\.candidate is missing"),
        ('{"metrics": {"auc": {"candidate": "0.9"}}}', r'metrics\.auc\.candidate is "0\.9": write a number'),
        ('{"metrics": {"auc": {"candidate": true}}}', r"metrics\.auc\.candidate is true"),
        ('{"metrics": {"auc": {"candidate": NaN}}}', "the report holds NaN"),
        ('{"metrics": {"auc": {"candidate": 1e999}}}', r"metrics\.auc\.candidate is Infinity"),
        (
            '{"metrics": {"auc": {"candidate": 1, "sterr": 2}}}',
            r"metrics\.auc\.sterr is not known: it may have candidate",
        ),
        (
            '{"metrics": {"auc": {"candidate": 1, "stderr": 0}}}',
            r"metrics\.auc\.stderr is 0: write a number above zero",
        ),
        ('{"metrics": {"auc": {"candidate": 1, "stderr": {"mean": 1}}}}', r"metrics\.auc\.stderr\.mean is not known"),
        (
            '{"metrics": {"auc": {"candidate": 1, "samples": 10.5}}}',
            r"metrics\.auc\.samples is 10\.5: write a whole number",
        ),
        ('{"metrics": {"auc": {"candidate": 1, "samples": {"positives": 5}}}}', "give both positives and negatives"),
        ('{"metrics": {"auc": {"candidate": 7, "samples": 500}}}', None),
        ('{"metrics": {"auc": {"candidate": 1, "batch": {}}}}', r"batch stands alone: leave out candidate"),
        ('{"metrics": {"auc": {"batch": {}}}}', r"metrics\.auc\.batch has 0 batch sizes"),
        ('{"metrics": {"auc": {"batch": {"x": {}}}}}', '"x" is not a batch size'),
        ('{"metrics": {"auc": {"batch": {"8": {}}}}}', r"metrics\.auc\.batch\.8\.candidate is missing"),
        ('{"metrics": {"auc": {"batch": {"8": {"candidate": 5}}}}}', r"batch\.8\.candidate is not a list"),
        ('{"metrics": {"auc": {"batch": {"8": {"candidate": [1, -2]}}}}}', r"batch\.8\.candidate\[1\] is -2: write"),
        ('{"metrics": {"auc": {"batch": {"8": {"candidate": [1], "baseline": [1, 2]}}}}}', "give as many of each"),
        ('{"metrics": {"auc": {"batch": {"8": {"candidate": [1]}}}}}', "is a latency: it takes atMost"),
    ],
)
def test_whatever_is_wrong_is_named_by_its_place(text: str, message: str | None) -> None:
    test = _test("0.9")
    if message is None:
        test.read(test.start(), text)
        return
    with pytest.raises(ValueError, match=message):
        test.read(test.start(), text)


@pytest.mark.parametrize(
    ("limit", "result", "message"),
    [
        (
            "98% of baseline",
            {"candidate": 1},
            r'metrics\.auc\.baseline is missing: the limit "98% of baseline" needs it',
        ),
        (
            "98% of baseline",
            {"candidate": 1, "baseline": 1, "stderr": {"difference": 1}},
            "needs candidate and baseline",
        ),
        ("0.9", {"candidate": 1, "stderr": {"difference": 1}}, r"metrics\.auc\.stderr\.candidate is missing"),
        ("7", {"candidate": 7, "samples": 500}, "7 is neither a share nor an AUC: give stderr instead"),
    ],
)
def test_what_the_limit_needs_and_the_report_lacks_is_named(limit: str, result: dict[str, Any], message: str) -> None:
    test = _test(limit)
    with pytest.raises(ValueError, match=message):
        test.read(test.start(), _text(auc=result))


def test_what_a_latency_limit_needs_is_named() -> None:
    batch = {"batch": {"8": {"candidate": [1.0, 2.0, 3.0]}}}
    with pytest.raises(ValueError, match=r"batch\.8\.baseline is missing"):
        _judged(_test(_TENTH, metric="p95", at_least=False), p95=batch)
    with pytest.raises(ValueError, match='adds something to the baseline: write it like "110% of baseline"'):
        _judged(_test(Limit("baseline + 5", 1.0, 5.0), metric="p95", at_least=False), p95=batch)


# How often it is wrong, in small; `python -m tests.bench.reports` has the whole table


def test_equal_latencies_hardly_ever_breach_and_a_fifth_more_nearly_always_does() -> None:
    test = _test(_TENTH, metric="latency", at_least=False)
    random = np.random.default_rng(5)
    same = verdicts(test, [latency_report(random, ratio=1.0, runs=5, scatter=0.03) for _ in range(300)])
    assert same[Verdict.BREACHED] <= 1 and same[Verdict.PROVEN] > 255
    on_limit = verdicts(test, [latency_report(random, ratio=1.1, runs=5, scatter=0.03) for _ in range(300)])
    assert on_limit[Verdict.BREACHED] <= 8 and on_limit[Verdict.PROVEN] <= 8
    slow = verdicts(test, [latency_report(random, ratio=1.2, runs=5, scatter=0.03) for _ in range(300)])
    assert slow[Verdict.BREACHED] > 280


def test_an_auc_on_the_limit_is_seldom_decided_even_with_fifty_positives() -> None:
    test = _test("0.9")
    random = np.random.default_rng(6)
    found = verdicts(test, [auc_report(random, auc=0.9, positives=50, negatives=950) for _ in range(400)])
    assert found[Verdict.BREACHED] <= 8 and found[Verdict.PROVEN] <= 20
