"""What must be true of every state that was committed, whatever failed: tests/property/rules.py, on a cluster.

Judged after the trial from the witness' notes, in the API server's own order. The names of the invariants are those
of the column in the campaign's table.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.witness import Seen

__all__ = ["INVARIANTS", "Judged", "Terms", "judge"]

Body = dict[str, Any]

INVARIANTS: Final = {
    "sum": "the weights of a route sum to 100",
    "backends": "a revision with weight has its Deployment and its Service",
    "asked": "the candidate's weight is never above what status asked for before, nor above its step",
    "ready": "weight goes up only when enough of the candidate's pods are ready",
    "hold": "no step is left before half of its hold is over (what the witness hears may come late)",
    "stopped": "nothing goes up while it is paused, blind or being deleted, or in the look that broke a gate",
    "latched": "a revision that was taken back gets no weight again",
    "order": "status says that a revision failed only after its weight is 0",
    "stable": "the stable revision keeps its pods, its weight until the end, and its role",
    "under traffic": "no revision with weight is scaled to zero",
    "held": "a candidate with weight keeps the object from vanishing",
    "spec": "the spec is what people wrote",
    "once": "one history entry, one incident, one event of each kind for one outcome; a decision is handled once",
}
_LATCHED: Final = ("GateBreached", "Catastrophe", "Aborted", "PodsFailing", "FailedToStart", "Undecided")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is judged, and how."""

    rollout: str
    replicas: int
    hold: float = 0.0
    """Seconds that each step holds at least; 0: it is not looked at."""
    specs: int = 0
    """How many times people changed the spec since the beginning; 0: it is not counted."""
    waived: frozenset[str] = frozenset()
    """Invariants that the fault itself breaks with its own hands."""


@dataclass(slots=True)
class Judged:
    """What was found."""

    violations: list[str] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    """The candidate's weights in the order in which they came into effect in the route."""
    states: int = 0
    """How many states were judged."""


class _Cluster:
    """The objects as they were at one version."""

    def __init__(self, rollout: str) -> None:
        self.name = rollout
        self.objects: dict[tuple[str, str], Body] = {}

    def take(self, seen: Seen) -> None:
        key = (seen.kind, seen.name)
        if seen.body is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = seen.body

    def of(self, kind: str) -> list[Body]:
        return [body for (one, _), body in self.objects.items() if one == kind]

    @property
    def rollout(self) -> Body:
        return self.objects.get(("modelrollouts", self.name), {})

    @property
    def status(self) -> Body:
        return dict(self.rollout.get("status") or {})

    def deployment(self, revision: str) -> Body:
        return self.objects.get(("deployments", f"{self.name}-{revision}"), {})

    def weights(self) -> dict[str, int]:
        return weights_of(self.objects.get(("httproutes", self.name), {}), self.name)

    def ready(self, revision: str) -> int:
        return sum(_is_ready(pod) for pod in self.of("pods") if _label(pod, "revision") == revision)


def weights_of(route: Body, rollout: str) -> dict[str, int]:
    """Weight of each revision in a route of the operator's own."""
    rules = (route.get("spec") or {}).get("rules") or [{}]
    backends = rules[0].get("backendRefs") or []
    return {one["name"].removeprefix(f"{rollout}-"): one.get("weight", 1) for one in backends}


def judge(history: Iterable[Seen], before: Iterable[Seen], terms: Terms) -> Judged:
    """Judge the states of a trial; ``before``: what was there when it began."""
    court = _Court(terms)
    for seen in before:
        court.now.take(seen)
    court.begin()
    for seen in history:
        court.hear(seen)
    court.sum_up()
    court.found.violations = sorted(
        text for text in set(court.found.violations) if text.split(":")[0] not in terms.waived
    )
    return court.found


