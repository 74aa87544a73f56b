"""The spec of a ModelRollout: what a person writes.

These models are the single source of the CRD in ``crds/`` (see :mod:`modelrollout.api.crd`): docstrings under the
fields become ``kubectl explain``, constraints become the schema, and the rules given with :func:`rule` become CEL, each
with a message that names the remedy. Everything but the model, the workload, the traffic and the steps has a default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, JsonValue

from modelrollout.api.grammar import (
    DURATION_PATTERN,
    LIMIT_PATTERN,
    PERCENT_PATTERN,
    QUANTILE_PATTERN,
    SELECTOR_PATTERN,
)
from modelrollout.api.meta import ApiModel, rule

__all__ = [
    "Catastrophe",
    "Container",
    "ContainerPort",
    "DeletionPolicy",
    "Evaluation",
    "Gate",
    "GatewayAPI",
    "IdentityBy",
    "Latency",
    "MetricIdentity",
    "Model",
    "ModelRolloutSpec",
    "OnBlind",
    "ParentRef",
    "PodMeta",
    "PodSpec",
    "PodTemplate",
    "Ratio",
    "Rollback",
    "RouteRef",
    "Scaling",
    "Step",
    "Traffic",
    "Workload",
]


def _cel(pattern: str) -> str:
    """A pattern as a CEL raw string literal."""
    return "r'''" + pattern + "'''"


_SHOWN: Final[dict[str, JsonValue]] = {"default": {}}
"""Lets the API server fill in what is below a field that was left out, so that `kubectl get -o yaml` shows it."""


def _patterned(pattern: str, what: str, *, max_length: int) -> Any:
    return Field(
        min_length=1,
        max_length=max_length,
        json_schema_extra={"x-kubernetes-validations": [rule(f"self.matches({_cel(pattern)})", what)]},
    )


Duration = Annotated[
    str, _patterned(DURATION_PATTERN, "is not a duration; write it like 30s, 15m, 1h30m or 168h", max_length=24)
]
SomeTime = Annotated[
    str,
    Field(
        min_length=1,
        max_length=24,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"self.matches({_cel(DURATION_PATTERN)})",
                    "is not a duration; write it like 30s, 15m, 1h30m or 168h",
                ),
                rule(
                    f"!self.matches({_cel(DURATION_PATTERN)}) || duration(self) >= duration('1s')",
                    "is too short; write at least 1s",
                ),
            ]
        },
    ),
]
"""A duration that makes no sense below a second."""
Percent = Annotated[str, _patterned(PERCENT_PATTERN, "is not a percentage; write it like 25% or 0.5%", max_length=16)]
_SELECTOR_RULES = (
    rule(
        f"self.matches({_cel(SELECTOR_PATTERN)})",
        "is not a metric selector; write a metric name with optional label matchers, like "
        'requests_total{code=~"5.."} (functions and ranges are added by the operator)',
    ),
    rule(
        "!self.matches('(^[^{]*[{]|,) *namespace *(=|!)')",
        "names the label namespace; leave it out, the operator adds the namespace of the rollout",
    ),
)
MetricSelector = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"x-kubernetes-validations": [*_SELECTOR_RULES]}),
]
LimitText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!self.matches('^baseline [+-] [0-9.]+%$')",
                    'has two readings; write "baseline + 0.2pp" for percentage points or "100.2% of baseline" for a '
                    "relative difference",
                ),
                rule(
                    f"self.matches('^baseline [+-] [0-9.]+%$') || self.matches({_cel(LIMIT_PATTERN)})",
                    'is not a limit; write it like 200ms, 1%, 0.02, "99% of baseline" or "baseline + 0.2pp"',
                ),
            ]
        },
    ),
]


class Scaling(StrEnum):
    """How many pods the candidate gets."""

    PROPORTIONAL = "proportional"
    FULL = "full"


class DeletionPolicy(StrEnum):
    """What happens to what serves when the ModelRollout is deleted."""

    ORPHAN = "Orphan"
    DELETE = "Delete"


class OnBlind(StrEnum):
    """What to do with the weight while a gate has no data."""

    HOLD = "hold"
    RETREAT = "retreat"


class IdentityBy(StrEnum):
    """How the series of one revision are told from those of another."""

    POD_NAME = "podName"
    POD_LABEL = "podLabel"
    SERVICE = "service"
    LABEL = "label"


HostName = Annotated[
    str,
    _patterned(
        r"^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "is not a host name; write it like ranker.example.com, without scheme, port and path",
        max_length=253,
    ),
]


class Model(ApiModel):
    """The model version that should serve."""

    version: str = Field(min_length=1, max_length=128)
    """The version's name, as people say it ("42", "2026-11-21-a"). It is part of the revision: another version is
    another rollout. Given to the pods as MODEL_VERSION."""
    uri: str = Field(default="", max_length=2048)
    """Where the artifact lies. Given to the pods as MODEL_URI; the operator itself does not read it."""
    digest: str = Field(default="", max_length=256)
    """Digest of the artifact, if you pin one."""


class PodMeta(ApiModel):
    """Labels and annotations of the pods."""

    model_config = ConfigDict(extra="allow")

    labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(default_factory=dict, max_length=64)
    """Labels of the pods. The operator adds its own under modelrollout.io/."""
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(default_factory=dict, max_length=64)
    """Annotations of the pods."""


class ContainerPort(ApiModel):
    """A port that the container listens on."""

    model_config = ConfigDict(extra="allow")

    name: str | None = Field(default=None, max_length=15)
    """Name of the port."""
    container_port: int = Field(ge=1, le=65535)
    """Number of the port."""


class Container(ApiModel):
    """A container; fields that the operator does not read are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=63)
    """Name of the container."""
    image: str = Field(min_length=1, max_length=1024)
    """Image of the container."""
    ports: list[ContainerPort] = Field(default_factory=list, max_length=16)
    """Ports of the container."""
    readiness_probe: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """When the model is loaded and can answer. Traffic goes to no pod before."""


