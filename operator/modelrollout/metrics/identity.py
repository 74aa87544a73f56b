"""Whose series is whose: how one revision's series are told from those of all others. Pure.

Series are asked for by namespace, for all revisions of all rollouts at once, and sorted here by *owner*: the
Deployment that the pod's name tells, or what the identity's label holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from modelrollout.api.gate import IdentityBy, MetricIdentity
from modelrollout.api.meta import EXTERNAL
from modelrollout.metrics.base import Arm

__all__ = [
    "ServiceTemplate",
    "by_pod_name",
    "identity_label",
    "identity_pattern",
    "identity_value",
    "is_pattern",
    "matcher",
    "owner_of",
    "owner_pattern",
    "pods_pattern",
    "service_template",
    "told_by",
]

_POD_SUFFIX: Final = "-[a-z0-9]{1,10}-[a-z0-9]{5}"
"""What a ReplicaSet adds to its Deployment's name, and a pod to its ReplicaSet's."""
_OPEN: Final = {"*": ".*", "{number}": "[0-9]+"}
"""What an identity's value may leave open, where a gateway puts something of its own into the label."""
_OPEN_PARTS: Final = re.compile(r"(\*|\{number\})")
_POD: Final = re.compile(f"(.+){_POD_SUFFIX}")
_DEFAULT_LABELS: Final = {IdentityBy.POD_LABEL: "modelrollout_io_revision", IdentityBy.SERVICE: "envoy_cluster_name"}

ServiceTemplate = str
"""The template of a gateway's label, empty for identities whose series carry the rollout's namespace."""


def identity_label(identity: MetricIdentity) -> str:
    """The metric's label that tells the revisions apart; empty when the pod's name does."""
    if identity.by is IdentityBy.POD_NAME:
        return ""
    return identity.label or _DEFAULT_LABELS.get(identity.by, "revision")


def identity_value(identity: MetricIdentity, arm: Arm) -> str:
    """What that label holds for an arm; parts that are left open stand in it as they were written."""
    text = _template(identity)
    for name, value in (
        ("revision", arm.revision),
        ("namespace", arm.namespace),
        ("service", arm.service),
        ("port", str(arm.port)),
    ):
        text = text.replace("{" + name + "}", value)
    return text


def _template(identity: MetricIdentity) -> str:
    default = "{namespace}_{service}_{port}" if identity.by is IdentityBy.SERVICE else "{revision}"
    return identity.value or default


def service_template(identity: MetricIdentity) -> ServiceTemplate:
    """The template by which a gateway names Services; empty where series carry the rollout's namespace."""
    return _template(identity) if identity.by is IdentityBy.SERVICE else ""


def identity_pattern(template: ServiceTemplate, namespace: str) -> str:
    """A regular expression for what the label holds for any revision of any rollout of a namespace."""
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(
        owner_pattern(part) if number % 2 == 0 else re.escape(namespace) if part == "namespace" else ".+"
        for number, part in enumerate(parts)
    )


def is_pattern(value: str) -> bool:
    """Whether an identity's value leaves something open."""
    return "*" in value or "{number}" in value


def owner_pattern(value: str) -> str:
    """A regular expression for an identity's value."""
    return "".join(_OPEN.get(part) or re.escape(part) for part in _OPEN_PARTS.split(value))


def matcher(label: str, value: str) -> str:
    """The matcher of a label that holds an identity's value."""
    if is_pattern(value):
        return f"{label}=~{json.dumps(owner_pattern(value))}"
    return f"{label}={json.dumps(value)}"


def pods_pattern(arm: Arm) -> str:
    """A regular expression for the names of an arm's pods: those that exist, existed or will."""
    return re.escape(arm.name).replace(r"\-", "-") + _POD_SUFFIX


def by_pod_name(identity: MetricIdentity, arm: Arm) -> bool:
    """Whether an arm's series are told by the names of its pods: by default, and those of adopted pods also where the
    others are told by a label of the operator's, which they lack."""
    adopted = identity.by is IdentityBy.POD_LABEL and arm.revision == EXTERNAL
    return identity.by is IdentityBy.POD_NAME or adopted


def owner_of(labels: Mapping[str, str], label: str) -> str:
    """Whose series this is: the value of ``label``; where that is empty or absent, the Deployment in the pod's name."""
    if label and labels.get(label):
        return labels[label]
    pod = labels.get("pod", "")
    found = _POD.fullmatch(pod)
    return found.group(1) if found else f"pod/{pod}"  # no Deployment has a slash in its name


def told_by(identity: MetricIdentity, arm: Arm) -> str:
    """The matcher that tells an arm's series, for people to read and paste."""
    if by_pod_name(identity, arm):
        return f'pod=~"{pods_pattern(arm) if arm.revision == EXTERNAL else arm.name + "-.*"}"'
    return matcher(identity_label(identity), identity_value(identity, arm))
