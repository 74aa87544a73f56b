"""The gates of a ModelRollout: what is measured, how the revisions are told apart, and what must hold."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from modelrollout.api.fields import SELECTOR_RULES, Duration, LimitText, MetricSelector, SomeTime, patterned
from modelrollout.api.grammar import QUANTILE_PATTERN
from modelrollout.api.meta import ApiModel, rule

__all__ = [
    "AdvanceOn",
    "Drift",
    "DriftMeasure",
    "Gate",
    "IdentityBy",
    "Latency",
    "MetricIdentity",
    "OnBreach",
    "OnUndecided",
    "Ratio",
    "Report",
    "Value",
]


class IdentityBy(StrEnum):
    """How the series of one revision are told from those of another."""

    POD_NAME = "podName"
    POD_LABEL = "podLabel"
    SERVICE = "service"
    LABEL = "label"


class DriftMeasure(StrEnum):
    """How far two distributions are apart."""

    PSI = "psi"
    KS = "ks"


class OnBreach(StrEnum):
    """What a breach of a gate does."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    WARN = "warn"


class AdvanceOn(StrEnum):
    """What a step waits for."""

    NOT_BREACHED = "notBreached"
    PROVEN = "proven"


class OnUndecided(StrEnum):
    """What happens when a gate is still undecided after its longest hold."""

    PAUSE = "pause"
    ADVANCE = "advance"
    ROLLBACK = "rollback"


class Ratio(ApiModel):
    """A share of events, from two counters."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("has(self.good) != has(self.bad)", "count either good or bad events: give exactly one of them")
            ]
        }
    )

    good: MetricSelector | None = None
    """Counter of the good events (clicks)."""
    bad: MetricSelector | None = None
    """Counter of the bad events (errors)."""
    total: MetricSelector
    """Counter of all events."""


class Latency(ApiModel):
    """A quantile, from a histogram."""

    histogram: Annotated[
        MetricSelector,
        Field(
            json_schema_extra={
                "x-kubernetes-validations": [
                    *SELECTOR_RULES,
                    rule("!self.matches('^[^{]*_bucket([{]|$)')", "names the buckets; leave _bucket out"),
                    rule(
                        "!self.matches('(^[^{]*[{]|,) *le *(=|!)')",
                        "names the label le; leave it out, the operator chooses the buckets around the limit",
                    ),
                ]
            }
        ),
    ]
    """The histogram's name without `_bucket`, in seconds."""
    quantile: Annotated[
        str,
        patterned(QUANTILE_PATTERN, 'is not a quantile; write it like "0.95" (quoted, between 0 and 1)', max_length=8),
    ] = "0.95"
    """The quantile, quoted: "0.95"."""


class Drift(ApiModel):
    """How far a distribution (of scores, of a feature) is from the baseline's, or from a reference."""

    histogram: MetricSelector
    """The histogram's name without `_bucket`. Both revisions must have the same buckets."""
    measure: DriftMeasure = DriftMeasure.PSI
    """`psi`: population stability index; `ks`: the largest distance between the cumulative shares."""
    reference: dict[str, str] | None = Field(default=None, min_length=2, max_length=64)
    """A fixed reference instead of the baseline: upper bound of each bucket (the last is "+Inf") and the share of
    events inside it, like {"0.5": "40%", "+Inf": "60%"}. The shares sum to 100%."""


class Value(ApiModel):
    """Any number that a query gives. Judged as it is, without statistics: see `for`."""

    promql: str = Field(min_length=1, max_length=2048)
    """PromQL that gives one number for one revision. {namespace}, {revision}, {service} and {pods} (a regular
    expression of the pods' names) stand for the revision that is asked about."""


class Report(ApiModel):
    """A result of an evaluation, as data in a ConfigMap of the rollout's namespace."""

    config_map: str = Field(min_length=1, max_length=253)
    """Name of the ConfigMap; {version} and {revision} stand for the candidate's."""
    key: str = Field(default="report.json", min_length=1, max_length=253)
    """Key in the ConfigMap's data that holds the JSON."""
    metric: str = Field(min_length=1, max_length=63)
    """Name of the result in the report."""


class MetricIdentity(ApiModel):
    """How the series of a revision are found."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self.by != 'label' || has(self.label)", "by: label needs the label's name: give label"),
                rule(
                    "self.by != 'podName' || !has(self.label)",
                    "by: podName reads no label of yours: say by: label, podLabel or service, or leave label out",
                    field_path=".label",
                ),
                rule(
                    "!has(self.value) || self.value.contains('{revision}') || self.value.contains('{service}')",
                    "the value must contain {revision} or {service}, or the revisions could not be told apart",
                    field_path=".value",
                ),
                rule(
                    "!has(self.value) || self.by in ['service', 'label']",
                    "value is for by: service and by: label; leave it out",
                    field_path=".value",
                ),
                rule(
                    "!has(self.value) || self.by != 'service' || self.value.contains('{namespace}')",
                    "the value must contain {namespace}, or Services of the same name in two namespaces would be "
                    "taken for one",
                    field_path=".value",
                ),
            ]
        }
    )

    by: IdentityBy = IdentityBy.POD_NAME
    """`podName` (default): the label `pod` matches the revision's Deployment, as a plain PodMonitor yields it.
    `podLabel`: a label copied from the pod holds the revision. `service`: a gateway's label names the revision's
    Service. `label`: a label set by whoever counts (a frontend) holds the revision."""
    label: (
        Annotated[
            str,
            patterned(
                "^[a-zA-Z_][a-zA-Z0-9_]*$",
                "is not the name of a metric's label; use letters, digits and underscores, like model_revision",
                max_length=128,
            ),
        ]
        | None
    ) = None
    """Name of the metric's label. Default for podLabel: modelrollout_io_revision; for service: envoy_cluster_name."""
    value: (
        Annotated[
            str,
            patterned(
                r"^([a-zA-Z0-9._/:-]|[{](revision|namespace|service|port)[}])+$",
                "may hold letters, digits, ._/:- and the placeholders {revision} {namespace} {service} {port}",
                max_length=128,
            ),
        ]
        | None
    ) = None
    """What the label holds for a revision. Default for service: {namespace}_{service}_{port}; for label: {revision}."""


