"""What is in the cluster against what has to be. Pure: lists of objects in, sentences out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["KINDS", "complaints", "counts", "sizes"]

Body = Mapping[str, Any]
Objects = Mapping[str, Sequence[Body]]

KINDS: Final = (
    "modelrollouts",
    "httproutes",
    "services",
    "deployments",
    "replicasets",
    "pods",
    "rolloutincidents",
)
_NAME: Final = "modelrollout.io/name"
_ROLE: Final = "modelrollout.io/role"
_VERSION: Final = "modelrollout.io/version"
_MOST_REVISIONS: Final = 3
"""Of a rollout at rest: stable, the one before it (`rollback.keep: 1`), and the one that was rolled back."""


def counts(objects: Objects) -> dict[str, int]:
    """How many objects of each kind."""
    return {kind: len(objects[kind]) for kind in KINDS}


def sizes(objects: Objects) -> dict[str, int]:
    """Bytes of JSON of what the operator writes into objects: the largest of each."""

    def largest(found: Iterator[Any]) -> int:
        return max((len(json.dumps(one)) for one in found), default=0)

    return {
        "status": largest(one.get("status") for one in objects["modelrollouts"]),
        "ModelRollout's annotations": largest(_annotations(one) for one in objects["modelrollouts"]),
        "HTTPRoute's annotations": largest(_annotations(one) for one in objects["httproutes"]),
        "Deployment's annotations": largest(_annotations(one) for one in objects["deployments"]),
    }


def complaints(objects: Objects, serving: Mapping[str, str]) -> list[str]:
    """What is not as it has to be. ``serving``: the version that must serve, by namespace/name of every rollout."""
    by_rollout = {kind: _by_rollout(objects[kind]) for kind in KINDS if kind != "modelrollouts"}
    found = [
        f"{kind} of {key}, which is no rollout"
        for kind, of in by_rollout.items()
        for key in of
        if key not in serving and kind != "rolloutincidents"
    ]
    for key, version in serving.items():
        found += _of_one(key, version, {kind: of.get(key, []) for kind, of in by_rollout.items()})
    return found


def _of_one(key: str, version: str, mine: Objects) -> Iterator[str]:
    deployments, routes = mine["deployments"], mine["httproutes"]
    roles = Counter(one["metadata"]["labels"].get(_ROLE, "") for one in deployments)
    stable = [one for one in deployments if one["metadata"]["labels"].get(_ROLE) == "stable"]
    if len(stable) != 1:
        yield f"{key}: {len(stable)} Deployments are stable (roles {dict(roles)})"
        return
    if _annotations(stable[0]).get(_VERSION) != version:
        yield f"{key}: version {_annotations(stable[0]).get(_VERSION)} is stable, and {version} should be"
    if len(routes) != 1:
        yield f"{key}: {len(routes)} HTTPRoutes"
        return
    backends = {one["name"]: one["weight"] for one in routes[0]["spec"]["rules"][0]["backendRefs"]}
    if backends != {stable[0]["metadata"]["name"]: 100}:
        yield f"{key}: the route has {backends}, and the stable Deployment is {stable[0]['metadata']['name']}"
    if len(deployments) > _MOST_REVISIONS:
        yield f"{key}: {len(deployments)} Deployments are left (roles {dict(roles)})"
    if len(mine["services"]) != len(deployments):
        yield f"{key}: {len(mine['services'])} Services for {len(deployments)} Deployments"
    running = sum(one["spec"]["replicas"] for one in deployments)
    if running != len(mine["pods"]):
        yield f"{key}: {len(mine['pods'])} pods, and {running} are asked for"
    if stable[0]["spec"]["replicas"] < 1:
        yield f"{key}: what is stable has no pods"


def _annotations(one: Body) -> dict[str, str]:
    return dict(one["metadata"].get("annotations") or {})


def _by_rollout(objects: Sequence[Body]) -> dict[str, list[Body]]:
    found: dict[str, list[Body]] = defaultdict(list)
    for one in objects:
        metadata = one["metadata"]
        name = (metadata.get("labels") or {}).get(_NAME)
        if name:
            found[f"{metadata['namespace']}/{name}"].append(one)
    return found
