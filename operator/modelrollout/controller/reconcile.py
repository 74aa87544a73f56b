"""One look at one rollout: load → observe → decide → carry out → write status. The only place where these meet.

Nothing here decides anything; :func:`modelrollout.engine.decide.decide` does. The order of effects is fixed: what
lowers a weight, then status, then the rest, then events. A failure anywhere ends the look; the next one derives what
is missing from the cluster again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from modelrollout.api.decision import DecisionState
from modelrollout.api.enums import Phase, Role
from modelrollout.api.grammar import parse_duration
from modelrollout.api.meta import EXTERNAL, FINALIZER, SERVICE_PORT
from modelrollout.api.objects import Rollout, read_status
from modelrollout.api.status import ModelRolloutStatus
from modelrollout.controller import transitions
from modelrollout.controller.actions import Actions, RolloutGoneError
from modelrollout.controller.lookout import Lookout
from modelrollout.controller.parts import Parts
from modelrollout.controller.reports import reports_of
from modelrollout.controller.statuses import Statuses
from modelrollout.controller.vouching import AUTHOR_POLICY, DECISION_POLICY
from modelrollout.engine.decide import decide
from modelrollout.engine.evidence import Plan, measurement_plan, seconds_until_due
from modelrollout.engine.folding import fold_ahead
from modelrollout.engine.model import (
    Ahead,
    Answer,
    Decision,
    Human,
    Input,
    Measurement,
    RevisionView,
    Target,
)
from modelrollout.engine.notices import unwritable
from modelrollout.engine.report import unreadable
from modelrollout.engine.revision import child_name, revision_hash
from modelrollout.gates.evidence import Interval
from modelrollout.kube.client import ROLLOUTS, ConflictError, KubeError
from modelrollout.metrics.base import Arm, MetricsProvider
from modelrollout.telemetry import meters

__all__ = ["Reconciler"]

_log = logging.getLogger(__name__)

Key = tuple[str, str]
_JUST_AFTER_SECONDS: Final = 0.01
_LOOK_AGAIN_SECONDS: Final = 30.0
"""What no watch tells (a quota that was raised, endpoints of other people's Services) is looked at so often."""
_HEARING_SECONDS: Final = 0.5
"""How long the first decision that is heard after a start waits for those that were said before it."""
_PATIENCE_SECONDS: Final = 5.0
"""How long a decision waits for its ModelRollout to be seen; at the start they arrive in any order."""


@dataclass(slots=True)
class _Look:
    """A measurement under way or done, and for which state it was planned."""

    task: asyncio.Task[Measurement]
    plan: Plan
    evaluated_at: datetime | None
    candidate: str
    generation: int
    ahead: dict[str, Ahead] = field(default_factory=dict)
    """What was folded of it together with others'."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What the API server said of a revision's template (nothing when it takes it), and when (monotonic)."""

    revision: str
    words: str
    at: float


class Reconciler:
    """Looks at rollouts; see the module."""

    def __init__(
        self,
        parts: Parts,
        *,
        metrics_delay: float,
        wake: Callable[[Key], None],
        heard: Callable[[Rollout, ModelRolloutStatus], None],
    ) -> None:
        self._at = parts
        self._delay = metrics_delay
        self._wake = wake
        self._heard = heard
        self._actions = Actions(parts)
        self._looks: dict[Key, _Look] = {}
        self._lookout = Lookout(metrics_delay, source=self._source, arm=self._arm, wake=wake)
        self._readings: dict[Key, asyncio.TimerHandle] = {}
        self._arrived: list[Key] = []
        self._last_look: dict[Key, datetime] = {}
        self._revisions: dict[Key, tuple[dict[str, Any], str]] = {}
        self._refusals: dict[Key, _Refusal] = {}
        self._statuses = Statuses(self._actions)
        self._unwritable: dict[Key, datetime] = {}
        self._heard_at: float | None = None
        self._orphans: dict[Key, dict[str, float]] = {}

    def close(self) -> None:
        """Stop what is still being read."""
        self._lookout.close()
        for look in self._looks.values():
            look.task.cancel()

    async def reconcile(self, key: Key) -> float | None:
        """Look at one rollout; seconds until the next look."""
        body = self._at.store.rollout(key)
        if body is None:
            self._forget(key)
            return await self._answer_orphans(key)
        self._orphans.pop(key, None)
        try:
            rollout = self._at.store.parsed(key)
        except ValueError as error:
            await self._report_unreadable(key, body, error)
            return None
        assert rollout is not None, "its body is there"
        try:
            return await self._look_at(rollout)
        except RolloutGoneError:
            _log.info("%s/%s is gone", *key)
            self._at.store.drop(key, rollout.uid)
            self._forget(key)
            return None

    async def _look_at(self, rollout: Rollout) -> float | None:
        seen = await self._observe(rollout)
        with meters.DECIDE_SECONDS.time():
            decision = decide(seen)
        transitions.note(decision.status)
        await self._do_first(rollout, seen, decision)
        there = await self._keep_status(rollout, decision.status, seen.now)
        try:
            for action in decision.then:
                await self._actions.carry_out(rollout, action, there=there)
        finally:  # status says it already, so no later look would tell it again
            self._at.outbox.offer(replace(rollout, status=decision.status), decision.status.notices)
            for event in decision.events:
                self._at.events.offer(rollout, event)
        if not rollout.deleting:
            await self._at.workload.align(rollout)
            await self._at.traffic.align(rollout)
        after = replace(seen, status=decision.status)
        self._measure_when_due(rollout, after)
        self._lookout.keep(rollout, after)
        return self._next_look(rollout, after, decision.requeue_after)

    async def _do_first(self, rollout: Rollout, seen: Input, decision: Decision) -> None:
        """What comes before everything else. While it fails nothing is written of it, so the page comes from here."""
        try:
            for action in decision.first:
                await self._actions.carry_out(rollout, action)
        except ConflictError:
            raise
        except KubeError as error:
            since = self._unwritable.setdefault(rollout.key, seen.now)
            page = unwritable(seen, decision, since, str(error))
            if page is not None:
                self._at.outbox.offer_unwritten(rollout, page)
            raise
        self._unwritable.pop(rollout.key, None)

    async def _observe(self, rollout: Rollout) -> Input:
        revision = self._revision(rollout)
        revisions = self._at.workload.observe(rollout)
        status = self._at.store.live(rollout.key, rollout.uid) or rollout.status
        refused = "" if revision in revisions else await self._refusal(rollout, revision)
        adopted = await self._at.adopted.observe(rollout, status)
        route = await self._at.traffic.observe(rollout, first=not _has_stable(status, revisions))
        self._at.term.mind(rollout.status.decided_by, route.marker.epoch if route.marker is not None else 0)
        measurement, ahead = self._take_measurement(rollout, status)
        return Input(
            namespace=rollout.namespace,
            name=rollout.name,
            now=datetime.now(UTC),
            generation=rollout.generation,
            created=rollout.created,
            spec=rollout.spec,
            target=Target(revision, rollout.spec.model.version, refused),
            status=status,
            revisions=revisions,
            route=route,
            humans=tuple(self._humans(rollout)),
            author=self._author(rollout, status),
            edited_by=rollout.edited_by,
            adopted=adopted.adopted if adopted is not None else None,
            freezes=self._at.freezes.of(rollout.namespace),
            deleting=rollout.deleting,
            has_finalizer=FINALIZER in rollout.finalizers,
            told=self._at.outbox.told(rollout.key),
            recorded=self._at.incidents.recorded(rollout.key),
            measurement=measurement,
            ahead=ahead,
            glance=self._lookout.take(rollout.key),
        )

    def _revision(self, rollout: Rollout) -> str:
        """The revision that ``spec`` names, found out once for each generation."""
        of, known = self._revisions.get(rollout.key, (None, ""))
        if of is not rollout.raw_spec:
            known = revision_hash(rollout.raw_spec)
            self._revisions[rollout.key] = (rollout.raw_spec, known)
        return known

    async def _refusal(self, rollout: Rollout, revision: str) -> str:
        """What the API server has against a new revision's template; asked again now and then, for quotas change."""
        asked = self._refusals.get(rollout.key)
        now = time.monotonic()
        if asked is None or asked.revision != revision or (asked.words and now - asked.at >= _LOOK_AGAIN_SECONDS):
            words = "" if rollout.deleting else await self._at.workload.refuses(rollout, revision)
            asked = self._refusals[rollout.key] = _Refusal(revision, words, now)
        return asked.words

    def _deaf_for(self, rollout: Rollout) -> float:
        """Seconds until decisions are listened to. After a start they are heard in any order, and what was said last
        must not be done first; so the first one waits a moment for the others."""
        if not self._at.store.decisions(rollout.key):
            return 0.0
        now = time.monotonic()
        if self._heard_at is None:
            self._heard_at = now
        return max(0.0, _HEARING_SECONDS - (now - self._heard_at))

    def _humans(self, rollout: Rollout) -> list[Human]:
        if self._deaf_for(rollout) > 0.0:
            return []
        return [
            Human(
                uid=decided.uid,
                name=decided.name,
                verb=decided.spec.action,
                created=decided.created,
                expires=decided.created + parse_duration(decided.spec.expires_after),
                revision=decided.spec.revision or "",
                full=decided.spec.full,
                author=decided.spec.author,
                comment=decided.spec.comment,
                override_freeze=decided.spec.override_freeze,
                accept_breached=tuple(decided.spec.accept_breached or ()),
                role=decided.spec.role or "",
                unverified=self._at.vouching.why_not(DECISION_POLICY, decided.created),
            )
            for decided in self._at.store.decisions(rollout.key)
        ]

    def _author(self, rollout: Rollout, status: ModelRolloutStatus) -> str:
        """Who changed what is released, if the policy that sees to it stood when the candidate began."""
        began = status.candidate.since if status.candidate is not None else None
        return "" if self._at.vouching.why_not(AUTHOR_POLICY, began or datetime.now(UTC)) else rollout.author

    def _take_measurement(
        self, rollout: Rollout, status: ModelRolloutStatus
    ) -> tuple[Measurement | None, dict[str, Ahead]]:
        """The measurement that has come in, if it was planned for this very state, and what was folded of it."""
        look = self._looks.get(rollout.key)
        if look is None or not look.task.done():
            return None, {}
        del self._looks[rollout.key]
        candidate = status.candidate.revision if status.candidate else ""
        planned = (look.evaluated_at, look.candidate, look.generation)
        if planned != (status.evaluated_at, candidate, rollout.generation):
            return None, {}
        return look.task.result(), look.ahead

    def _measure_when_due(self, rollout: Rollout, seen: Input) -> None:
        """Have the metrics read as soon as there is something to read. Nothing is decided before they are in, so that
        an interval costs one look, not two."""
        self._drop_reading(rollout.key)
        due = seconds_until_due(seen, delay=self._delay)
        if due is None or rollout.key in self._looks:
            return
        due = max(due, self._pause_before_look(rollout, seen.now))
        self._readings[rollout.key] = asyncio.get_running_loop().call_later(
            due + _JUST_AFTER_SECONDS, self._read_now, rollout, seen
        )

    def _read_now(self, rollout: Rollout, seen: Input) -> None:
        """The time has come; what changed meanwhile is seen when the measurement is taken."""
        del self._readings[rollout.key]
        self._start_measurement(rollout, replace(seen, now=datetime.now(UTC)))
        if rollout.key not in self._looks:  # the clock was set back, or something else made the plan void
            self._wake(rollout.key)

    def _drop_reading(self, key: Key) -> None:
        waiting = self._readings.pop(key, None)
        if waiting is not None:
            waiting.cancel()

    def _start_measurement(self, rollout: Rollout, seen: Input) -> None:
        """Read the metrics beside everything else, so that no decision of a human waits for Prometheus."""
        key, status = rollout.key, seen.status
        plan = None if key in self._looks else measurement_plan(seen, delay=self._delay)
        if plan is None or status.candidate is None or status.stable is None:
            return
        if self._pause_before_look(rollout, seen.now) > 0.0:
            return
        self._last_look[key] = seen.now
        candidate, baseline = status.candidate.revision, status.stable.revision
        task = asyncio.ensure_future(self._measure(rollout, plan, candidate, baseline))
        self._looks[key] = _Look(task, plan, status.evaluated_at, candidate, seen.generation)
        task.add_done_callback(lambda _: self._measured(key))

    def _measured(self, key: Key) -> None:
        """A measurement is in. Those that came with one answer of Prometheus are done one right after the other: they
        are folded together before their rollouts are looked at."""
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._fold_arrived)
        self._arrived.append(key)

    def _fold_arrived(self) -> None:
        """Fold what is in, and look first at those that it speaks against."""
        arrived, self._arrived = self._arrived, []
        suspicion = dict.fromkeys(arrived, 0.0)
        try:
            suspicion |= self._fold(arrived)
        except Exception:  # each decision folds its own as well
            _log.exception("what came in could not be folded together")
        for key in sorted(suspicion, key=lambda one: -suspicion[one]):
            self._wake(key)

    def _fold(self, arrived: list[Key]) -> dict[Key, float]:
        """Fold the measurements of some rollouts; how much speaks against each candidate now."""
        looks = {key: self._looks[key] for key in arrived if key in self._looks}
        those = []
        for key, look in looks.items():
            rollout, status = self._at.store.parsed(key), self._live(key)
            fine = look.task.done() and not look.task.cancelled() and look.task.exception() is None
            if fine and rollout is not None and status is not None:
                those.append((key, rollout.spec, status, look.task.result()))
        found = {}
        for (key, *_), ahead in zip(those, fold_ahead([one[1:] for one in those]), strict=True):
            looks[key].ahead = ahead
            found[key] = max((one.against for one in ahead.values()), default=0.0)
        return found

    def _live(self, key: Key) -> ModelRolloutStatus | None:
        rollout = self._at.store.parsed(key)
        return self._at.store.live(key, rollout.uid) if rollout is not None else None

    async def _measure(self, rollout: Rollout, plan: Plan, candidate: str, baseline: str) -> Measurement:
        """Everything that a look needs: both arms, the baseline's past where it is not known yet, and reports."""
        gates = list(rollout.spec.gates)
        stable = self._arm(rollout, baseline)
        source = self._source(rollout)
        with meters.MEASURE_SECONDS.time():
            found = await source.measure(gates, plan, self._arm(rollout, candidate), stable)
        past: dict[str, tuple[Interval, ...]] = {}
        if plan.past is not None:
            asked = [gate for gate in gates if gate.name in plan.past.gates]
            known = await source.history(asked, plan.past.start, plan.past.end, plan.past.step, stable)
            down = any(one.problem and one.problem.hides_everything for one in known.gates.values())
            past = {} if down else {name: one.intervals for name, one in known.gates.items()}
        reports = await reports_of(self._at.kube, rollout, candidate)
        return replace(found, past=past, gates={**found.gates, **reports})

    def _pause_before_look(self, rollout: Rollout, now: datetime) -> float:
        """Seconds until Prometheus may be asked again: also when it is down, or has nothing new, it is asked once an
        interval. A second less than that, because looks end at whole seconds."""
        last = self._last_look.get(rollout.key)
        if last is None or last > now:
            return 0.0
        interval = _interval_of(rollout)
        return max(0.0, max(interval - 1.0, min(interval, 1.0)) - (now - last).total_seconds())

    def _source(self, rollout: Rollout) -> MetricsProvider:
        return self._at.sources.of(rollout)

    def _arm(self, rollout: Rollout, revision: str) -> Arm:
        adopted, adopt = self._at.adopted.last_seen(rollout), rollout.spec.adopt
        if revision == EXTERNAL and adopted is not None and adopt is not None:
            return Arm(
                revision, rollout.namespace, adopted.workload, adopted.port, adopted.pods, its_service=adopt.service
            )
        return Arm(
            revision=revision,
            namespace=rollout.namespace,
            name=child_name(rollout.name, revision),
            port=SERVICE_PORT,
            pods=self._at.workload.pods(rollout, revision),
        )

    def _next_look(self, rollout: Rollout, seen: Input, after: float | None) -> float | None:
        if rollout.key in self._looks or rollout.key in self._readings:
            # The metrics bring the next look; without them there is one all the same, only later.
            after = None if after is None else after + _interval_of(rollout) * (after >= _interval_of(rollout))
        stalled = _LOOK_AGAIN_SECONDS if seen.status.phase is Phase.STALLED else None
        unwritten = self._statuses.seconds_until_due(rollout, seen.status, seen.now)
        listens = self._deaf_for(rollout) or None
        waits = (after, stalled, unwritten, listens)
        return min((wait for wait in waits if wait is not None), default=None)

    async def _keep_status(self, rollout: Rollout, status: ModelRolloutStatus, now: datetime) -> bool:
        there = await self._statuses.keep(rollout, status, now)
        transitions.tell(rollout, self._at.store.live(rollout.key, rollout.uid) or rollout.status, status)
        self._at.store.set_live(rollout.key, rollout.uid, status)
        self._heard(rollout, status)
        return there

    async def _answer_orphans(self, key: Key) -> float | None:
        """Decisions about a ModelRollout that does not exist, as far as can be told some time after they were heard."""
        waiting, now = self._at.store.decisions(key), time.monotonic()
        self._orphans[key] = {one.uid: self._orphans.get(key, {}).get(one.uid, now) for one in waiting}
        for decided in waiting:
            if now - self._orphans[key][decided.uid] >= _PATIENCE_SECONDS:
                message = f"there is no ModelRollout {key[1]} in namespace {key[0]}"
                unverified = self._at.vouching.why_not(DECISION_POLICY, decided.created)
                await self._actions.answer(key, Answer(decided.name, DecisionState.REFUSED, message, unverified))
        if self._at.store.decisions(key):
            return _PATIENCE_SECONDS
        del self._orphans[key]
        return None

    async def _report_unreadable(self, key: Key, body: dict[str, Any], error: ValueError) -> None:
        """A spec that this version of the operator cannot read: say so where people look."""
        message = f"this operator cannot read the spec: {error}"[:1024]
        _log.warning("%s/%s: %s", *key, message)
        before, generation = read_status(body), body["metadata"].get("generation", 1)
        after = unreadable(before, generation, message, datetime.now(UTC))
        if after != before:
            status = after.model_copy(update={"decided_by": self._at.term.by})
            patch = {
                "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
                "status": status.model_dump(mode="json", by_alias=True, exclude_none=True),
            }
            self._at.store.put(await self._at.kube.merge_patch(ROLLOUTS.path(*key, "status"), patch))

    def unwritten_since(self, key: Key) -> datetime | None:
        """Since when the first actions of a decision, lower weights, cannot be written."""
        return self._unwritable.get(key)

    def readings_to_take(self) -> dict[Key, float]:
        """Readings of metrics that have come in and wait for the next look: how many seconds ago they were begun."""
        return {key: self._read_for(key) for key, look in self._looks.items() if look.task.done()}

    def longest_measurement(self) -> float:
        """For how many seconds the slowest reading under way lasts."""
        return max((self._read_for(key) for key, look in self._looks.items() if not look.task.done()), default=0.0)

    def _read_for(self, key: Key) -> float:
        begun = self._last_look.get(key)
        return 0.0 if begun is None else (datetime.now(UTC) - begun).total_seconds()

    def _forget(self, key: Key) -> None:
        self._lookout.forget(key)
        self._looks.pop(key, None)
        self._drop_reading(key)
        self._last_look.pop(key, None)
        self._statuses.forget(key)
        self._refusals.pop(key, None)
        self._revisions.pop(key, None)
        for seen in (self._at.workload, self._at.traffic, self._at.adopted):
            seen.forget(key)
        self._unwritable.pop(key, None)
        self._at.outbox.forget(key)
        self._at.incidents.forget(key)


def _interval_of(rollout: Rollout) -> float:
    return parse_duration(rollout.spec.evaluation.interval).total_seconds()


def _has_stable(status: ModelRolloutStatus, revisions: Mapping[str, RevisionView]) -> bool:
    """Whether a revision of ours is stable."""
    ours = status.stable is not None and status.stable.revision != EXTERNAL
    return ours or any(view.role is Role.STABLE for view in revisions.values())
