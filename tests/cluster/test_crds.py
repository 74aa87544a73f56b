"""The CRDs on a real API server: they install, samples pass, and what people get wrong is refused with the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from localcluster import LocalCluster
from modelrollout.api.grammar import (
    parse_duration,
    parse_limit,
    parse_looks,
    parse_percent,
    parse_reference,
    parse_risk,
    parse_selector,
)
from modelrollout.lint.manifests import Severity, lint
from tests.cluster.wrong_manifests import DECISIONS, FREEZES, RIGHT, ROLLOUTS, UNKNOWN_FIELDS, Right, Wrong, edited
from tests.unit.api.corpus import BUCKETS, DURATIONS, FITTING, LIMITS, LOOKS, PERCENTS, RISKS, SELECTORS

_ROOT: Final = Path(__file__).parents[2]
_SAMPLES: Final = [
    *sorted((_ROOT / "manifests" / "samples").glob("*.yaml")),
    _ROOT / "manifests" / "samples" / "adopt" / "rollout.yaml",
]
_NAMESPACE: Final = "crd-tests"
_NOT_ASKED: Final = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


_BASES: Final = {"ranker.yaml": ROLLOUTS, "decision-abort.yaml": DECISIONS, "freeze.yaml": FREEZES}
"""The sample that each wrong manifest is an edit of."""


def _read(sample: str | Path) -> dict[str, Any]:
    found = yaml.safe_load((_ROOT / "manifests" / "samples" / sample).read_text(encoding="utf-8"))
    found["metadata"] |= {"namespace": _NAMESPACE} | ({"name": Path(sample).stem} if Path(sample).is_absolute() else {})
    assert isinstance(found, dict)
    return found


def _edited(base: dict[str, Any], case: Wrong | Right) -> dict[str, Any]:
    return edited(base, case, _NAMESPACE)


def _try(cluster: LocalCluster, manifests: list[dict[str, Any]]) -> tuple[set[str], dict[str, str]]:
    """Offer many manifests in one dry run; return the names of the accepted ones and the refusals by name."""
    text = yaml.safe_dump_all(manifests, allow_unicode=True)
    done = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=text, check=False)
    accepted = set(re.findall(r"^\S+/(\S+) created", done.stdout, flags=re.MULTILINE))
    refused = dict(re.findall(r'ModelRollout\S* "([^"]+)" is invalid: (.*)$', done.stderr, flags=re.MULTILINE))
    others = r'Rollout(?:Decision|Freeze)\S* "([^"]+)" is invalid: (.*)$'
    refused |= dict(re.findall(others, done.stderr, flags=re.MULTILINE))
    return accepted, refused


@pytest.fixture(scope="module")
def crds(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster with both CRDs as a person installs them, and a namespace."""
    cluster.kubectl("apply", "-f", str(_ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=20s", "-f", str(_ROOT / "crds"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    cluster.kubectl("apply", "-f", "-", input=json.dumps(namespace))
    yield cluster
    cluster.kubectl("delete", "mro,mrd", "--all", "-n", _NAMESPACE)


@pytest.fixture(scope="module")
def refusals(crds: LocalCluster) -> dict[str, str]:
    """What the API server said to each wrong manifest, by the case's name."""
    manifests = [_edited(_read(sample), case) for sample, cases in _BASES.items() for case in cases]
    accepted, refused = _try(crds, manifests)
    return refused | dict.fromkeys(accepted, "accepted")


@pytest.mark.parametrize("mode", [(), ("--server-side", "--force-conflicts")], ids=["client-side", "server-side"])
def test_both_crds_apply(crds: LocalCluster, mode: tuple[str, ...]) -> None:
    done = crds.kubectl("apply", *mode, "-f", str(_ROOT / "crds"))
    assert "modelrollouts.modelrollout.io" in done.stdout
    assert "rolloutdecisions.modelrollout.io" in done.stdout


def test_every_sample_is_accepted(crds: LocalCluster) -> None:
    manifests = [_read(sample) for sample in _SAMPLES]
    accepted, refused = _try(crds, manifests)
    assert refused == {}
    assert len(accepted) == len(_SAMPLES) >= 12


def test_manifests_that_are_nearly_wrong_are_accepted(crds: LocalCluster) -> None:
    ranker = _read("ranker.yaml")
    accepted, refused = _try(crds, [_edited(ranker, case) for case in RIGHT])
    assert refused == {}
    assert accepted == {case.name for case in RIGHT}


def test_there_are_enough_wrong_manifests() -> None:
    names = [case.name for case in (*ROLLOUTS, *DECISIONS, *FREEZES, *UNKNOWN_FIELDS)] + [case.name for case in RIGHT]
    assert len(set(names)) == len(names) >= 40


@pytest.mark.parametrize("case", [*ROLLOUTS, *DECISIONS, *FREEZES], ids=lambda case: case.name)
def test_detail_31_a_wrong_manifest_is_refused_with_field_and_remedy(refusals: dict[str, str], case: Wrong) -> None:
    """§7.31: CEL messages name the remedy; types and enums have the server's own texts, which name the field."""
    said = refusals[case.name]
    assert case.field in said
    for words in case.says:
        assert words in said
    assert "no such key" not in said, "a rule failed to evaluate instead of saying what is wrong"
    assert "index out of bounds" not in said, "a rule failed to evaluate instead of saying what is wrong"


@pytest.mark.parametrize("case", [*ROLLOUTS, *DECISIONS, *FREEZES], ids=lambda case: case.name)
def test_detail_31_lint_says_what_the_api_server_says(refusals: dict[str, str], case: Wrong) -> None:
    """Every message of the linter is, letter by letter, one of the API server's, and none is missing."""
    base = _read(next(sample for sample, cases in _BASES.items() if case in cases))
    found = lint({case.name: json.dumps(_edited(base, case))}).findings
    left = refusals[case.name].removeprefix("[").removesuffix("]")
    left = left.replace(_NOT_ASKED, "").replace(
        "<nil>: Invalid value: metadata.name", "metadata.name: Invalid value: metadata.name"
    )
    for one in found:
        said = f"{one.field}: {one.message}"
        if one.severity is Severity.ERROR:
            assert said in left
            left = left.replace(said, "", 1)
    assert left.strip(", ") == ""


@pytest.mark.parametrize("case", UNKNOWN_FIELDS, ids=lambda case: case.name)
def test_a_typo_is_refused(crds: LocalCluster, case: Wrong) -> None:
    text = yaml.safe_dump(_edited(_read("ranker.yaml"), case))
    done = crds.kubectl("create", "--dry-run=server", "-f", "-", input=text, check=False)
    assert done.returncode != 0
    assert case.field in done.stderr
    assert all(words in done.stderr for words in case.says)


def test_fields_of_a_pod_that_the_operator_does_not_read_are_passed_on(crds: LocalCluster) -> None:
    manifest = _read("scaling-full.yaml")
    done = crds.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest))
    spec = json.loads(done.stdout)["spec"]["workload"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 120
    assert spec["containers"][0]["resources"] == {"limits": {"memory": "48Gi"}}


def test_defaults_are_filled_in(crds: LocalCluster) -> None:
    manifest = _read("attach-to-route.yaml")
    done = crds.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest))
    spec = json.loads(done.stdout)["spec"]
    assert spec["workload"]["replicas"] == 2
    assert spec["workload"]["scaling"] == "proportional"
    assert spec["warmup"] == "5m"
    assert spec["evaluation"]["interval"] == "15s"
    assert spec["evaluation"]["catastrophe"] == {"errorsAbove": "25%", "minRequests": 20}
    assert spec["rollback"] == {"keep": 1, "warmFor": "1h"}
    assert spec["deletionPolicy"] == "Orphan"
    assert spec["gates"][0]["identity"] == {"by": "podName"}
    assert spec["gates"][0]["minSamples"] == 100


