"""What people get wrong in a manifest: small edits of the smallest ModelRollout, and what the refusal must say.

Each case is one edit (or a few that belong together) of ``manifests/samples/ranker.yaml`` or of a decision. The words
are the remedy as a person needs it; for wrong types, missing fields and unknown enum values the API server's own fixed
texts speak, so there only the field (and the choices) can be asked for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

from modelrollout.api.presets.registry import PRESETS

__all__ = ["DECISIONS", "DELETE", "FREEZES", "RIGHT", "ROLLOUTS", "UNKNOWN_FIELDS", "Right", "Wrong", "edited"]

_SECRET: Final = {"name": "s", "key": "url"}
DELETE: Final = object()
"""In an edit: take the field away."""


@dataclass(frozen=True)
class Wrong:
    """One wrong manifest."""

    name: str
    """Also the object's name, by which its refusal is found again in a batch."""
    edit: dict[str, Any]
    """Path (dots, numbers for list items) to new value."""
    field: str
    """The field that the refusal must name, as the API server writes it."""
    says: tuple[str, ...]
    """What the refusal must say."""


@dataclass(frozen=True)
class Right:
    """A manifest close to a wrong one, which must be accepted."""

    name: str
    """Also the object's name."""
    edit: dict[str, Any]
    """As in :class:`Wrong`."""


def edited(base: dict[str, Any], case: Wrong | Right, namespace: str) -> dict[str, Any]:
    """A manifest with a case's edit and name."""
    manifest = copy.deepcopy(base)
    manifest["metadata"] = {"name": case.name, "namespace": namespace}
    for path, value in case.edit.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        node: Any = manifest
        for part in parents:
            node = node[part]
        if value is DELETE:
            del node[last]
        else:
            node[last] = value
    return manifest


_GATE: Final = "spec.gates.0"
_CONTAINER: Final = "spec.workload.template.spec.containers.0"
_API: Final = "spec.traffic.gatewayAPI"


def _ratio(**limits: Any) -> dict[str, Any]:
    """One gate on errors with such a limit, as an edit."""
    metric = {"bad": 'q_total{code="500"}', "total": "q_total"}
    return {"spec.gates": [{"name": "errors", "ratio": metric, **limits}]}


def _latency(limit: dict[str, Any], **metric: Any) -> dict[str, Any]:
    """One gate on a latency, as an edit."""
    return {"spec.gates": [{"name": "p95", "latency": {"histogram": "q_seconds", **metric}, **limit}]}


def _drift(limit: Any = "0.2", measure: str = "psi", **said: Any) -> dict[str, Any]:
    """One gate on drift, as an edit; what is about the distribution itself goes below `drift`."""
    below = {key: said.pop(key) for key in ("histogram", "reference") if key in said}
    drift = {"histogram": "scores", "measure": measure} | below
    return {"spec.gates": [{"name": "scores", "drift": drift, "atMost": limit, **said}]}


_PROMQL: Final = 'max(memory_bytes{namespace="{namespace}",pod=~"{pods}"})'


def _value(promql: str = _PROMQL, **said: Any) -> dict[str, Any]:
    """One gate on a value, as an edit."""
    limit = {} if "atMost" in said or "atLeast" in said else {"atMost": "17179869184"}
    return {"spec.gates": [{"name": "memory", "value": {"promql": promql}, **limit, **said}]}


def _report(config: str = "evaluation-{version}", key: str = "report.json", **said: Any) -> dict[str, Any]:
    """One gate on a report, as an edit."""
    limit = {} if "atMost" in said or "atLeast" in said else {"atLeast": "0.9"}
    report = {"configMap": config, "key": key, "metric": "auc"}
    return {"spec.gates": [{"name": "auc", "report": report, **limit, **said}]}


def _preset(name: str, **said: Any) -> dict[str, Any]:
    """One gate by preset, as an edit."""
    return {"spec.gates": [{"name": "checked", "preset": name, **said}]}


def _selector(text: str) -> dict[str, Any]:
    return {f"{_GATE}.ratio.good": text}


def _identity(**identity: Any) -> dict[str, Any]:
    return {f"{_GATE}.identity": identity}


_MODEL: Final = (
    Wrong("version-empty", {"spec.model.version": ""}, "spec.model.version", ("at least 1 char",)),
    Wrong("version-missing", {"spec.model.version": DELETE}, "spec.model.version", ("Required",)),
    Wrong("version-number", {"spec.model.version": 42}, "spec.model.version", ("type string",)),
    Wrong("model-missing", {"spec.model": DELETE}, "spec.model", ("Required",)),
    Wrong("name-" + "x" * 36, {}, "metadata.name", ("at most 40", "begin with a letter")),
    Wrong("1st-ranker", {}, "metadata.name", ("at most 40", "begin with a letter")),
    Wrong("dotted.name", {}, "metadata.name", ("only small letters, digits and dashes",)),
)

_WORKLOAD: Final = (
    Wrong(
        "autoscaling-min-above-max",
        {"spec.workload.autoscaling": {"min": 9, "max": 3, "cpu": 70}},
        "spec.workload.autoscaling.min",
        ("min is above max", "raise max"),
    ),
    Wrong(
        "autoscaling-by-nothing",
        {"spec.workload.autoscaling": {"min": 2, "max": 3}},
        "spec.workload.autoscaling",
        ("give either cpu", "or metrics"),
    ),
    Wrong(
        "autoscaling-by-both",
        {"spec.workload.autoscaling": {"max": 3, "cpu": 70, "metrics": [{"type": "Pods"}]}},
        "spec.workload.autoscaling",
        ("give either cpu", "or metrics"),
    ),
    Wrong("replicas-0", {"spec.workload.replicas": 0}, "spec.workload.replicas", ("greater than or equal to 1",)),
    Wrong("scaling-unknown", {"spec.workload.scaling": "half"}, "spec.workload.scaling", ("proportional", "full")),
    Wrong(
        "no-containers",
        {"spec.workload.template.spec.containers": []},
        "spec.workload.template.spec.containers",
        ("at least 1 items",),
    ),
    Wrong(
        "no-image", {f"{_CONTAINER}.image": DELETE}, "spec.workload.template.spec.containers[0].image", ("Required",)
    ),
    Wrong(
        "no-probe",
        {f"{_CONTAINER}.readinessProbe": DELETE},
        "spec.workload.template",
        ("no readinessProbe", "add one", "allowWithoutReadinessProbe: true"),
    ),
    Wrong(
        "empty-probe",
        {f"{_CONTAINER}.readinessProbe": {}},
        "spec.workload.template.spec.containers[0].readinessProbe",
        ("at least 1 properties",),
    ),
    Wrong("null-probe", {f"{_CONTAINER}.readinessProbe": None}, "spec.workload.template", ("readinessProbe",)),
    Wrong(
        "deadline-nothing",
        {"spec.workload.progressDeadline": "0s"},
        "spec.workload.progressDeadline",
        ("too short", "at least 1s"),
    ),
    Wrong(
        "port-number",
        {f"{_CONTAINER}.ports": [{"containerPort": 80800}]},
        "spec.workload.template.spec.containers[0].ports[0].containerPort",
        ("less than or equal to 65535",),
    ),
    Wrong(
        "ports-ambiguous",
        {f"{_CONTAINER}.ports": [{"containerPort": 8080}, {"containerPort": 9090}]},
        "spec.traffic",
        ("not exactly one containerPort", "give traffic.port"),
    ),
    Wrong("no-port", {f"{_CONTAINER}.ports": DELETE}, "spec.traffic", ("give traffic.port",)),
)

