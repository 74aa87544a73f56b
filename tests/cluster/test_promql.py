"""Queries as Prometheus itself reads them: whatever a selector holds, one metric of one namespace is asked for."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

from modelrollout.api.grammar import parse_selector
from modelrollout.metrics.answers import Question
from modelrollout.metrics.snapshot import Want
from tests.fuzz.targets import selectors
from tests.support.exporters import real_prometheus


def _tree(url: str, query: str) -> dict[str, Any] | None:
    """What Prometheus makes of a query; None when it refuses it (an escape or a regular expression that is none)."""
    try:
        with urllib.request.urlopen(
            f"{url}/api/v1/parse_query?query={urllib.parse.quote(query)}", timeout=10
        ) as answer:
            return dict(json.load(answer)["data"])
    except urllib.error.HTTPError as error:
        assert error.code == 400
        return None


def _read(node: Any) -> Iterator[dict[str, Any]]:
    """Every selector in a query."""
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _read(one)
    if isinstance(node, dict) and node.get("type") in ("vectorSelector", "matrixSelector"):
        yield node


def test_detail_30_a_real_prometheus_sees_one_namespace(tmp_path: Path) -> None:
    read: list[str] = []
    with real_prometheus(tmp_path / "prometheus", []) as url:

        @settings(max_examples=80, derandomize=True, database=None, deadline=None, suppress_health_check=[*HealthCheck])
        @given(selectors)
        def ask(text: str) -> None:
            try:
                selector = parse_selector(text)
            except ValueError:
                return
            query = Question(
                [
                    ((Want(selector.name, selector.matchers),), ("recs", "b")),
                ],
                gone=True,
            ).promql
            for one in _read(_tree(url, query) or {}):
                assert one["name"] == selector.name
                ours = [match for match in one["matchers"] if match["name"] == "namespace"]
                assert ours == [{"name": "namespace", "type": "=~", "value": "b|recs"}], query
                read.append(query)

        ask()
    assert len(set(read)) > 25, "most of them are queries"
