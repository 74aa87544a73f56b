"""What each gate of a policy can see at some traffic, before anything is released: pure arithmetic.

A gate that cannot see the harm that its owner fears says "no harm seen" of every model. So for each step and for the
rollout as a whole: the smallest harm that is caught four times of five, the hold that a wish needs, and what does not
fit together. The arithmetic is :mod:`modelrollout.gates.power`, which the operator uses for its warnings too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelrollout.api.grammar import format_duration, parse_limit
from modelrollout.gates import power, words
from modelrollout.gates.power import Forecast, Stretch
from modelrollout.gates.rate import RateTest
from modelrollout.lab.policy import Bound, CountedGate, Policy, PolicyStep

__all__ = ["GatePlan", "Plan", "StepPlan", "Traffic", "plan", "text", "traffic"]

_ALONE: Final = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a gate's metric is like: requests per second of both arms together, the baseline's share of bad events,
    and the noise floor κ²·Δt in seconds."""

    rate: float
    share: float
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One gate in one step: judged seconds, candidate requests in them, the smallest share of bad events that is
    seen in this step alone (None: nothing is), and seconds of hold that the wish needs at this weight. ``sighted``:
    there is something to compare with."""

    name: str
    sighted: bool
    seconds: float
    requests: float
    smallest: float | None
    needed: float | None


@dataclass(frozen=True, slots=True)
class GatePlan:
    """One gate. ``wanted``: the share of bad events that must be seen; ``whole``: all steps together."""

    gate: str
    limit: str
    good: bool
    traffic: Traffic
    wanted: float | None
    steps: tuple[StepPlan, ...]
    whole: Forecast
    prove_seconds: float | None
    warnings: tuple[str, ...]

    def shown(self, share: float) -> float:
        """A share of bad events as the share that people count."""
        return 1.0 - share if self.good else share

    def summary(self) -> dict[str, Any]:
        """For machines; shares are of what the gate counts."""

        def share(value: float | None) -> float | None:
            return None if value is None else _rounded(self.shown(value))

        return {
            "gate": self.gate,
            "rate": _rounded(self.traffic.rate),
            "baseline": share(self.traffic.share),
            "noiseFloor": _rounded(self.traffic.floor),
            "sees": share(self.whole.smallest),
            "wanted": share(self.wanted),
            "requestsNeeded": None if self.whole.needed is None else math.ceil(self.whole.needed),
            "requestsToProve": None if self.whole.to_prove is None else math.ceil(self.whole.to_prove),
            "steps": [
                {
                    "step": step.name,
                    "judgedSeconds": _rounded(step.seconds),
                    "requests": _rounded(step.requests),
                    "sees": share(step.smallest),
                    "holdSecondsNeeded": None if step.needed is None else math.ceil(step.needed),
                }
                for step in self.steps
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All gates, and what does not fit the rollout as a whole."""

    gates: tuple[GatePlan, ...]
    warnings: tuple[str, ...]
    seconds: float
    approvals: tuple[str, ...] = ()
    """Steps that wait for people, however long that takes."""

    def summary(self) -> dict[str, Any]:
        """For machines."""
        return {
            "seconds": _rounded(self.seconds),
            "approvals": list(self.approvals),
            "gates": [gate.summary() for gate in self.gates],
            "warnings": list(self.warnings),
        }


def traffic(policy: Policy, rates: Mapping[str, float], baselines: Mapping[str, float]) -> dict[str, Traffic]:
    """Traffic as a person states it: requests per second by gate ("" for all others), and the baseline's share of what
    each gate counts. Independent requests are assumed.

    Raises
    ------
    ValueError
        If a gate's rate or baseline is not said, or a name is no gate's.
    """
    known = {counted.name for counted in policy.gates}
    for name in (*rates, *baselines):
        if name and name not in known:
            raise ValueError(f'"{name}" is no gate of the policy: there are {", ".join(sorted(known)) or "none"}')
    return {counted.name: _stated(counted, rates, baselines) for counted in policy.gates}


def _stated(counted: CountedGate, rates: Mapping[str, float], baselines: Mapping[str, float]) -> Traffic:
    name = counted.name
    rate = rates.get(name, rates.get("", 0.0))
    if rate <= 0.0:
        raise ValueError(f"gate {name}: how many requests a second there are is not said: give --rate 50")
    if name not in baselines:
        what = "share of requests beyond the limit" if counted.gate.latency else "share"
        raise ValueError(
            f"gate {name}: the baseline's {what} is not said: give --baseline {name}=3%, or history by --csv"
        )
    share = baselines[name]
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"gate {name}: a baseline of {share:g} is no share: give one between 0% and 100%")
    return Traffic(rate, 1.0 - share if counted.good else share)


