"""What the person sees: lines that stay, and below them, on a terminal, the state of the moment.

Without a terminal (a log, a pipe) the state of the moment becomes a plain line every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

__all__ = ["Screen"]

_PLAIN_SECONDS: Final = 5.0
_PLAIN_WIDTH: Final = 140


class Screen:
    """Prints; the only place that knows whether there is a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._live: Live | None = None
        self._begin = time.monotonic()
        self._last_plain = 0.0

    def heading(self, text: str) -> None:
        """A new act."""
        self._console.print(f"\n[bold cyan]{escape(text)}[/]")

    def say(self, text: str, style: str = "") -> None:
        """A line of the story."""
        self._console.print(Text(text, style=style))

    def event(self, text: str, style: str = "") -> None:
        """Something happened; with the time since the demo began."""
        self._console.print(Text(f"  {time.monotonic() - self._begin:6.1f} s  ", style="dim").append(text, style=style))

    @contextmanager
    def moment(self) -> Iterator[None]:
        """While the block runs, :meth:`show` keeps one place on the screen up to date."""
        if not self._console.is_terminal:
            yield
            return
        with Live(Text(""), console=self._console, transient=True, refresh_per_second=4) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def show(self, lines: Sequence[str]) -> None:
        """The state of the moment, the most important line first."""
        if self._live is not None:
            self._live.update(Text("\n".join(f"    {line}" for line in lines), style="yellow", overflow="ellipsis"))
            return
        now = time.monotonic()
        if now - self._last_plain >= _PLAIN_SECONDS:
            self._last_plain = now
            self.event("| " + " | ".join(" ".join(line.split()) for line in lines))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table; the first column is what the row is about."""
        table = Table(title=title or None, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, style="bold" if number == 0 else "", overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._console.print(table)


def _console() -> Console:
    """The terminal as it is; a log is as wide as the tables need."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console
