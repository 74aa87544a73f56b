"""From a gate of the spec to the test that judges it: the one place where the kinds of gate are told apart."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from modelrollout.api.gate import Gate, OnBreach
from modelrollout.api.grammar import parse_duration, parse_risk
from modelrollout.api.memo import once
from modelrollout.api.rollout import Evaluation, ModelRolloutSpec
from modelrollout.gates.base import GateTest
from modelrollout.gates.buckets import Reference
from modelrollout.gates.drift import DriftTest
from modelrollout.gates.rate import Budget, RateTest, budget
from modelrollout.gates.report import ReportTest
from modelrollout.gates.threshold import ThresholdTest

__all__ = ["compiled", "definition_hash", "is_relative", "part_of"]


@once
def compiled(gate: Gate, spec: ModelRolloutSpec) -> GateTest[Any]:
    """The test of a gate.

    Raises
    ------
    ValueError
        If the gate cannot be read; the message names the field, the value and the remedy.
    """
    part = part_of(gate, spec)
    if gate.kind in ("ratio", "latency"):
        return _rate(gate, spec, part)
    if gate.drift is not None:
        reference = None if gate.drift.reference is None else Reference.read(gate.drift.reference)
        alpha = part.alpha + part.look_alpha * len(spec.weight_steps)
        return DriftTest(gate.drift.measure, gate.limit, alpha, min_samples=gate.min_samples, reference=reference)
    if gate.report is not None:
        alpha = part.alpha + part.look_alpha * len(spec.weight_steps)
        return ReportTest(
            gate.report.metric, gate.limit, alpha, at_least=gate.at_least is not None, min_samples=gate.min_samples
        )
    needed, window = gate.looks_needed
    return ThresholdTest(gate.limit, gate.at_least is not None, needed, window)


def _rate(gate: Gate, spec: ModelRolloutSpec, part: Budget) -> RateTest:
    seconds = parse_duration(spec.evaluation.interval).total_seconds()
    patience = parse_duration(spec.evaluation.min_breach_time).total_seconds()
    first = spec.weight_steps[0].weight
    planned = sum(parse_duration(one.hold).total_seconds() * one.weight / first for one in spec.weight_steps)
    return RateTest(
        name=gate.name,
        limit=gate.limit,
        at_least=gate.at_least is not None,
        min_samples=gate.min_samples,
        alpha=part.alpha,
        look_alpha=part.look_alpha,
        quantile=float(gate.latency.quantile) if gate.latency else None,
        good=gate.ratio is not None and gate.ratio.good is not None,
        must_see=gate.must_see_limit,
        intervals=max(2, math.ceil(patience / seconds)),
        seconds=seconds,
        later_steps=len(spec.weight_steps) - 1,
        horizon=max(planned / seconds, 1.0),
    )


def part_of(gate: Gate, spec: ModelRolloutSpec) -> Budget:
    """The gate's part of ``falseRollbackRate``: shared by the gates that can roll back, and apart from them by those
    that cannot."""
    acting = gate.on_breach is OnBreach.ROLLBACK
    sharing = sum((one.on_breach is OnBreach.ROLLBACK) == acting for one in spec.gates)
    return budget(parse_risk(spec.evaluation.false_rollback_rate), max(1, sharing), len(spec.weight_steps))


@once
def is_relative(gate: Gate) -> bool:
    """Whether the limit is measured from the baseline, which a drift without a reference always is."""
    if gate.drift is not None:
        return gate.drift.reference is None
    return "baseline" in (gate.at_most or gate.at_least or "")


@once
def definition_hash(gate: Gate, evaluation: Evaluation) -> str:
    """Changes when the gate's metric, limit or identity does, or the source that it is read from: then what was earned
    so far means something else."""
    policy = {"name", "required", "on_breach", "advance_on", "max_hold", "on_undecided", "must_see"}
    said = gate.model_dump_json(by_alias=True, exclude=policy, exclude_defaults=True)
    if gate.report is None:
        said += evaluation.source or ""
        said += "" if evaluation.prometheus is None else evaluation.prometheus.url
    return hashlib.sha256(said.encode()).hexdigest()[:12]