def test_detail_3_what_is_adopted_and_serves_cannot_be_exchanged(crds: LocalCluster) -> None:
    """Neither by another nor by nothing; its Deployment may be named later, and all may change once ours serves."""
    body = _read("adopt/rollout.yaml")
    body["spec"]["adopt"] = {"service": "ranker"}
    crds.kubectl("apply", "-f", "-", input=json.dumps(body))

    def patched(patch: dict[str, Any], *subresource: str) -> str:
        text = json.dumps(patch)
        done = crds.kubectl(
            "patch", "-n", _NAMESPACE, "mro", "ranker", "--type=merge", *subresource, "-p", text, check=False
        )
        return done.stderr

    stable = {"status": {"stable": {"revision": "external"}}}
    assert patched(stable, "--subresource=status") == ""
    route = {"traffic": {"gatewayAPI": {"route": {"rule": "rank"}}}}
    for wrong in ({"service": "other"}, None):
        said = patched({"spec": {"adopt": wrong} | route})
        assert "spec.adopt" in said
        assert "keep it until a revision of yours is promoted" in said
    assert patched({"spec": {"adopt": {"deployment": "ranker"}}}) == ""
    assert patched({"status": {"stable": {"revision": "0123456789"}}}, "--subresource=status") == ""
    assert patched({"spec": {"adopt": None} | route}) == ""


