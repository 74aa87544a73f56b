"""What the screen offers to type is what the engine would do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from modelrollout.api.enums import Action, Phase
from modelrollout.api.objects import Rollout
from modelrollout.screen.verbs import Said, command, command_for_anybody, manifest, sensible
from tests.support.world import World, spec
from tests.unit.cli.states import STATES
from tests.unit.engine.test_humans import _STATES as SITUATIONS


def as_read(world: World) -> Rollout:
    """The ModelRollout of a world as the API server has it."""
    return Rollout(
        namespace="recs",
        name="ranker",
        uid="u",
        generation=world.generation,
        resource_version="1",
        created=world.created,
        deleting=False,
        finalizers=(),
        spec=world.spec,
        raw_spec=world.raw,
        status=world.status,
    )


@pytest.mark.parametrize("situation", SITUATIONS)
def test_detail_41_what_the_screen_offers_is_done(situation: str) -> None:
    """Only a freeze or a window that no status tells of yet may stand in the way, and says what to type instead."""
    make, _ = SITUATIONS[situation]
    for said in sensible(as_read(make())):
        world = make()
        decision = manifest(as_read(world), said, "ann")["spec"]
        uid = world.say(
            said.action,
            revision=decision.get("revision", ""),
            full=said.full,
            override_freeze=said.override_freeze,
            role=said.role,
            comment=said.comment,
        )
        world.run(0.5)
        answer = world.answers[uid]
        assert answer.state == "Applied" or "--override-freeze" in answer.message, (said, answer.message)


def test_something_is_offered_wherever_something_can_be_done() -> None:
    offered = {name: [said.action for said in sensible(as_read(make()))] for name, (make, _) in SITUATIONS.items()}
    nothing = {"stable, nothing kept", "rolling back", "first revision starts"}
    assert {name for name, verbs in offered.items() if not verbs} <= nothing
    assert all(verbs[0] == Action.ABORT for name, verbs in offered.items() if name.startswith("stepping"))
    assert offered["stepping, paused"][1] is Action.RESUME
    assert Action.RESUME not in offered["stepping, paused in spec"]


def test_detail_3_what_was_adopted_is_offered_as_the_way_back_and_is_one() -> None:
    world = World(spec(adopt={"service": "old", "deployment": "old"}))
    world.serve_without_us()
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    (said,) = sensible(as_read(world))
    assert said.action is Action.UNDO
    uid = world.say(said.action)
    world.run(0.5)
    assert world.answers[uid].state == "Applied"


@pytest.mark.parametrize("said", [Said(Action.ABORT), Said(Action.APPROVE, "why", role="risk")])
def test_detail_41_a_pasted_command_names_who_pastes_it(tmp_path: Path, said: Said) -> None:
    """A real shell and a kubectl that tells who asks and what it was given."""
    name = "system:serviceaccount:recs:kim"
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\n[ "$1" = auth ] && printf %s {name} || /bin/cat\n', encoding="ascii")
    kubectl.chmod(0o755)
    text = command_for_anybody(Rollout.parse(STATES["progressing"][0]), said)
    done = subprocess.run(["/bin/sh", "-ec", text], env={"PATH": str(tmp_path)}, capture_output=True, check=True)
    spec = yaml.safe_load(done.stdout)["spec"]
    assert (spec["author"], spec["comment"], spec["revision"]) == (name, "why", "77aa01c4ee90")
    assert spec.get("role", "") == said.role


def test_commands_say_what_they_do() -> None:
    rollout = Rollout.parse(STATES["progressing"][0])
    said = Said(Action.PROMOTE, "why", full=True, override_freeze=True)
    assert command(rollout, said) == 'kubectl modelrollout promote ranker -n recs --full --override-freeze -m "why"'
    assert said.does.startswith("Skip every step that is left. Passes over the freeze")
