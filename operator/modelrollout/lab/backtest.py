"""A policy over recorded history: what it would have done, and how often it would have wronged a good model.

The traffic of the past is what it was: the policy's weights change nothing about it, they only tell when a step
begins and how long it is held. How often a good model would have been rolled back is measured on the baseline against
itself (an A/A test): some of its pods play the candidate, at many moments of the history. That is this service's own
noise, not an assumption about it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelrollout.api.grammar import format_duration
from modelrollout.gates.eprocess import Array
from modelrollout.lab import plot, runner
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.policy import Bound, Buckets, Policy
from modelrollout.lab.runner import Outcome, Results

__all__ = ["AgainstItself", "against_itself", "chart", "sentence", "text"]

_LEAST_HISTORY: Final = 3600.0
"""Before each stretch, so that the noise floor is known as it would have been."""
_LONGEST_HISTORY: Final = 12 * 3600.0
_OFFSETS: Final = 24
_SPLITS: Final = 4
_TOLERATED_OVERLAP: Final = 4
"""Stretches begin no nearer to each other than this part of their length: nearer ones tell nothing new."""
_MOSTLY: Final = 0.5
_NORMAL_95: Final = 1.96
_POINTS: Final = 120
"""Of a line: rates of single intervals are mostly chance."""


Try = tuple[int, ...]
"""Indices of the replicas that play the candidate."""


@dataclass(frozen=True, slots=True)
class AgainstItself:
    """The baseline against itself: ``rolled_back`` of ``runs``; ``independent``: about how many of them tell something
    of their own."""

    runs: int
    rolled_back: int
    independent: int
    gates: tuple[str, ...]
    """The gates that rolled back, each as often as it did."""

    @property
    def rate(self) -> float:
        """Share of rollbacks, all of them false."""
        return self.rolled_back / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the rate that counts only what is independent.

        Source: E. Wilson, Journal of the American Statistical Association 22 (1927).
        """
        n, p, z2 = self.independent, self.rate, _NORMAL_95**2
        middle, half = p + z2 / (2 * n), _NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z2 / n)), min(1.0, (middle + half) / (1 + z2 / n))

    def text(self) -> str:
        """One sentence."""
        low, high = self.interval
        by = f" ({', '.join(f'{gate} {self.gates.count(gate)}' for gate in dict.fromkeys(self.gates))})"
        return (
            f"baseline against itself: {self.rolled_back} of {self.runs} rolled back{by if self.gates else ''}, "
            f"{self.rate:.1%} (95 %: {low:.1%} to {high:.1%}; about {self.independent} are independent)"
        )

    def summary(self) -> dict[str, Any]:
        """For machines."""
        low, high = self.interval
        return {
            "runs": self.runs,
            "falseRollbacks": self.rolled_back,
            "rate": round(self.rate, 6),
            "low": round(low, 6),
            "high": round(high, 6),
            "independent": self.independent,
        }


def against_itself(policy: Policy, baseline: Recording, *, seed: int = 1) -> AgainstItself | str:
    """Run the policy with some of the baseline's pods as the candidate; a sentence why not, where it cannot be done.

    ``baseline``: a recording of which only the baseline is used. The candidate's pods are about as many as the first
    step's weight asks for; which ones is drawn anew for each split.
    """
    replicas = sorted(baseline.arms.get(BASELINE, {}))
    if len(replicas) < 2:
        return "baseline against itself: not measured, its replicas are not told apart (write baseline/0, baseline/1)"
    bound = policy.bind(baseline.columns, baseline.interval)
    if not bound:
        return "baseline against itself: not measured, no gate counts events"
    interval = baseline.interval
    before, after = round(_LEAST_HISTORY / interval), math.ceil(policy.planned / interval)
    spare = len(baseline.times) - before - after
    if spare < 0:
        wanted = format_duration((before + after) * interval)
        there = format_duration(len(baseline.times) * interval)
        return f"baseline against itself: not measured, it needs {wanted} of history and there is {there}"
    offsets = before + np.unique(np.linspace(0, spare, _stretches(spare, after)).astype(np.int64))
    splits = _splits(len(replicas), policy.steps[0].share, np.random.default_rng(seed))
    columns = sorted({column for one in bound for column in one.source.columns})
    counts = np.stack([_whole(baseline, replica, columns) for replica in replicas])
    tries = [
        (offset, split) for offset in offsets.tolist() for split in splits if _recorded(counts, offset, split, after)
    ]
    if not tries:
        return "baseline against itself: not measured, its replicas were never recorded side by side for long enough"
    results = runner.run(policy, _played(baseline, columns, counts, tries, after), traced=False)
    names = [one.name for one in results.gates]
    rolled = np.flatnonzero(results.rolled_back)
    return AgainstItself(
        len(tries),
        len(rolled),
        _independent(tries, after, len(replicas)),
        tuple(names[results.gate[i]] for i in rolled),
    )


