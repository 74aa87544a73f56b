"""Evidence is a function of the spans and of Prometheus: whatever is lost of it is made again, to the last digit."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import pytest

from modelrollout.api.enums import Action as Verb
from modelrollout.api.status import ModelRolloutStatus
from tests.support.world import CTR, DRIFT, ERRORS, LATENCY, VALUE, Behaviour, World, spec
from tests.unit.engine.test_rules import stepping

_GATES: list[dict[str, Any]] = [
    ERRORS,
    ERRORS | {"name": "absolute", "atMost": "5%", "onBreach": "warn"},
    LATENCY | {"atMost": "150% of baseline"},
    CTR,
    VALUE | {"onBreach": "warn"},
    DRIFT | {"onBreach": "warn"},
]
_STEPS = [{"weight": 10, "hold": "3m"}, {"weight": 50, "hold": "4m"}, {"weight": 99, "hold": "10h"}]
_BEHAVIOURS = [Behaviour(), Behaviour(errors=0.014), Behaviour(errors=0.017, slow=0.02), Behaviour(clicks=0.18)]


def _disturb(world: World, rng: random.Random) -> None:
    """Something that interrupts the judging, or changes what is judged."""
    what = rng.choice(["behaves", "behaves", "outage", "mended", "pause", "resume", "pods", "lowered", "nothing"])
    if what == "behaves":
        world.behaviour = {"1": rng.choice(_BEHAVIOURS[:2]), "2": rng.choice(_BEHAVIOURS)}
    elif what in ("outage", "mended"):
        world.metrics_down = what == "outage"
    elif what in ("pause", "resume"):
        world.say(Verb(what))
    elif what == "pods" and world.candidate:
        world._replace_pod(world.deployments[world.candidate])
    elif what == "lowered" and world.weight > 5:
        world.edit_route({world.stable: 95, world.candidate: 5})


def _wiped(status: ModelRolloutStatus, name: str) -> ModelRolloutStatus:
    gates = [gate.model_copy(update={"checkpoint": ""}) if gate.name == name else gate for gate in status.gates]
    return status.model_copy(update={"gates": gates})


def _looks_again(world: World) -> None:
    """Until the metrics were read once more."""
    read = world.status.evaluated_at
    world.run_until(lambda: world.status.evaluated_at != read, within=60)


def _evidence(world: World, *without: str) -> dict[str, Any]:
    return {gate.name: gate.model_dump(exclude={"since", *without}) for gate in world.status.gates}


def _history(seed: int, policy: str) -> tuple[World, random.Random]:
    rng = random.Random(seed)
    world = stepping(10, gates=_GATES, steps=_STEPS, evaluation=spec()["evaluation"] | {"onBlind": policy})
    for _ in range(rng.randrange(1, 7)):
        world.run(rng.choice([7, 20, 60, 150, 400]))
        _disturb(world, rng)
    world.metrics_down = False
    world.run(rng.choice([3, 21, 65, 300]))
    return world, rng


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("policy", ["hold", "retreat"])
def test_a_checkpoint_that_is_lost_is_made_again_to_the_last_digit(seed: int, policy: str) -> None:
    world, rng = _history(seed, policy)
    assert world.status.failed is None, world.status.message
    if world.weight == 0:
        return
    other = deepcopy(world)
    name = rng.choice(world.status.gates).name
    other.live = _wiped(other.status, name)
    _looks_again(world)
    _looks_again(other)
    assert _evidence(other) == _evidence(world)


@pytest.mark.parametrize("seed", range(10))
def test_after_a_crash_with_a_status_that_is_old_the_evidence_is_the_same(seed: int) -> None:
    world, _ = _history(seed, "hold")
    other = deepcopy(world)
    other.restart()
    _looks_again(world)
    other.run((world.clock - other.clock).total_seconds())
    other.run_until(lambda: other.status.evaluated_at == world.status.evaluated_at, within=60)
    assert _evidence(other, "pods", "message") == _evidence(world, "pods", "message")


def test_a_checkpoint_that_cannot_be_read_costs_one_look_and_no_evidence() -> None:
    world = stepping(10, gates=[ERRORS, LATENCY], steps=_STEPS)
    world.run(300)
    other = deepcopy(world)
    rubbish = other.gate().model_copy(update={"checkpoint": "s1:of an older operator"})
    other.live = other.status.model_copy(update={"gates": [rubbish, other.gate("p95")]})
    _looks_again(other)
    assert "evidence is read again" in other.gate().message
    _looks_again(other)
    _looks_again(world)
    _looks_again(world)
    assert _evidence(other) == _evidence(world)


def test_a_gate_that_was_edited_is_made_again_from_the_step_of_the_edit_also_in_later_steps() -> None:
    world = stepping(50, gates=[ERRORS, LATENCY], steps=_STEPS)
    world.run(100)
    world.apply(gates=[ERRORS | {"atMost": "baseline + 2pp"}, LATENCY])
    world.run_until(lambda: world.weight == 99)
    world.run(60)
    other = deepcopy(world)
    other.live = _wiped(other.status, "errors")
    _looks_again(world)
    _looks_again(other)
    assert world.gate().restarted_because
    assert _evidence(other) == _evidence(world)


def test_a_step_with_another_name_keeps_its_evidence() -> None:
    world = stepping(50, steps=_STEPS)
    world.run(100)
    samples, covered = world.gate().samples, world.gate().covered_seconds
    world.apply(steps=[_STEPS[0], {"name": "half", "weight": 50, "hold": "4m"}, _STEPS[2]])
    _looks_again(world)
    assert world.status.step is not None and world.status.step.name == "half"
    assert world.gate().samples > samples
    assert world.gate().covered_seconds > covered
