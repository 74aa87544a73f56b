"""The gates of a ModelRollout: what is measured, how the revisions are told apart, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from modelrollout.api.fields import (
    Duration,
    HistogramSelector,
    LimitText,
    Looks,
    Matchers,
    MetricSelector,
    Percent,
    SomeTime,
    patterned,
    ruled,
)
from modelrollout.api.gate_rules import DRIFT_RULES, GATE_RULES, IDENTITY_RULES, PROMQL_RULES, RATIO_RULES
from modelrollout.api.grammar import (
    QUANTILE_PATTERN,
    Limit,
    parse_limit,
    parse_looks,
    parse_reference,
)
from modelrollout.api.memo import once
from modelrollout.api.meta import ApiModel, rule
from modelrollout.api.presets.registry import PRESETS, expanded

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
    "TimeUnit",
    "Value",
]


class IdentityBy(StrEnum):
    """How the series of one revision are told from those of another."""

    POD_NAME = "podName"
    POD_LABEL = "podLabel"
    SERVICE = "service"
    LABEL = "label"


class TimeUnit(StrEnum):
    """What a histogram's bounds are in."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"


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


Quantile = Annotated[
    str,
    patterned(QUANTILE_PATTERN, 'is not a quantile; write it like "0.95" (quoted, between 0 and 1)', max_length=8),
]


class Ratio(ApiModel):
    """A share of events, from two counters."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*RATIO_RULES]})

    good: MetricSelector | None = None
    """Counter of the good events (clicks)."""
    bad: MetricSelector | None = None
    """Counter of the bad events (errors)."""
    total: MetricSelector | None = None
    """Counter of all events."""
    others: MetricSelector | None = None
    """In place of `total`, where nobody counts all events: counter of those that are not counted above (successes
    beside failures). All events are both together."""

    @property
    def counted(self) -> str:
        """The selector of the good or the bad events."""
        return self.good or self.bad or ""

    @property
    def rest(self) -> str:
        """The selector of all events, or of all others."""
        return self.total or self.others or ""


class Latency(ApiModel):
    """A quantile, from a histogram."""

    histogram: HistogramSelector
    """The histogram's name without `_bucket`. In seconds, unless its name (or `unit`) says otherwise."""
    quantile: Quantile = "0.95"
    """The quantile, quoted: "0.95"."""
    unit: TimeUnit | None = None
    """Unit of the histogram's bounds, where its name does not say it: `s`, `ms` or `us`. Limits say their own."""


class Drift(ApiModel):
    """How far a distribution (of scores, of a feature) is from the baseline's, or from a reference."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*DRIFT_RULES]})

    histogram: HistogramSelector
    """The histogram's name without `_bucket`. Both revisions must have the same buckets."""
    measure: DriftMeasure = DriftMeasure.PSI
    """`psi`: population stability index, from 0 up; `ks`: largest distance between the cumulative shares, 0 to 1."""
    reference: dict[str, Percent] | None = Field(default=None, min_length=2, max_length=64)
    """A fixed reference instead of the baseline: upper bound of each bucket (the last is "+Inf") and the share of
    events inside it (not below it), like {"0.5": "40%", "+Inf": "60%"}. The shares sum to 100%."""

    @property
    def reference_shares(self) -> tuple[tuple[float, float], ...] | None:
        """The reference as pairs of (upper bound, share inside the bucket), rising; None without one.

        Raises
        ------
        ValueError
            If it is no distribution; the message says what is wrong with it.
        """
        return None if self.reference is None else parse_reference(self.reference)


class Value(ApiModel):
    """Any number that a query gives. Judged as it is, without statistics: see `for`."""

    promql: Annotated[str, ruled(*PROMQL_RULES, max_length=2048)]
    """PromQL that gives one number for one revision. {namespace}, {revision}, {service} and {pods} (a regular
    expression of the pods' names) stand for the revision that is asked about. It must name {namespace} and one of the
    others, like sum(gpu_memory_bytes{namespace="{namespace}",pod=~"{pods}"})."""


