"""Everything that goes wrong in the campaign, by name: what is done, in which stories, and what it may break itself.

A fault *begins* before the release, acts in its *middle* (at the candidate's first traffic), and is healed at the end
at the latest. It counts what it really did; a fault that did nothing is no result.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.chaos import apifaults
from tests.chaos.life import start_module
from tests.chaos.proxy import Rule
from tests.chaos.stage import Stage
from tests.support.faults import Fault as Prometheus
from tests.support.operator import ROOT

__all__ = ["FAULTS", "Fault"]

Body = dict[str, Any]
Act = Callable[[Stage], None]

_EVERYTHING: Final = ("good", "bad")
_HEARD_LATE: Final = frozenset({"hold"})
"""The witness hears of it through the same API server, and all at once afterwards."""


def _nothing(_: Stage) -> None:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """See the module."""

    name: str
    about: str
    begin: Act = _nothing
    middle: Act = _nothing
    stories: tuple[str, ...] = _EVERYTHING
    alone: bool = False
    """It breaks what all stages share, so nothing else plays meanwhile."""
    short: tuple[str, ...] = ()
    """The stories of the short campaign."""
    patience: float = 90.0
    """Seconds within which a story must end."""
    waives: frozenset[str] = frozenset()
    """Invariants that the fault breaks with its own hands."""
    loses: bool = False
    """The fault itself loses requests: what it takes away answers users."""
    may_miss: bool = False
    """It may never meet the operator, because there may be nothing to meet."""


def _rule(make: Callable[[], Rule]) -> Act:
    return lambda stage: stage.break_api(make())


# -- the operator -----------------------------------------------------------------------------------------------------


def _lives(*lengths: int) -> Act:
    """Each process of the operator lives for so many writes, in turn."""
    return lambda stage: stage.break_api(apifaults.Lives(stage.life.kill, itertools.cycle(lengths)))


def _frozen(stage: Stage) -> None:
    """The process sleeps and does not know it: what it decided before, it does afterwards."""
    stage.life.pause()
    stage.let_pass(8.0)
    stage.life.resume()
    stage.injected["paused process"] += 1


def _two(stage: Stage) -> None:
    stage.second_operator()
    stage.injected["second operator"] += 1


def _read_only(stage: Stage) -> None:
    _exchanged(stage, "tests.chaos.readonly")
    stage.injected["read-only start"] += 1


def _clock(*steps: tuple[float, float]) -> Act:
    """The operator's clock is set, again and again: (after seconds, by seconds)."""

    def begin(stage: Stage) -> None:
        file = stage.folder / f"{stage.namespace}.clock"
        file.write_text("0", encoding="ascii")
        _exchanged(stage, "tests.chaos.skewed", str(file))
        for after, by in steps:
            stage.after(after, functools.partial(_step, stage, file, by))

    return begin


def _step(stage: Stage, file: Any, by: float) -> None:
    file.write_text(str(by), encoding="ascii")
    stage.injected[f"clock {by:+g} s"] += 1


def _exchanged(stage: Stage, module: str, *first: str) -> None:
    """Another entry point of the same operator, until the trial is over."""
    stage.exchange(stage.new_life(start_module(module), *first))


# -- the API server ---------------------------------------------------------------------------------------------------


def _killed_server(stage: Stage) -> None:
    stage.cluster.kill_apiserver()
    stage.let_pass(4.0)
    stage.cluster.start_apiserver()
    stage.injected["API server killed"] += 1


def _paused_server(stage: Stage) -> None:
    stage.cluster.pause_apiserver()
    stage.let_pass(18.0)  # longer than any request waits
    stage.cluster.resume_apiserver()
    stage.injected["API server paused"] += 1


def _killed_etcd(stage: Stage) -> None:
    stage.cluster.kill_etcd()
    stage.let_pass(4.0)
    stage.cluster.start_etcd()
    stage.injected["etcd killed"] += 1


def _killed_contour(stage: Stage) -> None:
    stage.cluster.kill_contour()
    stage.let_pass(4.0)
    stage.cluster.start_contour()
    stage.injected["gateway controller killed"] += 1


def _cut_watches(stage: Stage) -> None:
    def cut() -> None:
        stage.injected["watches cut"] += stage.api.cut_watches()

    stage.every(1.0, cut)


def _gone_watches(stage: Stage) -> None:
    stage.break_api(apifaults.GoneWatches())
    stage.every(4.0, stage.api.cut_watches)


