"""TensorFlow Serving.

Metric names begin with a colon, which PromQL allows. Durations are microseconds although no name says so.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["TFSERVING"]

TFSERVING: Final = Server(
    title="TensorFlow Serving",
    presets=(
        Preset(
            "tfserving/errors",
            "requests whose status is neither OK nor CANCELLED",
            "baseline + 0.5pp",
            bad=':tensorflow:serving:request_count{status!~"OK|CANCELLED"}',
            total=':tensorflow:serving:request_count{status!="CANCELLED"}',
            caveat="Off by default: --monitoring_config_file, path /monitoring/prometheus/metrics. INVALID_ARGUMENT "
            "counts: a model whose inputs changed answers so to everybody; users' own mistakes hit both revisions "
            "alike.",
        ),
        Preset(
            "tfserving/latency",
            "time of a request in the server",
            "120% of baseline",
            histogram=":tensorflow:serving:request_latency",
            unit="us",
            caveat="Successes only: a candidate that fails its slow requests looks faster, so use it beside "
            "tfserving/errors. Bounds grow by 1.8 and none is round.",
        ),
    ),
    source="https://github.com/tensorflow/serving/blob/master/tensorflow_serving/servables/tensorflow/util.cc",
    left_out="No label of the version: the revisions are told apart by their pods.",
    bounds="1.1ms 1.98ms 3.57ms 6.43ms 11.6ms 20.8ms 37.5ms 67.5ms 121ms 219ms 393ms 708ms …",
)
