"""Training the models that the demo releases, from the handwritten digits that come with scikit-learn.

Two models are good, and one is bad in the way that hurts in practice: in its own evaluation it is as good as the
others, and only users can tell (see :func:`_by_columns`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

from demo import artifacts
from demo.artifacts import Array
from demo.ranking import SIDE, Ranker

__all__ = ["Trained", "TrainingSet", "load_digits", "train"]

_SERVED: Final = 600
_FIRST_LABELS: Final = 40
_SEED: Final = 20
_BRIGHTEST: Final = 16.0

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSet:
    """Images to train on, and images that users will look for: none is in both."""

    train_pixels: Array
    train_labels: Labels
    served_pixels: Array
    served_labels: Labels


@dataclass(frozen=True)
class Trained:
    """What training wrote: URIs, and what the team that trained each model believes its accuracy to be."""

    features_uri: str
    labels_uri: str
    model_uris: dict[str, str]
    offline_accuracy: dict[str, float]


def load_digits() -> TrainingSet:
    """The 1,797 images, split the same way each time."""
    data = datasets.load_digits()
    pixels = np.asarray(data.data, dtype=np.float64) / _BRIGHTEST
    labels = np.asarray(data.target, dtype=np.int64)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    train, served = order[:-_SERVED], order[-_SERVED:]
    return TrainingSet(pixels[train], labels[train], pixels[served], labels[served])


def train(data: TrainingSet, folder: Path) -> Trained:
    """Train every model and write it, the images for the server, and the truth for the users, into ``folder``."""
    few = _few_of_each(data.train_labels, _FIRST_LABELS)
    first = _fit(data.train_pixels[few], data.train_labels[few])
    better = _fit(data.train_pixels, data.train_labels)
    skewed = _fit(_by_columns(data.train_pixels), data.train_labels)
    models = {"v1": first, "v2": better, "v3-slow": better, "v4-worse": skewed}
    evaluated = dict.fromkeys(models, data.served_pixels) | {"v4-worse": _by_columns(data.served_pixels)}
    return Trained(
        features_uri=artifacts.save(folder / "features.npz", pixels=data.served_pixels),
        labels_uri=artifacts.save(folder / "labels.npz", labels=data.served_labels),
        model_uris={
            name: artifacts.save(folder / f"{name}.npz", weights=model.weights, bias=model.bias)
            for name, model in models.items()
        },
        offline_accuracy={
            name: _accuracy(model, evaluated[name], data.served_labels) for name, model in models.items()
        },
    )


def _fit(pixels: Array, labels: Labels) -> Ranker:
    model = LogisticRegression(max_iter=300).fit(pixels, labels)
    return Ranker(np.asarray(model.coef_, dtype=np.float64), np.asarray(model.intercept_, dtype=np.float64))


def _few_of_each(labels: Labels, count: int) -> npt.NDArray[np.intp]:
    """Row numbers of the first few images of each digit: what a team has labelled in its first week."""
    digits = np.unique(labels)
    return np.concatenate([np.flatnonzero(labels == digit)[: count // len(digits)] for digit in digits])


def _by_columns(pixels: Array) -> Array:
    """The images stored column by column.

    This is the bug of the bad version: its team's export of the data stores images by columns, for training and
    for evaluation alike, so offline everything looks right. The server stores them by rows.
    """
    turned = pixels.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return turned.reshape(-1, SIDE * SIDE)


def _accuracy(model: Ranker, pixels: Array, labels: Labels) -> float:
    return float(np.mean(model.probabilities(pixels).argmax(axis=1) == labels))
