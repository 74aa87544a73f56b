"""The gates of a rollout: one line of numbers each, and sentences where numbers do not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.screen import units

__all__ = ["GateRow", "Reach", "Remark", "gate_rows", "reach", "remarks"]

_COUNTED: Final = ("ratio", "latency")


@dataclass(frozen=True, slots=True)
class GateRow:
    """One gate, in the units that people use; what is not known is a dash."""

    name: str
    verdict: Verdict | None
    """None while nothing is known."""
    value: str
    baseline: str
    limit: str
    evidence: float | None
    """How strong the evidence of a breach is, on a logarithmic scale: 1 is enough to act."""
    sees: str
    """What a worse candidate's value would have been to be noticed."""
    samples: str
    """Of the candidate and of the baseline."""
    leaning: bool = False
    """Beyond the limit, but not by enough to roll back."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about gates."""

    text: str
    loud: bool
    """It asks for attention."""


def gate_rows(rollout: Rollout) -> list[GateRow]:
    """Every gate of the spec, in its order."""
    known = {gate.name: gate for gate in rollout.status.gates}
    return [_row(gate, known.get(gate.name)) for gate in rollout.spec.gates]


def _row(gate: Gate, found: GateStatus | None) -> GateRow:
    nothing = units.UNKNOWN
    if found is None:
        return GateRow(gate.name, None, nothing, nothing, units.limit(gate, None), None, nothing, nothing)
    return GateRow(
        name=gate.name,
        verdict=found.verdict,
        value=units.value(found.value, gate),
        baseline=units.value(found.baseline, gate),
        limit=units.limit(gate, found.baseline),
        evidence=found.evidence,
        sees=(units.seen(gate, found) if found.verdict is Verdict.NO_HARM_SEEN else "") or nothing,
        samples=units.samples(found) if found.samples or found.baseline_samples else nothing,
        leaning=found.leaning and found.verdict is not Verdict.BREACHED,
    )


def remarks(rollout: Rollout, now: datetime) -> list[Remark]:
    """What is to be said besides the numbers; what asks for attention comes first."""
    status = rollout.status
    loud = _by_message(rollout, _troubles)
    if status.replaced_pod:
        loud.append(f"pod {status.replaced_pod} alone was bad and was replaced; that happens once in a rollout")
    if status.observed:
        loud.append(f"observe mode: {status.observed}")
    quiet = [
        *_by_message(rollout, _waiting),
        *_overrides(status, now),
        *_limit_changes(status, now),
        *_unknown_noise(rollout),
    ]
    return [*(Remark(text, True) for text in loud), *(Remark(text, False) for text in quiet)]


def _by_message(rollout: Rollout, said: Callable[[Gate, GateStatus], Iterable[str]]) -> list[str]:
    """One sentence for all gates that have it in common, such as those that one outage blinds."""
    found: dict[str, list[str]] = {}
    known = {gate.name: gate for gate in rollout.status.gates}
    for gate in rollout.spec.gates:
        status = known.get(gate.name)
        for message in said(gate, status) if status is not None else ():
            found.setdefault(message, []).append(gate.name)
    return [f"{', '.join(names)}: {message}" for message, names in found.items()]


def _troubles(gate: Gate, status: GateStatus) -> Iterator[str]:
    if status.verdict in (Verdict.BREACHED, Verdict.BLIND) or _sees_no_number(gate, status):
        if status.message:
            yield status.message
        if status.shared:
            yield "beyond the limit in both revisions, so nothing is rolled back for it"
        elif status.verdict is Verdict.BREACHED and gate.on_breach is OnBreach.WARN:
            yield "onBreach is warn, so nothing is held or rolled back for it"
    elif status.leaning:
        yield "leans beyond its limit: too little to roll back, too much to go up"
    if status.unseen:
        yield status.unseen.removeprefix(f"{gate.name} ")
    if status.underpowered:
        yield status.underpowered
    if status.restarted_because and status.restarted_because != status.message:
        yield f"judged anew: {status.restarted_because}"


def _waiting(gate: Gate, status: GateStatus) -> Iterator[str]:
    if status.verdict is Verdict.TOO_EARLY and status.message:
        yield status.message


def _sees_no_number(gate: Gate, status: GateStatus) -> bool:
    """Whether "no harm seen" has its number in the sentence alone, and not in the table."""
    return status.verdict is Verdict.NO_HARM_SEEN and not units.seen(gate, status)


def _overrides(status: ModelRolloutStatus, now: datetime) -> Iterator[str]:
    for override in status.overrides if status.candidate is not None else ():
        yield f"{override.in_words()}, {units.age(override.at, now)} ago"


def _limit_changes(status: ModelRolloutStatus, now: datetime) -> Iterator[str]:
    for change in status.limit_changes:
        by = f" by {change.by}" if change.by else ""
        ago = units.age(change.at, now)
        yield f"{change.gate}: the limit was loosened{by} {ago} ago, from {change.old} to {change.new}"


def _unknown_noise(rollout: Rollout) -> Iterator[str]:
    """Said once for all gates: without a history, evidence must be stronger until the rollout has taught the noise."""
    counted = {gate.name for gate in rollout.spec.gates if gate.kind in _COUNTED}
    blank = [
        gate.name
        for gate in rollout.status.gates
        if gate.name in counted and gate.baseline_samples and not gate.noise_known
    ]
    if blank:
        yield f"{', '.join(blank)}: no history to learn the noise from, so harm takes longer to be shown"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the limit and the ends of the interval lie in the gate's own unit; None where that is unknown."""

    limit: float | None = None
    low: float | None = None
    high: float | None = None


def reach(gate: Gate, found: GateStatus) -> Reach:
    """Status tells distances beyond the limit, positive is worse; a chart needs them beside the value.

    A latency is judged by the share of slow requests, so its interval is none of seconds.
    """
    at = units.limit_at(gate, found.baseline)
    if at is None or found.low is None or found.high is None or gate.latency is not None:
        return Reach(at)
    if gate.at_least is not None:
        return Reach(at, at - found.high, at - found.low)
    return Reach(at, at + found.low, at + found.high)