_TRAFFIC: Final = (
    Wrong("traffic-missing", {"spec.traffic": DELETE}, "spec.traffic", ("Required",)),
    Wrong(
        "neither-route", {f"{_API}.parentRefs": DELETE}, "spec.traffic.gatewayAPI", ("either parentRefs", "or route")
    ),
    Wrong(
        "parents-and-route",
        {f"{_API}.route": {"name": "shop", "rule": "score"}, f"{_API}.hostnames": DELETE},
        "spec.traffic.gatewayAPI",
        ("either parentRefs", "or route"),
    ),
    Wrong(
        "hostnames-with-route",
        {f"{_API}.route": {"name": "shop", "rule": "score"}, f"{_API}.parentRefs": DELETE},
        "spec.traffic.gatewayAPI",
        ("hostnames belong to the HTTPRoute", "leave them out"),
    ),
    Wrong(
        "route-without-rule",
        {_API: {"route": {"name": "shop"}}},
        "spec.traffic.gatewayAPI",
        ("which rule", "route.rule", "route.backend"),
    ),
    Wrong(
        "adopt-another-than-the-placeholder",
        {_API: {"route": {"name": "shop", "backend": "old"}}, "spec.adopt": {"service": "older"}},
        "spec.traffic.gatewayAPI.route.backend",
        ("not the Service that adopt names", "make them equal or leave route.backend out"),
    ),
    Wrong(
        "adopt-a-domain",
        {"spec.adopt": {"service": "old.recs.svc"}},
        "spec.adopt.service",
        ("not the name of a Service", "without namespace, port and domain"),
    ),
    Wrong(
        "adopt-a-deployment-of-others",
        {"spec.adopt": {"service": "old", "deployment": "../../kube-system/deployments/coredns"}},
        "spec.adopt.deployment",
        ("not the name of an object", "without namespace and kind"),
    ),
    Wrong(
        "attach-to-a-route-of-others",
        {_API: {"route": {"name": "../../other/httproutes/shop", "rule": "a"}}},
        "spec.traffic.gatewayAPI.route.name",
        ("not the name of an object", "write its metadata.name"),
    ),
    Wrong(
        "placeholder-of-others",
        {_API: {"route": {"name": "shop", "backend": "shop.other"}}, "spec.adopt": {"service": "other/shop"}},
        "spec.adopt.service",
        ("not the name of a Service",),
    ),
    Wrong(
        "secret-of-others",
        {"spec.notifications": [{"name": "a", "slack": {"secretRef": {"name": "../../x/secrets/s", "key": "url"}}}]},
        "spec.notifications[0].slack.secretRef.name",
        ("not the name of an object", "write its metadata.name"),
    ),
    Wrong("adopt-nothing", {"spec.adopt": {"deployment": "old"}}, "spec.adopt.service", ("Required value",)),
    Wrong(
        "hostname-is-url",
        {f"{_API}.hostnames": ["https://ranker.example.com/"]},
        "spec.traffic.gatewayAPI.hostnames[0]",
        ("not a host name", "without scheme, port and path"),
    ),
    Wrong(
        "service-with-group",
        {f"{_API}.parentRefs": [{"kind": "Service", "name": "ranker"}]},
        "spec.traffic.gatewayAPI.parentRefs[0].group",
        ('group: ""',),
    ),
    Wrong(
        "parent-no-name",
        {f"{_API}.parentRefs": [{"namespace": "gateways"}]},
        "spec.traffic.gatewayAPI.parentRefs[0].name",
        ("Required",),
    ),
)

_STEPS: Final = (
    Wrong("no-steps", {"spec.steps": []}, "spec.steps", ("at least 1 items",)),
    Wrong("steps-missing", {"spec.steps": DELETE}, "spec.steps", ("Required",)),
    Wrong(
        "steps-many",
        {"spec.steps": [{"weight": n, "hold": "1m"} for n in range(1, 32)]},
        "spec.steps",
        ("Too many", "at most 30"),
    ),
    Wrong("weight-0", {"spec.steps.0.weight": 0}, "spec.steps[0].weight", ("greater than or equal to 1",)),
    Wrong("weight-101", {"spec.steps.2.weight": 101}, "spec.steps[2].weight", ("less than or equal to 100",)),
    Wrong("weight-percent", {"spec.steps.0.weight": "10%"}, "spec.steps[0].weight", ("type integer",)),
    Wrong(
        "weights-falling", {"spec.steps.1.weight": 5}, "spec.steps", ("weights must rise", "higher than the one before")
    ),
    Wrong("weights-equal", {"spec.steps.1.weight": 10}, "spec.steps", ("weights must rise",)),
    Wrong(
        "step-names-equal",
        {"spec.steps.0.name": "slow", "spec.steps.1.name": "slow"},
        "spec.steps",
        ("same name", "give each its own"),
    ),
    Wrong(
        "step-name-of-other",
        {"spec.steps.0.name": "weight-50"},
        "spec.steps[0].name",
        ("another weight", "a name of its own"),
    ),
    Wrong("hold-words", {"spec.steps.0.hold": "2 hours"}, "spec.steps[0].hold", ("not a duration", "1h30m")),
    Wrong("hold-bare", {"spec.steps.0.hold": "2"}, "spec.steps[0].hold", ("not a duration", "30s, 15m")),
    Wrong("hold-number", {"spec.steps.0.hold": 7200}, "spec.steps[0].hold", ("type string",)),
    Wrong("hold-days", {"spec.steps.0.hold": "7d"}, "spec.steps[0].hold", ("not a duration", "168h")),
    Wrong("hold-missing", {"spec.steps.0.hold": DELETE}, "spec.steps[0].hold", ("add hold", "hold: 30m")),
    Wrong("step-empty", {"spec.steps.0": {"name": "slow"}}, "spec.steps[0]", ("exactly one", "approval: {role: risk}")),
    Wrong(
        "step-both",
        {"spec.steps.0.approval": {"role": "risk"}},
        "spec.steps[0]",
        ("either a weight or an approval", "exactly one"),
    ),
    Wrong(
        "approval-held",
        {"spec.steps.0": {"approval": {"role": "risk"}, "hold": "1h"}},
        "spec.steps[0].hold",
        ("waits for people", "leave hold out"),
    ),
    Wrong(
        "approvals-only",
        {"spec.steps": [{"approval": {"role": "risk"}}]},
        "spec.steps",
        ("no step has a weight", "add one"),
    ),
    Wrong(
        "approvals-alike",
        {
            "spec.steps": [
                {"approval": {"role": "risk"}},
                {"weight": 10, "hold": "1h"},
                {"approval": {"role": "risk"}},
            ]
        },
        "spec.steps",
        ("the same name", "count: 2"),
    ),
    Wrong(
        "approval-name-of-other",
        {"spec.steps.0": {"name": "approval-legal", "approval": {"role": "risk"}}},
        "spec.steps[0].name",
        ("another role", "a name of its own"),
    ),
    Wrong(
        "approval-weights-falling",
        {
            "spec.steps": [
                {"weight": 50, "hold": "1h"},
                {"approval": {"role": "risk"}},
                {"weight": 10, "hold": "1h"},
            ]
        },
        "spec.steps",
        ("weights must rise",),
    ),
    Wrong(
        "role-capital",
        {"spec.steps.0": {"approval": {"role": "Risk Officer"}}},
        "spec.steps[0].approval.role",
        ("not a role", "model-owner"),
    ),
    Wrong("role-missing", {"spec.steps.0": {"approval": {}}}, "spec.steps[0].approval.role", ("Required",)),
    Wrong(
        "approval-count-0",
        {"spec.steps.0": {"approval": {"role": "risk", "count": 0}}},
        "spec.steps[0].approval.count",
        ("greater than or equal to 1",),
    ),
    Wrong(
        "approval-count-6",
        {"spec.steps.0": {"approval": {"role": "risk", "count": 6}}},
        "spec.steps[0].approval.count",
        ("less than or equal to 5",),
    ),
)

