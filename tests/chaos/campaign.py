"""Which trials there are, in which order they play, and on how many stages at once."""

from __future__ import annotations

import contextlib
import json
import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from localcluster import LocalCluster, LocalClusterError
from tests.chaos.apifaults import KillAt
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.nursery import Nursery
from tests.chaos.stage import Stage
from tests.chaos.stories import STORIES
from tests.chaos.trial import Result, Trial, run

__all__ = ["KILLED_STORIES", "Campaign", "Plan"]

KILLED_STORIES: Final = ("good", "bad", "abort", "undo", "delete-background")
"""The stories whose every write is a point at which the operator dies."""
_EXTRA_POINTS: Final = 3
"""A story may take a few more writes than it took without a fault."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for."""

    seed: int
    short: bool = False
    only: str = ""
    """Part of the name (fault/story) of the trials that are played."""
    skip: str = ""
    """Part of the name of those that are not."""
    apart: int = 8
    """A trial dies at every so many writes, beginning with the first, the second, …; 0: at one only."""
    stages: int = 3
    evidence: Path | None = None
    """A folder for what is known of trials that broke something: the operator's log, every state, the result."""

    def wants(self, name: str) -> bool:
        """Whether a trial is played."""
        return self.only in name and not (self.skip and self.skip in name)


class Campaign:
    """See the module."""

    def __init__(self, cluster: LocalCluster, folder: Path, plan: Plan, tell: Tell) -> None:
        self._cluster, self._folder, self._plan, self._tell = cluster, folder, plan, tell
        self._nursery = Nursery()
        self._lock = threading.Lock()
        self.results: list[Result] = []
        self.problems: list[str] = []
        """Stages that could not be set up: what would have played there did not."""

    def run(self) -> list[Result]:
        """Play everything; the results in the order in which they ended."""
        try:
            return self._run()
        finally:
            self._nursery.close()

    def _run(self) -> list[Result]:
        trials = self._trials()
        chance = random.Random(self._plan.seed)
        chance.shuffle(trials)
        together = [one for one in trials if not one.fault.alone]
        if self._kills():
            # The clean runs say how many writes there are to die at; they play first.
            points = self._points()
            chance.shuffle(points)
            together += points
        self._play(together, self._plan.stages)
        self._play([one for one in trials if one.fault.alone], 1)
        return self.results

    def _trials(self) -> list[Trial]:
        every = [Trial(fault, STORIES[story]) for fault in FAULTS for story in self._stories(fault)]
        return [one for one in every if self._plan.wants(one.name)]

    def _stories(self, fault: Fault) -> tuple[str, ...]:
        return fault.short if self._plan.short else fault.stories

    def _kills(self) -> list[str]:
        """The stories that are played once for each write."""
        if self._plan.short:
            return []
        names = [(f"kill-{moment}/{story}", story) for moment in ("before", "after") for story in KILLED_STORIES]
        return sorted({story for name, story in names if self._plan.wants(name)})

    def _points(self) -> list[Trial]:
        calm = Fault("counted", "no fault: how many writes there are", may_miss=True)
        self._play([Trial(calm, STORIES[story]) for story in self._kills()], self._plan.stages)
        found = []
        for result in [one for one in self.results if one.fault == calm.name]:
            points = self._plan.apart or len(result.writes) + _EXTRA_POINTS
            for number in range(1, points + 1):
                for moment in ("before", "after"):
                    if self._plan.wants(f"kill-{moment}/{result.story}"):
                        found.append(_killed_at(result.story, number, moment, self._plan.apart))
        return found

    def _play(self, trials: list[Trial], stages: int) -> None:
        waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
        for trial in trials:
            waiting.put(trial)
        lanes = [threading.Thread(target=self._lane, args=(waiting,)) for _ in range(min(stages, len(trials)))]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()

    def _lane(self, waiting: queue.SimpleQueue[Trial]) -> None:
        """One trial after the other on one stage; a new stage after one that did not end well."""
        while not waiting.empty():
            stage = Stage(self._cluster, self._folder, self._nursery.start)
            try:
                with stage.open(), contextlib.suppress(queue.Empty):
                    while self._one(stage, waiting.get_nowait()).held:
                        pass
            except (AssertionError, LocalClusterError) as error:
                self.problems.append(f"a stage failed: {error}")
                self._tell(f"{self.problems[-1]}\n{stage.log()[-3000:]}")
                return

    def _one(self, stage: Stage, trial: Trial) -> Result:
        result = run(stage, trial)
        if not result.held and self._plan.evidence is not None:
            _keep(self._plan.evidence, trial, result, stage)
        with self._lock:
            self.results.append(result)
            self._tell(_line(trial, result, stage))
        return result


def _killed_at(story: str, number: int, moment: str, apart: int) -> Trial:
    def begin(stage: Stage) -> None:
        stage.break_api(KillAt(stage.life.kill, number, before=moment == "before", apart=apart))

    about = f"kill -9 {moment} each single write"
    fault = Fault(f"kill-{moment}-{number}", about, begin=begin, may_miss=True, patience=150.0)
    return Trial(fault, replace(STORIES[story]), row=f"kill-{moment}")


def _keep(folder: Path, trial: Trial, result: Result, stage: Stage) -> None:
    """What a person needs to understand it."""
    mine = folder / trial.name.replace("/", "-")
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "operator.log").write_text(stage.log(), encoding="utf-8")
    (mine / "result.json").write_text(json.dumps(result.as_json(), indent=2), encoding="utf-8")
    with (mine / "states.jsonl").open("w", encoding="utf-8") as file:
        for one in stage.witness.seen():
            file.write(json.dumps([one.version, round(one.at, 3), one.kind, one.name, one.body]) + "\n")


def _line(trial: Trial, result: Result, stage: Stage) -> str:
    verdict = "ok" if result.held else "BROKEN"
    did = ", ".join(f"{count} × {name}" for name, count in result.injected.items()) or "-"
    more = "".join(f"\n    {text}" for text in [*result.violations, result.ended] if text)
    more += f"\n    on stage {stage.namespace}" if more else ""
    saw = f"{result.seconds:6.1f} s  lost {result.lost}  weights {result.weights}"
    return f"{verdict:6} {trial.name:34} {saw}  [{did}]{more}"
