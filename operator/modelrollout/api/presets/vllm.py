"""vLLM (V1 engine).

``vllm:request_success_total`` counts every finished request whatever the reason, and client aborts are in no metric of
the engine, so errors come from the HTTP layer. Token intervals (``vllm:inter_token_latency_seconds``) are one sample
per decoding step, not per request: samples of one request go together, and a test that takes them for independent
promises too much. The mean per request is a sound unit.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["VLLM"]

_API: Final = 'handler=~"/v1/.*"'

VLLM: Final = Server(
    title="vLLM",
    presets=(
        Preset(
            "vllm/errors",
            "HTTP requests to /v1/ answered with 5xx",
            "baseline + 0.5pp",
            bad=f'http_requests_total{{{_API}, status=~"5.."}}',
            total=f"http_requests_total{{{_API}}}",
            caveat="The HTTP layer has no label of the model. A client that gives up is counted nowhere: watch the "
            "latencies too. A stream that breaks after its first byte was a 200.",
        ),
        Preset(
            "vllm/latency",
            "time from a request's arrival to its last token",
            "120% of baseline",
            histogram="vllm:e2e_request_latency_seconds",
            caveat="Grows with the length of the answers: a candidate that writes longer ones is slower. No bound "
            "below 300ms. Aborted requests are missing.",
        ),
        Preset(
            "vllm/ttft",
            "time to the first token",
            "120% of baseline",
            histogram="vllm:time_to_first_token_seconds",
            caveat="Only requests that had a first token: use it beside vllm/errors.",
        ),
        Preset(
            "vllm/tpot",
            "mean time per output token of a request",
            "120% of baseline",
            histogram="vllm:request_time_per_output_token_seconds",
            caveat="Newer releases only; one sample per request, unlike inter_token_latency_seconds.",
        ),
    ),
    source="https://github.com/vllm-project/vllm/blob/main/vllm/v1/metrics/loggers.py",
    left_out="`vllm:request_success_total` is no success (it counts every finished request); "
    "`vllm:inter_token_latency_seconds` has many samples per request that go together; "
    "time in the queue tells how busy the pods are, not how good the model is; running and waiting requests and cache "
    "usage are gauges.",
    bounds="ttft: 1ms 5ms 10ms 20ms 40ms 60ms 80ms 100ms 250ms 500ms 750ms 1s 2.5s 5s 7.5s 10s 20s …; latency: "
    "300ms 500ms 800ms 1s 1.5s 2s 2.5s 5s 10s 15s 20s 30s …; tpot: 10ms 25ms 50ms 75ms 100ms 150ms 200ms …",
)