_LIMITS: Final = (
    Wrong(
        "limit-ambiguous",
        _ratio(atMost="baseline + 0.2%"),
        "spec.gates[0].atMost",
        ("two readings", "baseline + 0.2pp", "100.2% of baseline"),
    ),
    Wrong("limit-words", _ratio(atMost="no more than 1%"), "spec.gates[0].atMost", ("not a limit", "99% of baseline")),
    Wrong("limit-operator", _ratio(atMost="<= 1%"), "spec.gates[0].atMost", ("not a limit", "1%")),
    Wrong("limit-number", _ratio(atMost=0.01), "spec.gates[0].atMost", ("type string",)),
    Wrong("limit-both", _ratio(atMost="1%", atLeast="0%"), "spec.gates[0]", ("exactly one of atMost, atLeast",)),
    Wrong("limit-none", _ratio(), "spec.gates[0]", ("exactly one of atMost, atLeast",)),
    Wrong("limit-5", _ratio(atMost="5"), "spec.gates[0]", ("a share", "5% or 0.05")),
    Wrong("limit-150-percent", _ratio(atMost="150%"), "spec.gates[0]", ("at most 1 or 100%",)),
    Wrong(
        "limit-wrong-way", _ratio(atLeast="99% of baseline"), "spec.gates[0]", ("wrong way", "bad events take atMost")
    ),
    Wrong(
        "good-at-most",
        {f"{_GATE}.atLeast": DELETE, f"{_GATE}.atMost": "3%"},
        "spec.gates[0]",
        ("good events take atLeast",),
    ),
    Wrong("ratio-in-ms", _ratio(atMost="200ms"), "spec.gates[0]", ("a share, not a time", "baseline + 0.2pp")),
    Wrong("latency-in-percent", _latency({"atMost": "5%"}), "spec.gates[0].atMost", ("200ms", "110% of baseline")),
    Wrong("latency-at-least", _latency({"atLeast": "200ms"}), "spec.gates[0]", ("upper limit", "atMost: 200ms")),
    Wrong("latency-bare", _latency({"atMost": "200"}), "spec.gates[0].atMost", ("200ms",)),
)

_PRESETS: Final = (
    Wrong("preset-unknown", _preset("vlm/ttft"), "spec.gates[0].preset", ('"vlm/ttft"', '"vllm/ttft"')),
    Wrong(
        "preset-and-ratio",
        _preset("vllm/errors", ratio={"bad": 'q_total{code="5"}', "total": "q_total"}),
        "spec.gates[0]",
        ("exactly one of preset, ratio",),
    ),
    Wrong(
        "preset-at-least", _preset("vllm/errors", atLeast="99%"), "spec.gates[0].atLeast", ("upper one", "write atMost")
    ),
    Wrong("preset-errors-in-ms", _preset("envoy/errors", atMost="200ms"), "spec.gates[0]", ("a share, not a time",)),
    Wrong(
        "preset-latency-in-percent", _preset("vllm/ttft", atMost="5%"), "spec.gates[0].atMost", ("write atMost: 200ms",)
    ),
    Wrong(
        "preset-labels-within",
        _preset("vllm/errors", labelsWithin="5m"),
        "spec.gates[0].labelsWithin",
        ("counted at once", "leave it out"),
    ),
    Wrong(
        "preset-errors-quantile",
        _preset("vllm/errors", quantile="0.95"),
        "spec.gates[0].quantile",
        ("for a preset that is a latency", "leave it out"),
    ),
    Wrong(
        "quantile-without-preset",
        {f"{_GATE}.quantile": "0.95"},
        "spec.gates[0].quantile",
        ("write it into latency",),
    ),
    Wrong(
        "where-without-preset", {f"{_GATE}.where": 'model="a"'}, "spec.gates[0].where", ("into the selector itself",)
    ),
    Wrong(
        "where-no-matcher",
        _preset("triton/errors", where="ranker"),
        "spec.gates[0].where",
        ("no list of label matchers", 'model="ranker"'),
    ),
    Wrong(
        "where-namespace",
        _preset("triton/errors", where='namespace="other"'),
        "spec.gates[0].where",
        ("label namespace", "leave it out"),
    ),
    Wrong(
        "preset-must-see-within",
        _preset("vllm/errors", atMost="baseline + 1pp", mustSee="baseline + 0.5pp"),
        "spec.gates[0].mustSee",
        ("not beyond the limit",),
    ),
    Wrong("preset-for", _preset("vllm/errors", **{"for": "3 of 5"}), "spec.gates[0].for", ("leave it out",)),
)

