"""Exact counting from counters: differences of aligned readings, per series, reset-aware. Pure.

``rate()`` and ``increase()`` extrapolate and overlap, so their results neither are integers nor add up. Here the raw
value of every pod's counter is read at the two ends of an interval and differenced: a value that fell was reset (the
process started anew), so what it shows since is the increment.

What a missing reading at the start means depends on whether the pod was being scraped then (its ``up`` series): if it
was, the counter did not exist yet and was zero; if the pod was created later, it started from zero too; otherwise
nobody knows, and the pod's increment is left out of *this* interval rather than being invented.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from modelrollout.api.gate import IdentityBy, MetricIdentity
from modelrollout.gates.evidence import Histogram
from modelrollout.metrics.base import Arm

__all__ = [
    "Readings",
    "belongs",
    "histogram",
    "identity_label",
    "identity_pattern",
    "identity_value",
    "increment",
    "increments_by_bound",
    "seconds_per_unit",
]

Readings = Mapping[tuple[str, str, str, str], float]
"""(namespace, pod, identity label's value, le) → value of the counter."""

_POD_SUFFIX = re.compile(r"-[a-z0-9]{1,10}-[a-z0-9]{5}")


def identity_label(identity: MetricIdentity) -> str:
    """The metric's label that tells the revisions apart; empty when the pod's name does."""
    if identity.by is IdentityBy.POD_NAME:
        return ""
    defaults = {IdentityBy.POD_LABEL: "modelrollout_io_revision", IdentityBy.SERVICE: "envoy_cluster_name"}
    return identity.label or defaults.get(identity.by, "revision")


def identity_value(identity: MetricIdentity, arm: Arm) -> str:
    """What that label holds for an arm."""
    text = _template(identity)
    for name, value in (
        ("revision", arm.revision),
        ("namespace", arm.namespace),
        ("service", arm.name),
        ("port", str(arm.port)),
    ):
        text = text.replace("{" + name + "}", value)
    return text


def _template(identity: MetricIdentity) -> str:
    default = "{namespace}_{service}_{port}" if identity.by is IdentityBy.SERVICE else "{revision}"
    return identity.value or default


def identity_pattern(identity: MetricIdentity, namespace: str) -> str:
    """A regular expression for what the label holds for any revision of any rollout of a namespace."""
    parts = re.split(r"\{(\w+)\}", _template(identity))
    return "".join(
        re.escape(part) if number % 2 == 0 else re.escape(namespace) if part == "namespace" else ".+"
        for number, part in enumerate(parts)
    )


def seconds_per_unit(histogram_name: str) -> float:
    """The unit of a histogram by its name: seconds, unless the name says milliseconds or it is one of Envoy's.

    Sources: Prometheus' naming practices; Envoy's statistics ("upstream_rq_time … milliseconds"); Istio's
    ``istio_request_duration_milliseconds``.
    """
    envoy = histogram_name.startswith("envoy_") and histogram_name.endswith(("_time", "_length_ms"))
    return 0.001 if envoy or histogram_name.endswith(("_milliseconds", "_ms", "_millis")) else 1.0


def belongs(key: tuple[str, str, str, str], identity: MetricIdentity, arm: Arm) -> bool:
    """Whether a series is one of the arm's."""
    namespace, pod, value, _ = key
    if identity.by is IdentityBy.POD_NAME:
        rest = pod.removeprefix(arm.name)
        return namespace == arm.namespace and rest != pod and _POD_SUFFIX.fullmatch(rest) is not None
    if identity.by is not IdentityBy.SERVICE and namespace != arm.namespace:
        return False
    return value == identity_value(identity, arm)


def _since_start(
    key: tuple[str, str, str, str],
    before: Readings,
    after: float,
    *,
    scraped: frozenset[tuple[str, str]],
    created: datetime | None,
    start: datetime,
) -> float | None:
    earlier = before.get(key)
    if earlier is not None:
        return after - earlier if after >= earlier else after
    if (key[0], key[1]) in scraped or (created is not None and created >= start):
        return after
    return None


def increments_by_bound(
    before: Readings,
    after: Readings,
    *,
    identity: MetricIdentity,
    arm: Arm,
    scraped: frozenset[tuple[str, str]],
    start: datetime,
) -> dict[str, float]:
    """Increments of an arm, summed over its series, by ``le`` ("" for plain counters).

    ``scraped``: (namespace, pod) of the targets that were being scraped at ``start``.
    """
    sums: dict[str, float] = {}
    for key, value in after.items():
        if not belongs(key, identity, arm):
            continue
        gained = _since_start(key, before, value, scraped=scraped, created=arm.pods.get(key[1]), start=start)
        if gained is not None:
            sums[key[3]] = sums.get(key[3], 0.0) + gained
    return sums


def increment(by_bound: Mapping[str, float]) -> float:
    """The increment of a plain counter."""
    return by_bound.get("", 0.0)


def histogram(by_bound: Mapping[str, float], unit: float = 1.0) -> Histogram:
    """The increments of a classic histogram; cumulative, ordered by bound. ``unit``: seconds per unit of a bound."""
    pairs = sorted((float(le) * unit, count) for le, count in by_bound.items() if le)
    return Histogram(tuple(bound for bound, _ in pairs), tuple(count for _, count in pairs))
