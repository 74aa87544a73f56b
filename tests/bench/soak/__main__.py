"""The command line: ``python -m tests.bench.soak``; see the README of tests/bench/scale."""

from __future__ import annotations

import argparse
import sys

from localcluster import namespace
from tests.bench.scale.inside import again, as_json, say
from tests.bench.scale.manifests import Setting
from tests.bench.scale.rig import running
from tests.bench.soak.run import Plan, run
from tests.bench.soak.table import render


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="Hours of releases and faults.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float, default=2.0)
    length.add_argument("--minutes", type=float)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--interval", default="5s", help="evaluation.interval")
    parser.add_argument("--under-way", type=int, help="releases at the same time; a tenth of the rollouts when absent")
    parser.add_argument("--fault-every", type=float, help="seconds; a twentieth of the time when absent")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser


def _plan(given: argparse.Namespace) -> Plan:
    seconds = 60.0 * given.minutes if given.minutes else 3600.0 * given.hours
    return Plan(
        given.rollouts,
        seconds,
        Setting(interval=given.interval, min_breach_time="10s"),
        under_way=given.under_way or max(1, given.rollouts // 10),
        fault_every=given.fault_every or max(60.0, seconds / 20.0),
        warm_up=min(180.0, seconds / 20.0),
        seed=given.seed,
    )


def main(arguments: list[str]) -> int:
    """Soak, and print; 1 when anything was not as it has to be."""
    given = _parser().parse_args(arguments)
    if not namespace.inside():
        return again("tests.bench.soak", arguments)
    with running(seed=given.seed, audit=False, progress=say) as rig:
        result = run(rig, _plan(given), say)
    print(as_json(result) if given.output == "json" else render(result))
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
