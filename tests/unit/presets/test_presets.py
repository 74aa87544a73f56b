"""Presets against what each server really exports: parsed, asked and counted by the operator's own functions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelrollout.api.gate import Gate
from modelrollout.api.grammar import parse_limit, parse_selector
from modelrollout.api.objects import Rollout
from modelrollout.api.presets.page import render
from modelrollout.api.presets.registry import BORN_WITH_FIRST_EVENT, GATEWAYS, PRESETS, SERVERS
from modelrollout.engine.revision import revision_hash
from modelrollout.gates.evidence import Counts, Histogram
from modelrollout.lab.policy import find_policy
from modelrollout.metrics.answers import Question, SeriesBook, read_answer
from modelrollout.metrics.base import Arm
from modelrollout.metrics.identity import identity_value, owner_pattern, told_by
from modelrollout.metrics.readings import HistogramReading, RatioReading, interval, unit_of
from modelrollout.metrics.snapshot import Kind, Want
from tests.support.expositions import Exposition

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=15)
NEW, STABLE = "aaaaaaaaaa", "bbbbbbbbbb"
_GATEWAYS = {preset.name.partition("/")[0] for server in GATEWAYS for preset in server.presets}

COUNTED: dict[str, Counts | tuple[float, float, float]] = {
    # Ratios: bad events of all. Latencies: within so many seconds, so many of how many.
    "vllm/errors": Counts(5.0, 1000.0),
    "vllm/latency": (2.5, 930.0, 980.0),
    "vllm/ttft": (0.25, 900.0, 980.0),
    "vllm/tpot": (0.05, 950.0, 980.0),
    "triton/errors": Counts(40.0 + 5.0, 5960.0 + 45.0),
    "triton/first-response": (0.5, 5900.0, 5960.0),
    "kserve/predict": (0.1, 930.0, 990.0),
    "kserve/preprocess": (0.01, 970.0, 990.0),
    "kserve/postprocess": (0.005, 985.0, 990.0),
    "tfserving/errors": Counts(40.0, 995.0),
    "tfserving/latency": (0.0674664, 900.0, 955.0),
    "bentoml/errors": Counts(20.0, 1000.0),
    "bentoml/latency": (0.25, 968.0, 1000.0),
    "rayserve/errors": Counts(50.0, 1000.0),
    "rayserve/latency": (0.2, 920.0, 1000.0),
    "tgi/errors": Counts(20.0, 1000.0),
    "tgi/latency": (0.221683782, 900.0, 955.0),
    "tgi/tpot": (0.029192926, 940.0, 955.0),
    "envoy/errors": Counts(40.0, 1000.0),
    "envoy/latency": (0.25, 900.0, 1000.0),
    "istio/errors": Counts(40.0, 1000.0),
    "istio/latency": (0.25, 910.0, 1000.0),
    "traefik/errors": Counts(40.0, 1000.0),
    "traefik/latency": (1.2, 980.0, 990.0),
}


def _gate(preset: str, **said: Any) -> Gate:
    return Gate.model_validate({"name": "checked", "preset": preset, "minSamples": 20} | said)


def _arm(revision: str) -> Arm:
    return Arm(revision, "recs", f"ranker-{revision}", 80, {})


def _pod(revision: str) -> str:
    return f"ranker-{revision}-7d9c5b6f4-abcde"


def _scraped(server: str) -> list[Exposition]:
    """A gateway tells of both revisions; of a model server each pod is scraped, and here they show the same."""
    if server in _GATEWAYS:
        return [Exposition(server, namespace="ingress", pod="gateway-x", job="gateway", instance="10.0.0.9:8002")]
    target = {"namespace": "recs", "job": "recs/models", "instance": "10.0.0.1:8000"}
    return [Exposition(server, pod=_pod(revision), **target) for revision in (NEW, STABLE)]


def _answer(question: Question, scraped: list[Exposition]) -> list[dict[str, Any]]:
    """What Prometheus answers at the interval's end; ``up`` of every target."""
    rows = []
    for mark, (want, lately) in question.marks.items():
        for one in scraped:
            if want.kind is Kind.TARGETS:
                labels = {key: one.samples[0][1][key] for key in ("namespace", "pod", "job", "instance")}
                rows.append({"metric": labels | {"modelrollout_want": mark}, "value": [0, "1"]})
            elif not lately:
                for row in one.rows(f"{want.name}{{{want.matchers}}}"):
                    rows.append(row | {"metric": row["metric"] | {"modelrollout_want": mark}})
    return rows


