"""What the operator shows when it is asked: a name, what it means and its labels, for everything that is not counted.

These are read from the live statuses at the moment of a scrape, and only then: nothing is set at a look, and what is
gone is gone from the next answer. docs/metrics.md is made from this list, and the rules and the dashboard in
manifests/monitoring may use no other names.

Source: Prometheus, "Metric and label naming": base units, seconds and ratios; points in time instead of ages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GATES", "OPERATOR", "ROLLOUTS", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """A gauge; ``labels`` in the order in which its samples are written."""

    name: str
    what: str
    labels: tuple[str, ...] = ()


_ROLLOUT: Final = ("namespace", "rollout")
_GATE: Final = (*_ROLLOUT, "gate")


def _rollout(name: str, what: str, *labels: str) -> Family:
    return Family(f"modelrollout_rollout_{name}", what, (*_ROLLOUT, *labels))


def _gate(name: str, what: str, *labels: str) -> Family:
    return Family(f"modelrollout_gate_{name}", what, (*_GATE, *labels))


def _operator(name: str, what: str, *labels: str) -> Family:
    return Family(f"modelrollout_{name}", what, labels)


ROLLOUTS: Final = (
    _rollout("info", "1. Which versions serve and are on trial.", "stable_version", "candidate_version", "mode"),
    _rollout("phase_info", "1, with the phase and the reason of the moment.", "phase", "reason"),
    _rollout("step", "Number of the step, from 1; 0 while the pods start. Only during a rollout."),
    _rollout("steps", "How many steps there are. Only during a rollout."),
    _rollout("weight_asked_ratio", "Share of the traffic that the candidate should have, 0 to 1."),
    _rollout("weight_observed_ratio", "Share that the route, as accepted by the gateway, gives it, 0 to 1."),
    _rollout("held_seconds", "Time in this step that counted for its hold. Only during a rollout."),
    _rollout("hold_seconds", "Time that this step needs. Only during a rollout."),
    _rollout("paused", "1 while a person, the spec or an edit of the route stops the steps."),
    _rollout("frozen", "1 while a RolloutFreeze or the label of the namespace stops the steps."),
    _rollout("step_started_timestamp_seconds", "When the step began. Only during a rollout."),
    _rollout("evaluated_timestamp_seconds", "Up to when the metrics were read. Only during a rollout."),
    _rollout("interval_seconds", "How often it is looked at, while its metrics are read; absent while they are not."),
    _rollout("last_look_timestamp_seconds", "When the operator last looked at it to the end."),
    _rollout("blind_since_timestamp_seconds", "Since when required metrics are missing; absent while they are there."),
    _rollout(
        "draining_since_timestamp_seconds",
        "Since when all traffic was put back and what is in flight is answered; absent at other times.",
    ),
    _rollout(
        "unwritten_since_timestamp_seconds",
        "Since when lower weights, as decided, cannot be written to the API server; absent while they can.",
    ),
    _rollout("notice", "1 for what people are told and is not over.", "urgency", "reason"),
)

GATES: Final = (
    _gate("verdict_info", "1, with the verdict of the moment.", "verdict"),
    _gate("value", "The candidate's value: a share, seconds, or what a value gate's query gives."),
    _gate("baseline_value", "The stable revision's value at the same time."),
    _gate("limit_value", "The limit as a value, which moves with the baseline when it is relative."),
    _gate("evidence_ratio", "Evidence of a breach: 0 none, 1 enough to act; on a logarithmic scale."),
    _gate("samples", "What was counted, by arm: candidate or baseline.", "arm"),
)
"""Only while a candidate is on trial."""

OPERATOR: Final = (
    _operator("build_info", "1, with the operator's version and Python's.", "version", "python"),
    _operator("leader", "1 while this process is the one that acts; a standby has 0."),
    _operator("lease_epoch", "Number of the lease under which this process acts or last acted; 0 without an election."),
    _operator("rollouts", "ModelRollouts by phase, as in their statuses; on every replica.", "phase"),
    _operator("rollouts_hidden", "ModelRollouts that have no series of their own, because there are too many."),
    _operator("queue_length", "Rollouts that are due and wait for a worker.", "lane"),
    _operator("queue_oldest_seconds", "For how long the first of them waits.", "lane"),
    _operator("queue_running", "Rollouts that a worker is looking at."),
    _operator("queue_longest_run_seconds", "For how long the slowest of these looks lasts."),
    _operator("queue_stuck_seconds", "For how long something waits and nothing that was begun has ended."),
    _operator("measurement_longest_seconds", "For how long the slowest reading of metrics under way lasts."),
    _operator("reflector_synced", "1 when the copy was filled.", "resource"),
    _operator("reflector_objects", "Objects in the copy.", "resource"),
    _operator("reflector_heard_timestamp_seconds", "When the copy's watch last heard anything.", "resource"),
    _operator("notifications_waiting", "Messages that wait for their receivers, or are repeated to them."),
)
