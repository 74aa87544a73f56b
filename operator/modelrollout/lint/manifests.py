"""From texts to findings: which documents are ours, and everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from modelrollout.api.crd import crds
from modelrollout.api.meta import GROUP
from modelrollout.api.rollout import ModelRolloutSpec
from modelrollout.lint.advice import advice
from modelrollout.lint.documents import Document, UnreadableError, documents
from modelrollout.lint.schema import Problem, Schema, defaulted, near, problems

__all__ = ["Finding", "Linted", "Severity", "as_stored", "lint"]

_METADATA: Final = (
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Severity(StrEnum):
    """Whether the API server refuses it, or a person should look at it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    severity: Severity
    file: str
    line: int
    column: int
    object: str
    """Kind and name; empty when the text could not be read."""
    field: str
    message: str

    def text(self) -> str:
        """As compilers say it."""
        where = f"{self.file}:{self.line}:{self.column}: {self.severity}: "
        return where + ": ".join(part for part in (self.object, self.field, self.message) if part)

    def summary(self) -> dict[str, Any]:
        """As JSON would have it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Linted:
    """What became of some texts."""

    findings: tuple[Finding, ...]
    objects: tuple[dict[str, Any], ...]
    """Those of ours, as they were written."""
    skipped: int
    """Objects of other kinds."""


def as_stored(manifest: dict[str, Any]) -> dict[str, Any]:
    """An object of ours that is right, with the defaults that the API server fills in."""
    found = defaulted(manifest, _schemas()[manifest["kind"]][1])
    assert isinstance(found, dict)
    return found


def lint(texts: Mapping[str, str]) -> Linted:
    """Everything wrong in some files, given as text by name."""
    findings: list[Finding] = []
    ours: list[dict[str, Any]] = []
    skipped = 0
    for file, text in texts.items():
        try:
            found = documents(text)
        except UnreadableError as error:
            findings.append(Finding(Severity.ERROR, file, *error.place, "", "", error.message))
            continue
        for document in found:
            if not _is_ours(document.content):
                skipped += 1
                continue
            ours.append(document.content)
            findings.extend(_findings(file, document))
    return Linted(tuple(sorted(findings, key=lambda one: (one.file, one.line, one.column))), tuple(ours), skipped)


def _is_ours(content: Any) -> bool:
    """Also what only looks like ours: a wrong group must not make a manifest invisible."""
    if not isinstance(content, dict):
        return False
    return str(content.get("apiVersion", "")).split("/")[0] == GROUP or content.get("kind") in _schemas()


def _findings(file: str, document: Document) -> Iterator[Finding]:
    content = document.content
    metadata = content.get("metadata")
    name = (metadata.get("name") or metadata.get("generateName") or "") if isinstance(metadata, dict) else ""
    title = f"{content.get('kind', '')} {name}".strip()
    for one in _problems(content):
        severity = Severity.WARNING if one.doubtful else Severity.ERROR
        yield Finding(severity, file, *document.place(one.path), title, one.path, one.message)


def _problems(content: dict[str, Any]) -> list[Problem]:
    kind, version = content.get("kind"), content.get("apiVersion")
    if kind not in _schemas() or version != _schemas()[kind][0]:
        return [_no_such_kind(content)]
    schema = _schemas()[kind][1]
    whole = defaulted(content, schema)
    found = [*_metadata(content.get("metadata")), *(_named(one) for one in problems(whole, schema))]
    if kind == "ModelRollout" and not any(not one.doubtful for one in found):
        spec = ModelRolloutSpec.model_validate(whole["spec"])
        found += [Problem(where, text, doubtful=True) for where, text in advice(spec)]
    return found


def _no_such_kind(content: dict[str, Any]) -> Problem:
    kind, version = content.get("kind"), content.get("apiVersion")
    if not kind or not version:
        return Problem("kind" if version else "apiVersion", "Required value: every object says its apiVersion and kind")
    text = f'no matches for kind "{kind}" in version "{version}"'
    if kind in _schemas():
        return Problem("apiVersion", f"{text}: write apiVersion: {_schemas()[kind][0]}")
    return Problem("kind", f"{text}{near(str(kind), list(_schemas()))}")


def _named(problem: Problem) -> Problem:
    """The rule about the object itself speaks of its name."""
    return problem if problem.path else Problem("metadata.name", problem.message)


def _metadata(metadata: Any) -> Iterator[Problem]:
    """What the server asks of every object's metadata."""
    if not isinstance(metadata, dict):
        yield Problem("metadata", "Required value: give the object a name")
        return
    name = metadata.get("name")
    if not name and not metadata.get("generateName"):
        yield Problem("metadata.name", "Required value: name or generateName is required")
    elif name is not None and not isinstance(name, str):
        yield Problem("metadata.name", f"Invalid value: {name!r}: a name is a text: quote it")
    elif name and not _SUBDOMAIN.fullmatch(name):
        yield Problem("metadata.name", f'Invalid value: "{name}": small letters, digits, dashes and dots only')
    for field in metadata:
        if field not in _METADATA:
            yield Problem(f"metadata.{field}", f'unknown field "metadata.{field}"{near(field, list(_METADATA))}')
    for field in ("labels", "annotations"):
        texts = metadata.get(field)
        for key, value in (texts if isinstance(texts, dict) else {}).items():
            if not isinstance(value, str):
                yield Problem(f"metadata.{field}.{key}", f"Invalid value: {value!r}: must be a text: quote it")


@cache
def _schemas() -> dict[str, tuple[str, Schema]]:
    """apiVersion and schema of each of our kinds; metadata is judged apart."""
    found: dict[str, tuple[str, Schema]] = {}
    for crd in crds().values():
        version = crd["spec"]["versions"][0]
        schema = version["schema"]["openAPIV3Schema"]
        found[crd["spec"]["names"]["kind"]] = (f"{crd['spec']['group']}/{version['name']}", schema)
    return found
