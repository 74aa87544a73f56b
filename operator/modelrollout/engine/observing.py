"""Observe mode: what would have been done is said, once, and not done.

A team that tries the controller wants two answers: would it have rolled back, and would its gates ever have let a step
end? The second one is given only as long as the first is not.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.enums import Reason
from modelrollout.api.rollout import Mode
from modelrollout.engine.draft import Draft

__all__ = ["observes", "would_hold", "would_replace", "would_roll_back"]

_ROLLED_BACK: Final = "would have rolled back"
_HELD: Final = "would have held"
_REPLACED: Final = "would have replaced a pod"


def observes(d: Draft) -> bool:
    """Whether verdicts only speak."""
    return d.input.spec.mode is Mode.OBSERVE


def would_roll_back(d: Draft, reason: Reason, message: str) -> None:
    """Say it, once in a rollout; it takes the place of a step that would have been held."""
    if not d.status.observed.startswith(_ROLLED_BACK):
        _say(d, Reason.WOULD_ROLL_BACK, f"{_ROLLED_BACK} at {d.now:%H:%M:%S} UTC ({reason}): {message}")


def would_replace(d: Draft, message: str) -> None:
    """Say, once in a rollout, that one pod would have been replaced before its breach counted."""
    if not d.status.observed.startswith((_ROLLED_BACK, _REPLACED)):
        _say(d, Reason.ONE_POD_BAD, f"{_REPLACED} at {d.now:%H:%M:%S} UTC: {message}")


def would_hold(d: Draft, reason: Reason, message: str) -> None:
    """Say that a step would have gone on, or been paused; once in a rollout."""
    if not d.status.observed:
        _say(d, Reason.WOULD_HOLD, f"{_HELD} at {d.status.weight} % at {d.now:%H:%M:%S} UTC ({reason}): {message}")


def _say(d: Draft, reason: Reason, text: str) -> None:
    d.set(observed=text[:1024])
    d.event(reason, text, warning=True)