_GATES: Final = (
    Wrong("gate-names-equal", {"spec.gates.1.name": "ctr"}, "spec.gates[1]", ("Duplicate value", "ctr")),
    Wrong("gate-name-capital", {f"{_GATE}.name": "CTR"}, "spec.gates[0].name", ("small letters", "ctr or p95")),
    Wrong("gate-no-name", {f"{_GATE}.name": DELETE}, "spec.gates[0].name", ("Required",)),
    Wrong("gate-no-metric", {f"{_GATE}.ratio": DELETE}, "spec.gates[0]", ("exactly one of preset, ratio, latency",)),
    Wrong(
        "gate-two-metrics",
        {f"{_GATE}.latency": {"histogram": "q_seconds"}},
        "spec.gates[0]",
        ("exactly one of preset, ratio, latency",),
    ),
    Wrong(
        "good-and-bad", {f"{_GATE}.ratio.bad": "misses_total"}, "spec.gates[0].ratio", ("good or bad", "exactly one")
    ),
    Wrong("neither-good-nor-bad", {f"{_GATE}.ratio.good": DELETE}, "spec.gates[0].ratio", ("exactly one",)),
    Wrong("no-total", {f"{_GATE}.ratio.total": DELETE}, "spec.gates[0].ratio", ("exactly one of total", "and others")),
    Wrong(
        "total-and-others",
        {f"{_GATE}.ratio.others": "skips_total"},
        "spec.gates[0].ratio",
        ("exactly one of total", "and others"),
    ),
    Wrong(
        "unit-unknown",
        _latency({"atMost": "200ms"}, unit="m"),
        "spec.gates[0].latency.unit",
        ('Unsupported value: "m"', '"ms"', '"us"'),
    ),
    Wrong(
        "no-labels-within",
        {f"{_GATE}.labelsWithin": DELETE},
        "spec.gates[0]",
        ("two different events", "give labelsWithin", "labelsWithin: 0s"),
    ),
    Wrong(
        "latency-labels-within",
        _latency({"atMost": "200ms", "labelsWithin": "1m"}),
        "spec.gates[0]",
        ("labelsWithin is for ratios", "leave it out"),
    ),
    Wrong("samples-0", {f"{_GATE}.minSamples": 0}, "spec.gates[0].minSamples", ("greater than or equal to 1",)),
    Wrong(
        "quantile-95",
        _latency({"atMost": "200ms"}, quantile="95"),
        "spec.gates[0].latency.quantile",
        ("not a quantile", '"0.95"'),
    ),
    Wrong(
        "quantile-number",
        _latency({"atMost": "200ms"}, quantile=0.95),
        "spec.gates[0].latency.quantile",
        ("type string",),
    ),
    Wrong(
        "histogram-bucket",
        _latency({"atMost": "200ms"}, histogram="q_seconds_bucket"),
        "spec.gates[0].latency.histogram",
        ("leave _bucket out",),
    ),
    Wrong(
        "histogram-le",
        _latency({"atMost": "200ms"}, histogram='q_seconds{le="0.2"}'),
        "spec.gates[0].latency.histogram",
        ("label le", "leave it out"),
    ),
    Wrong(
        "promql-rate",
        _selector("rate(clicks_total[5m])"),
        "spec.gates[0].ratio.good",
        ("not a metric selector", "requests_total{", "functions and ranges are added"),
    ),
    Wrong("promql-range", _selector("clicks_total[5m]"), "spec.gates[0].ratio.good", ("not a metric selector",)),
    Wrong("promql-breakout", _selector("up} or vector(1)"), "spec.gates[0].ratio.good", ("not a metric selector",)),
    Wrong(
        "promql-namespace",
        _selector('clicks_total{namespace="other"}'),
        "spec.gates[0].ratio.good",
        ("label namespace", "leave it out"),
    ),
)

_DRIFT: Final = (
    Wrong(
        "drift-at-least",
        {"spec.gates": [{"name": "scores", "drift": {"histogram": "scores"}, "atLeast": "0.2"}]},
        "spec.gates[0]",
        ("upper limit", 'atMost: "0.2"'),
    ),
    Wrong("drift-percent", _drift("20%"), "spec.gates[0].atMost", ("bare number", 'atMost: "0.2"')),
    Wrong("drift-relative", _drift("baseline + 0.2"), "spec.gates[0].atMost", ("from the baseline", 'atMost: "0.2"')),
    Wrong("drift-points", _drift("baseline + 0.2pp"), "spec.gates[0].atMost", ("bare number", 'atMost: "0.2"')),
    Wrong("drift-nothing", _drift("0"), "spec.gates[0].atMost", ("beyond 0", 'atMost: "0.2"')),
    Wrong("drift-negative", _drift("-0.2"), "spec.gates[0].atMost", ("bare number", 'atMost: "0.2"')),
    Wrong("drift-number", _drift(0.2), "spec.gates[0].atMost", ("type string",)),
    Wrong("ks-two", _drift("2", "ks"), "spec.gates[0].atMost", ("never above 1", 'atMost: "0.1"')),
    Wrong("drift-measure", _drift("0.2", "kl"), "spec.gates[0].drift.measure", ("psi", "ks")),
    Wrong("drift-buckets", _drift(histogram="scores_bucket"), "spec.gates[0].drift.histogram", ("leave _bucket out",)),
    Wrong(
        "drift-le", _drift(histogram='scores{le="1"}'), "spec.gates[0].drift.histogram", ("label le", "leave it out")
    ),
    Wrong(
        "drift-namespace",
        _drift(histogram='scores{namespace="b"}'),
        "spec.gates[0].drift.histogram",
        ("label namespace", "leave it out"),
    ),
    Wrong(
        "reference-no-end",
        _drift(reference={"0.5": "40%", "1": "60%"}),
        "spec.gates[0].drift.reference",
        ("last bucket is missing", '"+Inf"'),
    ),
    Wrong(
        "reference-sum",
        _drift(reference={"0.5": "40%", "+Inf": "100%"}),
        "spec.gates[0].drift.reference",
        ("must sum to 100%", "inside each bucket, not below it"),
    ),
    Wrong(
        "reference-bare",
        _drift(reference={"0.5": "0.4", "+Inf": "0.6"}),
        "spec.gates[0].drift.reference[0.5]",
        ("not a percentage", "25%"),
    ),
    Wrong(
        "reference-words",
        _drift(reference={"low": "40%", "+Inf": "60%"}),
        "spec.gates[0].drift.reference",
        ("upper bound of its bucket", '"0.5"'),
    ),
    Wrong(
        "reference-one", _drift(reference={"+Inf": "100%"}), "spec.gates[0].drift.reference", ("at least 2 properties",)
    ),
)

