"""A small deterministic world around the engine: a clock, pods, a route, metrics, people; no cluster, no waiting.

It carries out a :class:`~modelrollout.engine.model.Decision` in the order of the controller (first, status, then,
events), can crash between any two effects, lose the status that was not worth writing, show the operator an older
state, refuse raises, and set the operator's clock. Time passes only from one interesting instant to the next, so that
an hour of a rollout takes milliseconds, and a rollout that nobody wakes stands still as it would in a cluster.
"""

from __future__ import annotations

import bisect
from ast import literal_eval
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from modelrollout.api.enums import Action as Verb
from modelrollout.api.enums import Reason, Role
from modelrollout.api.gate import Gate
from modelrollout.api.grammar import parse_duration
from modelrollout.api.incident import RolloutIncidentSpec
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.rollout import DeletionPolicy, ModelRolloutSpec
from modelrollout.api.status import GateStatus, ModelRolloutStatus, Notice
from modelrollout.engine.decide import decide
from modelrollout.engine.evidence import Plan, measurement_plan, seconds_until_due
from modelrollout.engine.fitting import fitted
from modelrollout.engine.model import (
    Action,
    Adopted,
    Answer,
    Autoscale,
    Autoscaler,
    Create,
    Decision,
    Delete,
    Event,
    Freeze,
    GateMeasurement,
    Human,
    Input,
    Marker,
    Measurement,
    Past,
    Problem,
    ProblemKind,
    RecordIncident,
    ReplacePod,
    RevisionView,
    RouteState,
    RouteView,
    Scale,
    Scraping,
    SetFinalizer,
    SetRole,
    SetWeights,
    Target,
    Told,
)
from modelrollout.engine.notices import message_id
from modelrollout.engine.report import details, remarks, turns
from modelrollout.engine.revision import revision_hash
from modelrollout.gates.evidence import Arm, Counts, Histogram, Interval, Reading

__all__ = [
    "CTR",
    "DRIFT",
    "ERRORS",
    "LATENCY",
    "REPORT",
    "START",
    "VALUE",
    "Behaviour",
    "CrashError",
    "Deployment",
    "Pod",
    "World",
    "spec",
]

START: Final = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_LOOKS_AT_ONE_INSTANT: Final = 40
_EFFECT_SECONDS: Final = 0.1
_RETRY_SECONDS: Final = 1.0
_PAST_INTERVALS: Final = 240
_NUMBERS_EVERY: Final = timedelta(minutes=1)
_DETAILS_AFTER: Final = timedelta(seconds=10)
_REMARKS_AFTER: Final = timedelta(seconds=2)
_SLACK: Final = timedelta(seconds=1)

ERRORS: Final[dict[str, Any]] = {
    "name": "errors",
    "ratio": {"bad": 'requests_total{code=~"5.."}', "total": "requests_total"},
    "atMost": "baseline + 1pp",
}
CTR: Final[dict[str, Any]] = {
    "name": "ctr",
    "ratio": {"good": "clicks_total", "total": "impressions_total"},
    "labelsWithin": "20s",
    "atLeast": "80% of baseline",
}
LATENCY: Final[dict[str, Any]] = {
    "name": "p95",
    "latency": {"histogram": "request_seconds", "quantile": "0.95"},
    "atMost": "200ms",
}
VALUE: Final[dict[str, Any]] = {
    "name": "failing",
    "value": {"promql": 'failing{namespace="{namespace}",pod=~"{pods}"}'},
    "atMost": "0.1",
}
DRIFT: Final[dict[str, Any]] = {"name": "drift", "drift": {"histogram": "score", "measure": "psi"}, "atMost": "0.2"}
REPORT: Final[dict[str, Any]] = {
    "name": "auc",
    "report": {"configMap": "evaluation-{version}", "metric": "auc"},
    "atLeast": "0.9",
}


