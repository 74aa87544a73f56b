"""The laboratory's commands: what a policy would do, without a cluster.

numpy and the laboratory are imported where they are used, so that the other commands start as fast as before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modelrollout.api.grammar import parse_percent
from modelrollout.cli import completion, view
from modelrollout.cli.cluster import Cluster, Connection
from modelrollout.cli.errors import FAILED, CliError
from modelrollout.cli.recordings import Origin, from_prometheus, origin, progress, read_policy, understood

if TYPE_CHECKING:
    from modelrollout.api.objects import Rollout
    from modelrollout.lab.backtest import AgainstItself
    from modelrollout.lab.explain import Asked
    from modelrollout.lab.history import Release
    from modelrollout.lab.plan import Traffic
    from modelrollout.lab.policy import Policy
    from modelrollout.lab.runner import Results

__all__ = ["register"]

_file = click.argument("file", type=click.Path(path_type=Path))
_output = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="How to print.")
_plot = click.option("--plot", type=click.Path(path_type=Path), help="Write charts into this HTML file.")
_url = click.option("--prometheus", help="URL of the Prometheus (Thanos, Mimir) that has the evidence.")
_BEFORE: Final = 12 * 3600.0
"""Seconds of the baseline's history that are read beside a release, for the noise floor."""
_seed = click.option("--seed", type=int, default=1, help="Seed of everything drawn at random.")


