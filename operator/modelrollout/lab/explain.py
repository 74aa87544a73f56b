"""Why a rollout stopped, or why it goes on: the evidence of each gate, as text and as charts.

Status holds the last numbers. How the evidence grew is in Prometheus: with it the release is read again and run through
the same tests, from the candidate's first requests on. That is a replay by the policy's own clock, so pauses by people
and outages of the operator are not in it; what decided is always taken from status.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modelrollout.api.enums import Outcome, Verdict
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import format_duration
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, HistoryEntry
from modelrollout.gates import words
from modelrollout.lab import backtest, plot
from modelrollout.lab.history import Release
from modelrollout.lab.policy import Policy
from modelrollout.lab.runner import Results

__all__ = ["Asked", "Story", "asked", "charts", "summary", "tell", "text"]

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 40
_BAR: Final = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """Which release is explained: the one that goes on, else the last one that ended. Times are UTC."""

    revision: str
    version: str
    since: datetime | None
    ended: HistoryEntry | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One gate's evidence over time: seconds since the candidate's first requests, and how much of what a breach needs
    there was, from 0 to 1 on a logarithmic scale."""

    at: tuple[float, ...]
    strength: tuple[float, ...]

    def first(self, strength: float) -> float | None:
        """When it first reached some strength; None when it never did."""
        return next((at for at, one in zip(self.at, self.strength, strict=True) if one >= strength), None)


