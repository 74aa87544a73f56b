"""What `check` makes of the answers that Prometheus gives about the version that serves now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from modelrollout.api.gate import Gate
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.check import measured
from modelrollout.check.baseline import Baseline
from modelrollout.check.found import Result, State
from modelrollout.engine.model import GateMeasurement, Problem, ProblemKind, Scraping
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.metrics.base import Arm
from tests.support.operator import ROOT

_NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_PODS = {"ranker-a-1": _NOW, "ranker-a-2": _NOW}
_SERVING = Baseline(Arm("a", "recs", "ranker-a", 80, _PODS), runs=True)
_NOBODY = Baseline(Arm("a", "recs", "ranker-a", 80, {}), runs=False)


def _spec() -> ModelRolloutSpec:
    body = yaml.safe_load((ROOT / "manifests" / "samples" / "ranker.yaml").read_text(encoding="utf-8"))
    return ModelRolloutSpec.model_validate(body["spec"])


def _gate_of(name: str, **changes: Any) -> Gate:
    return next(gate for gate in _spec().gates if gate.name == name).model_copy(update=changes)


def _intervals(*arms: Counts | Histogram, minutes: float = 0.25) -> tuple[Interval, ...]:
    step = timedelta(minutes=minutes)
    return tuple(Interval(_NOW + n * step, _NOW + (n + 1) * step, None, arm) for n, arm in enumerate(arms))


def _said(gate: Gate, seen: GateMeasurement, baseline: Baseline = _SERVING) -> Result:
    return measured._gate(gate, seen, baseline)


def test_detail_37_the_value_that_the_stable_revision_has_is_held_against_the_limit() -> None:
    ctr = _said(_gate_of("ctr"), GateMeasurement(_intervals(Counts(970, 1000), Counts(970, 1000))))
    assert ctr.state is State.OK
    assert ctr.what == "3.00 % now (2,000 events); the candidate must stay ≥ 2.97 %"
    slow = Histogram((0.1, 0.25, float("inf")), (10, 60, 100))
    p95 = _said(_gate_of("p95"), GateMeasurement(_intervals(slow), note="judged at 250 ms (next bucket)"))
    assert p95.state is State.WARN
    assert "the stable revision itself is beyond the limit" in p95.what
    assert "judged at 250 ms (next bucket)" in p95.what
    silent = _said(_gate_of("errors"), GateMeasurement(_intervals(Counts(0, 0))))
    assert (silent.state, "no events" in silent.what) == (State.WARN, True)


@pytest.mark.parametrize(
    ("kind", "baseline", "required", "state"),
    [
        (ProblemKind.METRIC_UNKNOWN, _SERVING, True, State.FAIL),
        (ProblemKind.METRIC_UNKNOWN, _SERVING, False, State.WARN),
        (ProblemKind.METRIC_UNKNOWN, _NOBODY, True, State.FAIL),
        (ProblemKind.MISCONFIGURED, _SERVING, True, State.FAIL),
        (ProblemKind.METRIC_MISSING, _SERVING, True, State.WARN),
        (ProblemKind.METRIC_MISSING, _NOBODY, True, State.SKIPPED),
    ],
)
def test_detail_37_what_cannot_be_measured_is_told_apart(
    kind: ProblemKind, baseline: Baseline, required: bool, state: State
) -> None:
    gate = _gate_of("errors", required=required)
    assert _said(gate, GateMeasurement(problem=Problem(kind, "it is not so")), baseline).state is state


@pytest.mark.parametrize(
    ("scraping", "shown", "states"),
    [
        (Scraping(2, 2), True, [State.OK]),
        (Scraping(1, 1), True, [State.WARN]),
        (Scraping(0, 0), True, [State.SKIPPED]),
        (Scraping(0, 0), False, [State.WARN]),
        (None, True, []),
    ],
)
def test_detail_37_whether_the_pods_that_run_are_scraped(
    scraping: Scraping | None, shown: bool, states: list[State]
) -> None:
    intervals = _intervals(Counts(1, 100)) if shown else ()
    seen = {"errors": GateMeasurement(intervals, scraping=scraping)}
    assert [one.state for one in measured._scraped(seen, _SERVING)] == states
    assert list(measured._scraped(seen, _NOBODY)) == []


def test_detail_37_what_a_gate_could_see_is_told_from_the_last_day() -> None:
    spec, gate = _spec(), _gate_of("errors")
    busy = _intervals(*[Counts(60, 6000)] * 120, minutes=1)
    assert measured._power(gate, spec, busy).state is State.OK
    assert "100 requests/s" in measured._power(gate, spec, busy).what
    quiet = _intervals(*[Counts(1, 60)] * 120, minutes=1)
    assert measured._power(gate, spec, quiet).state is State.WARN
    assert (
        measured._power(gate, spec, ()).what
        == "no whole minute with requests in the last day, so nothing is known of its traffic"
    )
