"""Metrics providers by the name of the API that they speak."""

from __future__ import annotations

from typing import Final, Protocol

from modelrollout.metrics.base import MetricsProvider
from modelrollout.metrics.client import Client
from modelrollout.metrics.prometheus import Prometheus

__all__ = ["METRICS_PROVIDERS", "MetricsProviderFactory"]


class MetricsProviderFactory(Protocol):
    """Makes a provider. ``allow_promql``: whether gates may bring queries of their own."""

    def __call__(self, client: Client, *, allow_promql: bool = False) -> MetricsProvider:
        """A provider for the source that the client asks."""
        ...


METRICS_PROVIDERS: Final[dict[str, MetricsProviderFactory]] = {"prometheus": Prometheus}
