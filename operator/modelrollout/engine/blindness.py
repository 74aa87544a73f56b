"""What cannot be seen: telling an outage from a mistake and from "too early", and what an outage does to the rollout.

Blind means that a required gate has no data. Three kinds are told apart: the source is down, this metric is missing (or
the gate is wrong), the candidate is not measured although the baseline is. None of them is a verdict on the model.
"""

from __future__ import annotations

from dataclasses import replace

from modelrollout.api.enums import Reason
from modelrollout.api.gate import Gate
from modelrollout.api.status import Blind
from modelrollout.engine.draft import Draft
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.model import GateMeasurement, Measurement, Problem, ProblemKind

__all__ = [
    "lasting",
    "needs_baseline",
    "no_baseline_yet",
    "note_blindness",
    "source_down",
    "without_unneeded_problem",
]


def without_unneeded_problem(d: Draft, gate: Gate, seen: GateMeasurement) -> GateMeasurement:
    """A missing baseline is no problem for a gate that needs none."""
    missing = seen.problem is not None and seen.problem.kind is ProblemKind.BASELINE_MISSING
    return replace(seen, problem=None) if missing and not needs_baseline(d, gate) else seen


def needs_baseline(d: Draft, gate: Gate) -> bool:
    """Whether the gate compares with a baseline that should be there."""
    step = d.status.step
    return is_relative(gate) and d.status.weight < 100 and (step is None or step.weight < 100)


def no_baseline_yet(d: Draft, gate: Gate, problem: Problem | None) -> bool:
    """Whether the first traffic would be given before there is anything to compare it with."""
    missing = (ProblemKind.BASELINE_MISSING, ProblemKind.METRIC_MISSING, ProblemKind.METRIC_UNKNOWN)
    return problem is not None and problem.kind in missing and d.status.weight == 0 and is_relative(gate)


def source_down(measurement: Measurement) -> Problem | None:
    """The outage, if the source itself is down."""
    return next(
        (gate.problem for gate in measurement.gates.values() if gate.problem and gate.problem.hides_everything), None
    )


def lasting(d: Draft, gate: Gate, problem: Problem | None) -> Problem | None:
    """The problem, if it is one: right after a raise, series that are not there yet are only early."""
    if problem is None or problem.hides_everything or problem.kind is ProblemKind.MISCONFIGURED:
        return problem
    if d.status.blind is not None and d.status.weight == 0 and d.status.peak_weight > 0:
        return problem  # after a retreat nothing but an answer is a reason to go up again
    step = d.status.step
    since = step.serving_since if step and step.serving_since else step.since if step else None
    if problem.kind is ProblemKind.CANDIDATE_MISSING and (d.status.weight == 0 or _without_traffic(d)):
        return None
    if d.status.weight == 0 and not needs_baseline(d, gate):
        return None
    grace = max(d.seconds(d.input.spec.warmup), 4.0 * d.interval, 10.0)
    return problem if d.since(since) > grace else None


def _without_traffic(d: Draft) -> bool:
    """Whether the step's weight was asked for and never came about, because the API server refuses the write or a crash
    came between: who serves nobody has no series, and waiting for them would be waiting for ever."""
    step = d.status.step
    return d.input.route.weights.get(d.candidate, 0) == 0 and (step is None or step.serving_since is None)


def note_blindness(d: Draft, problems: list[tuple[Reason, str]]) -> None:
    """Begin, go on with or end the time without metrics; it is told once when it begins, when it lasts, and when it
    ends."""
    blind = d.status.blind
    if not problems:
        if blind is not None:
            d.event(Reason.METRICS_BACK, f"the metrics are back after {round(d.since(blind.since))} s")
            d.set(blind=None)
        return
    reason, text = problems[0]
    text += f" (and {len(problems) - 1} more)" if len(problems) > 1 and text != problems[1][1] else ""
    if blind is None:
        d.event(reason, f"the weight is held: {text}", warning=True)
        blind = Blind(since=d.now, reason=reason, message=text[:1024])
    else:
        blind = blind.model_copy(update={"reason": reason, "message": text[:1024]})
        if not blind.alerted and d.since(blind.since) >= d.seconds(d.input.spec.evaluation.blind_timeout):
            d.event(reason, f"still no metrics after blindTimeout: {text}", warning=True)
            blind = blind.model_copy(update={"alerted": True})
    d.set(blind=blind)