def register(cli: click.Group, connected: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
    """Add the laboratory's commands. ``connected`` gives a command the flags for the cluster."""
    for command in (backtest, calibrate, plan, simulate):
        cli.add_command(command)
    on_cluster = connected(_explain)
    for decorate in (_output, _plot, _url, click.argument("name", shell_complete=completion.rollouts)):
        on_cluster = decorate(on_cluster)
    cli.command("explain")(on_cluster)


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many rollouts.")
@_seed
@_plot
@_output
def simulate(files: Sequence[Path], runs: int, seed: int, plot: Path | None, output: str) -> int:
    """Run the policy under described traffic. Beside it, the rules of other controllers.

    FILES hold a ModelRollout (or only its steps and gates) and a traffic scenario, as two documents of one file or as
    two files. Without FILES, a sample is shown.
    """
    from modelrollout.lab import simulate as lab

    with understood("docs/scenarios.md tells how to write it"):
        policy, scenario = lab.read(files)
        with progress() as told:
            found = lab.simulate(policy, scenario, runs=runs, seed=seed, progress=told)
    click.echo(json.dumps(found.summary()) if output == "json" else lab.text(found))
    if plot is not None:
        _page(plot, "Simulation", [lab.text(found), *lab.charts(found)])
    return 0


@click.command()
@_file
@origin
@click.option("--aa/--no-aa", default=None, help="Also run the baseline against itself; default with text.")
@_seed
@_plot
@_output
def backtest(file: Path, origin: Origin, aa: bool | None, seed: int, plot: Path | None, output: str) -> int:
    """What the policy in FILE would have done in recorded history.

    FILE holds a ModelRollout, or only its gates and steps. A table has rows of a candidate, and metrics are named like
    its columns; in Prometheus every past release of the rollout is found and judged.
    """
    origin.check()
    policy, wanted = read_policy(file), aa or (aa is None and output == "text")
    if origin.prometheus is not None:
        return _past_releases(file, policy, origin, seed if wanted else None, plot, output)
    from modelrollout.lab import backtest as lab
    from modelrollout.lab import runner

    recorded = origin.recorded(policy)
    if recorded.recording.begins is None:
        raise CliError(
            f'{origin.table}: no row has the arm "candidate"', "calibrate reads a recording of the baseline alone"
        )
    results = runner.run(policy, recorded.recording)
    itself = None
    if wanted:
        itself = lab.against_itself(policy, recorded.recording.between(0, recorded.history), seed=seed)
    if output == "json":
        if itself is not None:
            click.echo(json.dumps({"aa": _for_machines(itself)}))
        click.echo(json.dumps(results.summary()))
    else:
        click.echo(f"{recorded.describe()}\n\n{lab.text(policy, results)}")
        if itself is not None:
            click.echo(f"\n{_for_people(itself)}")
    if plot is not None:
        told = f"{recorded.describe()}\n{lab.text(policy, results)}"
        _page(plot, "Backtest", [told, *lab.chart(policy, recorded.recording, results)])
    return 0


def _past_releases(file: Path, policy: Policy, origin: Origin, seed: int | None, plot: Path | None, output: str) -> int:
    """Every release that Prometheus remembers, and (with a seed) the baseline against itself."""
    from modelrollout.lab import backtest as lab
    from modelrollout.lab import history, runner

    found = origin.found(file, policy)
    itself = None if seed is None else lab.against_itself(policy, history.baseline(found), seed=seed)
    rows, told, charts = [], [], []
    for one in history.releases(found, policy):
        results = runner.run(policy, one.recording)
        names = {"revision": one.revision, "stable": one.baseline, "startedAt": _when(one.at)}
        rows.append(names | results.summary())
        told.append(f"{_when(one.at)}  {one.revision} against {one.baseline}\n\n{lab.text(policy, results)}")
        charts += [told[-1], *lab.chart(policy, one.recording, results)]
    if output == "json":
        answer = {"releases": rows, "notes": list(found.notes)}
        click.echo(json.dumps(answer | ({} if itself is None else {"aa": _for_machines(itself)})))
    else:
        click.echo("\n\n".join(told) or "no release in this time: no revision got its first requests beside another")
        for line in (*found.notes, *(() if itself is None else (_for_people(itself),))):
            click.echo(f"\n{line}")
    if plot is not None:
        _page(plot, "Backtest", charts or ["no release in this time"])
    return 0


def _for_machines(itself: AgainstItself | str) -> dict[str, object]:
    return {"skipped": itself} if isinstance(itself, str) else itself.summary()


def _for_people(itself: AgainstItself | str) -> str:
    return itself if isinstance(itself, str) else itself.text()


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@click.command()
@_file
@origin
@click.option("--accept", default="", help="Regression to accept beyond the noise, of the events: errors=10%,ctr=2%.")
@_plot
@_output
def calibrate(file: Path, origin: Origin, accept: str, plot: Path | None, output: str) -> int:
    """How noisy each metric in FILE is, and limits beyond that."""
    origin.check()
    from modelrollout.lab import calibrate as lab

    policy = read_policy(file)
    accepted = _shares("--accept", accept, policy)
    history, described = origin.history(file, policy)
    with understood("give a history of the baseline with traffic in it"):
        found = lab.calibrate(policy, history, accepted)
    if output == "json":
        click.echo(json.dumps({"gates": [one.summary() for one in found]}))
    else:
        click.echo(f"{described}\n\n{lab.text(found)}")
    if plot is not None:
        _page(plot, "Calibration", [lab.text(found), *lab.chart(policy, history, found)])
    return 0


@click.command()
@_file
@click.option("--rate", "rates", multiple=True, help="Requests/s of both revisions: 50, or ctr=120 of one gate.")
@click.option("--baseline", default="", help="What the baseline has of what each gate counts: errors=1%,ctr=3%.")
@click.option("--want", default="", help="How bad a candidate must be noticed: errors=2%,ctr=90% of baseline.")
@origin
@_output
def plan(file: Path, rates: tuple[str, ...], baseline: str, want: str, origin: Origin, output: str) -> int:
    """What each gate in FILE can see at this traffic, or would need."""
    from modelrollout.lab import plan as lab

    policy = read_policy(file)
    wishes, stated = _said("--want", want), _rates(rates)
    with understood("docs/laboratory.md tells how to say the traffic"):
        if not origin.given:
            found = lab.traffic(policy, stated, _shares("--baseline", baseline, policy))
        elif rates or baseline:
            raise click.UsageError("recorded history measures what --rate and --baseline state: give one or the other")
        else:
            found = _measured_traffic(file, policy, origin)
        answer = lab.plan(policy, found, wishes)
    click.echo(json.dumps(answer.summary()) if output == "json" else lab.text(answer))
    return 0


def _measured_traffic(file: Path, policy: Policy, origin: Origin) -> dict[str, Traffic]:
    """What the baseline's past shows."""
    from modelrollout.lab.calibrate import measure
    from modelrollout.lab.plan import Traffic

    history, _ = origin.history(file, policy)
    return {one.gate: Traffic(one.rate, one.share, one.believed) for one in measure(policy, history)}


def _explain(name: str, prometheus: str | None, plot: Path | None, output: str, to: Connection) -> int:
    """Why a rollout stopped or goes on. The evidence of each gate over time.

    Without --prometheus, and when that does not answer, what status remembers is told.
    """
    from modelrollout.lab import explain as lab
    from modelrollout.lab.policy import find_policy

    body = Cluster.connect(to).rollout(name.rsplit("/", 1)[-1])
    rollout = view.read(body, [], datetime.now(UTC)).rollout
    which = lab.asked(rollout)
    if which is None:
        raise CliError(f"{rollout.name} has had no release yet: its first version took no steps", "see status")
    with understood("upgrade the command to the operator's version"):
        policy = find_policy([body])
    release, results, trouble = None, None, None
    try:
        release, results = (None, None) if prometheus is None else _replayed(prometheus, policy, rollout, which)
    except CliError as error:
        trouble = error
    story = lab.tell(rollout, which, release, results)
    click.echo(json.dumps(lab.summary(story)) if output == "json" else lab.text(story))
    if plot is not None:
        _page(plot, f"Why: {rollout.name}", [lab.text(story), *lab.charts(story, policy)])
    if trouble is None:
        return 0
    click.echo(f"error: not told is how the evidence grew: {trouble.message}\n  {trouble.remedy}", err=True)
    return FAILED


def _replayed(url: str, policy: Policy, rollout: Rollout, which: Asked) -> tuple[Release | None, Results | None]:
    """The release read again and judged by the same tests; nothing when Prometheus does not have it."""
    from modelrollout.lab import history, runner

    end = (which.ended.ended_at if which.ended is not None else datetime.now(UTC)).timestamp()
    start = (which.since.timestamp() if which.since is not None else end) - _BEFORE
    found = from_prometheus(url, policy, rollout.namespace, rollout.name, start, end)
    for release in history.releases(found, policy):
        if which.revision.startswith(release.revision):
            return release, runner.run(policy, release.recording)
    click.echo(f"Prometheus has no requests of revision {which.revision[:8]} beside another one", err=True)
    return None, None


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


def _page(path: Path, title: str, parts: Sequence[str]) -> None:
    """Write charts."""
    from modelrollout.lab import plot

    try:
        path.write_text(plot.page(title, parts), encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", "give --plot a file that can be written") from error
    click.echo(f"charts are in {path}", err=True)