def test_a_decision_cannot_be_edited(crds: LocalCluster) -> None:
    """§7.23: a decision is a record. Its outcome can be written, what was said cannot be changed."""
    done = crds.kubectl("create", "-o", "name", "-f", "-", input=json.dumps(_read("decision-pause.yaml")))
    name = done.stdout.strip()
    for patch in ({"comment": "never mind"}, {"action": "resume"}, {"author": "someone else"}):
        said = crds.kubectl(
            "patch", "-n", _NAMESPACE, name, "--type=merge", "-p", json.dumps({"spec": patch}), check=False
        )
        assert said.returncode != 0
        assert "spec" in said.stderr
        assert "cannot be edited: create another one" in said.stderr
    outcome = {"status": {"state": "Applied", "message": "paused"}}
    crds.kubectl(
        "patch", "-n", _NAMESPACE, name, "--subresource=status", "--type=merge", "-p", json.dumps(outcome)
    )  # fmt: skip
    assert "Applied" in crds.kubectl("get", "-n", _NAMESPACE, name).stdout


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mro.spec.gates.ratio", "click-through rate"),
        ("mro.spec.gates.atMost", "baseline + 0.2pp"),
        ("mro.spec.gates.drift.reference", "The shares sum to 100%"),
        ("mro.spec.gates.value.promql", "one number for one revision"),
        ("mro.spec.gates.for", "3 of 5"),
        ("mro.spec.gates.mustSee", "lies beyond the limit"),
        ("mro.spec.gates.minSamples", "observations of a drift"),
        ("mro.spec.evaluation.falseRollbackRate", "all gates together"),
        ("mro.spec.steps.hold", "ready, measured and within its limits"),
        ("mro.status.gates", "known of each gate"),
        ("mrd.spec.action", "put all traffic back"),
    ],
)
def test_kubectl_explain_tells_what_a_field_is_for(crds: LocalCluster, path: str, words: str) -> None:
    text = " ".join(crds.kubectl("explain", path).stdout.split())
    assert words in text
    assert "<no description>" not in text


