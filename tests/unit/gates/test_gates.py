"""Counts in, verdicts out: histograms, limits, the interval, the checkpoint and the split."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import parse_limit
from modelrollout.gates.checkpoint import dump, load
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.judge import Definition, GateState, catastrophic, fold, judge
from modelrollout.gates.plain import distance
from modelrollout.gates.split import split_differs

_INF = float("inf")
_NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def _ratio(limit: str, *, good: bool = False, min_samples: int = 100) -> Definition:
    return Definition("g", parse_limit(limit), at_least=good, min_samples=min_samples, counts_good=good)


def _latency(limit: str, quantile: float = 0.95) -> Definition:
    return Definition("p", parse_limit(limit), at_least=False, min_samples=100, quantile=quantile)


def _judge_ratio(limit: str, ours: tuple[float, float], theirs: tuple[float, float], *, good: bool = False) -> Verdict:
    return judge(_ratio(limit, good=good), GateState(Counts(*ours), Counts(*theirs))).verdict


# Histograms


def test_a_quantile_lies_in_its_bucket_on_a_straight_line() -> None:
    histogram = Histogram((0.1, 0.2, 0.5, _INF), (50.0, 90.0, 100.0, 100.0))
    assert histogram.quantile(0.5) == pytest.approx(0.1)
    assert histogram.quantile(0.7) == pytest.approx(0.15)
    assert histogram.quantile(0.95) == pytest.approx(0.35)


def test_a_quantile_beyond_the_last_bound_is_the_last_bound() -> None:
    assert Histogram((0.1, 0.2, _INF), (1.0, 2.0, 100.0)).quantile(0.95) == 0.2


def test_a_quantile_of_nothing_is_nothing() -> None:
    assert Histogram((0.1, _INF), (0.0, 0.0)).quantile(0.5) is None
    assert Histogram((), ()).quantile(0.5) is None


def test_histograms_of_different_bounds_meet_in_what_they_share() -> None:
    """A new version may bring other buckets; cumulative counts of common bounds still add up exactly."""
    one = Histogram((0.1, 0.2, 0.5, _INF), (10.0, 20.0, 30.0, 40.0))
    other = Histogram((0.2, 0.3, _INF), (1.0, 2.0, 3.0))
    assert one + other == Histogram((0.2, _INF), (21.0, 43.0))
    assert Histogram((), ()) + one == one == one + Histogram((), ())


def test_nothing_is_slower_than_infinity() -> None:
    histogram = Histogram((0.1, 0.2), (5.0, 9.0))  # its +Inf was dropped by somebody's relabelling
    assert histogram.slower_than(_INF) == Counts(0.0, 9.0)
    assert histogram.bound_at_or_above(0.15) == 0.2
    assert histogram.bound_at_or_below(0.15) == 0.1
    assert histogram.bound_at_or_above(1.0) == _INF
    assert histogram.bound_at_or_below(0.01) is None


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=12), st.floats(0.01, 0.99))
def test_a_quantile_is_never_outside_the_finite_bounds(increments: list[int], q: float) -> None:
    bounds = (*(0.1 * (n + 1) for n in range(len(increments) - 1)), _INF)
    counts = tuple(float(sum(increments[: n + 1])) for n in range(len(increments)))
    found = Histogram(bounds, counts).quantile(q)
    assert (found is None) == (counts[-1] == 0)
    assert found is None or 0.0 <= found <= bounds[-2]


# The interval


@given(
    bad=st.integers(0, 500), extra=st.integers(0, 5000), base_bad=st.integers(0, 500), base_extra=st.integers(0, 5000),
    factor=st.sampled_from([0.0, 0.99, 1.0, 1.1]), offset=st.floats(-0.1, 0.3),
)  # fmt: skip
def test_the_interval_is_four_standard_errors_of_the_shrunk_shares(
    bad: int, extra: int, base_bad: int, base_extra: int, factor: float, offset: float
) -> None:
    """Computed a second time, from the definition: one bad and one good event added to each arm."""
    n, m = bad + extra + 2, base_bad + base_extra + 2
    p, q = (bad + 1) / n, (base_bad + 1) / m
    centre = p - factor * q - offset
    error = 4.0 * math.sqrt(p * (1 - p) / n + factor**2 * q * (1 - q) / m)
    found = distance(Counts(bad, bad + extra), Counts(base_bad, base_bad + base_extra), factor=factor, offset=offset)
    assert found.low == pytest.approx(centre - error, abs=1e-12)
    assert found.high == pytest.approx(centre + error, abs=1e-12)
    assert found.breached == (found.low > 0)
    assert found.proven == (found.high < 0)
    assert not (found.breached and found.proven)
    assert found.would_have_seen > error


def test_no_events_are_no_certainty() -> None:
    nothing = distance(Counts(0, 0), Counts(0, 0), factor=1.0, offset=0.0)
    assert not nothing.breached
    assert not nothing.proven
    assert not distance(Counts(0, 50), None, factor=0.0, offset=0.01).proven, "0 of 50 does not show 1 %"


def test_more_of_the_same_narrows_the_interval() -> None:
    widths = []
    for n in (100, 1000, 10_000):
        found = distance(Counts(0.02 * n, n), Counts(0.01 * n, n), factor=1.0, offset=0.0)
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


# Ratios


@pytest.mark.parametrize(
    ("limit", "ours", "verdict"),
    [
        ("1%", (300, 10_000), Verdict.BREACHED),
        ("1%", (20, 10_000), Verdict.PROVEN),
        ("1%", (100, 10_000), Verdict.NO_HARM_SEEN),
        ("0.01", (300, 10_000), Verdict.BREACHED),
        ("baseline + 1pp", (500, 10_000), Verdict.BREACHED),
        ("baseline + 1pp", (100, 10_000), Verdict.PROVEN),
        ("110% of baseline", (300, 10_000), Verdict.BREACHED),
        ("110% of baseline", (100, 10_000), Verdict.NO_HARM_SEEN),
        ("110% of baseline + 1pp", (180, 10_000), Verdict.NO_HARM_SEEN),
        ("110% of baseline + 1pp", (400, 10_000), Verdict.BREACHED),
    ],
)
def test_a_limit_on_bad_events(limit: str, ours: tuple[float, float], verdict: Verdict) -> None:
    assert _judge_ratio(limit, ours, (100, 10_000)) is verdict


@pytest.mark.parametrize(
    ("limit", "clicks", "verdict"),
    [
        ("99% of baseline", 3000, Verdict.NO_HARM_SEEN),
        ("99% of baseline", 2000, Verdict.BREACHED),
        ("80% of baseline", 3000, Verdict.PROVEN),
        ("baseline - 0.5pp", 1000, Verdict.BREACHED),
        ("baseline - 2pp", 3000, Verdict.PROVEN),
        ("1%", 3000, Verdict.PROVEN),
        ("9%", 3000, Verdict.BREACHED),
        ("0.90", 99_000, Verdict.PROVEN),
    ],
)
def test_a_limit_on_good_events_is_turned_around(limit: str, clicks: int, verdict: Verdict) -> None:
    """`bad` is what was not clicked; the baseline has 3 % of clicks."""
    ours, theirs = (100_000 - clicks, 100_000), (97_000, 100_000)
    assert _judge_ratio(limit, ours, theirs, good=True) is verdict


def test_values_and_limits_are_shown_as_the_person_wrote_them() -> None:
    found = judge(_ratio("99% of baseline", good=True), GateState(Counts(97_030, 100_000), Counts(97_000, 100_000)))
    assert found.value == pytest.approx(0.0297)
    assert found.baseline == pytest.approx(0.03)
    assert found.limit == "may fall to 2.97 % (99% of baseline, 3 %)"
    assert found.verdict is Verdict.NO_HARM_SEEN
    assert found.would_have_seen is not None
    assert "would have seen" in found.message


def test_too_few_samples_are_too_early_whatever_they_show() -> None:
    found = judge(_ratio("baseline + 1pp"), GateState(Counts(99, 99), Counts(0, 10_000)))
    assert found.verdict is Verdict.TOO_EARLY
    assert found.message == "99 of 100 samples of the candidate"
    found = judge(_ratio("baseline + 1pp"), GateState(Counts(0, 10_000), Counts(0, 5)))
    assert found.message == "5 of 100 samples of the baseline"
    assert judge(_ratio("50%"), GateState(Counts(0, 10_000), Counts(0, 5))).verdict is Verdict.PROVEN


def test_beyond_an_absolute_limit_but_no_worse_than_the_baseline_is_shared() -> None:
    shared = judge(_ratio("5%"), GateState(Counts(2000, 10_000), Counts(2000, 10_000)))
    alone = judge(_ratio("5%"), GateState(Counts(2000, 10_000), Counts(600, 10_000)))
    assert shared.verdict is alone.verdict is Verdict.BREACHED
    assert shared.shared
    assert not alone.shared


# Latencies


def _histogram(slow: float, total: float = 10_000.0, bounds: tuple[float, ...] = (0.1, 0.2, 0.5, _INF)) -> Histogram:
    """A share of the requests takes between 200 and 500 ms, the rest below 100 ms."""
    fast = total * (1.0 - slow)
    return Histogram(bounds, tuple(fast if bound <= 0.2 else total for bound in bounds))


@pytest.mark.parametrize(
    ("slow", "verdict"), [(0.2, Verdict.BREACHED), (0.01, Verdict.PROVEN), (0.05, Verdict.NO_HARM_SEEN)]
)
def test_a_latency_is_the_share_of_slower_requests(slow: float, verdict: Verdict) -> None:
    assert judge(_latency("200ms"), GateState(_histogram(slow), _histogram(0.01))).verdict is verdict


def test_a_limit_between_two_bounds_is_bracketed() -> None:
    """250 ms lies between 200 and 500 ms: breached only by what is slower than 500, proven only by what is slower
    than 200."""
    between = judge(_latency("250ms"), GateState(_histogram(0.2), _histogram(0.01)))
    assert between.verdict is Verdict.NO_HARM_SEEN
    assert "judged at 500 ms (next bucket)" in between.message
    assert judge(_latency("250ms"), GateState(_histogram(0.01), _histogram(0.01))).verdict is Verdict.PROVEN
    slower = Histogram((0.1, 0.2, 0.5, _INF), (8000.0, 8000.0, 8000.0, 10_000.0))
    assert judge(_latency("250ms"), GateState(slower, _histogram(0.01))).verdict is Verdict.BREACHED


def test_a_limit_beyond_every_bound_cannot_be_breached() -> None:
    slowest = Histogram((0.1, 0.5, _INF), (5000.0, 5000.0, 10_000.0))
    assert judge(_latency("2s"), GateState(slowest, _histogram(0.01))).verdict is Verdict.NO_HARM_SEEN
    assert judge(_latency("2s"), GateState(_histogram(0.2), _histogram(0.01))).verdict is Verdict.PROVEN


def test_a_limit_below_every_bound_cannot_be_proven() -> None:
    fast = Histogram((0.1, _INF), (10_000.0, 10_000.0))
    assert judge(_latency("50ms"), GateState(fast, fast)).verdict is Verdict.NO_HARM_SEEN


def test_a_relative_latency_follows_the_baseline() -> None:
    """The baseline's p95 is 200 ms; 110 % of it are 220 ms, judged at the bucket of 500 ms."""
    bounds = (0.1, 0.2, 0.25, 0.5, _INF)
    baseline = Histogram(bounds, (5000.0, 9500.0, 10_000.0, 10_000.0, 10_000.0))
    same = judge(_latency("110% of baseline"), GateState(baseline, baseline))
    assert same.verdict is not Verdict.BREACHED
    assert same.baseline == pytest.approx(0.2)
    assert same.limit == "may rise to 220 ms (110% of baseline, 200 ms)"
    slow = Histogram(bounds, (4000.0, 8000.0, 8500.0, 10_000.0, 10_000.0))
    assert judge(_latency("110% of baseline"), GateState(slow, baseline)).verdict is Verdict.BREACHED