def _frozen_watches(stage: Stage) -> None:
    """What people say meanwhile is not heard; nothing is done twice when it all comes at once."""
    stage.break_api(apifaults.SilentWatches(for_ever=False))
    stage.let_pass(12.0)
    stage.break_api(Rule())


# -- Prometheus -------------------------------------------------------------------------------------------------------


def _prometheus(fault: Prometheus, seconds: float = 0.0, *, lasts: float = 12.0) -> Act:
    """Broken for longer than ``blindTimeout``, then whole again."""

    def middle(stage: Stage) -> None:
        before = stage.prometheus.seen[str(fault)]
        stage.prometheus.fail(fault, seconds)
        stage.let_pass(lasts)
        stage.prometheus.heal()
        # Nobody counts what finds no port.
        stage.injected[fault] += 1 if fault is Prometheus.DOWN else stage.prometheus.seen[str(fault)] - before

    return middle


def _prometheus_down_first(stage: Stage) -> None:
    """Before the release begins, until a while after it did."""
    stage.prometheus.fail(Prometheus.DOWN)
    stage.injected[Prometheus.DOWN] += 1
    stage.after(10.0, stage.prometheus.heal)


def _real_prometheus(stage: Stage) -> None:
    stage.cluster.stop_prometheus()
    stage.let_pass(12.0)
    stage.cluster.start_prometheus()
    stage.injected["Prometheus stopped"] += 1


# -- people and other controllers -------------------------------------------------------------------------------------


def _weights(stage: Stage, change: Callable[[list[Body]], list[Body]]) -> None:
    """Somebody edits the backends of the route."""
    backends = stage.scene.route["spec"]["rules"][0]["backendRefs"]
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": change(backends)}]
    stage.scene.kubectl("patch", "httproute", "ranker", "--type=json", "-p", json.dumps(patch))
    stage.injected["route edited"] += 1


def _candidate(stage: Stage) -> str:
    return str((stage.scene.status.get("candidate") or {}).get("revision", "none"))


def _with_weight(stage: Stage, weight: int) -> Callable[[list[Body]], list[Body]]:
    candidate = f"ranker-{_candidate(stage)}"
    return lambda backends: [one | {"weight": weight if one["name"] == candidate else 100 - weight} for one in backends]


def _raised(stage: Stage) -> None:
    _weights(stage, _with_weight(stage, 60))


def _lowered(stage: Stage) -> None:
    """Who lowers it is obeyed as a pause, until somebody says resume."""
    _weights(stage, _with_weight(stage, 5))
    _resumed(stage)


def _backend_removed(stage: Stage) -> None:
    candidate = f"ranker-{_candidate(stage)}"
    _weights(stage, lambda backends: [one | {"weight": 100} for one in backends if one["name"] != candidate])
    _resumed(stage)


def _resumed(stage: Stage) -> None:
    stage.scene.reach("Paused", reason="PausedByOutsideEdit")
    stage.scene.decide("resume")


def _route_deleted(stage: Stage) -> None:
    stage.scene.kubectl("delete", "httproute", "ranker")
    stage.injected["route deleted"] += 1


def _by_hand(role: str, *command: str) -> Act:
    """Somebody types ``kubectl COMMAND`` about the Deployment or Service of the stable revision or the candidate."""

    def middle(stage: Stage) -> None:
        revision = stage.scene.status[role]["revision"]
        stage.scene.kubectl(*(part.replace("NAME", f"ranker-{revision}") for part in command))
        stage.injected[" ".join(command[:2])] += 1

    return middle


