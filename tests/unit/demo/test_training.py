"""The models are what the demo says they are: seen by their teams, and seen by users."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from demo import artifacts
from demo.clicks import ClickModel, ask
from demo.ranking import Ranker
from demo.training import Trained, TrainingSet

QUESTIONS = 1500


def click_through_rate(trained: Trained, digits: TrainingSet, version: str) -> float:
    """What users of this version click, on average over the same questions for every version."""
    random, taste = Random(20), ClickModel()
    labels = [int(label) for label in digits.served_labels]
    model = Ranker.load(trained.model_uris[version])
    total = 0.0
    for _ in range(QUESTIONS):
        question = ask(labels, random)
        order = model.rank(question.digit, digits.served_pixels[question.images])
        total += taste.probability([labels[question.images[row]] == question.digit for row in order])
    return total / QUESTIONS


def test_no_image_is_both_trained_on_and_served(digits: TrainingSet) -> None:
    trained_on = {row.tobytes() for row in digits.train_pixels}
    assert not any(row.tobytes() in trained_on for row in digits.served_pixels)
    assert len(digits.train_labels) + len(digits.served_labels) == 1797


def test_users_click_more_in_the_second_version_than_in_the_first(trained: Trained, digits: TrainingSet) -> None:
    first, second = (click_through_rate(trained, digits, name) for name in ("v1", "v2"))
    assert first > 0.50
    assert second > first + 0.03


def test_the_slow_version_ranks_as_the_second_does(trained: Trained, digits: TrainingSet) -> None:
    assert click_through_rate(trained, digits, "v3-slow") == click_through_rate(trained, digits, "v2")


def test_only_users_can_tell_the_worse_version_from_a_good_one(trained: Trained, digits: TrainingSet) -> None:
    assert trained.offline_accuracy["v4-worse"] > 0.95
    assert abs(trained.offline_accuracy["v4-worse"] - trained.offline_accuracy["v2"]) < 0.01
    assert click_through_rate(trained, digits, "v4-worse") < 0.20


def test_artifacts_are_read_without_pickle(tmp_path: Path, trained: Trained) -> None:
    arrays = artifacts.load(trained.model_uris["v1"])
    assert {name: array.shape for name, array in arrays.items()} == {"weights": (10, 64), "bias": (10,)}
    with pytest.raises(ValueError, match="no ranker"):
        Ranker.load(trained.labels_uri)
    with pytest.raises(ValueError, match="file:///path"):
        artifacts.load("s3://models/ranker/42")
