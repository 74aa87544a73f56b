"""What only a terminal needs: bars of characters, and tables as kubectl draws them."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from modelrollout.screen.units import UNKNOWN

__all__ = ["bar", "plain_table"]

_BAR: Final = 8
_WRAPPED: Final = ("GATE", "LIMIT", "SEES", "SAMPLES", "MESSAGE", "COMMENT", "REASON", "WHAT", "REMEDY")


def bar(part: float | None, width: int = _BAR) -> str:
    """A number from 0 to 1 as a bar that is full only at 1."""
    if part is None:
        return UNKNOWN
    full = int(min(max(part, 0.0), 1.0) * width)
    return f"{'█' * full}{'░' * (width - full)}"


def plain_table(*columns: str) -> Table:
    """A table as kubectl draws it: headers in capitals, no lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _WRAPPED)
    return table
