"""The sequential test: reference values, a slow second implementation, and what it must withstand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelrollout.gates import sequential
from modelrollout.gates.eprocess import Array, Line
from modelrollout.gates.sequential import Design, Restarts, Slot, State
from tests.unit.gates.scalar import Scalar

_ERRORS = Line(1.0, 0.002)
_SLOW = Line(0.0, 0.05)
_CLICKS = Line(0.99, 0.01)

_VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("evidence_vectors.json").read_text())


def _of(*values: float) -> Slot:
    counts = [np.array([float(value)]) for value in values]
    return Slot(*counts) if len(counts) == 5 else Slot.of(*counts)


# Reference values of an independent prototype: streams of 40 intervals with the evidence after each.


@pytest.mark.parametrize("stream", _VECTORS, ids=lambda stream: str(stream["name"]))
def test_evidence_is_that_of_the_reference(stream: dict[str, Any]) -> None:
    kind, past = stream["kind"], stream["p_hist"]
    good = kind == "rel"
    line = {"abs": _ERRORS, "rel": _CLICKS, "one": _SLOW}[kind]
    requests = {"abs": 2200.0, "rel": 220.0, "one": 0.0}[kind]
    design = Design(line, 0.01, good=good, restarts=Restarts(first=0.5, steps=0.0, later=0.2))
    bad = requests * (1.0 - past if good else past)
    bets = np.array(stream["psi"])
    state = sequential.start(1, floor=15.0 * stream["kappa2"], requests=requests, bad=bad, shifts=bets)
    close = 2e-5 if good else 1e-6  # of the former, the size of the history is known roughly only
    for nc, xc, nb, xb, against, within in stream["rows"]:
        counts = (nc, nc - xc, nb, nb - xb) if good else (nc, xc, nb, xb)
        state = sequential.fold(state, design, _of(*counts))
        assert float(sequential.log_breach(state, design)[0]) == pytest.approx(against, abs=close)
        assert float(sequential.log_proof(state)[0]) == pytest.approx(within, abs=close)
    assert bool(state.beyond[0]) == stream["fail"]


# A slow second implementation


@st.composite
def _streams(draw: st.DrawFn) -> list[tuple[int, int, int, int, int]]:
    """Intervals of (nc, xc, yc, nb, xb): empty ones, tiny ones, and labels that come an interval late."""
    scale = draw(st.sampled_from([2, 20, 400]))
    slots = []
    for _ in range(draw(st.integers(1, 60))):
        nc, nb = draw(st.integers(0, scale)), draw(st.integers(0, 3 * scale))
        xc, xb = draw(st.integers(0, nc)), draw(st.integers(0, nb))
        late = draw(st.integers(-2, 2)) if draw(st.booleans()) else 0
        slots.append((nc, xc + late, xc + late + draw(st.integers(0, max(nc - xc, 0))), nb, xb))
    return slots


_RECOVERS = [(11, 11, 11, 5, 0), (7, 7, 7, 5, 1), (4, 3, 3, 0, 0), (0, 0, 0, 5, 2), *[(0, 0, 0, 0, 0)] * 6]


@example([*_RECOVERS, (60, 0, 0, 0, 0), *[(0, 0, 0, 0, 0)] * 12], _SLOW, True, False, 0.0, 0)
@settings(max_examples=120, deadline=None)
@given(
    _streams(),
    st.sampled_from([_ERRORS, _CLICKS, Line(1.1, 0.0), _SLOW]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.02, 0.5]),
    st.sampled_from([0, 2]),
)
def test_arrays_decide_what_single_numbers_do(
    slots: list[tuple[int, int, int, int, int]], line: Line, guard: bool, good: bool, floor: float, later: int
) -> None:
    guard = guard and not line.relative
    design = Design(line, 0.006, guard=guard, good=good, later_steps=later)
    bets = np.geomspace(0.1, 6.0, 10)
    state = sequential.start(1, floor=15.0 * floor, requests=400.0, bad=30.0, shifts=bets)
    slow = Scalar(
        line.factor, line.offset, 0.006, list(bets), floor, 400.0, 30.0, guard=guard, good=good, later_steps=later
    )
    for i, slot in enumerate(slots):
        if i == len(slots) // 2:
            slow.close()
            slow.fresh = True
            state = sequential.seal(state, design)
        slow.fold(*slot)
        state = sequential.fold(state, design, _of(*slot))
        assert float(sequential.log_breach(state, design)[0]) == pytest.approx(slow.log_breach, rel=1e-9, abs=1e-9)
        assert float(sequential.log_proof(state)[0]) == pytest.approx(slow.log_proof, rel=1e-9, abs=1e-9)


def test_many_runs_in_one_table_are_what_each_is_alone() -> None:
    random = np.random.default_rng(3)
    design = Design(_ERRORS, 0.006, look_alpha=0.003)
    floors = np.array([0.0, 3.0, 40.0, 0.5])
    together = sequential.start(4, floor=floors, requests=5000.0, bad=50.0)
    alone = [sequential.start(1, floor=float(f), requests=5000.0, bad=50.0) for f in floors]
    for _ in range(60):
        nc, nb = random.poisson((2, 75, 0, 8)), random.poisson((20, 675, 3, 72))
        counts = [v.astype(float) for v in (nc, random.binomial(nc, 0.03), nb, random.binomial(nb, 0.01))]
        judged = random.random(4) < 0.8
        together = sequential.fold(together, design, Slot.of(*counts), judged)
        for run in range(4):
            slot = Slot.of(*(values[run : run + 1] for values in counts))
            alone[run] = sequential.fold(alone[run], design, slot, judged[run : run + 1])
    assert together.table == pytest.approx(np.concatenate([one.table for one in alone]), rel=1e-12)


def test_runs_without_history_in_one_table_are_what_each_is_alone() -> None:
    random = np.random.default_rng(4)
    design = Design(_ERRORS, 0.006)
    together, alone = sequential.start(2), [sequential.start(1), sequential.start(1)]
    for _ in range(80):
        nc, nb = random.poisson((75, 3)), random.poisson((675, 60))
        counts = [v.astype(float) for v in (nc, random.binomial(nc, 0.03), nb, random.binomial(nb, 0.01))]
        together = sequential.fold(together, design, Slot.of(*counts))
        for run in range(2):
            slot = Slot.of(*(values[run : run + 1] for values in counts))
            alone[run] = sequential.fold(alone[run], design, slot)
    assert together.table == pytest.approx(np.concatenate([one.table for one in alone]), rel=1e-5)
    assert together.lessons == pytest.approx(np.concatenate([one.lessons for one in alone]), rel=1e-4)


# Strata


def _pending(state: State) -> list[float]:
    return [float(value) for value in state.pending[0]]


def test_intervals_are_merged_until_both_arms_have_requests() -> None:
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    state = sequential.fold(state, design, _of(0, 0, 9, 1))
    assert _pending(state) == [0, 0, 0, 9, 1, 1] and float(state.judged[0]) == 0.0
    state = sequential.fold(state, design, _of(1, 0, 3, 0))
    assert _pending(state) == [0] * 6 and float(state.judged[0]) == 2.0
    state = sequential.fold(state, design, _of(1, 1, 4, 0))
    assert _pending(state) == [1, 1, 1, 4, 0, 1], "the baseline has fewer than five"


def test_an_absolute_limit_without_a_guard_needs_no_baseline() -> None:
    design = Design(_SLOW, 0.006)
    state = sequential.fold(sequential.start(1, floor=0.0), design, _of(20, 20, 0, 0))
    assert float(state.judged[0]) == 1.0 and float(sequential.log_breach(state, design)[0]) > 1.0


def test_labels_that_come_late_are_carried_until_the_counts_are_shares() -> None:
    """More clicks than impressions in one interval; fewer than none after a correction."""
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    late = sequential.fold(state, design, _of(10, 12, 90, 1))
    assert float(late.judged[0]) == 0.0
    late = sequential.fold(late, design, _of(10, 3, 90, 1))
    assert _pending(late) == [0] * 6 and float(late.judged[0]) == 2.0
    corrected = sequential.fold(state, design, _of(10, -1, 90, 1))
    assert float(corrected.judged[0]) == 0.0


def test_a_stratum_that_never_becomes_countable_is_dropped_and_remembered() -> None:
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    for _ in range(40):
        state = sequential.fold(state, design, _of(0, 0, 10, 0))
    assert _pending(state) == [0] * 6 and float(state.judged[0]) == 0.0
    assert float(state.memory[0, 0]) == pytest.approx(1000.0 * math.exp(-40 / 480) + 400.0)


def test_an_interval_that_is_not_judged_teaches_of_the_baseline_only() -> None:
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    found = sequential.fold(state, design, _of(75, 75, 675, 7), np.array([False]))
    assert float(sequential.log_breach(found, design)[0]) == 0.0
    assert float(found.memory[0, 0]) == pytest.approx(1000.0 * sequential.MEMORY + 675.0)
    assert float(found.memory[0, 2]) == 0.0 and float(found.step.sum()) == 0.0


def test_missing_intervals_change_nothing() -> None:
    """A slot that was not measured is not folded; one that was empty waits for the next."""
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    empty = sequential.fold(state, design, _of(0, 0, 0, 0))
    assert float(sequential.log_breach(empty, design)[0]) == 0.0 and float(empty.judged[0]) == 0.0


def test_a_weight_change_closes_the_stratum_and_begins_the_steps_sums() -> None:
    design = Design(_ERRORS, 0.006)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    state = sequential.fold(state, design, _of(4, 1, 3, 0))
    sealed = sequential.seal(state, design)
    assert _pending(sealed) == [0] * 6 and float(sealed.judged[0]) == 1.0
    assert (sealed.step == 0.0).all() and (sealed.sums != 0.0).any()
    assert (sequential.seal(sealed, design).table == sealed.table).all(), "nothing to close"


# Masses of the restarts


@pytest.mark.parametrize("later_steps", [0, 1, 4])
def test_no_more_mass_is_staked_than_there_is(later_steps: int) -> None:
    design = Design(_ERRORS, 0.006, later_steps=later_steps)
    state = sequential.start(1, floor=0.0, requests=1000.0, bad=10.0)
    spent = [0.0]
    for i in range(3000):
        if i % 500 == 499:
            state = sequential.seal(state, design)
        state = sequential.fold(state, design, _of(5, 0, 45, 0))
        spent.append(float(state.spent[0]))
    assert spent == sorted(spent) and spent[1] == pytest.approx(0.5 if later_steps else 0.8)
    assert 0.9 < spent[-1] <= 1.0


def test_after_any_gap_the_mass_of_later_starts_depends_on_the_time_judged_only() -> None:
    design = Design(_ERRORS, 0.006)
    busy, rare = (sequential.start(1, floor=0.0, requests=1000.0, bad=10.0) for _ in range(2))
    for i in range(60):
        busy = sequential.fold(busy, design, _of(5, 0, 45, 0))
        rare = sequential.fold(rare, design, _of(5 if i % 6 == 5 else 0, 0, 45, 0))
    assert float(busy.spent[0]) == pytest.approx(float(rare.spent[0]))


# What must not breach, and what must; seeded


def _arms(
    seed: int, runs: int, looks: int, requests: float, share: float, rate: Array | float, times: Array | float = 1.0
) -> tuple[Array, Array, Array, Array]:
    """Counts (runs, looks) of candidate and baseline; ``times``: the candidate's rate over the baseline's."""
    random = np.random.default_rng(seed)
    nc, nb = (random.poisson(requests * part, (runs, looks)) for part in (share, 1.0 - share))
    xc, xb = (random.binomial(n, np.broadcast_to(rate * more, n.shape)) for n, more in ((nc, times), (nb, 1.0)))
    return tuple(values.astype(float) for values in (nc, xc, nb, xb))  # type: ignore[return-value]


def _run(
    design: Design, arms: tuple[Array, ...], *, floor: float | None = 0.0, rate: float = 0.01
) -> tuple[State, Array]:
    """The last state, and the look (from 1) at which each run was found broken; infinity where never."""
    runs, looks = arms[0].shape
    state = sequential.start(runs, floor=floor, requests=1e5, bad=1e5 * rate)
    at = np.full(runs, np.inf)
    for look in range(looks):
        state = sequential.fold(state, design, Slot.of(*(values[:, look] for values in arms)))
        at = np.where((state.beyond > 0.0) & np.isinf(at), look + 1.0, at)
    return state, at


@pytest.mark.parametrize("requests", [15.0, 750.0, 15_000.0])
def test_a_candidate_on_the_limit_is_hardly_ever_found_beyond_it(requests: float) -> None:
    """alpha is 5 % here, so that few runs suffice to see a test that is wrong."""
    _, at = _run(Design(_ERRORS, 0.05), _arms(1, 400, 240, requests, 0.1, 0.01, 1.2))
    assert np.isfinite(at).mean() <= 0.05


@pytest.mark.parametrize("line", [_ERRORS, _SLOW])
def test_a_candidate_just_beyond_the_limit_is_hardly_ever_proven_within(line: Line) -> None:
    rate, times = (0.01, 1.2) if line.relative else (0.05, 1.0)
    state, _ = _run(Design(line, 0.05), _arms(2, 400, 240, 750.0, 0.1, rate, times), rate=rate)
    assert (sequential.log_proof(state) >= math.log(20.0)).mean() <= 0.05


def test_a_candidate_like_a_good_baseline_is_proven() -> None:
    state, at = _run(Design(_SLOW, 0.006), _arms(3, 100, 240, 750.0, 0.1, 0.02), rate=0.02)
    assert (sequential.log_proof(state) >= math.log(20.0)).mean() > 0.99 and np.isinf(at).all()


def test_changing_shares_with_a_changing_base_rate_mislead_nobody() -> None:
    """Simpson's paradox: errors double while the candidate's share rises tenfold; both arms are alike throughout."""
    early, late = (
        _arms(4 + i, 300, 120, 15_000.0, share, rate) for i, (share, rate) in enumerate(((0.05, 0.01), (0.5, 0.02)))
    )
    arms = tuple(np.concatenate(pair, axis=1) for pair in zip(early, late, strict=True))
    _, at = _run(Design(_ERRORS, 0.006), arms)
    assert np.isfinite(at).mean() <= 0.01
    nc, xc, nb, xb = (values.sum(axis=1) for values in arms)
    assert (xc / nc - xb / nb > 0.002).all(), "pooled counts would be misled"


def test_harm_that_begins_after_an_hour_is_found_nearly_as_soon_as_harm_from_the_start() -> None:
    late = np.where(np.arange(480) < 240, 1.0, 5.0)
    _, at = _run(Design(_ERRORS, 0.006), _arms(6, 200, 480, 750.0, 0.1, 0.01, late))
    assert np.isfinite(at).all() and float(np.median(at)) - 240.0 <= 10.0


def test_one_burst_breaches_nothing_and_is_taken_back() -> None:
    """Half of one interval's requests fail, four times in two hours."""
    times = np.ones(480)
    times[[60, 180, 300, 420]] = 50.0
    design = Design(_ERRORS, 0.006)
    state, at = _run(design, _arms(7, 200, 480, 750.0, 0.1, 0.01, times))
    assert np.isfinite(at).mean() <= 0.02
    assert float(np.median(sequential.log_breach(state, design))) < 2.0


