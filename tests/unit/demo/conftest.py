"""The demo's models, trained once for all its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import training
from demo.training import Trained, TrainingSet


@pytest.fixture(scope="session")
def digits() -> TrainingSet:
    """The data set."""
    return training.load_digits()


@pytest.fixture(scope="session")
def trained(digits: TrainingSet, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All models, in files."""
    folder: Path = tmp_path_factory.mktemp("artifacts")
    return training.train(digits, folder)
