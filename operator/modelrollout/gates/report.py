"""The report gate: a result of an evaluation that a job wrote down, judged once for each report that it writes.

Three kinds of result: an exact number (a size) is compared as it is; an estimate (AUC, accuracy) by a test with its
standard error; runs of a latency per batch size by a test with their own scatter. Every report gets the verdicts of
all gates: breached, proven or neither. A job that is run until it passes would make chance pass: the first report of
a revision is judged at half of alpha and beta, every further one at half of what the one before had, so all of them
together keep both. The form of the JSON is in ``docs/reports.md``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit
from modelrollout.gates import batch_latency
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.batch_latency import FEWEST_RUNS, Row, rows
from modelrollout.gates.estimate import distance
from modelrollout.gates.evidence import Interval
from modelrollout.gates.report_format import Estimate, Samples, read_result

__all__ = ["ReportState", "ReportTest"]

_KIND: Final = "e1"
_FEWEST_OF_A_CLASS: Final = 50
"""Below it an AUC is decided by a few examples, and its standard error is a guess."""
_LEANING: Final = 2.0
_HARDLY: Final = 100
"""More runs than anyone makes."""


@dataclass(frozen=True, slots=True)
class ReportState:
    """The last report's result, and how many different ones there were."""

    result: Estimate | tuple[Row, ...] | None = None
    reports: int = 0


@dataclass(frozen=True, slots=True)
class ReportTest:
    """One gate on the result ``metric``; ``min_samples`` are wanted of an estimate that says its samples.

    ``alpha``: probability of a false breach over all reports; ``beta``: of a false proof.
    """

    metric: str
    limit: Limit
    alpha: float
    at_least: bool = False
    beta: float = 0.05
    min_samples: int = 100

    @property
    def _place(self) -> str:
        return f"metrics.{self.metric}"

    def start(self) -> ReportState:
        """No report yet."""
        return ReportState()

    def read(self, state: ReportState, text: str) -> ReportState:
        """The state after a look at the report; the same when the result is the one that was judged before.

        Raises
        ------
        ValueError
            If the report is not of the documented form, or lacks what the limit needs; the message names the place.
        """
        found = read_result(text, self.metric)
        result: Estimate | tuple[Row, ...]
        if isinstance(found, Estimate):
            distance(found, self.limit, at_least=self.at_least, place=self._place)
            result = found
        else:
            if self.at_least:
                raise ValueError(f"{self._place}.batch is a latency: it takes atMost, like 110% of baseline")
            result = rows(found, self.limit, self._place)
        return state if result == state.result else ReportState(result, state.reports + 1)

    def fold(self, state: ReportState, interval: Interval, *, judged: bool = True) -> ReportState:
        """The same: a report does not come in intervals."""
        return state

    def begin_step(self, state: ReportState) -> ReportState:
        """The same: a report says nothing of the weight."""
        return state

    def end_hold(self, state: ReportState) -> ReportState:
        """The same: a report is judged when it comes."""
        return state

    def assess(self, state: ReportState) -> Assessment:
        """The verdict on the last report."""
        if state.result is None:
            return self._early(f'no report with "{self.metric}" yet')
        part = math.pow(0.5, state.reports)
        if isinstance(state.result, Estimate):
            return self._assess_estimate(state.result, self.alpha * part, self.beta * part)
        return self._assess_runs(state.result, self.alpha * part, self.beta * part)

    def dump(self, state: ReportState) -> str:
        """The state as text: kind, number of reports, and the result's numbers as JSON lists."""
        return ";".join((_KIND, str(state.reports), json.dumps(_plain(state.result), separators=(",", ":"))))

    def load(self, text: str) -> ReportState:
        """The state from text.

        Raises
        ------
        ValueError
            If the text is not the state of a report gate.
        """
        kind, _, rest = text.partition(";")
        reports, _, result = rest.partition(";")
        try:
            if kind != _KIND:
                raise ValueError(kind)
            return ReportState(_from_plain(json.loads(result)), int(reports))
        except (ValueError, TypeError) as error:
            raise ValueError("the state is not one of a report gate") from error

    # Judging

    @property
    def _limit_text(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit.text}"

    def _early(self, message: str, value: float | None = None, samples: int = 0) -> Assessment:
        return Assessment(Verdict.TOO_EARLY, self._limit_text, message, value=value, samples=samples)

    def _assess_estimate(self, result: Estimate, alpha: float, beta: float) -> Assessment:
        samples = result.samples.total if result.samples else 0
        waiting = _too_few(result.samples, self.min_samples)
        if waiting:
            return self._early(waiting, result.candidate, samples)
        found = distance(result, self.limit, at_least=self.at_least, place=self._place)
        low, high, seen = found.low(alpha), found.high(beta), found.would_have_seen(alpha)
        beside = "" if result.baseline is None else f" against {result.baseline:.4g} of the baseline"
        said = f"{result.candidate:.6g}{beside}, {self._limit_text}"
        verdict = _verdict(low, high)
        said += "; exact" if result.exact else f"; standard error of the distance {found.error:.2g}"
        if verdict is Verdict.NO_HARM_SEEN:
            said += f"; would have seen {seen:.2g} beyond the limit"
        return self._assessed(
            verdict, said, result.candidate, result.baseline, (found.beyond, low, high, found.error), seen, samples
        )

    def _assess_runs(self, table: tuple[Row, ...], alpha: float, beta: float) -> Assessment:
        fewest = min(row.runs for row in table)
        if fewest < FEWEST_RUNS:
            return self._early(f"{fewest} of {FEWEST_RUNS} runs of a batch size, better 5", samples=fewest)
        found = batch_latency.judge(table, self.limit, alpha, beta)
        value = math.exp(found.worst.candidate)
        baseline = None if found.worst.baseline is None else math.exp(found.worst.baseline)
        beside = "" if baseline is None else f" against {baseline:.4g} of the baseline ({100 * value / baseline:.0f}%)"
        said = f"batch {found.worst.batch}: p95 {value:.4g}{beside}, {self._limit_text}; "
        said += f"runs scatter by {100 * found.scatter:.1f}%"
        verdict = _verdict(found.low, found.high)
        if verdict is Verdict.NO_HARM_SEEN:
            few = found.more_runs <= _HARDLY
            said += f"; {found.more_runs} more runs of each should decide it" if few else "; too near to decide by runs"
        ratios = tuple(math.expm1(one) for one in (found.beyond, found.low, found.high, found.error))
        return self._assessed(verdict, said, value, baseline, ratios, math.expm1(found.would_have_seen), fewest)

    def _assessed(
        self,
        verdict: Verdict,
        said: str,
        value: float,
        baseline: float | None,
        bounds: Sequence[float],
        seen: float,
        samples: int,
    ) -> Assessment:
        beyond, low, high, error = bounds
        breached = verdict is Verdict.BREACHED
        width = beyond - low
        return Assessment(
            verdict,
            self._limit_text,
            said,
            value=value,
            baseline=baseline,
            difference=beyond,
            low=low,
            high=high,
            would_have_seen=seen if verdict is Verdict.NO_HARM_SEEN else None,
            samples=samples,
            baseline_samples=0 if baseline is None else samples,
            leaning=beyond > _LEANING * error,
            evidence=1.0 if breached else min(1.0, (max(beyond, 0.0) / width) ** 2) if width > 0.0 else 0.0,
            stake=1.0 if breached else 0.0,
        )


