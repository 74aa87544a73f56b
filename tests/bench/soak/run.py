"""The soak itself: releases and faults for some time, samples meanwhile, a look at everything at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.bench.scale.api import Api
from tests.bench.scale.manifests import Setting, keys, rollout
from tests.bench.scale.rig import Progress, Rig
from tests.bench.soak import drift
from tests.bench.soak.book import Book
from tests.bench.soak.faults import Faults
from tests.bench.soak.samples import Sample, Slope, sample, slope
from tests.support.scene import let_pass

__all__ = ["Plan", "Result", "run"]

_STEPS: Final = [{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}]
_BAD_PERCENT: Final = "30"
_WARM_FOR: Final = "1m"
_WARM_SECONDS: Final = 60.0
_SAMPLE_SECONDS: Final = 10.0
_TELL_SECONDS: Final = 60.0
_END_SECONDS: Final = 900.0
_CALM_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Plan:
    """What to do."""

    rollouts: int
    seconds: float
    setting: Setting
    under_way: int
    """Releases at the same time."""
    fault_every: float
    warm_up: float
    """Seconds after each start of the operator whose memory does not count."""
    seed: int = 1


@dataclass
class Result:
    """What came of it."""

    plan: Plan
    releases: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    slope: Slope | None = None
    samples: list[Sample] = field(default_factory=list)
    objects: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    """Counts of objects and bytes of what the operator writes into them: after the first releases, and at the end."""
    complaints: list[str] = field(default_factory=list)


class _Soak:
    def __init__(self, rig: Rig, plan: Plan, progress: Progress) -> None:
        self._rig, self._plan, self._progress = rig, plan, progress
        self._book = Book(plan.seed)
        self._faults = Faults(plan.fault_every, plan.seed)
        self.result = Result(plan)
        self._life, self._born = 0, 0.0
        self._sampled = self._told = 0.0

    def run(self) -> Result:
        """All of it."""
        self._rig.operator.start()
        self._born = self._began = time.monotonic()
        names = ["/".join(key) for key in keys(self._plan.rollouts)]
        self._rig.apply(self._body(name, "0", good=True) for name in names)
        self._rig.all_stable(names, "0", self._progress)
        for name in names:
            self._book.serves(name, "0")
        self._began = time.monotonic()
        measured = False
        while self._elapsed < self._plan.seconds:
            self._turn(releasing=True)
            if not measured and self._book.counts["promoted"] + self._book.counts["rolledBack"] >= len(names):
                self.result.objects.append(self._count())
                measured = True
        self._end()
        return self.result

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _body(self, name: str, version: str, *, good: bool) -> dict[str, Any]:
        namespace, _, own = name.partition("/")
        errors = "" if good else _BAD_PERCENT
        return rollout((namespace, own), version, self._plan.setting, steps=_STEPS, errors=errors, warm_for=_WARM_FOR)

    def _turn(self, *, releasing: bool) -> None:
        if releasing and self._faults.maybe(self._rig, self._elapsed, self._progress):
            self._life, self._born = self._life + 1, time.monotonic()
        self._book.note(self._rig.seen(), self._elapsed)
        if releasing:
            begun = list(self._book.next(self._plan.under_way, self._elapsed))
            self._rig.apply(self._body(name, one.version, good=one.good) for name, one in begun)
        if self._elapsed - self._sampled >= _SAMPLE_SECONDS:
            self._sampled = self._elapsed
            born = self._born - self._began
            self.result.samples.append(sample(self._rig.operator.pid, self._elapsed, self._life, born))
        if self._elapsed - self._told >= _TELL_SECONDS:
            self._told = self._elapsed
            ends, mib = dict(self._book.counts), self.result.samples[-1].mib
            self._progress(f"{self._elapsed:.0f} s: {ends}, {self._book.under_way} under way, {mib:.0f} MiB")
        let_pass(1.0)

    def _end(self) -> None:
        """Let everything come to rest, and look at it."""
        self._progress("no more releases; waiting for all to come to rest")
        deadline = self._elapsed + _END_SECONDS
        while self._book.under_way and self._elapsed < deadline:
            self._turn(releasing=False)
        let_pass(_WARM_SECONDS)
        serving = {name: self._book.stable_version(name) for name in self._rig.seen()}
        deadline = self._elapsed + _CALM_SECONDS
        left = drift.complaints(self._objects(), serving)
        while left and self._elapsed < deadline:
            let_pass(5.0)
            left = drift.complaints(self._objects(), serving)
        self.result.objects.append(self._count())
        self.result.complaints = [*self._book.complaints, *left]
        self.result.releases, self.result.faults = dict(self._book.counts), dict(self._faults.counts)
        self.result.slope = slope(self.result.samples, self._plan.warm_up)

    def _objects(self) -> Mapping[str, list[dict[str, Any]]]:
        async def every() -> dict[str, list[dict[str, Any]]]:
            async with Api(self._rig.cluster.kubeconfig) as api:
                return {kind: await api.every(kind) for kind in drift.KINDS}

        return asyncio.run(every())

    def _count(self) -> tuple[dict[str, int], dict[str, int]]:
        objects = self._objects()
        return drift.counts(objects), drift.sizes(objects)


def run(rig: Rig, plan: Plan, progress: Progress) -> Result:
    """All of a plan."""
    return _Soak(rig, plan, progress).run()
