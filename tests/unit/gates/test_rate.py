"""A gate's verdict with its sentence and its numbers; latency limits between two bounds; shared slowness."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import parse_limit
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval, Reading
from modelrollout.gates.rate import History, RateState, RateTest, budget

_START = datetime(2026, 1, 1, tzinfo=UTC)
_BOUNDS = (0.1, 0.15, 0.25, 0.5, math.inf)
_PAST = History(0.0, True, 1e5, 1e3)


def _ratio(limit: str = "baseline + 0.2pp", **more: object) -> RateTest:
    test = RateTest("errors", parse_limit(limit), False, 100, 0.006, 0.003, history=_PAST)
    return replace(test, **more)  # type: ignore[arg-type]


def _latency(limit: str = "200ms") -> RateTest:
    past = History(0.0, True, 1e5, 2e3)
    return RateTest("p95", parse_limit(limit), False, 100, 0.006, 0.003, quantile=0.95, history=past)


def _interval(candidate: Arm | None, baseline: Arm | None, number: int = 0) -> Interval:
    begin = _START + number * timedelta(seconds=15)
    return Interval(begin, begin + timedelta(seconds=15), candidate, baseline)


def _after(test: RateTest, candidate: Arm, baseline: Arm, count: int) -> RateState:
    state = test.start()
    for i in range(count):
        state = test.fold(state, _interval(candidate, baseline, i))
    return state


def _durations(*counts: float) -> Histogram:
    return Histogram(_BOUNDS, counts)


def test_detail_33_too_early_names_the_samples() -> None:
    test = _ratio()
    found = test.assess(_after(test, Counts(0, 30), Counts(3, 300), 2))
    assert found.verdict is Verdict.TOO_EARLY and found.message == "60 of 100 samples of the candidate"
    found = test.assess(_after(test, Counts(0, 300), Counts(0, 30), 2))
    assert found.verdict is Verdict.TOO_EARLY and found.message == "60 of 100 samples of the baseline"


def test_detail_33_no_harm_seen_never_comes_without_its_number() -> None:
    test = _ratio()
    found = test.assess(_after(test, Counts(1, 100), Counts(9, 900), 20))
    assert found.verdict is Verdict.NO_HARM_SEEN
    assert "no harm seen, would have seen ≥" in found.message and found.message.endswith("%")
    assert found.would_have_seen is not None and found.would_have_seen > 0.0
    assert found.value == pytest.approx(0.01) and found.baseline == pytest.approx(0.01)
    assert (found.samples, found.baseline_samples) == (2000, 18000)


def test_detail_33_breached_shows_both_arms_and_the_limit_in_numbers() -> None:
    test = _ratio()
    found = test.assess(_after(test, Counts(10, 100), Counts(9, 900), 20))
    assert found.verdict is Verdict.BREACHED and found.evidence == 1.0 and found.stake == 1.0
    assert found.message == "10 % against 1 % of the baseline; may rise to 1.2 % (baseline + 0.2pp, 1 %)"
    assert found.low is not None and found.difference is not None and found.high is not None
    assert 0.0 < found.low < found.difference < found.high
    assert found.difference == pytest.approx(0.088, abs=2e-3)


def test_detail_33_proven_says_so() -> None:
    test = _ratio("baseline + 2pp")
    found = test.assess(_after(test, Counts(1, 100), Counts(9, 900), 200))
    assert found.verdict is Verdict.PROVEN and found.message.endswith("; shown to be within the limit")


def test_a_gate_of_good_events_shows_good_events() -> None:
    test = _ratio("99% of baseline", good=True, at_least=True, history=History(0.0, True, 1e5, 9.7e4))
    found = test.assess(_after(test, Counts(99.0, 100), Counts(873, 900), 40))
    assert found.verdict is Verdict.BREACHED
    assert found.value == pytest.approx(0.01) and found.baseline == pytest.approx(0.03)
    assert "may fall to 2.97 % (99% of baseline, 3 %)" in found.message


def test_must_see_is_named_while_it_cannot_be_seen() -> None:
    test = _ratio(must_see=parse_limit("baseline + 0.5pp"))
    early = test.assess(_after(test, Counts(1, 100), Counts(9, 900), 3))
    assert early.unseen.startswith("errors must see baseline + 0.5pp, and would have seen ≥")
    assert test.assess(_after(test, Counts(5, 500), Counts(45, 4500), 200)).unseen == ""


def test_must_see_of_a_latency_is_a_candidate_slower_in_every_request() -> None:
    """The baseline's p95 is 149 ms; one at 210 ms is beyond 200 ms where the baseline is beyond 142 ms: 10 %."""
    test = replace(_latency(), must_see=parse_limit("210ms"))
    few, many = (_durations(60 * n, 96 * n, 99 * n, 100 * n, 100 * n) for n in (1, 30))
    early = test.assess(_after(test, few, few, 2))
    assert early.unseen.startswith("p95 must see 210ms, and would have seen ≥")
    assert test.assess(_after(test, many, many, 10)).unseen == ""
    slow = replace(test, must_see=parse_limit("2s"))
    assert slow.assess(_after(slow, few, few, 2)).unseen == "", "one that is so slow would have been seen"


