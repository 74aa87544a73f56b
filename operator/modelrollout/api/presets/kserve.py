"""KServe's Python model server (custom predictors and the sklearn, xgboost, lightgbm, huggingface runtimes).

It times its stages and counts nothing else: no requests, no status.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["KSERVE"]

_HIDDEN: Final = "Requests that raised are in it and cannot be told apart. No errors here: take them from the gateway."

KSERVE: Final = Server(
    title="KServe (Python server)",
    presets=(
        Preset(
            "kserve/predict",
            "time in predict()",
            "120% of baseline",
            histogram="request_predict_seconds",
            caveat=_HIDDEN,
        ),
        Preset(
            "kserve/preprocess",
            "time in preprocess()",
            "120% of baseline",
            histogram="request_preprocess_seconds",
            caveat=_HIDDEN,
        ),
        Preset(
            "kserve/postprocess",
            "time in postprocess()",
            "120% of baseline",
            histogram="request_postprocess_seconds",
            caveat=_HIDDEN,
        ),
    ),
    source="https://github.com/kserve/kserve/blob/master/python/kserve/kserve/metrics.py",
    left_out="No counter of requests or failures, and no time from end to end. KServe with Triton, vLLM or TF Serving "
    "as its runtime exports that server's metrics: use its presets. Knative's queue-proxy counts at a sidecar that "
    "pods of a plain Deployment do not have.",
    bounds="5ms 10ms 25ms 50ms 75ms 100ms 250ms 500ms 750ms 1s 2.5s 5s 7.5s 10s",
)
