"""The model: given a digit that somebody looks for, order images by the probability that they show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from demo import artifacts
from demo.artifacts import Array

__all__ = ["DIGITS", "SIDE", "Ranker"]

DIGITS: Final = 10
SIDE: Final = 8
"""The images are 8 × 8 pixels, stored row by row."""


@dataclass(frozen=True)
class Ranker:
    """Multinomial logistic regression on pixels: ten rows of 64 weights and ten biases."""

    weights: Array
    bias: Array

    @classmethod
    def load(cls, uri: str) -> Ranker:
        """Read a model.

        Raises
        ------
        ValueError
            If the file holds no such model.
        """
        arrays = artifacts.load(uri)
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != {"weights": (DIGITS, SIDE * SIDE), "bias": (DIGITS,)}:
            raise ValueError(f"{uri} is no ranker: it holds {shapes}")
        return cls(arrays["weights"], arrays["bias"])

    def probabilities(self, pixels: Array) -> Array:
        """One row per image, one column per digit."""
        logits = pixels @ self.weights.T + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        raised = np.exp(logits)
        found: Array = raised / raised.sum(axis=1, keepdims=True)
        return found

    def rank(self, digit: int, pixels: Array) -> list[int]:
        """Row numbers of ``pixels``, the best match for ``digit`` first."""
        order = np.argsort(-self.probabilities(pixels)[:, digit], kind="stable")
        return [int(row) for row in order]