def plan(policy: Policy, traffics: Mapping[str, Traffic], wishes: Mapping[str, str] | None = None) -> Plan:
    """What the gates can see.

    ``wishes``: by gate, how bad a candidate must be noticed, in the words of a limit ("2%", "97% of baseline" or
    "baseline + 1pp"; of a latency the share of requests beyond its limit); without one, `mustSee` of the manifest.

    Raises
    ------
    ValueError
        If a wish cannot be read or does not lie beyond the limit.
    """
    known = {counted.name for counted in policy.gates}
    for name in wishes or {}:
        if name not in known:
            raise ValueError(f'--want: "{name}" is no gate of the policy: there are {", ".join(sorted(known))}')
    bound = policy.bind(_columns(policy), policy.interval)
    gates = tuple(_gate(policy, one, traffics[one.counted.name], (wishes or {}).get(one.counted.name)) for one in bound)
    return Plan(gates, _warnings(policy, bound), policy.planned, policy.approvals)


def _columns(policy: Policy) -> set[str]:
    """Columns as the gates name their metrics: nothing is measured here."""
    found: set[str] = set()
    for counted in policy.gates:
        if counted.gate.latency is not None:
            name = counted.gate.latency.histogram
            found |= {f"{name}_bucket_le_1", f"{name}_bucket_le_+Inf"}
        elif counted.gate.ratio is not None:
            found |= {counted.gate.ratio.counted, counted.gate.ratio.rest}
    return found


def _gate(policy: Policy, bound: Bound, found: Traffic, wish: str | None) -> GatePlan:
    test = bound.test
    wanted = _wanted(bound, found, wish)
    stretches = [_stretch(policy, bound, step, found) for step in policy.steps]
    whole = power.forecast(test.line, found.share, stretches, test.alpha, wanted=wanted, guard=_guarded(test))
    steps = tuple(
        _step(bound, step, stretch, found, wanted) for step, stretch in zip(policy.steps, stretches, strict=True)
    )
    first = found.rate * policy.steps[0].share
    proof = whole.to_prove / first if whole.to_prove is not None else None
    return GatePlan(
        gate=bound.counted.name,
        limit=f"{'at least' if bound.counted.gate.at_least else 'at most'} {test.limit.text}",
        good=test.good,
        traffic=found,
        wanted=wanted,
        steps=steps,
        whole=whole,
        prove_seconds=proof,
        warnings=_gate_warnings(policy, bound, found, steps, whole, wanted),
    )


def _guarded(test: RateTest) -> bool:
    return test.design.guard and not test.line.relative


def _judged(bound: Bound, step: PolicyStep) -> float:
    """Seconds of a hold in which this gate judges: late labels have to come in first."""
    return max(step.hold - bound.counted.labels, 0.0)


def _stretch(policy: Policy, bound: Bound, step: PolicyStep, found: Traffic) -> Stretch:
    ours, theirs = found.rate * step.share, found.rate * (1.0 - step.share)
    ratio = math.inf if step.share >= _ALONE else step.share / (1.0 - step.share)
    share = found.share if bound.test.line.relative else bound.test.line.at(0.0)
    phi = power.dispersions(ours, theirs, min(max(share, 1e-9), 1.0 - 1e-9), found.floor, good=bound.test.good)
    return Stretch(ours * _judged(bound, step), ratio, *phi)


def _step(bound: Bound, step: PolicyStep, stretch: Stretch, found: Traffic, wanted: float | None) -> StepPlan:
    test, guard = bound.test, _guarded(bound.test)
    seen = power.smallest(test.line, found.share, [stretch], test.alpha, guard=guard)
    needed = None
    if wanted is not None:
        requests = power.needed(test.line, found.share, stretch, test.alpha, wanted, guard=guard)
        if requests is not None:
            shortest = test.intervals * test.seconds
            needed = max(requests / (found.rate * step.share), shortest) + bound.counted.labels
    sighted = math.isfinite(stretch.ratio) or not test.line.relative
    return StepPlan(step.name, sighted, _judged(bound, step), stretch.requests, seen, needed)


def _wanted(bound: Bound, found: Traffic, wish: str | None) -> float | None:
    """The share of bad events that must be seen."""
    name, test = bound.counted.name, bound.test
    if wish is None:
        if test.must_see is None or test.quantile is not None:
            return None
        limit = test.must_see
    else:
        try:
            limit = parse_limit(wish.strip(), kind="ratio")
        except ValueError as error:
            raise ValueError(f"--want {name}: {error}") from error
    said = limit.at(1.0 - found.share if test.good else found.share) or 0.0
    wanted = 1.0 - said if test.good else said
    if wish is not None and wanted <= test.line.at(found.share):
        raise ValueError(
            f"--want {name}={wish}: is within the limit ({test.limit.text}), so it is not to be noticed: name a "
            "candidate that is worse"
        )
    return min(max(wanted, 0.0), 1.0)


