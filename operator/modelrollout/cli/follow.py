"""Following a rollout: a live screen, lines for a pipe, and waiting for the end. Driven by watches, not by polling."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, NoReturn

from rich.console import Console, RenderableType
from rich.live import Live

from modelrollout.api.enums import Phase
from modelrollout.api.meta import LABEL_NAME
from modelrollout.cli import show
from modelrollout.cli.cluster import DEPLOYMENTS, ROLLOUTS, Cluster
from modelrollout.cli.errors import FAILED, TIMED_OUT, CliError, UnreachableError
from modelrollout.cli.view import one_line, read, screen
from modelrollout.screen.snapshot import Snapshot

__all__ = ["lines", "live", "until_done", "verdict"]

_TICK: Final = 1.0
"""The screen shows ages, so it is drawn anew this often; that costs the API server nothing."""
_AGAIN_SECONDS: Final = 3.0
_UNREAD: Final = 64
"""News that wait to be read; a watch that tells more waits with them."""

_Items = list[dict[str, Any]]


class _News(NamedTuple):
    """What one of the watches has to say."""

    about: str
    items: _Items | None
    error: CliError | None


def live(cluster: Cluster, name: str, console: Console) -> int:
    """Redraw the screen at every change and every second, until ^C or until the object is gone.

    On the terminal's other screen, so that a window of another size leaves no rests of old lines; what was seen last
    stays below the command.
    """
    shown: RenderableType = ""
    try:
        with Live(console=console, auto_refresh=False, screen=True) as display:
            for seen, lost in _snapshots(cluster, name):
                shown = screen(seen, note=_lost(lost) if lost else "")
                display.update(show.Fitting(shown), refresh=True)
    finally:
        console.print(shown)
    _gone(cluster, name)


def lines(cluster: Cluster, name: str, say: Callable[[str], None]) -> int:
    """A line at every change, for logs and pipes."""
    changed = _Changed(lambda line: say(f"{datetime.now(UTC):%H:%M:%S}  {line}"))
    for seen, lost in _snapshots(cluster, name):
        changed(_lost(lost) if lost else one_line(seen))
    _gone(cluster, name)


class _Changed:
    """Says a line only when it is another one than before."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._before = ""

    def __call__(self, line: str) -> None:
        if line != self._before:
            self._say(line)
            self._before = line


def _lost(error: CliError) -> str:
    return f"connection lost, trying again: {error.message}"


def _gone(cluster: Cluster, name: str) -> NoReturn:
    raise CliError(
        f'the ModelRollout "{name}" was deleted', f"see what is left: kubectl get mro -n {cluster.namespace}"
    )


def until_done(cluster: Cluster, name: str, seconds: float | None, say: Callable[[str], None]) -> int:
    """Wait until the release has ended, saying what changes; the exit code tells how.

    A lost connection says nothing of the release, so it is waited out like everything else.
    """
    cluster.rollout(name)  # a wrong name is said at once, with near ones
    changed = _Changed(say)
    ends = None if seconds is None else time.monotonic() + seconds
    while True:
        left = None if ends is None else ends - time.monotonic()
        if left is not None and left <= 0:
            break
        try:
            code = _end(cluster, name, left, changed)
        except UnreachableError as error:
            changed(_lost(error))
            threading.Event().wait(_AGAIN_SECONDS if left is None else min(_AGAIN_SECONDS, left))
            continue
        if code is None:
            break
        return code
    say("timed out; the rollout goes on by itself")
    return TIMED_OUT


def _end(cluster: Cluster, name: str, seconds: float | None, say: Callable[[str], None]) -> int | None:
    """The exit code when the release ends within this time, else None."""
    for items in cluster.follow(ROLLOUTS, fields=f"metadata.name={name}", seconds=seconds):
        if not items:
            _gone(cluster, name)
        seen = read(items[0], [], datetime.now(UTC))
        say(one_line(seen))
        code = verdict(seen)
        if code is not None:
            return code
    return None


def verdict(seen: Snapshot) -> int | None:
    """0 when what `spec` names is stable, 1 when it was rolled back, undone or is stalled, None while it is open."""
    status = seen.rollout.status
    if not seen.judged or status.observed_generation < seen.rollout.generation:
        return None
    if status.phase is Phase.STABLE:
        return FAILED if status.pinned else 0
    return FAILED if status.phase in (Phase.ROLLED_BACK, Phase.STALLED) else None


def _snapshots(cluster: Cluster, name: str) -> Iterator[tuple[Snapshot, CliError | None]]:
    """What is known, at every change and every tick; ends when the object is gone."""
    body, pods = cluster.rollout(name), cluster.deployments(name)
    news: queue.Queue[_News] = queue.Queue(_UNREAD)
    _watch(news, "rollout", lambda: cluster.follow(ROLLOUTS, fields=f"metadata.name={name}"))
    if pods is not None:
        _watch(news, "pods", lambda: cluster.follow(DEPLOYMENTS, labels=f"{LABEL_NAME}={name}"))
    lost: CliError | None = None
    while True:
        yield read(body, pods, datetime.now(UTC)), lost
        try:
            found = news.get(timeout=_TICK)
        except queue.Empty:
            continue
        lost = found.error
        if found.error is not None and not isinstance(found.error, UnreachableError):
            raise found.error
        if found.about == "pods" and found.items is not None:
            pods = found.items
        elif found.items is not None:
            if not found.items:
                return
            body = found.items[0]


def _watch(news: queue.Queue[_News], about: str, follow: Callable[[], Iterator[_Items]]) -> None:
    """Put what a watch tells into the queue, from a thread that ends with the process."""

    def run() -> None:
        pause = threading.Event()
        while True:
            try:
                for items in follow():
                    news.put(_News(about, items, None))
            except CliError as error:
                news.put(_News(about, None, error))
                if not isinstance(error, UnreachableError):
                    return
            pause.wait(_AGAIN_SECONDS)  # also after an orderly end, lest a server that ends at once is stormed

    threading.Thread(target=run, name=f"watch-{about}", daemon=True).start()
