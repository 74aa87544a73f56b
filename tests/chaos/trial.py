"""One trial: a story on a stage while a fault plays, and what is to be said of it afterwards."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from localcluster import LocalClusterError
from tests.chaos.faults import Fault
from tests.chaos.invariants import Terms, judge
from tests.chaos.stage import HOLD_SECONDS, REPLICAS, Stage
from tests.chaos.stories import Story
from tests.support.users import Users

__all__ = ["Result", "Trial", "run"]

_LATE_SECONDS: Final = 5.0
"""So long after a rollback an answer of the candidate may still be on its way: what was in flight, and the gateway."""
_QUIET_TRACES: Final = ("Traceback (most recent call last)",)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. ``row``: under which name it is counted in the table."""

    fault: Fault
    story: Story
    row: str = ""

    @property
    def name(self) -> str:
        """Fault and story."""
        return f"{self.fault.name}/{self.story.name}"


@dataclass(slots=True)
class Result:
    """What came of it."""

    fault: str
    story: str
    row: str
    injected: dict[str, int] = field(default_factory=dict)
    deaths: int = 0
    """How often the operator's process ended."""
    writes: list[str] = field(default_factory=list)
    """Every write of the operator: method and resource, in order."""
    requests: int = 0
    """Of users."""
    lost: int = 0
    """Without an answer, or answered 404, 502, 503 or 504 by the gateway."""
    codes: dict[str, int] = field(default_factory=dict)
    weights: list[int] = field(default_factory=list)
    """The candidate's, one after the other."""
    seconds: float = 0.0
    states: int = 0
    """States of objects that were judged."""
    violations: list[str] = field(default_factory=list)
    ended: str = ""
    """Why it did not end as it should; empty: it did."""

    @property
    def held(self) -> bool:
        """Nothing is to be said against it."""
        return not self.violations and not self.ended

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"held": self.held}


def run(stage: Stage, trial: Trial) -> Result:
    """Play it; whatever it breaks is healed afterwards."""
    result = Result(trial.fault.name, trial.story.name, trial.row or trial.fault.name)
    since = stage.begin_trial()
    logged, deaths, begun = len(stage.log()), stage.life.deaths, time.monotonic()
    with stage.users() as users:
        try:
            trial.fault.begin(stage)
            trial.story.play(stage, trial.fault.patience, trial.fault.middle)
        except (AssertionError, LocalClusterError, OSError, LookupError) as error:
            result.ended = f"{type(error).__name__}: {error}"[:600]
        finally:
            result.seconds = round(time.monotonic() - begun, 1)
            stage.heal()
    result.deaths = max(stage.life.deaths - deaths, 0)
    stage.restore()
    result.injected = dict(sorted(stage.injected.items()))
    result.writes = [call.shape for call in stage.api.writes]
    _count_requests(result, users)
    _judge(result, stage, trial, since, users)
    if not result.injected and not trial.fault.may_miss:
        result.violations.append("injected: the fault did nothing, so this proves nothing")
    if any(text in stage.log()[logged:] for text in _QUIET_TRACES):
        result.violations.append("log: there is a traceback in the operator's log")
    return result


def _count_requests(result: Result, users: Users) -> None:
    result.requests = sum(users.codes.values())
    result.lost = users.lost + users.codes[404]  # the gateway's word for a route that is not there
    result.codes = {str(code): count for code, count in sorted(users.codes.items())}


def _judge(result: Result, stage: Stage, trial: Trial, since: int, users: Users) -> None:
    everything = stage.witness.seen()
    before = [one for one in everything if one.version <= since]
    terms = Terms(
        rollout="ranker", replicas=REPLICAS, hold=HOLD_SECONDS, specs=stage.applied, waived=trial.fault.waives
    )
    found = judge([one for one in everything if one.version > since], before, terms)
    result.violations, result.weights, result.states = found.violations, found.weights, found.states
    if result.lost and not trial.fault.loses and not trial.story.loses:
        result.violations.append(f"lost: {result.lost} of {result.requests} requests ({Counter(users.codes)})")
    late = _late_answers(stage, since, users)
    if late:
        result.violations.append(f"drained: {late} answers of a failed revision long after it was taken back")


def _late_answers(stage: Stage, since: int, users: Users) -> int:
    """Answers of a revision that failed in this trial, later than what was in flight."""
    put_back: dict[str, float] = {}
    for one in stage.witness.seen(since):
        status = ((one.body or {}).get("status") or {}) if one.kind == "modelrollouts" else {}
        failed = status.get("failed")
        if failed:
            put_back.setdefault(failed["revision"], one.at)
    return sum(
        revision in put_back and at > put_back[revision] + _LATE_SECONDS for at, revision, _ in list(users.answers)
    )