class _Court:
    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.now = _Cluster(terms.rollout)
        self.found = Judged()
        self.latched: set[str] = set()
        self._events: Counter[tuple[str, str]] = Counter()
        self._generation = 0
        self._ready: dict[str, list[tuple[float, int]]] = {}
        self._reached: dict[int, float] = {}
        """When the candidate got each of its weights, since it last had none."""

    def begin(self) -> None:
        self._generation = self.now.rollout.get("metadata", {}).get("generation", 0)
        failed = self.now.status.get("failed")
        self.latched = {failed["revision"]} if failed else set()
        self._events.clear()

    def hear(self, seen: Seen) -> None:
        """One more state."""
        self.found.states += 1
        weights, rollout = self.now.weights(), self.now.rollout
        self.now.take(seen)
        if seen.kind == "pods" and seen.body is not None:
            self._note_ready(seen)
        elif seen.kind == "httproutes" and seen.name == self.now.name and seen.body is not None:
            self._route(seen, weights)
        elif seen.kind == "modelrollouts" and seen.name == self.now.name and seen.body is not None:
            self._status(rollout)
        elif seen.kind == "deployments" and seen.body is not None:
            self._deployment(seen.body)
        elif seen.kind == "events" and seen.body is not None:
            self._event(seen.body)

    def say(self, invariant: str, text: str) -> None:
        assert invariant in INVARIANTS, invariant
        self.found.violations.append(f"{invariant}: {text}")

    def sum_up(self) -> None:
        """What only the whole of it shows."""
        for (reason, message), count in self._events.items():
            if count > 1:
                self.say("once", f"event {reason} was posted {count} times: {message}")
        incidents = Counter(one["spec"]["revision"] + one["spec"]["at"] for one in self.now.of("rolloutincidents"))
        if any(count > 1 for count in incidents.values()):
            self.say("once", f"a rollback has {max(incidents.values())} records")
        changes = self.now.rollout.get("metadata", {}).get("generation", 0) - self._generation
        if self.terms.specs and changes > self.terms.specs:
            self.say("spec", f"it was changed {changes} times, by people {self.terms.specs} times")

    def _note_ready(self, seen: Seen) -> None:
        revision = _label(seen.body or {}, "revision")
        if revision:
            self._ready.setdefault(revision, []).append((seen.at, self.now.ready(revision)))

    def _route(self, seen: Seen, before: dict[str, int]) -> None:
        weights, status = self.now.weights(), self.now.status
        if not weights:
            return
        if sum(weights.values()) != 100:
            self.say("sum", f"{weights}")
        for revision in (one for one, weight in weights.items() if weight):
            if not self.now.deployment(revision) or ("services", f"{self.now.name}-{revision}") not in self.now.objects:
                self.say("backends", f"{weights[revision]} % for {revision}, whose objects are not there")
            if revision in self.latched and weights[revision] > before.get(revision, 0):
                self.say("latched", f"{weights[revision]} % for {revision}, which was taken back")
        marker = json.loads((seen.body or {})["metadata"].get("annotations", {}).get("modelrollout.io/applied", "{}"))
        if marker.get("reason") in _LATCHED and weights.get(marker.get("revision", ""), 0) == 0:
            self.latched.add(marker["revision"])
        candidate = (status.get("candidate") or {}).get("revision", "")
        if candidate:
            self._candidate(seen, status, candidate, before.get(candidate, 0), weights.get(candidate, 0))
        stable = (status.get("stable") or {}).get("revision", "")
        if stable and before.get(stable, 0) and not weights.get(stable, 0) and not weights.get(candidate, 0):
            self.say("stable", f"neither {stable}, which is stable, nor the candidate has weight: {weights}")

    def _candidate(self, seen: Seen, status: Body, candidate: str, before: int, after: int) -> None:
        if before != after:
            self.found.weights.append(after)
        held = seen.at - self._reached.get(before, 0.0)
        if after == 0:
            self._reached.clear()
        self._reached.setdefault(after, seen.at)
        if after <= before:
            return
        if before > 0 and held < self.terms.hold / 2:
            self.say("hold", f"{before} % to {after} % after {held:.1f} s")
        asked = status.get("weight", 0)
        if after > asked:
            self.say("asked", f"{after} % in the route, {asked} % in status")
        needed = self.terms.replicas if after == 100 else max(1, math.ceil(self.terms.replicas * after / 100))
        if self._ready_lately(candidate, seen.at) < needed:
            self.say("ready", f"{after} % for {self.now.ready(candidate)} ready pods of {needed}")
        why = [name for name in ("paused", "blind") if status.get(name)]
        why += ["deleted"] if "deletionTimestamp" in self.now.rollout["metadata"] else []
        why += [f"gate {one['name']}" for one in status.get("gates") or [] if one["verdict"] == "Breached"]
        if why:
            self.say("stopped", f"{before} % to {after} % while {', '.join(why)}")
        if not self.now.rollout["metadata"].get("finalizers"):
            self.say("held", f"{after} % for the candidate, and no finalizer")

    def _ready_lately(self, revision: str, at: float) -> int:
        """The most ready pods in the last seconds: what the operator saw when it decided may just have changed."""
        lately = [count for when, count in self._ready.get(revision, ()) if at - 5.0 <= when <= at]
        return max([*lately, self.now.ready(revision)])

    def _status(self, earlier: Body) -> None:
        before, status, weights = dict(earlier.get("status") or {}), self.now.status, self.now.weights()
        failed = status.get("failed")
        if failed and weights.get(failed["revision"], 0) > 0 and failed != before.get("failed"):
            self.say("order", f"{failed['revision']} failed, and has {weights[failed['revision']]} %")
        if before.get("failed") and not failed and self._people_spoke(earlier):
            self.latched.discard(before["failed"]["revision"])
        handled = status.get("handled") or []
        if len(set(handled)) != len(handled):
            self.say("once", "a decision was handled twice")
        outcomes = Counter(
            (one["revision"], one["outcome"], one.get("startedAt", one["endedAt"]))
            for one in status.get("history") or []
        )
        for (revision, outcome, _), count in outcomes.items():
            if count > 1:
                self.say("once", f"history has {outcome} of {revision} {count} times")

    def _people_spoke(self, earlier: Body) -> bool:
        """Somebody changed the spec, or decided something, since the ModelRollout was like that."""
        after, status = self.now.rollout["metadata"], earlier.get("status") or {}
        handled = set(self.now.status.get("handled") or []) - set(status.get("handled") or [])
        return bool(handled) or after["generation"] != status.get("observedGeneration")

    def _deployment(self, body: Body) -> None:
        status, revision = self.now.status, _label(body, "revision")
        if not revision:
            return
        replicas = body["spec"].get("replicas", 1)
        if replicas == 0 and self.now.weights().get(revision, 0) > 0:
            self.say("under traffic", f"{revision} was scaled to 0 with {self.now.weights()[revision]} %")
        stable = (status.get("stable") or {}).get("revision")
        if revision == stable and status.get("candidate") and replicas < self.terms.replicas:
            self.say("stable", f"{revision} was scaled to {replicas} during a rollout")
        roles = [_label(one, "role") for one in self.now.of("deployments")]
        if stable and "stable" not in roles:
            self.say("stable", f"no revision has the role any more: {roles}")

    def _event(self, body: Body) -> None:
        about = body["involvedObject"]
        if (about["kind"], about["name"]) == ("ModelRollout", self.now.name) and body["reason"] in (
            "Promoted",
            "RolledBack",
            "DecisionApplied",
        ):
            self._events[(body["reason"], body.get("message", ""))] += 1


def _label(body: Body, name: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(f"modelrollout.io/{name}", ""))


def _is_ready(pod: Body) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
