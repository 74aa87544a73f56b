"""``python -m localcluster exec -- .venv/bin/python -m tests.chaos``: the whole campaign, or a part of it."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from pathlib import Path

from localcluster import LocalCluster
from tests.chaos.campaign import Campaign, Plan
from tests.chaos.faults import FAULTS
from tests.chaos.table import as_table, summary
from tests.support.operator import Operator


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break everything around the operator.")
    parser.add_argument("--seed", type=int, help="order of the trials  [default: another one each time]")
    parser.add_argument("--short", action="store_true", help="the most telling trials only, about two minutes")
    parser.add_argument("--only", default="", metavar="NAME", help="trials whose name (fault/story) has this in it")
    parser.add_argument("--skip", default="", metavar="NAME", help="trials whose name has not this in it")
    parser.add_argument("--singly", action="store_true", help="one kill -9 a release: a trial for each single write")
    parser.add_argument("--stages", type=int, default=3, help="how many play side by side  [default: 3]")
    parser.add_argument("--list", action="store_true", help="say what there is, and play nothing")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--evidence", type=Path, metavar="FOLDER", help="what is known of trials that broke something")
    return parser.parse_args()


def main() -> int:
    """Run it; the exit code says whether everything held."""
    options = _options()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # of connections that the faults themselves break
    if options.list:
        for fault in FAULTS:
            print(f"{fault.name:26} {fault.about}  ({', '.join(fault.stories)})")
        return 0
    seed = options.seed if options.seed is not None else random.randrange(1_000_000)
    plan = Plan(
        seed, options.short, options.only, options.skip, 0 if options.singly else 8, options.stages, options.evidence
    )
    begun = time.monotonic()

    def tell(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:7.1f}  {line}\n")

    with LocalCluster.start(progress=tell) as cluster:
        Operator.install(cluster)
        folder = Path(cluster.folder) / "chaos"
        folder.mkdir()
        campaign = Campaign(cluster, folder, plan, tell)
        results = campaign.run()
    minutes = (time.monotonic() - begun) / 60
    if options.output == "json":
        print(json.dumps({"seed": seed, "trials": [one.as_json() for one in results]}, indent=2))
    else:
        print(as_table(results))
    sys.stderr.write(summary(results, seed, minutes) + "\n")
    for problem in campaign.problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if campaign.problems or any(not one.held for one in results) or not results else 0


if __name__ == "__main__":
    sys.exit(main())
