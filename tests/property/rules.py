"""What must be true of every write, whatever happened before: watched at the moment it is made."""

from __future__ import annotations

import math

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Reason, Verdict
from modelrollout.api.gate import OnBreach
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import DeletionPolicy, Mode, Scaling
from modelrollout.engine.draft import Draft
from modelrollout.engine.evidence import PASSING, follow_gate_edits, take_evidence
from modelrollout.engine.model import Action, Decision, Input, ReplacePod, Scale, SetWeights
from modelrollout.engine.rollback import LATCHED
from modelrollout.engine.windows import is_open
from tests.support.world import World

__all__ = ["Watch"]


class Watch:
    """Looks at every effect of a world's operator and at the world after it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.latched = ""
        """A revision that was taken back and that nobody asked for again."""
        self.stale = False
        """The present look sees an older state."""
        self._rollout: tuple[str, str] = ("", "")
        self._replaced = ""
        self._stable_pods = 0
        world.watchers.append(self._on_effect)

    def asked_anew(self) -> None:
        """The spec was edited, or someone said retry or undo."""
        self.latched = ""

    def _on_effect(self, world: World, seen: Input, decision: Decision, action: Action) -> None:
        self._note_rollout(seen, decision)
        if isinstance(action, SetWeights):
            self._weights(world, seen, decision, action)
        elif isinstance(action, Scale):
            self._scale(world, decision, action)
        elif isinstance(action, ReplacePod):
            self._replace_pod(action)

    def _note_rollout(self, seen: Input, decision: Decision) -> None:
        stable, candidate = decision.status.stable, decision.status.candidate
        rollout = (stable.revision if stable else "", candidate.revision if candidate else "")
        if rollout != self._rollout:
            self._rollout = rollout
            self._replaced = ""
            view = seen.revisions.get(rollout[0])
            self._stable_pods = view.desired if view is not None and candidate else 0

    def _weights(self, world: World, seen: Input, decision: Decision, action: SetWeights) -> None:
        weights = action.weights
        assert sum(weights.values()) == 100, f"weights sum to {sum(weights.values())}"
        if not self.stale:
            lost = {decision.status.stable.revision} if decision.status.stable else set()  # it has no substitute
            assert set(weights) <= set(world.deployments) | lost, "a weight names a revision that does not exist"
        if seen.spec.mode is Mode.OBSERVE and seen.status.failed is None and decision.status.failed is not None:
            told = decision.status.failed.reason
            assert told not in (Reason.GATE_BREACHED, Reason.CATASTROPHE, Reason.UNDECIDED), "observing rolled back"
        self._accepted(seen, decision)
        if action.marker.reason in LATCHED and weights.get(action.marker.revision) == 0:
            self.latched = action.marker.revision
        assert not self.latched or weights.get(self.latched, 0) == 0, "weight for a revision that was taken back"
        candidate = decision.status.candidate
        if candidate is None or decision.status.stable is None:
            return
        before, after = world.route.weights.get(candidate.revision, 0), weights.get(candidate.revision, 0)
        if after > before and not self.stale:
            assert action.raises, "a raise that does not fail when the route changed meanwhile"
            self._raise(world, seen, decision, candidate.revision, after)

    @staticmethod
    def _accepted(seen: Input, decision: Decision) -> None:
        """Of a gate that a human accepted no breach takes traffic back."""
        failed = decision.status.failed
        if failed is not None and failed != seen.status.failed and failed.reason is Reason.GATE_BREACHED:
            assert failed.message.split(":")[0] not in seen.status.accepted, "an accepted breach rolled back"

    def _raise(self, world: World, seen: Input, decision: Decision, candidate: str, weight: int) -> None:
        workload = seen.spec.workload
        needed = len(world.deployments[EXTERNAL].pods) if candidate == EXTERNAL else workload.replicas
        if candidate != EXTERNAL and workload.scaling is Scaling.PROPORTIONAL and weight < 100:
            needed = min(needed, max(2, math.ceil(workload.replicas * weight / 100)))
        assert world.ready(candidate) >= needed, f"{weight} % for {world.ready(candidate)} of {needed} pods"
        if seen.spec.deletion_policy is DeletionPolicy.ORPHAN:
            assert world.finalizer, "the candidate gets traffic, and nothing holds the object"
        assert not seen.deleting, "a raise while the object is being deleted"
        paused = decision.status.paused
        if world.deployments[candidate].promoted_at is not None:
            assert paused is None or paused.reason is Reason.PAUSED_BY_SPEC, "the fast track ignored a human's pause"
            return
        self._closed(seen, decision)
        self._people(seen, decision, weight)
        step = seen.status.step
        if (step is not None and step.skipped) or any(human.verb is Verb.PROMOTE for human in seen.humans):
            return
        if seen.status.preflight_overruled and seen.status.weight == 0:
            return
        if not seen.spec.paused and weight > seen.status.weight:
            self._verdicts(seen, decision)
        assert paused is None and not seen.spec.paused, "raised while paused"
        assert decision.status.blind is None, "raised while blind"
        if seen.spec.gates:
            assert seen.measurement is not None, "raised without a fresh look at the metrics"

    @staticmethod
    def _closed(seen: Input, decision: Decision) -> None:
        """Past a freeze and a closed window only a recorded override leads."""
        window = seen.spec.advance_only
        if seen.freeze is None and (window is None or is_open(window, seen.now)):
            return
        step = decision.status.step
        assert step is not None
        assert step.overridden, "raised while frozen or outside the window"
        assert decision.status.overrides, "an override that is not on record"

    @staticmethod
    def _people(seen: Input, decision: Decision, weight: int) -> None:
        """Out of an approval only enough people lead, of whom one at least changed nothing."""
        before = seen.status.step
        asked = {one.title: one.approval for one in seen.spec.steps if one.approval is not None}
        approval = asked.get(before.name) if before is not None else None
        if before is None or approval is None or weight <= before.weight:
            return
        given = {
            one.author for one in decision.status.approvals if (one.step, one.role) == (before.name, approval.role)
        }
        assert len(given) >= approval.count, f"out of an approval with {len(given)} of {approval.count} people"
        assert given - set(decision.status.authors), "out of an approval by the author's word alone"

    def _replace_pod(self, action: ReplacePod) -> None:
        assert self._replaced in ("", action.pod), "a second pod was replaced in one rollout"
        self._replaced = action.pod

    def _verdicts(self, seen: Input, decision: Decision) -> None:
        """What the gates must have said before the candidate gets more traffic."""
        if seen.spec.mode is Mode.OBSERVE:
            return
        gates, now = {gate.name: gate for gate in seen.spec.gates}, Draft(input=seen, status=seen.status)
        follow_gate_edits(now)
        take_evidence(now)
        step, before = decision.status.step, seen.status.step
        begins = before is None or before.number == 0 or before.done or before.weight in (0, 100)
        stays = step is None or before is None or step.number == before.number
        for found in now.status.gates:
            gate = gates[found.name]
            if gate.name in seen.status.accepted:
                continue
            broken = found.verdict is Verdict.BREACHED and not found.shared
            assert not broken or gate.on_breach is not OnBreach.ROLLBACK, f"raised in the look that broke {gate.name}"
            if begins or stays or not gate.required or gate.max_hold is not None or broken:
                continue
            assert found.verdict in PASSING, f"on without a verdict of {gate.name}: {found.verdict}: {found.message}"

    def _scale(self, world: World, decision: Decision, action: Scale) -> None:
        stable = decision.status.stable.revision if decision.status.stable else ""
        if action.revision == stable and decision.status.candidate is not None:
            assert action.replicas >= self._stable_pods, "stable pods were taken away during a rollout"
        if action.revision == EXTERNAL:
            assert stable != EXTERNAL, "what was adopted is scaled while it serves"
            assert decision.status.adopted is not None or action.replicas, "scaled down, and nobody knows from what"
        if action.replicas == 0:
            assert world.route.weights.get(action.revision, 0) == 0 or self.stale, "pods taken from under traffic"

    def after_look(self) -> None:
        """After a look that ended well and saw the truth."""
        world, status = self.world, self.world.status
        assert len(set(status.handled)) == len(status.handled), "a decision was acted on twice"
        assert world.route_edited or status.contest is None, "our own writes were taken for somebody else's"
        if not world.exists:
            return
        if status.stable is not None and status.candidate is not None and not world.deleting:
            has_traffic = world.route.weights.get(status.candidate.revision, 0) > 0
            if has_traffic and world.spec.deletion_policy is DeletionPolicy.ORPHAN and not world.refuse_raises:
                assert world.finalizer, "the candidate has traffic, and nothing holds the object"
        if status.failed is not None and status.stable is not None:
            assert world.route.weights.get(status.failed.revision, 0) == 0, "a failed revision has traffic"
