"""The frontend books impressions and clicks on the revision that answered, and says what users saw failing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo.server import REVISION_HEADER
from demo.training import Trained, TrainingSet
from demo.users import Clicks, Frontend, Settings


class Gateway:
    """Answers with a perfect ranking, as long as it is not told otherwise."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels
        self.status = 200
        self.revision = "0f3c9a1be2"
        self.hosts: list[str] = []

    async def rank(self, request: web.Request) -> web.Response:
        self.hosts.append(request.headers["Host"])
        question: dict[str, Any] = await request.json()
        images = sorted(question["images"], key=lambda image: self.labels[image] != question["digit"])
        headers = {REVISION_HEADER: self.revision} if self.revision else {}
        return web.json_response({"images": images}, status=self.status, headers=headers)


@pytest.fixture
def gateway(digits: TrainingSet) -> Gateway:
    """What stands in for the gateway."""
    return Gateway([int(label) for label in digits.served_labels])


@pytest.fixture
def counts() -> Clicks:
    """What the frontend counts."""
    return Clicks()


@pytest.fixture
async def frontend(gateway: Gateway, counts: Clicks, trained: Trained) -> AsyncIterator[Frontend]:
    """A frontend whose users click without hesitation."""
    app = web.Application()
    app.router.add_post("/rank", gateway.rank)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        environment = {
            "POD_IP": "127.0.0.1",
            "GATEWAY_URL": str(server.make_url("/")),
            "GATEWAY_HOSTNAME": "ranker.example.com",
            "LABELS_URI": trained.labels_uri,
        }
        settings = replace(Settings.from_environment(environment), click_seconds=(0.0, 0.0))
        yield Frontend(settings, session, counts, Random(5))


def value(counts: Clicks, name: str, **labels: str) -> float | None:
    """One counter's value; None when the series does not exist."""
    found = counts.registry.get_sample_value(name, labels)
    return None if found is None else float(found)


async def test_clicks_are_booked_on_the_revision_that_answered(
    frontend: Frontend, gateway: Gateway, counts: Clicks
) -> None:
    for _ in range(100):
        await frontend.visit()
    clicks = value(counts, "ranker_clicks_total", revision="0f3c9a1be2")
    assert value(counts, "ranker_impressions_total", revision="0f3c9a1be2") == 100.0
    assert clicks is not None
    assert 40.0 < clicks < 80.0
    assert value(counts, "frontend_requests_total", result="answered") == 100.0
    assert value(counts, "frontend_requests_total", result="failed") == 0.0
    assert set(gateway.hosts) == {"ranker.example.com"}


async def test_a_revisions_clicks_are_counted_from_zero(frontend: Frontend, counts: Clicks) -> None:
    counts.shown("another")
    assert value(counts, "ranker_clicks_total", revision="another") == 0.0


@pytest.mark.parametrize(("status", "revision"), [(503, "0f3c9a1be2"), (200, "")])
async def test_what_users_saw_failing_is_counted_and_is_no_impression(
    frontend: Frontend, gateway: Gateway, counts: Clicks, status: int, revision: str
) -> None:
    gateway.status, gateway.revision = status, revision
    await frontend.visit()
    assert value(counts, "frontend_requests_total", result="failed") == 1.0
    assert value(counts, "frontend_requests_total", result="answered") == 0.0
    assert value(counts, "ranker_impressions_total", revision="0f3c9a1be2") is None