_VALUE_AND_REPORT: Final = (
    Wrong(
        "value-one-for-all",
        _value('max(memory_bytes{namespace="{namespace}"})'),
        "spec.gates[0].value.promql",
        ("must name the revision", 'pod=~"{pods}"'),
    ),
    Wrong(
        "value-any-namespace",
        _value('max(memory_bytes{pod=~"{pods}"})'),
        "spec.gates[0].value.promql",
        ("must name the namespace", 'namespace="{namespace}"'),
    ),
    Wrong(
        "value-placeholder",
        _value(_PROMQL + ' * on() a{v="{version}"}'),
        "spec.gates[0].value.promql",
        ("unknown placeholder", "{revision}", "{pods}"),
    ),
    Wrong("value-empty", _value(""), "spec.gates[0].value.promql", ("at least 1 char",)),
    Wrong("value-limit-unit", _value(atMost="16Gi"), "spec.gates[0].atMost", ("not a limit",)),
    Wrong(
        "value-two-readings",
        _value(atMost="baseline + 5%"),
        "spec.gates[0].atMost",
        ("two readings", "100.2% of baseline"),
    ),
    Wrong(
        "value-proven", _value(advanceOn="proven"), "spec.gates[0].advanceOn", ("proves nothing", "leave advanceOn out")
    ),
    Wrong(
        "value-identity",
        _value(identity={"by": "service"}),
        "spec.gates[0].identity",
        ("leave it out", "query names the revision"),
    ),
    Wrong(
        "value-labels-within",
        _value(labelsWithin="1m"),
        "spec.gates[0].labelsWithin",
        ("labelsWithin is for ratios", "leave it out"),
    ),
    Wrong(
        "value-must-see",
        _value(mustSee="18179869184"),
        "spec.gates[0].mustSee",
        ("ratios and latencies", "leave it out"),
    ),
    Wrong("for-upside-down", _value(**{"for": "5 of 3"}), "spec.gates[0].for", ("smaller number first", "3 of 5")),
    Wrong("for-duration", _value(**{"for": "5m"}), "spec.gates[0].for", ("not a number of looks", "3 of 5")),
    Wrong(
        "for-ratio",
        _ratio(atMost="1%", **{"for": "3 of 5"}),
        "spec.gates[0].for",
        ("for is for a value", "leave it out"),
    ),
    Wrong("for-drift", _drift(**{"for": "3 of 5"}), "spec.gates[0].for", ("for is for a value", "leave it out")),
    Wrong("report-percent", _report(atLeast="90%"), "spec.gates[0]", ("without a unit", "0.9")),
    Wrong("report-ms", _report(atMost="200ms"), "spec.gates[0]", ("without a unit", "the unit of the report")),
    Wrong("report-points", _report(atLeast="baseline - 2pp"), "spec.gates[0]", ("without a unit", "baseline - 0.02")),
    Wrong(
        "report-constant",
        _report("evaluation"),
        "spec.gates[0].report.configMap",
        ("must contain {version} or {revision}", "evaluation-{version}"),
    ),
    Wrong(
        "report-name",
        _report("Evaluation of {version}"),
        "spec.gates[0].report.configMap",
        ("not the name of a ConfigMap", "evaluation-{version}"),
    ),
    Wrong("report-key", _report(key="reports/auc"), "spec.gates[0].report.key", ("not a key", "report.json")),
    Wrong(
        "report-identity",
        _report(identity={"by": "label", "label": "model_revision"}),
        "spec.gates[0].identity",
        ("leave it out", "report its version"),
    ),
    Wrong(
        "report-and-ratio",
        _report(ratio={"bad": 'a{c="5"}', "total": "a"}),
        "spec.gates[0]",
        ("exactly one of preset, ratio",),
    ),
    Wrong(
        "report-labels-within",
        _report(labelsWithin="0s"),
        "spec.gates[0].labelsWithin",
        ("labelsWithin is for ratios",),
    ),
)

_SEEING: Final = (
    Wrong(
        "must-see-limit",
        _ratio(atMost="1%", mustSee="1%"),
        "spec.gates[0].mustSee",
        ("not beyond the limit", "above atMost"),
    ),
    Wrong("must-see-inside", _ratio(atMost="0.01", mustSee="0.5%"), "spec.gates[0].mustSee", ("not beyond the limit",)),
    Wrong(
        "must-see-side",
        _ratio(atMost="baseline + 0.2pp", mustSee="baseline - 2pp"),
        "spec.gates[0].mustSee",
        ("not beyond the limit", "worse than the limit"),
    ),
    Wrong(
        "must-see-better",
        {f"{_GATE}.mustSee": "101% of baseline"},
        "spec.gates[0].mustSee",
        ("not beyond the limit", "below atLeast"),
    ),
    Wrong(
        "must-see-faster",
        _latency({"atMost": "0.2s", "mustSee": "150ms"}),
        "spec.gates[0].mustSee",
        ("not beyond the limit",),
    ),
    Wrong("must-see-time", _ratio(atMost="1%", mustSee="200ms"), "spec.gates[0].mustSee", ("a share, not a time",)),
    Wrong(
        "must-see-share",
        _latency({"atMost": "200ms", "mustSee": "5%"}),
        "spec.gates[0].mustSee",
        ("a time or relative", "110% of baseline"),
    ),
    Wrong(
        "must-see-readings",
        _ratio(atMost="1%", mustSee="baseline + 2%"),
        "spec.gates[0].mustSee",
        ("two readings", "baseline + 0.2pp"),
    ),
    Wrong("must-see-200", _ratio(atMost="1%", mustSee="200%"), "spec.gates[0]", ("at most 1 or 100%",)),
    Wrong("must-see-drift", _drift(mustSee="0.4"), "spec.gates[0].mustSee", ("ratios and latencies", "leave it out")),
    Wrong(
        "limit-bare-difference",
        _ratio(atMost="baseline + 0.2"),
        "spec.gates[0]",
        ("two readings", "baseline + 0.2pp", "baseline + 20pp"),
    ),
    Wrong("limit-negative", _ratio(atMost="-0.01"), "spec.gates[0]", ("a share", "1%")),
    Wrong("latency-difference", _latency({"atMost": "baseline + 0.05"}), "spec.gates[0].atMost", ("110% of baseline",)),
    Wrong(
        "rate-nothing",
        {"spec.evaluation": {"falseRollbackRate": "0%"}},
        "spec.evaluation.falseRollbackRate",
        ("at least 0.01%", "at most 20%"),
    ),
    Wrong(
        "rate-half",
        {"spec.evaluation": {"falseRollbackRate": "50%"}},
        "spec.evaluation.falseRollbackRate",
        ("at least 0.01%", "at most 20%"),
    ),
    Wrong(
        "rate-bare",
        {"spec.evaluation": {"falseRollbackRate": "0.01"}},
        "spec.evaluation.falseRollbackRate",
        ("not a percentage", "1%"),
    ),
    Wrong(
        "breach-time-negative",
        {"spec.evaluation": {"minBreachTime": "-30s"}},
        "spec.evaluation.minBreachTime",
        ("not a duration", "30s"),
    ),
)