def _counted(gate: Gate) -> Any:
    """What the operator counts of the candidate in an interval in which everything happened."""
    reading = HistogramReading(gate) if gate.latency is not None else RatioReading(gate)
    unit = unit_of(reading)
    question = Question([(unit, ("recs",))], gone=True)
    server = _server(gate)
    answer, book = _answer(question, _scraped(server)), SeriesBook()
    ups = [row for row in answer if question.marks[row["metric"]["modelrollout_want"]][0].kind is Kind.TARGETS]
    (before,) = read_answer(question, ups, [AT], timedelta(0), book)[unit, "recs"]
    (after,) = read_answer(question, answer, [AT + STEP], timedelta(0), book)[unit, "recs"]
    for arm in (_arm(NEW), _arm(STABLE)):
        assert reading.shown_by(after, arm), f"{gate}: {arm.name} has no series"
    found, _ = interval(reading, before, after, _arm(NEW), _arm(STABLE))
    assert found.baseline is not None
    return found.candidate


def _server(gate: Gate) -> str:
    measured = gate.latency.histogram if gate.latency else gate.ratio.rest if gate.ratio else ""
    name = parse_selector(measured).name
    return next(
        preset.name.partition("/")[0]
        for preset in PRESETS.values()
        if any(parse_selector(one).name == name for one in preset.metrics)
    )


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_detail_21_a_preset_counts_what_the_server_exports(name: str) -> None:
    expected, found = COUNTED[name], _counted(_gate(name))
    if isinstance(expected, Counts):
        assert found == expected
        return
    bound, within, total = expected
    assert isinstance(found, Histogram)
    nearest = min(range(len(found.bounds)), key=lambda i: abs(found.bounds[i] - bound))
    assert found.bounds[nearest] == pytest.approx(bound, rel=1e-5), found.bounds
    assert (found.counts[nearest], found.counts[-1]) == (within, total)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_names_counters_and_histograms_alone(name: str) -> None:
    """As the servers' own TYPE lines have it; a gauge or a summary can be judged by nobody."""
    preset = PRESETS[name]
    types = Exposition(name.partition("/")[0]).types
    wanted = "counter" if preset.is_ratio else "histogram"
    for selector in preset.metrics:
        metric = parse_selector(selector).name
        assert types[metric] == wanted


def test_where_picks_one_model_of_several() -> None:
    assert _counted(_gate("triton/errors", where='model="ranker"')) == Counts(40.0, 1000.0)
    with pytest.raises(AssertionError, match="no series"):
        _counted(_gate("triton/errors", where='model="nobody"'))


def test_a_server_that_has_not_failed_yet_has_no_series_of_it() -> None:
    """Nothing but successes: the counter of failures is missing, and that is no slip of the pen."""
    assert "ray_serve_deployment_error_counter_total" in BORN_WITH_FIRST_EVENT
    assert "tgi_request_failure" in BORN_WITH_FIRST_EVENT


def test_every_server_of_the_registry_has_its_exposition_and_what_it_shows() -> None:
    assert set(COUNTED) == set(PRESETS)
    titles = [server.title for server in (*SERVERS, *GATEWAYS)]
    assert len(set(titles)) == len(titles)
    for preset in PRESETS.values():
        assert re.fullmatch("[a-z]+/[a-z-]+", preset.name)
        assert preset.is_ratio == preset.name.endswith("/errors"), "the API server tells the kinds apart by it"
        assert bool(preset.total) + bool(preset.others) + bool(preset.histogram) == 1
        assert parse_limit(preset.at_most, kind="ratio" if preset.is_ratio else "latency")
        assert preset.what


def test_what_the_manifest_says_wins() -> None:
    gate = _gate("envoy/latency", quantile="0.99", atMost="110% of baseline", where='envoy_zone="a"')
    assert gate.latency is not None
    assert (gate.latency.quantile, gate.limit.text) == ("0.99", "110% of baseline")
    assert gate.latency.histogram == 'envoy_cluster_upstream_rq_time{envoy_zone="a"}'
    assert _gate("envoy/latency").limit.text == PRESETS["envoy/latency"].at_most
    assert _gate("vllm/errors", where='method="POST"').ratio.total == (  # type: ignore[union-attr]
        'http_requests_total{handler=~"/v1/.*", method="POST"}'
    )
    own = {"by": "service", "label": "exported_service", "value": "{namespace}-{service}-{port}@kubernetesgateway"}
    assert _gate("traefik/errors", identity=own).identity.label == "exported_service"