def test_a_latency_without_requests_is_too_early() -> None:
    empty = Histogram((), ())
    for limit in ("200ms", "110% of baseline"):
        assert judge(_latency(limit), GateState(empty, empty)).verdict is Verdict.TOO_EARLY
    assert judge(_latency("110% of baseline"), GateState(_histogram(0.01), empty)).verdict is Verdict.TOO_EARLY


def test_arms_with_other_buckets_can_be_judged() -> None:
    theirs = Histogram((0.3, _INF), (9000.0, 10_000.0))
    for limit in ("200ms", "110% of baseline"):
        assert judge(_latency(limit), GateState(_histogram(0.2), theirs)).verdict in Verdict


# Catastrophes


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        (Counts(50, 100), Counts(1, 100), True),
        (Counts(10, 19), Counts(0, 100), False),
        (Counts(25, 100), Counts(0, 100), False),
        (Counts(50, 100), Counts(40, 100), False),
        (Counts(100, 100), Counts(50, 100), True),
        (Counts(50, 100), None, True),
    ],
)
def test_a_catastrophe_needs_requests_and_a_baseline_that_is_better(
    ours: Counts, theirs: Counts | None, found: bool
) -> None:
    interval = Interval(_NOW, _NOW, ours, theirs)
    assert catastrophic(_ratio("5%"), interval, share=0.25, requests=20) is found
    assert not catastrophic(_ratio("5%", good=True), interval, share=0.25, requests=20)


