"""The model server, spoken to as the gateway and Prometheus speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from demo.server import REVISION_HEADER, FeatureStore, Settings, application
from demo.training import Trained, TrainingSet

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(trained: Trained) -> AsyncIterator[Client]:
    """A client of a server of the second version."""
    environment = {
        "POD_IP": "127.0.0.1",
        "MODEL_URI": trained.model_uris["v2"],
        "MODEL_REVISION": "0f3c9a1be2",
        "FEATURES_URI": trained.features_uri,
    }
    async with TestClient(TestServer(application(Settings.from_environment(environment)))) as found:
        yield found


async def metrics(client: Client) -> list[str]:
    """The lines of /metrics that carry values."""
    response = await client.get("/metrics")
    assert response.status == 200
    return [line for line in (await response.text()).splitlines() if not line.startswith("#")]


async def test_the_best_match_comes_first(client: Client, digits: TrainingSet) -> None:
    images = list(range(20))
    response = await client.post("/rank", json={"digit": int(digits.served_labels[3]), "images": images})
    body: dict[str, Any] = await response.json()
    assert response.status == 200
    assert sorted(body["images"]) == images
    assert digits.served_labels[body["images"][0]] == digits.served_labels[3]


async def test_every_answer_names_the_revision(client: Client) -> None:
    for question in ({"digit": 3, "images": [1, 2]}, {"digit": "three"}):
        response = await client.post("/rank", json=question)
        assert response.headers[REVISION_HEADER] == "0f3c9a1be2"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"digit": 10, "images": [1]}', b'{"digit": 1, "images": []}', b'{"digit": 1, "images": [600]}'],
)
async def test_a_question_that_makes_no_sense_is_the_users_fault(client: Client, body: bytes) -> None:
    response = await client.post("/rank", data=body)
    assert response.status == 400
    assert 'ranker_requests_total{code="400"} 1.0' in await metrics(client)


async def test_answers_are_counted_and_timed_and_nothing_else_is(client: Client) -> None:
    for _ in range(3):
        await client.post("/rank", json={"digit": 1, "images": [1, 2, 3]})
    assert (await client.get("/ready")).status == 200
    lines = await metrics(client)
    assert 'ranker_requests_total{code="200"} 3.0' in lines
    assert "ranker_request_seconds_count 3.0" in lines
    assert any(line.startswith('ranker_request_seconds_bucket{le="0.2"}') for line in lines)


async def test_the_counters_begin_at_zero(client: Client) -> None:
    assert 'ranker_requests_total{code="200"} 0.0' in await metrics(client)


class Naps:
    """Stands in for asyncio.sleep and keeps what was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_a_cold_cache_makes_the_first_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = Naps()
    monkeypatch.setattr("demo.server.asyncio.sleep", naps)
    cold = FeatureStore(np.eye(4), cold_seconds=60.0, request_seconds=0.0, random=Random(1))
    await cold.fetch([0, 1])
    assert naps.seconds == [0.3]
    warm = FeatureStore(np.eye(4), cold_seconds=0.0, request_seconds=0.0, random=Random(1))
    assert (await warm.fetch([2, 3])).tolist() == np.eye(4)[[2, 3]].tolist()
    assert naps.seconds == [0.3]


async def test_a_far_feature_store_makes_most_requests_slower_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    naps = Naps()
    monkeypatch.setattr("demo.server.asyncio.sleep", naps)
    store = FeatureStore(np.eye(4), cold_seconds=0.0, request_seconds=0.3, random=Random(1))
    for _ in range(200):
        await store.fetch([0])
    slow = sum(nap > 0.2 for nap in naps.seconds) / len(naps.seconds)
    assert 0.7 < slow < 0.95
    assert max(naps.seconds) <= 0.45
