"""What the API server would say of an object by its CRD's schema, in the API server's words.

Only what our own CRDs use of the structural schema is known here; a test asks that they use nothing else. Messages are
those of apiextensions-apiserver (``pkg/apiserver/validation``) and of kube-openapi: who has seen one finds the other.
Defaults are filled in first, as the server does, because rules speak about what the server would see.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelrollout.lint.pod_fields import pod_fields
from modelrollout.lint.rules import broken_rules

__all__ = ["KNOWN_KEYWORDS", "Problem", "defaulted", "near", "problems"]

KNOWN_KEYWORDS: Final = frozenset(
    {
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an object."""

    path: str
    """The field, as the API server writes it; empty for the object itself."""
    message: str
    """What is wrong."""
    stops: bool = False
    """The API server asks no rules before this is mended; here only the rules around it are not asked."""
    doubtful: bool = False
    """The API server would take it."""


def defaulted(value: Any, schema: Schema) -> Any:
    """The value with the defaults that the API server fills in; a field that is null is as if absent."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        below = schema.get("additionalProperties")
        filled = {}
        for name, one in value.items():
            known = properties.get(name, below)
            if one is None and name in properties:
                continue
            filled[name] = defaulted(one, known) if known else one
        for name, known in properties.items():
            if name not in filled and "default" in known:
                filled[name] = defaulted(copy.deepcopy(known["default"]), known)
        return filled
    if isinstance(value, list) and "items" in schema:
        return [defaulted(one, schema["items"]) for one in value]
    return value


def problems(value: Any, schema: Schema, path: str = "") -> list[Problem]:
    """Everything that is wrong with a value (with its defaults), as its schema and its rules say."""
    if not _has_type(value, schema.get("type", "")):
        name = _type_name(value)
        text = f'Invalid value: "{name}": {path} in body must be of type {schema["type"]}: "{name}"'
        return [Problem(path, text, stops=True)]
    found = list(_own(value, schema, path))
    found += [one for inner, below, where in _children(value, schema, path) for one in problems(inner, below, where)]
    if not any(one.stops for one in found):
        for below, text in broken_rules(value, schema.get("x-kubernetes-validations", ())):
            said = text if below or isinstance(value, dict | list) else f"{_shown(value)}: {text}"
            found.append(Problem(f"{path}{below}" if path else below.removeprefix("."), f"Invalid value: {said}"))
    return found


def _has_type(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted in ("boolean", "")
    return wanted == "" or isinstance(value, _TYPES[wanted])


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, types in _TYPES.items() if isinstance(value, types))


def _own(value: Any, schema: Schema, path: str) -> Iterator[Problem]:
    if "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(json.dumps(one) for one in schema["enum"])
        yield Problem(path, f"Unsupported value: {_shown(value)}: supported values: {choices}", stops=True)
    if isinstance(value, str):
        yield from _text(value, schema, path)
    elif isinstance(value, dict):
        yield from _mapping(value, schema, path)
    elif isinstance(value, list):
        yield from _list(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)


def _text(value: str, schema: Schema, path: str) -> Iterator[Problem]:
    if len(value) > schema.get("maxLength", len(value)):
        yield Problem(path, f"Too long: may not be more than {schema['maxLength']} bytes", stops=True)
    if len(value) < schema.get("minLength", 0):
        yield _refused(path, value, f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield _refused(path, value, f"should match '{schema['pattern']}'")


def _number(value: float, schema: Schema, path: str) -> Iterator[Problem]:
    if value < schema.get("minimum", value):
        yield _refused(path, value, f"should be greater than or equal to {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield _refused(path, value, f"should be less than or equal to {schema['maximum']}")


def _list(value: list[Any], schema: Schema, path: str) -> Iterator[Problem]:
    if len(value) > schema.get("maxItems", len(value)):
        text = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        yield Problem(path, text, stops=True)
    if len(value) < schema.get("minItems", 0):
        yield _refused(path, len(value), f"should have at least {schema['minItems']} items")
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: list[dict[str, Any]] = []
    for number, item in enumerate(value if keys else ()):
        key = {name: item[name] for name in keys if isinstance(item, dict) and name in item}
        if key and key in seen:
            yield Problem(f"{path}[{number}]", f"Duplicate value: {json.dumps(key, separators=(',', ':'))}")
        seen.append(key)


def _mapping(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Problem]:
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem(_below(path, name), "Required value", stops=True)
    if len(value) > schema.get("maxProperties", len(value)):
        text = f"Too many: {len(value)}: must have at most {schema['maxProperties']} items"
        yield Problem(path, text, stops=True)
    if len(value) < schema.get("minProperties", 0):
        yield _refused(path, len(value), f"should have at least {schema['minProperties']} properties")
    yield from _unknown(value, schema, path)


def _unknown(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Problem]:
    """Fields that nobody reads. Where others are passed on as they are, only what looks like a slip of the pen."""
    properties = schema.get("properties", {})
    if "additionalProperties" in schema or not properties:
        return
    lenient = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    known = [*properties, *pod_fields(path)] if lenient else list(properties)
    missing = [name for name in schema.get("required", ()) if name not in value]
    for name in value:
        if name in known:
            continue
        where, hint = _below(path, name), near(name, missing) or near(name, known)
        if not lenient:
            yield Problem(where, f'unknown field "{where}"{hint}')
        elif hint:
            yield Problem(where, f'"{where}" is passed on as it is{hint}', doubtful=True)


def near(name: str, known: list[str]) -> str:
    """A question for the nearest of some names, or nothing."""
    same = [one for one in known if one.lower() == name.lower()]
    found = same or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f": did you mean {found[0]}?" if found else ""


def _children(value: Any, schema: Schema, path: str) -> Iterator[tuple[Any, Schema, str]]:
    if isinstance(value, list):
        for number, item in enumerate(value if "items" in schema else ()):
            yield item, schema["items"], f"{path}[{number}]"
    elif isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            if name in properties:
                yield item, properties[name], _below(path, name)
            elif others:
                yield item, others, f"{path}[{name}]"


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refused(path: str, value: Any, text: str) -> Problem:
    return Problem(path, f"Invalid value: {_shown(value)}: {path} in body {text}")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
