"""ModelRollouts in the states that people meet, and how their status screens are drawn.

``python -m tests.unit.cli.states`` writes the golden files anew; look at the difference before committing it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console, RenderableType

from modelrollout.cli.view import read, screen
from modelrollout.screen.snapshot import Snapshot

__all__ = ["GOLDEN", "NOW", "STATES", "deployment", "draw", "rollout", "seen"]

NOW: Final = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
GOLDEN: Final = Path(__file__).parent / "golden"
_SAMPLE: Final = Path(__file__).parents[3] / "manifests" / "samples" / "ranker.yaml"
_OLD, _NEW, _FIRST = "0f3c9a1be2d4", "77aa01c4ee90", "c0ffee001122"

_STABLE: Final = {"revision": _OLD, "version": "41", "since": "2026-11-14T09:00:00Z"}
_CANDIDATE: Final = {"revision": _NEW, "version": "42", "since": "2026-11-21T09:00:00Z"}
_PAST: Final = [
    {
        "revision": _OLD, "version": "41", "outcome": "Promoted", "reason": "Promoted", "weight": 100,
        "message": "every step held", "startedAt": "2026-11-14T05:00:00Z", "endedAt": "2026-11-14T09:00:00Z",
    },
    {
        "revision": _FIRST, "version": "40", "outcome": "Promoted", "reason": "FirstRevision", "weight": 0,
        "message": "the first version", "endedAt": "2026-10-01T09:00:00Z",
    },
]  # fmt: skip


def rollout(status: dict[str, Any] | None, **metadata: Any) -> dict[str, Any]:
    """The sample ranker as an API server returns it, with a status."""
    body: dict[str, Any] = yaml.safe_load(_SAMPLE.read_text(encoding="utf-8"))
    body["metadata"] |= {
        "uid": "a-uid",
        "resourceVersion": "1",
        "generation": 3,
        "creationTimestamp": "2026-10-01T08:00:00Z",
    } | metadata
    if status is not None:
        body["status"] = {"observedGeneration": 3, **status}
    return body


def deployment(role: str, revision: str, version: str, ready: int, desired: int) -> dict[str, Any]:
    """The Deployment of a revision, as far as the screen reads it."""
    labels = {"modelrollout.io/role": role, "modelrollout.io/revision": revision}
    metadata = {"name": f"ranker-{revision[:8]}", "labels": labels, "annotations": {"modelrollout.io/version": version}}
    return {"metadata": metadata, "spec": {"replicas": desired}, "status": {"readyReplicas": ready}}


def _gate(name: str, verdict: str, **numbers: Any) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "since": "2026-11-21T11:20:00Z", **numbers}


def _gates(ctr: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        ctr,
        _gate("p95", "Proven", value=0.143, baseline=0.139, samples=63210, baselineSamples=63164, limit="200ms",
              difference=-0.021, low=-0.028, high=-0.014, evidence=0.0, noiseKnown=True),
        _gate("errors", "NoHarmSeen", value=0.0021, baseline=0.002, samples=63210, baselineSamples=63164,
              limit="may rise to 0.4 % (baseline + 0.2pp, 0.2 %)", difference=0.0001, low=-0.0008, high=0.0011,
              wouldHaveSeen=0.0014, evidence=0.21, noiseKnown=True),
    ]  # fmt: skip


_CTR_EARLY: Final = _gate("ctr", "TooEarly", samples=60, baselineSamples=62, limit="99% of baseline",
                          message="60 of 100 samples of the candidate", noiseKnown=True)  # fmt: skip
_CTR_WELL: Final = _gate("ctr", "NoHarmSeen", value=0.0301, baseline=0.03, samples=62310, baselineSamples=62287,
                         limit="may fall to 2.97 % (99% of baseline, 3 %)", difference=-0.0004, low=-0.0029,
                         high=0.0021, evidence=0.0, wouldHaveSeen=0.0027, noiseKnown=True)  # fmt: skip
_CTR_BAD: Final = _gate("ctr", "Breached", value=0.0241, baseline=0.03, samples=62310, baselineSamples=62287,
                        limit="may fall to 2.97 % (99% of baseline, 3 %)", difference=0.0056, low=0.0031, high=0.0081,
                        evidence=1.0, noiseKnown=True,
                        message="2.41 % against 3 % of the baseline; may fall to 2.97 % (99% of baseline, 3 %)",
                        )  # fmt: skip
_STEP: Final = {
    "number": 2, "of": 3, "name": "weight-50", "weight": 50, "since": "2026-11-21T11:10:00Z",
    "servingSince": "2026-11-21T11:10:02Z", "heldSeconds": 2520, "holdSeconds": 3600,
}  # fmt: skip
_FIRST_STEP: Final = _STEP | {
    "number": 1, "name": "weight-10", "weight": 10, "heldSeconds": 0, "holdSeconds": 7200,
}  # fmt: skip
_RESUME: Final = "type: kubectl modelrollout resume ranker -n recs (or abort)"
_OVERRIDE: Final = "kubectl modelrollout promote ranker -n recs --override-freeze -m WHY"
_IN_USE: Final = (
    "the backend ranker of HTTPRoute shop serves users already (3 endpoints), and the first revision would replace it "
    "without any step: take it over with spec.adopt: {service: ranker}"
)
_BOTH: Final = [deployment("candidate", _NEW, "42", 2, 2), deployment("stable", _OLD, "41", 4, 4)]
_ONE: Final = [deployment("stable", _OLD, "41", 4, 4), deployment("retired", _FIRST, "40", 0, 0)]


def _progressing(**changes: Any) -> dict[str, Any]:
    status = {
        "phase": "Progressing", "reason": "Holding", "stable": _STABLE, "candidate": _CANDIDATE, "step": _STEP,
        "message": "version 42 has 50 % of the traffic and holds", "next": "weight 100 % in 18m if the gates hold",
        "weight": 50, "observedWeight": 50, "peakWeight": 50, "gates": _gates(_CTR_EARLY), "history": _PAST,
    }  # fmt: skip
    return rollout(status | changes)


def _specified(body: dict[str, Any], *, gate: Any = None, second_step: Any = None, **spec: Any) -> dict[str, Any]:
    """With fields of its spec; with fields of its first gate; with one more step, after the first one."""
    body["spec"] |= spec
    body["spec"]["gates"][0] |= gate or {}
    body["spec"]["steps"][1:1] = [second_step] if second_step else []
    return body


_ENDED: Final = {
    "revision": _NEW, "version": "42", "outcome": "RolledBack", "reason": "GateBreached", "weight": 50,
    "message": "ctr: 2.41 % against 3.00 % of the baseline", "startedAt": "2026-11-21T09:00:00Z",
    "endedAt": "2026-11-21T11:52:00Z",
}  # fmt: skip
_NOTED: Final = [
    _gate("ctr", "NoHarmSeen", value=0.0293, baseline=0.03, samples=62310, baselineSamples=62287, evidence=0.62,
          limit="may fall to 2.97 % (99% of baseline, 3 %)", wouldHaveSeen=0.0031, leaning=True,
          message="2.93 % against 3 % of the baseline; may fall to 2.97 %; no harm seen, would have seen ≤ 2.66 %",
          unseen="ctr must see 95% of baseline, and would have seen ≤ 2.66 %",
          underpowered="this gate cannot see a drop of 5 % in 1h at 5 candidate requests/s; it can see a drop of 11 % "
          "(baseline 3 %)"),
    _gate("p95", "Breached", value=0.212, baseline=0.209, samples=63210, baselineSamples=63164, evidence=1.0,
          limit="may rise to 200 ms", shared=True, noiseKnown=True,
          message="212 ms against 209 ms of the baseline; may rise to 200 ms; judged at 250 ms (next bucket)"),
    _gate("errors", "NoHarmSeen", value=0.0021, baseline=0.002, samples=63210, baselineSamples=63164, evidence=0.0,
          limit="may rise to 0.4 % (baseline + 0.2pp, 0.2 %)", wouldHaveSeen=0.0014, message="0.21 % against 0.2 %",
          restartedBecause="edited: judged from the beginning of the step"),
]  # fmt: skip
_UNKNOWN_METRIC: Final = (
    "errors: Prometheus knows no metric ranker_request_total; near names are ranker_requests_total. Are the pods "
    "scraped, and have they had requests?"
)
_PREFLIGHT: Final = [
    {"check": "capacity", "state": "Ok", "message": "2 pods are ready, 2 are needed for the first step"},
    {"check": "artifact", "state": "Ok", "message": "its pods are ready"},
    {"check": "route", "state": "Ok", "message": "the gateway has accepted the route"},
    {"check": "scraped", "state": "Ok", "message": "2 pods of the candidate are scraped"},
    {"check": "gate errors", "state": "Failed", "message": _UNKNOWN_METRIC},
    {"check": "noise", "state": "Unknown", "message": "errors: 12 of 60 intervals of history"},
]
_FAILED: Final = {
    "revision": _NEW, "version": "42", "reason": "GateBreached", "message": "ctr: 2.41 %", "at": "2026-11-21T11:52:00Z",
}  # fmt: skip

STATES: Final[dict[str, tuple[dict[str, Any], list[dict[str, Any]] | None]]] = {
    "empty": (rollout(None, creationTimestamp="2026-11-21T11:58:30Z"), []),
    "first": (
        rollout({"phase": "Starting", "reason": "FirstRevision", "candidate": _CANDIDATE, "weight": 0,
                 "message": "version 42 is the first one: it is deployed without steps",
                 "next": "it serves when its pods are ready"}),
        [deployment("candidate", _NEW, "42", 1, 4)],
    ),
    "starting": (
        _progressing(phase="Starting", reason="StartingPods", weight=0, observedWeight=0, gates=[],
                     step=_STEP | {"number": 0, "name": "", "weight": 0}, message="0 of 2 pods of version 42 are ready",
                     next="weight 10 % when they all are"),
        [deployment("candidate", _NEW, "42", 0, 2), deployment("stable", _OLD, "41", 4, 4)],
    ),
    "preflight": (
        _progressing(weight=0, observedWeight=0, peakWeight=0, gates=[], reason="PreflightFailed",
                     step=_FIRST_STEP,
                     message=f"no traffic yet: {_UNKNOWN_METRIC}",
                     next="correct it; or begin all the same, and type: kubectl modelrollout promote ranker -n recs",
                     preflight=_PREFLIGHT),
        _BOTH,
    ),
    "progressing": (_progressing(), _BOTH),
    "unconfirmed": (_progressing(observedWeight=None, reason="RaisingWeight",
                                 message="weight 50 % is asked; the gateway has not accepted it yet"), None),
    "blind": (
        _progressing(
            reason="MetricsUnavailable", message="the weight is held: Prometheus does not answer",
            blind={"since": "2026-11-21T11:50:00Z", "message": "Prometheus does not answer"},
            next="the hold goes on when the metrics are back",
            gates=[_gate(name, "Blind", message="Prometheus does not answer") for name in ("ctr", "p95", "errors")],
        ),
        _BOTH,
    ),
    "paused": (
        _progressing(phase="Paused", reason="PausedByDecision", message="paused by alice: waiting for the fraud team",
                     paused={"reason": "PausedByDecision", "at": "2026-11-21T11:40:00Z"},
                     next=_RESUME),
        _BOTH,
    ),
    "lowered": (
        _progressing(phase="Paused", reason="PausedByOutsideEdit", observedWeight=5,
                     message="kubectl-edit lowered the candidate's weight from 50 % to 5 % on the route",
                     next=_RESUME),
        _BOTH,
    ),
    "breached": (_specified(_progressing(gates=_gates(_CTR_BAD)), gate={"onBreach": "warn"}), _BOTH),
    "contested": (
        _progressing(
            phase="Stalled", reason="RouteContested", weight=50, observedWeight=0,
            message="argocd-controller has written over the weights of the HTTPRoute 3 times within 5m, last at "
            "11:59:40 UTC; weight only goes down until that ends",
            next="keep that writer from the route's weights, then type: kubectl modelrollout resume ranker -n recs",
            contest={"by": "argocd-controller", "generation": 9, "since": "2026-11-21T11:59:40Z",
                     "overwrittenAt": ["2026-11-21T11:59:40Z", "2026-11-21T11:58:10Z", "2026-11-21T11:57:00Z"]},
        ),
        _BOTH,
    ),
    "awaiting": (
        _specified(
            _progressing(
                phase="AwaitingApproval", reason="AwaitingApproval", gates=_gates(_CTR_WELL),
                weight=10, observedWeight=10, peakWeight=10,
                step=_STEP | {"number": 2, "of": 4, "name": "approval-risk", "role": "risk", "weight": 10,
                              "heldSeconds": 0, "holdSeconds": 0},
                message="step approval-risk waits for 1 more with the role risk; bob approved",
                next='type: kubectl modelrollout approve ranker -n recs --role risk -m "why" (or reject)',
            ),
            second_step={"approval": {"role": "risk", "count": 2}},
        ),
        _BOTH,
    ),
    "outside-window": (
        _specified(
            _progressing(
                reason="OutsideWindow", gates=_gates(_CTR_WELL), step=_STEP | {"heldSeconds": 3600},
                message="waits for the window Mon–Fri 09:00–17:00 Europe/Berlin, opens Mon 2026-11-23 09:00",
                next=f"goes on then; or type: {_OVERRIDE}",
            ),
            advanceOnly={"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "hours": "09:00-17:00",
                         "timeZone": "Europe/Berlin"},
        ),
        _BOTH,
    ),
    "frozen": (
        _progressing(
            reason="Frozen",
            message="steps up are frozen: RolloutFreeze line by kim, until 2026-11-22 08:00 UTC: storage outage",
            next=f"goes on when it is over; lift it: kubectl delete mrf line; or over it: {_OVERRIDE}",
        ),
        _BOTH,
    ),
    "adopted": (
        _specified(
            _progressing(
                stable={"revision": "external", "version": "1.8"}, history=[], weight=10, observedWeight=10,
                peakWeight=10, step=_FIRST_STEP | {"heldSeconds": 3600},
                message="version 42 has 10 % of the traffic and holds", next="weight 50 % in 1h if the gates hold",
                adopted={"service": "ranker", "workload": "Deployment ranker", "replicas": 3},
            ),
            adopt={"service": "ranker", "deployment": "ranker"},
        ),
        [deployment("candidate", _NEW, "42", 2, 2)],
    ),
    "noted": (
        _progressing(
            reason="TooEarly", gates=_NOTED,
            step=_STEP | {"heldSeconds": 5130, "extendedSeconds": 1530},
            replacedPod="ranker-77aa01c4-6f9c9d-x2v7q",
            limitChanges=[{"gate": "errors", "old": "baseline + 0.1pp", "new": "baseline + 0.2pp",
                           "at": "2026-11-21T11:45:00Z", "by": "kubectl"}],
            message="the hold is over, but ctr is not decided (it leans beyond its limit, and more samples will tell)",
            next="goes on when every gate has enough samples, for 5h35m",
        ),
        _BOTH,
    ),
    "overruled": (
        _progressing(phase="Promoting", reason="RaisingWeight", gates=_gates(_CTR_BAD), message="raising to 100 %",
                     next="then it is stable",
                     overrides=[{"at": "2026-11-21T11:50:00Z", "by": "ann", "comment": "as wanted", "gates": ["ctr"],
                                 "over": "RolloutFreeze line by kim: black friday"}]),
        _BOTH,
    ),
    "observing": (
        _specified(
            _progressing(
                gates=_gates(_CTR_BAD),
                observed="would have rolled back at 11:52:00 UTC (GateBreached): ctr: 2.41 % against 3.00 % of the "
                "baseline; may fall to 2.97 %; 62310 samples against 62287",
            ),
            mode="observe",
        ),
        _BOTH,
    ),
    "rolled-back": (
        _progressing(phase="RolledBack", reason="RolledBack", candidate=None, step=None, weight=0, observedWeight=None,
                     gates=_gates(_CTR_BAD), failed=_FAILED, history=[_ENDED, *_PAST],
                     message="version 42 was rolled back (GateBreached): ctr: 2.41 % against 3.00 % of the baseline; "
                     "may fall to 2.97 %; 62310 samples against 62287",
                     next="name another version in spec, or type: kubectl modelrollout retry ranker -n recs"),
        _ONE,
    ),
    "rolling-back": (
        _progressing(phase="RollingBack", reason="GateBreached", weight=0, observedWeight=0, gates=_gates(_CTR_BAD),
                     failed=_FAILED, history=[_ENDED, *_PAST], next="in-flight requests end",
                     message="version 42 is rolled back: ctr: 2.41 % against 3.00 % of the baseline"),
        _BOTH,
    ),
    "stalled": (
        _progressing(phase="Stalled", reason="RouteInUse", stable=None, candidate=None, step=None, weight=0,
                     observedWeight=None, gates=[], history=[], message=_IN_USE,
                     next="take over what serves with spec.adopt, or choose a route that nothing serves yet"),
        [],
    ),
    "stable": (
        rollout({"phase": "Stable", "reason": "Promoted", "stable": _CANDIDATE,
                 "message": "version 42 serves all traffic",
                 "history": [_ENDED | {"outcome": "Promoted", "reason": "Promoted", "weight": 100,
                                       "message": "every step held"}, *_PAST]}),
        [deployment("stable", _NEW, "42", 4, 4), deployment("retired", _OLD, "41", 4, 4)],
    ),
    "edited": (rollout({"phase": "Stable", "reason": "Promoted", "stable": _STABLE, "observedGeneration": 2,
                        "message": "version 41 serves all traffic", "history": _PAST}), _ONE),
}  # fmt: skip


def seen(name: str) -> Snapshot:
    """A state as it was read at :data:`NOW`."""
    body, deployments = STATES[name]
    return read(body, deployments, NOW)


def draw(thing: RenderableType, width: int = 80) -> str:
    """What a terminal without colours shows, without the blanks at the ends of lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    console.print(thing)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _write(text_of: Callable[[str], str]) -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in STATES:
        (GOLDEN / f"{name}.txt").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    _write(lambda name: draw(screen(seen(name))))
