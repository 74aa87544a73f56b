"""A running Deployment's pod template as a person would write it: without what the API server filled in. Pure.

Source: Kubernetes API reference, defaults of PodSpec, Container, Probe and of volume sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["Body", "as_written"]

Body = dict[str, Any]

_POD: Final[Body] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_CONTAINER: Final[Body] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
_PROBE: Final[Body] = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES: Final = ("readinessProbe", "livenessProbe", "startupProbe")
_FILES: Final = ("configMap", "secret", "projected", "downwardAPI")
_FILE_MODE: Final = 0o644
_OF_A_MOMENT: Final = ("kubectl.kubernetes.io/restartedAt",)
"""Annotations that say when something was done, not what is to run."""


def as_written(template: Body) -> Body:
    """The template without defaults, and without what says nothing."""
    metadata = template.get("metadata") or {}
    kept: Body = {}
    for key in ("labels", "annotations"):
        if found := {name: text for name, text in (metadata.get(key) or {}).items() if name not in _OF_A_MOMENT}:
            kept[key] = found
    spec = {"containers": [], **_without(template["spec"], _POD)}  # what serves stands first
    if spec.get("serviceAccount") == spec.get("serviceAccountName"):
        spec.pop("serviceAccount", None)
    for key in ("initContainers", "containers"):
        if key in spec:
            spec[key] = [_container(one) for one in spec[key]]
    if "volumes" in spec:
        spec["volumes"] = [_volume(one) for one in spec["volumes"]]
    return ({"metadata": kept} if kept else {}) | {"spec": spec}


def _without(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Body:
    return {key: value for key, value in given.items() if key not in defaults or defaults[key] != value}


def _container(given: Body) -> Body:
    found = _without(given, _CONTAINER)
    if found.get("imagePullPolicy") == _pull_policy(found.get("image", "")):
        del found["imagePullPolicy"]
    if "ports" in found:
        found["ports"] = [_without(port, {"protocol": "TCP"}) for port in found["ports"]]
    if "env" in found:
        found["env"] = [_variable(one) for one in found["env"]]
    for probe in _PROBES:
        if probe in found:
            found[probe] = _probe(found[probe])
    return found


def _pull_policy(image: str) -> str:
    tag = re.search(r":([^/@]+)$", image.partition("@")[0])
    latest = "@" not in image and (tag is None or tag.group(1) == "latest")
    return "Always" if latest else "IfNotPresent"


def _variable(given: Body) -> Body:
    source = given.get("valueFrom") or {}
    if "fieldRef" not in source:
        return given
    return given | {"valueFrom": source | {"fieldRef": _without(source["fieldRef"], {"apiVersion": "v1"})}}


def _probe(given: Body) -> Body:
    found = _without(given, _PROBE)
    if "httpGet" in found:
        found["httpGet"] = _without(found["httpGet"], {"scheme": "HTTP"})
    if "grpc" in found:
        found["grpc"] = _without(found["grpc"], {"service": ""})
    return found


def _volume(given: Body) -> Body:
    found = dict(given)
    for kind in _FILES:
        if kind in found:
            found[kind] = _without(found[kind], {"defaultMode": _FILE_MODE})
    if "hostPath" in found:
        found["hostPath"] = _without(found["hostPath"], {"type": ""})
    return found
