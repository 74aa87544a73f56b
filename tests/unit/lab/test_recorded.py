"""Recorded increments: what a CSV file may look like, and what is refused with line, column, value and remedy."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

from modelrollout.lab import recorded
from modelrollout.lab.policy import Bound, find_policy

_HEADER = "time,arm,requests,errors"


def _file(tmp_path: Path, *rows: str, header: str = _HEADER) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def _bound(columns: set[str], **gate: str) -> tuple[Bound, ...]:
    policy = find_policy(
        [
            {
                "steps": [{"weight": 10, "hold": "1h"}],
                "gates": [{"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "1%"} | gate],
            }
        ]
    )
    return policy.bind(columns, 15.0)


def test_rows_in_any_order_become_intervals_and_what_precedes_the_candidate_is_history(tmp_path: Path) -> None:
    rows = [f"{t},baseline,{100 + t},1" for t in range(0, 120, 15)] + [f"{t},candidate,10,2" for t in (60, 75, 90, 105)]
    random.Random(1).shuffle(rows)
    found = recorded.read(_file(tmp_path, *rows))
    assert found.recording.interval == 15.0
    assert found.recording.times.tolist() == [15.0 * i for i in range(8)]
    assert found.history == 4
    requests, errors = found.recording.counts("baseline", ["requests", "errors"])
    assert requests[0].tolist() == [100.0 + t for t in range(0, 120, 15)] and errors.sum() == 8
    assert found.describe() == "intervals of 15s: 1m of history, 1m with the candidate"


def test_times_may_be_iso_8601_and_without_a_zone_they_are_utc(tmp_path: Path) -> None:
    rows = [
        "2026-11-21T12:00:00Z,baseline,1,0",
        "2026-11-21T13:00:30+01:00,baseline,2,0",
        "2026-11-21 12:01:00,candidate,3,0",
    ]
    found = recorded.read(_file(tmp_path, *rows))
    assert found.recording.interval == 30.0
    assert found.recording.times[0] == 1795262400.0 and len(found.recording.times) == 3


def test_gaps_are_missing_rows_empty_cells_and_nan(tmp_path: Path) -> None:
    rows = ["0,baseline,5,", "15,baseline,NaN,1", "45,baseline,7,0", "60,baseline,8,nan", "75,baseline,9,1"]
    requests, errors = recorded.read(_file(tmp_path, *rows)).recording.counts("baseline", ["requests", "errors"])
    np.testing.assert_array_equal(requests[0], [math.nan, math.nan, math.nan, 7, math.nan, 9])
    np.testing.assert_array_equal(errors[0], [math.nan, math.nan, math.nan, 0, math.nan, 1])


def test_replicas_are_kept_apart_and_are_summed_for_the_arm(tmp_path: Path) -> None:
    rows = [f"{t},baseline/{pod},{10 + pod},1" for t in (0, 15, 30) for pod in (0, 1)]
    found = recorded.read(_file(tmp_path, *rows, "30,candidate/x,3,0")).recording
    assert sorted(found.arms["baseline"]) == ["0", "1"]
    assert found.counts("baseline", ["requests"])[0][0].tolist() == [21, 21, 21]
    halves = found.halves(["requests"])
    assert halves is not None and [half[0][0].tolist() for half in halves] == [[10, 10, 10], [11, 11, 11]]


def test_jitter_of_the_times_makes_no_gaps_and_arms_may_be_read_at_different_moments(tmp_path: Path) -> None:
    rows = [f"{15 * i + (0.4 if i % 3 else -0.3)},baseline,10,0" for i in range(1, 20)]
    rows += [f"{15 * i + 4},candidate,5,0" for i in range(1, 20)]
    found = recorded.read(_file(tmp_path, *rows)).recording
    assert found.interval == pytest.approx(15, abs=1.0)
    assert np.isfinite(found.counts("candidate", ["requests"])[0]).sum() == 19


def test_a_history_in_longer_intervals_makes_all_intervals_so_long_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = [f"{t},baseline,60,1" for t in range(0, 1200, 60)]
    rows += [f"{t},{arm},15,1" for t in range(1200, 1800, 15) for arm in ("baseline", "candidate")]
    found = recorded.read(_file(tmp_path, *rows)).recording
    assert found.interval == 60.0
    assert np.nansum(found.counts("candidate", ["requests"])[0]) == 600


def test_a_column_may_be_named_like_the_selector_of_a_gate(tmp_path: Path) -> None:
    header = 'time,arm,requests_total,"requests_total{code=~""5..""}"'
    found = recorded.read(_file(tmp_path, "0,baseline,1,0", "15,baseline,1,0", header=header))
    assert 'requests_total{code=~"5.."}' in found.recording.columns


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["0,baseline,1,0", "15,baseline,-3,0"], _HEADER, r'line 3, column "requests": -3 is no increment.*0 or more'),
        (["0,baseline,1,inf", "15,baseline,3,0"], _HEADER, r'line 2, column "errors": inf is no increment'),
        (["0,canary,1,0"], _HEADER, r'line 2, column "arm": "canary" is no arm: write baseline or candidate'),
        (["0,baseline,1,many"], _HEADER, r'line 2, column "errors": "many" is no number.*empty'),
        (["noon,baseline,1,0"], _HEADER, r'line 2, column "time": "noon" is no time.*ISO 8601'),
        (["nan,baseline,1,0"], _HEADER, r'line 2, column "time": "nan" is no time'),
        (["1795262400000,baseline,1,0"], _HEADER, r'column "time": .*milliseconds\? Write seconds'),
        (["0,baseline,1,0", "0,baseline,2,0"], _HEADER, r"line 3.*time 0 is there already, on line 2: write each"),
        (["0,baseline,1,0", "0,baseline/0,2,0"], _HEADER, r"line 3.*whole baseline is there.*line 2.*count twice"),
        (["0,baseline,1,0"], "time,requests,errors", r'no column "arm": the columns are time, requests, errors'),
        (["0,baseline,1,0"], "at,arm,requests,errors", r'no column "time"'),
        (["0,baseline"], "time,arm", r"no counter beside time and arm: add one"),
        (["0,baseline,1,0"], "time,arm,errors,errors", r'column "errors" is there twice'),
        (["0,baseline,1,0,9"], _HEADER, r"line 2: has 5 cells, and there are 4 columns.*quotes"),
        (["0,baseline,1,0", "0,candidate,1,0"], _HEADER, r"all rows have the same time"),
        (["0,baseline,1,0", "1,baseline,1,0", "2,baseline,1,0", "1e9,baseline,1,0"], _HEADER, r"very far from.*unit"),
        ([], _HEADER, r"has no rows"),
    ],
)
def test_what_is_not_as_described_is_refused_with_a_remedy(
    tmp_path: Path, rows: list[str], header: str, message: str
) -> None:
    with pytest.raises(ValueError, match=re.compile(message)):
        recorded.read(_file(tmp_path, *rows, header=header))


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe\x00t", b'time,arm,x\n0,"baseline,1'], ids=["none", "utf16", "quote"]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        recorded.read(path)


def test_more_events_than_chances_are_refused_unless_labels_come_late(tmp_path: Path) -> None:
    found = recorded.read(_file(tmp_path, "0,baseline,9,1", "15,baseline,3,5", "30,candidate,2,0"))
    columns = set(found.recording.columns)
    with pytest.raises(ValueError, match=r'line 3, column "errors": 5 is more than requests \(3\).*labelsWithin'):
        recorded.check_shares(found, _bound(columns))
    recorded.check_shares(found, _bound(columns, labelsWithin="5m"))