def _verdict(low: float, high: float) -> Verdict:
    """An exact number on the limit itself is within it."""
    if low > 0.0:
        return Verdict.BREACHED
    return Verdict.PROVEN if high < 0.0 or low == high == 0.0 else Verdict.NO_HARM_SEEN


def _too_few(samples: Samples | None, wanted: int) -> str:
    if samples is None:
        return ""
    if samples.total < wanted:
        return f"{samples.total} of {wanted} samples"
    if samples.positives is None:
        return ""
    for name, count in (("positives", samples.positives), ("negatives", samples.total - samples.positives)):
        if count < _FEWEST_OF_A_CLASS:
            return f"{count} of {_FEWEST_OF_A_CLASS} {name}"
    return ""


def _plain(result: Estimate | tuple[Row, ...] | None) -> Any:
    if result is None:
        return None
    if isinstance(result, Estimate):
        samples = result.samples and [result.samples.total, result.samples.positives]
        errors = [result.candidate_error, result.baseline_error, result.difference_error]
        return [result.candidate, result.baseline, *errors, samples]
    return {r.batch: [r.runs, r.kept, r.candidate, r.baseline, r.squares] for r in result}


def _from_plain(plain: Any) -> Estimate | tuple[Row, ...] | None:
    if plain is None:
        return None
    if isinstance(plain, dict):
        return tuple(Row(batch, *_checked(numbers, 5)) for batch, numbers in plain.items())
    *numbers, samples = plain
    candidate, baseline, *errors = _checked(numbers, 5)
    ours, theirs, paired = errors
    if candidate is None:
        raise ValueError("no number of the candidate")
    return Estimate(
        candidate, baseline, ours, theirs, paired, None if samples is None else Samples(*_checked(samples, 2))
    )


def _checked(numbers: Any, count: int) -> list[Any]:
    """Numbers or nulls, so many of them."""
    if not isinstance(numbers, list) or len(numbers) != count:
        raise ValueError("another number of numbers")
    if any(
        number is not None and (isinstance(number, bool) or not isinstance(number, int | float)) for number in numbers
    ):
        raise ValueError("not a number")
    return numbers
