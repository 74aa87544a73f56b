"""BentoML (1.2 and later, one service or several in a pod)."""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["BENTOML"]

_REAL: Final = 'endpoint!~"/(healthz|livez|readyz|metrics)"'

BENTOML: Final = Server(
    title="BentoML",
    presets=(
        Preset(
            "bentoml/errors",
            "requests answered with 5xx, without probes",
            "baseline + 0.5pp",
            bad=f'bentoml_service_request_total{{{_REAL}, http_response_code=~"5.."}}',
            total=f"bentoml_service_request_total{{{_REAL}}}",
            caveat="Counted with the last part of the answer: a stream that breaks is counted nowhere. A request "
            "between two services of one bento counts in each: say where: 'service_name=\"Ranker\"'. Other names when "
            "metrics.namespace is set.",
        ),
        Preset(
            "bentoml/latency",
            "time of a request, without probes",
            "120% of baseline",
            histogram=f"bentoml_service_request_duration_seconds{{{_REAL}}}",
            caveat="Failed requests are in it: use it beside bentoml/errors. Bounds are an option of the service, so "
            "keep them the same in both revisions.",
        ),
    ),
    source="https://github.com/bentoml/BentoML/blob/main/src/bentoml/_internal/server/http/instruments.py",
    left_out="Requests in progress and queue lengths are gauges.",
    bounds="5ms 10ms 25ms 50ms 100ms 250ms 500ms 1s 2.5s 5s 10s 30s 60s 120s 180s",
)
