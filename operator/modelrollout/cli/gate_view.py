"""What the status screen shows of the gates: one line of numbers each, and sentences where numbers do not suffice.

It fits on 80 columns. Whatever needs more room than that (intervals, queries, checkpoints) is in status itself, and the
growth of the evidence is what ``explain`` draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.cli import show

__all__ = ["sentences", "table"]

_STYLES: Final = {
    Verdict.BREACHED: "bold red",
    Verdict.PROVEN: "green",
    Verdict.NO_HARM_SEEN: "green",
    Verdict.TOO_EARLY: "dim",
    Verdict.BLIND: "yellow",
}
_COUNTED: Final = ("ratio", "latency")
_INDENT: Final = 2


def table(rollout: Rollout) -> Table:
    """Value, baseline and limit in the units that people use; how strong the evidence of a breach is (a full bar is
    enough to act, on a logarithmic scale); and what a worse candidate's value would have been to be noticed."""
    drawn = show.plain_table("GATE", "VALUE", "BASELINE", "LIMIT", "EVIDENCE", "VERDICT", "SEES", "SAMPLES")
    known = {gate.name: gate for gate in rollout.status.gates}
    for gate in rollout.spec.gates:
        drawn.add_row(gate.name, *_row(gate, known.get(gate.name)))
    return drawn


def _row(gate: Gate, found: GateStatus | None) -> tuple[str | Text, ...]:
    nothing = show.UNKNOWN
    if found is None:
        return (nothing, nothing, show.limit(gate, None), nothing, nothing, nothing, nothing)
    return (
        show.value(found.value, gate),
        show.value(found.baseline, gate),
        show.limit(gate, found.baseline),
        show.bar(found.evidence),
        Text(str(found.verdict), _STYLES[found.verdict]),
        (show.seen(gate, found) if found.verdict is Verdict.NO_HARM_SEEN else "") or nothing,
        show.samples(found) if found.samples or found.baseline_samples else nothing,
    )


def sentences(rollout: Rollout, now: datetime) -> list[Padding]:
    """What is to be said below the table; what asks for attention stands out."""
    status = rollout.status
    loud = _by_message(rollout, _remarks)
    if status.replaced_pod:
        loud.append(f"pod {status.replaced_pod} alone was bad and was replaced; that happens once in a rollout")
    if status.observed:
        loud.append(f"observe mode: {status.observed}")
    quiet = [*_by_message(rollout, _waiting), *_limit_changes(status, now), *_unknown_noise(rollout)]
    texts = [Text(line, "yellow") for line in loud] + [Text(line, "dim") for line in quiet]
    return [Padding(text, (0, 0, 0, _INDENT)) for text in texts]


def _by_message(rollout: Rollout, remarks: Callable[[Gate, GateStatus], Iterable[str]]) -> list[str]:
    """One sentence for all gates that have it in common, such as those that one outage blinds."""
    found: dict[str, list[str]] = {}
    known = {gate.name: gate for gate in rollout.status.gates}
    for gate in rollout.spec.gates:
        status = known.get(gate.name)
        for message in remarks(gate, status) if status is not None else ():
            found.setdefault(message, []).append(gate.name)
    return [f"{', '.join(names)}: {message}" for message, names in found.items()]


def _remarks(gate: Gate, status: GateStatus) -> Iterator[str]:
    if status.verdict in (Verdict.BREACHED, Verdict.BLIND) or _sees_no_number(gate, status):
        if status.message:
            yield status.message
        if status.shared:
            yield "beyond the limit in both revisions, so nothing is rolled back for it"
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
    return status.verdict is Verdict.NO_HARM_SEEN and not show.seen(gate, status)


def _limit_changes(status: ModelRolloutStatus, now: datetime) -> Iterator[str]:
    for change in status.limit_changes:
        by = f" by {change.by}" if change.by else ""
        ago = show.age(change.at, now)
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