class PodSpec(ApiModel):
    """The pod's spec; fields that the operator does not read are passed on as they are."""

    model_config = ConfigDict(extra="allow")

    containers: list[Container] = Field(min_length=1, max_length=16)
    """The containers; the first one serves the model."""


class PodTemplate(ApiModel):
    """The pods that serve the model, as in a Deployment."""

    model_config = ConfigDict(extra="allow")

    metadata: PodMeta = Field(default_factory=PodMeta)
    """Labels and annotations."""
    spec: PodSpec
    """The pod's spec."""


class Workload(ApiModel):
    """What runs the model: one Deployment and one Service for each revision."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "(has(self.allowWithoutReadinessProbe) && self.allowWithoutReadinessProbe) || "
                    "self.template.spec.containers.size() == 0 || "
                    "has(self.template.spec.containers[0].readinessProbe)",
                    "the first container has no readinessProbe, so traffic could reach a model that is still loading: "
                    "add one, or set allowWithoutReadinessProbe: true",
                    field_path=".template",
                )
            ]
        }
    )

    replicas: int = Field(default=2, ge=1, le=1000)
    """How many pods carry all the traffic."""
    scaling: Scaling = Scaling.PROPORTIONAL
    """`proportional`: the candidate has as many pods as its weight needs (at least two). `full`: all of them from the
    first step on."""
    template: PodTemplate
    """The pods."""
    allow_without_readiness_probe: bool = False
    """Accept a first container without readinessProbe."""
    progress_deadline: SomeTime = "30m"
    """How long the candidate's pods may make no progress in starting, counted from when they were scheduled. Waiting
    for a node with room does not count."""


class ParentRef(ApiModel):
    """The Gateway (or, in a mesh, the Service) that the route hangs on."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.kind != 'Service' || self.group == ''",
                    'a Service is in the group without a name: write group: "" beside kind: Service',
                    field_path=".group",
                )
            ]
        }
    )

    group: str = Field(default="gateway.networking.k8s.io", max_length=253)
    """API group of the parent; empty for a Service."""
    kind: str = Field(default="Gateway", max_length=63)
    """`Gateway` or `Service`."""
    name: str = Field(min_length=1, max_length=253)
    """Name of the parent."""
    namespace: str | None = Field(default=None, max_length=63)
    """Namespace of the parent; the rollout's own when absent."""
    section_name: str | None = Field(default=None, max_length=253)
    """Name of the listener."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the parent."""


