"""The sheet on which one decision is drafted.

The rules in this package read the input and the status so far, and add to the sheet. Keeping status changes, actions
and events on one mutable object that lives for one call lets every rule stay a short function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from modelrollout.api.enums import Phase, Reason
from modelrollout.api.grammar import parse_duration
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.engine.model import Action, Event, Input, RevisionView

__all__ = ["Draft", "forget_times_to_come"]


@dataclass
class Draft:
    """One decision in the making."""

    input: Input
    status: ModelRolloutStatus
    first: list[Action] = field(default_factory=list)
    then: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    wake: list[float] = field(default_factory=list)
    seeing: bool = False
    """Whether fresh metrics of every gate were read in this very call."""
    catastrophe: str = ""
    """What one interval showed, when that alone is reason to roll back."""
    human_raise: bool = False
    """Whether a human's promotion is what raises the weight in this call."""
    decision: str = ""
    """UID of the human decision that is being carried out, for the marker on the route."""
    states: dict[str, Any] = field(default_factory=dict)
    """Their states, by checkpoint: each is read once in a look."""

    @property
    def now(self) -> datetime:
        """The time."""
        return self.input.now

    @property
    def stable(self) -> str:
        """Hash of the stable revision; empty before the first one."""
        return self.status.stable.revision if self.status.stable else ""

    @property
    def candidate(self) -> str:
        """Hash of the revision on trial; empty when there is none."""
        return self.status.candidate.revision if self.status.candidate else ""

    @property
    def interval(self) -> float:
        """Seconds between two looks at the metrics."""
        return max(0.1, self.seconds(self.input.spec.evaluation.interval))

    def view(self, revision: str) -> RevisionView | None:
        """A revision as the cluster shows it."""
        if revision == EXTERNAL:
            return self.input.adopted.view if self.input.adopted is not None else None
        return self.input.revisions.get(revision)

    def set(self, **changes: Any) -> None:
        """Change fields of the status; most of what a look sets is so already."""
        known = self.status.__dict__
        if any(known[name] is not value for name, value in changes.items()):
            self.status = self.status.model_copy(update=changes)

    def say(self, phase: Phase, reason: Reason, message: str, following: str = "") -> None:
        """Set the phase, the reason, the sentence, and what happens next."""
        self.set(phase=phase, reason=reason, message=message[:1024], next=following[:1024])

    def command(self, verb: str) -> str:
        """What a person types to say something of this rollout."""
        return f"kubectl modelrollout {verb} {self.input.name} -n {self.input.namespace}"

    def event(self, reason: Reason, message: str, *, warning: bool = False) -> None:
        """Post an Event at the end."""
        self.events.append(Event(reason, message, warning))

    def wake_in(self, seconds: float) -> None:
        """Look again after so many seconds."""
        self.wake.append(max(0.05, seconds))

    @staticmethod
    def seconds(duration: str) -> float:
        """A duration of the spec in seconds."""
        return parse_duration(duration).total_seconds()

    def since(self, at: datetime | None) -> float:
        """Seconds since a time; 0 for None and for times in the future (the clock was set back)."""
        return 0.0 if at is None else max(0.0, (self.now - at) / timedelta(seconds=1))


def forget_times_to_come(d: Draft) -> None:
    """After the clock was set back, whatever status says will have happened happened now, so that nothing waits for
    the old clock to be caught up."""
    now, step = d.now, d.status.step
    for name in ("evaluated_at", "draining_since", "pods_missing_since"):
        at = getattr(d.status, name)
        if at is not None and at > now:
            d.set(**{name: now})
    contest = d.status.contest
    if contest is not None and contest.overwritten_at[0] > now:
        d.set(contest=contest.model_copy(update={"overwritten_at": [min(at, now) for at in contest.overwritten_at]}))
    if d.status.blind is not None and d.status.blind.since > now:
        d.set(blind=d.status.blind.model_copy(update={"since": now}))
    if step is not None:
        late = {n: now for n in ("since", "serving_since", "credited_at") if (at := getattr(step, n)) and at > now}
        if late:
            d.set(step=step.model_copy(update=late))
