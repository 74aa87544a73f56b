"""Whether the API server itself vouches for who said something: do the policies of manifests/policies stand?

A name in an object's spec is only text. It is worth something where an admission policy compares it with the user who
sent the request, so the operator looks whether that policy stands, refuses and has stood long enough. It cannot ask
later who sent a request: nothing else keeps that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from modelrollout.api.objects import parse_time
from modelrollout.kube.reflector import Reflector

__all__ = ["AUTHOR_POLICY", "DECISION_POLICY", "Vouching", "why_not"]

DECISION_POLICY: Final = "modelrollout-decisions"
AUTHOR_POLICY: Final = "modelrollout-author"
_SETTLES: Final = timedelta(seconds=10)
"""How long API servers take at most until a policy that was created is in force."""
_REMEDY: Final = "kubectl apply -k manifests/policies"
_FORBIDDEN: Final = 403
_READER: Final = "bind it the ClusterRole modelrollout-cluster-reader (manifests/overlays/namespaced)"

Body = Mapping[str, Any]


class Vouching:
    """The cluster's admission policies and their bindings."""

    def __init__(self, policies: Reflector, bindings: Reflector) -> None:
        self._policies = policies
        self._bindings = bindings

    def why_not(self, policy: str, at: datetime) -> str:
        """Why a policy did not stand at some time, and the remedy; empty when it did."""
        for copies in (self._policies, self._bindings):
            if copies.error is not None and copies.error.status == _FORBIDDEN:
                return f"the operator may not see whether {policy} stands: {_READER}"
        return why_not(policy, self._policies.get("", policy), self._bindings.objects.values(), at)


def why_not(name: str, policy: Body | None, bindings: Iterable[Body], at: datetime) -> str:
    """The same, of the objects themselves. One that lets some requests pass does not stand."""
    if policy is None:
        return f"the ValidatingAdmissionPolicy {name} is missing: {_REMEDY}"
    if policy["spec"].get("failurePolicy", "Fail") != "Fail":
        return f"the ValidatingAdmissionPolicy {name} lets requests through when it fails: {_REMEDY}"
    mine = [one for one in bindings if one["spec"].get("policyName") == name]
    denying = [one for one in mine if "Deny" in (one["spec"].get("validationActions") or [])]
    if not denying:
        what = "does not deny" if mine else "is missing"
        return f"the ValidatingAdmissionPolicyBinding of {name} {what}: {_REMEDY}"
    everywhere = [one for one in denying if not _narrows(one["spec"].get("matchResources") or {})]
    chosen = {name: what for name, what in policy["spec"]["matchConstraints"].items() if name != "resourceRules"}
    if not everywhere or policy["spec"].get("matchConditions") or _narrows(chosen):
        return f"the ValidatingAdmissionPolicy {name} or its binding leaves requests out: {_REMEDY}"
    since = max(_created(policy), min(_created(one) for one in everywhere))
    if since + _SETTLES > at:
        return f"the ValidatingAdmissionPolicy {name} was not in force yet (created {since:%H:%M:%S} UTC): say it again"
    return ""


def _narrows(match: Body) -> bool:
    """Whether this is for some objects only; the API server fills in empty selectors, which choose all."""
    return any(value for name, value in match.items() if name != "matchPolicy")


def _created(body: Body) -> datetime:
    return parse_time(body["metadata"]["creationTimestamp"])