def spec(version: str = "1", **changes: Any) -> dict[str, Any]:
    """A ModelRollout's spec with short times: three steps, one gate, four pods."""
    base: dict[str, Any] = {
        "model": {"version": version},
        "workload": {
            "replicas": 4,
            "progressDeadline": "5m",
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "server",
                            "image": "registry.example/ranker:1",
                            "ports": [{"containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"port": 8080}},
                        }
                    ]
                }
            },
        },
        "traffic": {"gatewayAPI": {"parentRefs": [{"name": "public"}]}},
        "steps": [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}, {"weight": 100, "hold": "30s"}],
        "gates": [deepcopy(ERRORS)],
        "warmup": "10s",
        "drainDelay": "10s",
        "evaluation": {"interval": "5s", "minBreachTime": "10s", "blindTimeout": "2m"},
        "rollback": {"keep": 1, "warmFor": "2m"},
    }
    return base | changes


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a revision answers: shares of failed, of clicked and of slow (over 200 ms) requests."""

    errors: float = 0.01
    clicks: float = 0.20
    slow: float = 0.01


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod: when it was made, and when it would be ready."""

    created: datetime
    ready_at: datetime


@dataclass(slots=True)
class Deployment:
    """A revision's objects."""

    revision: str
    version: str
    role: Role
    pods: list[Pod] = field(default_factory=list)
    promoted_at: datetime | None = None
    retired_at: datetime | None = None
    autoscaler: Autoscaler | None = None


@dataclass(slots=True)
class _Route:
    state: RouteState = RouteState.MISSING
    weights: dict[str, int] = field(default_factory=dict)
    marker: Marker | None = None
    changed: datetime = START
    version: int = 0
    message: str = ""
    edited_by: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    measurement: Measurement
    evaluated_at: datetime | None
    candidate: str
    generation: int


class CrashError(Exception):
    """The operator died here."""


class _ConflictError(Exception):
    """The API server refused a write that was prepared from an older state."""


@lru_cache(maxsize=256)
def _parsed(raw: str) -> ModelRolloutSpec:
    return ModelRolloutSpec.model_validate(literal_eval(raw))


@lru_cache(maxsize=256)
def _revision(raw: str) -> str:
    return revision_hash(literal_eval(raw))


Watcher = Callable[["World", Input, Decision, Action], None]


