"""What only a terminal needs: bars, tables as kubectl draws them, and a console on which words are only words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from modelrollout.screen.units import UNKNOWN

__all__ = ["Fitting", "PlainWords", "bar", "plain_table"]

_BAR: Final = 8
_WRAPPED: Final = ("GATE", "LIMIT", "SEES", "SAMPLES", "MESSAGE", "COMMENT", "REASON", "WHAT", "REMEDY")
_CONTROLS: Final = dict.fromkeys((*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)))


class PlainWords(Console):
    """A console on which text is text: comments, versions and messages come from other people, and whoever reads a
    record must see what it says. Neither markup nor an escape sequence in them moves, hides or colours anything."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The same, without control characters."""
        for one in super().render(renderable, options):
            yield one if one.control else Segment(one.text.translate(_CONTROLS), one.style)


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


class Fitting:
    """As much of a screen as the window has lines for; what is cut off at the end is said."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = console.render_lines(self._shown, options.update(height=None), pad=False)
        room = options.height or options.max_height
        cut = len(rows) > room
        for row in rows[: room - 1] if cut else rows:
            yield from row
            yield Segment.line()
        if cut:
            yield Text(f"… {len(rows) - room + 1} more lines: make the window taller, or leave out --watch", "yellow")
