"""Startup, liveness and readiness probes: the schedule, the thresholds and the three ways to ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from localcluster.node.environment import InvalidReferenceError, port_number

_OK = range(200, 400)
# Until a probe has succeeded once it is tried this often, whatever its period: tests should not wait for the
# ten seconds a period has by default. Failures are counted per period, so thresholds keep their meaning.
_EAGER_SECONDS = 0.1

Execute = Callable[[list[str], float], Awaitable[int | None]]


@dataclass(frozen=True)
class Probe:
    """One probe of a container, with the API's defaults filled in."""

    spec: Mapping[str, Any]
    container: Mapping[str, Any]
    pod_ip: str
    execute: Execute

    @property
    def period(self) -> float:
        """Seconds between two attempts."""
        return float(self.spec.get("periodSeconds") or 10)

    @property
    def failures_allowed(self) -> int:
        """Failures in a row that make a verdict."""
        return int(self.spec.get("failureThreshold") or 3)

    @property
    def successes_needed(self) -> int:
        """Successes in a row that make a verdict."""
        return int(self.spec.get("successThreshold") or 1)

    async def attempt(self, session: aiohttp.ClientSession) -> bool:
        """Ask once."""
        timeout = float(self.spec.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(timeout):
                return await self._ask(session, timeout)
        except (TimeoutError, OSError, aiohttp.ClientError, InvalidReferenceError):
            return False

    async def _ask(self, session: aiohttp.ClientSession, timeout: float) -> bool:
        if "httpGet" in self.spec:
            return await self._http(session, self.spec["httpGet"])
        if "tcpSocket" in self.spec:
            target = self.spec["tcpSocket"]
            host = target.get("host") or self.pod_ip
            _, writer = await asyncio.open_connection(host, port_number(self.container, target["port"]))
            writer.close()
            return True
        if "exec" in self.spec:
            return await self.execute(list(self.spec["exec"]["command"]), timeout) == 0
        raise InvalidReferenceError(f"this node does not know the probe {sorted(self.spec)}")

    async def _http(self, session: aiohttp.ClientSession, target: Mapping[str, Any]) -> bool:
        host = target.get("host") or self.pod_ip
        scheme = (target.get("scheme") or "HTTP").lower()
        url = f"{scheme}://{host}:{port_number(self.container, target['port'])}{target.get('path') or '/'}"
        headers = {entry["name"]: entry["value"] for entry in target.get("httpHeaders") or ()}
        # A kubelet trusts any certificate of a pod.
        async with session.get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
            return answer.status in _OK


class Verdict:
    """Turns single answers into a verdict, by the thresholds of successes and failures in a row."""

    def __init__(self, successes_needed: int, failures_allowed: int) -> None:
        self._successes_needed = successes_needed
        self._failures_allowed = failures_allowed
        self._streak = 0

    def add(self, success: bool) -> bool | None:
        """The verdict after this answer: True, False, or None while the row is too short."""
        if success:
            self._streak = max(self._streak, 0) + 1
            return True if self._streak >= self._successes_needed else None
        self._streak = min(self._streak, 0) - 1
        return False if -self._streak >= self._failures_allowed else None


async def watch(probe: Probe, report: Callable[[bool], None]) -> None:
    """Probe for ever, reporting verdicts; eager until the first success."""
    await asyncio.sleep(float(probe.spec.get("initialDelaySeconds") or 0))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        await _until_first_success(probe, session, report)
        verdict = Verdict(probe.successes_needed, probe.failures_allowed)
        _report(verdict.add(True), report)
        while True:
            await asyncio.sleep(probe.period)
            _report(verdict.add(await probe.attempt(session)), report)


async def _until_first_success(probe: Probe, session: aiohttp.ClientSession, report: Callable[[bool], None]) -> None:
    start = time.monotonic()
    reported = False
    while not await probe.attempt(session):
        if not reported and time.monotonic() - start >= probe.period * probe.failures_allowed:
            reported = True
            report(False)
        await asyncio.sleep(min(_EAGER_SECONDS, probe.period))


def _report(verdict: bool | None, report: Callable[[bool], None]) -> None:
    if verdict is not None:
        report(verdict)