_EFFECTS: Final = (
    Wrong(
        "undecided-not-required",
        _ratio(atMost="1%", required=False, onUndecided="rollback"),
        "spec.gates[0].onUndecided",
        ("required: false", "make the gate required"),
    ),
    Wrong(
        "advance-not-required",
        _ratio(atMost="1%", required=False, onUndecided="advance"),
        "spec.gates[0].onUndecided",
        ("required: false", "leave onUndecided out"),
    ),
    Wrong(
        "undecided-without-end",
        _ratio(atMost="1%", onUndecided="advance"),
        "spec.gates[0].onUndecided",
        ("give maxHold",),
    ),
    Wrong(
        "undecided-warns",
        _ratio(atMost="1%", onBreach="warn", maxHold="6h", onUndecided="rollback"),
        "spec.gates[0].onUndecided",
        ("onUndecided: pause or advance",),
    ),
    Wrong(
        "undecided-unknown",
        _ratio(atMost="1%", maxHold="6h", onUndecided="fail"),
        "spec.gates[0].onUndecided",
        ("pause", "advance", "rollback"),
    ),
    Wrong(
        "hold-not-required",
        _ratio(atMost="1%", required=False, maxHold="6h"),
        "spec.gates[0].maxHold",
        ("holds no step", "leave maxHold out"),
    ),
    Wrong("hold-nothing", _ratio(atMost="1%", maxHold="0s"), "spec.gates[0].maxHold", ("too short", "at least 1s")),
    Wrong("max-hold-days", _ratio(atMost="1%", maxHold="7d"), "spec.gates[0].maxHold", ("not a duration", "168h")),
    Wrong(
        "proven-not-required",
        _ratio(atMost="1%", required=False, advanceOn="proven"),
        "spec.gates[0].advanceOn",
        ("holds no step", "leave advanceOn out"),
    ),
    Wrong(
        "proven-warns",
        _ratio(atMost="1%", onBreach="warn", advanceOn="proven"),
        "spec.gates[0].advanceOn",
        ("only warns", "onBreach: pause"),
    ),
    Wrong(
        "advance-unknown", _ratio(atMost="1%", advanceOn="passed"), "spec.gates[0].advanceOn", ("notBreached", "proven")
    ),
    Wrong(
        "breach-unknown", _ratio(atMost="1%", onBreach="alert"), "spec.gates[0].onBreach", ("rollback", "pause", "warn")
    ),
    Wrong("required-words", _ratio(atMost="1%", required="no"), "spec.gates[0].required", ("type boolean",)),
    Wrong("mode-unknown", {"spec.mode": "dryRun"}, "spec.mode", ("enforce", "observe")),
    Wrong("holdback-half", {"spec.baselineHoldback": 50}, "spec.baselineHoldback", ("less than or equal to 5",)),
    Wrong("holdback-percent", {"spec.baselineHoldback": "5%"}, "spec.baselineHoldback", ("type integer",)),
    Wrong(
        "holdback-no-step",
        {"spec.baselineHoldback": 5, "spec.steps": [{"weight": 50, "hold": "1h"}]},
        "spec.baselineHoldback",
        ("step of weight 100", "leave baselineHoldback out"),
    ),
)

_REST: Final = (
    Wrong("identity-unknown", _identity(by="pod"), "spec.gates[0].identity.by", ("podName", "podLabel", "service")),
    Wrong("identity-no-label", _identity(by="label"), "spec.gates[0].identity", ("give label",)),
    Wrong("identity-forgot-by", _identity(label="model_revision"), "spec.gates[0].identity.label", ("say by: label",)),
    Wrong(
        "identity-label-dash",
        _identity(by="label", label="model-revision"),
        "spec.gates[0].identity.label",
        ("letters, digits and underscores", "model_revision"),
    ),
    Wrong(
        "identity-pod-value",
        _identity(by="podLabel", value="{revision}"),
        "spec.gates[0].identity.value",
        ("value is for by: service and by: label", "leave it out"),
    ),
    *(
        Wrong(
            f"identity-of-another-namespace-{number}",
            _identity(by="service", value=value),
            "spec.gates[0].identity.value",
            ("letters beside {namespace}", "like {namespace}_{service}_{port}"),
        )
        for number, value in enumerate(
            ("{namespace}-prod_{service}_80", "*{namespace}_{service}", "x{namespace}.{service}")
        )
    ),
    Wrong(
        "identity-no-namespace",
        _identity(by="service", value="{service}"),
        "spec.gates[0].identity.value",
        ("must contain {namespace}",),
    ),
    Wrong(
        "identity-constant",
        _identity(by="label", label="model", value="canary"),
        "spec.gates[0].identity.value",
        ("must contain {revision} or {service}",),
    ),
    Wrong(
        "identity-placeholder",
        _identity(by="label", label="model", value="{version}"),
        "spec.gates[0].identity.value",
        ("placeholders {revision}",),
    ),
    Wrong("interval-nothing", {"spec.evaluation": {"interval": "0s"}}, "spec.evaluation.interval", ("at least 1s",)),
    Wrong(
        "catastrophe-bare",
        {"spec.evaluation": {"catastrophe": {"errorsAbove": "25"}}},
        "spec.evaluation.catastrophe.errorsAbove",
        ("not a percentage", "25%"),
    ),
    Wrong(
        "source-address",
        {"spec.evaluation": {"source": "https://prometheus"}},
        "spec.evaluation.source",
        ("not the name of a source", "like platform"),
    ),
    Wrong(
        "source-twice",
        {"spec.evaluation": {"source": "platform", "prometheus": {"url": "https://prometheus.team-a"}}},
        "spec.evaluation",
        ("one place", "give source"),
    ),
    Wrong(
        "prometheus-no-address",
        {"spec.evaluation": {"prometheus": {"url": "prometheus.team-a:9090"}}},
        "spec.evaluation.prometheus.url",
        ("like https://prometheus.team-a:9090",),
    ),
    Wrong(
        "prometheus-with-password",
        {"spec.evaluation": {"prometheus": {"url": "https://me:pw@prometheus.team-a"}}},
        "spec.evaluation.prometheus.url",
        ("without user, password",),
    ),
    Wrong("on-blind-unknown", {"spec.evaluation": {"onBlind": "fail"}}, "spec.evaluation.onBlind", ("hold", "retreat")),
    Wrong("warmup-words", {"spec.warmup": "five minutes"}, "spec.warmup", ("not a duration", "30s")),
    Wrong("keep-negative", {"spec.rollback": {"keep": -1}}, "spec.rollback.keep", ("greater than or equal to 0",)),
    Wrong("deletion-unknown", {"spec.deletionPolicy": "Keep"}, "spec.deletionPolicy", ("Orphan", "Delete")),
    Wrong("paused-words", {"spec.paused": "yes please"}, "spec.paused", ("type boolean",)),
)

