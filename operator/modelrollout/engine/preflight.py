"""Before the first traffic: what can be known without asking one user to try the candidate.

Looked at whenever a candidate waits at weight 0; the list is in status. What is `Waiting` or `Failed` holds the weight,
what is `Unknown` holds nothing up. A gate that waits only for its baseline holds as it always does
(:mod:`modelrollout.engine.blindness`); what is judged here is what would otherwise be found out with users: a metric
that nobody exports, and pods that nobody scrapes. A person's `promote` overrules it; pods that are not ready and a
route that is not accepted are no matters of opinion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modelrollout.api.enums import CheckState, Phase, Reason
from modelrollout.api.gate import Gate
from modelrollout.api.status import PreflightCheck
from modelrollout.engine import contest
from modelrollout.engine.draft import Draft
from modelrollout.engine.foresight import first_weight
from modelrollout.engine.gate_tests import is_relative
from modelrollout.engine.model import GateMeasurement, Measurement, ProblemKind, RouteState, Scraping
from modelrollout.engine.raising import by_a_human, in_route, pods_for, ready_to_carry, version_of
from modelrollout.gates.rate import FEWEST_INTERVALS

__all__ = ["holds", "look", "sentence"]

_LONGEST: Final = 320
_CAPACITY: Final = "capacity"
_ARTIFACT: Final = "artifact"
_ROUTE: Final = "route"
_SCRAPED: Final = "scraped"
_NOISE: Final = "noise"
_NO_OPINION: Final = (_CAPACITY, _ARTIFACT, _ROUTE)
"""Nobody can overrule them, and they are said by whoever waits for them."""


def look(d: Draft) -> None:
    """Write down what is known before the first traffic; a failure is told once."""
    if d.status.weight > 0 or not d.stable:
        return
    failed_before = _first(d, CheckState.FAILED)
    found = [_capacity(d), _artifact(d), _route(d), *_measured(d)]
    d.set(preflight=[PreflightCheck(check=name, state=state, message=text[:_LONGEST]) for name, state, text in found])
    failed = _first(d, CheckState.FAILED)
    if failed is not None and failed_before is None:
        d.event(Reason.PREFLIGHT_FAILED, f"version {version_of(d)} gets no traffic: {failed.message}", warning=True)


def holds(d: Draft) -> str:
    """What holds the first traffic back that a person may overrule; empty when nothing does."""
    if d.status.weight > 0 or by_a_human(d):
        return ""
    failed = _first(d, CheckState.FAILED) or _first(d, CheckState.WAITING)
    return failed.message if failed is not None else ""


def sentence(d: Draft) -> tuple[Phase, Reason, str, str] | None:
    """Phase, reason, message and next sentence while the preflight holds; None when something else has to be said:
    a pause, a freeze, a contested route, an outage."""
    stopped = d.status.paused is not None or d.input.freeze is not None or contest.is_on(d)
    if d.status.weight > 0 or by_a_human(d) or stopped:
        return None
    failed, waiting = _first(d, CheckState.FAILED), _first(d, CheckState.WAITING)
    if failed is not None:
        following = f"correct it; or begin all the same, and type: {d.command('promote')}"
        return Phase.PROGRESSING, Reason.PREFLIGHT_FAILED, f"no traffic yet: {failed.message}", following
    if waiting is not None and d.status.blind is None:
        return Phase.PROGRESSING, Reason.PREFLIGHT, f"no traffic yet: {waiting.message}", "then its first traffic"
    return None


def _first(d: Draft, state: CheckState) -> PreflightCheck | None:
    return next((one for one in d.status.preflight if one.state is state and one.check not in _NO_OPINION), None)


_Found = tuple[str, CheckState, str]


def _capacity(d: Draft) -> _Found:
    view = d.view(d.candidate)
    needed = pods_for(d, first_weight(d.input.spec))
    have = view.ready if view is not None else 0
    if have >= needed:
        return _CAPACITY, CheckState.OK, f"{have} pods are ready, {needed} are needed for the first step"
    waiting = f": {view.waiting}" if view is not None and view.waiting else ""
    return _CAPACITY, CheckState.WAITING, f"{have} of {needed} pods are ready{waiting}"


def _artifact(d: Draft) -> _Found:
    view = d.view(d.candidate)
    if view is None or not view.ready:
        return _ARTIFACT, CheckState.WAITING, "no pod is ready, so nobody knows whether the model can be loaded"
    if d.input.spec.workload.template.spec.containers[0].readiness_probe is None:
        return _ARTIFACT, CheckState.UNKNOWN, "there is no readinessProbe: a pod may count as ready without the model"
    return _ARTIFACT, CheckState.OK, "its pods are ready, so the model is loaded as far as the readinessProbe knows"


def _route(d: Draft) -> _Found:
    if in_route(d):
        return _ROUTE, CheckState.OK, "the gateway has accepted the route with the candidate at weight 0"
    text = d.input.route.message or "the gateway has not accepted the route with the candidate yet"
    rejected = d.input.route.state is RouteState.REJECTED
    return _ROUTE, CheckState.FAILED if rejected else CheckState.WAITING, text


def _measured(d: Draft) -> Iterator[_Found]:
    """What the metrics show; between two readings, what they showed."""
    measurement = d.input.measurement
    if measurement is None:
        asked = {f"gate {gate.name}" for gate in d.input.spec.gates}
        known = asked | {_SCRAPED, _NOISE} if asked else set()
        yield from ((one.check, one.state, one.message) for one in d.status.preflight if one.check in known)
        return
    scraped = _scraped(d, measurement)
    if scraped is not None:
        yield scraped
    for gate in d.input.spec.gates:
        yield _gate(d, gate, measurement.gates.get(gate.name, GateMeasurement()))
    noise = _noise(d, measurement)
    if noise is not None:
        yield noise


def _gate(d: Draft, gate: Gate, seen: GateMeasurement) -> _Found:
    name, problem = f"gate {gate.name}", seen.problem
    if problem is None and seen.interval is None and not seen.report:
        return name, CheckState.UNKNOWN, f"{gate.name}: not read yet"
    if problem is None:
        return name, CheckState.OK, f"{gate.name}: answered as it should"
    text = f"{gate.name}: {problem.message}"
    if problem.kind is ProblemKind.CANDIDATE_MISSING:
        return name, CheckState.OK, f"{gate.name}: the stable revision is measured; the candidate has no requests yet"
    if not gate.required:
        return name, CheckState.UNKNOWN, f"{text} (required: false, so it holds nothing up)"
    if problem.kind in (ProblemKind.METRIC_UNKNOWN, ProblemKind.MISCONFIGURED):
        return name, _failed_or_young(d), text
    if problem.hides_everything or is_relative(gate):
        return name, CheckState.WAITING, text
    return name, CheckState.UNKNOWN, f"{text} (its limit needs no baseline: judged from the first traffic on)"


def _scraped(d: Draft, measurement: Measurement) -> _Found | None:
    """Whether the candidate's ready pods are scraped. None when no gate reads series of the pods themselves."""
    seen = next((one.scraping for one in measurement.gates.values() if one.scraping is not None), None)
    view = d.view(d.candidate)
    if seen is None or view is None:
        return None
    if seen.candidate >= view.ready > 0:
        return _SCRAPED, CheckState.OK, f"{seen.candidate} pods of the candidate are scraped"
    if not _can_be_told(d, seen, measurement):
        return _SCRAPED, CheckState.UNKNOWN, "nobody can tell: `up` has no series with the label pod for stable's pods"
    if not _required_by_pod(d, measurement):
        return (
            _SCRAPED,
            CheckState.UNKNOWN,
            f"{seen.candidate} of {view.ready} ready pods are scraped; no gate needs it",
        )
    state = _failed_or_young(d)
    if state is CheckState.WAITING:
        return _SCRAPED, state, "the first scrape of the candidate's pods is waited for"
    return _SCRAPED, state, _why_not_scraped(seen, view.ready)


