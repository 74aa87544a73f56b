"""The status screen in a terminal: the three lines first, everything below is detail."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import Mode
from modelrollout.api.status import PreflightCheck, RevisionRef
from modelrollout.cli import gate_view, show
from modelrollout.cli.errors import CliError
from modelrollout.screen import snapshot, units
from modelrollout.screen.headline import headline
from modelrollout.screen.ladder import Rung, RungState, ladder
from modelrollout.screen.rows import adopted, pod_rows, preflight_rows
from modelrollout.screen.snapshot import Snapshot

__all__ = ["one_line", "read", "screen"]

_BAR: Final = 10
_HISTORY_TAIL: Final = 3
_MARKS: Final = {RungState.DONE: "●", RungState.CURRENT: "◐", RungState.ENDED: "✗", RungState.TO_COME: "○"}
_STYLES: Final = {RungState.DONE: "green", RungState.CURRENT: "bold", RungState.ENDED: "red", RungState.TO_COME: ""}


def read(body: dict[str, Any], deployments: list[dict[str, Any]] | None, now: datetime) -> Snapshot:
    """Parse an object as the API server gave it.

    Raises
    ------
    CliError
        When the object was written for another version of the CRD.
    """
    try:
        return snapshot.read(body, deployments, now)
    except ValueError as error:
        raise CliError(
            f"this version of the command cannot read the object: {str(error).splitlines()[0]}",
            "upgrade the command to the operator's version, or look at it with -o yaml",
        ) from error


def screen(seen: Snapshot, *, note: str = "") -> RenderableType:
    """The whole screen; ``note`` (a lost connection, for example) comes right after the three lines."""
    rollout = seen.rollout
    parts: list[RenderableType] = [_labelled(seen), *((Text(note, "yellow"),) if note else ()), Text()]
    observing = "  (observe mode: no verdict acts)" if rollout.spec.mode is Mode.OBSERVE else ""
    title = f"{rollout.namespace}/{rollout.name}  {rollout.status.phase}  {rollout.status.reason}{observing}"
    parts.append(Text(title, "bold"))
    parts += [Text(), Text("STEPS", "bold"), *(_rung(rung) for rung in ladder(seen))]
    checks = preflight_rows(seen)
    if checks:
        parts += [Text(), _preflight(checks)]
    if rollout.spec.gates:
        parts += [Text(), gate_view.table(rollout), *gate_view.sentences(rollout, seen.now)]
    parts += [Text(), _pods(seen)]
    external = adopted(seen)
    if external:
        parts += [Text(), Text.assemble(("ADOPTED", "bold"), f"  {external}")]
    if rollout.status.history:
        parts += [Text(), Text("HISTORY", "bold"), _history_tail(seen)]
    return Group(*parts)


def _labelled(seen: Snapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in zip(("Now", "Why", "Next"), headline(seen), strict=True):
        grid.add_row(label, Text(text))
    return grid


def _rung(rung: Rung) -> Text:
    """One step: ● done, ◐ current, ✗ where it ended, ○ to come."""
    what = rung.people or f"hold {rung.hold}"
    line = f"{_MARKS[rung.state]} {rung.weight:>3} %  {what}" + (f"  {rung.name}" if rung.name else "")
    if rung.people and rung.state is RungState.CURRENT:
        line += f"  {rung.progress}"
    elif rung.state is RungState.CURRENT:
        line += f"  {show.bar(rung.done, _BAR)} {rung.progress}"
    elif rung.state is RungState.ENDED:
        line += "  ended here"
    return Text(line, _STYLES[rung.state])


def _preflight(checks: list[PreflightCheck]) -> RenderableType:
    table = show.plain_table("BEFORE THE FIRST TRAFFIC", "STATE", "MESSAGE")
    for one in checks:
        table.add_row(one.check, str(one.state), one.message)
    return table


def _pods(seen: Snapshot) -> RenderableType:
    if seen.deployments is None:
        return Text("PODS  not shown: you may not list Deployments in this namespace", "dim")
    if not seen.deployments:
        return Text("PODS  none", "dim")
    table = show.plain_table("PODS", "VERSION", "REVISION", "READY")
    for row in pod_rows(seen):
        table.add_row(str(row.role), row.version, row.revision, f"{row.ready}/{row.desired}")
    return table


def _history_tail(seen: Snapshot) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for entry in seen.rollout.status.history[:_HISTORY_TAIL]:
        ago = f"{units.age(entry.ended_at, seen.now)} ago"
        table.add_row(ago, entry.version, entry.outcome, f"at {entry.weight} %", entry.message)
    return table


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
    old = f"stable={EXTERNAL if stable.revision == EXTERNAL else stable.version}" if stable else ""
    new = f"candidate={candidate.version}@{weight}%" if candidate else ""
    return " ".join(part for part in (old, new) if part)
