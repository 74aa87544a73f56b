"""What each gate will be able to see in the rollout as it is planned, said before anyone relies on it.

A gate that breaches nothing is no comfort when it could not have seen anything. The arithmetic is that of
:mod:`modelrollout.gates.power`, which the laboratory's ``plan`` prints too; here the traffic is the baseline's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelrollout.api.gate import Gate
from modelrollout.api.rollout import ModelRolloutSpec, Step
from modelrollout.engine.draft import Draft
from modelrollout.gates import power
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.power import Stretch
from modelrollout.gates.rate import RateTest

__all__ = ["Traffic", "cannot_see", "first_weight", "traffic_of", "weight_of"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a gate's metric is like: requests per second of both arms together, the baseline's share of bad events, and
    the noise floor κ²·Δt in seconds."""

    rate: float
    share: float
    floor: float


def traffic_of(past: Sequence[Interval], share: float, floor: float) -> Traffic | None:
    """The traffic that the baseline had alone; None when it had none."""
    arms = [one.baseline for one in past if isinstance(one.baseline, Counts | Histogram)]
    seconds = sum((one.end - one.start).total_seconds() for one in past)
    requests = sum(arm.total for arm in arms)
    return Traffic(requests / seconds, share, floor) if requests > 0.0 else None


def first_weight(spec: ModelRolloutSpec) -> int:
    """The candidate's first weight; approvals before it give it none."""
    return next(weight_of(spec, step) for step in spec.steps if step.weight is not None)


def weight_of(spec: ModelRolloutSpec, step: Step) -> int:
    """The weight that a step gives: an approval keeps that of the step before it (0 at the start), and at 100 % the
    baseline keeps what ``baselineHoldback`` says."""
    before = 0
    for one in spec.steps:
        before = one.weight or before
        if one.title == step.title:
            break
    return 100 - (spec.baseline_holdback or 0) if before == 100 else before


def cannot_see(gate: Gate, test: RateTest, spec: ModelRolloutSpec, found: Traffic) -> str:
    """What the gate should see and will not over all steps; empty when it sees what it should."""
    weighed = [step for step in spec.steps if step.approval is None]
    holds = [max(Draft.seconds(one.hold) - _lag(gate), 0.0) for one in spec.weight_steps]
    stretches = [_stretch(test, weight_of(spec, step), hold, found) for step, hold in zip(weighed, holds, strict=True)]
    sighted = [
        (one.requests, hold)
        for one, hold in zip(stretches, holds, strict=True)
        if math.isfinite(one.ratio) or not test.line.relative
    ]
    seconds = sum(hold for _, hold in sighted)
    if seconds <= 0.0:
        return ""
    guard = test.design.guard and not test.line.relative
    return power.underpowered(
        test.line,
        baseline=found.share,
        smallest=power.smallest(test.line, found.share, stretches, test.alpha, guard=guard),
        wanted=_wanted(test, found.share),
        seconds=seconds,
        rate=sum(requests for requests, _ in sighted) / seconds,
        good=test.good,
        events=gate.name if test.quantile is None else f"of requests slower than {test.limit.text}",
    )


def _lag(gate: Gate) -> float:
    return Draft.seconds(gate.labels_within) if gate.labels_within else 0.0


def _stretch(test: RateTest, weight: int, hold: float, found: Traffic) -> Stretch:
    ours, theirs = found.rate * weight / 100.0, found.rate * (1.0 - weight / 100.0)
    share = found.share if test.line.relative else test.line.at(0.0)
    phi = power.dispersions(ours, theirs, min(max(share, 1e-9), 1.0 - 1e-9), found.floor, good=test.good)
    return Stretch(ours * hold, ours / theirs if weight < 100 else math.inf, *phi)


def _wanted(test: RateTest, share: float) -> float | None:
    """The share of bad events that must be seen; None when nobody said, or says it of a latency."""
    if test.must_see is None or test.quantile is not None:
        return None
    said = test.must_see.at(1.0 - share if test.good else share) or 0.0
    return min(max(1.0 - said if test.good else said, 0.0), 1.0)
