"""The spec of a ModelRollout: what a person writes.

These models are the single source of the CRD in ``crds/`` (see :mod:`modelrollout.api.crd`): docstrings under the
fields become ``kubectl explain``, constraints become the schema, and the rules given with :func:`rule` become CEL, each
with a message that names the remedy. Everything but the model, the workload, the traffic and the steps has a default.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field

from modelrollout.api.fields import SHOWN, Duration, ObjectName, Percent, Risk, RoleName, SomeTime, patterned
from modelrollout.api.gate import Gate
from modelrollout.api.meta import ApiModel, rule
from modelrollout.api.notifications import Notification, SecretKey
from modelrollout.api.window import Window

__all__ = [
    "Adopt",
    "Approval",
    "Catastrophe",
    "Container",
    "ContainerPort",
    "DeletionPolicy",
    "Evaluation",
    "GatewayAPI",
    "Mode",
    "Model",
    "ModelRolloutSpec",
    "OnBlind",
    "ParentRef",
    "PodMeta",
    "PodSpec",
    "PodTemplate",
    "Rollback",
    "RouteRef",
    "Scaling",
    "Step",
    "Traffic",
    "WeightStep",
    "Workload",
]


class Scaling(StrEnum):
    """How many pods the candidate gets."""

    PROPORTIONAL = "proportional"
    FULL = "full"


class DeletionPolicy(StrEnum):
    """What happens to what serves when the ModelRollout is deleted."""

    ORPHAN = "Orphan"
    DELETE = "Delete"


class Mode(StrEnum):
    """Whether verdicts act."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class OnBlind(StrEnum):
    """What to do with the weight while a gate has no data."""

    HOLD = "hold"
    RETREAT = "retreat"


HostName = Annotated[
    str,
    patterned(
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


class Metric(ApiModel):
    """One metric of a HorizontalPodAutoscaler; passed on as it is."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, max_length=63)
    """`Resource`, `Pods`, `External`, …: the rest is as autoscaling/v2 has it."""


class Autoscaling(ApiModel):
    """A HorizontalPodAutoscaler for each revision, instead of a fixed number of pods.

    While a rollout lasts the stable revision keeps at least the pods that it had when the candidate began, and the
    candidate gets as many of its own as its next weight needs before it rises.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self.min <= self.max", "min is above max: swap them, or raise max", field_path=".min"),
                rule(
                    "has(self.cpu) != (has(self.metrics) && self.metrics.size() > 0)",
                    "by what should it scale? give either cpu, a target in percent, or metrics, as autoscaling/v2 has "
                    "them",
                ),
            ]
        }
    )

    min: int = Field(default=2, ge=1, le=1000)
    """Pods that carry the traffic at the quietest time; the first revision begins with so many."""
    max: int = Field(ge=1, le=1000)
    """Pods that it may have at most."""
    cpu: int | None = Field(default=None, ge=1, le=1000)
    """Average use of CPU, in percent of what the pods request, that it keeps."""
    metrics: list[Metric] = Field(default_factory=list, max_length=10)
    """Metrics and targets, as in spec.metrics of a HorizontalPodAutoscaler (autoscaling/v2)."""


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
    """How many pods carry all the traffic. With `autoscaling` it says nothing."""
    autoscaling: Autoscaling | None = None
    """As many pods as the load needs: a HorizontalPodAutoscaler for each revision."""
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

    @property
    def least(self) -> int:
        """Pods that carry all the traffic, at the quietest time if an autoscaler says how many."""
        return self.replicas if self.autoscaling is None else self.autoscaling.min


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

    name: ObjectName
    """Name of the HTTPRoute, in the rollout's namespace."""
    rule: str | None = Field(default=None, min_length=1, max_length=253)
    """Name of the rule (`spec.rules[].name`)."""
    backend: ObjectName | None = None
    """Name of the placeholder Service in the rule. The revisions share its weight; with other backends beside it that
    weight must be a multiple of 100. Without `rule` it also finds the rule: the one that alone contains it. With
    `adopt` it is the adopted Service, and may be left out."""


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


class Adopt(ApiModel):
    """What serves users now: it is the stable revision, called `external`, until a revision of yours is promoted."""

    service: str = Field(
        min_length=1,
        max_length=63,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.matches(r'''^[a-z]([-a-z0-9]*[a-z0-9])?$''')",
                    "is not the name of a Service; write its metadata.name, without namespace, port and domain",
                )
            ]
        },
    )
    """Name of the Service, in the rollout's namespace."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the Service. Needed only when it has several."""
    deployment: ObjectName | None = None
    """Name of the Deployment behind it. After a promotion and `rollback.warmFor` it is scaled to zero, and up again by
    an undo; nothing else of it is ever touched. Without it nothing is ever scaled."""


