"""The question between two looks: whom an answer names, and how many questions it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelrollout.api.gate import Gate
from modelrollout.metrics.alarms import AlarmQuestion, questions
from modelrollout.metrics.base import Arm, Watched

_WINDOW = timedelta(seconds=2)
_PODS: dict[str, datetime] = {"ranker-aaaaaaaaaa-7d9c5b6f4-abcd0": datetime(2026, 11, 21, tzinfo=UTC)}


def _gate(metric: str = "requests_total", **identity: str) -> Gate:
    body: dict[str, Any] = {
        "name": "errors",
        "ratio": {"bad": f'{metric}{{code=~"5.."}}', "total": metric},
        "atMost": "baseline + 1pp",
    }
    return Gate.model_validate(body | ({"identity": identity} if identity else {}))


def _watched(namespace: str, gate: Gate, name: str = "ranker") -> Watched:
    return Watched((namespace, name), (gate,), Arm("aaaaaaaaaa", namespace, f"{name}-aaaaaaaaaa", 80, _PODS), 0.25)


def _only(*watched: Watched) -> AlarmQuestion:
    (question,) = questions(watched, _WINDOW)
    return question


def _row(number: int, **labels: str) -> dict[str, Any]:
    return {"metric": labels | {"modelrollout_want": str(number)}, "value": [0, "0.5"]}


def test_whoever_is_named_is_found_by_namespace_and_pod() -> None:
    question = _only(_watched("one", _gate()), _watched("two", _gate()))
    pod = "ranker-aaaaaaaaaa-7d9c5b6f4-abcd0"
    assert list(question.alarmed([_row(0, namespace="two", pod=pod)])) == [("two", "ranker")]
    assert list(question.alarmed([_row(0, namespace="three", pod=pod)])) == []
    assert list(question.alarmed([_row(0, namespace="one", pod="ranker-bbbbbbbbbb-7d9c5b6f4-abcd0")])) == []


@pytest.mark.parametrize(
    ("identity", "labels"),
    [
        ({"by": "podLabel", "label": "revision"}, {"namespace": "one", "revision": "aaaaaaaaaa"}),
        ({"by": "service"}, {"envoy_cluster_name": "one_ranker-aaaaaaaaaa_80"}),
        (
            {"by": "service", "value": "{namespace}/{service}/rule/*"},
            {"envoy_cluster_name": "one/ranker-aaaaaaaaaa/rule/7"},
        ),
    ],
)
def test_or_by_the_label_that_tells_revisions_apart(identity: dict[str, str], labels: dict[str, str]) -> None:
    question = _only(_watched("one", _gate(**identity)), _watched("two", _gate(**identity)))
    assert list(question.alarmed([_row(0, **labels)])) == [("one", "ranker")]


def test_many_rollouts_of_one_definition_are_one_expression() -> None:
    question = _only(*(_watched(f"team-{number % 10}", _gate(), f"ranker-{number}") for number in range(1000)))
    assert question.promql.count("label_replace(") == 1
    assert len(question.promql) < 1000
    assert question.halves() == []


def test_many_definitions_are_several_questions() -> None:
    watched = [_watched("one", _gate(f"model_{number}_requests_total")) for number in range(300)]
    found = list(questions(watched, _WINDOW))
    assert 1 < len(found) < 20
    assert max(len(one.promql) for one in found) < 50_000
    parts = found[0].halves()
    assert len(parts) == 2
    assert set(found[0].promql.split('"modelrollout_want"')[0]) and parts[0].promql in found[0].promql


@pytest.mark.parametrize(
    "row", [{}, {"metric": {}}, {"metric": {"modelrollout_want": "x"}}, {"metric": {"modelrollout_want": "9"}}]
)
def test_an_answer_to_another_question_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        list(_only(_watched("one", _gate())).alarmed([row]))