def test_printer_columns(crds: LocalCluster) -> None:
    manifest = _read("ranker.yaml")
    manifest["metadata"]["name"] = "shown"
    crds.kubectl("apply", "-f", "-", input=json.dumps(manifest))
    status = {
        "phase": "Progressing",
        "reason": "Holding",
        "message": "10 % of the traffic for 42 minutes more",
        "stable": {"revision": "0f3c9a1be2d4", "version": "41"},
        "columns": {"step": "1/3", "weight": "10", "gates": "2/3"},
    }
    crds.kubectl(
        "patch", "-n", _NAMESPACE, "mro", "shown", "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip
    wide = crds.kubectl("get", "mro", "-n", _NAMESPACE, "shown", "-o", "wide").stdout
    header, row = wide.splitlines()
    assert header.split() == [
        "NAME", "PHASE", "VERSION", "STABLE", "STEP", "WEIGHT", "GATES", "REASON", "AGE", "MESSAGE",
    ]  # fmt: skip
    assert row.split()[:8] == ["shown", "Progressing", "42", "41", "1/3", "10", "2/3", "Holding"]
    assert row.rstrip().endswith("10 % of the traffic for 42 minutes more")


def _offered(manifest: dict[str, Any], kind: str, text: str) -> None:
    """Write a text where its grammar is used."""
    spec = manifest["spec"]
    errors = spec["gates"][2]
    value = {"name": "memory", "value": {"promql": 'max(a{namespace="{namespace}",pod=~"{pods}"})'}, "atMost": "512"}
    drift = {"name": "scores", "drift": {"histogram": "scores"}, "atMost": "0.2"}
    if kind == "duration":
        spec["warmup"] = text
    elif kind == "percent":
        spec["evaluation"] = {"catastrophe": {"errorsAbove": text}}
    elif kind == "risk":
        spec["evaluation"] = {"falseRollbackRate": text}
    elif kind == "limit":
        spec["gates"] = [value | {"atMost": text}]
    elif kind == "looks":
        spec["gates"] = [value | {"for": text}]
    elif kind == "bucket":
        spec["gates"] = [drift | {"drift": {"histogram": "scores", "reference": _with_bucket(text)}}]
    else:
        errors["ratio"] = {"bad": text, "total": text}


def _with_bucket(bound: str) -> dict[str, str]:
    return {bound: "0%", "1234": "0%", "+Inf": "100%"}


def _taken(cluster: LocalCluster, manifests: list[dict[str, Any]]) -> list[bool]:
    """Whether the API server takes each of many manifests."""
    for number, manifest in enumerate(manifests):
        manifest["metadata"]["name"] = f"text-{number}"
    accepted, refused = _try(cluster, manifests)
    assert len(accepted) + len(refused) == len(manifests)
    return [f"text-{number}" in accepted for number in range(len(manifests))]


@pytest.mark.parametrize(
    ("kind", "corpus", "parse"),
    [
        ("duration", DURATIONS, parse_duration),
        ("percent", PERCENTS, parse_percent),
        ("risk", RISKS, parse_risk),
        ("limit", LIMITS, parse_limit),
        ("looks", LOOKS, parse_looks),
        ("bucket", BUCKETS, lambda text: parse_reference(_with_bucket(text))),
        ("selector", SELECTORS, parse_selector),
    ],
)
def test_the_api_server_and_the_parsers_accept_the_same(
    crds: LocalCluster, kind: str, corpus: dict[str, bool], parse: Any
) -> None:
    """What the server lets in the operator must be able to read; what it refuses, the operator never sees."""
    manifests = []
    for text in corpus:
        manifest = _read("ranker.yaml")
        _offered(manifest, kind, text)
        manifests.append(manifest)
    assert dict(zip(corpus, _taken(crds, manifests), strict=True)) == corpus
    assert {text: _parses(parse, text) for text in corpus} == corpus


@pytest.mark.parametrize("kind", sorted(FITTING))
def test_the_api_server_accepts_the_limits_that_fit_a_kind_of_gate_and_no_others(crds: LocalCluster, kind: str) -> None:
    """The same as `Gate.limit` does, which tests/unit/api asks."""
    measured = {
        "ratio": {"bad": 'q_total{code="500"}', "total": "q_total"},
        "latency": {"histogram": "q_seconds"},
        "drift": {"histogram": "scores"},
        "value": {"promql": 'max(a{namespace="{namespace}",pod=~"{pods}"})'},
        "report": {"configMap": "evaluation-{version}", "metric": "auc"},
    }
    manifests = []
    for text in LIMITS:
        gate = {"name": "checked", kind: measured[kind], "atMost": text}
        manifest = _read("ranker.yaml")
        manifest["spec"]["gates"] = [gate]
        manifests.append(manifest)
    taken = {text for text, good in zip(LIMITS, _taken(crds, manifests), strict=True) if good}
    assert taken == FITTING[kind]


def _parses(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
