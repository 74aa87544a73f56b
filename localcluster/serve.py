"""``python -m localcluster up``: a cluster to play with, until ^C."""

import signal
import sys

from localcluster.cluster import LocalCluster


def serve() -> int:
    """Start a cluster, say how to reach it, and keep it until a signal comes."""
    # A SIGTERM ends the block below as a ^C does, instead of ending this process where it stands.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LocalCluster.start(progress=_say) as cluster:
            _say(_how_to_reach(cluster))
            signal.pause()
    except KeyboardInterrupt:
        _say("stopped")
    return 0


def _how_to_reach(cluster: LocalCluster) -> str:
    reach = cluster.published
    if reach is None:
        return "It is not reachable from outside; use  python -m localcluster up --publish  for that. Stop it with ^C."
    return (
        f"export KUBECONFIG={reach.kubeconfig}\n"
        f"gateway:    {reach.gateway_url}\n"
        f"Prometheus: {reach.prometheus_url}\n"
        "Stop it with ^C."
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
