"""Random histories of everything that can happen to a rollout, and what must hold all the time (see `rules.py`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Phase, Reason
from modelrollout.api.meta import EXTERNAL
from tests.property.rules import Watch
from tests.support.world import CTR, DRIFT, ERRORS, LATENCY, VALUE, Behaviour, World, spec

_VERSIONS = st.sampled_from(["1", "2", "3", "4"])
_STEPS = st.sampled_from(
    [
        [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "30s"}],
        [{"weight": 10, "hold": "20s"}, {"weight": 25, "hold": "2m"}, {"weight": 50, "hold": "30s"}],
        [{"name": "a", "weight": 5, "hold": "30s"}, {"name": "b", "weight": 80, "hold": "30s"}],
        [{"name": "b", "weight": 20, "hold": "0s"}, {"name": "c", "weight": 60, "hold": "5m"}],
        [{"weight": 100, "hold": "1m"}],
    ]
)
_GATES = st.sampled_from(
    [
        [],
        [ERRORS],
        [ERRORS | {"atMost": "5%"}],
        [CTR, LATENCY],
        [ERRORS | {"atMost": "110% of baseline + 1pp"}, LATENCY, CTR],
        [LATENCY | {"name": "errors"}],
        [ERRORS | {"onBreach": "pause"}, LATENCY | {"onBreach": "warn", "required": False}],
        [ERRORS | {"advanceOn": "proven", "maxHold": "1m", "onUndecided": "advance"}, VALUE],
        [CTR | {"mustSee": "70% of baseline", "maxHold": "2m", "onUndecided": "rollback"}, DRIFT],
        [ERRORS | {"advanceOn": "proven", "atMost": "baseline + 0.1pp", "maxHold": "1m"}],
    ]
)
_BEHAVIOURS = st.sampled_from(
    [
        Behaviour(),
        Behaviour(),
        Behaviour(errors=0.9),
        Behaviour(errors=0.06),
        Behaviour(clicks=0.1),
        Behaviour(slow=0.2),
    ]
)
_BACK_TO_LIFE = 1200.0
_FOR_A_HUMAN = (Reason.SPLIT_MISMATCH, Reason.SHARED_DEGRADATION, Reason.UNDECIDED, Reason.GATE_BREACHED)


def _written(world: World) -> int | None:
    """The candidate's weight as the operator itself last wrote it."""
    marker = world.route.marker
    return marker.weights.get(world.candidate, 0) if marker is not None else None