def test_the_default_that_the_api_server_fills_in_is_no_identity() -> None:
    """It stores `identity: {by: podName}`, and no series of a gateway has a pod of the revision."""
    assert _gate("envoy/errors", identity={"by": "podName"}).identity.label == "envoy_cluster_name"
    assert _gate("vllm/errors", identity={"by": "podName"}).identity.label is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"preset": "vlm/ttft"}, "vllm/ttft"),
        ({"preset": "nobody"}, "there are"),
        ({"preset": "vllm/errors", "quantile": "0.9"}, "leave it out"),
        ({"preset": "vllm/errors", "labelsWithin": "5m"}, "leave it out"),
        ({"preset": "vllm/errors", "ratio": {"bad": "a", "total": "b"}}, "not preset and ratio"),
        ({"latency": {"histogram": "a"}, "quantile": "0.9"}, "with a preset"),
        ({"latency": {"histogram": "a"}, "where": 'a="b"'}, "with a preset"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_with_the_remedy(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Gate.model_validate({"name": "checked", "atMost": "1s"} | said)


def test_a_gate_that_was_expanded_stays_as_it_is() -> None:
    for name in PRESETS:
        gate = _gate(name)
        assert Gate.model_validate(gate.model_dump(by_alias=True, exclude_none=True)) == gate


def test_the_revision_knows_nothing_of_presets_and_the_laboratory_reads_them() -> None:
    spec = {
        "model": {"version": "1"},
        "workload": {"template": {"spec": {"containers": [{"name": "s", "image": "i"}]}}},
        "traffic": {"gatewayAPI": {}},
        "steps": [{"weight": 50, "hold": "1h"}],
        "gates": [{"name": "errors", "preset": "triton/errors"}],
    }
    body = {
        "metadata": {
            "namespace": "recs",
            "name": "ranker",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-20T12:00:00Z",
        },
        "spec": spec,
    }
    rollout = Rollout.parse(body)
    assert rollout.raw_spec["gates"] == [{"name": "errors", "preset": "triton/errors"}]
    assert rollout.spec.gates[0].ratio is not None
    assert revision_hash(rollout.raw_spec) == revision_hash(spec | {"gates": []})
    policy = find_policy([spec])
    (bound,) = policy.bind({"nv_inference_request_failure", "nv_inference_request_success"}, 15.0)
    events, total = bound.source.counted([3.0, 97.0])  # type: ignore[union-attr, list-item]
    assert (events, total) == (3.0, 100.0)


def test_the_page_is_up_to_date() -> None:
    """Stale: run `make docs`."""
    page = Path(__file__).parents[3] / "docs" / "presets.md"
    assert page.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_a_gateway_s_label_may_leave_something_open() -> None:
    """Traefik puts a router before the Service and the backend's place behind it; nobody else's Service fits."""
    identity = _gate("traefik/errors").identity
    ((_, now), _) = Want("m", label="service", template=identity.value or "").expressions(["recs"])
    assert re.search(r'service=~"\.\*\\\\-svc\\\\-recs', now), now
    pattern = re.compile(owner_pattern(identity_value(identity, _arm(NEW))))
    ours = "httproute-recs-ranker-gw-infra-public-ep-web-0-1c0cf64b-svc-recs-ranker-aaaaaaaaaa-12@kubernetesgateway"
    assert pattern.fullmatch(ours)
    for other in ("ads-ranker-aaaaaaaaaa", "recs-ranker-bbbbbbbbbb", "recs-ranker", "recs-ranker-aaaaaaaaaa-x"):
        assert not pattern.fullmatch(ours.replace("recs-ranker-aaaaaaaaaa", other))
    assert told_by(identity, _arm(NEW)).startswith('service=~".*')
    assert told_by(_gate("envoy/errors").identity, _arm(NEW)) == 'envoy_cluster_name="recs_ranker-aaaaaaaaaa_80"'
