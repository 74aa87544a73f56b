"""Where the laboratory's commands get a policy and recorded history from: the flags, and what is wrong with them."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from modelrollout.api.grammar import format_duration, parse_duration
from modelrollout.cli.errors import CliError

if TYPE_CHECKING:
    from modelrollout.lab.columns import Recording
    from modelrollout.lab.history import Found
    from modelrollout.lab.policy import Policy
    from modelrollout.lab.recorded import Recorded

__all__ = ["Origin", "from_prometheus", "origin", "progress", "read_policy", "understood"]

_GUIDE: Final = "docs/laboratory.md tells how to write it"
_DEFAULT_NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """What the flags say of recorded history. Times are as they were typed."""

    table: Path | None
    prometheus: str | None
    begin: str
    end: str
    namespace: str | None
    name: str | None

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return self.table is not None or self.prometheus is not None

    def check(self) -> None:
        """Refuse what is missing or too much."""
        if self.table is None and self.prometheus is None:
            raise click.UsageError("give recorded history: --csv FILE, or --prometheus URL")
        if self.table is not None and self.prometheus is not None:
            raise click.UsageError("give either --csv or --prometheus, not both")

    def recorded(self, policy: Policy) -> Recorded:
        """The table, in which the policy's gates find their columns, and shares in them."""
        from modelrollout.lab import recorded

        assert self.table is not None
        with understood():
            found = recorded.read(self.table)
            bound = policy.bind(found.recording.columns, found.recording.interval)
            recorded.check_shares(found, bound)
        return found

    def found(self, file: Path, policy: Policy) -> Found:
        """What Prometheus has of the rollout in a file."""
        assert self.prometheus is not None
        namespace, name = self._named(file)
        now = time.time()
        start, end = _instant("--from", self.begin, now), _instant("--to", self.end, now)
        if start >= end:
            raise click.UsageError(f"--from {self.begin} is not before --to {self.end}: give an earlier --from")
        return from_prometheus(self.prometheus, policy, namespace, name, start, end)

    def history(self, file: Path, policy: Policy) -> tuple[Recording, str]:
        """The baseline's own past, and a line that says what it is."""
        self.check()
        if self.prometheus is not None:
            from modelrollout.lab import history

            found = self.found(file, policy)
            past = history.baseline(found)
            told = f"{format_duration(len(past.times) * past.interval)} of Prometheus' history"
            return past, "\n".join((told, *found.notes))
        recorded = self.recorded(policy)
        if recorded.history == 0:
            raise CliError(
                f"{self.table}: nothing was recorded before the candidate's first row",
                "give rows of the baseline from before, an hour at least; a day is better",
            )
        return recorded.recording.between(0, recorded.history), recorded.describe()

    def _named(self, file: Path) -> tuple[str, str]:
        """Namespace and name: of the flags, or of the ModelRollout in the file."""
        from modelrollout.lab.policy import read_documents

        with understood():
            documents = read_documents(file)
        found = next((one for one in documents if one.get("kind") == "ModelRollout"), {})
        metadata = found.get("metadata") or {}
        name = self.name or metadata.get("name")
        if not name:
            raise click.UsageError(f"{file} names no ModelRollout: say whose history it is with --name NAME")
        return str(self.namespace or metadata.get("namespace") or _DEFAULT_NAMESPACE), str(name)


def from_prometheus(url: str, policy: Policy, namespace: str, name: str, start: float, end: float) -> Found:
    """What the gates of a policy count, read from Prometheus."""
    from modelrollout.lab import history

    try:
        with understood(), progress() as told:
            source = history.Prometheus(url)
            return history.read(source, policy, namespace=namespace, name=name, start=start, end=end, progress=told)
    except history.SourceError as error:
        raise CliError(str(error), "check the URL and the network; a proxy needs HTTPS_PROXY") from error


def origin(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the flags of recorded history, and what they say as its argument ``origin``."""

    @click.option("--csv", "table", type=click.Path(path_type=Path), help="Recorded increments, as a table.")
    @click.option("--prometheus", help="URL of a Prometheus (Thanos, Mimir) that has the history.")
    @click.option("--from", "begin", default="24h", show_default=True, help="From this time, or so long ago.")
    @click.option("--to", "end", default="now", show_default=True, help="Up to this time, or so long ago.")
    @click.option("-n", "--namespace", help="Namespace of the pods; the manifest's own when absent.")
    @click.option("--name", help="Name of the rollout; the manifest's own when absent.")
    @functools.wraps(command)
    def with_flags(
        *args: Any,
        table: Path | None,
        prometheus: str | None,
        begin: str,
        end: str,
        namespace: str | None,
        name: str | None,
        **rest: Any,
    ) -> int:
        return command(*args, origin=Origin(table, prometheus, begin, end, namespace, name), **rest)

    return with_flags


def read_policy(file: Path) -> Policy:
    """The policy of a file."""
    from modelrollout.lab.policy import find_policy, read_documents

    with understood():
        documents = read_documents(file)
        try:
            return find_policy(documents)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


@contextmanager
def understood(remedy: str = _GUIDE) -> Iterator[None]:
    """What a person wrote wrongly is said without a traceback."""
    try:
        yield
    except ValueError as error:
        raise CliError(str(error), remedy) from error


@contextmanager
def progress() -> Iterator[Callable[[float], None] | None]:
    """A line on a terminal that says how far it is; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return

    def told(part: float) -> None:
        click.echo(f"\r{part:4.0%}", err=True, nl=False)

    yield told
    click.echo("\r    \r", err=True, nl=False)


def _instant(flag: str, text: str, now: float) -> float:
    """Seconds since 1970, of a time or of a duration ago."""
    if text == "now":
        return now
    try:
        return now - parse_duration(text).total_seconds()
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f'{flag}: "{text}" is no time: write 2026-11-21T12:00:00Z, 24h (ago) or now') from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
