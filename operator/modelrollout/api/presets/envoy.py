"""Envoy as Contour configures it: one cluster for each Service and port, named ``namespace_service_port``.

The histogram is in milliseconds. ``upstream_rq_xx`` counts final answers; ``upstream_rq_total`` counts every try.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server, by_service

__all__ = ["ENVOY"]

_IDENTITY: Final = by_service("envoy_cluster_name", "{namespace}_{service}_{port}")

ENVOY: Final = Server(
    title="Envoy (Contour)",
    presets=(
        Preset(
            "envoy/errors",
            "final answers 5xx of a Service",
            "baseline + 0.5pp",
            bad='envoy_cluster_upstream_rq_xx{envoy_response_code_class="5"}',
            total="envoy_cluster_upstream_rq_xx",
            identity=_IDENTITY,
            caveat="Sees what users saw: an error that a retry mended is none. All routes to the Service are in it.",
        ),
        Preset(
            "envoy/latency",
            "time from the request sent to the Service to its whole answer",
            "120% of baseline",
            histogram="envoy_cluster_upstream_rq_time",
            identity=_IDENTITY,
            caveat="Failed requests are in it: use it beside envoy/errors.",
        ),
    ),
    source="https://github.com/projectcontour/contour/blob/main/internal/envoy/cluster.go",
    left_out="Envoy Gateway has one cluster for each rule of a route, so both revisions are in one series: "
    "count at the pods, or set EnvoyProxy.mergeBackends.",
    bounds="0.5ms 1ms 5ms 10ms 25ms 50ms 100ms 250ms 500ms 1s 2.5s 5s 10s 30s …",
)
