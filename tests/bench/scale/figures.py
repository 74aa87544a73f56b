"""Numbers out of what was seen. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelrollout.gates.catastrophe import catastrophic
from tests.bench.scale.traffic import ERRORS

__all__ = ["Spread", "chance_of_catastrophe", "false_rollbacks", "rank", "seconds_to_weight", "spread"]

Seen = Mapping[str, Any]
"""What the stand-in saw of one rollout."""


@dataclass(frozen=True)
class Spread:
    """Seconds of many rollouts: median, 99th percentile and the longest; ``missing`` never came there."""

    p50: float
    p99: float
    max: float
    missing: int = 0

    def __str__(self) -> str:
        never = f" ({self.missing} never)" if self.missing else ""
        return f"{self.p50:.1f} / {self.p99:.1f} / {self.max:.1f}{never}"


def rank(values: Sequence[float], share: float) -> float:
    """The smallest value that at least such a share of the values does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Iterable[float | None]) -> Spread:
    """Of seconds; None for what never happened."""
    every = list(values)
    there = [value for value in every if value is not None]
    return Spread(rank(there, 0.5), rank(there, 0.99), rank(there, 1.0), len(every) - len(there))


def seconds_to_weight(seen: Seen, weight: int, since: float) -> float | None:
    """Seconds from a moment until the newest revision had this weight on the route; None if it never had.

    The candidate is the backend that came last; when it is gone from the route, its weight is 0.
    """
    candidate = _candidate(seen["weights"])
    for at, weights in seen["weights"]:
        if at >= since and weights.get(candidate, 0) == weight:
            return float(at - since)
    return None


def _candidate(changes: Sequence[tuple[float, Mapping[str, int]]]) -> str:
    order = dict.fromkeys(revision for _, weights in changes for revision in weights)
    return next(reversed(order), "")


def false_rollbacks(seen: Mapping[str, Seen], good: Iterable[str]) -> list[str]:
    """Rollouts whose candidate is good and was rolled back all the same."""
    return [key for key in good if any(phase in ("RollingBack", "RolledBack") for _, phase, _ in seen[key]["phases"])]


def chance_of_catastrophe(requests: float, errors_above: float, min_requests: int) -> float:
    """How likely it is that one look at a good candidate is a catastrophe by chance alone: summed, not sampled.

    ``requests``: the candidate's in a look, Poisson distributed; the baseline's errors are as they always were.
    """
    total = 0.0
    most = int(requests + 10.0 * math.sqrt(requests) + 10)
    for number in range(1, most):
        bad = np.arange(number + 1.0)
        told = catastrophic(
            np.full_like(bad, number),
            bad,
            np.full_like(bad, 9.0 * requests),
            np.full_like(bad, 9.0 * requests * ERRORS),
            share=errors_above,
            requests=min_requests,
            expected=np.full_like(bad, ERRORS),
            floor=np.zeros_like(bad),
        )
        arrives = math.exp(number * math.log(requests) - requests - math.lgamma(number + 1))
        fails = sum(
            math.comb(number, int(one)) * ERRORS**one * (1.0 - ERRORS) ** (number - one) for one in bad[told].tolist()
        )
        total += arrives * fails
    return total