class Report(ApiModel):
    """A result of an evaluation, as data in a ConfigMap of the rollout's namespace."""

    config_map: Annotated[
        str,
        ruled(
            rule(
                "self.matches(r'^([a-z0-9]|[{](version|revision)[}])([a-z0-9.-]|[{](version|revision)[}])*$')",
                "is not the name of a ConfigMap; use small letters, digits, dashes and dots with {version} or "
                "{revision}, like evaluation-{version}",
            ),
            rule(
                "self.contains('{version}') || self.contains('{revision}')",
                "must contain {version} or {revision}, or the report of another version would be taken for the "
                "candidate's; write it like evaluation-{version}",
            ),
            max_length=253,
        ),
    ]
    """Name of the ConfigMap; {version} and {revision} stand for the candidate's."""
    key: Annotated[
        str,
        patterned(
            "^[-._a-zA-Z0-9]+$",
            "is not a key of a ConfigMap; use letters, digits, dashes, dots and underscores, like report.json",
            max_length=253,
        ),
    ] = "report.json"
    """Key in the ConfigMap's data that holds the JSON."""
    metric: str = Field(min_length=1, max_length=63)
    """Name of the result in the report, like auc or size."""


class MetricIdentity(ApiModel):
    """How the series of a revision are found."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*IDENTITY_RULES]})

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
                r"^([a-zA-Z0-9._/:@*-]|[{](revision|namespace|service|port|number)[}])+$",
                "may hold letters, digits, ._/:@- and the placeholders {revision} {namespace} {service} {port} "
                "{number} and *",
                max_length=128,
            ),
        ]
        | None
    ) = None
    """What the label holds for a revision. Default for service: {namespace}_{service}_{port}; for label: {revision}.
    {number} stands for any digits and * for anything, where a gateway puts something of its own into it."""


class Gate(ApiModel):
    """One thing that must hold for the candidate to go on."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*GATE_RULES]})

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
    preset: Annotated[str, Field(json_schema_extra={"enum": sorted(PRESETS)})] | None = None
    """In place of ratio or latency: what a known server or gateway exports, like vllm/ttft (docs/presets.md lists
    them). It brings metric, unit, identity and, if none is given, the limit."""
    quantile: Quantile | None = None
    """For a preset that is a latency: the quantile, quoted. "0.95" when absent."""
    where: Matchers | None = None
    """For a preset: label matchers that its series must have too, like 'model="ranker"' where one server has several
    models."""
    ratio: Ratio | None = None
    """A share of events: error ratio, click-through rate, conversions."""
    latency: Latency | None = None
    """A quantile of a duration."""
    drift: Drift | None = None
    """How far a distribution of scores or of a feature moved from the baseline's, or from a reference."""
    value: Value | None = None
    """Any number that a query gives, against a plain threshold."""
    report: Report | None = None
    """A result of an evaluation outside of the rollout (AUC, size, latency per batch size), as data in a ConfigMap."""
    at_most: LimitText | None = None
    """The upper limit: 200ms, 1%, "baseline + 0.2pp", "110% of baseline"; of a drift "0.2"; of a value or a report any
    number too, like 512 or "baseline + 12". In a value, times are seconds and percents are shares."""
    at_least: LimitText | None = None
    """The lower limit: 3%, "99% of baseline", "baseline - 0.5pp"; of a value or a report any number too, like 0.9 or
    "baseline - 0.02"."""
    labels_within: Duration | None = None
    """Only for a ratio of different events: within this time 99 % of the counted events have arrived (clicks come
    after impressions)."""
    min_samples: int = Field(default=100, ge=1, le=1_000_000_000)
    """As many samples are needed in each arm before there is any verdict: events of a ratio, requests of a latency,
    observations of a drift. For a `report`: the examples that were evaluated, where the report says how many. A `value`
    has no samples: see `for`."""
    must_see: LimitText | None = None
    """For a ratio or a latency: a candidate as bad as this must be sure to be noticed before a step may end without
    proof, like "90% of baseline" for a click-through rate or "baseline + 2pp" for errors. It lies beyond the limit.
    Of a latency it is the quantile of a candidate that is slower by the same factor in every request. Without it, a
    candidate as bad as can be must be noticed."""
    looks: Looks | None = Field(default=None, alias="for")
    """For `value`: so many of the last looks must be beyond the limit before it is a breach; "3 of 5" when absent. A
    look without a number counts for nothing."""
    required: bool = True
    """`false`: the gate is judged and shown, and a breach acts as `onBreach` says, but neither its silence nor its
    indecision holds anything up."""
    on_breach: OnBreach = OnBreach.ROLLBACK
    """What a breach does: `rollback`, `pause` the steps, or only `warn`."""
    advance_on: AdvanceOn = AdvanceOn.NOT_BREACHED
    """What a step waits for: `notBreached` (no harm was seen, and what `mustSee` names would have been) or `proven`
    (shown to be within the limit; never for a `value`)."""
    max_hold: SomeTime | None = None
    """How long a step is held at most for this gate to be decided, counted from the end of the step's own hold. Without
    it, as long as it takes."""
    on_undecided: OnUndecided = OnUndecided.PAUSE
    """What happens at the end of `maxHold`: `pause`, `advance` or `rollback`."""
    identity: MetricIdentity = Field(default_factory=MetricIdentity, json_schema_extra={"default": {"by": "podName"}})
    """How the series of the revisions are told apart, for a ratio, a latency or a drift. A gateway's preset brings its
    own in place of podName."""

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        """Expand the preset here, where every manifest is read, whoever reads it: nobody else need know of presets."""
        return expanded(given) if isinstance(given, Mapping) else given

    @property
    @once
    def kind(self) -> str:
        """What is measured: the name of the one field that is there (ratio, latency, drift, value, report).

        Raises
        ------
        ValueError
            If there is not exactly one.
        """
        found = [kind for kind in ("ratio", "latency", "drift", "value", "report") if getattr(self, kind) is not None]
        if len(found) != 1:
            given = ", ".join(found) or "none"
            raise ValueError(f"gate {self.name}: give exactly one of ratio, latency, drift, value, report, not {given}")
        return found[0]

    @property
    @once
    def limit(self) -> Limit:
        """The limit in numbers, as it fits what is measured.

        Raises
        ------
        ValueError
            If there is none, two, or one that does not fit; the message names the gate, the limit and the remedy.
        """
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"gate {self.name}: say the limit: give exactly one of atMost, atLeast")
        field = "atMost" if self.at_least is None else "atLeast"
        found = self._read(field, self.at_most or self.at_least or "")
        if self.drift is not None:
            self._check_distance(found, self.drift.measure)
        return found

    @property
    def must_see_limit(self) -> Limit | None:
        """`mustSee` in numbers; None without one.

        Raises
        ------
        ValueError
            If it does not fit what is measured, or does not lie beyond the limit.
        """
        if self.must_see is None:
            return None
        found = self._read("mustSee", self.must_see)
        if not found.may_be_beyond(self.limit, at_least=self.at_least is not None):
            worse = "below" if self.at_least is not None else "above"
            raise ValueError(
                f'gate {self.name}: mustSee: "{self.must_see}" is not beyond the limit "{self.limit.text}": name a '
                f"candidate that is worse, {worse} it"
            )
        return found

    @property
    def looks_needed(self) -> tuple[int, int]:
        """How many of how many looks must be beyond the limit of a value.

        Raises
        ------
        ValueError
            If `for` cannot be read.
        """
        return parse_looks(self.looks or "3 of 5")

    def _check_distance(self, limit: Limit, measure: DriftMeasure) -> None:
        if self.at_least is not None:
            raise ValueError(f'gate {self.name}: a drift has an upper limit: write atMost: "{limit.text}"')
        if limit.offset <= 0.0:
            raise ValueError(
                f'gate {self.name}: atMost: "{limit.text}": two samples of one distribution are a little apart too, so '
                'every candidate is beyond 0: write atMost: "0.2"'
            )
        if measure is DriftMeasure.KS and limit.offset >= 1.0:
            raise ValueError(
                f'gate {self.name}: atMost: "{limit.text}": the ks distance is never above 1, so this limit would '
                'never be broken: write atMost: "0.1"'
            )

    def _read(self, field: str, text: str) -> Limit:
        kind = self.kind
        try:
            return parse_limit(text, kind=kind)
        except ValueError as error:
            raise ValueError(f"gate {self.name}: {field}: {error}") from error
