"""Will the gates see: each one's question asked of the stable revision that runs now, and of its past.

The operator's own provider asks, with the stable revision in both places, so what is found here is what a rollout will
find at weight 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from modelrollout.api.gate import Gate
from modelrollout.api.grammar import parse_duration
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.check.baseline import Baseline
from modelrollout.check.found import Result, Results, State
from modelrollout.engine.evidence import Plan
from modelrollout.engine.foresight import cannot_see, traffic_of
from modelrollout.engine.gate_tests import compiled
from modelrollout.engine.looking import floored
from modelrollout.engine.model import GateMeasurement, Measurement, ProblemKind, Scraping
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval, Reading
from modelrollout.gates.rate import FEWEST_INTERVALS, RateTest
from modelrollout.metrics.prometheus import Prometheus
from modelrollout.screen import units

__all__ = ["measured"]

_RECENT: Final = timedelta(minutes=5)
_PAST: Final = timedelta(hours=24)
_PAST_STEP: Final = timedelta(minutes=1)
_DELAY: Final = timedelta(seconds=1)
"""As far in the past as the operator reads by itself, so that every scrape of that instant is in."""
_TIMEOUT_SECONDS: Final = 20.0
_FAILING: Final = (ProblemKind.METRIC_UNKNOWN, ProblemKind.MISCONFIGURED)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Prometheus showed of the baseline: lately, and in the last day."""

    lately: Mapping[str, GateMeasurement]
    past: Mapping[str, GateMeasurement]


def measured(url: str, spec: ModelRolloutSpec, baseline: Baseline, now: datetime) -> Results:
    """What the metrics show, gate by gate."""
    gates = [gate for gate in spec.gates if gate.report is None]
    if not gates:
        yield Result("prometheus", State.SKIPPED, "no gate asks it anything")
        return
    seen = asyncio.run(_read(url, spec, gates, baseline, now))
    down = next((one.problem for one in seen.lately.values() if _is_down(one)), None)
    if down is not None:
        yield Result("prometheus", State.FAIL, down.message, "correct --prometheus; from here it may be another URL")
        return
    yield Result("prometheus", State.OK, f"{url} answers")
    yield from _scraped(seen.lately, baseline)
    for gate in gates:
        yield _gate(gate, seen.lately[gate.name], baseline)
        if baseline.runs and gate.kind in ("ratio", "latency"):
            yield _power(gate, spec, seen.past[gate.name].intervals)


def _is_down(one: GateMeasurement) -> bool:
    return one.problem is not None and one.problem.kind is ProblemKind.SOURCE_DOWN


async def _read(url: str, spec: ModelRolloutSpec, gates: list[Gate], baseline: Baseline, now: datetime) -> _Seen:
    provider = Prometheus.at(url, timeout=_TIMEOUT_SECONDS, allow_promql=True)
    step = parse_duration(spec.evaluation.interval)
    end = floored(now - _DELAY, step)
    plan = Plan(dict.fromkeys((gate.name for gate in gates), end - max(_RECENT, 2 * step)), end, step, preflight=True)
    try:
        lately: Measurement = await provider.measure(gates, plan, baseline.arm, baseline.arm)
        past: Mapping[str, GateMeasurement] = {}
        if baseline.runs:
            last = floored(now - _DELAY, _PAST_STEP)
            past = (await provider.history(gates, last - _PAST, last, _PAST_STEP, baseline.arm)).gates
    finally:
        await provider.close()
    return _Seen(lately.gates, past)


def _scraped(lately: Mapping[str, GateMeasurement], baseline: Baseline) -> Results:
    """Whether the pods that run now are scraped; the candidate's will be by the same configuration."""
    found: Scraping | None = next((one.scraping for one in lately.values() if one.scraping is not None), None)
    pods = len(baseline.arm.pods)
    if found is None or not baseline.runs or not pods:
        return
    shown = any(one.interval is not None for one in lately.values() if one.problem is None)
    if found.baseline >= pods:
        yield Result("scraped", State.OK, f"{found.baseline} of {pods} pods of the stable revision are scraped")
    elif shown and not found.baseline:
        yield Result("scraped", State.SKIPPED, "`up` has no label pod here, so nobody can tell; the gates have series")
    else:
        text = f"{found.baseline} of {pods} pods of the stable revision are scraped"
        remedy = "apply manifests/monitoring/podmonitor.yaml, or correct the scrape job; see Prometheus' targets"
        yield Result("scraped", State.WARN, text, remedy)


