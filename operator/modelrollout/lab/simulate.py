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
from modelrollout.gates.eprocess import Array
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
_BATCH: Final = 250
"""Runs side by side: enough for speed, few enough for the memory of a laptop."""
_KAYENTA_RUNS: Final = 100
"""Of each batch: its test of ranks takes longer than everything else together."""
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
    """Everything: ``results`` of the first runs (the very first one traced), what all runs of the scenario's candidate
    came to, and of a good one."""

    policy: Policy
    scenario: Scenario
    runs: int
    seed: int
    results: Results
    candidate: Measured
    good: Measured | None

    def summary(self) -> dict[str, Any]:
        """For machines."""
        found = {"runs": self.runs, "seed": self.seed, "run": self.results.summary()}
        found["candidate"] = self.candidate.summary()
        if self.good is not None:
            found["good"] = self.good.summary()
        return found


def simulate(
    policy: Policy, scenario: Scenario, *, runs: int, seed: int, progress: Callable[[float], None] | None = None
) -> Simulation:
    """Run it; the same seed gives the same answer.

    Raises
    ------
    ValueError
        If a gate's metric is not in the scenario.
    """
    candidates = 2 if scenario.has_effect and runs > 1 else 1
    begins = min((effect.at for effect in (scenario.effects or {}).values()), default=0.0)
    results, measured = _many(policy, scenario, runs, (seed, 0), begins, _part(progress, 0, candidates))
    good = None
    if candidates > 1:
        same = replace(scenario, effects=None)
        _, good = _many(policy, same, runs, (seed, 1), 0.0, _part(progress, 1, candidates))
    return Simulation(policy, scenario, runs, seed, results, measured, good)


def _part(progress: Callable[[float], None] | None, number: int, of: int) -> Callable[[float], None] | None:
    """Progress of one part of several."""
    return None if progress is None else lambda done: progress((number + done) / of)


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


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some of the runs: for each rule the interval in which it rolled back and the candidate's requests up to then,
    since the harm began; of ours how it ended."""

    slots: dict[str, Ints]
    exposed: dict[str, Array]
    promoted: Mask
    gate: Ints
    cause: Ints


def _many(
    policy: Policy,
    scenario: Scenario,
    runs: int,
    seed: tuple[int, int],
    begins: float,
    progress: Callable[[float], None] | None,
) -> tuple[Results, Measured]:
    """All runs of one candidate, in batches; the results of the first one are kept."""
    sizes = [min(_BATCH, runs - first) for first in range(0, runs, _BATCH)]
    kept: Results | None = None
    batches = []
    for number, size in enumerate(sizes):
        source = Traffic(
            scenario, interval=policy.interval, runs=size, seed=(*seed, number), length=_LENGTHS * policy.planned
        )
        told = _part(progress, number, len(sizes))
        results = run(policy, source, traced=number == 0, counted=True, progress=told)
        batches.append(_tried(results, policy, source, begins))
        kept = replace(results, counts=()) if kept is None else kept
    assert kept is not None
    return kept, _measure(batches, [one.name for one in kept.gates], policy.interval, begins)


def _tried(results: Results, policy: Policy, source: Traffic, begins: float) -> _Batch:
    """Every rule on the counts of a batch."""
    arms = [Arms(nc, xc, nb, xb, policy.interval) for nc, xc, nb, xb in results.counts]
    slots = {OURS: np.where(results.rolled_back, results.intervals - 1, NEVER)}
    if arms:
        slots |= _others(arms, policy.bind(source.columns, policy.interval))
    first = _first(begins, policy.interval)
    asked = np.max([one.nc for one in arms], axis=0)[:, first:].cumsum(axis=1) if arms else np.zeros((len(slots), 0))
    exposed = {rule: _until(asked, found - first) for rule, found in slots.items()}
    return _Batch(slots, exposed, results.promoted, results.gate, results.cause)


def _first(begins: float, interval: float) -> int:
    """Index of the first interval that is harmful as a whole."""
    return math.ceil(begins / interval - 1e-9)


def _until(asked: Array, slots: Ints) -> Array:
    """Requests up to these intervals, from cumulative ones; NaN before the first."""
    if not asked.shape[1]:
        return np.full(len(slots), math.nan)
    found = asked[np.arange(len(slots)), np.clip(slots, 0, asked.shape[1] - 1)]
    return np.where(slots >= 0, found, math.nan)


def _measure(batches: Sequence[_Batch], gates: Sequence[str], interval: float, begins: float) -> Measured:
    promoted, gate, cause = (
        np.concatenate([getattr(one, name) for one in batches]) for name in ("promoted", "gate", "cause")
    )
    rules = batches[0].slots
    rows = [
        _row(
            rule,
            np.concatenate([one.slots[rule] for one in batches if rule in one.slots]),
            np.concatenate([one.exposed[rule] for one in batches if rule in one.exposed]),
            interval,
            begins,
        )
        for rule in rules
    ]
    rolled_back = cause > 0
    return Measured(
        tuple(rows),
        promoted=round(float(promoted.mean()), 6),
        undecided=round(float((~promoted & ~rolled_back).mean()), 6),
        gates={name: round(float((rolled_back & (gate == i)).mean()), 6) for i, name in enumerate(gates)},
        causes={one.name.lower(): round(float((cause == one).mean()), 6) for one in Cause if one is not Cause.NOTHING},
    )


def _others(arms: list[Arms], bound: tuple[Bound, ...]) -> dict[str, Ints]:
    """The rules of other controllers over all gates: whichever fails first."""
    lines = [one.test.line for one in bound]
    return {
        "Flagger, threshold 5": rivals.flagger(arms, lines),
        "Argo Rollouts, failureLimit 0": rivals.argo(arms, lines),
        "Argo Rollouts, failureLimit 3": rivals.argo(arms, lines, failure_limit=3),
        "Kayenta": rivals.kayenta([one.first(_KAYENTA_RUNS) for one in arms]),
    }


def _row(rule: str, slots: Ints, exposed: Array, interval: float, begins: float) -> Row:
    caught: Mask = slots >= 0
    late = caught & (slots >= _first(begins, interval))
    return Row(
        rule,
        len(slots),
        rolled_back=float(caught.mean()),
        early=float((caught & ~late).mean()),
        seconds=float(np.median((slots[late] + 1) * interval - begins)) if late.any() else math.nan,
        exposed=float(np.median(exposed[late])) if late.any() else math.nan,
        slots=slots,
    )


def text(simulation: Simulation) -> str:
    """One run in full, and the table of all."""
    results = simulation.results
    parts = [f"ONE ROLLOUT (of {simulation.runs:,}, seed {simulation.seed})", backtest.text(simulation.policy, results)]
    if simulation.runs > 1:
        ours = simulation.candidate
        rest = f"of {OURS}: {ours.promoted:.1%} promoted, {ours.undecided:.1%} undecided when the traffic ended"
        parts += ["", f"ALL {simulation.runs:,} (95 % intervals)", table(simulation), rest]
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