_WINDOWS: Final = (
    Wrong(
        "window-day",
        {"spec.advanceOnly": {"days": ["Monday"]}},
        "spec.advanceOnly.days",
        ("Unsupported value", '"Mon"'),
    ),
    Wrong("window-no-days", {"spec.advanceOnly": {"days": []}}, "spec.advanceOnly.days", ("at least 1",)),
    Wrong(
        "window-hours",
        {"spec.advanceOnly": {"hours": "9-17"}},
        "spec.advanceOnly.hours",
        ("not a time of the day", "09:00-17:00"),
    ),
    Wrong(
        "window-hours-late",
        {"spec.advanceOnly": {"hours": "24:00-06:00"}},
        "spec.advanceOnly.hours",
        ("not a time of the day", "22:00-06:00"),
    ),
    Wrong(
        "window-hours-empty",
        {"spec.advanceOnly": {"hours": "09:00-09:00"}},
        "spec.advanceOnly.hours",
        ("begins when it ends", "00:00-24:00"),
    ),
    Wrong(
        "window-offset",
        {"spec.advanceOnly": {"timeZone": "+02:00"}},
        "spec.advanceOnly.timeZone",
        ("not the name of a time zone", "Europe/Berlin"),
    ),
    Wrong(
        "window-path",
        {"spec.advanceOnly": {"timeZone": "../../etc/passwd"}},
        "spec.advanceOnly.timeZone",
        ("not the name of a time zone", "Europe/Berlin"),
    ),
)

ROLLOUTS: Final[tuple[Wrong, ...]] = (
    *_WINDOWS,
    *_MODEL,
    *_WORKLOAD,
    *_TRAFFIC,
    *_STEPS,
    *_LIMITS,
    *_PRESETS,
    *_GATES,
    *_DRIFT,
    *_VALUE_AND_REPORT,
    *_SEEING,
    *_EFFECTS,
    *_REST,
    Wrong(
        "notify-two-ways",
        {
            "spec.notifications": [
                {"name": "a", "receiver": "chat", "slack": {"secretRef": {"name": "s", "key": "url"}}}
            ]
        },
        "spec.notifications[0]",
        ("exactly one way", "receiver (a name), or one of webhook, slack"),
    ),
    Wrong("notify-nobody", {"spec.notifications": [{"name": "a"}]}, "spec.notifications[0]", ("exactly one way",)),
    Wrong(
        "notify-about-what",
        {"spec.notifications": [{"name": "a", "about": ["pages"], "receiver": "chat"}]},
        "spec.notifications[0].about[0]",
        ("page", "ticket", "chat", "RolledBack"),
    ),
    Wrong(
        "notify-about-nothing",
        {"spec.notifications": [{"name": "a", "about": [], "receiver": "chat"}]},
        "spec.notifications[0].about",
        ("at least 1",),
    ),
    Wrong(
        "notify-no-key",
        {"spec.notifications": [{"name": "a", "slack": {"secretRef": {"name": "s"}}}]},
        "spec.notifications[0].slack.secretRef.key",
        ("Required",),
    ),
    Wrong(
        "notify-one-name",
        {"spec.notifications": [{"name": "a", "receiver": "chat"}, {"name": "a", "receiver": "mail"}]},
        "spec.notifications[1]",
        ("Duplicate",),
    ),
)
"""Wrong ModelRollouts."""

RIGHT: Final[tuple[Right, ...]] = (
    Right("adopt-in-a-route-without-rule", {_API: {"route": {"name": "shop"}}, "spec.adopt": {"service": "old"}}),
    Right("adopt-in-a-route-of-our-own", {"spec.adopt": {"service": "old", "port": 8080, "deployment": "old"}}),
    *(Right(f"right-{name.replace('/', '-')}", _preset(name)) for name in sorted(PRESETS)),
    Right(
        "right-preset-full",
        _preset("vllm/ttft", quantile="0.99", where='model_name="a/b", engine=~"0|1"', atMost="150ms", mustSee="300ms"),
    ),
    Right(
        "right-preset-identity",
        _preset(
            "traefik/errors", identity={"by": "service", "label": "s", "value": "*-svc-{namespace}-{service}@{number}"}
        ),
    ),
    Right(
        "right-others",
        {"spec.gates": [{"name": "e", "ratio": {"bad": "failures", "others": "successes"}, "atMost": "1%"}]},
    ),
    Right("right-unit", _latency({"atMost": "200ms"}, unit="us")),
    Right("right-window", {"spec.advanceOnly": {"days": ["Fri"], "hours": "22:00-06:00", "timeZone": "Etc/GMT+5"}}),
    Right("right-window-empty", {"spec.advanceOnly": {}}),
    Right(
        "right-window-day",
        {"spec.advanceOnly": {"hours": "00:00-24:00", "timeZone": "America/Argentina/Buenos_Aires"}},
    ),
    Right("right-drift", _drift("0.2")),
    Right("right-ks", _drift("0.1", "ks", advanceOn="proven", identity={"by": "podLabel"})),
    Right("right-reference", _drift(reference={"1e-05": "33.3%", "-0.5": "33.3%", "+Inf": "33.3%"})),
    Right("right-value", _value()),
    Right("right-value-negative", _value(atLeast="-40", **{"for": "1 of 1"})),
    Right("right-value-difference", _value(atMost="baseline + 12", **{"for": "99 of 99"}, maxHold="6h")),
    Right("right-value-relative", _value(atMost="110% of baseline + 5", **{"for": "9 of 10"})),
    Right("right-value-time", _value(atMost="200ms")),
    Right("right-value-share", _value(atMost="95%")),
    Right("right-value-points", _value(atMost="baseline + 0.2pp")),
    Right("right-value-quantifier", _value('sum(a{namespace="{namespace}",pod=~"{pods}",code=~"5[0-9]{2}"})')),
    Right("right-value-revision", _value('sum(a{namespace="{namespace}",model_revision="{revision}"})')),
    Right("right-report", _report()),
    Right("right-report-relative", _report("eval-{revision}", "auc_2026.json", atLeast="98% of baseline")),
    Right("right-report-difference", _report(atLeast="baseline - 0.02", advanceOn="proven")),
    Right("right-report-size", _report("{version}", atMost="17179869184")),
    Right("right-must-see", _ratio(atMost="baseline + 0.2pp", mustSee="baseline + 2pp")),
    Right("right-must-see-mixed", _ratio(atMost="baseline + 0.2pp", mustSee="5%")),
    Right("right-must-see-some", _ratio(atMost="110% of baseline", mustSee="baseline + 1pp")),
    Right("right-must-see-lower", {f"{_GATE}.mustSee": "90% of baseline"}),
    Right("right-must-see-slower", _latency({"atMost": "200ms", "mustSee": "0.25s"})),
    Right("right-must-see-relative", _latency({"atMost": "110% of baseline", "mustSee": "130% of baseline"})),
    Right("right-not-required", _ratio(atMost="1%", required=False, onBreach="rollback")),
    Right("right-warn", _ratio(atMost="1%", required=False, onBreach="warn")),
    Right("right-undecided", _ratio(atMost="1%", advanceOn="proven", maxHold="6h", onUndecided="rollback")),
    Right("right-advance", _ratio(atMost="1%", onBreach="pause", maxHold="6h", onUndecided="advance")),
    Right("right-rate-low", {"spec.evaluation": {"falseRollbackRate": "0.01%"}}),
    Right("right-rate-high", {"spec.evaluation": {"falseRollbackRate": "20%"}}),
    Right("right-source", {"spec.evaluation": {"source": "platform"}}),
    Right(
        "right-prometheus",
        {
            "spec.evaluation": {
                "prometheus": {
                    "url": "https://prometheus.team-a:9090/p",
                    "token": {"name": "prometheus", "key": "token"},
                }
            }
        },
    ),
    Right("right-no-breach-time", {"spec.evaluation": {"minBreachTime": "0s"}}),
    Right("right-holdback", {"spec.baselineHoldback": 5}),
    Right(
        "right-approvals",
        {
            "spec.steps": [
                {"approval": {"role": "risk"}},
                {"weight": 10, "hold": "1h"},
                {"name": "second", "approval": {"role": "risk", "count": 2}},
                {"weight": 50, "hold": "1h"},
                {"name": "approval-legal", "approval": {"role": "legal"}},
            ]
        },
    ),
    Right(
        "right-notify",
        {
            "spec.notifications": [
                {"name": "a", "receiver": "chat"},
                {"name": "b", "webhook": {"secretRef": _SECRET, "signingKey": "sign"}},
            ]
        },
    ),
    Right("right-observe", {"spec.mode": "observe"}),
)
"""Manifests that are right, though each looks a little like a wrong one."""

