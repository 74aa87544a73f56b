"""Metrics providers by the scheme-less name that the operator's settings give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrollout.metrics.base import MetricsProvider
from modelrollout.metrics.prometheus import Prometheus

__all__ = ["METRICS_PROVIDERS"]

METRICS_PROVIDERS: Final[dict[str, Callable[[str], MetricsProvider]]] = {"prometheus": Prometheus}
