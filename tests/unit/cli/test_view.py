"""The status screen: whole, in each state, against golden text; and the rules behind it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelrollout.api.gate import Gate
from modelrollout.api.status import GateStatus
from modelrollout.cli import show, tables
from modelrollout.cli.errors import CliError
from modelrollout.cli.view import headline, one_line, read, screen
from tests.unit.cli.states import GOLDEN, NOW, STATES, draw, rollout, seen


@pytest.mark.parametrize("state", sorted(STATES))
def test_the_screen_of_a_state(state: str) -> None:
    golden = (GOLDEN / f"{state}.txt").read_text(encoding="utf-8")
    assert draw(screen(seen(state))) == golden, "if this is wanted: python -m tests.unit.cli.states"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(STATES)


@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("width", [60, 100])
def test_the_screen_begins_with_the_three_lines_at_any_width(state: str, width: int) -> None:
    """§7.41: who serves now, what happened, what happens next."""
    text = draw(screen(seen(state)), width=width)
    assert text.startswith("Now   ")
    assert text.index("\nWhy   ") < text.index("\nNext  ") < text.index("\nSTEPS")
    assert all(len(line) <= width for line in text.splitlines())


def test_a_breach_is_shown_with_value_baseline_limit_and_samples() -> None:
    _, happened, _ = headline(seen("breached"))
    for fact in ("ctr: 2.41 %", "3.00 % of the baseline", "2.97 %", "12310 samples against 110790"):
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
    assert "42 5 % (asked: 50 %)" in headline(seen("lowered"))[0]
    assert "the gateway has not confirmed" in headline(seen("unconfirmed"))[0]
    assert "asked" not in headline(seen("progressing"))[0]


def test_an_object_of_a_newer_version_is_refused_instead_of_shown_wrongly() -> None:
    with pytest.raises(CliError) as refused:
        read(rollout({"phase": "Dreaming"}), [], NOW)
    assert "upgrade the command" in refused.value.remedy


def test_one_line_has_no_clock_in_it() -> None:
    body, deployments = STATES["progressing"]
    later = read(body, deployments, NOW + timedelta(minutes=5))
    assert one_line(later) == one_line(seen("progressing"))
    assert one_line(later) == (
        "Progressing Holding step 2/3  stable=41 candidate=42@50%  ctr=TooEarly p95=Proven errors=NoHarmSeen  "
        "version 42 has 50 % of the traffic and holds"
    )
    assert "no operator" in one_line(seen("empty"))


def test_the_list_shows_namespaces_only_when_asked() -> None:
    bodies = [STATES["progressing"][0], rollout(None, name="alpha", namespace="ads")]
    everywhere = draw(tables.rollouts(bodies, NOW, everywhere=True), width=140).splitlines()
    assert [line.split()[:2] for line in everywhere] == [["NAMESPACE", "NAME"], ["ads", "alpha"], ["recs", "ranker"]]
    assert "no operator has looked at it yet" in everywhere[1]
    assert draw(tables.rollouts(bodies, NOW, everywhere=False)).startswith("NAME ")


def test_history_shows_rollouts_and_what_people_said() -> None:
    decision = {
        "metadata": {"creationTimestamp": "2026-11-21T11:40:00Z"},
        "spec": {"rollout": "ranker", "action": "pause", "author": "alice", "comment": "waiting"},
        "status": {"state": "Applied", "message": "version 42 stays at 50 %"},
    }
    text = draw(tables.history(seen("rolled-back"), [decision]), width=140)
    assert "8m ago" in text
    assert "2h22m" in text
    assert "RolledBack  50 %" in text
    assert "20m ago  pause   alice   Applied  waiting  version 42 stays at 50 %" in text
    assert "no rollout has ended yet" in draw(tables.history(seen("empty"), []))


def gate(**measured: object) -> Gate:
    return Gate.model_validate({"name": "g", **measured})


def found(**numbers: object) -> GateStatus:
    return GateStatus.model_validate({"name": "g", "verdict": "NoHarmSeen", **numbers})


ERRORS = {"ratio": {"bad": "e", "total": "r"}, "labelsWithin": "0s", "atMost": "baseline + 0.2pp"}
CLICKS = {"ratio": {"good": "c", "total": "i"}, "labelsWithin": "0s", "atLeast": "99% of baseline"}
P95 = {"latency": {"histogram": "h", "quantile": "0.95"}, "atMost": "200ms"}
DRIFT = {"drift": {"histogram": "h"}, "atMost": "0.2"}
REPORT = {"report": {"configMap": "r-{version}", "metric": "auc"}, "atLeast": "baseline - 0.01"}
VALUE = {"value": {"promql": "up"}, "atMost": "22000"}


@pytest.mark.parametrize(
    ("said", "baseline", "text"),
    [
        (ERRORS, 0.002, "≤ 0.40 %"),
        (ERRORS, None, "≤ baseline + 0.2pp"),
        (CLICKS, 0.03, "≥ 2.97 %"),
        (P95, None, "≤ 200 ms"),
        (DRIFT, None, "≤ 0.2"),
        (REPORT, 0.9, "≥ 0.89"),
        (VALUE, None, "≤ 22,000"),
    ],
)
def test_a_limit_is_shown_in_numbers_as_soon_as_it_has_them(
    said: dict[str, object], baseline: float | None, text: str
) -> None:
    assert show.limit(gate(**said), baseline) == text


@pytest.mark.parametrize(
    ("said", "numbers", "text"),
    [
        (ERRORS, {"baseline": 0.002, "wouldHaveSeen": 0.0014}, "≥ 0.54 %"),
        (CLICKS, {"baseline": 0.03, "wouldHaveSeen": 0.0031}, "≤ 2.66 %"),
        (P95, {"baseline": 0.1, "wouldHaveSeen": 0.012}, "≥ 6.20 % slow"),
        (DRIFT, {"wouldHaveSeen": 0.03}, "≥ 0.23"),
        (REPORT, {"baseline": 0.9, "wouldHaveSeen": 0.01}, ""),
        (ERRORS, {"wouldHaveSeen": 0.0014}, ""),
        (ERRORS, {"baseline": 0.002}, ""),
    ],
)
def test_what_would_have_been_seen_is_a_value_of_the_gate(
    said: dict[str, object], numbers: dict[str, object], text: str
) -> None:
    assert show.seen(gate(**said), found(**numbers)) == text


@pytest.mark.parametrize(
    ("part", "text"), [(None, "–"), (0.0, "░░░░"), (0.5, "██░░"), (0.999, "███░"), (1.0, "████"), (7.0, "████")]
)
def test_a_bar_is_full_only_when_there_is_enough(part: float | None, text: str) -> None:
    assert show.bar(part, 4) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (9999, "9999"), (12310, "12.3k"), (999_000, "999k"), (1_230_000, "1.23M"), (4 * 10**9, "4G")],
)
def test_many_samples_are_told_in_few_letters(count: int, text: str) -> None:
    assert show.samples(found(samples=count)) == f"{text}/0"


def test_no_harm_seen_without_a_column_for_its_number_has_it_in_a_sentence() -> None:
    body = rollout({"gates": [{"name": "g", "verdict": "NoHarmSeen", "message": "would have seen 0.012 beyond it"}]})
    body["spec"]["gates"] = [{"name": "g", **REPORT}]
    assert "g: would have seen 0.012 beyond it" in draw(screen(read(body, [], NOW)))


def test_what_is_worth_a_sentence_gets_one() -> None:
    text = " ".join(draw(screen(seen("noted"))).split())
    for sentence in (
        "ctr: leans beyond its limit",
        "ctr: must see 95% of baseline",
        "ctr: this gate cannot see a drop of 5 %",
        "p95: beyond the limit in both revisions",
        "errors: judged anew: edited",
        "pod ranker-77aa01c4-6f9c9d-x2v7q alone was bad and was replaced",
        "errors: the limit was loosened by kubectl 15m ago, from baseline + 0.1pp to baseline + 0.2pp",
        "1h of 1h, and 25m30s for undecided gates",
    ):
        assert sentence in text


def test_unknown_noise_is_said_once_for_all_gates() -> None:
    text = draw(screen(seen("noted")))
    assert text.count("no history to learn the noise from") == 1
    assert "  ctr, errors: no history" in text
    assert "no history" not in draw(screen(seen("progressing")))


def test_a_breach_that_both_revisions_share_is_not_told_as_the_candidates() -> None:
    assert "p95" not in headline(seen("noted"))[1]


def test_observe_mode_is_said_in_the_title_and_what_it_would_have_done_below() -> None:
    text = draw(screen(seen("observing")))
    assert "(observe mode: no verdict acts)" in text
    assert "observe mode: would have rolled back at 11:52:00 UTC" in text
    assert one_line(seen("observing")).endswith("12310 samples against 110790")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (0.0297, "2.97 %"), (0.00012, "0.012 %"), (1.0, "100.00 %"), (-0.02, "-2.00 %")],
)
def test_shares(share: float, text: str) -> None:
    assert show.share(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (12, "12s"), (60, "1m"), (3600, "60m"), (7200, "2h"), (86_400, "24h"), (172_800, "2d")],
)
def test_ages(seconds: int, text: str) -> None:
    assert show.age(NOW - timedelta(seconds=seconds), NOW) == text