@dataclass(frozen=True, slots=True)
class Told:
    """One gate: what it says in the manifest, in status, and over time."""

    gate: Gate
    status: GateStatus | None
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is known of one release."""

    rollout: Rollout
    asked: Asked
    gates: tuple[Told, ...]
    release: Release | None
    results: Results | None


def asked(rollout: Rollout) -> Asked | None:
    """The release to be explained; None when there was none."""
    status = rollout.status
    if status.candidate is not None:
        return Asked(status.candidate.revision, status.candidate.version, status.candidate.since, None)
    ended = next((one for one in status.history if one.started_at is not None), None)
    return None if ended is None else Asked(ended.revision, ended.version, ended.started_at, ended)


def tell(rollout: Rollout, which: Asked, release: Release | None = None, results: Results | None = None) -> Story:
    """Put together what status says and what the replay (if there is one) shows."""
    known = {gate.name: gate for gate in rollout.status.gates}
    over_time = {} if results is None else _over_time(results)
    gates = tuple(Told(gate, known.get(gate.name), over_time.get(gate.name)) for gate in rollout.spec.gates)
    return Story(rollout, which, gates, release, results)


def _over_time(results: Results) -> dict[str, Evidence]:
    trace = results.trace
    return {
        name: Evidence(tuple(trace.at), tuple(min(max(nats / trace.needed[name], 0.0), 1.0) for nats in values))
        for name, values in trace.evidence.items()
    }


def text(story: Story) -> str:
    """What people read."""
    lines = [*_headline(story), ""]
    for told in story.gates:
        lines += _gate(told)
    if story.results is not None:
        at = "" if story.release is None else f" from {_utc(story.release.at)} on"
        lines += ["", f"replayed by the policy's own clock{at}: {backtest.sentence(story.results)}"]
    elif any(told.status is not None for told in story.gates):
        lines += ["", "how the evidence grew is not in status: give --prometheus URL to see it"]
    return "\n".join(lines)


def _headline(story: Story) -> list[str]:
    rollout, which = story.rollout, story.asked
    status = rollout.status
    begun = "" if which.since is None else f", begun {which.since:%Y-%m-%d %H:%M:%S} UTC"
    name = f"{rollout.namespace}/{rollout.name}: version {which.version} ({which.revision[:8]})"
    if which.ended is None:
        lines = [f"{name} is {status.phase}{begun}, at {status.weight} % of the traffic"]
        return lines + [one for one in (f"why   {status.message}" if status.message else "", _next(story)) if one]
    ended = which.ended
    took = (
        ""
        if ended.started_at is None
        else f" after {format_duration((ended.ended_at - ended.started_at).total_seconds())}"
    )
    return [f"{name} was {_outcome(ended)}{took}, having had {ended.weight} % of the traffic", f"why   {ended.message}"]


def _outcome(ended: HistoryEntry) -> str:
    return "rolled back" if ended.outcome is Outcome.ROLLED_BACK else str(ended.outcome).lower()


def _next(story: Story) -> str:
    return f"next  {story.rollout.status.next}" if story.rollout.status.next else ""


def _gate(told: Told) -> list[str]:
    status, evidence = told.status, told.evidence
    limit = told.gate.at_most or told.gate.at_least or ""
    if status is None and evidence is None:
        return [f"{told.gate.name}: nothing is known of it", ""]
    lines = [f"{told.gate.name}  {status.verdict if status is not None else ''}".rstrip()]
    if status is not None:
        lines.append(f"  {status.message or _numbers(told.gate, status)}")
        lines.append(
            f"  {status.samples:,} samples against {status.baseline_samples:,} of the baseline; limit: {limit}"
        )
        if status.underpowered:
            lines.append(f"  {status.underpowered}")
        if evidence is None and status.evidence is not None:
            lines.append(f"  evidence {_bar(status.evidence)} {status.evidence:.0%} of what a breach needs")
    if evidence is not None:
        lines += _growth(evidence)
    return [*lines, ""]


def _numbers(gate: Gate, status: GateStatus) -> str:
    show = words.milliseconds if gate.latency is not None else words.percent if gate.ratio is not None else words.plain
    return f"{words.maybe(status.value, show)} against {words.maybe(status.baseline, show)} of the baseline"


def _growth(evidence: Evidence) -> list[str]:
    """A small chart, and the moments that matter."""
    if not evidence.at:
        return ["  evidence: no interval was judged"]
    half, enough = evidence.first(0.5), evidence.first(1.0)
    last = format_duration(evidence.at[-1])
    lines = [f"  evidence {_spark(evidence.strength)} {max(evidence.strength):.0%} at most, over {last}"]
    if enough is not None and half is not None:
        lines.append(
            f"  half of what a breach needs after {format_duration(half)}, all of it after {format_duration(enough)}"
        )
    elif half is not None:
        lines.append(f"  half of what a breach needs after {format_duration(half)}, never all of it")
    else:
        lines.append("  never half of what a breach needs")
    return lines


def _spark(values: Sequence[float]) -> str:
    """The highest value of each stretch, as a row of bars."""
    size = max(1, math.ceil(len(values) / _WIDTH))
    tops = [max(values[begin : begin + size]) for begin in range(0, len(values), size)]
    return "".join(_BARS[min(int(top * len(_BARS)), len(_BARS) - 1)] for top in tops)


def _bar(part: float) -> str:
    full = int(min(max(part, 0.0), 1.0) * _BAR)
    return "█" * full + "░" * (_BAR - full)


def summary(story: Story) -> dict[str, Any]:
    """For machines."""
    which, status = story.asked, story.rollout.status
    ended = which.ended
    return {
        "namespace": story.rollout.namespace,
        "name": story.rollout.name,
        "revision": which.revision,
        "version": which.version,
        "phase": str(status.phase),
        "outcome": None if ended is None else str(ended.outcome),
        "reason": str(status.reason if ended is None else ended.reason),
        "message": status.message if ended is None else ended.message,
        "startedAt": None if which.since is None else which.since.isoformat(),
        "endedAt": None if ended is None else ended.ended_at.isoformat(),
        "gates": [_gate_summary(told) for told in story.gates],
        "replay": None if story.results is None else story.results.summary(),
    }


def _gate_summary(told: Told) -> dict[str, Any]:
    status, evidence = told.status, told.evidence
    found: dict[str, Any] = {
        "name": told.gate.name,
        "limit": told.gate.at_most or told.gate.at_least,
        "verdict": str(status.verdict if status is not None else Verdict.BLIND),
    }
    if status is not None:
        found |= {
            "value": status.value,
            "baseline": status.baseline,
            "samples": status.samples,
            "baselineSamples": status.baseline_samples,
            "evidence": status.evidence,
            "message": status.message,
        }
    if evidence is not None:
        pairs = zip(evidence.at, evidence.strength, strict=True)
        found |= {
            "halfAt": evidence.first(0.5),
            "enoughAt": evidence.first(1.0),
            "overTime": [[at, round(strength, 4)] for at, strength in pairs],
        }
    return found


def charts(story: Story, policy: Policy) -> list[str]:
    """The evidence and each gate's rates; without a replay, the last evidence of each gate."""
    if story.release is not None and story.results is not None:
        return backtest.chart(policy, story.release.recording, story.results)
    known = [(told.gate.name, told.status.evidence) for told in story.gates if told.status is not None]
    found = [plot.Bar(name, evidence) for name, evidence in known if evidence is not None]
    if not found:
        return []
    enough = [plot.Level("enough", 1.0)]
    return [plot.bars("Evidence against the candidate", found, limits=enough, y_format=plot.percent)]


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
