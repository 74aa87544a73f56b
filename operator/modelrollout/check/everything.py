"""All checks of one manifest, in the order in which a person would mend what they find."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from modelrollout.api.enums import Role
from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import Rollout
from modelrollout.check import installed, reach, room
from modelrollout.check.baseline import find_baseline
from modelrollout.check.found import Api, Body, ForbiddenError, MissingError, Result, Results, State
from modelrollout.check.measured import measured
from modelrollout.engine.revision import revision_hash
from modelrollout.lint.manifests import Finding, Severity, as_stored
from modelrollout.workloads.deployment import build_deployment

__all__ = ["everything", "from_lint"]

_NOT_THERE_YET: Final = {
    "uid": "not-there-yet",
    "resourceVersion": "0",
    "generation": 1,
    "creationTimestamp": "1970-01-01T00:00:00Z",
}


def from_lint(findings: Iterable[Finding]) -> Results:
    """What the linter found, as lines of the table."""
    for one in findings:
        state = State.FAIL if one.severity is Severity.ERROR else State.WARN
        yield Result("manifest", state, ": ".join(part for part in (one.field, one.message) if part))


def everything(api: Api, manifest: Body, namespace: str, prometheus: str | None) -> Results:
    """Every check of a ModelRollout that the linter has nothing against."""
    body = as_stored(manifest)
    body["metadata"] = body["metadata"] | {"namespace": namespace}
    name = body["metadata"]["name"]
    yield from installed.definitions(api)
    yield from installed.operator(api, namespace)
    yield from installed.policies(api)
    yield from reach.namespace(api, namespace)
    path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/modelrollouts/{name}"
    taken, made = installed.taken(api, path, manifest | {"metadata": body["metadata"]}, check="dry run")
    yield taken
    rollout = _rollout(api, path, made or body)
    yield _pods(api, rollout)
    template = rollout.raw_spec["workload"]["template"]
    yield from room.quotas(api, namespace, rollout.spec, template)
    yield from room.limits(api, namespace, template)
    yield from room.pull_secrets(api, namespace, template)
    yield from reach.gateways(api, rollout)
    yield from reach.routes(api, rollout)
    yield from reach.adopted(api, rollout)
    yield from _reports(api, rollout)
    if prometheus is None:
        yield Result("prometheus", State.SKIPPED, "no URL was given", "--prometheus URL, as the operator has it")
    else:
        yield from measured(prometheus, rollout.spec, find_baseline(api, rollout), datetime.now(UTC))


def _rollout(api: Api, path: str, body: Body) -> Rollout:
    """The rollout as it would be, with the status that it has."""
    try:
        status = api.get(path).get("status") or {}
    except (MissingError, ForbiddenError):
        status = {}
    return Rollout.parse(body | {"metadata": _NOT_THERE_YET | body["metadata"], "status": status})


def _pods(api: Api, rollout: Rollout) -> Result:
    """Whether the API server would take the Deployment that the operator would make: what the operator asks too."""
    revision = revision_hash(rollout.raw_spec)
    deployment = build_deployment(rollout, revision, Role.CANDIDATE, rollout.spec.workload.replicas)
    deployment["metadata"].pop("ownerReferences", None)  # of an object that may not be there yet
    path = f"/apis/apps/v1/namespaces/{rollout.namespace}/deployments/{deployment['metadata']['name']}"
    return installed.taken(api, path, deployment, check="pods")[0]


def _reports(api: Api, rollout: Rollout) -> Results:
    """Whether the reports that gates wait for are there."""
    for gate in rollout.spec.gates:
        if gate.report is None:
            continue
        name = gate.report.config_map.replace("{version}", rollout.spec.model.version)
        name = name.replace("{revision}", revision_hash(rollout.raw_spec))
        check, where = f"gate {gate.name}", f"ConfigMap {name}"
        try:
            found = api.get(f"/api/v1/namespaces/{rollout.namespace}/configmaps/{name}")
        except MissingError:
            yield Result(check, State.WARN, f"there is no {where} yet", "run the evaluation of this version")
        except ForbiddenError as error:
            yield Result(check, State.SKIPPED, f"you {error}", "ask for that right, or somebody who has it")
        else:
            yield _report(check, where, gate.report.key, found)


def _report(check: str, where: str, key: str, found: Body) -> Result:
    if key in (found.get("data") or {}):
        return Result(check, State.OK, f"{where} has {key}")
    return Result(check, State.WARN, f"{where} has no key {key}", "correct report.key, or write it")
