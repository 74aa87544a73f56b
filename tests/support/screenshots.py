"""The web page with rollouts in the states that people meet, for looking at and for the pictures in the docs.

``python -m tests.support.screenshots`` writes docs/img/web-*.png anew (it needs /usr/bin/chromium);
``python -m tests.support.screenshots serve`` serves the page on port 8090 until ^C: any token of letters is taken.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import random
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from playwright.async_api import Browser, async_playwright

from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.web.access import Access
from modelrollout.web.readings import Readings
from modelrollout.web.server import WebPage
from modelrollout.web.settings import WebSettings
from tests.support.browser import CHROMIUM, FLAGS
from tests.unit.cli.states import NOW, STATES

_IMAGES: Final = Path(__file__).parents[2] / "docs" / "img"
_SHOWN: Final = {
    "ranker": "breached",
    "search": "progressing",
    "fraud": "rolled-back",
    "prices": "paused",
    "ads": "blind",
    "titles": "stable",
    "greeter": "first",
}
_SHOTS: Final = (
    ("web-list", "#/", 1280, 660, "light"),
    ("web-rollout", "#/recs/ranker", 1600, 1180, "light"),
    ("web-rollout-dark", "#/recs/fraud", 1280, 1000, "dark"),
    ("web-phone", "#/recs/ranker", 390, 844, "light"),
    ("web-sign-in", "", 900, 520, "light"),
)

Body = dict[str, Any]


class World:
    """Rollouts in memory, as the operator would know them."""

    def __init__(self, now: datetime, states: dict[str, str] = _SHOWN, looks: int = 170) -> None:
        self.readings = Readings()
        self.bodies: dict[tuple[str, str], Body] = {}
        self._pods: dict[tuple[str, str], list[Body]] = {}
        for name, state in states.items():
            body, pods = copy.deepcopy(STATES[state])
            body = _shifted(body, now - NOW)
            body["metadata"]["name"] = name
            body["metadata"]["uid"] = f"uid-of-{name}"
            body["metadata"]["namespace"] = "recs"
            if "status" in body:
                body["status"]["columns"] = _columns(body["status"])
                self._remember(body, now, looks)
            self.bodies["recs", name] = body
            self._pods["recs", name] = pods or []

    def _remember(self, body: Body, now: datetime, looks: int) -> None:
        """Looks at a release in which the click rate falls, as the reconciler would have noted them."""
        rollout = Rollout.parse(body)
        ended = rollout.status.failed
        candidate = body["status"].get("candidate") or (json.loads(ended.model_dump_json()) if ended else None)
        if not candidate or not rollout.status.stable:
            return
        chance = random.Random(7)
        for look in range(looks):
            at = now - timedelta(seconds=15 * (looks - 1 - look))
            done = look / (looks - 1)
            status = _look(body["status"], candidate, done, at, chance)
            self.readings.note(rollout, status, at)

    def every(self) -> list[tuple[str, str]]:
        return list(self.bodies)

    def rollout(self, key: tuple[str, str]) -> Body | None:
        return self.bodies.get(key)

    def live(self, key: tuple[str, str], uid: str) -> ModelRolloutStatus | None:
        return None

    def deployments(self, key: tuple[str, str]) -> list[Body]:
        return self._pods[key]


def _shifted(body: Body, by: timedelta) -> Body:
    """With every time moved, so that what was a minute ago is a minute ago."""

    def move(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0].replace("Z", "+00:00")) + by
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    moved = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", move, json.dumps(body))
    return dict(json.loads(moved))


def _columns(status: Body) -> dict[str, str]:
    step = status.get("step")
    gates = status.get("gates") or []
    bad = next((gate for gate in gates if gate["verdict"] in ("Breached", "Blind")), None)
    return {
        "step": f"{step['number']}/{step['of']}" if step else "-",
        "weight": f"{status.get('weight', 0)}%" if status.get("candidate") else "-",
        "gates": "-" if not gates else f"{bad['name']} {bad['verdict']}" if bad else f"{len(gates)}/{len(gates)} ok",
    }


def _look(status: Body, candidate: Body, done: float, at: datetime, chance: random.Random) -> ModelRolloutStatus:
    weight = 10 if done < 0.3 else 50
    wide = 0.011 / math.sqrt(1 + 40 * done)
    fall = 0.0059 * min(1.0, max(0.0, done - 0.3) * 1.6)
    bad = any(gate["verdict"] == "Breached" for gate in status.get("gates") or [])
    click = 0.03 - (fall if bad else 0.0) + chance.gauss(0, wide / 6)
    base = 0.03 + chance.gauss(0, wide / 14)
    beyond = 0.99 * base - click
    growth = min(1.0, max(0.0, done - 0.35) * 1.55) if bad else 0.12 * done
    slow, usual = 0.143 + chance.gauss(0, 0.004), 0.139 + chance.gauss(0, 0.002)
    gates = [
        {"name": "ctr", "verdict": "NoHarmSeen", "value": click, "baseline": base, "evidence": growth,
         "low": beyond - wide, "high": beyond + wide},
        {"name": "p95", "verdict": "Proven", "value": slow, "baseline": usual, "evidence": 0.0},
        {"name": "errors", "verdict": "NoHarmSeen", "value": 0.0021 + chance.gauss(0, wide / 40),
         "baseline": 0.002 + chance.gauss(0, wide / 80), "low": -0.002 - wide / 9, "high": -0.002 + wide / 9,
         "evidence": 0.2 * done},
    ]  # fmt: skip
    trial = {key: candidate[key] for key in ("revision", "version")} | {"since": candidate.get("since")}
    found = {"candidate": trial, "weight": weight, "observedWeight": weight, "gates": gates, "evaluatedAt": at}
    return ModelRolloutStatus.model_validate(found)


class Everybody:
    """An API server that lets everybody in."""

    async def create(self, path: str, body: Body) -> Body:
        if "tokenreviews" in path:
            return {"status": {"authenticated": True, "user": {"username": "alice"}}}
        return {"status": {"allowed": True}}


async def serve(port: int, world: World) -> web.AppRunner:
    """The page on a port of this machine."""
    settings = WebSettings.parse(f"127.0.0.1:{port}")
    runner = web.AppRunner(WebPage(settings, world, world.readings, Access(Everybody())).application())
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port).start()
    return runner


async def _shoot(browser: Browser, port: int, name: str, way: str, width: int, height: int, scheme: Any) -> None:
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = await context.new_page()
    if way:
        await page.add_init_script("sessionStorage.setItem('modelrollout-token', 'alice')")
    await page.goto(f"http://127.0.0.1:{port}/{way}")
    await page.wait_for_selector("h1")
    await page.wait_for_timeout(400)
    await page.screenshot(path=_IMAGES / f"{name}.png", full_page=False)
    await context.close()


async def _main() -> None:
    port = 8090 if sys.argv[1:] else 8099
    runner = await serve(port, World(datetime.now(NOW.tzinfo)))
    if sys.argv[1:] == ["serve"]:
        await asyncio.Event().wait()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        for shot in _SHOTS:
            await _shoot(browser, port, *shot)
        await browser.close()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
