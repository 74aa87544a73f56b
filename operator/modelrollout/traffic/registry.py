"""Traffic providers by the field of ``spec.traffic`` that asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrollout.kube.client import Kube
from modelrollout.kube.reflector import Reflector
from modelrollout.traffic.base import TrafficProvider
from modelrollout.traffic.gateway_api import GatewayApiTraffic

__all__ = ["TRAFFIC_PROVIDERS"]

TRAFFIC_PROVIDERS: Final[dict[str, Callable[[Kube, Reflector], TrafficProvider]]] = {"gatewayAPI": GatewayApiTraffic}