class Approval(ApiModel):
    """People who must agree before the rollout goes on."""

    role: RoleName
    """In which role they must speak: whoever has the verb `approve-<role>` on this ModelRollout."""
    count: int = Field(default=1, ge=1, le=5)
    """How many different people. The author of the change does not count alone."""


class WeightStep(NamedTuple):
    """A step that has a weight, without those that wait for people."""

    name: str
    weight: int
    """Percent of the traffic, before a holdback."""
    hold: str


class Step(ApiModel):
    """One step on the way up: a weight that is held, or an approval that is waited for."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.weight) != has(self.approval)",
                    "a step is either a weight or an approval: give exactly one, like {weight: 10, hold: 30m} or "
                    "{approval: {role: risk}}",
                ),
                rule(
                    "!has(self.weight) || has(self.hold)",
                    "a weight is held for some time: add hold, like hold: 30m",
                    field_path=".hold",
                ),
                rule(
                    "!has(self.approval) || !has(self.hold)",
                    "an approval waits for people and not for time: leave hold out",
                    field_path=".hold",
                ),
                rule(
                    "!has(self.name) || !self.name.matches('^weight-[0-9]{1,3}$') || "
                    "(has(self.weight) && int(self.name.substring(7)) == self.weight)",
                    "is the name of the step with another weight; give a name of its own, or leave it out",
                    field_path=".name",
                ),
                rule(
                    "!has(self.name) || !self.name.startsWith('approval-') || "
                    "(has(self.approval) && self.name == 'approval-' + self.approval.role)",
                    "is the name of the approval by another role; give a name of its own, or leave it out",
                    field_path=".name",
                ),
            ]
        }
    )

    name: str | None = Field(default=None, min_length=1, max_length=63)
    """Name of the step; the default is made from its weight ("weight-10") or role ("approval-risk"). After an edit of
    the steps the position is found again by this name."""
    weight: int | None = Field(default=None, ge=1, le=100)
    """Percent of the traffic that the candidate gets."""
    hold: Duration | None = None
    """With `weight`: how long the candidate must serve at it, ready, measured and within its limits."""
    approval: Approval | None = None
    """Waits for people, at the weight of the step before (0 at the start). Gates go on judging meanwhile."""

    @property
    def title(self) -> str:
        """The step's name, given or made."""
        return self.name or (f"approval-{self.approval.role}" if self.approval else f"weight-{self.weight}")


class Catastrophe(ApiModel):
    """A breach so large that one evaluation is enough."""

    errors_above: Percent = "25%"
    """Share of failed requests (of any gate on bad events) above which the candidate is rolled back at once."""
    min_requests: int = Field(default=20, ge=1, le=1_000_000)
    """Requests needed in that evaluation."""


class OwnPrometheus(ApiModel):
    """A Prometheus of your own, or what speaks its API."""

    url: str = Field(
        min_length=1,
        max_length=512,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHostname() != '' && "
                    "!self.matches(r'''[@?#\\s]''')",
                    "is not the base of an address; write it like https://prometheus.team-a:9090, without user, "
                    "password and query",
                )
            ]
        },
    )
    """Its address. The host must be one that the operator may call (`--metric-hosts`), by `http://` only if that says
    so."""
    token: SecretKey | None = None
    """Bearer token, where it wants one."""


