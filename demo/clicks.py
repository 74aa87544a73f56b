"""What users do with an answer: the cascade model of clicks.

A user reads the answer from the top. An image that shows the wanted digit is clicked with probability
``relevant`` and another one, by mistake, with probability ``mistake``; a click ends the search. After each
image without a click the user reads on with probability ``patience`` and otherwise leaves. So a click depends on
nothing but what the model put on top, and users know the truth: they see the images.

Source: Craswell, Zoeter, Taylor, Ramsey: "An experimental comparison of click position-bias models", WSDM 2008;
leaving with a fixed probability is the abandonment of Chapelle and Zhang's dynamic Bayesian model, WWW 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from demo.ranking import DIGITS

__all__ = ["CANDIDATES", "ClickModel", "Question", "ask"]

CANDIDATES: Final = 20
"""Images in one question; exactly one of them shows what is looked for."""


@dataclass(frozen=True)
class Question:
    """Somebody looks for a digit among images (numbers of the catalogue)."""

    digit: int
    images: list[int]


@dataclass(frozen=True)
class ClickModel:
    """The three probabilities of the cascade."""

    relevant: float = 0.60
    mistake: float = 0.01
    patience: float = 0.40

    def clicks(self, relevance: Sequence[bool], random: Random) -> bool:
        """Does a user click anything in an answer whose images are relevant as given, from the top?"""
        for is_relevant in relevance:
            if random.random() < (self.relevant if is_relevant else self.mistake):
                return True
            if random.random() >= self.patience:
                return False
        return False

    def probability(self, relevance: Sequence[bool]) -> float:
        """The probability of a click: what :meth:`clicks` gives on average."""
        reached, found = 1.0, 0.0
        for is_relevant in relevance:
            click = self.relevant if is_relevant else self.mistake
            found += reached * click
            reached *= (1.0 - click) * self.patience
        return found


def ask(labels: Sequence[int], random: Random) -> Question:
    """A user's question: a digit, and images of which one shows it."""
    digit = random.randrange(DIGITS)
    right = [image for image, label in enumerate(labels) if label == digit]
    wrong = [image for image, label in enumerate(labels) if label != digit]
    images = [random.choice(right), *random.sample(wrong, CANDIDATES - 1)]
    random.shuffle(images)
    return Question(digit, images)
