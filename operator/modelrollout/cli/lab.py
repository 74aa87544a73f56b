"""The laboratory's commands: what a policy would do, without a cluster.

numpy and the laboratory are imported where they are used, so that the other commands start as fast as before.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modelrollout.api.grammar import parse_percent
from modelrollout.cli.errors import CliError

if TYPE_CHECKING:
    from modelrollout.lab.plan import Traffic
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
    for command in (backtest, calibrate, plan, simulate):
        cli.add_command(command)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many rollouts.")
@_seed
@_plot
@_output
def simulate(files: Sequence[Path], runs: int, seed: int, plot: Path | None, output: str) -> int:
    """Run the policy under described traffic, beside the rules of other controllers.

    FILES hold a ModelRollout (or only its steps and gates) and a traffic scenario, as two documents of one file or as
    two files. Without FILES, a sample is shown.
    """
    from modelrollout.lab import simulate as lab

    with _understood("docs/scenarios.md tells how to write it"):
        policy, scenario = lab.read(files)
        with _progress() as progress:
            found = lab.simulate(policy, scenario, runs=runs, seed=seed, progress=progress)
    click.echo(json.dumps(found.summary()) if output == "json" else lab.text(found))
    if plot is not None:
        _page(plot, "Simulation", [lab.text(found), *lab.charts(found)])
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[float], None] | None]:
    """A line on a terminal that says how far it is; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return

    def told(part: float) -> None:
        click.echo(f"\r{part:4.0%}", err=True, nl=False)

    yield told
    click.echo("\r    \r", err=True, nl=False)


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


@click.command()
@_file
@_csv
@click.option("--accept", default="", help="Regression to accept beyond the noise, of the events: errors=10%,ctr=2%.")
@_plot
@_output
def calibrate(file: Path, table: Path | None, accept: str, plot: Path | None, output: str) -> int:
    """How noisy each metric in FILE is by itself, and limits that lie beyond it."""
    from modelrollout.lab import calibrate as lab

    policy, recorded = _policy(file), _history(table)
    _fitted(policy, recorded)
    history = recorded.recording.between(0, recorded.history)
    with _understood("give --csv rows of the baseline from before the candidate's first one"):
        found = lab.calibrate(policy, history, _shares("--accept", accept, policy))
    if output == "json":
        click.echo(json.dumps({"gates": [one.summary() for one in found]}))
    else:
        click.echo(f"{recorded.describe()}\n\n{lab.text(found)}")
    if plot is not None:
        _page(plot, "Calibration", [lab.text(found), *lab.chart(policy, history, found)])
    return 0


@click.command()
@_file
@click.option(
    "--rate", "rates", multiple=True, help="Requests per second of both revisions: 50, or ctr=120 of one gate."
)
@click.option("--baseline", default="", help="What the baseline has of what each gate counts: errors=1%,ctr=3%.")
@click.option("--want", default="", help="How bad a candidate must be noticed: errors=2%,ctr=90% of baseline.")
@_csv
@_output
def plan(file: Path, rates: tuple[str, ...], baseline: str, want: str, table: Path | None, output: str) -> int:
    """What each gate in FILE can see at this traffic, and what it would need."""
    from modelrollout.lab import plan as lab

    policy = _policy(file)
    with _understood("docs/laboratory.md tells how to say the traffic"):
        found = _measured_traffic(policy, table)
        stated = _rates(rates)
        if found is None:
            found = lab.traffic(policy, stated, _shares("--baseline", baseline, policy))
        elif rates or baseline:
            raise click.UsageError("--csv measures what --rate and --baseline state: give one or the other")
        answer = lab.plan(policy, found, _said("--want", want))
    click.echo(json.dumps(answer.summary()) if output == "json" else lab.text(answer))
    return 0


def _measured_traffic(policy: Policy, table: Path | None) -> dict[str, Traffic] | None:
    """What a recording's baseline shows before the candidate; None without a recording."""
    if table is None:
        return None
    from modelrollout.lab.calibrate import measure
    from modelrollout.lab.plan import Traffic

    recorded = _history(table)
    _fitted(policy, recorded)
    floors = measure(policy, recorded.recording.between(0, recorded.history))
    return {one.gate: Traffic(one.rate, one.share, one.believed) for one in floors}


def _history(table: Path | None) -> Recorded:
    """A recording in which something came before the candidate."""
    if table is None:
        raise click.UsageError("give recorded history: --csv FILE")
    recorded = _recorded(table)
    if recorded.history == 0:
        raise CliError(
            f"{table}: nothing was recorded before the candidate's first row",
            "give rows of the baseline from before, an hour at least; a day is better",
        )
    return recorded


def _said(flag: str, text: str) -> dict[str, str]:
    """``errors=1%,ctr=3%`` as pairs."""
    found = {}
    for part in text.split(",") if text.strip() else ():
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise click.UsageError(f'{flag}: "{part.strip()}" is no pair: write {flag} errors=1%,ctr=3%')
        found[name.strip()] = value.strip()
    return found


def _shares(flag: str, text: str, policy: Policy) -> dict[str, float]:
    """Shares by gate."""
    found = {}
    for name, value in _said(flag, text).items():
        if name not in {counted.name for counted in policy.gates}:
            known = ", ".join(counted.name for counted in policy.gates)
            raise click.UsageError(f'{flag}: "{name}" is no gate of the policy: there are {known or "none"}')
        try:
            found[name] = parse_percent(value)
        except ValueError as error:
            raise click.UsageError(f"{flag} {name}: {error}") from error
    return found


def _rates(said: Sequence[str]) -> dict[str, float]:
    """Requests per second by gate; "" for all others."""
    found = {}
    for part in said:
        name, _, value = part.rpartition("=")
        try:
            rate = float(value)
        except ValueError:
            rate = math.nan
        if not 0.0 < rate < math.inf:
            raise click.UsageError(f'--rate: "{value}" is no number of requests per second: write 50, or ctr=120')
        found[name.strip()] = rate
    return found


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