@pytest.mark.parametrize("intervals", [2, 3, 5])
def test_an_outage_breaches_after_the_fewest_intervals(intervals: int) -> None:
    _, at = _run(Design(_ERRORS, 0.006, intervals=intervals), _arms(8, 100, 10, 750.0, 0.1, 0.01, 50.0))
    assert (at >= intervals).all() and float(np.median(at)) == intervals


def test_a_guard_holds_while_both_arms_are_slow() -> None:
    design = Design(_SLOW, 0.006, guard=True)
    both, at = _run(design, _arms(9, 100, 60, 750.0, 0.1, 0.2), rate=0.2)
    assert np.isinf(at).mean() >= 0.99
    assert (sequential.log_against_line(both) > math.log(1.0 / 0.006)).all()
    _, alone = _run(design, _arms(10, 100, 60, 750.0, 0.1, 0.02, 10.0), rate=0.02)
    assert np.isfinite(alone).all()


# Planned looks


def test_a_planned_look_sees_what_the_process_does_not_and_is_not_taken_by_itself() -> None:
    design = Design(_ERRORS, 0.006, look_alpha=0.003, horizon=480.0)
    state, at = _run(design, _arms(11, 300, 480, 375.0, 0.1, 0.01, 1.6))
    looked = sequential.look(state, design)
    assert (looked.beyond > 0.0).mean() > np.isfinite(at).mean() + 0.04
    assert (sequential.look(state, Design(_ERRORS, 0.006)).beyond == state.beyond).all()
    nobody = sequential.look(state, design, np.zeros(300, dtype=np.bool_))
    assert (nobody.beyond == state.beyond).all()


