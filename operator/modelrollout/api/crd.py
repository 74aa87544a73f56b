"""CustomResourceDefinitions from the pydantic models.

Kubernetes wants a *structural* schema in an OpenAPI 3.0 dialect; pydantic writes JSON Schema 2020-12. The difference is
small and mechanical, so it is transformed here instead of being written twice by hand. ``python -m
modelrollout.api.crd DIR`` writes the files; a test compares them with what is committed.

Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", structural schemas.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from modelrollout.api.decision import RolloutDecisionSpec, RolloutDecisionStatus
from modelrollout.api.freeze import RolloutFreezeSpec
from modelrollout.api.incident import RolloutIncidentSpec, RolloutIncidentStatus
from modelrollout.api.meta import EXTERNAL, GROUP, VERSION, rule
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.api.status import ModelRolloutStatus

__all__ = ["crds", "main"]

_DROPPED: Final = ("title", "discriminator", "const")


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural OpenAPI schema of a model: references inlined, nulls gone, unions of one flattened."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})
    found = _transform(schema, definitions)
    assert isinstance(found, dict)
    return found


def _transform(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_transform(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = _inline(node, definitions)
    properties = node.pop("properties", None)
    out = {key: _transform(value, definitions) for key, value in node.items() if key not in _DROPPED}
    if properties is not None:
        out["properties"] = {name: _transform(value, definitions) for name, value in properties.items()}
    _adapt_object(out)
    if out.get("default", ...) is None:
        del out["default"]
    return out


def _inline(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Replace a reference by what it refers to, and ``X | None`` by X: absent is not null."""
    node = dict(node)
    if "$ref" in node:
        target = definitions[node.pop("$ref").rsplit("/", 1)[1]]
        return _inline({**target, **node}, definitions)
    choices = node.get("anyOf")
    if choices is not None:
        real = [choice for choice in choices if choice != {"type": "null"}]
        if len(real) != 1:
            raise TypeError(f"a union has no structural schema; make it one flat object with a CEL rule: {choices}")
        del node["anyOf"]
        return _inline({**real[0], **node}, definitions)
    return node


def _adapt_object(node: dict[str, Any]) -> None:
    if node.get("type") != "object":
        return
    additional = node.pop("additionalProperties", None)
    if isinstance(additional, dict) and additional:
        node["additionalProperties"] = additional
    elif additional:
        node["x-kubernetes-preserve-unknown-fields"] = True


def _validate_times(node: Any) -> None:
    """Pydantic's ``format: date-time`` is kept; everything else named format would be ignored silently."""
    if isinstance(node, dict):
        if node.get("format", "date-time") != "date-time":
            raise TypeError(f"format {node['format']} means nothing to the API server")
        for value in node.values():
            _validate_times(value)


def _crd(
    kind: str,
    plural: str,
    short: str,
    spec: Any,
    status: Any | None,
    columns: list[dict[str, Any]],
    scope: str = "Namespaced",
    scale: dict[str, str] | None = None,
) -> dict[str, Any]:
    """One CRD; without ``status`` the kind has none. ``scale``: where `kubectl scale` finds the number of pods."""
    root_rules = [
        rule(
            "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",
            "metadata.name must begin with a letter, hold only small letters, digits and dashes, and have at most 40 "
            "characters, because the revisions' objects are named after it",
        ),
        rule(
            f"!has(oldSelf.status) || !has(oldSelf.status.stable) || oldSelf.status.stable.revision != '{EXTERNAL}' || "
            "!has(oldSelf.spec.adopt) || "
            "(has(self.spec.adopt) && self.spec.adopt.service == oldSelf.spec.adopt.service)",
            "the Service that adopt names serves users now: keep it until a revision of yours is promoted (or delete "
            "the ModelRollout, which leaves the traffic where it is, and apply it anew)",
            field_path=".spec.adopt",
        ),
    ]
    schema: dict[str, Any] = {
        "type": "object",
        "description": spec["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
        }
        | ({} if status is None else {"status": status}),
    }
    if kind == "ModelRollout":
        schema["x-kubernetes-validations"] = root_rules
        # Whoever waits for the object by kstatus must not take one that no operator has seen yet for a finished one.
        schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    _validate_times(schema)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["all", "modelrollout-io"] if kind == "ModelRollout" else ["modelrollout-io"],
            },
            "scope": scope,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    **(
                        {} if status is None else {"subresources": {"status": {}} | ({"scale": scale} if scale else {})}
                    ),
                    "additionalPrinterColumns": columns,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _rollout() -> dict[str, Any]:
    return _crd(
        "ModelRollout",
        "modelrollouts",
        "mro",
        structural(ModelRolloutSpec),
        structural(ModelRolloutStatus),
        [
            _column("PHASE", ".status.phase"),
            _column("VERSION", ".spec.model.version"),
            _column("STABLE", ".status.stable.version"),
            _column("STEP", ".status.columns.step"),
            _column("WEIGHT", ".status.columns.weight"),
            _column("GATES", ".status.columns.gates"),
            _column("REASON", ".status.reason"),
            _column("AGE", ".metadata.creationTimestamp", "date"),
            _column("MESSAGE", ".status.message", wide=True),
        ],
        scale={
            "specReplicasPath": ".spec.workload.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    )


def _decision() -> dict[str, Any]:
    return _crd(
        "RolloutDecision",
        "rolloutdecisions",
        "mrd",
        structural(RolloutDecisionSpec),
        structural(RolloutDecisionStatus),
        [
            _column("ROLLOUT", ".spec.rollout"),
            _column("ACTION", ".spec.action"),
            _column("AUTHOR", ".spec.author"),
            _column("STATE", ".status.state"),
            _column("COMMENT", ".spec.comment"),
            _column("AGE", ".metadata.creationTimestamp", "date"),
            _column("MESSAGE", ".status.message", wide=True),
        ],
    )


def _incident() -> dict[str, Any]:
    return _crd(
        "RolloutIncident",
        "rolloutincidents",
        "mri",
        structural(RolloutIncidentSpec),
        structural(RolloutIncidentStatus),
        [
            _column("ROLLOUT", ".spec.rollout"),
            _column("VERSION", ".spec.version"),
            _column("STABLE", ".spec.stableVersion"),
            _column("REASON", ".spec.reason"),
            _column("WEIGHT", ".spec.weight", "integer"),
            _column("AGE", ".spec.at", "date"),
            _column("MESSAGE", ".spec.message", wide=True),
        ],
    )


def _freeze() -> dict[str, Any]:
    return _crd(
        "RolloutFreeze",
        "rolloutfreezes",
        "mrf",
        structural(RolloutFreezeSpec),
        None,
        [
            _column("REASON", ".spec.reason"),
            _column("UNTIL", ".spec.until"),
            _column("NAMESPACES", ".spec.namespaces"),
            _column("AUTHOR", ".spec.author"),
            _column("AGE", ".metadata.creationTimestamp", "date"),
        ],
        scope="Cluster",
    )


def crds() -> dict[str, dict[str, Any]]:
    """Every CRD of the project, by file name."""
    return {
        "modelrollouts.yaml": _rollout(),
        "rolloutdecisions.yaml": _decision(),
        "rolloutfreezes.yaml": _freeze(),
        "rolloutincidents.yaml": _incident(),
    }


def main(directory: Path) -> None:
    """Write every CRD into a folder."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, crd in crds().items():
        text = yaml.safe_dump(crd, sort_keys=False, width=120, allow_unicode=True)
        (directory / name).write_text(
            "# Generated by `make crds` from operator/modelrollout/api. Do not edit.\n" + text
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
