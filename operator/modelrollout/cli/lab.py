"""The laboratory's commands: what a policy would do, without a cluster.

numpy and the laboratory are imported where they are used, so that the other commands start as fast as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modelrollout.cli.errors import CliError

if TYPE_CHECKING:
    from modelrollout.lab.policy import Policy
    from modelrollout.lab.recorded import Recorded

__all__ = ["register"]

_GUIDE: Final = "docs/laboratory.md tells how to write it"

_file = click.argument("file", type=click.Path(path_type=Path))
_csv = click.option(
    "--csv", "table", type=click.Path(path_type=Path), help="Recorded increments: time,arm and a column per counter."
)
_output = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print.")
_plot = click.option("--plot", type=click.Path(path_type=Path), help="Write charts into this HTML file.")
_seed = click.option("--seed", type=int, default=1, help="Seed of everything drawn at random.")


def register(cli: click.Group) -> None:
    """Add the laboratory's commands."""
    for command in (backtest,):
        cli.add_command(command)


@click.command()
@_file
@_csv
@click.option("--aa/--no-aa", default=None, help="Also run the baseline against itself; default with text.")
@_seed
@_plot
@_output
def backtest(file: Path, table: Path | None, aa: bool | None, seed: int, plot: Path | None, output: str) -> int:
    """Run the policy in FILE over recorded history: what it would have done.

    FILE holds a ModelRollout, or only its gates and steps, with metrics named like the columns of the recording.
    """
    if table is None:
        raise click.UsageError("give recorded history: --csv FILE")
    from modelrollout.lab import backtest as lab
    from modelrollout.lab import runner

    policy, recorded = _policy(file), _recorded(table)
    _fitted(policy, recorded)
    if recorded.recording.begins is None:
        raise CliError(f'{table}: no row has the arm "candidate"', "calibrate reads a recording of the baseline alone")
    results = runner.run(policy, recorded.recording)
    itself = None
    if aa or (aa is None and output == "text"):
        itself = lab.against_itself(policy, recorded.recording.between(0, recorded.history), seed=seed)
    if output == "json":
        if itself is not None:
            click.echo(json.dumps({"aa": {"skipped": itself} if isinstance(itself, str) else itself.summary()}))
        click.echo(json.dumps(results.summary()))
    else:
        click.echo(f"{recorded.describe()}\n\n{lab.text(policy, results)}")
        if itself is not None:
            click.echo(f"\n{itself if isinstance(itself, str) else itself.text()}")
    if plot is not None:
        told = f"{recorded.describe()}\n{lab.text(policy, results)}"
        _page(plot, "Backtest", [told, *lab.chart(policy, recorded.recording, results)])
    return 0


@contextmanager
def _understood(remedy: str = _GUIDE) -> Iterator[None]:
    """What a person wrote wrongly is said without a traceback."""
    try:
        yield
    except ValueError as error:
        raise CliError(str(error), remedy) from error


def _policy(file: Path) -> Policy:
    from modelrollout.lab.policy import find_policy, read_documents

    with _understood():
        documents = read_documents(file)
        try:
            return find_policy(documents)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


def _recorded(table: Path) -> Recorded:
    from modelrollout.lab import recorded

    with _understood():
        return recorded.read(table)


def _fitted(policy: Policy, recorded: Recorded) -> None:
    """Whether the policy's gates find their columns in the recording, and shares in them."""
    from modelrollout.lab.recorded import check_shares

    with _understood():
        check_shares(recorded, policy.bind(recorded.recording.columns, recorded.recording.interval))


def _page(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write charts."""
    from modelrollout.lab import plot

    try:
        path.write_text(plot.page(title, parts), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", "give --plot a file that can be written") from error
    click.echo(f"charts are in {path}", err=True)