class World:
    """See the module."""

    def __init__(self, first: Mapping[str, Any] | None = None, **changes: Any) -> None:
        self.clock = START
        self.skew = timedelta()
        """How far the operator's clock is ahead."""
        self.raw: dict[str, Any] = deepcopy(dict(first)) if first is not None else spec(**changes)
        self.generation = 1
        self.created = START - timedelta(seconds=1)
        self.exists, self.deleting, self.finalizer = True, False, False
        self.written = ModelRolloutStatus()
        self.live: ModelRolloutStatus | None = None
        self.deployments: dict[str, Deployment] = {}
        self.route = _Route()
        self.humans: dict[str, Human] = {}
        self.answers: dict[str, Answer] = {}
        self.author = "ann"
        """Who last changed the spec, as the API server vouches."""
        self.frozen = ""
        self.frozen_until: datetime | None = None
        self.template_error = ""
        self.startup, self.acceptance = 5.0, 1.0
        """Seconds until a pod is ready, and until the gateway accepts a route."""
        self.behaviour: dict[str, Behaviour] = {}
        self.broken: dict[str, str] = {}
        """Why the pods of a model version cannot run."""
        self.hanging: set[str] = set()
        """Model versions whose pods never become ready."""
        self.no_room_since: datetime | None = None
        """Pods created after this find no node."""
        self.metrics_down = False
        self.source_refused = ""
        """Why the rollout has no source of metrics, if so."""
        self.missing_metrics: set[str] = set()
        """Gates whose metric does not exist."""
        self.unmeasured: set[str] = set()
        """Model versions that are not scraped."""
        self.past_intervals = _PAST_INTERVALS
        """How much of the stable revision's past is known."""
        self.unscraped: set[str] | None = None
        """Model versions whose pods nobody scrapes; None when nobody can tell."""
        self.bypass = 0.0
        """Share of the requests that ignore the weights and go to the candidate."""
        self.bad_pods: dict[str, float] = {}
        """By model version: share of failed requests of its first pod, until that is replaced."""
        self.bad_node = False
        """What takes the place of a bad pod is bad too."""
        self.reports: dict[str, str] = {}
        """By gate: the report of the evaluation."""
        self.rps = 200.0
        self.route_edited = False
        """Whether somebody else has ever written the route."""
        self.refuse_raises = 0
        self.crashes: list[int | None] = []
        """For the looks to come that have effects: after how many of them the operator dies (None: it does not)."""
        self.crash_when: Callable[[Decision], int | None] | None = None
        """Asked of every decision until it says after how many effects the operator dies."""
        self.adopted_elsewhere = ""
        """Another rule that leads users to what spec adopts."""
        self.adoptable = ""
        """Why what spec adopts cannot be the stable revision."""
        self.events: list[Event] = []
        self.receivers_up = True
        """Whether everybody who is told answers."""
        self.told: list[Notice] = []
        """Every message that was told, in order, also when it was told again."""
        self.incidents: dict[str, RolloutIncidentSpec] = {}
        self._crossed: dict[str, Told] = {}
        self._recorded: set[str] = set()
        self.watchers: list[Watcher] = []
        self.done: list[tuple[datetime, Action]] = []
        self.looks = 0
        self.last: Decision | None = None
        self._last_written: ModelRolloutStatus | None = None
        self._written_at = START
        self._counters: dict[str, dict[str, float]] = {}
        self._samples: list[tuple[datetime, dict[str, dict[str, float]]]] = [(START - timedelta(hours=1), {})]
        self._past_of: dict[str, Behaviour] = {}
        """How each stable revision behaved before; it does not change when it is asked for again."""
        self._look: _Look | None = None
        self._measured_at: datetime | None = None
        self._due: datetime | None = START
        self._seen: Input | None = None
        self._seen_version = 0

    def serve_without_us(self, pods: int = 3) -> None:
        """Somebody's Deployment and Service, which serve before there is any revision of ours."""
        ready = [Pod(START - timedelta(hours=1), START - timedelta(hours=1))] * pods
        self.deployments[EXTERNAL] = Deployment(EXTERNAL, "0", Role.RETIRED, ready, promoted_at=START)

    def scale_adopted(self, pods: int) -> None:
        """Its owner, or an autoscaler, scales it."""
        self._scale(self.deployments[EXTERNAL], pods)
        self.touch()

    # What people do

    def apply(self, version: str | None = None, **changes: Any) -> str:
        """Edit the spec; the revision that it names now. After a deletion this makes a new object."""
        before = deepcopy(self.raw)
        if version is not None:
            self.raw["model"] = {"version": version}
        self.raw |= deepcopy(changes)
        if not self.exists:
            self.exists, self.deleting, self.generation = True, False, 1
            self.created, self.written, self.live = self.clock, ModelRolloutStatus(), None
            self._last_written = None
        elif before != self.raw:
            self.generation += 1
        self.touch()
        return self.target

    def say(
        self, verb: Verb | str, *, revision: str = "", full: bool = False, expires: float = 600.0, **more: Any
    ) -> str:
        """Create a RolloutDecision, with ``more`` fields; its uid."""
        uid = f"uid-{len(self.humans) + len(self.answers) + 1}"
        now = self.clock  # the API server's
        self.humans[uid] = Human(
            uid=uid,
            name=uid,
            verb=Verb(verb),
            created=now.replace(microsecond=0),
            expires=now + timedelta(seconds=expires),
            revision=revision,
            full=full,
            **{"author": "ann"} | more,
        )
        self.touch()
        return uid

    def delete(self) -> None:
        """`kubectl delete`, in the background as by default."""
        self.deleting = True
        self._vanish_if_free()
        self.touch()

    def edit_route(self, weights: Mapping[str, int], *, keep_marker: bool = True, by: str = "") -> None:
        """Somebody else writes the route."""
        self.route.weights, self.route.edited_by = dict(weights), by
        self.route_edited = True
        if not keep_marker:
            self.route.marker = None
        self._route_changed()

    def delete_route(self) -> None:
        """Somebody deletes the route."""
        self.route = _Route(changed=self.clock, version=self.route.version + 1)
        self.touch()

    def delete_deployment(self, revision: str) -> None:
        """Somebody deletes a revision's objects."""
        self.deployments.pop(revision, None)
        self.touch()

    def freeze(self, why: str, *, until: datetime | None = None) -> None:
        """Stop steps upward; an empty text lifts it."""
        self.frozen, self.frozen_until = why, until
        self.touch()

    def restart(self) -> None:
        """The operator starts anew: what was only in its memory is lost."""
        self.live, self._look, self._measured_at, self._seen = None, None, None, None
        self._last_written = None
        self._crossed, self._recorded = {}, set()
        self.touch()

    def set_clock(self, seconds: float) -> None:
        """The operator's clock jumps."""
        self.skew += timedelta(seconds=seconds)
        self.touch()

    def touch(self) -> None:
        """A watch event arrives."""
        self._due = self.clock

    # What is so

    @property
    def target(self) -> str:
        """The revision that spec names."""
        return _revision(repr(self.raw))

    @property
    def status(self) -> ModelRolloutStatus:
        """What the operator knows."""
        return self.live if self.live is not None else self.written

    @property
    def spec(self) -> ModelRolloutSpec:
        """The spec, parsed."""
        return _parsed(repr(self.raw))

    @property
    def stable(self) -> str:
        """The stable revision."""
        return self.status.stable.revision if self.status.stable else ""

    @property
    def candidate(self) -> str:
        """The revision on trial."""
        return self.status.candidate.revision if self.status.candidate else ""

    @property
    def weight(self) -> int:
        """The candidate's share of the traffic, on the route."""
        return self.route.weights.get(self.candidate, 0)

    def gate(self, name: str = "errors") -> GateStatus:
        """What status says of a gate."""
        return next(gate for gate in self.status.gates if gate.name == name)

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(one for one in self.status.conditions if one.type == kind)
        return found.status, str(found.reason)

    def reasons(self) -> list[Reason]:
        """Reasons of all events so far."""
        return [event.reason for event in self.events]

    def ready(self, revision: str) -> int:
        """Pods of a revision that are ready."""
        return self._view(self.deployments[revision]).ready if revision in self.deployments else 0

    # Time

    def run(self, seconds: float) -> None:
        """Let time pass; the operator looks when something happens and when it asked to."""
        end = self.clock + timedelta(seconds=seconds)
        looks_here, here = 0, self.clock
        while True:
            upcoming = min((at for at in (self._due, self._next_change()) if at is not None), default=None)
            if upcoming is None or upcoming > end:
                self._pass_until(end)
                return
            self._pass_until(max(upcoming, self.clock))
            looks_here, here = (looks_here + 1, here) if self.clock == here else (1, self.clock)
            assert looks_here < _LOOKS_AT_ONE_INSTANT, f"livelock: {self.status.message}: {self.done[-3:]}"
            self.look()

    def run_until(self, happened: Callable[[], bool], *, within: float = 3600.0) -> float:
        """Let time pass until something is so; how long it took."""
        began = self.clock
        while not happened():
            passed = (self.clock - began).total_seconds()
            assert passed < within, f"did not happen in {within} s: {self.status.phase}: {self.status.message}"
            self.run(0.5)
        return (self.clock - began).total_seconds()

    def pass_unseen(self, seconds: float) -> None:
        """Let time pass while the operator is down."""
        self._pass_until(self.clock + timedelta(seconds=seconds))

    def _pass_until(self, at: datetime) -> None:
        seconds = (at - self.clock).total_seconds()
        if seconds <= 0:
            return
        before = self.clock
        self.clock = at
        if self.route.state is RouteState.PENDING and at >= self.route.changed + timedelta(seconds=self.acceptance):
            self.route.state = RouteState.ACCEPTED
        total = sum(self.route.weights.values()) if self.route.state is not RouteState.MISSING else 0
        candidate = self.candidate
        for revision, deployment in self.deployments.items():
            share = self.route.weights.get(revision, 0) / total if total else 0.0
            if self.bypass and candidate in self.deployments:
                share = share * (1.0 - self.bypass) + (self.bypass if revision == candidate else 0.0)
            ready = any(self._ready_at(deployment, pod) <= before for pod in self._running(deployment))
            requests = self.rps * seconds * share if ready else 0.0
            how = self._behaviour(deployment)
            known = self._counters.get(revision, {"total": 0.0, "errors": 0.0, "clicks": 0.0, "slow": 0.0})
            gained = {"total": 1.0, "errors": how.errors, "clicks": how.clicks, "slow": how.slow}
            self._counters[revision] = {name: known[name] + requests * rate for name, rate in gained.items()}
        self._samples.append((at, self._counters.copy()))

    def _behaviour(self, deployment: Deployment) -> Behaviour:
        """How all of its pods together answer."""
        how, pods = self.behaviour.get(deployment.version, Behaviour()), len(deployment.pods)
        if deployment.version not in self.bad_pods or not pods:
            return how
        bad = self.bad_pods[deployment.version]
        return replace(how, errors=(bad + (pods - 1) * how.errors) / pods)

    def _next_change(self) -> datetime | None:
        """When the world changes by itself next: a pod becomes ready, the gateway accepts the route."""
        times = [
            at
            for deployment in self.deployments.values()
            for pod in self._running(deployment)
            if (at := self._ready_at(deployment, pod)) > self.clock
        ]
        if self.route.state is RouteState.PENDING:
            times.append(self.route.changed + timedelta(seconds=self.acceptance))
        return min(times, default=None)

    # Pods

    def _running(self, deployment: Deployment) -> list[Pod]:
        since = self.no_room_since
        return [pod for pod in deployment.pods if since is None or pod.created < since]

    def _ready_at(self, deployment: Deployment, pod: Pod) -> datetime:
        if deployment.version in self.hanging or deployment.version in self.broken:
            return datetime.max.replace(tzinfo=UTC)
        return pod.ready_at

    def _view(self, deployment: Deployment) -> RevisionView:
        running = self._running(deployment)
        ready = [at for pod in running if (at := self._ready_at(deployment, pod)) <= self.clock]
        return RevisionView(
            revision=deployment.revision,
            version=deployment.version,
            role=deployment.role,
            promoted_at=deployment.promoted_at,
            retired_at=deployment.retired_at,
            desired=len(deployment.pods),
            autoscaler=deployment.autoscaler,
            ready=len(ready),
            failure=f"pod: {self.broken[deployment.version]}" if deployment.version in self.broken and running else "",
            waiting="no node has room" if len(running) < len(deployment.pods) else "",
            progress_at=max([*(pod.created for pod in running), *ready], default=None),
            youngest_ready_at=max(ready, default=None),
        )

    # The operator

    def observe(self) -> Input:
        """What the operator sees now."""
        route = self.route
        whole = sum(route.weights.values())
        shares = {one: round(100 * weight / whole) if whole else 0 for one, weight in route.weights.items()}
        target = self.target
        return Input(
            namespace="recs",
            name="ranker",
            now=self.clock + self.skew,
            generation=self.generation,
            created=self.created,
            spec=self.spec,
            target=Target(target, self.raw["model"]["version"], self.template_error),
            status=self.status,
            revisions={name: self._view(one) for name, one in self.deployments.items() if name != EXTERNAL},
            route=RouteView(
                route.state,
                shares,
                route.marker,
                route.message,
                generation=route.version,
                edited_by=route.edited_by,
                adopted_elsewhere=self.adopted_elsewhere,
            ),
            measurement=None,
            humans=tuple(self.humans.values()),
            adopted=self._adopted(),
            freezes=(Freeze("a test", self.frozen, until=self.frozen_until),) if self.frozen else (),
            author=self.author,
            deleting=self.deleting,
            has_finalizer=self.finalizer,
            told=dict(self._crossed),
            recorded=frozenset(self._recorded),
        )

    def _adopted(self) -> Adopted | None:
        if self.spec.adopt is None:
            return None
        known = self.deployments.get(EXTERNAL)
        view = self._view(known) if known is not None and not self.adoptable else None
        why = self.adoptable or ("" if known is not None else "there is no Service")
        return Adopted("Deployment old", view, why, scalable=self.spec.adopt.deployment is not None)

    def look(self, *, crash_after: int | None = None, stale: bool = False) -> Decision | None:
        """One look of the operator; with ``crash_after`` it dies after that many effects, with ``stale`` it sees the
        revisions and the route as they were at its last look."""
        self._due = None
        if not self.exists:
            return None
        self.looks += 1
        seen, version = self.observe(), self.route.version
        if stale and self._seen is not None:
            seen = replace(seen, revisions=self._seen.revisions, route=self._seen.route)
            version = self._seen_version
        self._seen, self._seen_version = seen, version
        seen = replace(seen, measurement=self._measurement(seen))
        decision = decide(seen)
        self.last = decision
        if crash_after is None and self.crashes and (decision.first or decision.then or decision.events):
            crash_after = self.crashes.pop(0)
        if crash_after is None and self.crash_when is not None:
            crash_after = self.crash_when(decision)
            self.crash_when = self.crash_when if crash_after is None else None
        try:
            self._carry_out(seen, decision, version, crash_after)
        except CrashError:
            self.restart()
            self._vanish_if_free()
            return decision
        except _ConflictError:
            self._wake_in(_RETRY_SECONDS)
            return decision
        self._vanish_if_free()
        if self.exists:
            self._tell(decision.status)
            self._wake(decision)
        return decision

    def _tell(self, status: ModelRolloutStatus) -> None:
        """Whoever is told hears of everything in the outbox at once; the next look is told so."""
        fresh = [one for one in status.notices if not one.told and message_id(one) not in self._crossed]
        if not fresh or not self.receivers_up:
            return
        for notice in fresh:
            self.told.append(notice)
            self._crossed[message_id(notice)] = Told(done=True)
        self._wake_in(_EFFECT_SECONDS)

    def _carry_out(self, seen: Input, decision: Decision, version: int, crash_after: int | None) -> None:
        done = 0

        def maybe_crash() -> None:
            nonlocal done
            if crash_after is not None and done >= crash_after:
                raise CrashError
            done += 1

        for action in decision.first:
            maybe_crash()
            self._do(seen, decision, action, version)
        maybe_crash()
        self._keep(decision.status)
        for action in decision.then:
            maybe_crash()
            self._do(seen, decision, action, version)
        for event in decision.events:
            maybe_crash()
            self.events.append(event)

    def _keep(self, status: ModelRolloutStatus) -> None:
        """Like the controller: turns are written at once, remarks, details and numbers later."""
        last = self._last_written
        pause = _NUMBERS_EVERY
        if last is None or details(status) != details(last):
            pause = _DETAILS_AFTER
        if last is None or remarks(status) != remarks(last):
            pause = _REMARKS_AFTER
        late = self.clock - self._written_at >= pause and status != last
        if late or last is None or turns(status) != turns(last):
            self.written = ModelRolloutStatus.model_validate_json(fitted(status).model_dump_json(by_alias=True))
            self._last_written, self._written_at = status, self.clock
        self.live = status

    def _do(self, seen: Input, decision: Decision, action: Action, version: int) -> None:
        for watcher in self.watchers:
            watcher(self, seen, decision, action)
        touched = getattr(action, "revision", "") == EXTERNAL and not isinstance(action, Scale)
        assert not touched, f"what was adopted is not ours to touch: {action}"
        match action:
            case SetWeights():
                self._set_weights(action, version)
            case Create(revision=revision):
                known = self.deployments.get(revision)
                if known is None:
                    version_name = self.raw["model"]["version"]
                    known = self.deployments[revision] = Deployment(revision, version_name, action.role)
                self._scale(known, action.replicas)
            case Scale(revision=revision):
                if revision in self.deployments:
                    self._scale(self.deployments[revision], action.replicas)
            case Autoscale(revision=revision):
                known = self.deployments[revision]
                known.autoscaler = action.autoscaler
                self._autoscale(known, len(known.pods))
            case SetRole(revision=revision):
                self._set_role(self.deployments.get(revision), action)
            case ReplacePod(revision=revision):
                self._replace_pod(self.deployments[revision])
            case Delete(revision=revision):
                self.deployments.pop(revision, None)
            case SetFinalizer():
                self.finalizer = action.present
            case RecordIncident(name=name):
                self.incidents.setdefault(name, action.spec)
                self._recorded.add(name)
            case Answer():
                self.humans.pop(action.name, None)
                assert action.name not in self.answers, "a decision was answered twice"
                self.answers[action.name] = action
        self.done.append((self.clock, action))
        self._wake_in(_EFFECT_SECONDS)

    def _set_weights(self, action: SetWeights, version: int) -> None:
        if action.raises and (self.refuse_raises > 0 or version != self.route.version):
            self.refuse_raises = max(0, self.refuse_raises - 1)
            raise _ConflictError
        self.route.weights, self.route.marker = dict(action.weights), action.marker
        self._route_changed()

    def _route_changed(self) -> None:
        if self.route.state not in (RouteState.UNUSABLE, RouteState.REJECTED):
            self.route.state = RouteState.PENDING
        self.route.changed = self.clock
        self.route.version += 1
        self.touch()

    def _scale(self, deployment: Deployment, replicas: int) -> None:
        deployment.pods = deployment.pods[:replicas]
        pod = Pod(self.clock, self.clock + timedelta(seconds=self.startup))
        deployment.pods += [pod] * (replicas - len(deployment.pods))

    def load(self, revision: str, pods: int) -> None:
        """So many pods would carry its load: what an autoscaler makes of that."""
        self._autoscale(self.deployments[revision], pods)
        self.touch()

    def _autoscale(self, deployment: Deployment, pods: int) -> None:
        limits = deployment.autoscaler
        if limits is not None and deployment.pods:
            self._scale(deployment, max(limits.floor, min(limits.ceiling, pods)))

    def _replace_pod(self, deployment: Deployment) -> None:
        deployment.pods = [*deployment.pods[1:], Pod(self.clock, self.clock + timedelta(seconds=self.startup))]
        if not self.bad_node:
            self.bad_pods.pop(deployment.version, None)

    @staticmethod
    def _set_role(deployment: Deployment | None, action: SetRole) -> None:
        if deployment is None:
            return
        deployment.role = action.role
        at = action.at.replace(microsecond=action.at.microsecond // 1000 * 1000)
        if action.role is Role.STABLE:
            deployment.promoted_at = at
        elif action.role is Role.RETIRED:
            deployment.retired_at = at

    def _vanish_if_free(self) -> None:
        if not (self.exists and self.deleting) or self.finalizer:
            return
        self.exists, self.deleting, self._look = False, False, None
        everything = self.spec.deletion_policy is DeletionPolicy.DELETE
        kept = {k: one for k, one in self.deployments.items() if one.role is Role.STABLE and not everything}
        adopted = {k: one for k, one in self.deployments.items() if k == EXTERNAL}
        self.deployments = kept | adopted
        if everything and not self.route.weights.get(EXTERNAL):
            self.delete_route()

    def _wake_in(self, seconds: float) -> None:
        at = self.clock + timedelta(seconds=seconds)
        self._due = at if self._due is None else min(self._due, at)

    def _wake(self, decision: Decision) -> None:
        seen = self.observe()
        self._start_measurement(seen)
        if decision.requeue_after is not None:
            self._wake_in(decision.requeue_after)
        if self._look is not None:
            self._wake_in(_EFFECT_SECONDS)
        elif (due := seconds_until_due(seen, delay=1.0)) is not None:
            if self._measured_at is not None:  # an outage is no reason to ask without a pause
                interval = parse_duration(seen.spec.evaluation.interval)
                due = max(due, (self._measured_at + interval - _SLACK - self.clock).total_seconds())
            self._wake_in(due + 0.01)

    # Metrics

    def _start_measurement(self, seen: Input) -> None:
        plan = None if self._look is not None else measurement_plan(seen, delay=1.0)
        status = seen.status
        if plan is None or status.candidate is None or status.stable is None:
            return
        interval = parse_duration(seen.spec.evaluation.interval)
        if self._measured_at is not None and self.clock - self._measured_at < interval - _SLACK:
            return
        self._measured_at = self.clock
        gates = {
            gate.name: self._measure(gate, plan, status.candidate.revision, status.stable.revision)
            for gate in seen.spec.gates
        }
        past = {} if plan.past is None or self.metrics_down else self._past(seen, plan.past)
        measurement = Measurement(min(plan.starts.values()), plan.end, gates, past)
        self._look = _Look(measurement, status.evaluated_at, status.candidate.revision, seen.generation)

    def _past(self, seen: Input, past: Past) -> dict[str, tuple[Interval, ...]]:
        """Two quiet hours of the stable revision, however young it is."""
        stable = seen.status.stable
        assert stable is not None
        behaviour = self._past_of.setdefault(stable.revision, self.behaviour.get(stable.version, Behaviour()))
        found = {}
        for gate in (gate for gate in seen.spec.gates if gate.name in past.gates):
            arm = _exactly(gate, 500.0, behaviour)
            starts = [past.end - n * past.step for n in range(self.past_intervals, 0, -1)]
            found[gate.name] = tuple(Interval(at, at + past.step, None, arm, (arm, arm)) for at in starts)
        return found

    def _measurement(self, seen: Input) -> Measurement | None:
        look, self._look = self._look, None
        candidate = seen.status.candidate.revision if seen.status.candidate else ""
        if look is None or (look.evaluated_at, look.candidate, look.generation) != (
            seen.status.evaluated_at,
            candidate,
            seen.generation,
        ):
            return None
        return look.measurement

    def _measure(self, gate: Gate, plan: Plan, candidate: str, baseline: str) -> GateMeasurement:
        start, end = plan.starts[gate.name], plan.end
        if self.metrics_down or end - self.skew > self.clock:
            return GateMeasurement(problem=Problem(ProblemKind.SOURCE_DOWN, "Prometheus does not answer"))
        if self.source_refused:
            return GateMeasurement(problem=Problem(ProblemKind.SOURCE_REFUSED, self.source_refused))
        if gate.name in self.missing_metrics:
            return GateMeasurement(problem=Problem(ProblemKind.METRIC_UNKNOWN, "Prometheus knows no such metric"))
        if not self._is_measured(candidate):
            return GateMeasurement(problem=Problem(ProblemKind.CANDIDATE_MISSING, "no series of the candidate"))
        if gate.report is not None:
            return GateMeasurement(report=self.reports.get(gate.name, ""), query=gate.name)
        pods = self._pods(gate, candidate, start, end) if gate.name in plan.per_pod else None
        missing = None if self._is_measured(baseline) else Problem(ProblemKind.BASELINE_MISSING, "no series")
        intervals = []
        while start < end:
            arms = [self._gained(gate, revision, start, start + plan.step) for revision in (candidate, baseline)]
            intervals.append(Interval(start, start + plan.step, arms[0], arms[1]))
            start += plan.step
        scraping = self._scraping(candidate, baseline) if plan.preflight else None
        return GateMeasurement(tuple(intervals), problem=missing, query=gate.name, pods=pods, scraping=scraping)

    def _scraping(self, candidate: str, baseline: str) -> Scraping | None:
        """As a scrape configuration that selects pods by a label."""
        if self.unscraped is None:
            return None
        ours, theirs = (
            0 if self.deployments[one].version in self.unscraped else self.ready(one) for one in (candidate, baseline)
        )
        return Scraping(ours, theirs)

    def _pods(self, gate: Gate, revision: str, start: datetime, end: datetime) -> dict[str, Arm]:
        """What each pod did, when all had the same part of the requests."""
        known = self.deployments[revision]
        before, after = self._reading(revision, start - self.skew), self._reading(revision, end - self.skew)
        gained = {name: (after[name] - before[name]) / len(known.pods) for name in after}
        alone = {0: self.bad_pods[known.version] * gained["total"]} if known.version in self.bad_pods else {}
        own = self.behaviour.get(known.version, Behaviour()).errors * gained["total"]
        return {f"{revision}-{n}": _arm(gate, **gained | {"errors": alone.get(n, own)}) for n in range(len(known.pods))}

    def _is_measured(self, revision: str) -> bool:
        known = self.deployments.get(revision)
        return known is not None and known.version not in self.unmeasured and revision in self._counters

    def _gained(self, gate: Gate, revision: str, start: datetime, end: datetime) -> Arm:
        before, after = self._reading(revision, start - self.skew), self._reading(revision, end - self.skew)
        return _arm(gate, *(max(0.0, after[name] - before[name]) for name in ("total", "errors", "clicks", "slow")))

    def _reading(self, revision: str, at: datetime) -> dict[str, float]:
        """The counters at an instant, between the known ones on a straight line; rounded, because sums made in other
        portions differ in their last digits, as counters never do."""
        zero = dict.fromkeys(("total", "errors", "clicks", "slow"), 0.0)
        place = bisect.bisect_left(self._samples, at, key=lambda sample: sample[0])
        if place == 0:
            return zero
        low = self._samples[place - 1]
        if place == len(self._samples):
            return {name: round(value, 6) for name, value in low[1].get(revision, zero).items()}
        high = self._samples[place]
        part = (at - low[0]) / (high[0] - low[0])
        below, above = low[1].get(revision, zero), high[1].get(revision, zero)
        return {name: round(below[name] + (above[name] - below[name]) * part, 6) for name in zero}


def _arm(gate: Gate, total: float, errors: float, clicks: float, slow: float) -> Arm:
    """What a gate sees of so many requests; a value reads the share of failed ones."""
    if gate.value is not None:
        return Reading(errors / total if total else float("nan"))
    if gate.latency is not None or gate.drift is not None:
        return Histogram((0.1, 0.2, 0.5, float("inf")), (total - 2 * slow, total - slow, total, total))
    assert gate.ratio is not None
    return Counts(total - clicks, total) if gate.ratio.good is not None else Counts(errors, total)


def _exactly(gate: Gate, total: float, behaviour: Behaviour) -> Arm:
    """What a gate sees of requests that behave without any noise."""
    return _arm(gate, total, *(total * share for share in (behaviour.errors, behaviour.clicks, behaviour.slow)))