class RouteRef(ApiModel):
    """A rule in an HTTPRoute that you own."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the HTTPRoute, in the rollout's namespace."""
    rule: str | None = Field(default=None, min_length=1, max_length=253)
    """Name of the rule (`spec.rules[].name`)."""
    backend: str | None = Field(default=None, min_length=1, max_length=253)
    """Name of the placeholder Service in the rule. The revisions share its weight; with other backends beside it that
    weight must be a multiple of 100. Without `rule` it also finds the rule: the one that alone contains it."""


class GatewayAPI(ApiModel):
    """Traffic by a Gateway API HTTPRoute."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.parentRefs) != has(self.route)",
                    "give either parentRefs (the operator makes an HTTPRoute of its own) or route (a rule in an "
                    "HTTPRoute of yours)",
                ),
                rule(
                    "!has(self.route) || !has(self.hostnames)",
                    "hostnames belong to the HTTPRoute: leave them out when route names one of yours",
                ),
                rule(
                    "!has(self.route) || has(self.route.rule) || has(self.route.backend)",
                    "say which rule of the route: give route.rule (its name) or route.backend (a Service in it)",
                ),
            ]
        }
    )

    parent_refs: list[ParentRef] | None = Field(default=None, min_length=1, max_length=8)
    """Gateways that the operator's own HTTPRoute hangs on."""
    hostnames: list[HostName] | None = Field(default=None, min_length=1, max_length=16)
    """Host names of the operator's own HTTPRoute."""
    route: RouteRef | None = None
    """A rule in an HTTPRoute that you own. Only the backends of that rule are touched."""


class Traffic(ApiModel):
    """How users reach the model."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """The container's port. Needed only when the template has not exactly one."""
    gateway_api: GatewayAPI = Field(alias="gatewayAPI")
    """Traffic by a Gateway API HTTPRoute."""


