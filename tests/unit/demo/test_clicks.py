"""The click model: what is on top matters, and what is expected is what happens."""

from __future__ import annotations

from random import Random

import pytest

from demo.clicks import CANDIDATES, ClickModel, ask


def with_the_right_one_at(position: int) -> list[bool]:
    """An answer with the one relevant image at this position."""
    return [row == position for row in range(CANDIDATES)]


def test_the_lower_the_right_image_the_fewer_clicks() -> None:
    model = ClickModel()
    chances = [model.probability(with_the_right_one_at(position)) for position in range(CANDIDATES)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.6
    assert chances[10] < 0.02


def test_a_sure_user_of_a_perfect_answer_always_clicks() -> None:
    assert ClickModel(relevant=1.0).probability(with_the_right_one_at(0)) == 1.0
    assert ClickModel(relevant=1.0).clicks(with_the_right_one_at(0), Random(1))


def test_a_user_without_patience_sees_the_first_image_only() -> None:
    model = ClickModel(relevant=1.0, mistake=0.0, patience=0.0)
    assert model.probability(with_the_right_one_at(1)) == 0.0
    assert not model.clicks(with_the_right_one_at(1), Random(1))


@pytest.mark.parametrize("position", [0, 1, 3])
def test_clicks_come_as_often_as_expected(position: int) -> None:
    model, random, times = ClickModel(), Random(7), 20_000
    relevance = with_the_right_one_at(position)
    share = sum(model.clicks(relevance, random) for _ in range(times)) / times
    expected = model.probability(relevance)
    assert abs(share - expected) < 4 * (expected * (1 - expected) / times) ** 0.5


def test_a_question_has_exactly_one_right_answer() -> None:
    labels = [image % 10 for image in range(200)]
    random = Random(3)
    for _ in range(200):
        question = ask(labels, random)
        assert len(set(question.images)) == CANDIDATES
        assert sum(labels[image] == question.digit for image in question.images) == 1


def test_the_right_answer_may_stand_anywhere() -> None:
    labels = [image % 10 for image in range(200)]
    random = Random(3)
    questions = [ask(labels, random) for _ in range(500)]
    places = {[labels[image] for image in question.images].index(question.digit) for question in questions}
    assert places == set(range(CANDIDATES))
