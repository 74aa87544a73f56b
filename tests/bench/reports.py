"""How often the report gate is wrong on latencies per batch size and on AUC; with the Monte-Carlo error.

    python -m tests.bench.reports [--runs 4000]

Batch sizes 1, 8, 32 and 128, limit "110% of baseline", alpha 1 %, beta 5 %, the first report of a revision. Each run's
p95 is off by a normal percentage (``scatter``, plus 2 % of sampling); with ``neighbour`` a tenth of the runs is 30 %
slower. AUC: binormal scores, limit 0.9, the error from the numbers of examples.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import parse_limit
from modelrollout.gates.report import ReportTest

__all__ = ["auc_report", "latency_report", "verdicts"]

Random = np.random.Generator
_SIZES = {"1": 20.0, "8": 35.0, "32": 80.0, "128": 250.0}
_SAMPLING = 0.02


def latency_report(random: Random, *, ratio: float, runs: int, scatter: float, neighbour: bool = False) -> str:
    """A report in which every batch size of the candidate is ``ratio`` times as slow as the baseline's."""

    def arm(p95: float) -> list[float]:
        off = random.normal(0.0, math.hypot(scatter, _SAMPLING), runs)
        hit = np.log(1.3) * (random.random(runs) < 0.1) if neighbour else np.zeros(runs)
        return [float(value) for value in p95 * np.exp(off + hit)]

    table = {size: {"candidate": arm(p95 * ratio), "baseline": arm(p95)} for size, p95 in _SIZES.items()}
    return json.dumps({"metrics": {"latency": {"batch": table}}})


def auc_report(random: Random, *, auc: float, positives: int, negatives: int) -> str:
    """A report of an AUC that was measured on so many examples with normal scores."""
    apart = math.sqrt(2.0) * NormalDist().inv_cdf(auc)
    scores: npt.NDArray[np.float64] = np.concatenate(
        [random.normal(apart, 1.0, positives), random.normal(0.0, 1.0, negatives)]
    )
    ranks = scores.argsort().argsort() + 1
    measured = (ranks[:positives].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    samples = {"positives": positives, "negatives": negatives}
    return json.dumps({"metrics": {"auc": {"candidate": float(measured), "samples": samples}}})


def verdicts(test: ReportTest, reports: list[str]) -> Counter[Verdict]:
    """How often each verdict is given to the first report of a revision."""
    return Counter(test.assess(test.read(test.start(), report)).verdict for report in reports)


def _row(test: ReportTest, name: str, reports: list[str]) -> str:
    found = verdicts(test, reports)
    cells = []
    for verdict in (Verdict.BREACHED, Verdict.PROVEN):
        share = found[verdict] / len(reports)
        cells.append(f"{100 * share:.1f} ± {196 * math.sqrt(max(share * (1 - share), 1e-9) / len(reports)):.1f}")
    return f"| {name} | {cells[0]} | {cells[1]} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=4000)
    count: int = parser.parse_args().runs
    print("| latency: scatter, runs, true ratio | breached % | proven % |\n|---|---|---|")
    test = ReportTest("latency", parse_limit("110% of baseline"), 0.01)
    cases = [
        (0.01, 3, False),
        (0.03, 3, False),
        (0.03, 5, False),
        (0.05, 5, False),
        (0.05, 10, False),
        (0.03, 10, True),
    ]
    for scatter, runs, neighbour in cases:
        for ratio in (1.0, 1.1, 1.2):
            random = np.random.default_rng([runs, round(100 * ratio)])
            reports = [
                latency_report(random, ratio=ratio, runs=runs, scatter=scatter, neighbour=neighbour)
                for _ in range(count)
            ]
            name = f"{100 * scatter:.0f} %{' and a neighbour' if neighbour else ''}, {runs}, {ratio:.2f}"
            print(_row(test, name, reports), flush=True)
    print("\n| AUC at least 0.9: positives, negatives, true AUC | breached % | proven % |\n|---|---|---|")
    test = ReportTest("auc", parse_limit("0.9"), 0.01, at_least=True)
    for positives, negatives in ((50, 950), (500, 9500), (500, 500)):
        for auc in (0.85, 0.9, 0.93):
            random = np.random.default_rng([positives, round(1000 * auc)])
            reports = [auc_report(random, auc=auc, positives=positives, negatives=negatives) for _ in range(count // 4)]
            print(_row(test, f"{positives}, {negatives}, {auc}", reports), flush=True)


if __name__ == "__main__":
    main()
