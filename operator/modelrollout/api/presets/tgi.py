"""Hugging Face Text Generation Inference."""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["TGI"]

TGI: Final = Server(
    title="Text Generation Inference",
    presets=(
        Preset(
            "tgi/errors",
            "requests that failed, those with invalid parameters left out",
            "baseline + 0.5pp",
            bad='tgi_request_failure{err!="validation"}',
            total="tgi_request_count",
            caveat="err=overloaded counts: too few replicas look like a bad model. No label of the model.",
        ),
        Preset(
            "tgi/latency",
            "time of a request",
            "120% of baseline",
            histogram="tgi_request_duration",
            caveat="Successes only: use it beside tgi/errors. Grows with the length of the answers. Bounds grow by 1.5 "
            "and none is round.",
        ),
        Preset(
            "tgi/tpot",
            "mean time per token of a request",
            "120% of baseline",
            histogram="tgi_request_mean_time_per_token_duration",
            caveat="Successes only: use it beside tgi/errors.",
        ),
    ),
    source="https://github.com/huggingface/text-generation-inference/blob/main/router/src/server.rs",
    left_out="No time to the first token. Time in the queue tells how busy the pods are, not how good the model is. "
    "The histograms of tokens have bounds that depend on the launcher's limits.",
    bounds="… 65.7ms 98.5ms 148ms 222ms 332ms 499ms 748ms 1.12s 1.68s 2.53s …",
)