def _recorded(counts: Array, offset: int, split: Try, after: int) -> bool:
    """Whether both sides were there for most of a stretch: what was not recorded cannot be wronged."""
    others = [i for i in range(len(counts)) if i not in split]
    sides = (np.isfinite(counts[list(side), 0, offset : offset + after]).any(axis=0) for side in (split, others))
    return all(float(side.mean()) >= _MOSTLY for side in sides)


def _independent(tries: Sequence[tuple[int, Try]], after: int, replicas: int) -> int:
    """How many of the tries tell something of their own: stretches without common time, times what can be compared
    among so many replicas without saying the same again."""
    stretches, until = 0, -1
    for offset in sorted({offset for offset, _ in tries}):
        if offset >= until:
            stretches, until = stretches + 1, offset + after
    everything = set(range(replicas))
    pairs = {frozenset((frozenset(split), frozenset(everything - set(split)))) for _, split in tries}
    return min(stretches * min(len(pairs), replicas - 1), len(tries))


def _stretches(spare: int, after: int) -> int:
    return min(_OFFSETS, 1 + _TOLERATED_OVERLAP * spare // max(after, 1))


def _splits(count: int, share: float, rng: np.random.Generator) -> list[Try]:
    """Which replicas play the candidate: different sets of one size."""
    size = min(max(1, round(share * count)), count // 2)
    most = min(_SPLITS, math.comb(count, size))
    found: dict[Try, None] = {}
    while len(found) < most:
        found[tuple(sorted(rng.choice(count, size, replace=False).tolist()))] = None
    return list(found)


def _played(
    baseline: Recording, columns: Sequence[str], counts: Array, tries: Sequence[tuple[int, Try]], after: int
) -> Recording:
    """One run for each offset and split, aligned at the candidate's first interval."""
    before = min(max(offset for offset, _ in tries), round(_LONGEST_HISTORY / baseline.interval))
    halves = [_sum(counts[side::2]) for side in (0, 1)]
    first, second, ours = [], [], []
    for offset, split in tries:
        past = [_cut(half, offset - before, offset) for half in halves]
        others = [i for i in range(len(counts)) if i not in split]
        ahead = [_cut(_sum(counts[list(some)]), offset, offset + after) for some in (others, split)]
        nothing = np.full_like(ahead[0], math.nan)
        first.append(np.concatenate([past[0], ahead[0]], axis=1))
        second.append(np.concatenate([past[1], nothing], axis=1))
        ours.append(np.concatenate([np.full_like(past[0], math.nan), ahead[1]], axis=1))
    times: Array = baseline.interval * np.arange(before + after, dtype=np.float64)
    arms = {
        BASELINE: {"0": _named(first, columns), "1": _named(second, columns)},
        CANDIDATE: {"": _named(ours, columns)},
    }
    return Recording(times, baseline.interval, arms)


def _whole(baseline: Recording, replica: str, columns: Sequence[str]) -> Array:
    """A replica's counts of shape (columns, T), where all of them were recorded; NaN elsewhere."""
    return np.concatenate(baseline.counts(BASELINE, columns, replicas=[replica]))


def _sum(counts: Array) -> Array:
    """Over replicas, of those that were recorded."""
    seen = np.isfinite(counts).any(axis=0)
    return np.where(seen, np.nansum(counts, axis=0), math.nan)


def _cut(counts: Array, first: int, last: int) -> Array:
    """Intervals from one index to another; NaN before the recording begins."""
    missing = max(0, -first)
    cut = counts[:, max(first, 0) : last]
    return np.pad(cut, ((0, 0), (missing, 0)), constant_values=math.nan)


def _named(runs: Sequence[Array], columns: Sequence[str]) -> dict[str, Array]:
    stacked = np.stack(runs)
    return {column: stacked[:, index] for index, column in enumerate(columns)}


def sentence(results: Results, run: int = 0) -> str:
    """The verdict."""
    outcome, exposed = results.outcome(run), f"{results.exposed[run]:,.0f} events of the candidate"
    if outcome is Outcome.UNDECIDED:
        return f"undecided: the recording ends in step {results.step[run] + 1}, after {exposed}"
    at = format_duration(float(results.at[run]))
    if outcome is Outcome.PROMOTED:
        return f"promoted after {at} and {exposed}"
    gate = results.gates[int(results.gate[run])]
    told = f"{_share(gate.value[run])} against {_share(gate.baseline[run])} of the baseline"
    return f"rolled back after {at} and {exposed}, by {gate.name}: {told}"


def text(policy: Policy, results: Results) -> str:
    """Timeline, gates and verdict."""
    lines = ["TIMELINE"]
    for event in results.trace.events:
        by = f": {event.gate}" if event.gate else ""
        lines.append(f"  {'+' + format_duration(event.at):<9} {event.text}{by}")
    lines += ["", *_table(policy, results), "", sentence(results)]
    if policy.skipped:
        lines.append(f"not judged here, because they need more than counts: {', '.join(policy.skipped)}")
    if policy.approvals:
        lines.append(f"taken as given at once: {', '.join(policy.approvals)}")
    return "\n".join(lines)


def _table(policy: Policy, results: Results) -> list[str]:
    head = ("GATE", "VERDICT", "CANDIDATE", "BASELINE", "LIMIT", "SAMPLES", "EVIDENCE")
    rows = [head]
    for counted, gate in zip(policy.gates, results.gates, strict=True):
        limit = f"{'at least' if counted.gate.at_least else 'at most'} {counted.gate.limit.text}"
        needed = results.trace.needed.get(gate.name, math.inf)
        strength = min(max(float(gate.log_evidence[0]) / needed, 0.0), 1.0)
        shares = _share(gate.value[0]), _share(gate.baseline[0])
        rows.append((gate.name, str(gate.verdict[0]), *shares, limit, f"{gate.samples[0]:,.0f}", f"{strength:.0%}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.3g} %"


def chart(policy: Policy, recording: Recording, results: Results) -> list[str]:
    """Charts: the evidence of all gates, and the rates that each one judged."""
    trace = results.trace
    marks = [plot.Mark(f"{event.text}{f': {event.gate}' if event.gate else ''}", event.at) for event in trace.events]
    strength = [
        plot.Series(name, trace.at, [min(max(nats / trace.needed[name], 0.0), 1.2) for nats in values])
        for name, values in trace.evidence.items()
    ]
    enough = [plot.Level("enough to roll back", 1.0)]
    title = "Evidence against the candidate, on a logarithmic scale"
    charts = [plot.lines(title, strength, limits=enough, marks=marks)]
    bound = policy.bind(recording.columns, recording.interval)
    return charts + [_rates(recording, one, marks) for one in bound]


def _rates(recording: Recording, bound: Bound, marks: Sequence[plot.Mark]) -> str:
    """The share of what a gate counts, in both arms, from some time before the candidate on."""
    begins = recording.begins or 0
    shown = recording.between(max(0, begins - (len(recording.times) - begins)), len(recording.times))
    at = shown.times - recording.times[begins]
    series = []
    for arm, style in ((CANDIDATE, "solid"), (BASELINE, "dashed")):
        some, every = _shares(bound, shown.counts(arm, bound.source.columns))
        size = max(1, math.ceil(len(at) / _POINTS))
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = _summed(some[0], size) / _summed(every[0], size)
        series.append(plot.Series(arm, at[size - 1 :: size][: len(rate)].tolist(), rate.tolist(), style))
    limit = bound.counted.gate.limit
    limits = [] if limit.relative or limit.seconds else [plot.Level(f"limit {limit.text}", limit.offset)]
    if bound.test.quantile is not None:
        limits = [plot.Level(f"p{100 * bound.test.quantile:g} at the limit", 1.0 - bound.test.quantile)]
    return plot.lines(_titled(bound), series, limits=limits, marks=marks, y_format=plot.percent)


def _titled(bound: Bound) -> str:
    if isinstance(bound.source, Buckets):
        return f"{bound.counted.name}: share of requests slower than {bound.source.bounds[_shown(bound)]:g}s"
    return f"{bound.counted.name}: {bound.source.columns[0]} per {bound.source.columns[1]}"


def _shown(bound: Bound) -> int:
    """Which bound of a histogram is drawn: the one at or above the limit; a middle one when the limit is relative."""
    assert isinstance(bound.source, Buckets)
    limit, finite = bound.counted.gate.limit, len(bound.source.bounds) - 1
    return finite // 2 if limit.relative else min(bisect_left(bound.source.bounds, limit.offset), finite - 1)


def _shares(bound: Bound, counts: Sequence[Array]) -> tuple[Array, Array]:
    """What is drawn of a gate, and of how many."""
    if isinstance(bound.source, Buckets):
        return counts[-1] - counts[_shown(bound)], counts[-1]
    return bound.source.counted(counts)


def _summed(values: Array, size: int) -> Array:
    whole = values[: len(values) // size * size].reshape(-1, size)
    return np.where(np.isfinite(whole).any(axis=1), np.nansum(whole, axis=1), math.nan)
