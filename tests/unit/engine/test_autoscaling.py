"""An autoscaler for each revision: what it may take away while a rollout lasts, and what it is given before."""

from __future__ import annotations

from typing import Any

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Phase
from modelrollout.engine.model import Autoscale, Scale, SetWeights
from tests.support.world import Behaviour, World, spec


def _world(**auto: Any) -> World:
    """Version 1 serves under an autoscaler between 2 and 10 pods."""
    raw = spec()
    raw["workload"] |= {"autoscaling": {"min": 2, "max": 10, "cpu": 70} | auto}
    world = World(raw)
    world.apply("1")
    world.run_until(lambda: world.status.phase is Phase.STABLE)
    return world


def _scaled(world: World, since: int) -> list[Scale]:
    return [action for _, action in world.done[since:] if isinstance(action, Scale)]


def _pods(world: World, revision: str) -> int:
    return len(world.deployments[revision].pods)


def test_detail_10_the_first_revision_begins_with_the_fewest_and_is_left_to_its_autoscaler() -> None:
    world = _world()
    limits = world.deployments[world.stable].autoscaler
    assert limits is not None
    assert (limits.floor, limits.ceiling, _pods(world, world.stable)) == (2, 10, 2)
    known = len(world.done)
    world.load(world.stable, 7)
    world.run(120)
    assert _pods(world, world.stable) == 7
    assert not _scaled(world, known), "nobody but the autoscaler changes the number"
    world.load(world.stable, 3)
    world.run(120)
    assert _pods(world, world.stable) == 3


def test_detail_10_stable_keeps_the_pods_that_it_had_at_the_start_also_when_its_autoscaler_would_take_them() -> None:
    world = _world()
    first = world.stable
    world.load(first, 8)
    world.apply("2")
    world.run_until(lambda: world.weight == 50)
    world.load(first, 3)
    world.run(5)
    assert _pods(world, first) == 8, "half its users went away, and may come back in a second"
    world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable != first)
    world.run(30)
    limits = world.deployments[world.stable].autoscaler
    assert limits is not None
    assert limits.floor == 2, "the rollout is over, so the load decides"


def test_detail_10_weight_rises_only_onto_pods_that_carry_as_much_as_stable_did() -> None:
    world = _world()
    first = world.stable
    world.load(first, 8)
    world.apply("2")
    seen: list[tuple[int, int]] = []

    def watch(now: World, _: object, __: object, action: object) -> None:
        if isinstance(action, SetWeights) and now.candidate and action.weights.get(now.candidate, 0):
            seen.append((action.weights[now.candidate], now.ready(now.candidate)))

    world.watchers.append(watch)
    world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable != first)
    needed = {10: 2, 50: 4, 100: 8}
    assert {weight for weight, _ in seen} == set(needed)
    assert all(ready >= needed[weight] for weight, ready in seen), seen


def test_detail_10_what_the_autoscaler_added_to_the_candidate_stays() -> None:
    world = _world()
    world.apply("2")
    world.run_until(lambda: world.weight == 10)
    world.load(world.candidate, 6)
    known = len(world.done)
    world.run(40)
    assert _pods(world, world.candidate) == 6
    assert not _scaled(world, known)


def test_detail_10_after_a_rollback_the_candidate_has_no_pods_and_stable_its_own_bounds() -> None:
    world = _world()
    first = world.stable
    world.load(first, 5)
    world.behaviour["2"] = Behaviour(errors=0.9)
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.ROLLED_BACK)
    world.run(300)
    failed = world.status.failed
    assert failed is not None
    assert _pods(world, failed.revision) == 0
    limits = world.deployments[first].autoscaler
    assert limits is not None
    assert (limits.floor, _pods(world, first)) == (2, 5)


def test_detail_10_an_undo_wakes_what_has_no_pods_and_gives_it_as_many_as_serve_now() -> None:
    world = _world()
    first = world.stable
    world.apply("2")
    world.run_until(lambda: world.status.phase is Phase.STABLE and world.stable != first)
    world.run(600)
    assert _pods(world, first) == 0, "kept, but cold"
    world.load(world.stable, 9)
    world.say(Verb.UNDO)
    world.run_until(lambda: world.stable == first)
    assert _pods(world, first) == 9


def test_detail_10_without_autoscaling_in_spec_the_autoscaler_goes_and_replicas_counts_again() -> None:
    world = _world()
    world.load(world.stable, 6)
    raw = dict(world.raw)
    raw["workload"] = {name: value for name, value in raw["workload"].items() if name != "autoscaling"}
    world.apply(workload=raw["workload"])
    world.run(30)
    assert world.deployments[world.stable].autoscaler is None
    assert _pods(world, world.stable) == raw["workload"]["replicas"]


def test_detail_10_another_target_is_given_to_the_autoscaler_that_is_there() -> None:
    world = _world()
    known = len(world.done)
    world.apply(workload=world.raw["workload"] | {"autoscaling": {"min": 3, "max": 6, "cpu": 50}})
    world.run(30)
    made = [action for _, action in world.done[known:] if isinstance(action, Autoscale)]
    assert len(made) == 1
    assert made[0].autoscaler == world.deployments[world.stable].autoscaler
    assert world.status.phase is Phase.STABLE, "it is no part of the revision"


def test_detail_10_status_says_how_many_pods_there_are_and_which() -> None:
    world = _world()
    world.load(world.stable, 4)
    world.run(90)
    assert (world.status.replicas, world.status.selector) == (4, "modelrollout.io/name=ranker")
