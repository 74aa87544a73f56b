"""The record of a rollback, from the status at that moment. Pure: what it is named after decides that there is one.

The name holds the rollout, the revision and the second of the rollback. Whoever creates it a second time, after
whatever crash, is told by the API server that it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelrollout.api.incident import GateEvidence, Moment, RolloutIncidentSpec
from modelrollout.api.status import Failed, GateStatus
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RecordIncident

__all__ = ["incident_name", "incident_of"]

_MOMENTS = 64


def incident_name(d: Draft, failed: Failed) -> str:
    """At most 62 characters: a rollout's name has 40, a revision 10."""
    return f"{d.input.name}-{failed.revision}-{int(failed.at.timestamp())}"


def incident_of(d: Draft, failed: Failed) -> RecordIncident:
    """The record of the rollback that the status tells of."""
    status = d.status
    spec = RolloutIncidentSpec(
        rollout=d.input.name,
        revision=failed.revision,
        version=failed.version,
        stable_revision=d.stable,
        stable_version=status.stable.version if status.stable else "",
        reason=failed.reason,
        message=failed.message,
        at=failed.at,
        weight=status.peak_weight,
        evidence=[_evidence(gate) for gate in status.gates],
        timeline=sorted(_timeline(d, failed), key=lambda moment: moment.at)[-_MOMENTS:],
        commands=[d.command("status"), d.command("explain"), d.command("history"), d.command("retry")],
    )
    return RecordIncident(incident_name(d, failed), spec)


def _evidence(gate: GateStatus) -> GateEvidence:
    return GateEvidence(
        name=gate.name,
        verdict=gate.verdict,
        value=_number(gate.value),
        baseline=_number(gate.baseline),
        limit=gate.limit,
        samples=str(gate.samples),
        baseline_samples=str(gate.baseline_samples),
        evidence=_number(gate.evidence),
        message=gate.message,
        query=gate.query,
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _timeline(d: Draft, failed: Failed) -> Iterator[Moment]:
    """What status remembers of this rollout."""
    entry = next((one for one in d.status.history if one.ended_at == failed.at), None)
    if entry is not None and entry.started_at is not None:
        yield Moment(at=entry.started_at, what=f"version {failed.version} is named; its pods start")
    for span in d.status.spans:
        yield Moment(at=span.start, what=f"step {span.step} is judged at {span.weight} % of the traffic")
    for change in d.status.limit_changes:
        by = f" by {change.by}" if change.by else ""
        yield Moment(at=change.at, what=f"the limit of {change.gate} is loosened from {change.old} to {change.new}{by}")
    for gate in d.status.gates:
        if gate.since is not None:
            yield Moment(at=gate.since, what=f"{gate.name} is {gate.verdict}: {gate.message}"[:512])
    yield Moment(at=failed.at, what=f"all traffic is put back ({failed.reason})")
