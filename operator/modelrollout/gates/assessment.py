"""What comes out of judging a gate, in one shape for every kind of gate."""

from __future__ import annotations

from dataclasses import dataclass

from modelrollout.api.enums import Verdict

__all__ = ["Assessment"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A verdict with the numbers that it rests on.

    ``value`` and ``baseline`` are in the gate's own unit (a share, or seconds). ``difference``, ``low``, ``high`` and
    ``would_have_seen`` are shares of bad events beyond the limit's own line: positive is worse, zero is on the limit.
    """

    verdict: Verdict
    limit: str
    message: str
    value: float | None = None
    baseline: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    would_have_seen: float | None = None
    samples: int = 0
    baseline_samples: int = 0
    shared: bool = False
    """The candidate is beyond an absolute limit, but no worse than the baseline: not its fault alone."""