class Histories(RuleBasedStateMachine):
    """One ModelRollout and everything that people, clusters and clocks do to it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.watch = Watch(self.world)
        self.disturbed = False
        self.pace = 0.0
        """Seconds that pass after each thing that happens."""

    @initialize(
        keep=st.integers(0, 2),
        scaling=st.sampled_from(["proportional", "full"]),
        on_blind=st.sampled_from(["hold", "retreat"]),
        warmup=st.sampled_from(["0s", "10s"]),
        drain=st.sampled_from(["0s", "10s"]),
        policy=st.sampled_from(["Orphan", "Orphan", "Delete"]),
        steps=_STEPS,
        gates=_GATES,
        mode=st.sampled_from(["enforce", "enforce", "enforce", "observe"]),
        holdback=st.sampled_from([None, None, 5]),
        adopt=st.sampled_from([None, None, {"service": "old"}, {"service": "old", "deployment": "old"}]),
        stage=st.sampled_from(["new", "serving", "stepping", "stepping", "stepping", "kept"]),
        pace=st.sampled_from([0.0, 1.0, 7.0, 20.0, 40.0]),
    )
    def begin(
        self,
        keep: int,
        scaling: str,
        on_blind: str,
        warmup: str,
        drain: str,
        policy: str,
        steps: list[Any],
        gates: list[Any],
        mode: str,
        holdback: int | None,
        adopt: dict[str, str] | None,
        stage: str,
        pace: float,
    ) -> None:
        base = spec(steps=steps, gates=gates, warmup=warmup, drainDelay=drain, deletionPolicy=policy)
        base["mode"] = mode
        if holdback is not None:
            base["baselineHoldback"] = holdback
        base["workload"]["scaling"] = scaling
        base["rollback"] = {"keep": keep, "warmFor": "2m"}
        base["evaluation"]["onBlind"] = on_blind
        if adopt is not None:
            base["adopt"] = adopt
        self.world = World(base)
        if adopt is not None:
            self.world.serve_without_us()
        self.watch = Watch(self.world)
        self.pace = pace
        if stage != "new":
            self.world.run(60)
        if stage in ("stepping", "kept"):
            self.world.apply("2")
            self.world.run(35 if stage == "stepping" else 900)

    def _edit(self, version: str | None = None, **changes: Any) -> None:
        self.watch.asked_anew()
        self.world.apply(version, **changes)

    # Time

    @rule(seconds=st.sampled_from([0.3, 3.0, 7.0, 20.0, 60.0, 60.0, 200.0, 900.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)
        self.disturbed = False

    @rule(seconds=st.sampled_from([12.0, 35.0, 65.0, 130.0]))
    def more_time_passes(self, seconds: float) -> None:
        self.time_passes(seconds)

    @rule(version=_VERSIONS, seconds=st.sampled_from([2.0, 15.0, 40.0, 100.0]))
    def names_a_version_and_waits(self, version: str, seconds: float) -> None:
        self._edit(version)
        self.time_passes(seconds)

    @rule(seconds=st.sampled_from([-3600.0, -20.0, 20.0, 3600.0]))
    def clock_jumps(self, seconds: float) -> None:
        self.world.set_clock(seconds)

    # People

    @rule(version=_VERSIONS)
    def names_a_version(self, version: str) -> None:
        self._edit(version)

    @rule(steps=_STEPS)
    def edits_steps(self, steps: list[Any]) -> None:
        self._edit(steps=steps)

    @rule(gates=_GATES)
    def edits_gates(self, gates: list[Any]) -> None:
        self._edit(gates=gates)

    @rule(paused=st.booleans())
    def pauses_in_spec(self, paused: bool) -> None:
        self._edit(paused=paused)

    @rule(replicas=st.integers(1, 8))
    def edits_replicas(self, replicas: int) -> None:
        self._edit(workload=self.world.raw["workload"] | {"replicas": replicas})

    @rule(verb=st.sampled_from(list(Verb)), full=st.booleans(), named=st.booleans())
    def decides(self, verb: Verb, full: bool, named: bool) -> None:
        if verb in (Verb.RETRY, Verb.UNDO):
            self.watch.asked_anew()
        revision = self.world.candidate if named else ""
        self.world.say(verb, full=full and verb is Verb.PROMOTE, revision=revision)

    @rule(version=_VERSIONS)
    def says_retry_and_undo(self, version: str) -> None:
        self.watch.asked_anew()
        self.world.say(Verb.UNDO)
        self.world.apply(version)

    @rule(on=st.booleans())
    def freezes(self, on: bool) -> None:
        self.world.freeze("a fair" if on else "")

    @precondition(lambda self: self.world.exists and not self.world.deleting)
    @rule(again=st.booleans())
    def deletes(self, again: bool) -> None:
        self.watch.asked_anew()
        self.world.delete()
        self.world.run(60)
        assert not self.world.exists, "the object is held for ever"
        if self.world.stable and self.world.route.weights and not self.disturbed:
            assert self.world.route.weights.get(self.world.stable, 0) == 100
        if again:
            self.world.apply()

    @precondition(lambda self: not self.world.exists)
    @rule(version=_VERSIONS)
    def applies_again(self, version: str) -> None:
        self._edit(version)

    # The cluster

    @rule(version=_VERSIONS, how=_BEHAVIOURS)
    def answers_differently(self, version: str, how: Behaviour) -> None:
        self.world.behaviour[version] = how

    @rule(how=_BEHAVIOURS)
    def candidate_turns_bad(self, how: Behaviour) -> None:
        known = self.world.deployments.get(self.world.candidate)
        if known is not None:
            self.world.behaviour[known.version] = how

    @rule(version=_VERSIONS, errors=st.sampled_from([0.3, 0.9]), node=st.booleans())
    def a_pod_turns_bad(self, version: str, errors: float, node: bool) -> None:
        self.world.bad_pods[version] = errors
        self.world.bad_node = node

    @rule(mode=st.sampled_from(["enforce", "observe"]))
    def edits_the_mode(self, mode: str) -> None:
        self._edit(mode=mode)

    @rule(down=st.booleans())
    def prometheus(self, down: bool) -> None:
        self.world.metrics_down = down

    @rule(gate=st.sampled_from(["errors", "p95", ""]))
    def metric_is_missing(self, gate: str) -> None:
        self.world.missing_metrics = {gate}

    @rule(version=st.sampled_from(["1", "2", "3", ""]))
    def is_not_scraped(self, version: str) -> None:
        self.world.unmeasured = {version}

    @rule(version=_VERSIONS, broken=st.booleans())
    def pods_break(self, version: str, broken: bool) -> None:
        self.world.broken.pop(version, None)
        if broken:
            self.world.broken[version] = "CrashLoopBackOff"
        self.world.touch()

    @rule(version=_VERSIONS, hang=st.booleans())
    def pods_hang(self, version: str, hang: bool) -> None:
        (self.world.hanging.add if hang else self.world.hanging.discard)(version)
        self.world.touch()

    @rule(full=st.booleans())
    def nodes_are_full(self, full: bool) -> None:
        self.world.no_room_since = self.world.clock if full else None
        self.world.touch()

    @rule()
    def candidate_is_deleted(self) -> None:
        self.world.delete_deployment(self.world.candidate)

    @rule()
    def stable_is_deleted(self) -> None:
        self.world.delete_deployment(self.world.stable)

    @precondition(lambda self: EXTERNAL in self.world.deployments)
    @rule(pods=st.sampled_from([0, 1, 5]))
    def what_was_adopted_is_scaled_by_others(self, pods: int) -> None:
        self.world.scale_adopted(pods)

    @precondition(lambda self: self.world.stable != EXTERNAL)  # else admission refuses it
    @rule(named=st.booleans())
    def edits_what_is_adopted(self, named: bool) -> None:
        self._edit(adopt={"service": "old", "deployment": "old"} if named else None)

    @rule(why=st.sampled_from(["", "", "there is no Service old"]))
    def what_was_adopted_goes_and_comes(self, why: str) -> None:
        self.world.adoptable = why

    @rule(share=st.sampled_from([0.0, 0.2]))
    def callers_bypass_the_route(self, share: float) -> None:
        self.world.bypass = share

    @rule()
    def route_is_deleted(self) -> None:
        self.world.delete_route()
        self.disturbed = True

    @precondition(lambda self: self.world.candidate and self.world.stable and self.world.exists)
    @rule(weight=st.sampled_from([0, 5, 30, 70, 100]), keep_marker=st.booleans())
    def route_is_edited(self, weight: int, keep_marker: bool) -> None:
        world = self.world
        lowered = weight < world.weight and keep_marker and not world.deleting
        held = world.status.weight
        world.edit_route({world.stable: 100 - weight, world.candidate: weight}, keep_marker=keep_marker)
        self.disturbed = True
        if lowered and held == _written(world) and world.candidate == world.target:
            before = world.candidate
            world.look()
            if world.candidate == before and world.status.failed is None:
                assert world.status.weight <= weight, "an outside edit downwards was not obeyed"

    @rule(count=st.integers(1, 3))
    def raises_conflict(self, count: int) -> None:
        self.world.refuse_raises = count

    @rule(after=st.integers(0, 6))
    def crashes(self, after: int) -> None:
        self.world.crashes.append(after)

    @rule()
    def restarts(self) -> None:
        self.world.restart()

    @rule()
    def sees_an_older_state(self) -> None:
        self.watch.stale = True
        try:
            self.world.look(stale=True)
        finally:
            self.watch.stale = False
        self.disturbed = True
        self.world.touch()

    @invariant()
    def holds(self) -> None:
        if self.pace:
            self.time_passes(self.pace)
        if not self.disturbed:
            self.watch.after_look()

    def teardown(self) -> None:
        """When nothing happens any more, nothing is done any more; when all is well again, it comes to an end."""
        world = self.world
        world.crashes.clear()
        world.refuse_raises = 0
        world.run(_BACK_TO_LIFE)
        done = len(world.done)
        world.run(600)
        assert world.done[done:] == [], "there is no end of writing"
        assert not (world.humans and world.exists), "a decision was lost"
        if world.status.phase in (Phase.STABLE, Phase.ROLLED_BACK) and world.exists:
            before = world.status
            decision = world.look()
            assert decision is not None
            assert decision.status == before and not decision.events, "an idle rollout changes"
        self._all_is_well()

    def _all_is_well(self) -> None:
        world = self.world
        if not world.exists:
            return
        world.metrics_down, world.missing_metrics, world.unmeasured, world.frozen = False, set(), set(), ""
        world.skew, world.bypass = timedelta(), 0.0
        world.hanging, world.broken, world.no_room_since, world.behaviour = set(), {}, None, {}
        world.bad_pods = {}
        world.adoptable = ""
        if EXTERNAL in world.deployments and world.stable == EXTERNAL:
            world.scale_adopted(3)
        world.apply(paused=False)
        world.run(60)
        world.say(Verb.RESUME)
        world.run(_BACK_TO_LIFE)
        if world.status.reason in _FOR_A_HUMAN:
            # What was off once takes its time to be outweighed, and what a gate cannot decide a human does.
            world.say(Verb.PROMOTE, full=True)
            world.run(_BACK_TO_LIFE)
        status = world.status
        if status.reason is Reason.STABLE_MISSING:  # only a person can say what should serve instead
            return
        assert status.phase in (Phase.STABLE, Phase.ROLLED_BACK), (
            f"stuck: {status.phase} {status.reason}: {status.message}"
        )
        if status.phase is Phase.STABLE:
            assert world.route.weights == {world.target: 100}
        if status.reason is Reason.ROLLED_BACK and world.stable:
            assert world.route.weights == {world.stable: 100}


Histories.TestCase.settings = settings(stateful_step_count=25)
TestHistories = Histories.TestCase
