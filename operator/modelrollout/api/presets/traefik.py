"""Traefik 3 with its Gateway API provider.

A backend's metrics carry the name of Traefik's own service: the router's name, ``-svc-``, namespace, Service, and the
backend's place in the rule, which changes when backends come and go.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server, by_service

__all__ = ["TRAEFIK"]

_IDENTITY: Final = by_service("service", "*-svc-{namespace}-{service}-{number}@kubernetesgateway")
_CAVEAT: Final = (
    "A ServiceMonitor renames the label to exported_service: scrape by a PodMonitor, or give identity.label. Earlier "
    'releases name the service otherwise: identity: {by: service, label: service, value: "{namespace}-{service}-{port}'
    '@kubernetesgateway"}.'
)

TRAEFIK: Final = Server(
    title="Traefik",
    presets=(
        Preset(
            "traefik/errors",
            "answers 5xx of a Service",
            "baseline + 0.5pp",
            bad='traefik_service_requests_total{code=~"5.."}',
            total="traefik_service_requests_total",
            identity=_IDENTITY,
            caveat=_CAVEAT,
        ),
        Preset(
            "traefik/latency",
            "time of a request to a Service",
            "1200ms",
            histogram="traefik_service_request_duration_seconds",
            identity=_IDENTITY,
            caveat="Only four bounds by default: set metrics.prometheus.buckets, then a relative limit sees something. "
            f"Failed requests are in it: use it beside traefik/errors. {_CAVEAT}",
        ),
    ),
    source="https://github.com/traefik/traefik/blob/master/pkg/provider/kubernetes/gateway/httproute.go",
    bounds="100ms 300ms 1.2s 5s",
)
