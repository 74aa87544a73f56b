"""Workload providers by the kind of workload that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrollout.kube.client import Kube
from modelrollout.kube.reflector import Reflector
from modelrollout.workloads.base import WorkloadProvider
from modelrollout.workloads.deployment import DeploymentWorkload

__all__ = ["WORKLOAD_PROVIDERS"]

WORKLOAD_PROVIDERS: Final[dict[str, Callable[[Kube, Reflector, Reflector, Reflector, Reflector], WorkloadProvider]]] = {
    "deployment": DeploymentWorkload
}
