"""What the demo shows of a status."""

from __future__ import annotations

from typing import Any

import pytest

from demo import words
from demo.measuring import Users

GATES = [
    {"name": "ctr", "verdict": "Breached", "value": 0.135, "baseline": 0.594, "samples": 61, "baselineSamples": 540},
    {"name": "p95", "verdict": "TooEarly", "value": 0.0123, "samples": 20, "baselineSamples": 180},
]


@pytest.fixture
def rollout() -> dict[str, Any]:
    """A candidate in its first step."""
    return {
        "spec": {"gates": [{"name": "ctr", "ratio": {}}, {"name": "p95", "latency": {}}]},
        "status": {
            "phase": "Progressing",
            "reason": "Holding",
            "message": "held for 2 s",
            "weight": 10,
            "observedWeight": 10,
            "step": {"number": 1, "of": 3, "heldSeconds": 2.2, "holdSeconds": 8.0},
            "gates": GATES,
            "history": [
                {
                    "revision": "0f3c9a1be2",
                    "version": "v4-worse",
                    "outcome": "RolledBack",
                    "reason": "GateBreached",
                    "message": "ctr: 13.5 % against 59.4 %",
                    "endedAt": "2026-01-01T00:00:00.000Z",
                    "weight": 10,
                }
            ],
        },
    }


def test_a_new_line_begins_when_phase_step_reason_or_a_breach_change(rollout: dict[str, Any]) -> None:
    key, sentence = words.happening(rollout["status"])
    assert key == "Progressing step 1/3 Holding ctr"
    assert sentence == "Progressing step 1/3 Holding: held for 2 s"
    assert words.happening({"phase": "Stable", "reason": "Promoted"})[0] == "Stable Promoted"


def test_the_moment_shows_weight_users_and_gates(rollout: dict[str, Any]) -> None:
    headline, users, ctr, p95 = words.moment(rollout, Users(asked=5312.0, failed=0.0))
    assert "step 1 of 3" in headline
    assert "weight 10 % asked, 10 % routed" in headline
    assert "held 2 of 8 s" in headline
    assert users == "users: 5,312 asked, 0 saw a failure"
    assert "13.5 %  (stable 59.4 %)  Breached" in ctr
    assert "12 ms  (stable –)  TooEarly" in p95


def test_the_moment_says_when_prometheus_does_not(rollout: dict[str, Any]) -> None:
    assert "Prometheus is away" in words.moment(rollout, None)[1]


def test_a_quantile_beyond_the_last_bucket_has_no_number() -> None:
    assert "> 2.5 s" in words.gate_line({"name": "p95", "value": float("inf")}, latency=True)


def test_a_held_weight_looks_different() -> None:
    assert words.style({"phase": "Progressing", "blind": {"since": "now"}}) != words.style({"phase": "Progressing"})


def test_when_a_gate_was_first_called_breached() -> None:
    status = {"gates": [{"name": "ctr", "verdict": "Breached", "since": "1970-01-01T00:01:40.250Z"}]}
    assert words.judged_at(status, "ctr") == 100.25
    assert words.judged_at(status, "p95") is None


def test_the_incident_says_what_why_and_by_which_numbers(rollout: dict[str, Any]) -> None:
    record = dict(words.incident(rollout, "ctr"))
    assert record["version"] == "v4-worse  (revision 0f3c9a1be2)"
    assert record["why"] == "ctr: 13.5 % against 59.4 %"
    assert "61 against 540 samples" in record["gate ctr"]
    assert "gate errors" not in dict(words.incident(rollout, "errors"))