def _new_definition(stage: Stage) -> None:
    """The CRD is upgraded in flight (a field and a column more), and the old one is applied again."""
    name = "modelrollouts.modelrollout.io"
    path = next(one for one in (ROOT / "crds").glob("*.yaml") if name in one.read_text(encoding="utf-8"))
    body = json.loads(stage.cluster.kubectl("get", "crd", name, "-o", "json").stdout)
    version = body["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["newField"] = {"type": "string"}
    version.setdefault("additionalPrinterColumns", []).append(
        {"name": "New", "type": "string", "jsonPath": ".spec.newField"}
    )
    newer = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": {"name": name}, "spec": body["spec"]}
    apply = ("apply", "--server-side", "--force-conflicts", "-f")
    stage.cluster.kubectl(*apply, "-", input=json.dumps(newer))
    stage.let_pass(3.0)
    stage.cluster.kubectl(*apply, str(path))
    stage.injected["CRD applied"] += 2


FAULTS: Final = (
    Fault("nothing", "no fault at all: what the others are compared with", may_miss=True),
    Fault(
        "short-lives",
        "kill -9 after 1, 2, 3, 1, 2, 3 … writes, again and again",
        begin=_lives(1, 2, 3),
        stories=("good", "bad", "abort", "undo", "crashing"),
        short=("bad",),
        patience=300.0,
    ),
    Fault(
        "longer-lives",
        "kill -9 after 3, 5, 7, 3, 5, 7 … writes, again and again",
        begin=_lives(3, 5, 7),
        short=("good",),
        patience=180.0,
    ),
    Fault("frozen-operator", "the operator sleeps for 8 s and goes on with what it had decided", middle=_frozen),
    Fault("two-operators", "a second operator beside the first one, on the same objects", begin=_two),
    Fault("read-only-disk", "no file system can be written, HOME and TMPDIR lead nowhere", begin=_read_only),
    Fault(
        "clock-forward",
        "the operator's clock jumps 25 s and 10 min ahead, and back",
        begin=_clock((4.0, 25.0), (9.0, 600.0), (16.0, 0.0)),
        patience=150.0,
    ),
    Fault(
        "clock-back",
        "the operator's clock falls 25 s and 10 min behind, and comes back",
        begin=_clock((4.0, -25.0), (9.0, -600.0), (16.0, 0.0)),
        patience=150.0,
    ),
    Fault(
        "api-killed",
        "the API server is killed, for 4 s",
        middle=_killed_server,
        alone=True,
        waives=_HEARD_LATE,
        short=("good",),
    ),
    Fault(
        "api-paused",
        "the API server takes connections and says nothing, for 18 s",
        middle=_paused_server,
        alone=True,
        waives=_HEARD_LATE,
    ),
    Fault("etcd-killed", "etcd is killed, for 4 s", middle=_killed_etcd, alone=True, waives=_HEARD_LATE),
    Fault(
        "gateway-killed",
        "what turns routes into Envoy's configuration is killed, for 4 s",
        middle=_killed_contour,
        alone=True,
    ),
    Fault("api-slow", "every answer comes 2 s late", begin=_rule(lambda: apifaults.SlowAnswers(2.0)), patience=240.0),
    Fault(
        "api-refuses",
        "one of three requests is answered 409, 429 (Retry-After), 500, 503 in turn",
        begin=_rule(lambda: apifaults.Refuse((409, 429, 500, 503), one_of=3)),
        patience=240.0,
    ),
    Fault(
        "api-conflicts",
        "one of two writes is answered 409",
        begin=_rule(lambda: apifaults.Refuse((409,), one_of=2, writes_only=True)),
        patience=240.0,
    ),
    Fault(
        "api-throttles",
        "one of two requests is answered 429 with Retry-After: 1",
        begin=_rule(lambda: apifaults.Refuse((429,), one_of=2)),
        patience=240.0,
    ),
    Fault(
        "answers-lost",
        "every 3rd write is carried out, and the connection breaks before its answer",
        begin=_rule(lambda: apifaults.LostAnswers(every=3, silent=False)),
        short=("bad",),
        patience=180.0,
    ),
    Fault(
        "answers-never",
        "every 8th write is carried out, and its answer never comes",
        begin=_rule(lambda: apifaults.LostAnswers(every=8, silent=True)),
        patience=300.0,
    ),
    Fault("watches-cut", "every watch is cut, once a second", begin=_cut_watches, patience=150.0),
    Fault(
        "watches-gone",
        "watches are cut every 4 s, and every other new one is answered 410",
        begin=_gone_watches,
        patience=150.0,
    ),
    Fault("watches-frozen", "watches bring nothing for 12 s, then all at once", middle=_frozen_watches, patience=150.0),
    Fault(
        "watches-half-open",
        "the watches of the beginning never speak again, and stay open",
        middle=_rule(lambda: apifaults.SilentWatches(for_ever=True)),
        patience=300.0,
    ),
    Fault("prometheus-down-first", "down before the release, for 10 s", begin=_prometheus_down_first),
    Fault("prometheus-down", "nobody listens for 12 s", middle=_prometheus(Prometheus.DOWN), short=("good",)),
    Fault("prometheus-hangs", "no answer for 12 s", middle=_prometheus(Prometheus.HANGING)),
    Fault(
        "prometheus-rubbish",
        "bytes that are no JSON, for 12 s",
        middle=_prometheus(Prometheus.RUBBISH),
    ),
    Fault("prometheus-other", "JSON of another shape, for 12 s", middle=_prometheus(Prometheus.OTHER)),
    Fault("prometheus-error", "HTTP 500 with a page, for 12 s", middle=_prometheus(Prometheus.ERROR)),
    Fault("prometheus-partial", "answers that say they are partial, for 12 s", middle=_prometheus(Prometheus.PARTIAL)),
    Fault("prometheus-nan", "every number is NaN, for 12 s", middle=_prometheus(Prometheus.NAN)),
    Fault("prometheus-empty", "no series at all, for 12 s", middle=_prometheus(Prometheus.EMPTY)),
    Fault("prometheus-slow", "every answer 3 s late, for 20 s", middle=_prometheus(Prometheus.SLOW, 3.0, lasts=20.0)),
    Fault("prometheus-behind", "its clock is 20 s behind, for 12 s", middle=_prometheus(Prometheus.BEHIND, 20.0)),
    Fault("prometheus-ahead", "its clock is 10 min ahead, for 12 s", middle=_prometheus(Prometheus.BEHIND, -600.0)),
    Fault(
        "prometheus-stopped",
        "the real one is stopped, for 12 s",
        middle=_real_prometheus,
        alone=True,
        stories=("good",),
    ),
    Fault(
        "weights-raised",
        "somebody gives the candidate 60 %",
        middle=_raised,
        stories=("good",),
        short=("good",),
        waives=frozenset({"asked", "stopped", "ready", "hold"}),
    ),
    Fault(
        "weights-lowered", "somebody gives the candidate 5 %, and says resume later", middle=_lowered, stories=("good",)
    ),
    Fault(
        "backend-removed", "somebody takes the candidate out of the route", middle=_backend_removed, stories=("good",)
    ),
    Fault("route-deleted", "somebody deletes the HTTPRoute", middle=_route_deleted, stories=("good",), loses=True),
    Fault(
        "candidate-scaled",
        "somebody scales the candidate to 0",
        middle=_by_hand("candidate", "scale", "deployment", "NAME", "--replicas=0"),
        stories=("spoilt",),
        waives=frozenset({"under traffic"}),
        loses=True,
    ),
    Fault(
        "candidate-deleted",
        "somebody deletes the candidate's Deployment",
        middle=_by_hand("candidate", "delete", "deployment", "NAME"),
        stories=("spoilt",),
        waives=frozenset({"backends"}),
        loses=True,
    ),
    Fault(
        "stable-scaled",
        "somebody scales the stable revision to 1",
        middle=_by_hand("stable", "scale", "deployment", "NAME", "--replicas=1"),
        stories=("good",),
        waives=frozenset({"stable"}),
    ),
    Fault(
        "stable-deleted",
        "somebody deletes the stable revision's Deployment",
        middle=_by_hand("stable", "delete", "deployment", "NAME"),
        stories=("rescued",),
        waives=frozenset({"stable", "backends"}),
        loses=True,
    ),
    Fault(
        "stable-service-deleted",
        "somebody deletes the stable revision's Service",
        middle=_by_hand("stable", "delete", "service", "NAME"),
        stories=("good",),
        waives=frozenset({"backends"}),
        loses=True,
    ),
    Fault(
        "candidate-service-deleted",
        "somebody deletes the candidate's Service",
        middle=_by_hand("candidate", "delete", "service", "NAME"),
        stories=("good",),
        waives=frozenset({"backends"}),
        loses=True,
    ),
    Fault("pods-crash", "the candidate's pods crash, at once and later", stories=("crashing", "crashing-later")),
    Fault(
        "objects-deleted",
        "the ModelRollout is deleted in mid-release, in each of the three ways",
        stories=("delete-background", "delete-foreground", "delete-orphan"),
    ),
    Fault(
        "namespace-deleted",
        "the namespace is deleted in mid-release, and made again",
        stories=("namespace",),
        waives=frozenset({"backends", "stable", "under traffic", "held"}),
        patience=120.0,
    ),
    Fault(
        "crd-upgraded",
        "the CRD gets a field and a column more, and the old one again",
        middle=_new_definition,
        alone=True,
    ),
)
