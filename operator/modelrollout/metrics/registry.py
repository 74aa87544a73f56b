"""Metrics providers by the scheme-less name that the operator's settings give them."""

from __future__ import annotations

from typing import Final, Protocol

from modelrollout.metrics.base import MetricsProvider
from modelrollout.metrics.prometheus import Prometheus

__all__ = ["METRICS_PROVIDERS", "MetricsProviderFactory"]


class MetricsProviderFactory(Protocol):
    """Makes a provider. ``allow_promql``: whether gates may bring queries of their own."""

    def __call__(self, url: str, *, allow_promql: bool = False) -> MetricsProvider:
        """A provider for the source at ``url``."""
        ...


METRICS_PROVIDERS: Final[dict[str, MetricsProviderFactory]] = {"prometheus": Prometheus.at}