def test_the_share_above_a_time_is_found_between_bounds() -> None:
    durations = Histogram((0.1, 0.2, float("inf")), (50.0, 90.0, 100.0))
    assert durations.share_above(0.1) == pytest.approx(0.5)
    assert durations.share_above(0.15) == pytest.approx(0.3)
    assert durations.share_above(0.2) == pytest.approx(0.1)
    assert durations.share_above(5.0) == pytest.approx(0.1), "what lies beyond the last bound may lie anywhere"
    assert Histogram((), ()).share_above(1.0) is None


def test_a_candidate_that_leans_is_said_to() -> None:
    test = _ratio()
    assert test.assess(_after(test, Counts(3, 100), Counts(9, 900), 4)).leaning
    assert not test.assess(_after(test, Counts(1, 100), Counts(9, 900), 4)).leaning


def test_a_breach_stays_when_the_evidence_goes() -> None:
    test = _ratio()
    state = _after(test, Counts(50, 100), Counts(9, 900), 3)
    for _ in range(300):
        state = test.fold(state, _interval(Counts(0, 100), Counts(9, 900)))
    assert test.assess(state).verdict is Verdict.BREACHED


def test_detail_36_a_latency_is_breached_only_by_what_is_slower_than_the_next_higher_bound() -> None:
    """200 ms lies between 150 and 250 ms: 20 % in between may be on either side."""
    test = _latency()
    within, between, beyond = (
        _durations(90, 97, 99, 100, 100),
        _durations(70, 77, 99, 100, 100),
        _durations(70, 77, 80, 99, 100),
    )
    quick = _durations(900, 980, 999, 1000, 1000)
    found = test.assess(_after(test, between, quick, 60))
    assert found.verdict is Verdict.NO_HARM_SEEN
    assert "judged at 250 ms (next bucket)" in found.message
    assert test.assess(_after(test, beyond, quick, 60)).verdict is Verdict.BREACHED
    assert test.assess(_after(test, within, quick, 60)).verdict is not Verdict.BREACHED


def test_detail_36_a_latency_is_proven_only_by_what_is_quicker_than_the_next_lower_bound() -> None:
    test = _latency()
    quick = _durations(900, 999, 1000, 1000, 1000)
    surely, perhaps = _durations(90, 99.5, 100, 100, 100), _durations(80, 90, 100, 100, 100)
    assert test.assess(_after(test, surely, quick, 200)).verdict is Verdict.PROVEN
    assert test.assess(_after(test, perhaps, quick, 200)).verdict is Verdict.NO_HARM_SEEN


def test_a_limit_on_a_bound_needs_no_bracket() -> None:
    test = _latency("250ms")
    found = test.assess(_after(test, _durations(90, 97, 99, 100, 100), _durations(900, 970, 990, 1000, 1000), 20))
    assert "judged at" not in found.message
    assert found.value is not None and found.value == pytest.approx(0.136, abs=1e-3)


