"""The status screen, as pure functions from what was read to what is shown.

It begins with the three lines that the person on call needs: who serves users now and how well, what happened, and
what happens next or what to type. Everything below is detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelrollout.api.enums import Outcome, Phase, Role, Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import format_duration
from modelrollout.api.meta import ANNOTATION_VERSION, LABEL_REVISION, LABEL_ROLE
from modelrollout.api.objects import Rollout
from modelrollout.api.rollout import Mode, Step
from modelrollout.api.status import GateStatus, ModelRolloutStatus, RevisionRef
from modelrollout.cli import gate_view, show
from modelrollout.cli.errors import CliError

__all__ = ["Snapshot", "headline", "one_line", "read", "screen"]

_BAR: Final = 10
_HISTORY_TAIL: Final = 3
_LOOK_FOR_OPERATOR: Final = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=modelrollout"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at one moment."""

    rollout: Rollout
    judged: bool
    """Whether an operator has ever written a status."""
    deployments: tuple[dict[str, Any], ...] | None
    """The revisions' Deployments; None when this person may not see them."""
    now: datetime


def read(body: dict[str, Any], deployments: list[dict[str, Any]] | None, now: datetime) -> Snapshot:
    """Parse an object as the API server gave it.

    Raises
    ------
    CliError
        When the object was written for another version of the CRD: shown wrongly would be worse than not shown.
    """
    status = body.get("status") or {}
    try:
        ModelRolloutStatus.model_validate(status)
        rollout = Rollout.parse(body)
    except ValueError as error:
        raise CliError(
            f"this version of the command cannot read the object: {str(error).splitlines()[0]}",
            "upgrade the command to the operator's version, or look at it with -o yaml",
        ) from error
    return Snapshot(rollout, bool(status), None if deployments is None else tuple(deployments), now)


def headline(seen: Snapshot) -> tuple[str, str, str]:
    """Who serves users now, what happened, what happens next."""
    if not seen.judged:
        return (
            "unknown: no operator has looked at this object yet",
            f"created {show.age(seen.rollout.created, seen.now)} ago; the operator is not running, or does not watch "
            f"namespace {seen.rollout.namespace}",
            f"look for it: {_LOOK_FOR_OPERATOR}",
        )
    return _serving(seen), _happened(seen), _next(seen)


def _serving(seen: Snapshot) -> str:
    status = seen.rollout.status
    stable, candidate = status.stable, status.candidate
    if stable is None:
        first = candidate.version if candidate else seen.rollout.spec.model.version
        return f"no version has been promoted yet; {first} is the first"
    observed = status.observed_weight
    if candidate is None:
        text = f"version {stable.version} serves all users"
    elif status.weight == 0 and not observed:
        text = f"version {stable.version} serves all users, {candidate.version} none"
    elif observed is None:
        text = (
            f"version {stable.version} serves users; {candidate.version} shall take {status.weight} %, which the "
            "gateway has not confirmed"
        )
    else:
        asked = "" if observed == status.weight else f" (asked: {status.weight} %)"
        text = f"version {stable.version} serves {100 - observed} % of users, {candidate.version} {observed} %{asked}"
    gates = {gate.name: gate for gate in seen.rollout.spec.gates}
    wells = [f"{g.name} {show.value(g.baseline, gates.get(g.name))}" for g in status.gates if g.baseline is not None]
    return f"{text}; {stable.version} has {', '.join(wells[:3])}" if wells and candidate else text


def _happened(seen: Snapshot) -> str:
    rollout, status = seen.rollout, seen.rollout.status
    text = status.message or f"{status.phase}: {status.reason}"
    gates = {gate.name: gate for gate in rollout.spec.gates}
    for gate in status.gates:
        if gate.verdict is Verdict.BREACHED and not gate.shared and f"{gate.name}:" not in text:
            text += f"; {_evidence(gate, gates.get(gate.name))}"
    if status.observed_generation < rollout.generation:
        text += (
            f"; the spec was edited since, which is not judged yet (generation {rollout.generation}, "
            f"judged {status.observed_generation})"
        )
    return text


def _evidence(gate: GateStatus, spec: Gate | None) -> str:
    found = f"{gate.name}: {show.value(gate.value, spec)}"
    if gate.baseline is not None:
        found += f" against {show.value(gate.baseline, spec)} of the baseline"
    return f"{found}, limit {gate.limit}; {gate.samples} samples against {gate.baseline_samples}"


def _next(seen: Snapshot) -> str:
    status = seen.rollout.status
    if status.next:
        return status.next
    if status.observed_generation < seen.rollout.generation:
        return "the operator looks at the edited spec"
    return "nothing to do" if status.phase is Phase.STABLE else "the operator looks again by itself"


