"""Latency per batch size from a handful of runs: is any batch size slower than the limit allows?

The runs of both revisions are made in turns on one node. Logarithms of each run's p95 are compared, because noise on
a machine is a percentage; the scatter of all batch sizes is pooled, because five runs alone say little about it. With
ten runs or more the slowest fifth of each arm is left out (a neighbour on the node makes runs slower, never faster),
and the scatter of the rest is raised by what leaving out took from it. One batch size beyond the limit is a breach, at
alpha divided among them; all of them within it are a proof.

Source: the pooled two-sample t-test (Student, "The probable error of a mean", Biometrika 6, 1908); the factor for the
runs left out was measured, see ``docs/reports.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from modelrollout.api.grammar import Limit
from modelrollout.gates.asymptotic import short
from modelrollout.gates.report_format import Runs
from modelrollout.gates.student import t_quantile

__all__ = ["Judged", "Row", "judge", "rows"]

FEWEST_RUNS: Final = 3
_TRIMMED_FROM: Final = 10
_TRIMMED_SHARE: Final = 5
"""The slowest fifth is left out."""
_TRIMMED_VARIANCE: Final = 1.5
_POWER_80: Final = NormalDist().inv_cdf(0.8)


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of the runs of one batch size: number, means of ln p95, and the sum of squares of both arms."""

    batch: str
    runs: int
    kept: int
    candidate: float
    baseline: float | None
    squares: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The batch size that is furthest beyond the limit, and the bounds of all; distances are logarithms of ratios."""

    worst: Row
    beyond: float
    low: float
    high: float
    error: float
    scatter: float
    """Standard deviation of ln p95 from run to run: about the coefficient of variation."""
    would_have_seen: float
    more_runs: int
    """Further runs of each arm and batch size that should decide it."""


def rows(table: tuple[Runs, ...], limit: Limit, place: str) -> tuple[Row, ...]:
    """The sufficient statistics of a table.

    Raises
    ------
    ValueError
        If the limit needs runs that are not there, or is none for a latency.
    """
    if limit.relative and limit.offset:
        raise ValueError(f'the limit "{limit.text}" adds something to the baseline: write it like "110% of baseline"')
    for runs in table:
        if limit.relative and not runs.baseline:
            raise ValueError(f'{place}.batch.{runs.batch}.baseline is missing: the limit "{limit.text}" needs it')
    return tuple(_row(runs, limit.relative) for runs in table)


def _row(runs: Runs, relative: bool) -> Row:
    """Without a baseline nothing is left out: that would lower the mean of one side only."""
    count = len(runs.candidate)
    dropped = count // _TRIMMED_SHARE if relative and count >= _TRIMMED_FROM else 0
    arms = [sorted(map(math.log, arm))[: count - dropped] for arm in (runs.candidate, runs.baseline) if arm]
    used = arms if relative else arms[:1]
    means = [math.fsum(arm) / max(len(arm), 1) for arm in arms]
    squares = sum((value - means[i]) ** 2 for i, arm in enumerate(used) for value in arm)
    kept = count - dropped
    return Row(
        runs.batch,
        count,
        kept,
        short(means[0]) if means else 0.0,
        short(means[1]) if len(means) > 1 else None,
        short(squares * (_TRIMMED_VARIANCE if dropped else 1.0)),
    )


def judge(table: tuple[Row, ...], limit: Limit, alpha: float, beta: float) -> Judged:
    """Judge a table of at least :data:`FEWEST_RUNS` runs per batch size."""
    arms = 2 if limit.relative else 1
    freedom = sum(arms * (row.kept - 1) for row in table)
    scatter = math.sqrt(sum(row.squares for row in table) / freedom)
    to_breach, to_prove = t_quantile(1.0 - alpha / len(table), freedom), t_quantile(1.0 - beta, freedom)
    found = [(_beyond(row, limit), scatter * math.sqrt(arms / row.kept), row) for row in table]
    beyond, error, worst = max(found, key=lambda one: one[0])
    needed = to_breach if beyond > 0.0 else to_prove
    gap = max(abs(beyond), 1e-9)
    wanted = arms * (scatter * (needed + _POWER_80) / gap) ** 2 * worst.runs / worst.kept
    return Judged(
        worst,
        beyond,
        max(distance - to_breach * width for distance, width, _ in found),
        max(distance + to_prove * width for distance, width, _ in found),
        error,
        scatter,
        (to_breach + _POWER_80) * error,
        max(1, math.ceil(min(wanted, 1e6)) - worst.runs),
    )


def _beyond(row: Row, limit: Limit) -> float:
    if limit.relative:
        return row.candidate - (row.baseline or 0.0) - math.log(limit.factor)
    return row.candidate - math.log(limit.offset)
