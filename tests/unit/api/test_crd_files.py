"""The committed CRDs: up to date with the models, bounded, explained and small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from modelrollout.api.crd import crds, main

_ROOT: Final = Path(__file__).parents[3]
_MAX_BYTES: Final = 200 * 1024
"""§7.8: client-side apply keeps the whole object in an annotation of at most 256 KiB."""


def _properties(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, with its path."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from _properties(child, f"{path}.{name}")
    for below, suffix in ((node.get("items"), "[]"), (node.get("additionalProperties"), "{}")):
        if isinstance(below, dict):
            yield f"{path}{suffix}", below
            yield from _properties(below, f"{path}{suffix}")


def _fields(part: str) -> list[Any]:
    found = []
    for file, crd in crds().items():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"].get(part)
        if schema is None:  # a RolloutFreeze has no status
            continue
        kind = crd["spec"]["names"]["kind"]
        found += [pytest.param(field, id=f"{kind}:{path}") for path, field in _properties(schema, part)]
        assert found, file
    return found


@pytest.mark.parametrize("name", sorted(crds()))
def test_the_committed_crd_is_up_to_date(tmp_path: Path, name: str) -> None:
    main(tmp_path)
    committed = (_ROOT / "crds" / name).read_text(encoding="utf-8")
    assert committed == (tmp_path / name).read_text(encoding="utf-8"), f"crds/{name} is stale: run `make crds`"


def test_no_other_file_lies_between_the_crds() -> None:
    assert {path.name for path in (_ROOT / "crds").glob("*.yaml")} == set(crds())


@pytest.mark.parametrize("name", sorted(crds()))
def test_the_crd_is_small_enough_for_client_side_apply(name: str) -> None:
    assert (_ROOT / "crds" / name).stat().st_size < _MAX_BYTES


@pytest.mark.parametrize("field", _fields("spec"))
def test_a_field_of_the_spec_is_bounded(field: dict[str, Any]) -> None:
    """The API server estimates what a CEL rule may cost from these bounds; nobody needs an endless name either."""
    kind = field.get("type")
    if kind == "string":
        assert "maxLength" in field or "enum" in field or field.get("format") == "date-time"
    elif kind == "array":
        assert "maxItems" in field
    elif kind == "integer":
        assert {"minimum", "maximum"} <= field.keys()
    elif kind == "object" and "additionalProperties" in field:
        assert "maxProperties" in field
    else:
        assert kind in ("object", "boolean"), "a number that is not an integer is not exact in JSON: use a string"


@pytest.mark.parametrize("field", _fields("status"))
def test_a_list_or_text_of_the_status_is_bounded(field: dict[str, Any]) -> None:
    """§7.29: the status stays below 64 KiB."""
    kind = field.get("type")
    if kind == "string":
        assert "maxLength" in field or "enum" in field or field.get("format") == "date-time"
    elif kind == "array":
        assert "maxItems" in field
    elif kind == "object" and "additionalProperties" in field:
        assert "maxProperties" in field


@pytest.mark.parametrize("field", [*_fields("spec"), *_fields("status")])
def test_a_named_field_says_what_it_is_for(field: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if request.node.callspec.id.endswith(("[]", "{}")):  # items: their list is described
        return
    assert len(field.get("description", "")) > 3


@pytest.mark.parametrize("field", [*_fields("spec"), *_fields("status")])
def test_a_rule_says_what_to_do(field: dict[str, Any]) -> None:
    for rule in field.get("x-kubernetes-validations", []):
        assert 10 < len(rule["message"]) < 220
        assert "\n" not in rule["rule"]


def test_samples_say_what_they_show_and_name_no_unknown_field() -> None:
    schemas = {
        crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds().values()
    }
    samples = sorted((_ROOT / "manifests" / "samples").glob("*.yaml"))
    assert samples
    for sample in samples:
        text = sample.read_text(encoding="utf-8")
        assert text.startswith("# "), f"{sample.name} begins with what it shows"
        manifest = yaml.safe_load(text)
        assert _unknown(manifest, schemas[manifest["kind"]], "") == []


def _unknown(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in _unknown(item, schema["items"], f"{path}[]")]
    open_ended = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if not isinstance(value, dict) or path == ".metadata":
        return []
    properties = schema.get("properties", {})
    found = [] if open_ended else [f"{path}.{name}" for name in value if name not in properties]
    for name in value.keys() & properties.keys():
        found += _unknown(value[name], properties[name], f"{path}.{name}")
    return found
