"""Istio: counted by the sidecar or gateway that sends the request; counted by both ends, everything is doubled."""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server, by_service

__all__ = ["ISTIO"]

_IDENTITY: Final = by_service("destination_service", "{service}.{namespace}.svc.cluster.local")
_CAVEAT: Final = (
    "Callers and gateways must be in the mesh. In ambient mode a waypoint reports: write the gate out with "
    'reporter="waypoint". Another cluster domain than cluster.local: give identity.'
)

ISTIO: Final = Server(
    title="Istio",
    presets=(
        Preset(
            "istio/errors",
            "answers 5xx of a Service",
            "baseline + 0.5pp",
            bad='istio_requests_total{reporter="source", response_code=~"5.."}',
            total='istio_requests_total{reporter="source"}',
            identity=_IDENTITY,
            caveat=f"HTTP alone: a gRPC error is an answer 200. {_CAVEAT}",
        ),
        Preset(
            "istio/latency",
            "time of a request to a Service",
            "120% of baseline",
            histogram='istio_request_duration_milliseconds{reporter="source"}',
            identity=_IDENTITY,
            caveat=f"Failed requests are in it: use it beside istio/errors. {_CAVEAT}",
        ),
    ),
    source="https://istio.io/latest/docs/reference/config/metrics/",
    bounds="0.5ms 1ms 5ms 10ms 25ms 50ms 100ms 250ms 500ms 1s 2.5s 5s 10s 30s …",
)
