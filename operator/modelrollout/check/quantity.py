"""Kubernetes quantities as numbers. Pure.

Source: k8s.io/apimachinery, pkg/api/resource/quantity.go.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["quantity"]

_SUFFIXES: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
} | {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}
_TEXT: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


def quantity(text: object) -> float:
    """The number that a quantity stands for.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = _TEXT.fullmatch(str(text).strip())
    if found is None or found.group(2) not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity: write it like 500m or 2Gi")
    return float(found.group(1)) * _SUFFIXES[found.group(2)]
