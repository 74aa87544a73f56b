"""The three lines that both screens begin with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import AdoptedRef, RevisionRef
from modelrollout.screen.headline import headline
from tests.unit.cli.states import STATES, seen


@pytest.mark.parametrize("state", sorted(STATES))
def test_detail_41_every_state_has_three_lines(state: str) -> None:
    assert all(line.strip() for line in headline(seen(state)))


def test_detail_41_both_versions_are_said_to_serve_so_well() -> None:
    assert headline(seen("breached")).now == (
        "version 41 serves 50 % of users (ctr 3.00 %, p95 139 ms, errors 0.20 %), "
        "version 42 serves 50 % (ctr 2.41 %, p95 143 ms, errors 0.21 %)"
    )
    assert headline(seen("blind")).now == "version 41 serves 50 % of users, version 42 serves 50 %", (
        "nothing is known while blind"
    )


def test_detail_41_a_breach_is_shown_with_value_baseline_limit_and_samples() -> None:
    _, happened, _ = headline(seen("breached"))
    for fact in ("ctr: 2.41 %", "3.00 % of the baseline", "2.97 %", "62310 samples against 62287"):
        assert fact in happened


def test_evidence_that_the_operator_gave_is_not_said_twice() -> None:
    _, happened, _ = headline(seen("rolled-back"))
    assert happened.count("2.41 %") == 1


def test_without_an_operator_the_screen_says_so_and_where_to_look() -> None:
    serving, happened, following = headline(seen("empty"))
    assert "no operator has looked" in serving
    assert "is not running" in happened
    assert "kubectl get pods" in following


def test_observed_and_asked_weight_are_told_apart() -> None:
    assert "version 42 serves 5 % (asked: 50 %; p95" in headline(seen("lowered")).now
    assert "the gateway has not confirmed" in headline(seen("unconfirmed"))[0]
    assert "asked" not in headline(seen("progressing"))[0]


def test_a_breach_that_both_revisions_share_is_not_told_as_the_candidates() -> None:
    assert "p95" not in headline(seen("noted"))[1]


def test_detail_41_in_a_route_that_serves_already_no_version_of_ours_is_said_to_serve() -> None:
    assert headline(seen("stalled")).now.startswith("what the route leads to already serves all users")


def test_detail_3_what_was_adopted_is_called_by_what_people_know() -> None:
    shown = seen("progressing")
    external = RevisionRef(revision=EXTERNAL, version="1.8")
    adopted = AdoptedRef(service="ranker", workload="Deployment ranker", replicas=3)
    status = shown.rollout.status.model_copy(update={"stable": external, "adopted": adopted})
    for update, words in (
        ({}, "external (Deployment ranker) serves 50 % of users"),
        ({"candidate": None}, "external (Deployment ranker) serves all users"),
        ({"weight": 0, "observed_weight": None}, "external (Deployment ranker) serves all users, 42 none"),
    ):
        rollout = replace(shown.rollout, status=status.model_copy(update=update))
        assert headline(replace(shown, rollout=rollout)).now.startswith(words)
