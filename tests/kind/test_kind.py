"""The kind set-up: created, reachable, deleted. Skipped, with the reason, where there is no container engine."""

import json
import urllib.error
import urllib.request

import pytest

from localcluster import eventually
from localcluster.kind import KindProvider, unavailable
from localcluster.provider import ClusterAccess

_REASON = unavailable()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


def test_gateway_and_prometheus_answer() -> None:
    with KindProvider().open(print) as access:
        eventually(lambda: _status(access.gateway_url) == 404, "the gateway to answer", timeout=60)
        eventually(lambda: _up(access), "Prometheus to see Envoy", timeout=60)


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _up(access: ClusterAccess) -> bool:
    url = f"{access.prometheus_url}/api/v1/query?query=up%7Bjob%3D%22envoy%22%7D"
    with urllib.request.urlopen(url, timeout=5) as answer:
        found = json.load(answer)["data"]["result"]
    return bool(found) and found[0]["value"][1] == "1"
