"""Which metrics a service has: asked of what servers really export."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from modelrollout.metrics.client import Answer
from modelrollout.starting.evidence import Seen, look
from tests.support.expositions import Exposition

_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_POD = "ranker-aaaaaaaaaa-7d9c5b6f4-abcde"


class _Prometheus:
    """Answers the few forms of queries that are asked; everything happened in the last hour, evenly."""

    def __init__(self, *scraped: Exposition) -> None:
        self._scraped = scraped
        self.asked = 0

    async def instant(self, query: str, at: datetime) -> Answer:
        self.asked += 1
        grouped = re.fullmatch(r"group by \((.*?)\) \((.*)\)", query)
        if grouped is not None:
            keys = grouped.group(1).split(",")
            rows = self._rows(grouped.group(2))
            found = {tuple((key, row["metric"][key]) for key in keys if key in row["metric"]) for row in rows}
            return Answer("vector", [{"metric": dict(one), "value": [0, "1"]} for one in sorted(found)], None)
        summed = re.fullmatch(r"sum( by \(le\))? \((rate|increase)\((.*)\[\w+\]\)\)", query)
        assert summed is not None, query
        sums: dict[str, float] = defaultdict(float)
        for row in self._rows(summed.group(3)):
            sums[row["metric"].get("le", "")] += float(row["value"][1]) / (3600.0 if summed.group(2) == "rate" else 1.0)
        return Answer("vector", [{"metric": {"le": le}, "value": [0, str(value)]} for le, value in sums.items()], None)

    def _rows(self, selector: str) -> list[dict[str, Any]]:
        return [row for one in self._scraped for row in one.rows(selector)]


def _look(source: _Prometheus) -> dict[str, Seen]:
    told = {"namespace": "recs", "deployment": "ranker-aaaaaaaaaa", "service": "ranker-aaaaaaaaaa"}
    return {one.preset.name: one for one in asyncio.run(look(source, _AT, port=80, **told))}


def _server(name: str) -> Exposition:
    return Exposition(name, namespace="recs", pod=_POD)


def test_the_presets_of_a_server_and_of_the_gateway_before_it_are_found() -> None:
    source = _Prometheus(_server("vllm"), Exposition("envoy", namespace="ingress", pod="envoy-x"))
    found = _look(source)
    assert set(found) == {"vllm/errors", "vllm/latency", "vllm/ttft", "vllm/tpot", "envoy/errors", "envoy/latency"}
    assert found["envoy/errors"].bad == pytest.approx(0.04)
    assert found["envoy/errors"].rate == pytest.approx(1000.0 / 3600.0)
    assert found["vllm/ttft"].quantile == pytest.approx(6.0, abs=0.1)
    assert source.asked < 30


@pytest.mark.parametrize(("server", "bad"), [("triton", 45.0 / 6005.0), ("rayserve", 0.05), ("tgi", 0.02)])
def test_failures_beside_successes_are_a_share_of_both(server: str, bad: float) -> None:
    assert _look(_Prometheus(_server(server)))[f"{server}/errors"].bad == pytest.approx(bad)


def test_microseconds_are_read_as_such() -> None:
    seen = _look(_Prometheus(_server("tfserving")))["tfserving/latency"]
    assert seen.durations.bounds[0] == pytest.approx(1e-5)
    assert (seen.quantile or 0.0) < 60.0


def test_other_people_s_pods_and_services_are_not_looked_at() -> None:
    elsewhere = Exposition("vllm", namespace="ads", pod=_POD)
    another = Exposition("triton", namespace="recs", pod="search-aaaaaaaaaa-7d9c5b6f4-abcde")
    assert not _look(_Prometheus(elsewhere, another))


def test_what_looks_like_requests_is_offered_when_nothing_is_known() -> None:
    source = _Prometheus(_server("vllm"))
    kept = [one for one in source._scraped[0].samples if one[0] == "http_requests_total"]
    source._scraped[0].samples = [(f"shop_{name}", labels, value) for name, labels, value in kept]
    source._scraped[0].samples += [("shop_request_seconds_bucket", {"le": "+Inf", **kept[0][1]}, 7.0)]
    found = _look(source)
    assert set(found) == {"own/errors", "own/latency"}
    assert found["own/errors"].preset.bad == 'shop_http_requests_total{status=~"5.."}'
    assert "no probes" in found["own/errors"].preset.caveat