def test_looks_at_good_candidates_are_hardly_ever_wrong() -> None:
    design = Design(_ERRORS, 1e-9, look_alpha=0.05)
    state, _ = _run(design, _arms(12, 600, 240, 750.0, 0.1, 0.01, 1.2))
    assert (sequential.look(state, design).beyond > 0.0).mean() <= 0.075


def test_without_history_no_look_is_taken() -> None:
    design = Design(_ERRORS, 1e-9, look_alpha=0.05)
    arms = _arms(14, 50, 40, 750.0, 0.1, 0.01, 2.5)
    known, unknown = (_run(design, arms, floor=floor)[0] for floor in (0.0, None))
    assert (sequential.look(known, design).beyond > 0.0).mean() > 0.9
    assert (sequential.look(unknown, design).beyond == 0.0).all()


def test_a_look_needs_events() -> None:
    design = Design(_ERRORS, 1e-9, look_alpha=0.05)
    state, _ = _run(design, _arms(13, 200, 10, 75.0, 0.1, 0.001, 8.0), rate=0.001)
    assert (sequential.look(state, design).beyond == 0.0).all()


def test_a_look_needs_events_of_the_candidate_however_many_the_baseline_has() -> None:
    design = Design(_ERRORS, 1e-9, look_alpha=0.05)
    enough, _ = _run(design, _arms(15, 200, 300, 1500.0, 0.01, 0.01, 1.5), rate=0.01)
    assert (sequential.look(enough, design).beyond > 0.0).any(), "54 errors of a candidate on the limit"
    few, _ = _run(design, _arms(15, 200, 60, 1500.0, 0.01, 0.01, 2.0), rate=0.01)
    assert (few.step[:, 3] > 200.0).all()
    assert (few.beyond == 0.0).all()
    assert (sequential.look(few, design).beyond == 0.0).all(), "11 of them, beside 900 of the baseline"