def _why_not_scraped(seen: Scraping, ready: int) -> str:
    text = f"{seen.candidate} of {ready} ready pods of the candidate are scraped"
    if seen.failing:
        return f"{text}; the scrape of {seen.failing[0]} fails: look at Prometheus' targets"
    whose = "stable's pods are" if seen.baseline else "other pods of the namespace are"
    return f"{text}, though {whose}: does the PodMonitor (or the scrape job) select the candidate's labels?"


def _can_be_told(d: Draft, seen: Scraping, measurement: Measurement) -> bool:
    """Where stable has series although `up` knows none of its pods, `up` says nothing about pods."""
    if seen.baseline:
        return True
    measured = any(one.interval is not None and one.interval.baseline for one in measurement.gates.values())
    return seen.others > 0 and not measured


def _required_by_pod(d: Draft, measurement: Measurement) -> bool:
    read = {name for name, one in measurement.gates.items() if one.scraping is not None}
    return any(gate.required and gate.name in read for gate in d.input.spec.gates)


def _failed_or_young(d: Draft) -> CheckState:
    """Series come with the first scrape after a pod is ready, so the first moments are no reason to call anybody."""
    view = d.view(d.candidate)
    if view is None or view.youngest_ready_at is None or not ready_to_carry(d, 1):
        return CheckState.WAITING
    grace = max(4.0 * d.interval, 10.0)
    return CheckState.FAILED if d.since(view.youngest_ready_at) > grace else CheckState.WAITING


def _noise(d: Draft, measurement: Measurement) -> _Found | None:
    """Whether the noise floor is learnt; None when no gate needs one."""
    counted = [gate.name for gate in d.input.spec.gates if gate.kind in ("ratio", "latency")]
    known = {gate.name for gate in d.status.gates if gate.noise_known}
    unknown = [name for name in counted if name not in known]
    if not counted:
        return None
    if not unknown:
        return _NOISE, CheckState.OK, "the noise of every gate is learnt from the stable revision's own past"
    if not measurement.past:
        kept = next((one for one in d.status.preflight if one.check == _NOISE), None)
        if kept is not None:
            return _NOISE, kept.state, kept.message
    have = min((len(measurement.past.get(name, ())) for name in unknown), default=0)
    text = (
        f"{', '.join(unknown)}: {have} of {FEWEST_INTERVALS} intervals of history, so harm takes longer to be shown "
        "until the rollout itself has taught the noise"
    )
    return _NOISE, CheckState.UNKNOWN, text
