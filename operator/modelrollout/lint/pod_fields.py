"""Fields of pods that our schema passes on without knowing them: only to tell a slip of the pen from a field.

Source: Kubernetes API reference, PodSpec v1 and Container v1.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["pod_fields"]

_POD: Final = (
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers", "hostname",
    "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority",
    "priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName",
    "schedulerName", "schedulingGates", "securityContext", "serviceAccount", "serviceAccountName",
    "setHostnameAsFQDN", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "tolerations",
    "topologySpreadConstraints", "volumes",
)  # fmt: skip
_CONTAINER: Final = (
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
    "readinessProbe", "resizePolicy", "resources", "restartPolicy", "restartPolicyRules", "securityContext",
    "startupProbe", "stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty",
    "volumeDevices", "volumeMounts", "workingDir",
)  # fmt: skip


def pod_fields(path: str) -> tuple[str, ...]:
    """The fields that Kubernetes knows at a path of a pod template; nothing where nobody says."""
    if path.endswith("template.spec"):
        return _POD
    return _CONTAINER if re.search(r"template\.spec\.containers\[\d+\]$", path) else ()
