"""A policy under described traffic: one run told in full, and many for how often and how fast.

The rules of other controllers get the very same counts. When the scenario's candidate is harmful, the same traffic with
a candidate like the baseline tells how often a good model would have been rolled back: a rule that catches everything
is worth nothing without that number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelrollout.api.grammar import format_duration
from modelrollout.gates.sequential import Mask
from modelrollout.lab import backtest, plot, rivals
from modelrollout.lab.columns import Ints
from modelrollout.lab.policy import Bound, Policy, find_policy, read_documents
from modelrollout.lab.rivals import NEVER, Arms
from modelrollout.lab.runner import Cause, Results, run
from modelrollout.lab.scenario import Scenario, find_scenario
from modelrollout.lab.traffic import Traffic

__all__ = ["OURS", "Measured", "Row", "Simulation", "charts", "read", "simulate", "table", "text"]

OURS: Final = "ModelRollout"
_NORMAL_95: Final = 1.96
_KAYENTA_RUNS: Final = 200
"""Its test of ranks takes longer than everything else together."""
_LENGTHS: Final = 2.0
"""Traffic goes on for this many times what the policy takes when nothing holds it up."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one rule did in ``runs`` runs.

    ``rolled_back``: share of the runs; ``early``: share that was rolled back before there was any harm. ``seconds`` and
    ``exposed``: median time and candidate requests from the beginning of the harm to the rollback, of those that were
    rolled back after it; NaN when none was.
    """

    rule: str
    runs: int
    rolled_back: float
    early: float
    seconds: float
    exposed: float
    slots: Ints
    """The interval in which each run was rolled back; -1 for never."""

    @property
    def error(self) -> float:
        """Monte-Carlo standard error of ``rolled_back``."""
        return math.sqrt(self.rolled_back * (1.0 - self.rolled_back) / self.runs)

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of ``rolled_back``, which says something even when no run was.

        Source: E. Wilson, Journal of the American Statistical Association 22 (1927).
        """
        n, p, z2 = self.runs, self.rolled_back, _NORMAL_95**2
        middle, half = p + z2 / (2 * n), _NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))

    def summary(self) -> dict[str, Any]:
        """For machines."""
        return {
            "runs": self.runs,
            "rolledBack": round(self.rolled_back, 6),
            "error": round(self.error, 6),
            "low": round(self.interval[0], 6),
            "high": round(self.interval[1], 6),
            "beforeHarm": round(self.early, 6),
            "medianSeconds": None if math.isnan(self.seconds) else self.seconds,
            "medianExposed": None if math.isnan(self.exposed) else round(self.exposed),
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """Many runs of one candidate: each rule, ours first, and more about ours."""

    rows: tuple[Row, ...]
    promoted: float
    undecided: float
    gates: dict[str, float]
    """For each gate, the share of the runs that it rolled back."""
    causes: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """For machines."""
        ours, *others = self.rows
        more = {"promoted": self.promoted, "undecided": self.undecided, "gates": self.gates, "causes": self.causes}
        return ours.summary() | more | {"rules": {row.rule: row.summary() for row in others}}


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything: ``results`` of all runs (the first one traced), the scenario's candidate, and a good one."""

    policy: Policy
    scenario: Scenario
    seed: int
    bound: tuple[Bound, ...]
    results: Results
    candidate: Measured
    good: Measured | None

    def summary(self) -> dict[str, Any]:
        """For machines."""
        found = {"runs": len(self.results.at), "seed": self.seed, "run": self.results.summary()}
        found["candidate"] = self.candidate.summary()
        if self.good is not None:
            found["good"] = self.good.summary()
        return found


def simulate(
    policy: Policy, scenario: Scenario, *, runs: int, seed: int, progress: Callable[[float], None] | None = None
) -> Simulation:
    """Run it. Runs begin at different seeds of one generator; the same seed gives the same answer.

    Raises
    ------
    ValueError
        If a gate's metric is not in the scenario.
    """

    def part(number: int, of: int) -> Callable[[float], None] | None:
        told = progress
        return None if told is None else lambda done: told((number + done) / of)

    candidates = 2 if scenario.has_effect and runs > 1 else 1
    results, bound = _run(policy, scenario, runs, seed, part(0, candidates))
    measured = _measure(results, bound, policy, _begins(scenario))
    good = None
    if candidates > 1:
        same, _ = _run(policy, replace(scenario, effects=None), runs, seed + 1, part(1, candidates))
        good = _measure(same, bound, policy, 0.0)
    return Simulation(policy, scenario, seed, bound, results, measured, good)


def read(files: Sequence[Path]) -> tuple[Policy, Scenario]:
    """Policy and scenario from one file or two; the sample that comes with the package when there is none.

    Raises
    ------
    ValueError
        If one of them is missing or wrong.
    """
    with as_file(resources("modelrollout.lab.samples") / "ranker.yaml") as sample:
        documents = [document for path in files or [sample] for document in read_documents(path)]
    return find_policy(documents), find_scenario(documents)


def _run(
    policy: Policy, scenario: Scenario, runs: int, seed: int, progress: Callable[[float], None] | None
) -> tuple[Results, tuple[Bound, ...]]:
    longest = _LENGTHS * policy.planned
    traffic = Traffic(scenario, interval=policy.interval, runs=runs, seed=seed, length=longest)
    bound = policy.bind(traffic.columns, policy.interval)
    return run(policy, traffic, counted=True, progress=progress), bound


def _begins(scenario: Scenario) -> float:
    """When the candidate begins to differ."""
    return min((effect.at for effect in (scenario.effects or {}).values()), default=0.0)


def _measure(results: Results, bound: tuple[Bound, ...], policy: Policy, begins: float) -> Measured:
    ours = np.where(results.rolled_back, results.intervals - 1, NEVER)
    arms = [Arms(nc, xc, nb, xb, policy.interval) for nc, xc, nb, xb in results.counts]
    rows = [_row(OURS, ours, arms, policy, begins)]
    if arms:
        rows += [_row(rule, slots, arms, policy, begins) for rule, slots in _others(arms, bound).items()]
    runs = len(results.at)
    return Measured(
        tuple(rows),
        promoted=float(results.promoted.mean()),
        undecided=float((~results.promoted & ~results.rolled_back).mean()),
        gates={
            one.name: round(float((results.gate[results.rolled_back] == i).sum() / runs), 6)
            for i, one in enumerate(results.gates)
        },
        causes={
            cause.name.lower(): round(float((results.cause == cause).mean()), 6)
            for cause in Cause
            if cause is not Cause.NOTHING
        },
    )


def _others(arms: list[Arms], bound: tuple[Bound, ...]) -> dict[str, Ints]:
    """The rules of other controllers over all gates: whichever fails first."""
    lines = [one.test.line for one in bound]
    few = [one.first(_KAYENTA_RUNS) for one in arms]
    return {
        "Flagger, threshold 5": rivals.flagger(arms, lines),
        "Argo Rollouts, failureLimit 0": rivals.argo(arms, lines),
        "Argo Rollouts, failureLimit 3": rivals.argo(arms, lines, failure_limit=3),
        "Kayenta": rivals.kayenta(few),
    }


def _row(rule: str, slots: Ints, arms: list[Arms], policy: Policy, begins: float) -> Row:
    first = math.ceil(begins / policy.interval - 1e-9)
    caught: Mask = slots >= 0
    late = caught & (slots >= first)
    seconds = exposed = math.nan
    if late.any():
        seconds = float(np.median((slots[late] + 1) * policy.interval - begins))
        if arms:
            asked = np.max([one.nc[: len(slots)] for one in arms], axis=0)[:, first:].cumsum(axis=1)
            exposed = float(np.median(asked[late, np.minimum(slots[late] - first, asked.shape[1] - 1)]))
    return Row(rule, len(slots), float(caught.mean()), float((caught & ~late).mean()), seconds, exposed, slots)


def text(simulation: Simulation) -> str:
    """One run in full, and the table of all."""
    results = simulation.results
    parts = [f"ONE ROLLOUT (of {len(results.at)}, seed {simulation.seed})", backtest.text(simulation.policy, results)]
    if len(results.at) > 1:
        parts += ["", f"ALL {len(results.at)} (95 % intervals)", table(simulation)]
    return "\n".join(parts)


def charts(simulation: Simulation) -> list[str]:
    """The evidence of one run, and how many runs each rule has rolled back by when."""
    trace = simulation.results.trace
    marks = [plot.Mark(f"{event.text}{f': {event.gate}' if event.gate else ''}", event.at) for event in trace.events]
    strength = [
        plot.Series(name, trace.at, [min(max(nats / trace.needed[name], 0.0), 1.2) for nats in values])
        for name, values in trace.evidence.items()
    ]
    enough = [plot.Level("enough to roll back", 1.0)]
    found = [
        plot.lines("One rollout: evidence against the candidate (logarithmic)", strength, limits=enough, marks=marks)
    ]
    this = "Rolled back by when" if simulation.good is None else "Rolled back by when: the candidate of the scenario"
    found.append(_curves(this, simulation.candidate, simulation.policy.interval))
    if simulation.good is not None:
        found.append(_curves("Rolled back by when: a good model", simulation.good, simulation.policy.interval))
    return found


def _curves(title: str, measured: Measured, interval: float) -> str:
    last = max(int(row.slots.max(initial=0)) for row in measured.rows) + 1
    at = [interval * number for number in range(last + 1)]
    series = []
    for row, style in zip(measured.rows, ("solid", "dashed", "dotted", "dashed", "dotted"), strict=False):
        ended = np.bincount(row.slots[row.slots >= 0] + 1, minlength=last + 1).cumsum() / row.runs
        series.append(plot.Series(row.rule, at, ended.tolist(), style))
    return plot.lines(title, series, y_format=plot.percent)


def table(simulation: Simulation) -> str:
    """The rules side by side, for people."""
    measured, good = simulation.candidate, simulation.good
    harmful = simulation.scenario.has_effect
    head = ["RULE", *(["GOOD MODEL ROLLED BACK"] if good or not harmful else [])]
    head += ["THIS ONE ROLLED BACK", "AFTER (MEDIAN)", "REQUESTS EXPOSED"] if harmful else []
    rows = [head]
    for i, row in enumerate(measured.rows):
        cells = [row.rule]
        if good is not None:
            cells.append(_share(good.rows[i]))
        cells.append(_share(row))
        if harmful:
            cells.append("–" if math.isnan(row.seconds) else format_duration(row.seconds))
            cells.append("–" if math.isnan(row.exposed) else f"{row.exposed:,.0f}")
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _share(row: Row) -> str:
    """A share with its 95 % interval, and what of it came before the harm."""
    low, high = row.interval
    early = f", {row.early:.0%} before the harm" if row.early >= 0.005 else ""
    return f"{row.rolled_back:.1%} ({low:.1%} to {high:.1%}){early}"
