"""What the API server lets pass and a person would rather know: policies that cannot see, or act on nothing.

Nothing here needs a cluster or traffic; what a gate can see at given traffic is ``modelrollout plan``'s work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.grammar import format_duration, parse_duration
from modelrollout.api.rollout import Mode, ModelRolloutSpec
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.windows import unknown_zone

__all__ = ["advice"]

Advice = Iterator[tuple[str, str]]


def advice(spec: ModelRolloutSpec) -> Advice:
    """Field and text of each warning about a spec that the API server takes."""
    for look in _LOOKS:
        yield from look(spec)


def _nothing_judged(spec: ModelRolloutSpec) -> Advice:
    if not spec.gates:
        yield (
            "spec.gates",
            "there are no gates: the steps go by time and by the pods alone; add at least one on errors, like {name: "
            "errors, ratio: {bad: 'requests_total{code=~\"5..\"}', total: requests_total}, atMost: baseline + 0.2pp}",
        )
    elif spec.mode is Mode.ENFORCE and not any(_acts(gate) for gate in spec.gates):
        yield (
            "spec.gates",
            "no gate rolls back or pauses: every breach is only said; leave onBreach out where it counts",
        )


def _acts(gate: Gate) -> bool:
    return gate.on_breach is not OnBreach.WARN


def _observing(spec: ModelRolloutSpec) -> Advice:
    if spec.mode is Mode.OBSERVE:
        yield (
            "spec.mode",
            "mode: observe rolls nothing back for a gate, so a bad model goes to all users: set mode: enforce when you "
            "trust the gates",
        )


def _last_step(spec: ModelRolloutSpec) -> Advice:
    last = spec.weight_steps[-1]
    where = f"spec.steps[{[step.title for step in spec.steps].index(last.name)}]"
    if not spec.gates:
        return
    if last.weight < 100:
        yield (
            where,
            f"the last step has {last.weight} % of the traffic; then the candidate is promoted and gets "
            "all of it unwatched: add a step like {weight: 100, hold: 30m}",
        )
    elif not spec.baseline_holdback and all(is_relative(gate) or not _acts(gate) for gate in spec.gates):
        yield (
            where,
            "at 100 % there is no baseline, and no gate has an absolute limit, so nothing is judged there: add a gate "
            "like atMost: 1%, or baselineHoldback: 1",
        )


def _catastrophe(spec: ModelRolloutSpec) -> Advice:
    watching = [gate for gate in spec.gates if gate.ratio is not None and gate.on_breach is OnBreach.ROLLBACK]
    if spec.gates and not any(gate.ratio is not None and gate.ratio.bad for gate in watching):
        yield (
            "spec.gates",
            "no gate counts bad events and rolls back, so a candidate that fails half of its requests is not caught in "
            "one look (evaluation.catastrophe): add a gate on errors",
        )


def _short_holds(spec: ModelRolloutSpec) -> Advice:
    patience = max(_seconds(spec.evaluation.min_breach_time), 2 * _seconds(spec.evaluation.interval))
    for number, step in enumerate(spec.steps):
        if step.hold is None:
            continue
        hold = _seconds(step.hold)
        where = f"spec.steps[{number}].hold"
        late = [gate for gate in spec.gates if gate.labels_within and hold <= _seconds(gate.labels_within)]
        if spec.gates and hold < patience:
            yield (
                where,
                f"{step.hold} is shorter than a breach takes to be said ({format_duration(patience)}: two looks and "
                "minBreachTime): hold longer",
            )
        elif late:
            yield (
                where,
                f"{step.hold} is not longer than the labels of {late[0].name} take to arrive "
                f"({late[0].labels_within}), so the gate has nothing to judge when the hold is over: hold longer",
            )


def _silent(spec: ModelRolloutSpec) -> Advice:
    for number, gate in enumerate(spec.gates):
        if gate.value is not None:
            yield (
                f"spec.gates[{number}].value",
                "a gate on PromQL is measured only if the operator runs with --allow-promql; else it is Blind and "
                "holds the first step",
            )
        if gate.on_breach is OnBreach.WARN and gate.required and gate.max_hold is None:
            yield (
                f"spec.gates[{number}]",
                f"{gate.name} only warns, but holds every step until it is decided: add required: false, or maxHold",
            )


def _port(spec: ModelRolloutSpec) -> Advice:
    wanted = spec.traffic.port
    named = [port.container_port for one in spec.workload.template.spec.containers for port in one.ports]
    if wanted is not None and named and wanted not in named:
        yield (
            "spec.traffic.port",
            f"{wanted} is no containerPort of the template (there are {', '.join(map(str, named))}): is it a slip of "
            "the pen?",
        )


def _images(spec: ModelRolloutSpec) -> Advice:
    for number, container in enumerate(spec.workload.template.spec.containers):
        name = container.image.rsplit("/", 1)[-1]
        if "@" not in name and (":" not in name or name.endswith(":latest")):
            yield (
                f"spec.workload.template.spec.containers[{number}].image",
                f"{container.image} names no fixed version: another image under the same name is no new revision, and "
                "its pods would mix with the old ones; write a tag or a digest",
            )


def _window(spec: ModelRolloutSpec) -> Advice:
    wrong = unknown_zone(spec.advance_only)
    if wrong:
        yield "spec.advanceOnly.timeZone", wrong.removeprefix("spec.advanceOnly.timeZone ")


def _seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


_LOOKS: Final[tuple[Callable[[ModelRolloutSpec], Advice], ...]] = (
    _nothing_judged,
    _observing,
    _last_step,
    _catastrophe,
    _short_holds,
    _silent,
    _port,
    _images,
    _window,
)
