"""Will the candidate's pods be let in: quotas, limits, and the secrets that their images need."""

from __future__ import annotations

import math
from collections.abc import Mapping

from modelrollout.api.rollout import ModelRolloutSpec, Scaling
from modelrollout.check.found import Api, Body, ForbiddenError, MissingError, Result, Results, State, skipped
from modelrollout.check.quantity import quantity
from modelrollout.engine.foresight import first_weight

__all__ = ["limits", "pull_secrets", "quotas"]


def quotas(api: Api, namespace: str, spec: ModelRolloutSpec, template: Body) -> Results:
    """Whether each quota has room for the candidate beside what runs: for its first step, and for all of it."""
    check = "quota"
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}/resourcequotas")["items"]
    except (ForbiddenError, MissingError) as error:
        yield skipped(check, error) if isinstance(error, ForbiddenError) else Result(check, State.SKIPPED, str(error))
        return
    needs = _needs(template["spec"])
    tight = [result for one in found for result in _fits(one, needs, spec)]
    yield from tight
    if not tight:
        what = f"{len(found)} quotas have room for {spec.workload.least} more pods" if found else "no quota"
        yield Result(check, State.OK, what)


def _fits(quota: Body, needs: Mapping[str, float], spec: ModelRolloutSpec) -> Results:
    if (quota.get("spec") or {}).get("scopes") or (quota.get("spec") or {}).get("scopeSelector"):
        return  # counts only some pods; which ones is the API server's to say
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    for resource, hard in (status.get("hard") or {}).items():
        each = needs.get(resource)
        if each is None:
            if resource in ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "cpu", "memory"):
                text = f"{name} counts {resource}, of which the template says nothing: its pods may be refused"
                yield Result("quota", State.WARN, text, "say resources in the template, or have a LimitRange give them")
            continue
        left = quantity(hard) - quantity((status.get("used") or {}).get(resource, "0"))
        pods = math.floor(left / each + 1e-9) if each else spec.workload.least
        if pods < spec.workload.least:
            yield _too_little(f"{name}: {resource}", pods, spec)


def _too_little(what: str, pods: int, spec: ModelRolloutSpec) -> Result:
    first = _pods_at_first(spec)
    remedy = "raise the quota, or lower workload.replicas (or autoscaling.min): until the promotion both versions run"
    text = (
        f"{what} leaves room for {max(pods, 0)} pods more; the candidate takes {first} at first and "
        f"{spec.workload.least} at last"
    )
    return Result("quota", State.FAIL if pods < first else State.WARN, text, remedy)


def _pods_at_first(spec: ModelRolloutSpec) -> int:
    replicas = spec.workload.least
    if spec.workload.scaling is Scaling.FULL:
        return replicas
    return min(replicas, max(2, math.ceil(replicas * first_weight(spec) / 100)))


def _needs(pod: Body) -> dict[str, float]:
    """What one pod takes of each counted resource. Init containers run one after the other, and hardly ever matter."""
    needs: dict[str, float] = {"pods": 1.0, "count/pods": 1.0}
    for container in pod.get("containers") or []:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        requests = limits | (resources.get("requests") or {})
        for prefix, said in (("requests.", requests), ("limits.", limits), ("", requests)):
            for resource, amount in said.items():
                needs[f"{prefix}{resource}"] = needs.get(f"{prefix}{resource}", 0.0) + quantity(amount)
    return needs


def limits(api: Api, namespace: str, template: Body) -> Results:
    """Whether a LimitRange would refuse a container for asking too much."""
    check = "limits"
    try:
        found = api.get(f"/api/v1/namespaces/{namespace}/limitranges")["items"]
    except (ForbiddenError, MissingError) as error:
        yield skipped(check, error) if isinstance(error, ForbiddenError) else Result(check, State.SKIPPED, str(error))
        return
    broken = [text for one in found for text in _beyond(one, template["spec"])]
    for text in broken:
        yield Result(check, State.FAIL, text, "ask for less in the template, or have the LimitRange raised")
    if not broken:
        yield Result(check, State.OK, f"{len(found)} LimitRanges allow it" if found else "no LimitRange")


def _beyond(limit_range: Body, pod: Body) -> list[str]:
    found = []
    for limit in (limit_range.get("spec") or {}).get("limits") or []:
        if limit.get("type") != "Container":
            continue
        for container in pod.get("containers") or []:
            resources = container.get("resources") or {}
            asked = (resources.get("requests") or {}) | (resources.get("limits") or {})
            name, most = limit_range["metadata"]["name"], limit.get("max") or {}
            found += [
                f"container {container['name']} asks for {amount} of {resource}; {name} allows {most[resource]}"
                for resource, amount in asked.items()
                if resource in most and quantity(amount) > quantity(most[resource])
            ]
    return found


def pull_secrets(api: Api, namespace: str, template: Body) -> Results:
    """Whether the secrets that the images need are there. Their names are looked up, never their contents."""
    for one in template["spec"].get("imagePullSecrets") or []:
        check, name = "pull secret", one.get("name", "")
        try:
            api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", metadata_only=True)
        except ForbiddenError as error:
            yield skipped(check, error)
        except MissingError:
            text = f"there is no Secret {name} in namespace {namespace}, so the image may not be pulled"
            yield Result(check, State.FAIL, text, f"kubectl create secret docker-registry {name} -n {namespace} …")
        else:
            yield Result(check, State.OK, f"{name} is there")
