"""The linter: what the API server refuses, without an API server, and what it does not tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner

import modelrollout
from modelrollout.api.crd import crds
from modelrollout.cli.main import cli
from modelrollout.lint.documents import UnreadableError, documents
from modelrollout.lint.manifests import Finding, Severity, lint
from modelrollout.lint.rules import broken_rules
from modelrollout.lint.schema import KNOWN_KEYWORDS
from tests.cluster.wrong_manifests import DECISIONS, RIGHT, ROLLOUTS, UNKNOWN_FIELDS, Right, Wrong, edited

_SAMPLES: Final = Path(__file__).parents[3] / "manifests" / "samples"
_RANKER: Final = (_SAMPLES / "ranker.yaml").read_text(encoding="utf-8")


def _base(case: Wrong | Right) -> dict[str, Any]:
    name = "decision-abort.yaml" if case in DECISIONS else "ranker.yaml"
    found = yaml.safe_load((_SAMPLES / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def _errors(text: str) -> list[Finding]:
    return [one for one in lint({"x.yaml": text}).findings if one.severity is Severity.ERROR]


def _warnings(**spec: Any) -> list[Finding]:
    """What is said of the smallest rollout with some of its spec replaced; nothing but warnings."""
    manifest = yaml.safe_load(_RANKER)
    manifest["spec"] |= spec
    found = lint({"x.yaml": yaml.safe_dump(manifest)}).findings
    assert all(one.severity is Severity.WARNING for one in found)
    return list(found)


@pytest.mark.parametrize("case", [*ROLLOUTS, *DECISIONS, *UNKNOWN_FIELDS], ids=lambda case: case.name)
def test_detail_31_lint_refuses_what_the_api_server_refuses(case: Wrong) -> None:
    """Field and words are those that the real API server is asked for in tests/cluster/test_crds.py."""
    found = [f"{one.field}: {one.message}" for one in _errors(json.dumps(edited(_base(case), case, "recs")))]
    assert any(case.field in one and all(words in one for words in case.says) for one in found)


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
def test_what_is_nearly_wrong_passes(case: Right) -> None:
    assert _errors(json.dumps(edited(_base(case), case, "recs"))) == []


@pytest.mark.parametrize("path", sorted(_SAMPLES.glob("*.yaml")), ids=lambda path: str(path.stem))
def test_every_sample_passes(path: Path) -> None:
    assert _errors(path.read_text(encoding="utf-8")) == []


def test_the_smallest_rollout_has_nothing_to_be_told() -> None:
    assert _warnings() == []


def test_the_crds_use_nothing_that_the_linter_does_not_know() -> None:
    def keywords(node: Any) -> set[str]:
        below = [*node.get("properties", {}).values(), node.get("items", {}), node.get("additionalProperties", {})]
        return set(node).union(*(keywords(one) for one in below if one and isinstance(one, dict)))

    for crd in crds().values():
        assert keywords(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]) <= KNOWN_KEYWORDS


def test_a_rule_that_cannot_be_evaluated_is_broken_as_the_server_has_it() -> None:
    assert list(broken_rules("x", [{"rule": "self.nosuchthing()", "message": "cannot be asked"}]))


def test_places_are_those_of_the_field() -> None:
    text = _RANKER.replace("hold: 2h", "hold: 2 hours")
    found = _errors(text)[0]
    line = text.splitlines()[found.line - 1]
    assert found.field == "spec.steps[0].hold"
    assert line[found.column - 1 :].startswith("hold: 2 hours")
    assert found.text().startswith(f"x.yaml:{found.line}:{found.column}: error: ModelRollout ranker: spec.steps[0]")


def test_a_missing_field_is_shown_where_it_belongs() -> None:
    found = _errors(_RANKER.replace('version: "42"', "digest: d"))[0]
    assert found.field == "spec.model.version"
    assert _RANKER.splitlines()[found.line - 1].strip().startswith("model:")


@pytest.mark.parametrize(
    ("old", "new", "field", "hint"),
    [
        ("gates:", "gate:", "spec.gate", "did you mean gates?"),
        ("  model:", "  modle:", "spec.modle", "did you mean model?"),
        ("atMost: 200ms", "atmost: 200ms", "spec.gates[1].atmost", "did you mean atMost?"),
        ("kind: ModelRollout", "kind: ModelRolout", "kind", "did you mean ModelRollout?"),
        ("modelrollout.io/v1alpha1", "modelrollout.io/v1", "apiVersion", "write apiVersion: modelrollout.io/v1alpha1"),
        ("modelrollout.io/v1alpha1", "modelrollouts.io/v1alpha1", "apiVersion", "modelrollout.io/v1alpha1"),
        ("replicas: 4", "replica: 4", "spec.workload.replica", "did you mean replicas?"),
        ("name: ranker,", "nam: ranker,", "metadata.nam", "did you mean name?"),
    ],
)
def test_a_slip_of_the_pen_is_refused_with_what_was_meant(old: str, new: str, field: str, hint: str) -> None:
    assert old in _RANKER
    assert any(one.field == field and hint in one.message for one in _errors(_RANKER.replace(old, new)))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("livenessprobe: {}", "livenessProbe"),
        ("resource: {limits: {memory: 1Gi}}", "resources"),
        ("startUpProbe: {}", "startupProbe"),
    ],
)
def test_a_slip_of_the_pen_in_the_pods_is_doubted_because_the_server_passes_it_on(wrong: str, meant: str) -> None:
    text = _RANKER.replace("readinessProbe:", f"{wrong}\n          readinessProbe:", 1)
    found = lint({"x.yaml": text}).findings
    assert [one.severity for one in found] == [Severity.WARNING]
    assert f"did you mean {meant}?" in found[0].message


def test_fields_of_pods_that_only_kubernetes_knows_are_no_slips() -> None:
    more = "startupProbe: {httpGet: {port: 8080}}\n          resources: {limits: {memory: 1Gi}}\n          "
    assert lint({"x.yaml": _RANKER.replace("readinessProbe:", f"{more}readinessProbe:", 1)}).findings == ()


def test_other_kinds_are_skipped_and_lists_opened() -> None:
    items = [yaml.safe_load(_RANKER), {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}]
    items[0]["spec"]["mode"] = "dryRun"
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}) + "---\n---\n" + _RANKER
    found = lint({"x.yaml": text})
    assert (len(found.objects), found.skipped) == (2, 1)
    assert [one.field for one in found.findings] == ["spec.mode"]
    assert "mode: dryRun" in text.splitlines()[found.findings[0].line - 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-21", "2026-11-21"),
        ("1:30", "1:30"),
        ("42", 42),
        ("1e3", 1000.0),
        ("0.95", 0.95),
        ("yes", True),
        ("~", None),
        ('"42"', "42"),
        ("=", "="),
    ],
)
def test_yaml_is_read_as_kubectl_reads_it(text: str, value: Any) -> None:
    assert documents(f"a: {text}")[0].content == {"a": value}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", (1, 1), "there twice"),
        ("a: [1\nb: 2\n", (2, 2), "not YAML"),
        ("a: !!python/object:os.system x\n", (1, 4), "not YAML"),
        ("a: !!int x\n", (1, 4), "not YAML"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_place(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        documents(text)
    assert caught.value.place == place
    assert words in caught.value.message


def test_a_text_that_unfolds_is_refused_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UnreadableError, match="too large"):
        documents("\n".join(lines))


def test_a_text_that_contains_itself_is_refused() -> None:
    with pytest.raises(UnreadableError):
        documents("a: &a [*a]")


_ERRORS_GATE: Final = {"name": "errors", "ratio": {"bad": 'q{code="5"}', "total": "q"}}


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"gates": []}, "spec.gates", "there are no gates"),
        ({"gates": [_ERRORS_GATE | {"atMost": "1%", "onBreach": "warn"}]}, "spec.gates", "every breach is only said"),
        ({"mode": "observe"}, "spec.mode", "set mode: enforce"),
        ({"steps": [{"weight": 50, "hold": "2h"}]}, "spec.steps[0]", "unwatched"),
        (
            {"gates": [_ERRORS_GATE | {"atMost": "baseline + 1pp"}]},
            "spec.steps[2]",
            "no gate has an absolute limit",
        ),
        (
            {"gates": [{"name": "p95", "latency": {"histogram": "h_seconds"}, "atMost": "1s"}]},
            "spec.gates",
            "not caught in one look",
        ),
        ({"steps": [{"weight": 100, "hold": "15m"}]}, "spec.steps[0].hold", "labels of ctr"),
        ({"steps": [{"weight": 100, "hold": "20s"}]}, "spec.steps[0].hold", "shorter than a breach takes"),
        ({"evaluation": {"minBreachTime": "2h"}}, "spec.steps[1].hold", "shorter than a breach takes"),
    ],
)
def test_what_the_server_takes_and_cannot_work_is_told(spec: dict[str, Any], field: str, words: str) -> None:
    assert any(one.field == field and words in one.message for one in _warnings(**spec))


def test_a_holdback_or_an_absolute_gate_is_enough_for_the_last_step() -> None:
    gate = _ERRORS_GATE | {"atMost": "baseline + 1pp"}
    assert _warnings(gates=[gate], baselineHoldback=1) == []
    assert _warnings(gates=[_ERRORS_GATE | {"atMost": "1%"}]) == []


def test_an_image_without_a_version_and_a_port_that_nobody_opens_are_told() -> None:
    manifest = yaml.safe_load(_RANKER)
    manifest["spec"]["traffic"]["port"] = 8081
    container = manifest["spec"]["workload"]["template"]["spec"]["containers"][0]
    container["image"] = "registry.example:5000/ranker"
    fields = [one.field for one in lint({"x.yaml": yaml.safe_dump(manifest)}).findings]
    assert fields == ["spec.traffic.port", "spec.workload.template.spec.containers[0].image"] or fields == [
        "spec.workload.template.spec.containers[0].image",
        "spec.traffic.port",
    ]
    container["image"] = "registry.example:5000/ranker@sha256:0f3c"
    manifest["spec"]["traffic"]["port"] = 8080
    assert lint({"x.yaml": yaml.safe_dump(manifest)}).findings == ()


def _run(*args: str, text: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["lint", *args], input=text, standalone_mode=False)
    return int(done.return_value), done.stdout


def test_exit_codes_and_standard_input(tmp_path: Path) -> None:
    warned = _RANKER.replace("kind: ModelRollout", "kind: ModelRollout", 1).replace("server:1.8", "server:latest")
    assert _run("-", text=_RANKER)[0] == 0
    assert _run("-", text=warned)[0] == 0
    assert _run("--strict", "-", text=warned)[0] == 1
    assert _run("-", text=_RANKER.replace("weight: 10,", "weight: 0,"))[0] == 2
    (tmp_path / "a.yaml").write_text(_RANKER, encoding="utf-8")
    (tmp_path / "b.yml").write_text(warned, encoding="utf-8")
    code, said = _run("-o", "json", str(tmp_path))
    assert code == 0
    found = json.loads(said)
    assert found["objects"] == 2
    assert [one["file"] for one in found["findings"]] == [str(tmp_path / "b.yml")]


def test_a_file_that_cannot_be_read_is_said_without_a_traceback(tmp_path: Path) -> None:
    done = _python("-m", "modelrollout.cli.main", "lint", str(tmp_path / "no.yaml"))
    assert done.returncode == 2
    assert "no.yaml: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_starts_without_the_interpreter() -> None:
    """It takes half a second to import; only the linter needs it."""
    code = "import sys, modelrollout.cli.main; sys.exit('cel' in sys.modules or 'modelrollout.lint' in sys.modules)"
    assert _python("-c", code).returncode == 0


def _python(*args: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(Path(modelrollout.__file__).parents[1])}
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False, env=env)
