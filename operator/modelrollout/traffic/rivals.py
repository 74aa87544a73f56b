"""Routes that would win over one of ours. Pure.

Where two HTTPRoutes match a request alike, the older one gets it. So a route of ours for host names that another one
serves already would be accepted by the gateway and yet serve nobody, which must be said before it is made.

Source: Gateway API v1, HTTPRouteRule.matches ("precedence") and HTTPRouteSpec.hostnames.
"""

from __future__ import annotations

from typing import Any

from modelrollout.api.objects import Rollout

__all__ = ["catches_all", "competes"]

Body = dict[str, Any]


def competes(route: Body, rollout: Rollout) -> bool:
    """Whether another route hangs on the same parent and has a host name of the same text as the one to be made, so
    that neither is the more specific one."""
    spec = rollout.spec.traffic.gateway_api
    if route["metadata"]["name"] == rollout.name or "deletionTimestamp" in route["metadata"]:
        return False
    names, theirs = set(spec.hostnames or ["*"]), set(route["spec"].get("hostnames") or ["*"])
    ours = [ref.model_dump(by_alias=True, exclude_none=True) for ref in spec.parent_refs or []]
    pairs = ((one, other) for one in ours for other in route["spec"].get("parentRefs") or [])
    return bool(names & theirs) and any(_same(one, other, rollout.namespace) for one, other in pairs)


def _same(ours: Body, theirs: Body, namespace: str) -> bool:
    """Whether two parentRefs (with the API's defaults) mean one listener; a ref that names none means all of them."""
    defaults = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": namespace}
    one, other = defaults | ours, defaults | theirs
    listener = ("sectionName", "port")
    return all(one[key] == other[key] for key in (*defaults, "name")) and all(
        one.get(key) is None or other.get(key) is None or one[key] == other[key] for key in listener
    )


def catches_all(rule: Body) -> bool:
    """Whether a rule takes every request of its host names."""
    return any(_is_open(match) for match in rule.get("matches") or [{}])


def _is_open(match: Body) -> bool:
    path = match.get("path") or {}
    everything = path.get("type", "PathPrefix") == "PathPrefix" and path.get("value", "/") == "/"
    return everything and set(match) <= {"path"}
