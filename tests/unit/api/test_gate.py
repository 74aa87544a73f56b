"""What a gate makes of its texts, also where no API server has checked them (a manifest on someone's disk)."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from modelrollout.api.gate import Gate
from tests.unit.api.corpus import FITTING, LIMITS

_MEASURED: Final[dict[str, dict[str, Any]]] = {
    "ratio": {"bad": 'q_total{code="500"}', "total": "q_total"},
    "latency": {"histogram": "q_seconds"},
    "drift": {"histogram": "scores"},
    "value": {"promql": 'max(memory_bytes{namespace="{namespace}",pod=~"{pods}"})'},
    "report": {"configMap": "evaluation-{version}", "metric": "auc"},
}


def _gate(kind: str, **said: Any) -> Gate:
    return Gate.model_validate({"name": "checked", kind: _MEASURED[kind], **said})


def _reads(gate: Gate) -> bool:
    try:
        assert gate.limit.text
    except ValueError as refused:
        assert str(refused).startswith("gate checked: atMost: ")
        assert str(refused).count(f'"{gate.at_most}"') >= 1
        return False
    return True


@pytest.mark.parametrize("kind", sorted(FITTING))
def test_a_gate_reads_the_limits_that_fit_its_kind_and_refuses_all_others(kind: str) -> None:
    found = {text for text in LIMITS if text and _reads(_gate(kind, atMost=text))}
    assert found == FITTING[kind]
    assert _gate(kind, atMost="0.02" if kind != "latency" else "20ms").kind == kind


def test_a_lower_limit_is_read_too() -> None:
    assert _gate("report", atLeast="baseline - 0.02").limit.offset == pytest.approx(-0.02)


@pytest.mark.parametrize(
    ("kind", "said", "says"),
    [
        ("ratio", {}, "give exactly one of atMost, atLeast"),
        ("ratio", {"atMost": "1%", "atLeast": "1%"}, "give exactly one of atMost, atLeast"),
        (
            "ratio",
            {"atMost": "1%", "latency": _MEASURED["latency"]},
            "give exactly one of ratio, latency, drift, value",
        ),
        ("drift", {"atLeast": "0.2"}, 'a drift has an upper limit: write atMost: "0.2"'),
        ("drift", {"atMost": "0"}, 'atMost: "0": two samples of one distribution are a little apart too'),
        ("drift", {"atMost": "0.2pp"}, "not a limit"),
        ("drift", {"atMost": "baseline + 0.2pp"}, "is a distance, a bare number"),
        ("report", {"atMost": "200ms"}, "without a unit"),
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_with_the_remedy(kind: str, said: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^gate checked: .*{re.escape(says)}"):
        assert _gate(kind, **said).limit


def test_a_gate_without_a_kind_says_so_once() -> None:
    with pytest.raises(ValueError, match=r"^gate checked: give exactly one of ratio, .*, not none$"):
        assert Gate.model_validate({"name": "checked", "atMost": "1%"}).limit


def test_a_ks_distance_is_below_one() -> None:
    said = {"name": "checked", "drift": {"histogram": "scores", "measure": "ks"}}
    assert Gate.model_validate({**said, "atMost": "0.1"}).limit.offset == pytest.approx(0.1)
    with pytest.raises(ValueError, match="never above 1, so this limit would never be broken"):
        assert Gate.model_validate({**said, "atMost": "1.5"}).limit


def test_what_must_be_seen_is_read_and_lies_beyond_the_limit() -> None:
    assert _gate("ratio", atMost="1%").must_see_limit is None
    found = _gate("ratio", atMost="baseline + 0.2pp", mustSee="baseline + 2pp").must_see_limit
    assert found is not None
    assert found.offset == pytest.approx(0.02)
    with pytest.raises(ValueError, match=r'mustSee: "0.5%" is not beyond the limit "1%": .* worse, above it'):
        assert _gate("ratio", atMost="1%", mustSee="0.5%").must_see_limit
    with pytest.raises(ValueError, match=r"mustSee: .* a share, not a time"):
        assert _gate("ratio", atMost="1%", mustSee="200ms").must_see_limit


def test_looks_are_three_of_five_when_nothing_is_said() -> None:
    assert _gate("value", atMost="512").looks_needed == (3, 5)
    assert _gate("value", atMost="512", **{"for": "2 of 3"}).looks_needed == (2, 3)


def test_a_reference_is_read_as_shares_by_bound() -> None:
    assert Gate.model_validate({"name": "a", "drift": {"histogram": "s"}}).drift.reference_shares is None  # type: ignore[union-attr]
    said = {"histogram": "s", "reference": {"+Inf": "60%", "0.5": "40%"}}
    drift = Gate.model_validate({"name": "a", "drift": said}).drift
    assert drift is not None
    assert drift.reference_shares == ((0.5, 0.4), (float("inf"), 0.6))