def _gate_warnings(
    policy: Policy,
    bound: Bound,
    found: Traffic,
    steps: Sequence[StepPlan],
    whole: Forecast,
    wanted: float | None,
) -> tuple[str, ...]:
    test, said = bound.test, []
    if found.share >= test.line.at(found.share) and (found.share > 0.0 or test.line.relative):
        said.append("the baseline itself is on or beyond the limit: no candidate like it is ever proven to be within")
    seeing = [one for one in steps if one.sighted and one.requests > 0.0]
    seconds = sum(one.seconds for one in seeing)
    if seconds > 0.0:
        rate = sum(one.requests for one in seeing) / seconds
        said.append(
            power.underpowered(
                test.line,
                baseline=found.share,
                smallest=whole.smallest,
                wanted=wanted,
                seconds=seconds,
                rate=rate,
                good=test.good,
                events=_events(bound),
            )
        )
    for step, one in zip(policy.steps, steps, strict=True):
        if one.seconds <= 0.0:
            late = format_duration(bound.counted.labels)
            said.append(
                f"step {one.name} judges nothing: its hold of {format_duration(step.hold)} is over before the "
                f"labels are in ({late})"
            )
        elif one.sighted and one.requests < test.min_samples:
            there = f"{one.requests:,.0f} of {test.min_samples} samples (minSamples) come in its hold"
            said.append(f"step {one.name} waits longer than it says: {there}")
        elif bound.counted.waits_for_proof and whole.to_prove is not None and one.requests < whole.to_prove:
            needed = whole.to_prove / (found.rate * step.share)
            said.append(
                f"step {one.name} waits for proof longer than it says: about {format_duration(needed)} for a "
                "candidate just like the baseline"
            )
    return tuple(one for one in said if one)


def _events(bound: Bound) -> str:
    if bound.test.quantile is not None:
        return f"of requests slower than {bound.test.limit.text}"
    return bound.counted.name


def _warnings(policy: Policy, bound: Sequence[Bound]) -> tuple[str, ...]:
    said = []
    acting = [one for one in bound if one.counted.rolls_back]
    if policy.steps[-1].share >= _ALONE and not any(not one.test.line.relative for one in acting):
        said.append(
            f"nothing watches step {policy.steps[-1].name}: at 100 % there is no baseline to compare with; add a gate "
            "with an absolute limit, or baselineHoldback: 1"
        )
    said += [
        f"step {step.name} holds for {format_duration(step.hold)}, which is shorter than the warm-up before it "
        f"({format_duration(policy.warmup)})"
        for step in policy.steps
        if step.hold < policy.warmup
    ]
    if not acting:
        said.append("no gate rolls back: whatever a candidate does, it is promoted")
    return tuple(said)


def text(plan: Plan) -> str:
    """What people read."""
    people = f", and as long as people take for {', '.join(plan.approvals)}" if plan.approvals else ""
    parts = [f"{len(plan.gates)} gates; a rollout that nothing holds up takes {format_duration(plan.seconds)}{people}"]
    parts += ["\n".join(_told(gate)) for gate in plan.gates]
    if plan.warnings:
        parts.append("\n".join(f"warning: {one}" for one in plan.warnings))
    return "\n\n".join(parts)


def _told(gate: GatePlan) -> list[str]:
    found = gate.traffic
    lines = [
        f"{gate.gate}: {gate.limit}; baseline {words.percent(gate.shown(found.share))} of {found.rate:.3g} requests/s"
    ]
    rows = [("STEP", "JUDGED", "REQUESTS", "SEES", "HOLD NEEDED")]
    for step in gate.steps:
        needed = "–" if step.needed is None else format_duration(step.needed)
        rows.append(
            (step.name, format_duration(step.seconds), f"{step.requests:,.0f}", _seen(gate, step.smallest), needed)
        )
    sighted = [step for step in gate.steps if step.sighted]
    total = sum(step.requests for step in sighted)
    whole = format_duration(sum(step.seconds for step in sighted))
    rows.append(("in all", whole, f"{total:,.0f}", _seen(gate, gate.whole.smallest), ""))
    shown = rows if gate.wanted is not None else [row[:-1] for row in rows]
    widths = [max(len(row[i]) for row in shown) for i in range(len(shown[0]))]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    ]
    lines += _wish(gate)
    return lines + [f"  warning: {one}" for one in gate.warnings]


def _wish(gate: GatePlan) -> list[str]:
    lines = []
    if gate.wanted is not None:
        what = words.percent(gate.shown(gate.wanted))
        if gate.whole.needed is None:
            lines.append(f"  {what} can never be told from the limit")
        else:
            lines.append(f"  to see {what}: {gate.whole.needed:,.0f} candidate requests")
    if gate.whole.to_prove is not None and gate.prove_seconds is not None:
        lines.append(
            f"  to prove a candidate just like the baseline: {gate.whole.to_prove:,.0f} candidate requests, "
            f"{format_duration(gate.prove_seconds)} in step {gate.steps[0].name}"
        )
    return lines


def _seen(gate: GatePlan, share: float | None) -> str:
    if share is None:
        return "–"
    return f"{'≤' if gate.good else '≥'} {words.percent(gate.shown(share))}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
