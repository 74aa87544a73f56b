"""Quantiles of Student's t distribution, for the few places that compare a handful of runs.

Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.3 and 26.7.4: the distribution for
whole degrees of freedom is a finite sum in the angle ``arctan(t/√ν)``; the quantile is found by bisection.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

__all__ = ["t_quantile"]

_STEPS: Final = 80


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t; ``probability`` between 0.5 and 1, whole degrees of freedom from 1.

    Raises
    ------
    ValueError
        If either is outside its range.
    """
    if not 0.5 <= probability < 1.0 or freedom < 1:
        raise ValueError(f"t quantile of {probability} with {freedom} degrees of freedom: give 0.5 to 1, and 1 or more")
    low, high = 0.0, 1.0
    while _within(high, freedom) < 2.0 * probability - 1.0:
        low, high = high, 2.0 * high
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _within(middle, freedom) < 2.0 * probability - 1.0 else (low, middle)
    return 0.5 * (low + high)


def _within(t: float, freedom: int) -> float:
    """The probability that ``|T|`` is at most t."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2 == 1
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * ((k - 1) / k)
        total += term
    return 2.0 / math.pi * (angle + sine * total) if odd else sine * total
