"""Ray Serve, where each pod runs a Ray node of its own (``serve run`` in a Deployment).

The counter of requests counts successes alone, and Ray also exports a gauge copy of each counter by the bare name.
"""

from __future__ import annotations

from typing import Final

from modelrollout.api.presets.base import Preset, Server

__all__ = ["RAYSERVE"]

_EACH: Final = "A request that passes several deployments counts in each: say where: 'deployment=\"Ranker\"'."

RAYSERVE: Final = Server(
    title="Ray Serve",
    presets=(
        Preset(
            "rayserve/errors",
            "requests of a deployment that raised an exception",
            "baseline + 0.5pp",
            bad="ray_serve_deployment_error_counter_total",
            others="ray_serve_deployment_request_counter_total",
            caveat=f"Exceptions alone: an answer 5xx that the code itself made is a success. {_EACH}",
        ),
        Preset(
            "rayserve/latency",
            "time of a request in a deployment's replica",
            "120% of baseline",
            histogram="ray_serve_deployment_processing_latency_ms",
            caveat=f"Failed requests are in it: use it beside rayserve/errors. {_EACH}",
        ),
    ),
    source="https://docs.ray.io/en/latest/serve/monitoring.html",
    left_out="Several releases in one Ray cluster share their nodes' pods: there the revisions cannot be told apart. "
    "Names without `_total` are gauge copies of the counters.",
    bounds="1ms 2ms 5ms 10ms 20ms 50ms 100ms 200ms 300ms 400ms 500ms 1s 2s 5s 10s …",
)
