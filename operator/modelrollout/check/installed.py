"""Is there an operator, with its CRDs and policies, and would the API server take the manifest?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from modelrollout.api.crd import crds
from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import parse_time
from modelrollout.check.found import (
    Api,
    Body,
    ForbiddenError,
    MissingError,
    RefusedError,
    Result,
    Results,
    State,
    skipped,
)

__all__ = ["POLICIES", "definitions", "operator", "policies", "taken"]

POLICIES: Final = frozenset(
    f"modelrollout-{name}" for name in ("author", "author-rights", "decision-answers", "decisions", "freezes")
)
"""Those of manifests/policies."""
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_UNSEEN_SECONDS: Final = 60.0
"""An operator that runs has looked at a new object after so long."""


def definitions(api: Api) -> Results:
    """Whether the cluster knows our kinds, and in the version that this command knows."""
    check = "crds"
    try:
        api.get(f"/apis/{GROUP}/{VERSION}")
    except MissingError:
        yield Result(check, State.FAIL, "this cluster knows no ModelRollout", "kubectl apply --server-side -f crds/")
        return
    except ForbiddenError as error:
        yield skipped(check, error)
        return
    try:
        other = [name for name, crd in _ours().items() if not _is_like(api, name, crd)]
    except ForbiddenError as error:
        yield Result(check, State.OK, f"{GROUP}/{VERSION} is served; whether its schema is the same: you {error}")
        return
    if other:
        yield Result(
            check,
            State.WARN,
            f"{', '.join(other)}: another version than this command's, so lint and the API server may differ",
            "apply the CRDs of the operator's version, or use its command",
        )
    else:
        yield Result(check, State.OK, f"{GROUP}/{VERSION} is served, with the schema that this command knows")


def _ours() -> dict[str, Body]:
    return {crd["metadata"]["name"]: crd for crd in crds().values()}


def _is_like(api: Api, name: str, crd: Body) -> bool:
    try:
        found = api.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    except MissingError:
        return False
    served = {one["name"]: one.get("schema") for one in found["spec"]["versions"]}
    return bool(served.get(VERSION) == crd["spec"]["versions"][0]["schema"])


def operator(api: Api, namespace: str) -> Results:
    """Whether an operator is there. Nothing tells for sure from outside, so two signs are looked at: pods that are
    ready, and whether the namespace's ModelRollouts have been looked at."""
    try:
        seen, unseen = _looked_at(api, namespace)
    except (MissingError, ForbiddenError):
        seen, unseen = "", ""
    if unseen:
        remedy = "kubectl get pods --all-namespaces -l app.kubernetes.io/name=modelrollout"
        yield Result("operator", State.FAIL, f"nobody has looked at {unseen}: no operator watches {namespace}", remedy)
        return
    try:
        ready, where = _ready(api)
    except (ForbiddenError, MissingError) as error:
        if seen:
            yield Result("operator", State.OK, f"{seen} has been looked at in its newest generation")
        else:
            yield Result(
                "operator", State.SKIPPED, f"no ModelRollout here to tell by, and you {error}", "ask who runs it"
            )
        return
    if ready:
        yield Result("operator", State.OK, f"{ready} of its pods are ready in {where}")
    elif seen:
        yield Result("operator", State.WARN, f"it has looked at {seen}, but none of its pods is found", "does it run?")
    else:
        text = "no Deployment with the label app.kubernetes.io/name=modelrollout has a ready pod"
        yield Result("operator", State.WARN, text, "kubectl apply -k manifests/base, if it does not run elsewhere")


def _looked_at(api: Api, namespace: str) -> tuple[str, str]:
    """A rollout that the operator has seen in its newest generation, and one that it should have seen and has not."""
    seen = unseen = ""
    for one in api.get(f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/modelrollouts")["items"]:
        metadata, status = one["metadata"], one.get("status") or {}
        age = (datetime.now(UTC) - parse_time(metadata["creationTimestamp"])).total_seconds()
        if status.get("observedGeneration") == metadata.get("generation"):
            seen = metadata["name"]
        elif not status and age > _UNSEEN_SECONDS:
            unseen = metadata["name"]
    return seen, "" if seen else unseen


def _ready(api: Api) -> tuple[int, str]:
    query = {"labelSelector": "app.kubernetes.io/name=modelrollout"}
    for one in api.get("/apis/apps/v1/deployments", query)["items"]:
        ready = (one.get("status") or {}).get("readyReplicas", 0)
        if ready:
            return ready, f"namespace {one['metadata']['namespace']}"
    return 0, ""


def policies(api: Api) -> Results:
    """Whether the policies that hold people to what they say are there and deny."""
    try:
        found = {one["metadata"]["name"] for one in api.get(f"{_ADMISSION}/validatingadmissionpolicies")["items"]}
        bindings = api.get(f"{_ADMISSION}/validatingadmissionpolicybindings")["items"]
    except (ForbiddenError, MissingError) as error:
        what = f"you {error}" if isinstance(error, ForbiddenError) else "this cluster has no admission policies"
        yield Result("policies", State.SKIPPED, what, "ask an administrator: kubectl get validatingadmissionpolicies")
        return
    deny = {one["spec"]["policyName"] for one in bindings if "Deny" in (one["spec"].get("validationActions") or [])}
    missing, loose = sorted(POLICIES - found), sorted((POLICIES & found) - deny)
    if not missing and not loose:
        yield Result("policies", State.OK, ", ".join(sorted(POLICIES)))
        return
    absent = f"missing: {', '.join(missing)}" if missing else ""
    idle = f"without a binding that denies: {', '.join(loose)}" if loose else ""
    text = "; ".join(part for part in (absent, idle, "so what they see to is only what the writer says") if part)
    yield Result("policies", State.WARN, text, "kubectl apply -k manifests/policies")


def taken(api: Api, path: str, body: Body, *, check: str) -> tuple[Result, Body | None]:
    """Whether the API server (schema, rules, admission policies and webhooks) would take an object; and what it would
    make of it."""
    try:
        made = api.would_apply(path, body)
    except RefusedError as error:
        return Result(check, State.FAIL, str(error), "correct what the message names"), None
    except ForbiddenError as error:
        return skipped(check, error), None
    except MissingError as error:
        return Result(
            check, State.FAIL, f"it has no place to go: {error}", "create the namespace, apply the CRDs"
        ), None
    return Result(check, State.OK, "the API server would take it (tried without writing)"), made