def _gate(gate: Gate, seen: GateMeasurement, baseline: Baseline) -> Result:
    check, problem = f"gate {gate.name}", seen.problem
    note = f" ({seen.note})" if seen.note else ""
    if problem is None:
        return _value(gate, check, seen.intervals, note)
    if problem.kind in _FAILING:
        state = State.FAIL if gate.required else State.WARN
        return Result(check, state, problem.message, "correct the gate's metric, or how the pods are scraped")
    if not baseline.runs:
        text = "Prometheus knows its metric; no stable revision runs yet that could be asked"
        return Result(check, State.SKIPPED, text, "ask again when the first version serves")
    relative = "a relative limit waits for it" if gate.limit.relative else "it is judged from the first traffic on"
    return Result(
        check, State.WARN, f"{problem.message}; {relative}", "look at the pods' /metrics, and at the identity"
    )


def _value(gate: Gate, check: str, intervals: Sequence[Interval], note: str) -> Result:
    """What the stable revision shows now, against the limit."""
    arms = [one.baseline for one in intervals if one.baseline is not None]
    number, samples = _summed(gate, arms)
    if number is None:
        text = f"the metric is there, but the stable revision had no events in the last {_RECENT.seconds // 60} minutes"
        return Result(check, State.WARN, text, "without traffic nothing can be judged")
    limit = units.limit(gate, number)
    text = f"{units.value(number, gate)} now ({samples}); the candidate must stay {limit}{note}"
    at = units.limit_at(gate, number)
    beyond = at is not None and (number < at if gate.at_least is not None else number > at)
    if beyond:
        remedy = "the limit is too strict for what serves today: a candidate just as good would be held"
        return Result(check, State.WARN, f"the stable revision itself is beyond the limit: {text}", remedy)
    return Result(check, State.OK, text)


def _summed(gate: Gate, arms: Sequence[Arm]) -> tuple[float | None, str]:
    """The gate's value over some intervals, and how much it rests on."""
    counts = [arm for arm in arms if isinstance(arm, Counts)]
    if counts:
        whole = reduce(Counts.__add__, counts)
        share = whole.rate
        good = gate.ratio is not None and gate.ratio.good is not None
        return None if share is None else 1.0 - share if good else share, f"{whole.total:,.0f} events"
    histograms = [arm for arm in arms if isinstance(arm, Histogram)]
    if histograms and gate.latency is not None:
        added = reduce(Histogram.__add__, histograms)
        return added.quantile(float(gate.latency.quantile)), f"{added.total:,.0f} requests"
    readings = [arm for arm in arms if isinstance(arm, Reading)]
    return (readings[-1].value, "one number") if readings else (None, "")


def _power(gate: Gate, spec: ModelRolloutSpec, past: Sequence[Interval]) -> Result:
    """What the gate could see at the traffic of the last day, and with the noise that it showed."""
    check, test = f"sees {gate.name}", compiled(gate, spec)
    assert isinstance(test, RateTest)
    history = test.learn(past)
    test = replace(test, history=history)
    state = test.start()
    found = traffic_of(past, test.baseline_share(state), test.noise_floor(state))
    if found is None:
        return Result(
            check,
            State.WARN,
            "no whole minute with requests in the last day, so nothing is known of its traffic",
            "say the traffic yourself: modelrollout plan FILE --rate",
        )
    text = cannot_see(gate, test, spec, found)
    if text:
        return Result(check, State.WARN, text, "longer holds, more weight, or a wider limit: modelrollout plan FILE")
    told = f"{found.rate:.3g} requests/s in the last day: it sees what it should"
    if history.floor is None:
        short = f"{len(past)} of {FEWEST_INTERVALS} intervals of history, so harm takes longer to be shown"
        return Result(check, State.WARN, f"{told}; {short}", "wait until the service has run for an hour")
    return Result(check, State.OK, f"{told}, with the noise of its own past")
