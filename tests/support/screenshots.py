"""The web page with rollouts in the states that people meet, for looking at and for the pictures in the docs.

``python -m tests.support.screenshots`` writes docs/img/web-*.png anew (it needs /usr/bin/chromium);
``python -m tests.support.screenshots serve`` serves the page on port 8090 until ^C: any token of letters is taken.
"""

from __future__ import annotations

import asyncio
import copy
import json
import math
import re
import sys
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiohttp import web
from playwright.async_api import Browser, async_playwright

from modelrollout.api.enums import Verdict
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.engine.gate_tests import compiled
from modelrollout.gates.base import GateTest
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.rate import RateTest
from modelrollout.web.access import Access
from modelrollout.web.readings import Readings
from modelrollout.web.server import WebPage
from modelrollout.web.settings import WebSettings
from tests.support.browser import CHROMIUM, FLAGS
from tests.unit.cli.states import NOW, STATES

_IMAGES: Final = Path(__file__).parents[2] / "docs" / "img"
_SHOWN: Final = {
    "ranker": "progressing",
    "search": "progressing",
    "fraud": "rolled-back",
    "prices": "paused",
    "ads": "blind",
    "titles": "stable",
    "greeter": "first",
}
_CLICKS: Final = {"ranker": 0.9, "fraud": 0.84}
"""Which part of the usual clicks the candidate has at 50 %."""
_EVENTS: Final = 750
"""Requests, and impressions, of both versions in an interval."""
_INTERVAL: Final = timedelta(seconds=15)
_STEP: Final = timedelta(minutes=50)
_FIRST_WEIGHT: Final = 0.1
_PAST: Final = 240
_BOUNDS: Final = (0.05, 0.1, 0.15, 0.2, 0.5, math.inf)
_DURATIONS: Final = (0.3, 0.5, 0.155, 0.035, 0.009, 0.001)
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

    def __init__(self, now: datetime, states: dict[str, str] = _SHOWN, looks: int = 720) -> None:
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
                body["status"]["next"] = body["status"].get("next", "").replace(" ranker ", f" {name} ")
                self._remember(body, now, looks, _CLICKS.get(name, 1.0))
            self.bodies["recs", name] = body
            self._pods["recs", name] = pods or []

    def _remember(self, body: Body, now: datetime, looks: int, clicks: float) -> None:
        """Looks at a release in which the click rate falls with the second step, as the reconciler would have noted
        them, up to a breach; what it had come to then is the status now."""
        rollout = Rollout.parse(body)
        failed, step = rollout.status.failed, rollout.status.step
        candidate = body["status"].get("candidate") or (json.loads(failed.model_dump_json()) if failed else None)
        if not candidate or not rollout.status.stable:
            return
        raised = step.since if step is not None and step.since else now - _STEP
        users = Users(rollout, clicks)
        for look in range(looks):
            at = now - _INTERVAL * (looks - 1 - look)
            status = users.look(candidate, 50 if at > raised else 10, at)
            self.readings.note(rollout, status, at)
            if any(gate.verdict is Verdict.BREACHED for gate in status.gates):
                break
        if rollout.name in _CLICKS:
            body["status"]["gates"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)["gates"]
            _tell(body["status"], status.gates[0])

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


def _tell(status: Body, gate: GateStatus) -> None:
    """Where a release was rolled back, the sentences have the numbers of its gates."""
    if "failed" not in status:
        return
    assert gate.verdict is Verdict.BREACHED, "what was rolled back was breached"
    said = f"{gate.name}: {gate.message}; {gate.samples} samples against {gate.baseline_samples}"
    status["message"] = f"version {status['failed']['version']} was rolled back (GateBreached): {said}"
    status["failed"]["message"] = status["history"][0]["message"] = said


class Users:
    """What Prometheus would have counted of a release in which fewer people click, and what its gates make of it."""

    def __init__(self, rollout: Rollout, clicks: float) -> None:
        self._clicks = clicks
        self._chance = np.random.default_rng(7)
        self._spec = rollout.spec
        self._tests: dict[str, GateTest[Any]] = {}
        for gate in rollout.spec.gates:
            test = compiled(gate, rollout.spec)
            assert isinstance(test, RateTest)
            past = [self._interval(test, NOW, 0.0) for _ in range(_PAST)]
            self._tests[gate.name] = replace(test, history=test.learn(past))
        self._states = {name: test.start() for name, test in self._tests.items()}
        self._weight = 0

    def look(self, candidate: Body, weight: int, at: datetime) -> ModelRolloutStatus:
        """One interval more."""
        if weight != self._weight:
            self._weight = weight
            self._states = {name: test.begin_step(self._states[name]) for name, test in self._tests.items()}
        for name, test in self._tests.items():
            self._states[name] = test.fold(self._states[name], self._interval(test, at, weight / 100))
        gates = [self._said(gate.name, gate.limit.text) for gate in self._spec.gates]
        trial = {key: candidate[key] for key in ("revision", "version")} | {"since": candidate.get("since")}
        found = {"candidate": trial, "weight": weight, "observedWeight": weight, "gates": gates, "evaluatedAt": at}
        return ModelRolloutStatus.model_validate(found)

    def _said(self, name: str, says: str) -> Body:
        found = asdict(self._tests[name].assess(self._states[name]))
        kept = {key: one for key, one in found.items() if key != "stake" and one != math.inf}
        return {"name": name, "noise_known": True, "says": says, **kept}

    def _interval(self, test: Any, at: datetime, share: float) -> Interval:
        few, many = int(_EVENTS * share), int(_EVENTS * (1 - share))
        old = self._arm(test, many, 1.0)
        new = self._arm(test, few, self._clicks if share > _FIRST_WEIGHT else 1.0) if few else None
        return Interval(at - _INTERVAL, at, new, old)

    def _arm(self, test: RateTest, events: int, clicks: float) -> Counts | Histogram:
        if test.quantile is not None:
            durations = np.cumsum(self._chance.multinomial(events, _DURATIONS))
            return Histogram(_BOUNDS, tuple(float(count) for count in durations))
        bad = 1.0 - 0.03 * clicks if test.good else 0.002
        return Counts(float(self._chance.binomial(events, bad)), float(events))


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
