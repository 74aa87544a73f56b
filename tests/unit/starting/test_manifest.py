"""The manifest that takes over what serves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from modelrollout.api.presets.registry import PRESETS
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.engine.gate_tests import compiled
from modelrollout.gates.evidence import Histogram
from modelrollout.lint.manifests import lint
from modelrollout.starting.evidence import Seen
from modelrollout.starting.gates import Proposal, propose
from modelrollout.starting.manifest import Draft, draft, to_yaml
from modelrollout.starting.serving import Asked, UnclearError, find_serving
from tests.unit.starting.objects import deployment, namespace, route, rule, service

Body = dict[str, Any]


def _draft(name: str = "ranker", proposal: Proposal | None = None, asked: Asked | None = None, **objects: Any) -> Draft:
    serving = find_serving(namespace(**objects), asked or Asked("ranker"))
    return draft(serving, proposal or propose([]), name=name, evidence="because")


def _seen(preset: str, rate: float, bad: float | None = None) -> Seen:
    if bad is not None:
        return Seen(PRESETS[preset], rate, bad)
    counts = tuple(3600.0 * rate * share for share in (0.5, 0.9, 0.96, 0.999, 1.0))
    return Seen(PRESETS[preset], rate, durations=Histogram((0.05, 0.1, 0.25, 0.5, float("inf")), counts))


def test_it_can_be_read_by_the_operator_and_says_the_same_in_yaml() -> None:
    made = _draft(proposal=propose([_seen("envoy/errors", 20.0, 0.01), _seen("envoy/latency", 20.0)]))
    assert yaml.safe_load(to_yaml(made)) == made.body
    spec = ModelRolloutSpec.model_validate(made.body["spec"])
    assert [compiled(gate, spec).start() is not None for gate in spec.gates] == [True, True]
    assert made.body["spec"]["adopt"] == {"service": "ranker", "port": 80, "deployment": "ranker"}
    assert made.body["spec"]["traffic"] == {"gatewayAPI": {"route": {"name": "ranker", "backend": "ranker"}}}
    assert all(len(line) <= 120 for line in to_yaml(made).splitlines())
    assert not lint({"ranker.yaml": to_yaml(made)}).findings, "neither errors nor advice"


def test_new_pods_do_not_carry_what_the_adopted_service_selects_by() -> None:
    """Or they would get its traffic before the first step."""
    made = _draft(services=[service(app="ranker", team="recs")])
    assert "metadata" not in made.body["spec"]["workload"]["template"]
    assert any("app: ranker, team: recs" in one for one in made.look_at)
    assert _draft().body["spec"]["workload"]["template"]["metadata"] == {"labels": {"team": "recs"}}


def test_variables_that_the_operator_sets_become_the_model() -> None:
    """A value in the template would win over the operator's, and never change again."""
    body = deployment()
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "MODEL_VERSION", "value": "41"}, {"name": "MODEL_URI", "value": "s3://models/41"}]
    made = _draft(deployments=[body])
    assert made.body["spec"]["model"] == {"version": "41", "uri": "s3://models/41"}
    assert "env" not in made.body["spec"]["workload"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "MODEL_VERSION", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "v"}}}]
    kept = _draft(deployments=[body]).body["spec"]
    assert kept["model"] == {"version": "1.8"}
    assert kept["workload"]["template"]["spec"]["containers"][0]["env"] == container["env"]


@pytest.mark.parametrize(
    ("image", "labels", "version"),
    [
        ("registry.example:5000/ranker:1.8", {}, "1.8"),
        ("ranker:1.8@sha256:0123456789abcdef", {}, "1.8"),
        ("ranker@sha256:0123456789abcdef", {}, "0123456789ab"),
        ("registry.example:5000/ranker", {}, "1"),
        ("ranker:1.8", {"app.kubernetes.io/version": "2.0"}, "2.0"),
    ],
)
def test_the_version_is_what_the_pods_or_the_image_say(image: str, labels: Body, version: str) -> None:
    body = deployment()
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    body["spec"]["template"]["metadata"]["labels"] |= labels
    assert _draft(deployments=[body]).body["spec"]["model"]["version"] == version