def test_a_limit_beyond_every_bound_is_never_breached() -> None:
    test = _latency("800ms")
    slow, quick = _durations(0, 0, 0, 0, 100), _durations(900, 970, 990, 1000, 1000)
    assert test.assess(_after(test, slow, quick, 60)).verdict is Verdict.NO_HARM_SEEN


def test_an_absolute_limit_that_both_arms_exceed_is_shared_and_not_broken() -> None:
    test = _latency()
    slow = test.assess(_after(test, _durations(50, 60, 70, 90, 100), _durations(500, 600, 700, 900, 1000), 60))
    assert slow.verdict is Verdict.BREACHED and slow.shared and slow.stake < 1.0
    alone = test.assess(_after(test, _durations(50, 60, 70, 90, 100), _durations(900, 980, 999, 1000, 1000), 60))
    assert alone.verdict is Verdict.BREACHED and not alone.shared


def test_a_planned_look_may_find_what_the_process_has_not() -> None:
    test = _ratio(alpha=1e-9, horizon=50.0)
    state = _after(test, Counts(2, 100), Counts(9, 900), 30)
    assert test.assess(state).verdict is not Verdict.BREACHED
    assert test.assess(test.end_hold(state)).verdict is Verdict.BREACHED


def test_another_step_begins_with_no_samples() -> None:
    test = _ratio()
    state = test.begin_step(_after(test, Counts(1, 100), Counts(9, 900), 20))
    found = test.assess(state)
    assert found.verdict is Verdict.TOO_EARLY and found.samples == 0


def test_state_comes_back_from_text() -> None:
    for test, ours, theirs in (
        (_ratio(), Counts(2, 100), Counts(9, 900)),
        (_latency("120% of baseline"), _durations(90, 97, 99, 100, 100), _durations(900, 970, 990, 1000, 1000)),
    ):
        state = _after(test, ours, theirs, 12)
        assert test.assess(test.load(test.dump(state))) == test.assess(state)


def test_evidence_of_another_kind_is_refused() -> None:
    for test in (_ratio(), _latency()):
        with pytest.raises(TypeError, match=r"errors|p95"):
            test.fold(test.start(), _interval(Reading(1.0), Reading(1.0)))


def test_the_budget_of_all_gates_is_nine_tenths_of_the_rate() -> None:
    """A tenth is left to the catastrophe rule."""
    for gates, steps in ((1, 1), (3, 4)):
        part = budget(0.01, gates, steps)
        assert gates * (part.alpha + steps * part.look_alpha) == pytest.approx(0.009)


def test_history_teaches_floor_and_rate() -> None:
    test = replace(_ratio(), history=History())
    past = [_interval(None, Counts(4 + 8 * (i % 2), 600), i) for i in range(240)]
    found = test.learn(past)
    assert found.floor is not None and found.floor > 0.0 and not found.split
    assert found.bad / found.requests == pytest.approx(8 / 600, rel=0.05)
    halves = [replace(one, halves=(Counts(2 + 4 * (i % 2), 300),) * 2) for i, one in enumerate(past)]
    split = test.learn(halves)
    assert split.split and split.floor == 0.0, "what both halves do alike is no noise"
    assert test.learn(past[:20]).floor is None and test.learn([]) == History()


@pytest.mark.parametrize("history", [History(), History(0.0, split=True, requests=4000.0, bad=20.0)])
@pytest.mark.parametrize("already", [0.0, 0.1, 0.2])
def test_rule_8_a_candidate_that_began_to_fail_does_not_excuse_itself(history: History, already: float) -> None:
    """The first interval may end just after the failing began, and show less than a catastrophe: no lesson in noise."""
    test = replace(_ratio(), history=history)
    state = test.start()
    for number in range(30):
        state = test.fold(state, _interval(Counts(0 if number % 5 else 1, 40), Counts(2, 360), number))
    state = test.fold(state, _interval(Counts(40 * already, 40), Counts(2, 360), 30))
    broken = _interval(Counts(12, 40), Counts(2, 360), 31)
    assert test.catastrophe(state, broken, share=0.25, requests=20)
    alike = _interval(Counts(12, 40), Counts(100, 360), 31)
    assert not test.catastrophe(state, alike, share=0.25, requests=20), "the baseline fails as often"
