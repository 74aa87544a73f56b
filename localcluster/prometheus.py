"""Prometheus, finding pods through the API server the way a plain PodMonitor does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localcluster import addresses
from localcluster.process import Program

_POD_META = "__meta_kubernetes_pod_"


def program(
    binary: Path,
    folder: Path,
    kubeconfig: Path,
    environment: Mapping[str, str],
    *,
    scrape_interval: str,
    jobs: Sequence[Mapping[str, Any]] = (),
) -> Program:
    """Prometheus with its data on the cluster's tmpfs: stopped and started again, it still has them.

    ``jobs``: what is scraped in place of the pods and Envoy.
    """
    config = folder / "prometheus.yaml"
    content = configuration(kubeconfig, scrape_interval)
    if jobs:
        content["scrape_configs"] = list(jobs)
    config.write_text(json.dumps(content, indent=2), encoding="utf-8")
    arguments = [
        str(binary),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={addresses.text(addresses.PROMETHEUS)}",
        # New pods are noticed within a second instead of five: with a scrape per second that matters.
        "--scrape.discovery-reload-interval=1s",
        "--log.level=warn",
    ]
    return Program("prometheus", arguments, folder / "logs" / "prometheus.log", environment)


def configuration(kubeconfig: Path | None, scrape_interval: str) -> dict[str, Any]:
    """Two jobs: the pods, with the labels a plain PodMonitor gives, and Envoy's statistics.

    Without a kubeconfig Prometheus runs in the cluster itself, and Envoy's pods are found like the others.
    """
    # A pod's scrape must end before the next begins; 90 % of the interval, at most Prometheus's usual 10 s.
    interval_ms = milliseconds(scrape_interval)
    timeout_ms = min(interval_ms * 9 // 10, 10_000)
    return {
        "global": {"scrape_interval": f"{interval_ms}ms", "scrape_timeout": f"{timeout_ms}ms"},
        "scrape_configs": [
            {
                "job_name": "pods",
                "honor_timestamps": True,
                "kubernetes_sd_configs": [_discovery(kubeconfig)],
                "relabel_configs": _pod_relabelling(),
            },
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                **_envoy_targets(kubeconfig),
            },
        ],
    }


def _discovery(kubeconfig: Path | None) -> dict[str, str]:
    return {"role": "pod", **({"kubeconfig_file": str(kubeconfig)} if kubeconfig else {})}


def _envoy_targets(kubeconfig: Path | None) -> dict[str, Any]:
    if kubeconfig is not None:
        return {"static_configs": [{"targets": [addresses.text(addresses.ENVOY_STATS)]}]}
    labels = [_POD_META + "label_app", _POD_META + "container_port_name"]
    return {
        "kubernetes_sd_configs": [_discovery(None)],
        "relabel_configs": [{"source_labels": labels, "regex": "envoy;metrics", "action": "keep"}],
    }


def milliseconds(duration: str) -> int:
    """A simple Prometheus duration (500ms, 1s, 15s, 1m) as a number."""
    for unit, factor in (("ms", 1), ("s", 1000), ("m", 60_000)):
        number = duration.removesuffix(unit)
        if number != duration and number.isdigit() and int(number) > 0:
            return int(number) * factor
    raise ValueError(f"not a scrape interval: {duration!r}; write it like 500ms, 1s or 1m")


def _pod_relabelling() -> list[dict[str, Any]]:
    """Keep living pods with a port called metrics or http, or whose annotation prometheus.io/scrape says true."""
    return [
        {
            "source_labels": [_POD_META + "annotation_prometheus_io_scrape", _POD_META + "container_port_name"],
            "regex": "true;.+|;(metrics|http)",
            "action": "keep",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "regex": "projectcontour", "action": "drop"},
        {"source_labels": [_POD_META + "phase"], "regex": "Succeeded|Failed", "action": "drop"},
        {"source_labels": [_POD_META + "ip"], "regex": ".+", "action": "keep"},
        {
            "source_labels": [_POD_META + "annotation_prometheus_io_path"],
            "regex": "(.+)",
            "target_label": "__metrics_path__",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [_POD_META + "name"], "target_label": "pod"},
        {"source_labels": [_POD_META + "container_name"], "target_label": "container"},
        {"source_labels": [_POD_META + "container_port_name"], "target_label": "endpoint"},
    ]
