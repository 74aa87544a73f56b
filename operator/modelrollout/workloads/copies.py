"""What is kept of watched objects: what this package, the screen and the web page read. The rest is most of their size,
and there may be tens of thousands of pods."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["slim_deployment", "slim_pod", "slim_slice"]

Body = dict[str, Any]

_OF_METADATA: Final = (
    *("namespace", "name", "uid", "resourceVersion", "generation", "labels", "annotations", "ownerReferences"),
    *("creationTimestamp", "deletionTimestamp"),
)
_OF_POD_METADATA: Final = tuple(name for name in _OF_METADATA if name not in ("annotations", "ownerReferences"))
_OF_POD_STATUS: Final = ("conditions", "initContainerStatuses", "containerStatuses")
_OF_CONTAINER: Final = ("name", "ports")


def slim_pod(body: Body) -> Body:
    """A pod without its spec: only what became of it counts."""
    return {
        "metadata": _only(body["metadata"], _OF_POD_METADATA),
        "status": _only(body.get("status") or {}, _OF_POD_STATUS),
    }


def slim_deployment(body: Body) -> Body:
    """A Deployment of whose template only the ports are left."""
    spec = body["spec"]
    containers = [_only(one, _OF_CONTAINER) for one in spec["template"]["spec"]["containers"]]
    slim = _only(spec, ("replicas",)) | {"template": {"spec": {"containers": containers}}}
    return {"metadata": _only(body["metadata"], _OF_METADATA), "spec": slim, "status": body.get("status") or {}}


def slim_slice(body: Body) -> Body:
    """An EndpointSlice of whose endpoints only the readiness is left."""
    endpoints = [_only(one, ("conditions",)) for one in body.get("endpoints") or []]
    return {"metadata": _only(body["metadata"], _OF_POD_METADATA), "endpoints": endpoints}


def _only(body: Body, names: tuple[str, ...]) -> Body:
    return {name: body[name] for name in names if name in body}
