"""The form of an evaluation's report: what a job wrote down about a candidate, as JSON.

One object, ``{"metrics": {NAME: RESULT, …}}``; a result is an exact number, an estimate with its error, or runs of a
latency per batch size. The form is defined with examples in ``docs/reports.md``. Whatever is wrong is named by its
place in the JSON, because the one who reads the message has that file open and not this one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

__all__ = ["Estimate", "Result", "Runs", "Samples", "read_result"]

_KEYS: Final = ("candidate", "baseline", "stderr", "samples", "batch")
_MOST_BATCH_SIZES: Final = 12
_MOST_RUNS: Final = 100


@dataclass(frozen=True, slots=True)
class Samples:
    """What an estimate was made from: ``total`` of which ``positives`` (None where there are no classes)."""

    total: int
    positives: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number for the candidate and perhaps the baseline; exact when neither an error nor samples are given."""

    candidate: float
    baseline: float | None = None
    candidate_error: float | None = None
    baseline_error: float | None = None
    difference_error: float | None = None
    """Standard error of candidate less baseline, where both were evaluated on the same examples."""
    samples: Samples | None = None

    @property
    def exact(self) -> bool:
        """Whether there is nothing of chance in it."""
        errors = (self.candidate_error, self.baseline_error, self.difference_error, self.samples)
        return all(error is None for error in errors)


@dataclass(frozen=True, slots=True)
class Runs:
    """A latency (p95 of each run) for one batch size, in any unit; ``baseline`` may be empty."""

    batch: str
    candidate: tuple[float, ...]
    baseline: tuple[float, ...]


Result = Estimate | tuple[Runs, ...]


def read_result(text: str, metric: str) -> Result:
    """One result of a report.

    Raises
    ------
    ValueError
        If the text is no such report; the message names the place and what belongs there.
    """
    try:
        report = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the report is not JSON: {error.msg} in line {error.lineno}") from None
    metrics = report.get("metrics") if isinstance(report, dict) else None
    if not isinstance(metrics, dict):
        raise ValueError('the report has no object "metrics": write {"metrics": {"auc": {"candidate": 0.91}}}')
    if metric not in metrics:
        has = ", ".join(sorted(map(str, metrics))[:8]) or "none"
        raise ValueError(
            f'metrics.{metric} is missing: the report has {has}; correct the gate\'s "metric" or the report'
        )
    return _result(metrics[metric], f"metrics.{metric}")


def _result(found: Any, place: str) -> Result:
    result = _object(found, place, _KEYS)
    if "batch" in result:
        if len(result) > 1:
            raise ValueError(
                f"{place}: batch stands alone: leave out {', '.join(key for key in result if key != 'batch')}"
            )
        return _table(result["batch"], f"{place}.batch")
    if "candidate" not in result:
        raise ValueError(
            f'{place}.candidate is missing: give the candidate\'s number, or "batch" for runs of a latency'
        )
    errors = _errors(result, place)
    baseline = _number(result["baseline"], f"{place}.baseline") if "baseline" in result else None
    samples = _samples(result["samples"], f"{place}.samples") if "samples" in result else None
    return Estimate(_number(result["candidate"], f"{place}.candidate"), baseline, *errors, samples)


def _errors(result: Mapping[str, Any], place: str) -> tuple[float | None, float | None, float | None]:
    """Standard errors of candidate, baseline and their difference; a plain number holds for each arm by itself."""
    if "stderr" not in result:
        return None, None, None
    given, place = result["stderr"], f"{place}.stderr"
    if not isinstance(given, dict):
        error = _positive(given, place)
        return error, error, None
    arms = _object(given, place, ("candidate", "baseline", "difference"))
    found = {name: _positive(arms[name], f"{place}.{name}") for name in arms}
    return found.get("candidate"), found.get("baseline"), found.get("difference")


def _samples(given: Any, place: str) -> Samples:
    if not isinstance(given, dict):
        return Samples(_whole(given, place))
    classes = _object(given, place, ("positives", "negatives"))
    if len(classes) < 2:
        raise ValueError(f"{place}: give both positives and negatives")
    positives = _whole(classes["positives"], f"{place}.positives")
    return Samples(positives + _whole(classes["negatives"], f"{place}.negatives"), positives)


def _table(given: Any, place: str) -> tuple[Runs, ...]:
    table = _object(given, place, None)
    if not 1 <= len(table) <= _MOST_BATCH_SIZES:
        raise ValueError(f"{place} has {len(table)} batch sizes: give 1 to {_MOST_BATCH_SIZES}")
    return tuple(_runs(batch, table[batch], f"{place}.{batch}") for batch in table)


def _runs(batch: str, given: Any, place: str) -> Runs:
    if not batch.isdigit() or len(batch) > 9:
        raise ValueError(f'{place}: "{batch}" is not a batch size: write it like "8"')
    arms = _object(given, place, ("candidate", "baseline"))
    if "candidate" not in arms:
        raise ValueError(f"{place}.candidate is missing: give the p95 of each run as a list")
    ours, theirs = (_list(arms.get(name, []), f"{place}.{name}") for name in ("candidate", "baseline"))
    if theirs and len(ours) != len(theirs):
        raise ValueError(
            f"{place}: {len(ours)} runs of the candidate and {len(theirs)} of the baseline: give as many of each, "
            "run in turns on the same node"
        )
    return Runs(batch, ours, theirs)


def _list(given: Any, place: str) -> tuple[float, ...]:
    if not isinstance(given, list) or len(given) > _MOST_RUNS:
        raise ValueError(f"{place} is not a list of at most {_MOST_RUNS} numbers, one for each run")
    return tuple(_positive(number, f"{place}[{i}]") for i, number in enumerate(given))


def _object(given: Any, place: str, keys: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"{place} is {_shown(given)}: write an object" + (f" with {', '.join(keys)}" if keys else ""))
    unknown = [key for key in given if keys is not None and key not in keys]
    if unknown:
        raise ValueError(f"{place}.{unknown[0]} is not known: it may have {', '.join(keys or ())}")
    return given


def _number(given: Any, place: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise ValueError(f"{place} is {_shown(given)}: write a number")
    return float(given)


def _positive(given: Any, place: str) -> float:
    if _number(given, place) <= 0.0:
        raise ValueError(f"{place} is {_shown(given)}: write a number above zero")
    return float(given)


def _whole(given: Any, place: str) -> int:
    if not _positive(given, place).is_integer():
        raise ValueError(f"{place} is {_shown(given)}: write a whole number")
    return int(given)


def _shown(given: Any) -> str:
    return json.dumps(given)[:40]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the report holds {name}, which is no number in JSON: leave the result out instead")
