"""The command line: ``python -m tests.bench.scale``; see README.md beside this file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from localcluster import namespace
from tests.bench.scale.inside import again, as_json, say
from tests.bench.scale.manifests import Setting
from tests.bench.scale.rig import running
from tests.bench.scale.scenario import PHASES, Plan, Result, run
from tests.bench.scale.table import insert, render

_NUMBERS = "100,500,1000"
_INTERVALS = "10s,2s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description="Many rollouts at once: the cost.")
    parser.add_argument("--n", default=_NUMBERS, help="numbers of rollouts, with commas between")
    parser.add_argument("--interval", default=_INTERVALS, help="evaluation.interval, several with commas")
    parser.add_argument("--only", default=",".join(PHASES), help="phases to measure, with commas between")
    parser.add_argument("--steady-seconds", type=float, default=120.0)
    parser.add_argument("--outage-seconds", type=float, default=60.0)
    parser.add_argument("--hang", action="store_true", help="the outage is a Prometheus that hangs")
    parser.add_argument("--min-breach-time", default=Setting.min_breach_time)
    parser.add_argument("--errors-above", default=Setting.errors_above)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--during-steady", default="", help="a command to run meanwhile; {pid} is the operator's")
    parser.add_argument("--operator-args", default="", help="more of the operator's command line")
    parser.add_argument("--into", type=Path, help="also write the table into this page, like docs/benchmarks.md")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser


def _about() -> str:
    model = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("model name\t: ")[2].partition("\n")[0]
    busy = f"load {os.getloadavg()[2]:.1f} in its last 15 minutes"
    return f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores ({model.strip() or 'unknown'}), {busy}:"


def _measure(given: argparse.Namespace) -> list[Result]:
    results = []
    setting = Setting(min_breach_time=given.min_breach_time, errors_above=given.errors_above)
    for number in map(int, given.n.split(",")):
        for interval in given.interval.split(","):
            plan = Plan(
                number,
                replace(setting, interval=interval),
                only=given.only.split(","),
                steady_seconds=given.steady_seconds,
                outage_seconds=given.outage_seconds,
                hang=given.hang,
                during_steady=given.during_steady,
                seed=given.seed,
            )
            say(f"N={number}, interval {interval}")
            with running(seed=given.seed, operator_arguments=given.operator_args.split(), progress=say) as rig:
                results.append(run(rig, plan, say))
    return results


def main(arguments: list[str]) -> int:
    """Measure, and print."""
    given = _parser().parse_args(arguments)
    if not namespace.inside():
        return again("tests.bench.scale", arguments)
    results = _measure(given)
    if given.into is not None:
        page = given.into.read_text(encoding="utf-8")
        given.into.write_text(insert(page, f"{_about()}\n\n{render(results)}"), encoding="utf-8")
    print(as_json(results) if given.output == "json" else render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
