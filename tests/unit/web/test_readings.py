"""The memory behind the charts: bounded, evenly thinned, and of one candidate at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.web.readings import MOST_POINTS, MOST_ROLLOUTS, Readings
from tests.unit.cli.states import NOW, STATES

ROLLOUT = Rollout.parse(STATES["breached"][0])


def look(at: datetime, rollout: Rollout = ROLLOUT, **changes: Any) -> ModelRolloutStatus:
    return rollout.status.model_copy(update={"evaluated_at": at} | changes)


def noted(looks: int, seconds: float = 15.0) -> Readings:
    readings = Readings()
    for number in range(looks):
        at = NOW + timedelta(seconds=seconds * number)
        readings.note(ROLLOUT, look(at), at)
    return readings


def document(readings: Readings, rollout: Rollout = ROLLOUT) -> dict[str, Any]:
    series = readings.of(rollout)
    assert series is not None
    return series.document()


def test_a_look_has_weights_and_the_numbers_of_each_gate_in_its_own_unit() -> None:
    found = document(noted(1))
    assert (found["at"], found["asked"], found["observed"]) == ([NOW.timestamp()], [50.0], [50.0])
    ctr, p95 = found["gates"]["ctr"], found["gates"]["p95"]
    assert (ctr["value"], ctr["baseline"], ctr["limit"], ctr["evidence"]) == ([0.0241], [0.03], [0.0297], [1.0])
    assert (ctr["low"], ctr["high"]) == ([0.0216], [0.0266]), "the limit less 0.81 and 0.31 points beyond it"
    assert (p95["value"], p95["limit"]) == ([0.143], [0.2])
    assert (p95["low"], p95["high"]) == ([None], [None]), "its interval is one of shares, not of seconds"


@pytest.mark.parametrize("looks", [1, MOST_POINTS, MOST_POINTS + 1, 2000, 20_000])
def test_a_long_trial_has_few_points_from_its_beginning_to_its_end(looks: int) -> None:
    at = document(noted(looks))["at"]
    assert min(looks, MOST_POINTS // 2) <= len(at) <= MOST_POINTS
    ends = (NOW.timestamp() + 15.0 * (looks - 1)) - at[-1], at[0] - NOW.timestamp()
    assert ends[0] == 0.0
    assert ends[1] <= 15.0 * looks / 100, "the beginning is still there"
    gaps = [after - before for before, after in itertools.pairwise(at[:-1])]
    assert not gaps or max(gaps) <= 4.0 * min(gaps), "thinned evenly"


def test_what_says_nothing_new_makes_no_point() -> None:
    readings = Readings()
    for second in range(10):
        readings.note(ROLLOUT, look(NOW), NOW + timedelta(seconds=second))
    readings.note(ROLLOUT, look(NOW, observed_weight=40), NOW + timedelta(seconds=20))
    assert document(readings)["observed"] == [50.0, 40.0]


def test_a_gate_that_came_later_begins_later() -> None:
    readings = Readings()
    fewer = replace(ROLLOUT, spec=ROLLOUT.spec.model_copy(update={"gates": ROLLOUT.spec.gates[:1]}))
    readings.note(fewer, look(NOW), NOW)
    later = NOW + timedelta(seconds=15)
    readings.note(ROLLOUT, look(later), later)
    assert document(readings)["gates"]["errors"]["value"] == [None, 0.0021]


def test_another_candidate_begins_anew_and_an_ended_one_stays_to_be_looked_at() -> None:
    readings = noted(5)
    readings.note(ROLLOUT, look(NOW + timedelta(minutes=9), candidate=None), NOW + timedelta(minutes=9))
    assert len(document(readings)["at"]) == 5
    assert ROLLOUT.status.candidate is not None
    other = ROLLOUT.status.candidate.model_copy(update={"revision": "abcdef"})
    readings.note(ROLLOUT, look(NOW, candidate=other), NOW + timedelta(minutes=10))
    assert len(document(readings)["at"]) == 1
    assert readings.of(replace(ROLLOUT, uid="another object of that name")) is None


def test_only_so_many_rollouts_are_remembered() -> None:
    readings = Readings()
    names = [f"r{number}" for number in range(MOST_ROLLOUTS + 3)]
    for name in names:
        readings.note(replace(ROLLOUT, name=name), look(NOW), NOW)
    kept = [name for name in names if readings.of(replace(ROLLOUT, name=name))]
    assert kept == names[3:]