def screen(seen: Snapshot, *, note: str = "") -> RenderableType:
    """The whole screen; ``note`` is put below (a lost connection, for example)."""
    rollout = seen.rollout
    parts: list[RenderableType] = [_labelled(seen), Text()]
    observing = "  (observe mode: no verdict acts)" if rollout.spec.mode is Mode.OBSERVE else ""
    title = f"{rollout.namespace}/{rollout.name}  {rollout.status.phase}  {rollout.status.reason}{observing}"
    parts.append(Text(title, "bold"))
    parts += [Text(), Text("STEPS", "bold"), *_steps(seen)]
    if rollout.spec.gates:
        parts += [Text(), gate_view.table(rollout), *gate_view.sentences(rollout, seen.now)]
    parts += [Text(), *_pods(seen)]
    if rollout.status.history:
        parts += [Text(), Text("HISTORY", "bold"), *_history_tail(seen)]
    if note:
        parts += [Text(), Text(note, "yellow")]
    return Group(*parts)


def _labelled(seen: Snapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in zip(("Now", "Why", "Next"), headline(seen), strict=True):
        grid.add_row(label, Text(text))
    return grid


def _steps(seen: Snapshot) -> list[RenderableType]:
    return [_step(seen, number, step) for number, step in enumerate(seen.rollout.spec.steps, start=1)]


def _step(seen: Snapshot, number: int, step: Step) -> Text:
    """One step: ● done, ◐ current, ✗ where it ended, ○ to come."""
    status = seen.rollout.status
    name = f"  {step.name}" if step.name else ""
    line = f"{step.weight:>3} %  hold {step.hold}{name}"
    if status.phase in (Phase.ROLLING_BACK, Phase.ROLLED_BACK):
        reached = _reached(status)
        if step.weight == reached:
            return Text(f"✗ {line}  ended here", "red")
        return Text(f"● {line}", "green") if step.weight < reached else Text(f"○ {line}")
    if status.phase is Phase.STABLE:
        return Text(f"● {line}", "green") if _taken(seen) else Text(f"○ {line}")
    current = status.step.number if status.step is not None and status.candidate is not None else 0
    if number < current:
        return Text(f"● {line}", "green")
    return Text(f"◐ {line}  {_progress(seen)}", "bold") if number == current else Text(f"○ {line}")


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


def _progress(seen: Snapshot) -> str:
    step = seen.rollout.status.step
    assert step is not None
    done = 1.0 if step.hold_seconds <= 0 else step.held_seconds / step.hold_seconds
    held, hold = format_duration(min(step.held_seconds, step.hold_seconds)), format_duration(step.hold_seconds)
    longer = format_duration(step.extended_seconds) if step.extended_seconds >= 1.0 else ""
    beyond = f", and {longer} for undecided gates" if longer else ""
    return f"{show.bar(done, _BAR)} {held} of {hold}{beyond}"


def _pods(seen: Snapshot) -> list[RenderableType]:
    if seen.deployments is None:
        return [Text("PODS  not shown: you may not list Deployments in this namespace", "dim")]
    if not seen.deployments:
        return [Text("PODS  none", "dim")]
    order = [str(Role.STABLE), str(Role.CANDIDATE), str(Role.RETIRED)]
    rows = sorted((_pod_row(body) for body in seen.deployments), key=lambda row: (order.index(row[0]), row[1]))
    table = show.plain_table("PODS", "VERSION", "REVISION", "READY")
    for row in rows:
        table.add_row(*row)
    return [table]


def _pod_row(body: dict[str, Any]) -> tuple[str, str, str, str]:
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    role = labels.get(LABEL_ROLE, "")
    version = (metadata.get("annotations") or {}).get(ANNOTATION_VERSION, "–")
    ready = (body.get("status") or {}).get("readyReplicas", 0)
    desired = body["spec"].get("replicas", 1)
    known = role if role in list(Role) else str(Role.RETIRED)
    return known, version, show.short(labels.get(LABEL_REVISION, "–")), f"{ready}/{desired}"


def _history_tail(seen: Snapshot) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2))
    for entry in seen.rollout.status.history[:_HISTORY_TAIL]:
        ago = f"{show.age(entry.ended_at, seen.now)} ago"
        table.add_row(ago, entry.version, entry.outcome, f"at {entry.weight} %", entry.message)
    return [table]


def one_line(seen: Snapshot) -> str:
    """The state in one line, for logs and pipes; no clock in it, so that it changes only when something happened."""
    status = seen.rollout.status
    if not seen.judged:
        return "no status yet: no operator has looked at this object"
    step = f" step {status.step.number}/{status.step.of}" if status.step else ""
    verdicts = " ".join(f"{gate.name}={gate.verdict}" for gate in status.gates)
    parts = [
        f"{status.phase} {status.reason}{step}",
        _versions(status.stable, status.candidate, status.weight),
        verdicts,
    ]
    return "  ".join(part for part in (*parts, status.message, status.observed) if part)


def _versions(stable: RevisionRef | None, candidate: RevisionRef | None, weight: int) -> str:
    old = f"stable={stable.version}" if stable else ""
    new = f"candidate={candidate.version}@{weight}%" if candidate else ""
    return " ".join(part for part in (old, new) if part)
