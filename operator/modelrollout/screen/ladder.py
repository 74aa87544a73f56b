"""The steps of a rollout, from the first to the last, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelrollout.api.enums import Outcome, Phase
from modelrollout.api.grammar import format_duration
from modelrollout.api.rollout import Step
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.screen import units
from modelrollout.screen.snapshot import Snapshot

__all__ = ["Rung", "RungState", "ladder"]


class RungState(StrEnum):
    """Where the candidate is, seen from a step."""

    DONE = "done"
    CURRENT = "current"
    ENDED = "ended"
    """The candidate was rolled back here."""
    TO_COME = "toCome"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step."""

    weight: int
    """Percent of the traffic; in an approval that of the step before it."""
    name: str
    """Empty when the user gave none."""
    hold: str
    """How long it is held, as it was written; empty in an approval."""
    state: RungState
    done: float = 0.0
    """How much of the hold is over, from 0 to 1; only of the current step."""
    progress: str = ""
    """The same in words; only of the current step."""
    people: str = ""
    """Who must approve; empty in a step with a weight."""


def ladder(seen: Snapshot) -> list[Rung]:
    """Every step, the first one first."""
    rungs: list[Rung] = []
    weight = 0
    for number, step in enumerate(seen.rollout.spec.steps, start=1):
        weight = step.weight or weight
        rungs.append(_rung(seen, number, step, weight))
    return rungs


def _rung(seen: Snapshot, number: int, step: Step, weight: int) -> Rung:
    state = _state(seen, number, step, weight)
    done, progress = _progress(seen) if state is RungState.CURRENT else (0.0, "")
    return Rung(weight, step.name or "", step.hold or "", state, done, progress, _people(step))


def _people(step: Step) -> str:
    if step.approval is None:
        return ""
    several = f", {step.approval.count} people" if step.approval.count > 1 else ""
    return f"approval by role {step.approval.role}{several}"


def _state(seen: Snapshot, number: int, step: Step, weight: int) -> RungState:
    status = seen.rollout.status
    if status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        reached = _reached(status)
        if step.weight == reached:
            return RungState.ENDED
        return RungState.DONE if weight < reached else RungState.TO_COME
    if status.phase is Phase.STABLE:
        return RungState.DONE if _taken(seen) else RungState.TO_COME
    current = status.step.number if status.step is not None and status.candidate is not None else 0
    if number == current:
        return RungState.CURRENT
    return RungState.DONE if number < current else RungState.TO_COME


def _reached(status: ModelRolloutStatus) -> int:
    """The highest weight that the rolled-back candidate had."""
    last = status.history[0] if status.history else None
    ours = last is not None and status.failed is not None and last.revision == status.failed.revision
    return last.weight if ours and last is not None else status.peak_weight


def _taken(seen: Snapshot) -> bool:
    """Whether what is stable took the steps: a first version does not, and an edited spec names another one."""
    status = seen.rollout.status
    if not status.history or status.stable is None or status.observed_generation < seen.rollout.generation:
        return False
    last = status.history[0]
    return last.revision == status.stable.revision and last.outcome is Outcome.PROMOTED and last.weight > 0


def _progress(seen: Snapshot) -> tuple[float, str]:
    step = seen.rollout.status.step
    assert step is not None
    if step.role:
        return 0.0, f"has waited {units.age(step.since, seen.now)}"
    done = 1.0 if step.hold_seconds <= 0 else min(1.0, step.held_seconds / step.hold_seconds)
    held, hold = format_duration(min(step.held_seconds, step.hold_seconds)), format_duration(step.hold_seconds)
    longer = format_duration(step.extended_seconds) if step.extended_seconds >= 1.0 else ""
    return done, f"{held} of {hold}" + (f", and {longer} for undecided gates" if longer else "")
