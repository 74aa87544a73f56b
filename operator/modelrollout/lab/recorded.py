"""Recorded increments from a CSV file.

The columns are ``time`` (seconds, or ISO 8601; one without a zone is UTC), ``arm`` (``baseline`` or ``candidate``,
perhaps with a replica after a slash: ``baseline/0``) and one column per counter with what it grew by in the interval of
the row. Rows may come in any order. What was not recorded is a missing row, an empty cell or ``NaN``. Rows before the
candidate's first one are history.

A table that is read wrongly gives a verdict on something that never happened, so everything that is not as described
is refused, with its line, its column and what to write instead.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from modelrollout.api.grammar import format_duration
from modelrollout.gates.eprocess import Array
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.policy import Bound, Pair

__all__ = ["Recorded", "check_shares", "read"]

_TIME: Final = "time"
_ARM: Final = "arm"
_ARMS: Final = (BASELINE, CANDIDATE)
_EMPTY: Final = frozenset({"", "nan", "null", "none"})
_MOST_INTERVALS: Final = 2_000_000
_MILLISECONDS: Final = 1e11
"""No time in seconds since 1970 is that large before the year 5138."""

Lines = NDArray[np.int64]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording of one run, and the file's lines that it was read from (arm and replica → line of each interval, 0
    for none)."""

    recording: Recording
    lines: Mapping[Key, Lines]

    @property
    def history(self) -> int:
        """How many intervals lie before the candidate's first one; all of them when it was never recorded."""
        begins = self.recording.begins
        return len(self.recording.times) if begins is None else begins

    def describe(self) -> str:
        """One line for people: what was found."""
        found = self.recording
        judged = len(found.times) - self.history
        replicas = len(found.arms.get(BASELINE, {}))
        return (
            f"intervals of {found.interval:g}s: {format_duration(self.history * found.interval)} of history"
            f"{f' of {replicas} replicas' if replicas > 1 else ''}, "
            f"{format_duration(judged * found.interval)} with the candidate"
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """The cells of the file, by column, and the line that each row began on."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    lines: Lines

    def refuse(self, row: int, column: str, problem: str) -> ValueError:
        return ValueError(f'{self.path}: line {self.lines[row]}, column "{column}": {problem}')


def read(path: Path) -> Recorded:
    """Read a file.

    Raises
    ------
    ValueError
        If it is not as described; the message names line, column, value and remedy.
    """
    table = _table(path)
    counters = [name for name in table.columns if name not in (_TIME, _ARM)]
    times = _times(table)
    keys = _keys(table)
    _refuse_double(table, times, keys)
    values = {name: _counts(table, name) for name in counters}
    interval = _interval(table, times, keys)
    first = float(times.min())
    index = np.rint((times - first) / interval).astype(np.int64)
    length = int(index.max()) + 1
    arms: dict[str, dict[str, dict[str, Array]]] = {}
    lines: dict[Key, Lines] = {}
    for key in sorted(set(keys)):
        rows = np.array([row for row, one in enumerate(keys) if one == key])
        arms.setdefault(key[0], {})[key[1]] = {
            name: _placed(values[name][rows], index[rows], length)[np.newaxis] for name in counters
        }
        lines[key] = np.zeros(length, dtype=np.int64)
        lines[key][index[rows]] = table.lines[rows]
    grid = np.asarray(first + interval * np.arange(length), dtype=np.float64)
    return Recorded(Recording(grid, interval, arms), lines)


def check_shares(recorded: Recorded, bound: Sequence[Bound]) -> None:
    """Refuse counts that cannot be shares: more events than there were chances. Late labels may come in another
    interval than what they belong to, so a gate that says ``labelsWithin`` is left out.

    Raises
    ------
    ValueError
        If there are such counts; the message names the line.
    """
    for one in bound:
        if one.counted.labels > 0.0 or (isinstance(one.source, Pair) and one.source.adds_up):
            continue
        rising = [one.source.columns] if isinstance(one.source, Pair) else list(pairwise(one.source.columns))
        for arm, replicas in recorded.recording.arms.items():
            for replica, columns in replicas.items():
                for some, every in rising:
                    if some in columns and every in columns:
                        _refuse_more(recorded, (arm, replica), some, every, one.counted.name)


def _refuse_more(recorded: Recorded, key: Key, some: str, every: str, gate: str) -> None:
    columns = recorded.recording.arms[key[0]][key[1]]
    part, whole = columns[some][0], columns[every][0]
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(part > whole)
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(
            f'line {recorded.lines[key][at]}, column "{some}": {part[at]:g} is more than {every} ({whole[at]:g}) in '
            f"the same interval: gate {gate} judges {some} as a share of {every}; if {some} come later than what they "
            "belong to, say labelsWithin in the gate"
        )


def _table(path: Path) -> _Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            rows, lines = [], []
            for row in reader:
                if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
                    raise ValueError(
                        f"{path}: line {reader.line_num}: has {len(row)} cells, and there are {len(header)} columns: "
                        'put cells that contain a comma in double quotes ("…")'
                    )
                if any(cell.strip() for cell in row):
                    rows.append(row[: len(header)] + [""] * (len(header) - len(row)))
                    lines.append(reader.line_num)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: give a file that can be read") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: give a CSV file") from error
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: not CSV: {error}") from error
    if not rows:
        raise ValueError(f"{path}: has no rows: give one for each interval and arm")
    return _Table(path, dict(zip(header, zip(*rows, strict=True), strict=True)), np.array(lines, dtype=np.int64))


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in (_TIME, _ARM):
        if name not in header:
            raise ValueError(
                f'{path}: line 1: no column "{name}": the columns are {", ".join(header) or "none"}; write a first '
                "line like time,arm,requests,errors"
            )
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{path}: line 1: column "{twice}" is there twice: give each counter a column of its own')
    if len(header) < 3:
        raise ValueError(f"{path}: line 1: no counter beside time and arm: add one, like requests")


def _times(table: _Table) -> Array:
    cells = table.columns[_TIME]
    try:
        times = np.array([float(cell) for cell in cells])
    except ValueError:
        times = np.array([_instant(table, row, cell) for row, cell in enumerate(cells)])
    wrong = np.flatnonzero(~np.isfinite(times))
    if len(wrong):
        raise table.refuse(int(wrong[0]), _TIME, f'"{cells[wrong[0]]}" is no time: write seconds or ISO 8601')
    if times.max() > _MILLISECONDS:
        row = int(times.argmax())
        raise table.refuse(row, _TIME, f"{cells[row]} is too large for seconds: are these milliseconds? Write seconds")
    return times


def _instant(table: _Table, row: int, cell: str) -> float:
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError as error:
        problem = f'"{cell}" is no time like the others: write seconds, or ISO 8601 like 2026-11-21T12:00:00Z, in all'
        raise table.refuse(row, _TIME, problem) from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _keys(table: _Table) -> list[Key]:
    known: dict[str, Key] = {}
    keys = []
    for row, cell in enumerate(table.columns[_ARM]):
        key = known.get(cell)
        if key is None:
            arm, _, replica = cell.strip().partition("/")
            if arm not in _ARMS:
                raise table.refuse(
                    row, _ARM, f'"{cell}" is no arm: write baseline or candidate, or baseline/0 for a pod'
                )
            key = known[cell] = (arm, replica)
        keys.append(key)
    return keys


def _refuse_double(table: _Table, times: Array, keys: Sequence[Key]) -> None:
    """One interval of an arm is recorded once, as a whole or by replica."""
    seen: dict[tuple[float, Key], int] = {}
    for row, at in enumerate(zip(times.tolist(), keys, strict=True)):
        if at in seen:
            problem = f"time {table.columns[_TIME][row]} is there already, on line {table.lines[seen[at]]}"
            raise table.refuse(row, _ARM, f"{problem}: write each interval of an arm once")
        seen[at] = row
    for (time, (arm, replica)), row in seen.items():
        if replica and (time, (arm, "")) in seen:
            whole = table.lines[seen[time, (arm, "")]]
            problem = f"the whole {arm} is there at the same time, on line {whole}"
            raise table.refuse(row, _ARM, f"{problem}: write either the arm or its replicas, or they count twice")


def _counts(table: _Table, name: str) -> Array:
    cells = table.columns[name]
    try:
        values = np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        values = np.array([_count(table, row, name, cell) for row, cell in enumerate(cells)])
    wrong = np.flatnonzero((values < 0.0) | np.isinf(values))
    if len(wrong):
        problem = "is no increment of a counter: write how many came in the interval, 0 or more; not the counter itself"
        raise table.refuse(int(wrong[0]), name, f"{cells[wrong[0]]} {problem}")
    return values


def _count(table: _Table, row: int, name: str, cell: str) -> float:
    text = cell.strip()
    if text.lower() in _EMPTY:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        problem = f'"{cell}" is no number: write how many came in the interval, or leave the cell empty'
        raise table.refuse(row, name, problem) from error


def _interval(table: _Table, times: Array, keys: Sequence[Key]) -> float:
    """The distance of the rows; the longer one, when history was recorded at another than the rest."""
    first = min((time for time, key in zip(times, keys, strict=True) if key[0] == CANDIDATE), default=math.inf)
    past: dict[Key, list[float]] = {}
    rest: dict[Key, list[float]] = {}
    for time, key in zip(times.tolist(), keys, strict=True):
        (past if time < first else rest).setdefault(key, []).append(time)
    everything: dict[Key, list[float]] = {("", ""): np.unique(times).tolist()}
    known = [found for series in (past, rest) if (found := _median_distance(series)) is not None]
    known = known or [found for found in (_median_distance(everything),) if found is not None]
    if not known:
        raise ValueError(f"{table.path}: all rows have the same time: write one row for each interval")
    interval = max(known)
    if (times.max() - times.min()) / interval > _MOST_INTERVALS:
        row = int(times.argmax())
        problem = f"{table.columns[_TIME][row]} is very far from the others, which are {interval:g}s apart"
        raise table.refuse(row, _TIME, f"{problem}: check the unit of all times")
    return interval


def _median_distance(series: Mapping[Key, Sequence[float]]) -> float | None:
    """Of successive times of the same arm and replica: arms may be read at different moments."""
    distances = [np.diff(np.sort(times)) for times in series.values() if len(times) > 1]
    return float(np.median(np.concatenate(distances))) if distances else None


def _placed(values: Array, index: NDArray[np.int64], length: int) -> Array:
    """Values at their intervals, NaN elsewhere; those of one interval are added up."""
    sums, seen = np.zeros(length), np.zeros(length, dtype=np.bool_)
    np.add.at(sums, index, values)
    seen[index] = True
    return np.where(seen, sums, math.nan)
