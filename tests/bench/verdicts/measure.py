"""One case, measured: ours, the rivals and the oracles on the very same counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from modelrollout.api.enums import Verdict
from modelrollout.lab import oracle, rivals
from modelrollout.lab.columns import Ints
from modelrollout.lab.oracle import Truth
from modelrollout.lab.policy import find_policy
from modelrollout.lab.rivals import NEVER, Arms
from modelrollout.lab.runner import Cause, run
from modelrollout.lab.traffic import Traffic
from tests.bench.verdicts.cases import INTERVAL, Case

__all__ = ["Measured", "measure"]

_KAYENTA_RUNS = 100


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a case. ``caught``: share of the runs that were rolled back; ``delay``: median seconds from the
    beginning of the harm (infinite when fewer than half were caught); ``exposed``: median requests of the candidate
    since then; each by method ("ours", "flagger", …). ``causes``: ours, by what rolled back."""

    case: Case
    runs: int
    caught: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    exposed: dict[str, float] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    waiting: float = 0.0
    """Share of the runs of ours that were still undecided at the end."""
    false_proofs: list[float] = field(default_factory=list)
    """Share of the runs of ours that called a limit proven which the candidate is not within."""

    def error(self, method: str = "ours") -> float:
        """Monte-Carlo standard error of ``caught``."""
        p, n = self.caught[method], self.sizes[method]
        return math.sqrt(max(p * (1.0 - p), 1.0 / n / 4.0) / n)


def measure(case: Case, runs: int, seed: int, *, with_rivals: bool = True) -> Measured:
    """Run one case."""
    policy = find_policy([case.policy()])
    traffic = Traffic(case.scenario(), interval=INTERVAL, runs=runs, seed=seed)
    results = run(policy, traffic, traced=False, counted=True)
    ours = np.where(results.rolled_back, results.intervals - 1, NEVER)
    found = Measured(case, runs, waiting=float((~results.rolled_back & ~results.promoted).mean()))
    gates = [Arms(nc, xc, nb, xb, INTERVAL) for nc, xc, nb, xb in results.counts]
    arms = gates[0]
    decided = {"ours": ours}
    if with_rivals:
        decided |= _rivals(case, gates)
    if case.harmful:
        decided |= _oracles(case, arms)
    for method, slots in decided.items():
        _enter(found, method, slots, arms)
    if case.harmful or "margin" in case.name:
        found.false_proofs.append(float((results.gates[0].verdict == Verdict.PROVEN).mean()))
    for cause in Cause:
        found.causes[cause.name.lower()] = int((results.cause == cause).sum())
    return found


def _rivals(case: Case, gates: list[Arms]) -> dict[str, Ints]:
    lines = [case.kind.line, *(kind.line for kind, _ in case.also)]
    return {
        "flagger": rivals.flagger(gates, lines),
        "argo 0": rivals.argo(gates, lines),
        "argo 3": rivals.argo(gates, lines, failure_limit=3),
        "kayenta": rivals.kayenta([arms.first(_KAYENTA_RUNS) for arms in gates]),
    }


def _oracles(case: Case, arms: Arms) -> dict[str, Ints]:
    truth = Truth(
        case.bad(case.share),
        case.bad(case.candidate),
        case.kind.line,
        alpha=0.01,
        floor=case.floor or 0.0,
        good=case.kind.good,
        begins=round(case.at / INTERVAL),
    )
    one = {} if case.floor is None else {"oracle": oracle.one_arm(arms, truth)}
    return one | {"oracle2": oracle.two_arms(arms, truth)}


def _enter(found: Measured, method: str, slots: Ints, arms: Arms) -> None:
    begins = round(found.case.at / INTERVAL)
    caught = slots >= begins if found.case.harmful else slots >= 0
    found.sizes[method] = len(slots)
    found.caught[method] = float(caught.mean())
    after = np.where(caught, (slots - begins + 1) * INTERVAL, np.inf)
    found.delay[method] = float(np.median(after))
    asked = np.nancumsum(arms.nc[: len(slots), begins:], axis=1)
    rows = np.arange(len(slots))
    got = asked[rows, np.clip(slots - begins, 0, asked.shape[1] - 1)]
    found.exposed[method] = float(np.median(np.where(caught, got, np.inf)))