def test_kinds_are_never_mixed() -> None:
    state = GateState(Counts(1, 2), Counts(1, 2))
    with pytest.raises(TypeError):
        fold(state, Interval(_NOW, _NOW, _histogram(0.1), None))
    assert fold(state, Interval(_NOW, _NOW, None, None)) == state


# Checkpoints

_COUNT = st.floats(0, 1e11).map(lambda value: float(f"{value:.12g}"))


@given(_COUNT, _COUNT, _COUNT, _COUNT)
def test_a_checkpoint_of_a_ratio_comes_back_as_it_was(a: float, b: float, c: float, d: float) -> None:
    state = GateState(Counts(a, b), Counts(c, d))
    text = dump(state)
    assert load(text, _ratio("5%")) == state
    assert len(text) <= 1024


@given(st.lists(_COUNT, min_size=1, max_size=24))
def test_a_checkpoint_of_a_latency_comes_back_as_it_was(counts: list[float]) -> None:
    bounds = (*(float(f"{0.005 * 1.6**n:.6g}") for n in range(len(counts) - 1)), _INF)
    histogram = Histogram(bounds, tuple(counts))
    text = dump(GateState(histogram, histogram))
    assert load(text, _latency("200ms")) == GateState(histogram, histogram)


def test_a_checkpoint_of_the_usual_buckets_is_below_a_kilobyte() -> None:
    bounds = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, _INF)
    histogram = Histogram(bounds, tuple(98_765_432_101.0 + n for n in range(len(bounds))))
    assert len(dump(GateState(histogram, histogram))) <= 1024


@given(st.text(max_size=60) | st.sampled_from(["r1;1/2", "r1;1/2;x/3", "h1;1;2;3", "h1;1,inf;2;3,inf;4", "r2;1/2;3/4"]))
def test_what_is_no_checkpoint_is_an_empty_state(text: str) -> None:
    for definition in (_ratio("5%"), _latency("200ms")):
        state = load(text, definition)
        assert type(state.candidate) is type(definition.empty)


def test_a_checkpoint_of_another_kind_is_forgotten() -> None:
    text = dump(GateState(Counts(1, 2), Counts(3, 4)))
    assert load(text, _latency("200ms")) == GateState(Histogram((), ()), Histogram((), ()))


# The split


@pytest.mark.parametrize(
    ("candidate", "baseline", "weight", "differs"),
    [
        (100, 900, 10, False),
        (500, 500, 10, True),
        (0, 1000, 10, True),
        (5, 100, 50, False),
        (5, 200, 50, True),
        (12_000, 88_000, 10, False),
        (13_000, 87_000, 10, True),
        (0, 0, 10, False),
    ],
)
def test_the_split_is_checked_against_the_weight(candidate: int, baseline: int, weight: int, differs: bool) -> None:
    assert split_differs(candidate, baseline, weight=weight) is differs
