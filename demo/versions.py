"""The versions that the demo releases, and what each of them is in truth; only the operator does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["FIRST", "GOOD", "SLOW", "WORSE", "Version"]

_COLD: Final = {"COLD_SECONDS": "3"}


@dataclass(frozen=True)
class Version:
    """A model version, and how its server is started."""

    name: str
    truth: str
    environment: Mapping[str, str] = field(default_factory=dict)


FIRST: Final = Version("v1", "trained on the first 40 labelled images")
GOOD: Final = Version("v2", "trained on 1,197 images; each new pod is slow for 3 s, until its cache is full", _COLD)
SLOW: Final = Version(
    "v3-slow", "the same model, asking a feature store 300 ms away", {**_COLD, "FEATURE_STORE_SECONDS": "0.3"}
)
WORSE: Final = Version(
    "v4-worse", "as good as v2 in its own evaluation; trained on images stored by columns, served by rows", _COLD
)
