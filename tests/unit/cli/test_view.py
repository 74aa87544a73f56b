"""The status screen: whole, in each state, against golden text; and the rules behind it."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from rich.console import Console
from rich.screen import Screen

from modelrollout.cli import show, tables
from modelrollout.cli.errors import CliError
from modelrollout.cli.view import one_line, read, screen
from tests.unit.cli.states import GOLDEN, NOW, STATES, draw, rollout, seen

_REPORT = {"report": {"configMap": "r-{version}", "metric": "auc"}, "atLeast": "baseline - 0.01"}


@pytest.mark.parametrize("state", sorted(STATES))
def test_the_screen_of_a_state(state: str) -> None:
    golden = (GOLDEN / f"{state}.txt").read_text(encoding="utf-8")
    assert draw(screen(seen(state))) == golden, "if this is wanted: python -m tests.unit.cli.states"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(STATES)


@pytest.mark.parametrize("state", sorted(STATES))
@pytest.mark.parametrize("width", [60, 100])
def test_detail_41_the_screen_begins_with_the_three_lines_at_any_width(state: str, width: int) -> None:
    """Who serves now, what happened, what happens next."""
    text = draw(screen(seen(state)), width=width)
    assert text.startswith("Now   ")
    assert text.index("\nWhy   ") < text.index("\nNext  ") < text.index("\nSTEPS")
    assert all(len(line) <= width for line in text.splitlines())


def test_an_object_of_a_newer_version_is_refused_instead_of_shown_wrongly() -> None:
    with pytest.raises(CliError) as refused:
        read(rollout({"phase": "Dreaming"}), [], NOW)
    assert "upgrade the command" in refused.value.remedy


@pytest.mark.parametrize(("height", "cut"), [(12, True), (24, True), (80, False)])
def test_detail_41_a_small_window_says_that_there_is_more(height: int, cut: bool) -> None:
    """The three lines are there at any height, and nobody takes a screen that is cut off for the whole."""
    console = Console(file=io.StringIO(), width=80, height=height, color_system=None, force_terminal=True)
    console.print(Screen(show.Fitting(screen(seen("preflight")))), end="")
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    assert len(rows) == height
    assert rows[0].startswith("Now   ")
    whole = len(draw(screen(seen("preflight"))).splitlines())
    assert rows[-1].startswith(f"… {whole - height + 1} more lines: make the window taller") is cut
    assert any(row.startswith("HISTORY") for row in rows) is not cut


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
    assert "2h52m" in text
    assert "RolledBack  50 %" in text
    assert "20m ago  pause   alice   Applied  waiting  version 42 stays at 50 %" in text
    assert "no rollout has ended yet" in draw(tables.history(seen("empty"), []))


@pytest.mark.parametrize(
    ("part", "text"), [(None, "–"), (0.0, "░░░░"), (0.5, "██░░"), (0.999, "███░"), (1.0, "████"), (7.0, "████")]
)
def test_a_bar_is_full_only_when_there_is_enough(part: float | None, text: str) -> None:
    assert show.bar(part, 4) == text


def test_no_harm_seen_without_a_column_for_its_number_has_it_in_a_sentence() -> None:
    body = rollout({"gates": [{"name": "g", "verdict": "NoHarmSeen", "message": "would have seen 0.012 beyond it"}]})
    body["spec"]["gates"] = [{"name": "g", **_REPORT}]
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


def test_a_breach_that_only_warns_is_said_to_hold_nothing() -> None:
    assert "ctr: onBreach is warn, so nothing is held or rolled back for it" in draw(screen(seen("breached")))
    assert "onBreach" not in draw(screen(seen("rolled-back")))


def test_detail_3_what_was_adopted_goes_by_no_version_that_ours_may_have_too() -> None:
    assert "stable=external candidate=42@10%" in one_line(seen("adopted"))
    row = draw(tables.rollouts([STATES["adopted"][0]], NOW, everywhere=False), width=140).splitlines()[1].split()
    assert row[2:4] == ["42", "external"]


def test_detail_3_what_was_adopted_stands_below_the_pods() -> None:
    text = draw(screen(seen("adopted")))
    assert text.index("PODS") < text.index("ADOPTED  external is Deployment ranker: stable with 3 pods, left as it is")
    assert "ADOPTED" not in draw(screen(seen("progressing")))


def test_observe_mode_is_said_in_the_title_and_what_it_would_have_done_below() -> None:
    text = draw(screen(seen("observing")))
    assert "(observe mode: no verdict acts)" in text
    assert "observe mode: would have rolled back at 11:52:00 UTC" in text
    assert one_line(seen("observing")).endswith("62310 samples against 62287")
