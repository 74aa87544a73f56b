"""The three lines that the person on call needs: who serves users now and how well, what happened, and what happens
next or what to type. Everything else on a screen is detail."""

from __future__ import annotations

from typing import Final, NamedTuple

from modelrollout.api.enums import Phase, Reason, Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import GateStatus, ModelRolloutStatus, RevisionRef
from modelrollout.screen import units
from modelrollout.screen.snapshot import Snapshot

__all__ = ["Headline", "headline"]

_LOOK_FOR_OPERATOR: Final = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=modelrollout"
_VERSION: Final = "version "
_GATES_NAMED: Final = 3
"""So many gates say how well a version serves; the table has all of them."""


class Headline(NamedTuple):
    """The three lines."""

    now: str
    """Who serves users, as observed, and how well."""
    why: str
    """What happened, with value, baseline, limit and samples."""
    next: str
    """What happens next, or what to type."""


def headline(seen: Snapshot) -> Headline:
    """The three lines for a rollout in any state."""
    if not seen.judged:
        return Headline(
            "unknown: no operator has looked at this object yet",
            f"created {units.age(seen.rollout.created, seen.now)} ago; the operator is not running, or does not watch "
            f"namespace {seen.rollout.namespace}",
            f"look for it: {_LOOK_FOR_OPERATOR}",
        )
    return Headline(_serving(seen), _happened(seen), _next(seen))


def _serving(seen: Snapshot) -> str:
    status = seen.rollout.status
    stable, candidate = status.stable, status.candidate
    if stable is None:
        if status.reason is Reason.ROUTE_IN_USE:
            return "what the route leads to already serves all users; no version of this rollout does"
        first = candidate.version if candidate else seen.rollout.spec.model.version
        return f"no version has been promoted yet; {first} is the first"
    observed, serves = status.observed_weight, _called(status, stable)
    if candidate is None:
        return f"{serves} serves all users"
    tried = _called(status, candidate)
    if status.weight == 0 and not observed:
        return f"{serves} serves all users, {tried.removeprefix(_VERSION)} none"
    old, new = _how_well(seen)
    if observed is None:
        return (
            f"{serves} serves users{_brackets(old)}; {tried.removeprefix(_VERSION)} shall take {status.weight} %, "
            "which the gateway has not confirmed"
        )
    asked = "" if observed == status.weight else f"asked: {status.weight} %"
    new = _brackets(asked, new)
    return f"{serves} serves {100 - observed} % of users{_brackets(old)}, {tried} serves {observed} %{new}"


def _called(status: ModelRolloutStatus, ref: RevisionRef) -> str:
    """A revision as people know it: a version of ours, or somebody's Deployment that was adopted."""
    if ref.revision == EXTERNAL:
        return f"{EXTERNAL} ({status.adopted.workload})" if status.adopted is not None else ref.version
    return f"{_VERSION}{ref.version}"


def _brackets(*parts: str) -> str:
    said = "; ".join(part for part in parts if part)
    return f" ({said})" if said else ""


def _how_well(seen: Snapshot) -> tuple[str, str]:
    """What the first gates measure of the stable version and of the candidate; empty when unknown."""
    gates = {gate.name: gate for gate in seen.rollout.spec.gates}
    measured = [gate for gate in seen.rollout.status.gates if gate.baseline is not None][:_GATES_NAMED]
    old = ", ".join(f"{one.name} {units.value(one.baseline, gates.get(one.name))}" for one in measured)
    new = ", ".join(f"{one.name} {units.value(one.value, gates.get(one.name))}" for one in measured)
    return old, new


def _happened(seen: Snapshot) -> str:
    rollout, status = seen.rollout, seen.rollout.status
    text = status.message or f"{status.phase}: {status.reason}"
    gates = {gate.name: gate for gate in rollout.spec.gates}
    for gate in status.gates:
        if gate.verdict is Verdict.BREACHED and not gate.shared and f"{gate.name}:" not in text:
            text += f"; {_evidence(gate, gates.get(gate.name))}"
    if status.observed_generation < rollout.generation:
        text += (
            f"; the spec was edited since, which is not judged yet (generation {rollout.generation}, "
            f"judged {status.observed_generation})"
        )
    return text


def _evidence(gate: GateStatus, spec: Gate | None) -> str:
    found = f"{gate.name}: {units.value(gate.value, spec)}"
    if gate.baseline is not None:
        found += f" against {units.value(gate.baseline, spec)} of the baseline"
    return f"{found}; {gate.limit}; {gate.samples} samples against {gate.baseline_samples}"


def _next(seen: Snapshot) -> str:
    status = seen.rollout.status
    if status.next:
        return status.next
    if status.observed_generation < seen.rollout.generation:
        return "the operator looks at the edited spec"
    return "nothing to do" if status.phase is Phase.STABLE else "the operator looks again by itself"
