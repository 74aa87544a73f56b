"""The page in a real browser, in every state that people meet: whole, quiet, for everybody, and text stays text."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.support.browser import CHROMIUM, FLAGS
from tests.support.screenshots import World, serve
from tests.unit.cli.states import NOW, STATES

pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed: scripts/setup-system"),
    pytest.mark.asyncio(loop_scope="module"),
]

_CHECKS: Final = (Path(__file__).parents[2] / "support" / "accessible.js").read_text(encoding="utf-8")
_LOOKS: Final[tuple[tuple[int, Literal["light", "dark"]], ...]] = ((390, "light"), (1280, "dark"))
_EVIL: Final = "<img src=x onerror=alert(1)><script>alert(2)</script>"
_SIGN_IN: Final = "sessionStorage.setItem('modelrollout-token', 'alice')"


class Look:
    """A page of a world, and what went wrong in it."""

    def __init__(self, page: Page, url: str, world: World) -> None:
        self.page, self.url, self.world = page, url, world
        self.troubles: list[str] = []
        page.on("console", lambda said: self.troubles.append(said.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", lambda dialog: self.troubles.append(dialog.message))

    async def at(self, way: str) -> str:
        """Go there; what is to be read."""
        await self.page.goto(f"{self.url}/#/{way}")
        await self.page.reload()
        await self.page.wait_for_selector("h1")
        return await self.page.locator("main").inner_text()

    async def wrong(self) -> list[str]:
        """At a telephone's and a desk's width, in light and dark."""
        found: list[str] = []
        for width, scheme in _LOOKS:
            await self.page.set_viewport_size({"width": width, "height": 900})
            await self.page.emulate_media(color_scheme=scheme)
            await self.page.wait_for_timeout(80)
            found += [f"{width} {scheme} {one}" for one in await self.page.evaluate(_CHECKS)]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def look(browser: Browser) -> AsyncIterator[Look]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    world = World(datetime.now(NOW.tzinfo), {state: state for state in STATES}, looks=20)
    runner = await serve(port, world)
    context = await browser.new_context()
    page = await context.new_page()
    await page.add_init_script(_SIGN_IN)
    yield Look(page, f"http://127.0.0.1:{port}", world)
    await context.close()
    await runner.cleanup()


async def test_detail_41_every_state_is_shown_to_everybody(look: Look) -> None:
    assert "rolled-back" in await look.at("")
    assert await look.wrong() == []
    for state in STATES:
        text = await look.at(f"recs/{state}")
        assert text.index("Now") < text.index("Why") < text.index("Next") < text.index("STEPS"), state
        assert await look.wrong() == [], state
    assert look.troubles == []


def _made_evil(body: dict[str, Any]) -> dict[str, Any]:
    """Whatever is a sentence or a version says something that HTML would obey."""

    fields = re.compile(r'("(?:version|message|next|observed|by|unseen|underpowered|restartedBecause)": )"[^"]*"')
    status = json.loads(fields.sub(lambda found: found[1] + json.dumps(_EVIL), json.dumps(body["status"])))
    body["spec"]["model"]["version"] = _EVIL
    body["spec"]["steps"][0]["name"] = _EVIL
    return body | {"status": status}


@pytest.mark.parametrize("state", ["noted", "rolled-back"])
async def test_what_people_wrote_stays_text(look: Look, state: str) -> None:
    look.world.bodies["recs", state] = _made_evil(look.world.bodies["recs", state])
    for way in ("", f"recs/{state}"):
        assert _EVIL in await look.at(way)
        assert await look.page.locator("img[src=x], main script").count() == 0
    assert look.troubles == []


async def test_detail_3_what_was_looked_at_before_the_first_traffic_and_what_was_adopted_are_shown(look: Look) -> None:
    text = await look.at("recs/preflight")
    assert text.index("gate errors") < text.index("noise") < text.index("capacity"), "what holds comes first"
    assert "BEFORE THE FIRST TRAFFIC" in text
    assert await look.page.locator(".rollout-head .phase.warn").count() == 1, "it waits for somebody"
    assert "BEFORE THE FIRST TRAFFIC" not in await look.at("recs/progressing")
    assert "Adopted: external is Deployment ranker" in await look.at("recs/adopted")
    empty = look.page.locator(".column > .block:empty")
    assert await empty.count() > 0
    boxes = [await one.bounding_box() for one in await empty.all()]
    assert boxes == [None] * len(boxes), "what is not said takes no room"


async def test_detail_41_each_command_of_the_next_line_stands_by_itself(look: Look) -> None:
    await look.at("recs/frozen")
    assert await look.page.locator(".lines code").all_inner_texts() == [
        "kubectl delete mrf line",
        "kubectl modelrollout promote frozen -n recs --override-freeze -m WHY",
    ]
    await look.at("recs/awaiting")
    assert await look.page.locator(".lines code").all_inner_texts() == [
        'kubectl modelrollout approve awaiting -n recs --role risk -m "why"'
    ]


async def test_what_cannot_be_shown_is_said_with_a_way_on(look: Look) -> None:
    text = await look.at("recs/no-such")
    assert "there is no ModelRollout no-such in namespace recs" in text
    await look.page.get_by_role("link", name="All rollouts").click()
    await look.page.get_by_role("heading", name="Rollouts").wait_for()
    assert "Find" in await look.at("%E0%A4%A"), "an address that is none leads to the list"


async def test_the_list_is_found_by_what_is_typed(look: Look) -> None:
    await look.at("")
    await look.page.get_by_label("Find").fill("rolling")
    rows = look.page.locator("tbody tr")
    assert await rows.count() == 1
    assert "rolling-back" in await rows.inner_text()


async def test_a_command_is_copied_as_it_is(look: Look) -> None:
    await look.at("recs/progressing")
    await look.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await look.page.get_by_role("button", name="Copy the command: abort", exact=True).click()
    await look.page.get_by_text("Copied").wait_for()
    copied = await look.page.evaluate("navigator.clipboard.readText()")
    assert copied == 'kubectl modelrollout abort progressing -n recs -m "why"'
