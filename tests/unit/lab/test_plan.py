"""What a policy can see at some traffic: numbers, wishes, and what does not fit together."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelrollout.gates.rate import budget
from modelrollout.lab import plan as lab
from modelrollout.lab.plan import GatePlan, Plan, Traffic
from modelrollout.lab.policy import Policy, find_policy

_ERRORS: dict[str, Any] = {
    "name": "errors",
    "ratio": {"bad": "errors", "total": "requests"},
    "atMost": "baseline + 0.2pp",
}
_CTR: dict[str, Any] = {
    "name": "ctr",
    "ratio": {"good": "clicks", "total": "impressions"},
    "labelsWithin": "15m",
    "atLeast": "99% of baseline",
}
_P95: dict[str, Any] = {"name": "p95", "latency": {"histogram": "seconds", "quantile": "0.95"}, "atMost": "200ms"}


def _policy(*gates: dict[str, Any], steps: tuple[tuple[int, str], ...] = ((10, "2h"),), **more: Any) -> Policy:
    return find_policy([{"steps": [{"weight": w, "hold": h} for w, h in steps], "gates": list(gates)} | more])


def _plan(policy: Policy, rate: float = 50.0, **wishes: str) -> Plan:
    stated = {"errors": 0.01, "ctr": 0.03, "p95": 0.04}
    known = {counted.name for counted in policy.gates}
    traffic = lab.traffic(policy, {"": rate}, {name: share for name, share in stated.items() if name in known})
    return lab.plan(policy, traffic, wishes)


def _only(policy: Policy, rate: float = 50.0, **wishes: str) -> GatePlan:
    (gate,) = _plan(policy, rate, **wishes).gates
    return gate


def test_the_requests_of_a_step_are_its_traffic_over_its_hold_without_late_labels() -> None:
    errors, ctr = _plan(_policy(_ERRORS, _CTR)).gates
    assert errors.steps[0].requests == 5 * 7200
    assert ctr.steps[0].requests == 5 * (7200 - 900)


def test_the_example_of_a_click_through_rate_that_nobody_can_see() -> None:
    gate = _only(_policy(_CTR | {"labelsWithin": "0s"}))
    (warning,) = gate.warnings
    assert warning.startswith(
        "this gate cannot see a drop of 1 % in 2h at 5 candidate requests/s; it can see a drop of 1"
    )
    assert gate.whole.smallest is not None
    drop = (gate.whole.smallest - 0.97) / 0.03
    assert drop == pytest.approx(0.143, abs=0.012), "the figure of the design, with the process's part of the errors"


def test_more_gates_share_the_errors_and_each_sees_less() -> None:
    alone, shared = _only(_policy(_ERRORS)), _plan(_policy(_ERRORS, _P95)).gates[0]
    assert alone.whole.smallest is not None and shared.whole.smallest is not None
    assert alone.whole.smallest < shared.whole.smallest
    assert budget(0.01, 2, 1).alpha == budget(0.01, 1, 1).alpha / 2


def test_a_wish_gets_its_requests_and_the_hold_that_each_weight_needs() -> None:
    gate = _only(_policy(_ERRORS, steps=((10, "1h"), (50, "1h"))), errors="2%")
    assert gate.whole.needed == pytest.approx(5000, rel=0.15)
    ten, fifty = gate.steps
    assert gate.whole.needed is not None and ten.needed is not None and fifty.needed is not None
    assert ten.needed == pytest.approx(gate.whole.needed / 5.0)
    assert fifty.needed < ten.needed / 2


def test_an_outage_needs_the_fewest_intervals_however_many_requests_there_are() -> None:
    assert _only(_policy(_ERRORS), rate=10_000, errors="50%").steps[0].needed == 30.0


def test_must_see_of_the_manifest_is_the_wish() -> None:
    gate = _only(_policy(_CTR | {"mustSee": "90% of baseline"}))
    assert gate.wanted == pytest.approx(1 - 0.027)
    assert any("cannot see a drop of 10 %" in warning for warning in gate.warnings)
    assert not _only(_policy(_CTR | {"mustSee": "90% of baseline"}), rate=1000.0).warnings


def test_noise_makes_a_gate_see_less() -> None:
    policy = _policy(_ERRORS)
    quiet = lab.plan(policy, {"errors": Traffic(50, 0.01)}).gates[0].whole.smallest
    noisy = lab.plan(policy, {"errors": Traffic(50, 0.01, floor=4.5)}).gates[0].whole.smallest
    assert quiet is not None and noisy is not None and noisy > quiet


def test_at_the_last_step_without_a_baseline_a_relative_gate_sees_nothing() -> None:
    found = _plan(_policy(_ERRORS, steps=((50, "1h"), (100, "1h"))))
    assert [step.smallest is None for step in found.gates[0].steps] == [False, True]
    assert any("nothing watches step weight-100" in warning for warning in found.warnings)
    held_back = _policy(_ERRORS, steps=((50, "1h"), (100, "1h")), baselineHoldback=5)
    assert not _plan(held_back).warnings
    assert not _plan(_policy(_ERRORS, _P95, steps=((50, "1h"), (100, "1h")))).warnings


def test_what_does_not_fit_together_is_warned_of() -> None:
    short = _plan(_policy(_ERRORS, _CTR, steps=((10, "4m"),)))
    assert any("shorter than the warm-up" in warning for warning in short.warnings)
    assert any(
        "judges nothing: its hold of 4m is over before the labels are in (15m)" in w for w in short.gates[1].warnings
    )
    few = _only(_policy(_ERRORS), rate=0.1)
    assert any("72 of 100 samples" in warning for warning in few.warnings)
    proof = _only(_policy(_ERRORS | {"advanceOn": "proven"}), rate=5)
    assert any("waits for proof longer than it says" in warning for warning in proof.warnings)
    on_limit = _only(_policy(_ERRORS | {"atMost": "0.5%"}))
    assert any("the baseline itself is on or beyond" in warning for warning in on_limit.warnings)
    assert _plan(_policy(_ERRORS | {"onBreach": "warn"})).warnings == (
        "no gate rolls back: whatever a candidate does, it is promoted",
    )


@pytest.mark.parametrize(
    ("rates", "baselines", "message"),
    [
        ({}, {"errors": 0.01}, "gate errors: how many requests a second.*--rate 50"),
        ({"": 5.0}, {}, "gate errors: the baseline's share is not said.*--baseline errors=3%"),
        ({"": 5.0, "ctr": 3.0}, {"errors": 0.01}, '"ctr" is no gate of the policy: there are errors'),
        ({"": 5.0}, {"errors": 1.7}, "a baseline of 1.7 is no share"),
    ],
)
def test_what_is_not_said_is_asked_for(rates: dict[str, float], baselines: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lab.traffic(_policy(_ERRORS), rates, baselines)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"errors": "1.1%"}, "is within the limit"),
        ({"errors": "many"}, '--want errors: "many" is not a limit'),
        ({"ctr": "2%"}, '--want: "ctr" is no gate'),
    ],
)
def test_a_wish_that_is_no_harm_is_refused(wishes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _plan(_policy(_ERRORS), 50.0, **wishes)


def test_people_read_a_table_and_machines_the_same_numbers() -> None:
    found = _plan(_policy(_ERRORS, _CTR, steps=((10, "2h"), (100, "1h"))), errors="2%")
    text = lab.text(found)
    assert "errors: at most baseline + 0.2pp; baseline 1 % of 50 requests/s" in text
    assert "in all" in text and "to see 2 %:" in text and "warning:" in text
    summary = found.summary()
    assert summary["gates"][0]["wanted"] == 0.02 and summary["gates"][1]["baseline"] == 0.03
    assert summary["gates"][0]["requestsNeeded"] == math.ceil(found.gates[0].whole.needed or 0)
    assert summary["gates"][0]["steps"][1]["sees"] is None
