"""The page's answers: to whom, with which headers, and that it reads and never writes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from modelrollout.web.access import Access
from modelrollout.web.readings import Readings
from modelrollout.web.server import HEADERS, WebPage
from modelrollout.web.settings import WebSettings
from tests.unit.cli.states import NOW, STATES
from tests.unit.web.cluster import Clock, Known, Reviews
from tests.unit.web.test_readings import ROLLOUT, look

_ONE = "/api/v1/rollouts/recs/ranker"
_LIST = "/api/v1/rollouts"


class Page:
    """A running page and what is behind it."""

    def __init__(self) -> None:
        self.known, self.readings, self.reviews, self.clock = Known(), Readings(), Reviews(), Clock()
        settings = WebSettings.parse("127.0.0.1:8090")
        page = WebPage(settings, self.known, self.readings, Access(self.reviews, self.clock), self.clock)
        self.client = TestClient(TestServer(page.application()))

    async def get(self, path: str, who: str = "", **headers: str) -> ClientResponse:
        token = {"Authorization": f"Bearer {who}-token"} if who else {}
        return await self.client.get(path, headers=token | headers)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    running = Page()
    await running.client.start_server()
    yield running
    await running.client.close()


async def test_detail_41_the_page_begins_with_the_three_lines(page: Page) -> None:
    found = await (await page.get(_ONE, "alice")).json()
    assert found["lines"]["now"].startswith("version 41 serves 50 % of users (ctr 3.00 %")
    assert "ctr: 2.41 % against 3.00 % of the baseline" in found["lines"]["why"]
    assert found["lines"]["next"] == "weight 100 % in 18m if the gates hold"
    assert [step["state"] for step in found["steps"]] == ["done", "current", "toCome"]


async def test_detail_41_every_command_of_the_page_has_its_plain_kubectl(page: Page) -> None:
    found = await (await page.get(_ONE, "alice")).json()
    assert [one["title"] for one in found["commands"]] == ["abort", "pause", "promote", "promote --full"]
    for one in found["commands"]:
        assert one["command"].startswith("kubectl modelrollout ")
        assert one["kubectl"].startswith("kubectl create -f - <<EOF\n")
        assert "revision: 77aa01c4ee90" in one["kubectl"], "it cannot hit a later version"


async def test_everybody_sees_what_the_cluster_lets_them_see(page: Page) -> None:
    for who, seen in (("alice", ["recs"]), ("bob", ["ads"]), ("root", ["ads", "recs"])):
        found = await (await page.get(_LIST, who)).json()
        assert [one["namespace"] for one in found["items"]] == seen
        assert await (await page.get("/api/v1/me", who)).json() == {"user": who}
    assert (await page.get(_ONE, "bob")).status == 403
    assert (await page.get("/api/v1/rollouts/recs/no-such", "bob")).status == 403, "not even whether it is there"
    assert (await page.get("/api/v1/rollouts/recs/no-such", "alice")).status == 404
    assert (await page.get(f"{_LIST}?namespace=recs", "bob")).status == 403
    assert (await page.get(f"{_LIST}?namespace=ads", "bob")).status == 200
    page.known.bodies.pop(("ads", "banner"))
    nothing = await page.get(_LIST, "bob")
    assert nothing.status == 403
    assert "bob may not list modelrollouts" in (await nothing.json())["error"]


async def test_pods_are_shown_to_who_may_list_deployments(page: Page) -> None:
    assert (await (await page.get(_ONE, "alice")).json())["pods"] is None
    assert len((await (await page.get(_ONE, "root")).json())["pods"]) == 2


async def test_the_preflight_is_told_with_what_holds_first(page: Page) -> None:
    page.known.bodies["recs", "ranker"] = STATES["preflight"][0]
    found = (await (await page.get(_ONE, "alice")).json())["preflight"]
    assert found[0]["check"] == "gate errors"
    assert found[0]["state"] == "Failed"
    assert "knows no metric ranker_request_total" in found[0]["message"]
    assert (await (await page.get("/api/v1/rollouts/ads/banner", "bob")).json())["preflight"] == []


async def test_what_was_adopted_is_called_external_and_not_by_a_version(page: Page) -> None:
    page.known.bodies["recs", "ranker"] = STATES["adopted"][0]
    found = await (await page.get(_ONE, "alice")).json()
    assert found["adopted"] == "external is Deployment ranker: stable with 3 pods, left as it is"
    assert found["versions"]["stable"] == "external"


@pytest.mark.parametrize("path", [_LIST, _ONE])
async def test_without_a_token_there_are_no_data(page: Page, path: str) -> None:
    for who in ("", "mallory"):
        answer = await page.get(path, who)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(await answer.json()) == {"error", "remedy"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", _LIST, _ONE, "/nothing"])
async def test_it_reads_and_never_writes(page: Page, method: str, path: str) -> None:
    answer = await page.client.request(method, path, headers={"Authorization": "Bearer root-token"})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"
    assert page.reviews.asked == []


@pytest.mark.parametrize("path", ["/", "/app.js", "/style.css", "/icon.svg", "/nothing", _LIST, "/../../etc/passwd"])
async def test_every_answer_is_locked_down(page: Page, path: str) -> None:
    answer = await page.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "Set-Cookie" not in answer.headers
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", ["/%2e%2e/server.py", "/static/app.js", "/index.html", "/api", "/api/v1/rollouts/a"])
async def test_nothing_else_is_served(page: Page, path: str) -> None:
    assert (await page.get(path, "root")).status == 404


@pytest.mark.parametrize("name", ["x;rm -rf", "A", "-a", "a%2Fb", "$(id)", "a" * 300])
async def test_what_is_no_name_is_not_repeated_in_a_command(page: Page, name: str) -> None:
    answer = await page.get(f"/api/v1/rollouts/{name}/ranker", "alice")
    assert answer.status in (400, 404)
    assert "rm" not in await answer.text()


async def test_who_has_it_already_is_told_so(page: Page) -> None:
    first = await page.get(_ONE, "alice")
    again = await page.get(_ONE, "alice", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    page.known.now = look(NOW, message="something happened")
    page.clock.now += 1.0
    changed = await page.get(_ONE, "alice", **{"If-None-Match": first.headers["ETag"]})
    assert changed.status == 200
    assert "something happened" in (await changed.json())["lines"]["why"], "the numbers of the last look"


async def test_a_document_is_made_once_a_second_for_all_who_look(page: Page) -> None:
    tags = {(await page.get(_ONE, who)).headers["ETag"] for who in ("alice", "alice")}
    page.known.now = look(NOW, message="something happened")
    tags.add((await page.get(_ONE, "alice")).headers["ETag"])
    assert len(tags) == 1
    assert (await (await page.get(_ONE, "root")).json())["pods"], "but not for who may see more"


async def test_nobody_takes_the_operators_time_from_the_releases(page: Page) -> None:
    statuses = [(await page.get(_ONE, "alice")).status for _ in range(60)]
    assert statuses == [200] * 40 + [429] * 20
    assert (await page.get(_ONE, "root")).status == 200, "others are not held up"
    page.clock.now += 1.0
    assert (await page.get(_ONE, "alice")).status == 200


async def test_the_charts_have_their_points(page: Page) -> None:
    assert (await (await page.get(_ONE, "alice")).json())["readings"] is None
    for number in range(3):
        at = NOW + timedelta(seconds=15 * number)
        page.readings.note(ROLLOUT, look(at), at)
    page.clock.now += 1.0
    found = (await (await page.get(_ONE, "alice")).json())["readings"]
    assert found["gates"]["ctr"]["value"] == [0.0241] * 3
    assert found["trialSince"] == "2026-11-21T09:00:00Z"


async def test_an_object_of_another_version_is_said_not_to_be_readable(page: Page) -> None:
    page.known.bodies["recs", "ranker"]["status"] = {"phase": "Dreaming"}
    answer = await page.get(_ONE, "alice")
    assert answer.status == 422
    assert "kubectl get mro ranker -n recs -o yaml" in (await answer.json())["remedy"]
    assert (await (await page.get(_LIST, "alice")).json())["items"][0]["phase"] == "Dreaming"


async def test_a_fault_is_said_without_a_traceback(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("secret innards")

    monkeypatch.setattr(page.known, "every", broken)
    answer = await page.get(_LIST, "alice")
    assert answer.status == 500
    assert "innards" not in await answer.text()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_users_wrote_is_data(page: Page) -> None:
    evil = "<img src=x onerror=alert(1)></script>"
    page.known.now = look(NOW, message=evil)
    answer = await page.get(_ONE, "alice")
    assert answer.content_type == "application/json"
    assert json.loads(await answer.text())["lines"]["why"].startswith(evil)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("8090", "write ADDRESS:PORT"),
        ("localhost:8090", "write ADDRESS:PORT"),
        ("127.0.0.1:0", "from 1 to 65535"),
        ("127.0.0.1:", "from 1 to 65535"),
        ("0.0.0.0:8090", "kubectl port-forward"),
        ("[::]:8090", "certificate and key"),
    ],
)
def test_an_address_that_would_be_wrong_is_refused(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        WebSettings.parse(text)
    assert remedy in str(refused.value)


def test_outside_the_machine_it_speaks_tls() -> None:
    cert, key = Path("tls.crt"), Path("tls.key")
    assert WebSettings.parse("[::]:8443", cert, key) == WebSettings("::", 8443, cert, key)
    assert WebSettings.parse("[::1]:8090").host == "::1"
    with pytest.raises(ValueError, match="both"):
        WebSettings.parse("127.0.0.1:8090", cert)
