"""The gates on the status screen; it fits on 80 columns.

Whatever needs more room than that (intervals, queries, checkpoints) is in status itself, and the growth of the evidence
is what ``explain`` draws.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelrollout.api.enums import Verdict
from modelrollout.api.objects import Rollout
from modelrollout.cli import show
from modelrollout.screen.gates import gate_rows, remarks
from modelrollout.screen.units import UNKNOWN

__all__ = ["sentences", "table"]

_STYLES: Final = {
    Verdict.BREACHED: "bold red",
    Verdict.PROVEN: "green",
    Verdict.NO_HARM_SEEN: "green",
    Verdict.TOO_EARLY: "dim",
    Verdict.BLIND: "yellow",
}
_INDENT: Final = 2


def table(rollout: Rollout) -> Table:
    """Value, baseline and limit; how strong the evidence of a breach is (a full bar is enough to act); and what a worse
    candidate's value would have been to be noticed."""
    drawn = show.plain_table("GATE", "VALUE", "BASELINE", "LIMIT", "EVIDENCE", "VERDICT", "SEES", "SAMPLES")
    for row in gate_rows(rollout):
        verdict = Text(str(row.verdict), _STYLES[row.verdict]) if row.verdict else UNKNOWN
        numbers = (row.value, row.baseline, row.limit, show.bar(row.evidence))
        drawn.add_row(row.name, *numbers, verdict, row.sees, row.samples)
    return drawn


def sentences(rollout: Rollout, now: datetime) -> list[Padding]:
    """What is to be said below the table; what asks for attention stands out."""
    texts = [Text(one.text, "yellow" if one.loud else "dim") for one in remarks(rollout, now)]
    return [Padding(text, (0, 0, 0, _INDENT)) for text in texts]
