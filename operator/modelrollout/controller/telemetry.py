"""What the operator shows of itself: the live statuses and its own queues as Prometheus' text, made when it is asked.

A look only leaves a reference to what it found; nothing is set and nothing is formatted at a look. So the numbers are
those of the last look, which the API server gets far less often, and a rollout that is gone has no series in the next
answer. There are at most so many rollouts in it, those on trial first.

Source: Prometheus, "Text-based format", version 0.0.4.
"""

from __future__ import annotations

import asyncio
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import generate_latest

from modelrollout import __version__
from modelrollout.api.enums import Phase
from modelrollout.api.grammar import parse_duration
from modelrollout.api.objects import Rollout
from modelrollout.api.status import GateStatus, ModelRolloutStatus
from modelrollout.controller.logs import flush_repeated, set_standing
from modelrollout.controller.queue import LANES, QueueState
from modelrollout.controller.store import Key, Store
from modelrollout.engine.looking import MEASURED_PHASES
from modelrollout.kube.reflector import Reflector
from modelrollout.screen.units import limit_at
from modelrollout.telemetry import meters
from modelrollout.telemetry.families import GATES, OPERATOR, ROLLOUTS

__all__ = ["CONTENT_TYPE", "Telemetry", "World"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FRESH_SECONDS: Final = 1.0
"""Whoever asks more often than that gets the same answer again."""
_PULSE_SECONDS: Final = 1.0
_AT_A_TIME: Final = 50
"""Rollouts that are written until other work has its turn."""
_PHASES: Final = frozenset(Phase)


class World(Protocol):
    """What is asked at a scrape besides the copies."""

    def queue(self) -> QueueState:
        """How the queue is."""

    def frozen(self, namespace: str) -> bool:
        """Whether the line is stopped there."""

    def unwritten_since(self, key: Key) -> datetime | None:
        """Since when lower weights cannot be written."""

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""

    def messages_waiting(self) -> int:
        """How many messages wait for their receivers."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the last look at a rollout left."""

    rollout: Rollout
    status: ModelRolloutStatus
    at: float


class _Page:
    """Samples by family, in the order in which they are documented."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {one.name: [] for one in (*OPERATOR, *ROLLOUTS, *GATES)}

    def add(self, name: str, labels: str, value: float | None) -> None:
        """A sample; None is none. ``labels`` as they stand between the braces."""
        if value is not None:
            series = f"{name}{{{labels}}}" if labels else name
            self._lines[name].append(f"{series} {_number(value)}\n")

    def text(self) -> str:
        """All of it; a family without samples is left out."""
        return "".join(
            f"# HELP {one.name} {one.what}\n# TYPE {one.name} gauge\n{''.join(self._lines[one.name])}"
            for one in (*OPERATOR, *ROLLOUTS, *GATES)
            if self._lines[one.name]
        )


class Telemetry:
    """See the module."""

    def __init__(self, store: Store, reflectors: Sequence[Reflector], world: World, *, most_rollouts: int) -> None:
        self._store = store
        self._reflectors = reflectors
        self._world = world
        self._most = most_rollouts
        self._seen: dict[Key, _Seen] = {}
        self._leading, self._epoch = False, 0
        self._once = asyncio.Lock()
        self._made: tuple[float, bytes] = (-math.inf, b"")

    def note(self, rollout: Rollout, status: ModelRolloutStatus) -> None:
        """Take in what a look left; a reference, no copy."""
        self._seen[rollout.key] = _Seen(rollout, status, time.time())

    def stand(self, *, leading: bool, epoch: int | None = None) -> None:
        """Say from now on whether this process leads, and under which epoch; a standby shows no rollouts."""
        if leading and not self._leading:
            meters.LEASE_TRANSITIONS.inc()
        if not leading:
            self._seen.clear()
        self._leading, self._epoch = leading, self._epoch if epoch is None else epoch
        set_standing(leader=leading, epoch=self._epoch)

    async def text(self) -> bytes:
        """The whole answer to a scrape."""
        async with self._once:
            if time.monotonic() - self._made[0] >= _FRESH_SECONDS:
                page = _Page()
                self._operator(page)
                await self._rollouts(page)
                self._made = (time.monotonic(), page.text().encode() + generate_latest(meters.REGISTRY))
            return self._made[1]

    async def answer(self) -> web.Response:
        """For the endpoint."""
        return web.Response(body=await self.text(), headers={"Content-Type": CONTENT_TYPE})

    async def run(self) -> None:
        """Once a second see how late the loop is, and let the log say what it only counted."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _PULSE_SECONDS
            await asyncio.sleep(_PULSE_SECONDS)
            meters.LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - due))
            flush_repeated()

    def _forget_gone(self) -> None:
        there = set(self._store.every())
        self._seen = {key: one for key, one in self._seen.items() if key in there}

    def _operator(self, page: _Page) -> None:
        page.add("modelrollout_build_info", _labels(version=__version__, python=platform.python_version()), 1)
        page.add("modelrollout_leader", "", self._leading)
        page.add("modelrollout_lease_epoch", "", self._epoch)
        page.add("modelrollout_notifications_waiting", "", self._world.messages_waiting())
        page.add("modelrollout_measurement_longest_seconds", "", self._world.longest_measurement())
        phases = Counter(_phase(self._store.rollout(key)) for key in self._store.every())
        for phase in Phase:
            page.add("modelrollout_rollouts", _labels(phase=phase), phases[phase])
        self._queues(page)
        self._copies(page)

    def _queues(self, page: _Page) -> None:
        state = self._world.queue()
        for lane, length, oldest in zip(LANES, state.length, state.oldest, strict=True):
            page.add("modelrollout_queue_length", _labels(lane=lane), length)
            page.add("modelrollout_queue_oldest_seconds", _labels(lane=lane), oldest)
        page.add("modelrollout_queue_running", "", state.running)
        page.add("modelrollout_queue_longest_run_seconds", "", state.longest_run)
        page.add("modelrollout_queue_stuck_seconds", "", state.stuck_for)

    def _copies(self, page: _Page) -> None:
        since_1970 = time.time() - asyncio.get_running_loop().time()
        for one in self._reflectors:
            labels = _labels(resource=one.plural)
            page.add("modelrollout_reflector_synced", labels, one.synced.is_set())
            page.add("modelrollout_reflector_objects", labels, len(one.objects))
            if one.alive_at:
                page.add("modelrollout_reflector_heard_timestamp_seconds", labels, since_1970 + one.alive_at)

    async def _rollouts(self, page: _Page) -> None:
        self._forget_gone()
        ordered = sorted(self._seen.items(), key=lambda item: (item[1].status.candidate is None, item[0]))
        shown = ordered[: self._most] if self._leading else []
        page.add("modelrollout_rollouts_hidden", "", len(ordered) - len(shown) if self._leading else 0)
        frozen = {namespace: self._world.frozen(namespace) for namespace in {key[0] for key, _ in shown}}
        for number, (key, seen) in enumerate(shown, start=1):
            self._rollout(page, key, seen, frozen=frozen[key[0]])
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def _rollout(self, page: _Page, key: Key, seen: _Seen, *, frozen: bool) -> None:
        base, status = _labels(namespace=key[0], rollout=key[1]), seen.status

        def add(name: str, value: float | None, labels: str = "") -> None:
            page.add(f"modelrollout_rollout_{name}", f"{base},{labels}" if labels else base, value)

        mode = str(seen.rollout.spec.mode)
        stable, candidate = (one.version if one else "" for one in (status.stable, status.candidate))
        add("info", 1, _labels(stable_version=stable, candidate_version=candidate, mode=mode))
        add("phase_info", 1, _labels(phase=status.phase, reason=status.reason))
        add("weight_asked_ratio", status.weight / 100)
        add("weight_observed_ratio", None if status.observed_weight is None else status.observed_weight / 100)
        add("paused", status.paused is not None)
        add("frozen", frozen)
        add("last_look_timestamp_seconds", seen.at)
        add("blind_since_timestamp_seconds", _seconds(status.blind.since if status.blind else None))
        add("draining_since_timestamp_seconds", _seconds(status.draining_since))
        add("unwritten_since_timestamp_seconds", _seconds(self._world.unwritten_since(key)))
        lasting = {(one.urgency, one.reason) for one in status.notices if one.lasts and one.over_at is None}
        for urgency, reason in sorted(lasting):
            add("notice", 1, _labels(urgency=urgency, reason=reason))
        if status.candidate is not None:
            _trial(add, seen)
            for gate in status.gates:
                _gate(page, base, seen.rollout, gate)


