"""When a source that is down is asked again; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from modelrollout.metrics.breaker import Breaker, State

NOW = datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC)


def _open() -> Breaker:
    breaker = Breaker()
    for second in range(3):
        breaker = breaker.failed(NOW + timedelta(seconds=second), "does not answer: connection refused")
    return breaker


def test_two_failures_are_no_outage_and_an_answer_forgets_them() -> None:
    twice = Breaker().failed(NOW, "x").failed(NOW, "x")
    assert twice.state is State.CLOSED
    assert twice.answered().failed(NOW, "x").failed(NOW, "x").state is State.CLOSED


def test_three_failures_in_a_row_stop_the_questions_and_say_since_when() -> None:
    assert _open().state is State.OPEN
    assert _open().says == "does not answer: connection refused (down since 14:02:11 UTC)"


def test_while_probes_fail_the_pause_grows_to_two_seconds_and_no_further() -> None:
    breaker, pauses = _open(), []
    for _ in range(20):
        pauses.append(breaker.pause(1.0))
        breaker = breaker.probe_failed("x")
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert max(pauses) == 2.0


def test_a_probe_that_is_answered_lets_questions_out_and_the_first_failure_stops_them_for_longer() -> None:
    breaker, pauses = _open(), []
    for _ in range(6):
        breaker = breaker.tried_again()
        assert breaker.state is State.TRIAL
        breaker = breaker.failed(NOW, "x")
        assert breaker.state is State.OPEN
        pauses.append(breaker.pause(1.0))
    assert pauses == [2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert breaker.tried_again().answered() == Breaker()


def test_after_a_relapse_probes_that_fail_come_often_again() -> None:
    relapsed = _open().tried_again().failed(NOW, "x").tried_again().failed(NOW, "x")
    assert relapsed.pause(1.0) == 4.0
    assert relapsed.probe_failed("x").pause(1.0) <= 2.0, "it is down, not overloaded"


@given(st.lists(st.sampled_from(["failed", "answered", "probe_failed", "tried_again"]), max_size=60), st.floats(0, 1))
def test_whatever_happens_pauses_are_bounded_and_an_answer_heals(history: list[str], fraction: float) -> None:
    breaker = Breaker()
    for what in history:
        match what:
            case "failed":
                breaker = breaker.failed(NOW, "x")
            case "answered":
                breaker = breaker.answered()
            case "probe_failed":
                breaker = breaker.probe_failed("x")
            case _:
                breaker = breaker.tried_again()
        assert 0.0 < breaker.pause(fraction) <= 15.0
        assert breaker.state is State.CLOSED or breaker.since == NOW
    assert breaker.answered().state is State.CLOSED
