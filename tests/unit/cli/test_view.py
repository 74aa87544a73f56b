"""The status screen: whole, in each state, against golden text; and the rules behind it."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
    everywhere = draw(tables.rollouts(bodies, NOW, everywhere=True)).splitlines()
    assert [line.split()[:2] for line in everywhere] == [["NAMESPACE", "NAME"], ["ads", "alpha"], ["recs", "ranker"]]
    assert "no operator has looked at it yet" in everywhere[1]
    assert draw(tables.rollouts(bodies, NOW, everywhere=False)).startswith("NAME ")


def test_history_shows_rollouts_and_what_people_said() -> None:
    decision = {
        "metadata": {"creationTimestamp": "2026-11-21T11:40:00Z"},
        "spec": {"rollout": "ranker", "action": "pause", "author": "alice", "comment": "waiting"},
        "status": {"state": "Applied", "message": "version 42 stays at 50 %"},
    }
    text = draw(tables.history(seen("rolled-back"), [decision]))
    assert "8m ago" in text
    assert "2h22m" in text
    assert "RolledBack  50 %" in text
    assert "20m ago  pause   alice   Applied  waiting  version 42 stays at 50 %" in text
    assert "no rollout has ended yet" in draw(tables.history(seen("empty"), []))


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