def _trial(add: Callable[[str, float | None], None], seen: _Seen) -> None:
    """Where the candidate is on its way."""
    status, step = seen.status, seen.status.step
    if seen.rollout.spec.gates and status.phase in MEASURED_PHASES:
        add("interval_seconds", parse_duration(seen.rollout.spec.evaluation.interval).total_seconds())
    add("evaluated_timestamp_seconds", _seconds(status.evaluated_at))
    if step is not None:
        add("step", step.number)
        add("steps", step.of)
        add("held_seconds", step.held_seconds)
        add("hold_seconds", step.hold_seconds)
        add("step_started_timestamp_seconds", _seconds(step.since))


def _gate(page: _Page, base: str, rollout: Rollout, found: GateStatus) -> None:
    labels = f"{base},{_labels(gate=found.name)}"
    spec = next((one for one in rollout.spec.gates if one.name == found.name), None)
    page.add("modelrollout_gate_verdict_info", f"{labels},{_labels(verdict=found.verdict)}", 1)
    page.add("modelrollout_gate_value", labels, found.value)
    page.add("modelrollout_gate_baseline_value", labels, found.baseline)
    page.add("modelrollout_gate_limit_value", labels, None if spec is None else limit_at(spec, found.baseline))
    page.add("modelrollout_gate_evidence_ratio", labels, found.evidence)
    page.add("modelrollout_gate_samples", f'{labels},arm="candidate"', found.samples)
    page.add("modelrollout_gate_samples", f'{labels},arm="baseline"', found.baseline_samples)


def _phase(body: dict[str, object] | None) -> Phase:
    """As in the status of the object."""
    status = (body or {}).get("status")
    found = status.get("phase") if isinstance(status, dict) else None
    return Phase(found) if found in _PHASES else Phase.PENDING


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _labels(**values: str) -> str:
    """Escaped as the format asks; a version is at most 128 characters by the CRD."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(float(value)) if isinstance(value, float) else str(int(value))
