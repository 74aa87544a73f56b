"""NVIDIA Triton Inference Server.

It has no counter of all requests, only of successes and of failures. Its latencies are sums (a mean, nothing to count)
or summaries (quantiles of a sliding window, which cannot be added up over pods); the one histogram is off by default.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["TRITON"]

TRITON: Final = Server(
    title="Triton",
    presets=(
        Preset(
            "triton/errors",
            "inference requests that failed, canceled ones left out",
            "baseline + 0.5pp",
            bad='nv_inference_request_failure{reason!="CANCELED"}',
            others="nv_inference_request_success",
            caveat="A batch counts as one request. With several models in one server say where: 'model=\"ranker\"'. "
            "--metrics-config counter_latencies=false stops these counters too.",
        ),
        Preset(
            "triton/first-response",
            "time to the first response",
            "120% of baseline",
            histogram="nv_inference_first_response_histogram_ms",
            caveat="Off by default: --metrics-config histogram_latencies=true. Only four bounds: give your own in the "
            "model's config.pbtxt (histogram_options), the same in both revisions. Successes only: use it beside "
            "triton/errors.",
        ),
    ),
    source="https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md",
    left_out="`nv_inference_request_duration_us` is a sum and `nv_inference_*_summary_us` are summaries: neither says "
    "how many requests were slow. Take latencies from the gateway.",
    bounds="first-response: 100ms 500ms 2s 5s",
)
