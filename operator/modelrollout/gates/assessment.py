"""What comes out of judging a gate, in one shape for every kind of gate."""

from __future__ import annotations

from dataclasses import dataclass

from modelrollout.api.enums import Verdict

__all__ = ["Assessment"]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A verdict with the numbers that it rests on.

    ``value`` and ``baseline`` are in the gate's own unit (a share, seconds, an index). ``difference``, ``low``,
    ``high`` and ``would_have_seen`` are distances beyond the limit: positive is worse, zero is on the limit; for
    ratios and latencies in shares of bad events.
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
    leaning: bool = False
    """Beyond the limit by two standard errors: not enough to act, too much to give it more users."""
    unseen: str = ""
    """What the user asked to be sure of (``mustSee``) and this gate cannot see yet; empty when it can."""
    evidence: float = 0.0
    """Strength of the evidence against the limit: 0 none, 1 enough to act; on a logarithmic scale."""
    stake: float = 0.0
    """The gate's part in "all gates together": a rollout whose gates' parts sum to 1 is rolled back."""
