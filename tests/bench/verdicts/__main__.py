"""Verdicts measured: ``python -m tests.bench.verdicts [--quick]``.

Without ``--quick`` it writes ``docs/verdicts.md`` and plots into ``docs/img/``.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.bench.verdicts import report
from tests.bench.verdicts.cases import HOUR, Case, core, matrix
from tests.bench.verdicts.measure import Measured, measure

_NULL_RUNS, _HARM_RUNS = 1000, 300
_SEED = 4
_DOCS = Path(__file__).resolve().parents[3] / "docs"


def _measure(number: int, case: Case, scale: float) -> tuple[int, Measured]:
    wanted = _HARM_RUNS if case.harmful else _NULL_RUNS
    runs = round(wanted * scale / (2.0 if case.length > 12 * HOUR else 1.0))
    return number, measure(case, runs, _SEED + number)


def _all(cases: list[Case], scale: float, jobs: int) -> list[Measured]:
    found: dict[int, Measured] = {}
    with ProcessPoolExecutor(jobs) as pool:
        futures = [pool.submit(_measure, number, case, scale) for number, case in enumerate(cases)]
        for done in as_completed(futures):
            number, measured = done.result()
            found[number] = measured
            print(f"\r{len(found)}/{len(cases)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [found[number] for number in range(len(cases))]


def _minutes(seconds: float) -> str:
    return "–" if math.isinf(seconds) else f"{seconds / 60:.2f}"


def _quick(found: list[Measured]) -> None:
    rivals = ("flagger", "argo 0", "argo 3", "kayenta")
    print("FALSE ROLLBACKS, % (standard error); by evidence/look/catastrophe; still waiting; rivals")
    for one in (m for m in found if not m.case.harmful):
        causes = "/".join(str(one.causes[name]) for name in ("evidence", "look", "catastrophe"))
        others = " ".join(f"{100 * one.caught[name]:5.1f}" for name in rivals)
        print(
            f"{one.case.group:14s} {one.case.name:42s} {100 * one.caught['ours']:5.2f} (±{100 * one.error():.2f}) "
            f"{causes:>10s} {100 * one.waiting:5.1f}  | {others}"
        )
    print("\nDETECTION: power %, median minutes (requests); oracle, two-arm oracle; ratios; causes; kayenta, flagger")
    for one in (m for m in found if m.case.harmful):
        causes = "/".join(str(one.causes[name]) for name in ("evidence", "look", "catastrophe"))
        delay = one.delay
        ratios = " ".join(f"{delay['ours'] / delay.get(name, math.nan):5.2f}" for name in ("oracle", "oracle2"))
        print(
            f"{one.case.group:10s} {one.case.name:36s} {100 * one.caught['ours']:5.1f} "
            f"{_minutes(delay['ours']):>7s} ({one.exposed['ours']:8.0f}) | "
            f"{100 * one.caught['oracle2']:5.1f} {_minutes(delay.get('oracle', math.inf)):>7s} "
            f"{_minutes(delay['oracle2']):>7s} | "
            f"{ratios} | {causes:>10s} | {_minutes(delay['kayenta']):>7s} {_minutes(delay['flagger']):>7s}"
        )


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few scenarios, printed")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many runs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose group or name contains this")
    given = parser.parse_args()
    begun = time.monotonic()
    every = core() if given.quick else matrix()
    cases = [case for case in every if given.only in f"{case.group} {case.name}"]
    found = _all(cases, given.scale, given.jobs)
    seconds = time.monotonic() - begun
    if given.quick or given.only:
        _quick(found)
    else:
        scale = "" if given.scale == 1.0 else f" --scale {given.scale:g}"
        report.write(found, _DOCS, f"python -m tests.bench.verdicts{scale}", seconds)
    print()
    for goal in report.goals(found):
        print(f"{goal.met:>4} of {goal.of:<4} {goal.text}; worst: {goal.worst}")
    print(f"\n{len(cases)} scenarios in {seconds:.0f} s")


if __name__ == "__main__":
    main()