class Gate(ApiModel):
    """One thing that must hold for the candidate to go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "[has(self.ratio), has(self.latency), has(self.drift), has(self.value), has(self.report)]"
                    ".filter(x, x).size() == 1",
                    "say what is measured: give exactly one of ratio, latency, drift, value, report",
                ),
                rule("has(self.atMost) != has(self.atLeast)", "say the limit: give exactly one of atMost, atLeast"),
                rule(
                    "!has(self.latency) || has(self.atMost)",
                    "a latency has an upper limit: write atMost: 200ms",
                ),
                rule(
                    "!has(self.latency) || !has(self.atMost) || self.atMost.matches('^[0-9.]+m?s$')"
                    " || self.atMost.matches('^[0-9.]+% of baseline$')",
                    'the limit of a latency is a time or relative: write atMost: 200ms or "110% of baseline"',
                    field_path=".atMost",
                ),
                rule(
                    "!has(self.ratio) || !((has(self.atMost) && self.atMost.matches('^[0-9.]+m?s$')) || "
                    "(has(self.atLeast) && self.atLeast.matches('^[0-9.]+m?s$')))",
                    'the limit of a ratio is a share, not a time: write it like 1% or "baseline + 0.2pp"',
                ),
                rule(
                    "!has(self.ratio) || has(self.ratio.good) == has(self.ratio.bad) || "
                    "has(self.atMost) == has(self.atLeast) || has(self.ratio.bad) == has(self.atMost)",
                    "the limit points the wrong way: bad events take atMost, good events take atLeast",
                ),
                rule(
                    "!has(self.ratio) || [has(self.atMost) ? self.atMost : has(self.atLeast) ? self.atLeast : '']"
                    ".all(t, t.matches('^[0-9.]+$') ? double(t) <= 1.0 : "
                    "!t.matches('^[0-9.]+%$') || double(t.replace('%', '')) <= 100.0)",
                    "the limit of a ratio is a share, at most 1 or 100%: write it like 5% or 0.05",
                ),
                rule(
                    "!has(self.ratio) || has(self.labelsWithin) || "
                    "(has(self.ratio.good) ? self.ratio.good : has(self.ratio.bad) ? self.ratio.bad : '')"
                    ".split('{')[0] == self.ratio.total.split('{')[0]",
                    "a ratio of two different events must say how late the second may come: give labelsWithin "
                    "(99 % have arrived by then), or labelsWithin: 0s if both are counted at once",
                ),
                rule("!has(self.latency) || !has(self.labelsWithin)", "labelsWithin is for ratios: leave it out"),
            ]
        }
    )

    name: str = Field(
        min_length=1,
        max_length=32,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
                    "is not a gate's name; use small letters, digits and dashes, like ctr or p95",
                )
            ]
        },
    )
    """Name of the gate, as it appears in status, events and metrics."""
    ratio: Ratio | None = None
    """A share of events: error ratio, click-through rate, conversions."""
    latency: Latency | None = None
    """A quantile of a duration."""
    drift: Drift | None = None
    """How far a distribution moved."""
    value: Value | None = None
    """Any number that a query gives."""
    report: Report | None = None
    """A result of an evaluation."""
    at_most: LimitText | None = None
    """The upper limit: 200ms, 1%, "baseline + 0.2pp", "110% of baseline"."""
    at_least: LimitText | None = None
    """The lower limit: 3%, "99% of baseline", "baseline - 0.5pp"."""
    labels_within: Duration | None = None
    """Within this time 99 % of the counted events have arrived (clicks come after impressions)."""
    min_samples: int = Field(default=100, ge=1, le=1_000_000_000)
    """As many samples are needed in each arm before there is any verdict."""
    must_see: LimitText | None = None
    """A candidate as bad as this must be sure to be noticed before a step may end without proof, like "90% of
    baseline" for a click-through rate or "baseline + 2pp" for errors. It lies beyond the limit."""
    looks: Annotated[
        str,
        patterned("^[1-9][0-9]? of [1-9][0-9]?$", 'is not a number of looks; write it like "3 of 5"', max_length=8),
    ] = Field(default="3 of 5", alias="for")
    """For `value`: so many of the last looks must be beyond the limit, "3 of 5"."""
    required: bool = True
    """`false`: the gate is judged and shown, but neither its silence nor its indecision holds anything up."""
    on_breach: OnBreach = OnBreach.ROLLBACK
    """What a breach does: `rollback`, `pause` the steps, or only `warn`."""
    advance_on: AdvanceOn = AdvanceOn.NOT_BREACHED
    """What a step waits for: `notBreached` (no harm was seen) or `proven` (shown to be within the limit)."""
    max_hold: SomeTime | None = None
    """How long a step is held at most for this gate to be decided, counted from the end of the step's own hold."""
    on_undecided: OnUndecided = OnUndecided.PAUSE
    """What happens then: `pause`, `advance` or `rollback`."""
    identity: MetricIdentity = Field(default_factory=MetricIdentity, json_schema_extra={"default": {"by": "podName"}})
    """How the series of the revisions are told apart."""