def test_what_a_person_has_to_look_at_is_said() -> None:
    body = deployment()
    containers = body["spec"]["template"]["spec"]["containers"]
    del containers[0]["readinessProbe"]
    containers.insert(0, {"name": "proxy", "image": "p:1", "ports": [{"containerPort": 15001}]})
    autoscaler: dict[str, Any] = {
        "metadata": {"name": "ranker-hpa"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "ranker"}, "minReplicas": 2, "maxReplicas": 9},
    }
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    autoscaler["spec"] |= {"metrics": [{"type": "Resource", "resource": cpu}], "behavior": {"scaleDown": {}}}
    made = _draft(
        deployments=[body],
        routes=[route(rule("ranker", "search", weight=1, name="a"), rule("ranker", name="b"))],
        autoscalers=[autoscaler],
        asked=Asked("ranker", rule="a"),
    )
    spec, text = made.body["spec"], to_yaml(made)
    assert spec["workload"]["allowWithoutReadinessProbe"] is True
    assert spec["workload"]["autoscaling"] == {"min": 2, "max": 9, "cpu": 60}
    assert [one["name"] for one in spec["workload"]["template"]["spec"]["containers"]] == ["server", "proxy"]
    assert spec["traffic"] == {
        "port": 8080,
        "gatewayAPI": {"route": {"name": "ranker", "rule": "a", "backend": "ranker"}},
    }
    for words in ("like ranker-hpa", "make it a multiple of 100", "(rule b) leads"):
        assert words in text
    assert len(made.look_at) == 6


def test_a_name_that_no_rollout_can_have_is_refused() -> None:
    for name in ("1st", "a" * 41, "a.b"):
        with pytest.raises(UnclearError, match="cannot be the name"):
            _draft(name=name)


def test_without_metrics_there_are_steps_and_a_warning() -> None:
    made = _draft()
    assert made.body["spec"]["gates"] == []
    assert [step["weight"] for step in made.body["spec"]["steps"]] == [10, 50, 100]
    assert "gates: there are none" in made.look_at


def test_errors_are_counted_where_users_meet_them_and_latencies_near_the_model() -> None:
    names = ("vllm/errors", "envoy/errors"), ("vllm/ttft", "vllm/tpot", "envoy/latency")
    found = propose([*(_seen(one, 50.0, 0.001) for one in names[0]), *(_seen(one, 50.0) for one in names[1])])
    assert [said.entry["preset"] for said in found.gates] == ["envoy/errors", "vllm/ttft", "vllm/tpot"]


def test_more_traffic_allows_a_tighter_limit_and_a_shorter_hold() -> None:
    def limits(rate: float) -> tuple[str, str]:
        found = propose([_seen("envoy/errors", rate, 0.001)])
        return str(found.gates[0].entry["atMost"]), str(found.steps[0].entry["hold"])

    assert limits(5_000.0) == ("baseline + 0.1pp", "30m")
    assert limits(1.0)[0] == "baseline + 1pp"
    busy, quiet = limits(50.0), limits(0.01)
    assert float(busy[0].split()[2][:-2]) < 1.0
    assert quiet == ("baseline + 1pp", "24h")


def test_a_limit_leaves_what_the_service_does_today() -> None:
    found = propose([_seen("tfserving/errors", 500.0, 0.05), _seen("tfserving/latency", 500.0)])
    errors, latency = (said.entry for said in found.gates)
    assert errors["atMost"] == "baseline + 3pp", "half of today's 5 %"
    assert latency["atMost"] == "500ms", "p95 is 225 ms: the bound of 250 ms leaves too little"
    assert not found.warnings


def test_where_no_limit_is_absolute_one_percent_stays_behind_to_compare_with() -> None:
    made = _draft(proposal=propose([_seen("envoy/errors", 50.0, 0.001)]))
    assert made.body["spec"]["baselineHoldback"] == 1
    assert "baselineHoldback" not in _draft(proposal=propose([_seen("envoy/latency", 50.0)])).body["spec"]


def test_two_servers_in_one_pod_get_gates_of_different_names() -> None:
    found = propose([_seen("vllm/latency", 50.0), _seen("bentoml/latency", 50.0)])
    assert [said.entry["name"] for said in found.gates] == ["vllm-latency", "bentoml-latency"]


def test_metrics_that_nobody_uses_now_are_no_gates_when_others_are_used() -> None:
    found = propose([Seen(PRESETS["envoy/errors"], 0.0), _seen("vllm/errors", 50.0, 0.001), _seen("vllm/ttft", 50.0)])
    assert [said.entry["preset"] for said in found.gates] == ["vllm/errors", "vllm/ttft"]


def test_a_service_without_traffic_gets_the_usual_limits_and_is_told() -> None:
    found = propose([Seen(PRESETS["envoy/errors"], 0.0), Seen(PRESETS["envoy/latency"], 0.0)])
    assert [said.entry["atMost"] for said in found.gates] == ["baseline + 0.5pp", "120% of baseline"]
    assert "no traffic now" in found.warnings[0]
    assert copy.deepcopy(found) == found
