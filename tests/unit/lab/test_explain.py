"""Why a rollout stopped: from status alone, and with the evidence over time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelrollout.api.objects import Rollout
from modelrollout.lab import explain, runner
from modelrollout.lab.columns import Recording
from modelrollout.lab.explain import Story
from modelrollout.lab.history import Release
from modelrollout.lab.policy import find_policy
from tests.unit.cli.states import STATES, rollout

_GATES = [
    {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "baseline + 0.2pp"},
    {"name": "auc", "report": {"configMap": "evaluation-{version}", "metric": "auc"}, "atLeast": "0.9"},
]


def _parsed(state: str) -> Rollout:
    return Rollout.parse(STATES[state][0])


def _story(state: str) -> Story:
    parsed = _parsed(state)
    which = explain.asked(parsed)
    assert which is not None
    return explain.tell(parsed, which)


def _replayed(share: float) -> tuple[Story, list[str]]:
    """A rollout with gates over counts, and a release with this share of errors."""
    body = rollout(STATES["rolled-back"][0]["status"])
    body["spec"] = body["spec"] | {"gates": _GATES, "steps": [{"weight": 10, "hold": "1h"}]}
    rng = np.random.default_rng(6)
    length, begins = 720, 480
    arms = {}
    for arm, wrong, first in (("baseline", 0.01, 0), ("candidate", share, begins)):
        requests = np.where(np.arange(length) >= first, 300.0, np.nan)[np.newaxis]
        errors = np.where(np.isnan(requests), np.nan, rng.binomial(300, wrong, (1, length)))
        arms[arm] = {"0": {"requests": requests, "errors": errors}}
    release = Release(
        "77aa01c4", "0f3c9a1b", 1.7952e9, Recording(15.0 * np.arange(length, dtype=np.float64), 15.0, arms)
    )
    parsed, policy = Rollout.parse(body), find_policy([body])
    which = explain.asked(parsed)
    assert which is not None
    story = explain.tell(parsed, which, release, runner.run(policy, release.recording))
    return story, explain.charts(story, policy)


def test_a_release_that_ended_is_explained_by_its_end() -> None:
    text = explain.text(_story("rolled-back"))
    assert "recs/ranker: version 42 (77aa01c4) was rolled back after 2h52m, having had 50 % of the traffic" in text
    assert "why   ctr: 2.41 % against 3.00 % of the baseline" in text
    assert "give --prometheus URL" in text


def test_a_release_that_goes_on_says_what_comes_next() -> None:
    text = explain.text(_story("progressing"))
    assert "version 42 (77aa01c4) is Progressing, begun 2026-11-21 09:00:00 UTC, at 50 % of the traffic" in text
    assert "next  weight 100 % in 18m" in text
    assert "60 of 100 samples of the candidate" in text


def test_a_first_version_has_nothing_to_explain() -> None:
    assert explain.asked(_parsed("empty")) is None


def test_the_evidence_of_status_is_shown_as_a_bar() -> None:
    parsed = _parsed("rolled-back")
    gates = [gate.model_copy(update={"evidence": 0.62}) for gate in parsed.status.gates]
    known = replace(parsed, status=parsed.status.model_copy(update={"gates": gates}))
    which = explain.asked(known)
    assert which is not None
    story = explain.tell(known, which)
    assert "evidence ██████░░░░ 62% of what a breach needs" in explain.text(story)
    (chart,) = explain.charts(story, find_policy([STATES["rolled-back"][0]]))
    assert chart.startswith("<svg") and "62 %" in chart


def test_the_replay_shows_when_the_evidence_was_enough() -> None:
    story, charts = _replayed(0.06)
    text = explain.text(story)
    assert "half of what a breach needs after " in text and ", all of it after " in text
    assert "█" in text and "replayed by the policy's own clock from 2026-11-20" in text
    assert len(charts) == 2
    (errors, _) = explain.summary(story)["gates"]
    assert 0 < errors["halfAt"] <= errors["enoughAt"] and errors["overTime"][-1][1] == 1.0
    assert explain.summary(story)["replay"]["gate"] == "errors"


def test_a_good_release_never_had_half_of_the_evidence() -> None:
    story, _ = _replayed(0.01)
    assert "never half of what a breach needs" in explain.text(story)
    assert explain.summary(story)["gates"][0]["enoughAt"] is None


def test_a_gate_of_which_nothing_is_known_says_so() -> None:
    story, _ = _replayed(0.01)
    assert "auc: nothing is known of it" in explain.text(story)


@pytest.mark.parametrize("state", sorted(STATES))
def test_every_state_can_be_explained_or_has_no_release(state: str) -> None:
    parsed = _parsed(state)
    which = explain.asked(parsed)
    if which is not None:
        assert explain.text(explain.tell(parsed, which)).startswith("recs/ranker: version ")
        assert explain.summary(explain.tell(parsed, which))["name"] == "ranker"
