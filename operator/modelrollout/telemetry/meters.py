"""What the operator counts of its own work: every counter and histogram, in one place.

Whoever does the work counts it, where it is done: one process is one operator, so these are of the process, as is
usual with Prometheus' clients. What is *so* (queues, weights, verdicts) is not counted here but read when somebody
asks: :mod:`modelrollout.telemetry.families`. No label holds what users wrote.

Source: Prometheus, "Metric and label naming" and "Writing client libraries".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

__all__ = [
    "API_REQUESTS",
    "API_SECONDS",
    "API_WAIT_SECONDS",
    "DECIDE_SECONDS",
    "EVENTS",
    "LEASE_TRANSITIONS",
    "LOGGED",
    "LOOKS",
    "LOOK_SECONDS",
    "LOOP_LAG_SECONDS",
    "MEASURE_SECONDS",
    "METERS",
    "NOTIFICATIONS",
    "PEOPLE_SAID",
    "PROMETHEUS_REQUESTS",
    "PROMETHEUS_SECONDS",
    "QUEUE_WAIT_SECONDS",
    "REFLECTOR_FAILURES",
    "REGISTRY",
    "TRANSITIONS",
    "Meter",
]


@dataclass(frozen=True, slots=True)
class Meter:
    """What is said of a counter or a histogram where metrics are documented."""

    name: str
    kind: str
    what: str
    labels: tuple[str, ...]


disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY: Final = CollectorRegistry()
METERS: Final[list[Meter]] = []
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_REQUEST: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_LOOK: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
_CPU: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)
_WAIT: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_LAG: Final = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0)


def _counter(name: str, what: str, *labels: str) -> Counter:
    METERS.append(Meter(f"modelrollout_{name}", "counter", what, labels))
    return Counter(f"modelrollout_{name}", what, labels, registry=REGISTRY)


def _histogram(name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    METERS.append(Meter(f"modelrollout_{name}", "histogram", what, labels))
    return Histogram(f"modelrollout_{name}", what, labels, buckets=buckets, registry=REGISTRY)


LOOKS: Final = _counter(
    "looks",
    "Looks at rollouts by how they ended: done, conflict (somebody else was faster), api_error, error (a fault of the "
    "operator; its log has it).",
    "result",
)
LOOK_SECONDS: Final = _histogram("look_duration_seconds", "How long a look took, requests included.", _LOOK)
DECIDE_SECONDS: Final = _histogram("decide_duration_seconds", "How long the engine took for a decision.", _CPU)
MEASURE_SECONDS: Final = _histogram(
    "measurement_duration_seconds", "How long it took until Prometheus had answered all that a look asks.", _LOOK
)
QUEUE_WAIT_SECONDS: Final = _histogram(
    "queue_wait_seconds", "How long a rollout that was due waited for a worker.", _WAIT, "lane"
)
TRANSITIONS: Final = _counter("transitions", "Changes of phase, by the new one.", "phase")
EVENTS: Final = _counter("events", "Kubernetes events that the operator posted, by reason.", "reason")
PEOPLE_SAID: Final = _counter(
    "human_decisions", "RolloutDecisions that were answered, by the answer: Applied, Refused or Expired.", "state"
)
API_REQUESTS: Final = _counter(
    "api_requests",
    'Requests to the API server; the code is "none" when there was no answer.',
    "verb",
    "resource",
    "code",
)
API_SECONDS: Final = _histogram(
    "api_request_duration_seconds", "How long the API server took; watches are not in it.", _REQUEST, "verb"
)
API_WAIT_SECONDS: Final = _histogram(
    "api_wait_seconds",
    "How long a request waited for its turn among our own, by what it is for; what lowers a weight never waits.",
    _WAIT,
    "lane",
)
PROMETHEUS_REQUESTS: Final = _counter(
    "prometheus_requests",
    "Questions to Prometheus by outcome: ok, refused (the query), down (no answer, or not a whole one).",
    "source",
    "outcome",
)
PROMETHEUS_SECONDS: Final = _histogram(
    "prometheus_request_duration_seconds",
    "How long Prometheus took, waiting for our turn not included.",
    _REQUEST,
    "source",
)
NOTIFICATIONS: Final = _counter(
    "notifications",
    "Attempts to tell somebody, by urgency and outcome: told, failed (tried again), dead (given up after a day).",
    "urgency",
    "outcome",
)
REFLECTOR_FAILURES: Final = _counter("reflector_failures", "Lists and watches that broke.", "resource")
LOOP_LAG_SECONDS: Final = _histogram(
    "loop_lag_seconds", "How late the event loop was, asked once a second: all work waits for so long.", _LAG
)
LEASE_TRANSITIONS: Final = _counter("lease_transitions", "How often this process became the leader.")
LOGGED: Final = _counter("log_messages", "Messages of the operator, also those that were not repeated.", "level")

# A series that begins with 1 has no increase: what alerts wait for begins with 0.
for _result in ("done", "conflict", "api_error", "error"):
    LOOKS.labels(_result)
for _outcome in ("ok", "refused", "down"):
    PROMETHEUS_REQUESTS.labels("default", _outcome)
for _urgency in ("page", "ticket", "chat"):
    for _outcome in ("told", "failed", "dead"):
        NOTIFICATIONS.labels(_urgency, _outcome)