class Evaluation(ApiModel):
    """How the metrics are read."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.source) || !has(self.prometheus)",
                    "metrics are read from one place: give source (one of the operator's, by name) or prometheus "
                    "(your own, by address)",
                )
            ]
        }
    )

    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.matches(r'''^[a-z0-9]([-a-z0-9]*[a-z0-9])?$''')",
                    "is not the name of a source; write a name from the operator's file of sources, like platform",
                )
            ]
        },
    )
    """Which of the operator's sources of metrics all gates are read from; its default one when absent."""
    prometheus: OwnPrometheus | None = None
    """A Prometheus of your own, instead."""

    interval: SomeTime = "15s"
    """Time between two looks at the metrics; not shorter than the scrape interval."""
    min_breach_time: Duration = "30s"
    """However strong, evidence of less than this time breaches nothing, so that one burst is not enough. At least two
    looks. A catastrophe does not wait."""
    false_rollback_rate: Risk = "1%"
    """How often a model within all its limits may be rolled back, over the whole rollout, all gates together and
    however often they are looked at. Between 0.01% and 20%; shared among the gates."""
    blind_timeout: Duration = "10m"
    """A metrics outage longer than this raises an alert."""
    on_blind: OnBlind = OnBlind.HOLD
    """What happens to the weight after `blindTimeout`: `hold` keeps it, `retreat` puts all traffic back until the
    metrics return."""
    catastrophe: Catastrophe = Field(default_factory=Catastrophe, json_schema_extra=SHOWN)
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
                ),
                rule(
                    "!has(self.baselineHoldback) || self.steps.exists(s, has(s.weight) && s.weight == 100)",
                    "the holdback is what the stable revision keeps in a step of weight 100, and there is none: add "
                    "one, like {weight: 100, hold: 30m}, or leave baselineHoldback out",
                    field_path=".baselineHoldback",
                ),
                rule(
                    "!has(self.traffic.gatewayAPI.route) || has(self.traffic.gatewayAPI.route.rule) || "
                    "has(self.traffic.gatewayAPI.route.backend) || has(self.adopt)",
                    "say which rule of the route: give route.rule (its name) or route.backend (a Service in it)",
                    field_path=".traffic.gatewayAPI.route",
                ),
                rule(
                    "!has(self.adopt) || !has(self.traffic.gatewayAPI.route) || "
                    "!has(self.traffic.gatewayAPI.route.backend) || "
                    "self.traffic.gatewayAPI.route.backend == self.adopt.service",
                    "is not the Service that adopt names: what serves in the rule is what is adopted, so make them "
                    "equal or leave route.backend out",
                    field_path=".traffic.gatewayAPI.route.backend",
                ),
            ]
        }
    )

    model: Model
    """The model version that should serve."""
    workload: Workload
    """What runs it."""
    traffic: Traffic
    """How users reach it."""
    adopt: Adopt | None = None
    """What serves users now and is to be replaced step by step: it becomes the stable revision, and is left as it is.
    After the first promotion it is what an undo can go back to; leave it out when that is not wanted any more."""
    steps: list[Step] = Field(
        min_length=1,
        max_length=30,
        json_schema_extra={
            "x-kubernetes-list-type": "atomic",
            "x-kubernetes-validations": [
                rule(
                    "self.exists(s, has(s.weight))",
                    "no step has a weight, so the candidate would never be judged: add one, like {weight: 10, "
                    "hold: 30m}",
                ),
                rule(
                    "self.filter(s, has(s.weight)).map(s, s.weight).isSorted() && self.all(s, !has(s.weight) || "
                    "self.exists_one(t, has(t.weight) && t.weight == s.weight))",
                    "the weights must rise from step to step, each higher than the one before",
                ),
                rule(
                    "self.all(s, !has(s.approval) || has(s.name) || self.exists_one(t, has(t.approval) && "
                    "!has(t.name) && t.approval.role == s.approval.role))",
                    "two approvals by one role would have the same name: give one of them a name, or ask for more "
                    "people in one, like {approval: {role: risk, count: 2}}",
                ),
                rule(
                    "self.all(s, !has(s.name) || self.exists_one(t, has(t.name) && t.name == s.name))",
                    "two steps have the same name: give each its own",
                ),
            ],
        },
    )
    """The steps on the way up, weights and approvals. After the last one is done the candidate is promoted."""
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
    evaluation: Evaluation = Field(default_factory=Evaluation, json_schema_extra=SHOWN)
    """How the metrics are read."""
    rollback: Rollback = Field(default_factory=Rollback, json_schema_extra=SHOWN)
    """What is kept for going back."""
    mode: Mode = Mode.ENFORCE
    """`enforce`: verdicts act. `observe`: steps go on by time, and status, events and metrics say what would have been
    done."""
    baseline_holdback: int | None = Field(default=None, ge=1, le=5)
    """Percent of the traffic that the stable revision keeps in the step of weight 100, so that gates relative to the
    baseline see to the end. Without it they stop there at their last verdict."""
    paused: bool = False
    """Stops the steps upward; never a rollback."""
    notifications: list[Notification] = Field(
        default_factory=list,
        max_length=10,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Who is told, besides those whom the operator tells of every rollout."""
    advance_only: Window | None = None
    """Steps go up only in this window; everything else, above all a rollback, happens at any time. The hold counts
    outside it too."""
    deletion_policy: DeletionPolicy = DeletionPolicy.ORPHAN
    """`Orphan`: deleting the ModelRollout leaves the stable revision serving. `Delete`: everything goes with it."""

    @property
    def weight_steps(self) -> tuple[WeightStep, ...]:
        """The steps that have a weight, in order; at least one, as admission made sure."""
        return tuple(
            WeightStep(step.title, step.weight, step.hold or "0s") for step in self.steps if step.weight is not None
        )

    @property
    def route(self) -> RouteRef | None:
        """The rule to attach to, with the adopted Service for its placeholder when none is named."""
        ref = self.traffic.gateway_api.route
        if ref is None or ref.backend is not None or self.adopt is None:
            return ref
        return ref.model_copy(update={"backend": self.adopt.service})
