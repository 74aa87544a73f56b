"""Plain thresholds: so many of the last looks beyond the limit, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit, parse_limit
from modelrollout.gates.evidence import Counts, Interval, Reading
from modelrollout.gates.threshold import ThresholdState, ThresholdTest

_NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def _interval(value: float | None, baseline: float | None = None) -> Interval:
    arms = [None if number is None else Reading(number) for number in (value, baseline)]
    return Interval(_NOW, _NOW, arms[0], arms[1])


def _looked(test: ThresholdTest, *values: float | None, baseline: float | None = None) -> ThresholdState:
    state = test.start()
    for value in values:
        state = test.fold(state, _interval(value, baseline))
    return state


def _verdict(test: ThresholdTest, *values: float | None, baseline: float | None = None) -> Verdict:
    return test.assess(_looked(test, *values, baseline=baseline)).verdict


_TEST = ThresholdTest.read(parse_limit("10"), "3 of 5")


def test_three_of_the_last_five_looks_beyond_the_limit_breach() -> None:
    assert _verdict(_TEST, 11, 9, 12, 9, 13) is Verdict.BREACHED
    assert _verdict(_TEST, 11, 9, 9, 12, 9, 13) is Verdict.NO_HARM_SEEN
    assert _verdict(_TEST, 11, 12, 13) is Verdict.BREACHED
    assert _verdict(_TEST, 11, 12, 13, 9, 9, 9) is Verdict.NO_HARM_SEEN


def test_a_value_on_the_limit_is_within_it() -> None:
    assert _verdict(_TEST, 10, 10, 10, 10, 10) is Verdict.NO_HARM_SEEN
    at_least = ThresholdTest.read(parse_limit("10"), "1 of 1", at_least=True)
    assert _verdict(at_least, 10) is Verdict.NO_HARM_SEEN
    assert _verdict(at_least, 9.99) is Verdict.BREACHED


def test_nothing_is_ever_proven_and_the_message_says_so() -> None:
    found = _TEST.assess(_looked(_TEST, *[1.0] * 1000))
    assert found.verdict is Verdict.NO_HARM_SEEN and found.would_have_seen is None
    assert found.message == "1 (at most 10): 0 of the last 5 looks beyond it; a plain threshold proves nothing"


def test_looks_without_a_number_count_as_nothing_at_all() -> None:
    for missing in (None, float("nan"), float("inf")):
        assert _looked(_TEST, 11, missing, 12, missing, 13) == _looked(_TEST, 11, 12, 13)
    state = _looked(_TEST, 11, 12)
    assert _TEST.fold(state, _interval(13.0), judged=False) == state


def test_before_the_window_is_full_it_is_too_early() -> None:
    assert _TEST.assess(_TEST.start()).message == "the query gave no number yet"
    found = _TEST.assess(_looked(_TEST, 9, 11))
    assert found.verdict is Verdict.TOO_EARLY and found.message.endswith(
        "1 of the last 2 looks beyond it, 3 more to come"
    )
    patient = ThresholdTest.read(parse_limit("10"), "3 of 5", min_looks=8)
    assert _verdict(patient, *[1.0] * 7) is Verdict.TOO_EARLY
    assert _verdict(patient, *[1.0] * 8) is Verdict.NO_HARM_SEEN


def test_a_limit_that_moves_with_the_baseline_needs_it() -> None:
    test = ThresholdTest(Limit("110% of baseline", 1.1, 0.0), needed=1, window=1)
    assert _verdict(test, 111.0, baseline=100.0) is Verdict.BREACHED
    assert _verdict(test, 109.0, baseline=100.0) is Verdict.NO_HARM_SEEN
    assert _looked(test, 111.0) == test.start()
    assert "(at most 110% of baseline, 110 now)" in test.assess(_looked(test, 111.0, baseline=100.0)).message


def test_a_number_that_is_beyond_for_both_is_shared() -> None:
    both = _TEST.assess(_looked(_TEST, 11, 12, 13, baseline=14.0))
    assert both.verdict is Verdict.BREACHED and both.shared
    alone = _TEST.assess(_looked(_TEST, 11, 12, 13, baseline=9.0))
    assert alone.verdict is Verdict.BREACHED and not alone.shared


def test_a_look_beyond_the_limit_leans() -> None:
    assert _TEST.assess(_looked(_TEST, 1, 1, 1, 1, 11)).leaning
    assert not _TEST.assess(_looked(_TEST, 1, 1, 1, 11, 1)).leaning


def test_another_weight_begins_with_an_empty_window() -> None:
    begun = _TEST.begin_step(_looked(_TEST, 11, 12))
    assert _TEST.assess(_TEST.fold(begun, _interval(13.0))).verdict is Verdict.TOO_EARLY


def test_a_state_that_was_written_and_read_goes_on_to_the_very_same_decisions() -> None:
    kept = resumed = _TEST.start()
    for value in (11, 0.1 + 0.2, None, 12, 9, 1e-300, 13, 11, 12, 13):
        kept = _TEST.fold(kept, _interval(value, 3.3))
        resumed = _TEST.load(_TEST.dump(_TEST.fold(resumed, _interval(value, 3.3))))
        assert (resumed, _TEST.assess(resumed)) == (kept, _TEST.assess(kept))
    assert len(_TEST.dump(kept)) < 100


@pytest.mark.parametrize("text", ["", "t1", "t1;x;y;;;0", "t1;x;.;a;;0", "t1;x;.;;;many", "t2;x;.;;;0"])
def test_rubbish_is_no_state(text: str) -> None:
    with pytest.raises(ValueError):
        _TEST.load(text)


def test_wrong_words_are_named() -> None:
    with pytest.raises(ValueError, match='"three of five" is not a number of looks: write it like "3 of 5"'):
        ThresholdTest.read(parse_limit("10"), "three of five")
    with pytest.raises(ValueError, match='"6 of 5" cannot be'):
        ThresholdTest.read(parse_limit("10"), "6 of 5")
    with pytest.raises(ValueError, match="one number per look"):
        _TEST.fold(_TEST.start(), Interval(_NOW, _NOW, Counts(1, 2), None))
