"""ModelRollouts as an API server holds them, of every phase and most reasons: what the real engine wrote in a small
world, for those who read our status with code of their own (kstatus, Flux, Argo CD).

Each object is one that the operator really left behind between two looks; nothing is written by hand but the history
that leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any, Final

from modelrollout.api.enums import Phase, Reason
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.engine.model import RouteState
from modelrollout.engine.report import unreadable
from tests.support.world import ERRORS, LATENCY, START, Behaviour, World, spec

__all__ = ["Body", "captured", "expected", "untouched"]

Body = dict[str, Any]
_FAILED: Final = (Phase.ROLLED_BACK, Phase.STALLED)


def _body(world: World, status: Body) -> Body:
    metadata: Body = {
        "name": "ranker",
        "namespace": "recs",
        "uid": "5f0c6e1c-0000-4000-8000-000000000000",
        "generation": world.generation,
        "resourceVersion": "1",
        "creationTimestamp": "2026-11-21T09:00:00Z",
    }
    if world.finalizer:
        metadata["finalizers"] = ["modelrollout.io/traffic"]
    if world.deleting:
        metadata["deletionTimestamp"] = "2026-11-21T09:30:00Z"
    rollout = {"apiVersion": "modelrollout.io/v1alpha1", "kind": "ModelRollout"}
    return rollout | {"metadata": metadata, "spec": deepcopy(world.raw), "status": status}


class _Camera(World):
    """A world that keeps the first object of each phase and reason that the operator writes."""

    shots: dict[str, Body]

    def __init__(self, shots: dict[str, Body], **changes: Any) -> None:
        super().__init__(spec("1", **changes))
        self.shots = shots
        self.run(60)

    def _keep(self, status: ModelRolloutStatus) -> None:
        super()._keep(status)
        name = f"{status.phase}-{status.reason}" + ("-deleting" if self.deleting else "")
        self.shots.setdefault(name, _body(self, status.model_dump(mode="json", by_alias=True, exclude_none=True)))

    def release(self, version: str = "2", weight: int = 10, **changes: Any) -> _Camera:
        """A candidate that has come to a weight."""
        self.apply(version, **changes)
        self.run_until(lambda: self.weight == weight and self.route.state is RouteState.ACCEPTED)
        return self


def _good(world: _Camera) -> None:
    world.release()
    world.run(900)
    world.apply("1")  # back to what was promoted before
    world.run(300)


def _bad(world: _Camera) -> None:
    world.release()
    world.behaviour["2"] = Behaviour(errors=0.2)
    world.run(300)


def _catastrophe(world: _Camera) -> None:
    world.release()
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.run(60)


def _people(world: _Camera) -> None:
    world.release()
    world.say("pause")
    world.run(20)
    world.say("resume")
    world.run(5)
    world.freeze("a fair")
    world.run(60)
    world.freeze("")
    world.apply("2", paused=True)
    world.run(60)
    world.apply("2", paused=False)
    world.run(5)
    world.say("abort")
    world.run(120)


def _undo(world: _Camera) -> None:
    world.release()
    world.run(900)
    world.say("undo")
    world.run(120)


def _changes_of_mind(world: _Camera) -> None:
    world.release(weight=50)
    world.apply("3")
    world.run(30)
    world.apply("1")
    world.run(60)


def _outside(world: _Camera) -> None:
    world.release(weight=50)
    world.edit_route({world.stable: 95, world.candidate: 5}, by="kubectl-edit")
    world.run(30)
    for _ in range(3):
        world.edit_route({}, by="kustomize-controller")
        world.run(3)


def _blind(world: _Camera) -> None:
    world.release(weight=50)
    world.metrics_down = True
    world.run(60)
    world.metrics_down = False
    world.unmeasured.add("2")
    world.run(60)
    world.unmeasured.clear()
    world.missing_metrics.add("errors")
    world.run(60)


def _pods(world: _Camera) -> None:
    world.no_room_since = world.clock
    world.apply("2")
    world.run(60)
    world.no_room_since = None
    world.broken["2"] = "CrashLoopBackOff: exit code 1"
    world.run(60)


def _slow_pods(world: _Camera) -> None:
    world.hanging.add("2")
    world.apply("2")
    world.run(600)


def _failing_pods(world: _Camera) -> None:
    world.release()
    world.broken["2"] = "OOMKilled"
    world.run(60)


def _template(world: _Camera) -> None:
    world.template_error = "spec.containers[0].image: Required value"
    world.apply("2")
    world.run(10)


def _route(world: _Camera) -> None:
    world.route.state, world.route.message = RouteState.REJECTED, "the gateway refuses the HTTPRoute"
    world.touch()
    world.run(10)
    world.route.state, world.route.message = RouteState.UNUSABLE, "there is no HTTPRoute shop"
    world.apply("2")
    world.run(10)


def _taken(world: _Camera) -> None:
    world.delete_deployment(world.stable)
    world.apply("2")
    world.run(30)


def _shared(world: _Camera) -> None:
    world.release()
    world.behaviour |= {"1": Behaviour(slow=0.3), "2": Behaviour(slow=0.3)}
    world.run(400)


def _undecided(world: _Camera) -> None:
    world.rps = 0.5
    world.release()
    world.run(1200)


def _approval(world: _Camera) -> None:
    world.release(weight=50)
    world.run(600)


def _deleted(world: _Camera) -> None:
    world.release()
    world.delete()
    world.run(60)


_APPROVAL: Final = [{"weight": 50, "hold": "1m"}, {"approval": {"role": "fraud"}}, {"weight": 100, "hold": "30s"}]
_HISTORIES: Final[list[tuple[Callable[[_Camera], None], Body]]] = [
    (_good, {}),
    (_bad, {}),
    (_catastrophe, {}),
    (_people, {}),
    (_undo, {}),
    (_changes_of_mind, {}),
    (_outside, {}),
    (_blind, {}),
    (_pods, {}),
    (_slow_pods, {}),
    (_failing_pods, {}),
    (_template, {}),
    (_route, {}),
    (_taken, {}),
    (_shared, {"gates": [LATENCY]}),
    (_undecided, {"gates": [ERRORS | {"maxHold": "2m"}]}),
    (_approval, {"steps": _APPROVAL}),
    (_deleted, {}),
]


@cache
def captured() -> dict[str, Body]:
    """By phase and reason; made once, takes a few seconds. Who changes one copies it first."""
    shots: dict[str, Body] = {}
    for history, changes in _HISTORIES:
        history(_Camera(shots, **changes))
    world = World()
    world.run(60)
    status = unreadable(world.status, 2, "this operator cannot read the spec: steps.0.kind: unknown", START)
    world.generation = 2
    shots["Stalled-InvalidSpec"] = _body(world, status.model_dump(mode="json", by_alias=True, exclude_none=True))
    return shots


def untouched() -> Body:
    """An object that no operator has seen: status as the CRD's default makes it."""
    return _body(World(), {"observedGeneration": -1, "phase": "Pending", "reason": "NewRevision"})


def expected(name: str) -> str:
    """What kstatus must say of an object of this name, from phase and reason alone."""
    phase, reason, *deleting = name.split("-")
    if deleting:
        return "Terminating"
    if Phase(phase) in _FAILED or (phase, reason) == (Phase.STABLE, Reason.ROUTE_NOT_ACCEPTED):
        return "Failed"
    return "Current" if phase == Phase.STABLE else "InProgress"
