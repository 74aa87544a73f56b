"""What is measured of one number of rollouts at one interval, phase by phase."""

from __future__ import annotations

import random
import shlex
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.scale.figures import Spread, chance_of_catastrophe, false_rollbacks, seconds_to_weight, spread
from tests.bench.scale.manifests import REQUESTS, Setting, keys, rollout
from tests.bench.scale.meters import Cost
from tests.bench.scale.rig import Progress, Rig
from tests.support.scene import let_pass

__all__ = ["PHASES", "Plan", "Result", "run"]

PHASES: Final = ("steady", "breach", "kill", "outage")
_STEPS: Final = [{"weight": 10, "hold": "10h"}, {"weight": 50, "hold": "10h"}]
_BAD_SHARE: Final = 0.2
_ERRORS: Final = 0.3
_START_SECONDS: Final = 300.0
_BREACH_SECONDS: Final = 180.0
_SETTLE_SECONDS: Final = 20.0
_AFTER_OUTAGE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Plan:
    """What to do."""

    number: int
    setting: Setting
    only: Collection[str] = PHASES
    steady_seconds: float = 120.0
    outage_seconds: float = 60.0
    hang: bool = False
    """The outage is a Prometheus that does not answer, in place of one that is not there."""
    during_steady: str = ""
    """A command to run beside the steady state, like a profiler; ``{pid}`` stands for the operator's process."""
    seed: int = 1


@dataclass
class Result:
    """The figures; seconds from the phase's moment, costs as counted."""

    number: int
    setting: Setting
    stable_seconds: float = 0.0
    first: Cost | None = None
    """Of the first versions."""
    start: Spread | None = None
    starting: Cost | None = None
    """Of the second versions, until they have their first weight."""
    steady: Cost | None = None
    breach: Spread | None = None
    kill: Spread | None = None
    restart_seconds: float = 0.0
    all_looked_at_seconds: float | None = None
    """Until every rollout on trial was judged again, at most."""
    outage_rollbacks: int | None = None
    false_rollbacks: int = 0
    good_minutes: float = 0.0
    """Minutes that good candidates were judged, all rollouts together."""
    chance: float = 0.0
    """Of a catastrophe by chance in one look."""
    memory_mib: float = 0.0
    status_bytes: int = 0
    notes: list[str] = field(default_factory=list)


