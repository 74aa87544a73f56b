"""What was adopted, in every stage of its life, told from the status that the engine writes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from modelrollout.api.enums import Action, Phase
from modelrollout.screen.rows import adopted
from modelrollout.screen.snapshot import Snapshot
from tests.support.world import World, spec
from tests.unit.screen.test_verbs import as_read


def _world(**changes: Any) -> World:
    world = World(spec(**{"adopt": {"service": "old", "deployment": "old"}} | changes))
    world.serve_without_us()
    return world


def _sentence(world: World) -> str:
    return adopted(Snapshot(as_read(world), True, (), world.created + timedelta(hours=1)))


def test_detail_3_it_is_told_what_becomes_of_what_was_adopted() -> None:
    world = _world()
    world.run(1)
    assert _sentence(world) == "external is Deployment old: stable with 3 pods, left as it is"
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    warm = world.spec.rollback.warm_for
    assert _sentence(world) == f"external is Deployment old: replaced; keeps its pods for {warm} (rollback.warmFor)"
    world.run(300)
    assert _sentence(world) == "external is Deployment old: replaced and scaled to zero; an undo gives it 3 pods again"
    world.say(Action.UNDO)
    world.run(0.5)
    assert _sentence(world) == "external is Deployment old: on the way back, with 3 pods"


@pytest.mark.parametrize(
    ("adopt", "elsewhere", "words"),
    [
        ({"service": "old"}, "", "never scaled, because adopt.deployment is left out"),
        ({"service": "old", "deployment": "old"}, "rule 2 of HTTPRoute shop", "because rule 2 of HTTPRoute shop leads"),
    ],
)
def test_detail_3_it_is_told_why_it_keeps_its_pods(adopt: dict[str, str], elsewhere: str, words: str) -> None:
    world = _world(adopt=adopt)
    world.adopted_elsewhere = elsewhere
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    world.run(300)
    assert words in _sentence(world)


def test_detail_3_without_adoption_nothing_is_said_of_it() -> None:
    world = World(spec())
    world.run(5)
    assert _sentence(world) == ""