UNKNOWN_FIELDS: Final = (
    Wrong("typo-gate", {"spec.gate": []}, "spec.gate", ("unknown field",)),
    Wrong("typo-at-most", {"spec.gates.1.atmost": "1%"}, "spec.gates[1].atmost", ("unknown field",)),
)
"""Typos: refused by strict field validation, in whose message the object's name does not appear."""

DECISIONS: Final = (
    Wrong("action-unknown", {"spec.action": "stop"}, "spec.action", ("pause", "abort", "promote")),
    Wrong("action-missing", {"spec.action": DELETE}, "spec.action", ("Required",)),
    Wrong("rollout-missing", {"spec.rollout": DELETE}, "spec.rollout", ("Required",)),
    Wrong("full-abort", {"spec.full": True}, "spec.full", ("full is for action: promote", "leave it out")),
    Wrong(
        "revision-version",
        {"spec.revision": "version-42"},
        "spec.revision",
        ("not a revision", "copy it from status.candidate.revision"),
    ),
    Wrong("revision-short", {"spec.revision": "0f3c"}, "spec.revision", ("at least 8 chars",)),
    Wrong("comment-long", {"spec.comment": "x" * 1025}, "spec.comment", ("Too long", "1024")),
    Wrong(
        "freeze-abort",
        {"spec.overrideFreeze": True, "spec.comment": "why"},
        "spec.overrideFreeze",
        ("overrideFreeze is for action: promote", "leave it out"),
    ),
    Wrong(
        "freeze-silent",
        {"spec.action": "promote", "spec.overrideFreeze": True, "spec.comment": " "},
        "spec.comment",
        ("must say why", "give a comment"),
    ),
    Wrong(
        "accept-abort",
        {"spec.acceptBreached": ["ctr"], "spec.comment": "why"},
        "spec.acceptBreached",
        ("promote with full: true", "leave it out"),
    ),
    Wrong(
        "accept-step",
        {"spec.action": "promote", "spec.acceptBreached": ["ctr"], "spec.comment": "why"},
        "spec.acceptBreached",
        ("promote with full: true", "add full"),
    ),
    Wrong(
        "accept-silent",
        {"spec.action": "promote", "spec.full": True, "spec.acceptBreached": ["ctr"], "spec.comment": DELETE},
        "spec.comment",
        ("must say why", "give a comment"),
    ),
    Wrong("approve-nobody", {"spec.action": "approve"}, "spec.role", ("said in a role", "role: risk")),
    Wrong(
        "approve-silent",
        {"spec.action": "approve", "spec.role": "risk", "spec.comment": " "},
        "spec.comment",
        ("say why",),
    ),
    Wrong(
        "reject-silent",
        {"spec.action": "reject", "spec.role": "risk", "spec.comment": DELETE},
        "spec.comment",
        ("say why",),
    ),
    Wrong(
        "approve-anything",
        {"spec.action": "approve", "spec.role": "risk", "spec.comment": "fine", "spec.revision": DELETE},
        "spec.revision",
        ("of one revision", "status.candidate.revision"),
    ),
    Wrong("role-of-abort", {"spec.role": "risk"}, "spec.role", ("approve or reject", "leave it out")),
    Wrong("expires-words", {"spec.expiresAfter": "soon"}, "spec.expiresAfter", ("not a duration", "15m")),
)
"""Wrong RolloutDecisions."""

FREEZES: Final = (
    Wrong("freeze-no-reason", {"spec.reason": DELETE}, "spec.reason", ("Required",)),
    Wrong("freeze-blank", {"spec.reason": "  "}, "spec.reason", ("is empty", "say why")),
    Wrong("freeze-until-date", {"spec.until": "2026-11-30"}, "spec.until", ("not a time", "2026-11-30T09:00:00Z")),
    Wrong("freeze-until-local", {"spec.until": "2026-11-30T09:00:00"}, "spec.until", ("with its time zone",)),
    Wrong("freeze-pattern", {"spec.namespaces": ["prod-*"]}, "spec.namespaces[0]", ("not the name of a namespace",)),
    Wrong("freeze-nowhere", {"spec.namespaces": []}, "spec.namespaces", ("at least 1",)),
)
"""Wrong RolloutFreezes."""
