"""The buckets in which two distributions are compared, and how many of them.

A test of ``B`` buckets needs ten samples and more in each, so a histogram of hundreds is merged to a few of about equal
share. Which ones is settled before anything is compared: from the reference, or from the baseline's first events,
which are then left out of the comparison.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelrollout.gates.evidence import Histogram

__all__ = ["Reference", "cells", "equal_shares", "listed"]

_INF = float("inf")
_ROUNDING = 0.005
"""Shares written as whole or tenth percents do not sum to one exactly."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A fixed distribution: ``shares[i]`` of the events lie in the bucket that ends at ``bounds[i]`` (inclusive)."""

    bounds: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.bounds) < 2 or len(self.bounds) != len(self.shares) or self.bounds[-1] != _INF:
            raise ValueError('reference: give at least two buckets with a share each, the last one "+Inf"')
        if any(low >= high for low, high in zip(self.bounds, self.bounds[1:], strict=False)):
            raise ValueError("reference: each bound may be given once, and the numbers must ascend")
        if any(not 0.0 <= share <= 1.0 for share in self.shares):
            raise ValueError("reference: a share lies between 0% and 100%")
        total = math.fsum(self.shares)
        if abs(total - 1.0) > _ROUNDING:
            raise ValueError(f"reference: the shares sum to {100 * total:g}%, they must sum to 100%")
        object.__setattr__(self, "shares", tuple(share / total for share in self.shares))

    @classmethod
    def read(cls, shares: Mapping[str, str]) -> Reference:
        """From a manifest: upper bound to share, ``{"0.5": "40%", "+Inf": "60%"}``, in any order.

        Raises
        ------
        ValueError
            If a bound is no number, a share no percentage, or the shares do not sum to 100 %.
        """
        rows = sorted((_bound(bound), _share(bound, share)) for bound, share in shares.items())
        return cls(tuple(bound for bound, _ in rows), tuple(share for _, share in rows))

    def merged(self, most: int) -> Reference:
        """The same in at most so many buckets, none of them empty: an empty one makes any event infinitely unlikely."""
        edges = equal_shares(self.bounds, self.shares, most)
        shares: list[float] = []
        for low, high in zip((-_INF, *edges), edges, strict=False):
            inside = (s for b, s in zip(self.bounds, self.shares, strict=True) if low < b <= high)
            shares.append(math.fsum(inside))
        return Reference(edges, tuple(shares))


def _bound(text: str) -> float:
    try:
        bound = float(text)
    except ValueError:
        bound = float("nan")
    if math.isnan(bound):
        raise ValueError(f'reference: "{text}" is not a bound: write a number, or "+Inf" for the last bucket')
    return bound


def _share(bound: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text):
        raise ValueError(f'reference["{bound}"]: "{text}" is not a share: write it like 12.5%')
    return float(text[:-1]) / 100.0


def equal_shares(bounds: tuple[float, ...], counts: tuple[float, ...], most: int) -> tuple[float, ...]:
    """The upper bounds of at most so many buckets, made of neighbours, that hold about equal shares and are not empty.

    Few enough buckets are kept as they are, but for the empty ones. ``counts`` are per bucket, not cumulative.
    """
    held = [(bound, count) for bound, count in zip(bounds, counts, strict=True) if count > 0.0]
    total = math.fsum(count for _, count in held)
    step = total / most if len(held) > most else 0.0
    edges: list[float] = []
    seen = 0.0
    for bound, count in held[:-1]:
        seen += count
        if seen > 0.0 and seen >= step * (len(edges) + 1) - 1e-9 * total and len(edges) < most - 1:
            edges.append(bound)
    return (*edges, _INF)


def cells(histogram: Histogram, edges: tuple[float, ...]) -> tuple[float, ...]:
    """Events per bucket between the edges.

    Raises
    ------
    ValueError
        If the histogram lacks one of the edges; the message names both lists of bounds.
    """
    position = {bound: i for i, bound in enumerate(histogram.bounds)}
    if any(edge not in position for edge in edges):
        raise ValueError(
            f"the buckets end at {listed(histogram.bounds)}, but {listed(edges)} are compared: "
            "give both revisions (and the reference) the same buckets"
        )
    cumulative = [histogram.counts[position[edge]] for edge in edges]
    return tuple(high - low for low, high in zip([0.0, *cumulative], cumulative, strict=False))


def listed(bounds: tuple[float, ...]) -> str:
    """Bounds for a message, the first eight of them."""
    shown = [f"{bound:g}" for bound in bounds[:8]]
    return ", ".join(shown) + (f", … ({len(bounds)} in all)" if len(bounds) > 8 else "")
