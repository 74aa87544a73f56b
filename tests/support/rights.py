"""Rights as single things: one verb on one resource, as manifests grant them and as the audit log saw them used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

__all__ = ["Right", "expanded", "granted", "role", "used"]

Body = dict[str, Any]

_BINDING: Final = re.compile(r'Binding "([^"/]+)')
"""In the audit log's reason; a RoleBinding's namespace follows its name."""


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    """With its subresource, as in ``deployments/scale``."""
    verb: str


def role(file: Path, kind: str, name: str) -> Body:
    """A role in a manifest."""
    (found,) = (
        body
        for body in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if (body["kind"], body["metadata"]["name"]) == (kind, name)
    )
    return dict(found)


def expanded(rules: Iterable[Body]) -> Iterator[Right]:
    """Every single right in some rules."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb)


def granted(file: Path, account: str) -> set[Right]:
    """The rights that a manifest's bindings give a ServiceAccount, by the roles in the same file."""
    bodies = [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one is not None]
    bound = {
        (one["roleRef"]["kind"], one["roleRef"]["name"])
        for one in bodies
        if one["kind"].endswith("RoleBinding") and account in [subject["name"] for subject in one["subjects"]]
    }
    roles = [one for one in bodies if (one["kind"], one["metadata"]["name"]) in bound]
    return {right for one in roles for right in expanded(one["rules"])}


def used(audit_log: Path, user: str, *bindings: str) -> set[Right]:
    """The rights by which the API server let a user through, where a binding with one of these names gave them.

    A server-side apply that makes an object is a patch in the log, though it needs the right to create as well.
    """
    found = set()
    with audit_log.open(encoding="utf-8") as log:
        for line in log:
            if f'"username":"{user}"' not in line or not line.endswith("\n"):
                continue
            entry = json.loads(line)
            about, notes = entry.get("objectRef") or {}, entry.get("annotations") or {}
            by = _BINDING.search(notes.get("authorization.k8s.io/reason", ""))
            if by is None or by[1] not in bindings:
                continue
            resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
            found.add(Right(about.get("apiGroup", ""), resource, entry["verb"]))
            if entry["verb"] == "patch" and (entry.get("responseStatus") or {}).get("code") == 201:
                found.add(Right(about.get("apiGroup", ""), resource, "create"))
    return found
