"""The same history with and without crashes ends the same: no action is lost, none is done twice.

Holds are so long that only people move the rollout, and the world is given time after each of their words; what is left
to chance is where the operator dies, between any two effects, again and again.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Urgency
from tests.property.conftest import HUNTING
from tests.property.rules import Watch
from tests.support.world import Behaviour, World, spec

Step = tuple[str, str]

_IN_A_ROLE: Final = {"role": "risk", "author": "bob", "comment": "read"}
_WORDS: Final[dict[str, dict[str, Any]]] = {
    "promote-full": {"full": True},
    "promote-over": {"override_freeze": True, "comment": "a hotfix"},
    "promote-accept": {"full": True, "override_freeze": True, "accept_breached": ("errors",), "comment": "as wanted"},
    "approve": _IN_A_ROLE,
    "reject": _IN_A_ROLE,
}
_HISTORY = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.sampled_from(["1", "2", "3"])),
        st.tuples(
            st.just("say"), st.sampled_from([str(verb) for verb in Verb] + list(_WORDS) + ["promote", "approve"])
        ),
        st.tuples(
            st.sampled_from(
                ["break", "fail", "mend", "freeze", "thaw", "shut", "open", "delete", "lower", "lose", "blind"]
            ),
            st.just(""),
        ),
    ),
    min_size=1,
    max_size=6,
)
_DEATHS = st.lists(st.one_of(st.none(), st.integers(0, 5)), max_size=16)


def _world(*, adopted: bool, approval: bool) -> World:
    steps: list[dict[str, Any]] = [{"weight": weight, "hold": "100h"} for weight in (10, 50, 100)]
    if approval:
        steps.insert(1, {"approval": {"role": "risk"}})
    if adopted:
        world = World(spec(steps=steps, adopt={"service": "old", "deployment": "old"}))
        world.serve_without_us()
        world.run(60)
        return world
    world = World(spec(steps=steps))
    world.run(60)
    world.apply("2")
    world.run(60)
    return world


def _do(world: World, what: str, argument: str) -> None:
    match what:
        case "apply":
            world.apply(argument)
        case "say":
            world.say(Verb(argument.partition("-")[0]), **_WORDS.get(argument, {}))
        case "break":
            world.broken[world.raw["model"]["version"]] = "CrashLoopBackOff"
            world.touch()
        case "fail":
            world.behaviour[world.raw["model"]["version"]] = Behaviour(errors=0.5)
        case "mend":
            world.broken, world.behaviour, world.metrics_down = {}, {}, False
            world.touch()
        case "freeze":
            world.freeze("a fair")
        case "thaw":
            world.freeze("")
        case "shut":
            world.apply(advanceOnly={"hours": "03:00-04:00"})
        case "open":
            world.apply(advanceOnly=None)
        case "delete":
            world.delete()
            world.run(30)
            world.apply()
        case "lower":
            if world.weight > 5:
                world.edit_route({world.stable: 95, world.candidate: 5})
        case "lose":
            world.delete_route()
        case "blind":
            world.metrics_down = True


def _end(
    history: list[Step], deaths: list[int | None], *, adopted: bool = False, approval: bool = False
) -> dict[str, Any]:
    world = _world(adopted=adopted, approval=approval)
    watch = Watch(world)
    world.crashes = list(deaths)
    for what, argument in history:
        watch.asked_anew()
        _do(world, what, argument)
        world.run(90)
    world.crashes.clear()
    world.run(400)
    assert not world.humans, "a decision was lost"
    status = world.status
    return {
        "phase": status.phase,
        "reason": status.reason,
        "stable": world.stable,
        "candidate": world.candidate,
        "weight": status.weight,
        "weights": world.route.weights,
        "failed": status.failed.revision if status.failed else "",
        "pinned": status.pinned,
        "adopted": status.adopted and (status.adopted.replicas, status.adopted.scaled_down),
        "paused": status.paused.reason if status.paused else "",
        "roles": {name: (one.role, len(one.pods)) for name, one in world.deployments.items()},
        "history": [(entry.revision, entry.outcome) for entry in status.history],
        "answers": {name: answer.state for name, answer in world.answers.items()},
        "finalizer": world.finalizer,
        "incidents": sorted((one.revision, str(one.reason)) for one in world.incidents.values()),
        "tickets": sorted(_tickets(world)),
        "approvals": [(one.step, one.author) for one in status.approvals],
        "overrides": [one.in_words() for one in status.overrides],
        "step": (status.step.number, status.step.skipped) if status.step else None,
    }


def _tickets(world: World) -> set[tuple[str, str]]:
    """What was told as a ticket; a second time under the same id counts once."""
    told = {one.id: one for one in world.told if one.urgency is Urgency.TICKET}
    return {(one.revision, str(one.reason)) for one in told.values()}


@settings(max_examples=HUNTING or 30)
@given(history=_HISTORY, deaths=_DEATHS, approval=st.booleans())
def test_rule_14_crashes_do_not_change_how_it_ends(
    history: list[Step], deaths: list[int | None], approval: bool
) -> None:
    """Rule 14: restarts at any point, never stuck and never duplicated. (Conflicts, 410s and lost watches are the
    shell's; they are tested with the controller.)"""
    assert _end(history, deaths, approval=approval) == _end(history, [], approval=approval)


@settings(max_examples=HUNTING or 20)
@given(history=_HISTORY, deaths=_DEATHS, approval=st.booleans())
def test_detail_3_crashes_do_not_change_how_an_adoption_ends(
    history: list[Step], deaths: list[int | None], approval: bool
) -> None:
    """The same against what was adopted, whose role no label tells."""
    whole = [*history, ("say", "undo")]
    assert _end(whole, deaths, adopted=True, approval=approval) == _end(whole, [], adopted=True, approval=approval)