class Step(ApiModel):
    """One step on the way up."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.name) || !self.name.matches('^weight-[0-9]{1,3}$') || "
                    "int(self.name.substring(7)) == self.weight",
                    "is the name of the step with another weight; give a name of its own, or leave it out",
                    field_path=".name",
                )
            ]
        }
    )

    name: str | None = Field(default=None, min_length=1, max_length=63)
    """Name of the step; the default is made from its weight ("weight-10"). After an edit of the steps the position is
    found again by this name."""
    weight: int = Field(ge=1, le=100)
    """Percent of the traffic that the candidate gets."""
    hold: Duration
    """How long the candidate must serve at this weight, ready, measured and within its limits."""

    @property
    def title(self) -> str:
        """The step's name, given or made."""
        return self.name or f"weight-{self.weight}"


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
                    *_SELECTOR_RULES,
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
        _patterned(QUANTILE_PATTERN, 'is not a quantile; write it like "0.95" (quoted, between 0 and 1)', max_length=8),
    ] = "0.95"
    """The quantile, quoted: "0.95"."""


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
            _patterned(
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
            _patterned(
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
                    "has(self.ratio) != has(self.latency)", "say what is measured: give exactly one of ratio, latency"
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
    at_most: LimitText | None = None
    """The upper limit: 200ms, 1%, "baseline + 0.2pp", "110% of baseline"."""
    at_least: LimitText | None = None
    """The lower limit: 3%, "99% of baseline", "baseline - 0.5pp"."""
    labels_within: Duration | None = None
    """Within this time 99 % of the counted events have arrived (clicks come after impressions)."""
    min_samples: int = Field(default=100, ge=1, le=1_000_000_000)
    """As many samples are needed in each arm before there is any verdict."""
    identity: MetricIdentity = Field(default_factory=MetricIdentity, json_schema_extra={"default": {"by": "podName"}})
    """How the series of the revisions are told apart."""


class Catastrophe(ApiModel):
    """A breach so large that one evaluation is enough."""

    errors_above: Percent = "25%"
    """Share of failed requests (of any gate on bad events) above which the candidate is rolled back at once."""
    min_requests: int = Field(default=20, ge=1, le=1_000_000)
    """Requests needed in that evaluation."""


class Evaluation(ApiModel):
    """How the metrics are read."""

    interval: SomeTime = "15s"
    """Time between two looks at the metrics; not shorter than the scrape interval."""
    min_breach_time: Duration = "30s"
    """A breach must last this long, so that one burst is not enough. A catastrophe does not wait."""
    blind_timeout: Duration = "10m"
    """A metrics outage longer than this raises an alert."""
    on_blind: OnBlind = OnBlind.HOLD
    """What happens to the weight after `blindTimeout`: `hold` keeps it, `retreat` puts all traffic back until the
    metrics return."""
    catastrophe: Catastrophe = Field(default_factory=Catastrophe, json_schema_extra=_SHOWN)
    """A breach so large that one evaluation is enough."""


class Rollback(ApiModel):
    """What is kept for going back."""

    keep: int = Field(default=1, ge=0, le=10)
    """How many earlier promoted revisions are kept; later ones are deleted."""
    warm_for: Duration = "1h"
    """How long the previous revision keeps its pods after a promotion; then it is scaled to zero, its objects stay."""


class ModelRolloutSpec(ApiModel):
    """What should serve, and how it gets there."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.traffic.port) || self.workload.template.spec.containers.size() == 0 || "
                    "self.workload.template.spec.containers"
                    ".map(c, has(c.ports) ? c.ports.size() : 0).sum() == 1",
                    "the template has not exactly one containerPort, so the port that serves is unknown: give "
                    "traffic.port",
                    field_path=".traffic",
                )
            ]
        }
    )

    model: Model
    """The model version that should serve."""
    workload: Workload
    """What runs it."""
    traffic: Traffic
    """How users reach it."""
    steps: list[Step] = Field(
        min_length=1,
        max_length=30,
        json_schema_extra={
            "x-kubernetes-list-type": "atomic",
            "x-kubernetes-validations": [
                rule(
                    "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
                    "the weights must rise from step to step, each higher than the one before",
                ),
                rule(
                    "self.all(s, !has(s.name) || self.exists_one(t, has(t.name) && t.name == s.name))",
                    "two steps have the same name: give each its own",
                ),
            ],
        },
    )
    """The steps on the way up. After the last one is done the candidate is promoted."""
    gates: list[Gate] = Field(
        default_factory=list,
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """What must hold."""
    warmup: Duration = "5m"
    """After each raise, and for pods younger than this, gates collect but do not judge."""
    drain_delay: Duration = "30s"
    """How long a revision that lost its traffic keeps answering what is in flight."""
    evaluation: Evaluation = Field(default_factory=Evaluation, json_schema_extra=_SHOWN)
    """How the metrics are read."""
    rollback: Rollback = Field(default_factory=Rollback, json_schema_extra=_SHOWN)
    """What is kept for going back."""
    paused: bool = False
    """Stops the steps upward; never a rollback."""
    deletion_policy: DeletionPolicy = DeletionPolicy.ORPHAN
    """`Orphan`: deleting the ModelRollout leaves the stable revision serving. `Delete`: everything goes with it."""