class _Run:
    def __init__(self, rig: Rig, plan: Plan, progress: Progress) -> None:
        self._rig, self._plan, self._progress = rig, plan, progress
        self._keys = keys(plan.number)
        self._names = ["/".join(key) for key in self._keys]
        shuffled = random.Random(plan.seed).sample(self._names, plan.number)
        bad = max(1, round(_BAD_SHARE * plan.number))
        self._breaking, self._dying, self._good = shuffled[:bad], shuffled[bad : 2 * bad], shuffled[2 * bad :]
        self.result = Result(plan.number, plan.setting)

    def start(self) -> None:
        """The first version everywhere, then the second, all at once."""
        self._rig.operator.start()
        self._progress(f"{self._plan.number} rollouts get their first version")
        meter = self._rig.meter()
        self._rig.apply(self._bodies("1"))
        self.result.stable_seconds = self._rig.all_stable(self._names, "1", self._progress)
        self.result.first = meter.read()
        let_pass(_SETTLE_SECONDS)
        self._progress("the second version, all at once")
        meter = self._rig.meter()
        applied = self._rig.apply(self._bodies("2"))
        self._since = time.time()
        found = self._wait({name: (10, at) for name, at in applied.items()}, _START_SECONDS)
        self.result.start, self.result.starting = spread(found.values()), meter.read()
        self._progress(f"start -> weight 10: {self.result.start} s")

    def _bodies(self, version: str) -> list[dict[str, Any]]:
        return [rollout(key, version, self._plan.setting, steps=_STEPS) for key in self._keys]

    def _wait(self, wanted: dict[str, tuple[int, float]], timeout: float) -> dict[str, float | None]:
        """Wait for weights; for each rollout the seconds it took since its moment."""

        def found(seen: dict[str, Any]) -> dict[str, float | None]:
            return {name: seconds_to_weight(seen[name], *one) for name, one in wanted.items()}

        deadline = time.monotonic() + timeout
        while True:
            times = found(self._rig.seen())
            if None not in times.values() or time.monotonic() > deadline:
                return times
            let_pass(0.5)

    def steady(self) -> None:
        """Nothing happens: what does it cost?"""
        let_pass(_SETTLE_SECONDS)
        self._progress(f"steady state for {self._plan.steady_seconds:.0f} s")
        beside = self._beside()
        meter = self._rig.meter()
        let_pass(self._plan.steady_seconds)
        self.result.steady = meter.read()
        if beside is not None:
            beside.wait()
        seen = self._rig.seen()
        self.result.status_bytes = max(one["statusBytes"] for one in seen.values())
        cost = self.result.steady
        spent = {name: round(60.0 * seconds / cost.seconds, 1) for name, seconds in cost.cpu.items()}
        self._progress(f"CPU s per minute {spent}; {cost.queries:.0f} queries; {cost.requests}")

    def _beside(self) -> subprocess.Popen[bytes] | None:
        command = self._plan.during_steady.format(pid=self._rig.operator.pid)
        return subprocess.Popen(shlex.split(command)) if command else None

    def breach(self) -> None:
        """A fifth of the candidates begin to fail at the same moment."""
        let_pass(_SETTLE_SECONDS)
        self._progress(f"{len(self._breaking)} candidates begin to fail")
        at = self._rig.let_fail(self._breaking, "2", _ERRORS)
        self.result.breach = spread(self._wait(dict.fromkeys(self._breaking, (0, at)), _BREACH_SECONDS).values())
        self._progress(f"breach -> weight 0: {self.result.breach} s")

    def kill(self) -> None:
        """kill -9, another fifth begins to fail at once, and the operator is started again at once."""
        let_pass(_SETTLE_SECONDS)
        self._note_memory()
        self._progress(f"kill -9, and {len(self._dying)} candidates begin to fail")
        self._rig.operator.kill()
        at = self._rig.let_fail(self._dying, "2", _ERRORS)
        begun = time.monotonic()
        self._rig.operator.start()
        self.result.restart_seconds = time.monotonic() - begun
        self.result.kill = spread(self._wait(dict.fromkeys(self._dying, (0, at)), _BREACH_SECONDS).values())
        self._progress(f"kill -9 and breach -> weight 0: {self.result.kill} s")
        self.result.all_looked_at_seconds = self._until_all_are_judged(at)

    def _until_all_are_judged(self, since: float) -> float | None:
        """Seconds, at most: the operator is asked only now, because its answer costs it a part of a second."""
        deadline = time.monotonic() + _BREACH_SECONDS
        while time.monotonic() < deadline:
            judged = self._rig.looked_at_since(since)
            on_trial = sum(one["phase"] == "Progressing" for one in self._rig.seen().values())
            if judged >= on_trial:
                return time.time() - since
            let_pass(1.0)
        return None

    def outage(self) -> None:
        """Prometheus is away for a minute."""
        let_pass(_SETTLE_SECONDS)
        before = len(self._rolled_back())
        self._progress(f"Prometheus is away for {self._plan.outage_seconds:.0f} s")
        cluster = self._rig.cluster
        stop, go_on = (
            (cluster.pause_prometheus, cluster.resume_prometheus)
            if self._plan.hang
            else (cluster.stop_prometheus, cluster.start_prometheus)
        )
        stop()
        let_pass(self._plan.outage_seconds)
        go_on()
        let_pass(_AFTER_OUTAGE_SECONDS)
        self.result.outage_rollbacks = len(self._rolled_back()) - before
        self._progress(f"good rollouts rolled back by it: {self.result.outage_rollbacks}")

    def _rolled_back(self) -> list[str]:
        broken = {*(self._breaking if "breach" in self._plan.only else ())}
        broken |= {*(self._dying if "kill" in self._plan.only else ())}
        return false_rollbacks(self._rig.seen(), [name for name in self._names if name not in broken])

    def _note_memory(self) -> None:
        self.result.memory_mib = max(self.result.memory_mib, self._rig.operator_mib())

    def finish(self) -> Result:
        """What is known only at the end."""
        plan = self._plan
        false = self._rolled_back()
        self.result.false_rollbacks = len(false)
        self.result.good_minutes = (time.time() - self._since) / 60.0 * len(self._good)
        seconds = float(plan.setting.interval.removesuffix("s"))
        share = float(plan.setting.errors_above.removesuffix("%")) / 100.0
        self.result.chance = chance_of_catastrophe(REQUESTS / 10.0 * seconds, share, 20)
        self._note_memory()
        seen = self._rig.seen()
        self.result.notes += [f"{name}: {seen[name]['message']}" for name in false[:3]]
        return self.result


def run(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """All phases of a plan."""
    one = _Run(rig, plan, progress)
    one.start()
    for phase in PHASES:
        if phase in plan.only:
            getattr(one, phase)()
    return one.finish()
