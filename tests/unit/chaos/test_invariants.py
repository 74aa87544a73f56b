"""The campaign's judge sees each of the things that it is there to see; a judge that sees nothing proves nothing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.chaos.invariants import INVARIANTS, Judged, Terms, judge
from tests.chaos.witness import Seen

Body = dict[str, Any]

OLD, NEW = "aaaaaaaaaa", "bbbbbbbbbb"
TERMS = Terms(rollout="ranker", replicas=2, hold=50.0, specs=1)


def _labels(revision: str, role: str = "") -> Body:
    labels = {"modelrollout.io/name": "ranker", "modelrollout.io/revision": revision}
    return labels | ({"modelrollout.io/role": role} if role else {})


def deployment(revision: str, role: str, replicas: int = 2) -> tuple[str, str, Body]:
    """A revision's Deployment."""
    name = f"ranker-{revision}"
    return (
        "deployments",
        name,
        {"metadata": {"name": name, "labels": _labels(revision, role)}, "spec": {"replicas": replicas}},
    )


def service(revision: str) -> tuple[str, str, Body]:
    """A revision's Service."""
    return "services", f"ranker-{revision}", {"metadata": {"name": f"ranker-{revision}"}}


def pod(revision: str, number: int, *, ready: bool = True) -> tuple[str, str, Body]:
    """One of its pods."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    name = f"ranker-{revision}-{number}"
    return "pods", name, {"metadata": {"name": name, "labels": _labels(revision)}, "status": {"conditions": conditions}}


def route(reason: str = "", revision: str = NEW, **weights: int) -> tuple[str, str, Body]:
    """The route, with old and new weights."""
    names = {"old": OLD, "new": NEW}
    backends = [{"name": f"ranker-{names[key]}", "weight": weight} for key, weight in weights.items()]
    marker = json.dumps({"reason": reason, "revision": revision})
    metadata = {"name": "ranker", "annotations": {"modelrollout.io/applied": marker}}
    return "httproutes", "ranker", {"metadata": metadata, "spec": {"rules": [{"backendRefs": backends}]}}


def rollout(
    *, generation: int = 2, finalizer: bool = True, deleting: bool = False, **status: Any
) -> tuple[str, str, Body]:
    """The ModelRollout."""
    metadata: Body = {"name": "ranker", "generation": generation}
    metadata |= {"finalizers": ["modelrollout.io/traffic"]} if finalizer else {}
    metadata |= {"deletionTimestamp": "2026-11-21T00:00:00Z"} if deleting else {}
    whole = {
        "observedGeneration": generation,
        "stable": {"revision": OLD},
        "candidate": {"revision": NEW},
        "weight": 20,
    } | status
    return "modelrollouts", "ranker", {"metadata": metadata, "status": whole}


BEFORE = [
    rollout(generation=1, finalizer=False, candidate=None, weight=0),
    deployment(OLD, "stable"),
    service(OLD),
    route(old=100),
    pod(OLD, 1),
    pod(OLD, 2),
]
UP = [
    rollout(weight=0, finalizer=False),
    deployment(NEW, "candidate"),
    service(NEW),
    pod(NEW, 1),
    pod(NEW, 2),
    rollout(weight=20),
    route(old=80, new=20),
]
DOWN = [route("GateBreached", old=100, new=0), rollout(weight=0, failed={"revision": NEW}, candidate=None)]
DONE = [
    pod(NEW, 1),
    rollout(weight=100),
    route(old=0, new=100),
    deployment(NEW, "stable"),
    deployment(OLD, "retired"),
    rollout(weight=0, stable={"revision": NEW}, candidate=None),
    route(new=100),
    deployment(OLD, "retired", 0),
]


def said(states: list[tuple[str, str, Any]], terms: Terms = TERMS) -> Judged:
    """What the judge says of states after ``BEFORE``."""
    ordered = [
        Seen(number, number * 10.0, kind, name, copy.deepcopy(body))
        for number, (kind, name, body) in enumerate([*BEFORE, *states])
    ]
    return judge(ordered[len(BEFORE) :], ordered[: len(BEFORE)], terms)


def event(reason: str, number: int) -> tuple[str, str, Body]:
    """An event about the ModelRollout."""
    about = {"kind": "ModelRollout", "name": "ranker"}
    return "events", f"e{number}", {"involvedObject": about, "reason": reason, "message": "version 2"}


def test_a_good_and_a_bad_release_are_in_order() -> None:
    assert said([*UP, *DONE]).violations == []
    assert said([*UP, *DONE]).weights == [20, 100]
    bad = said([*UP, *DOWN])
    assert (bad.violations, bad.weights, bad.states) == ([], [20, 0], len(UP) + len(DOWN))


GATE = {"name": "errors", "verdict": "Breached"}
RECORD = {"spec": {"revision": NEW, "at": "2026-11-21T00:00:00Z"}}
ENTRY = {"revision": NEW, "outcome": "RolledBack", "startedAt": "x", "endedAt": "y"}
BROKEN: dict[str, list[tuple[str, str, Any]]] = {
    "sum": [*UP, route(old=90, new=20)],
    "backends": [*UP[:3], UP[5], UP[3], UP[4], ("services", f"ranker-{NEW}", None), UP[6]],
    "asked": [*UP, pod(NEW, 1), pod(NEW, 2), route(old=50, new=50)],
    "ready": [*UP[:3], UP[5], pod(NEW, 1, ready=False), UP[6]],
    "hold": [*UP, rollout(weight=100), route(old=0, new=100)],
    "stopped": [*UP[:5], rollout(weight=20, gates=[GATE]), UP[6]],
    "latched": [*UP, *DOWN, rollout(weight=20), route(old=80, new=20)],
    "order": [*UP, rollout(weight=20, failed={"revision": NEW})],
    "stable": [*UP, deployment(OLD, "stable", 1)],
    "under traffic": [*UP, deployment(NEW, "candidate", 0)],
    "held": [*UP[:5], rollout(weight=20, finalizer=False), UP[6]],
    "spec": [*UP, rollout(generation=3, weight=20)],
    "once": [*UP, *DOWN, event("RolledBack", 1), event("RolledBack", 2)],
}


def test_every_invariant_is_tried() -> None:
    assert set(BROKEN) == set(INVARIANTS)


@pytest.mark.parametrize("invariant", INVARIANTS)
def test_what_breaks_it_is_seen(invariant: str) -> None:
    found = said(BROKEN[invariant]).violations
    assert [text.split(":")[0] for text in found] == [invariant], found


@pytest.mark.parametrize(
    ("invariant", "states"),
    [
        ("stopped", [*UP[:5], rollout(weight=20, paused={"reason": "PausedByDecision"}), UP[6]]),
        ("stopped", [*UP[:5], rollout(weight=20, blind={"since": "x"}), UP[6]]),
        ("stopped", [*UP[:5], rollout(weight=20, deleting=True), UP[6]]),
        ("stable", [*UP, route(old=0, new=0)]),
        ("stable", [*UP, *DONE[:2], deployment(OLD, "retired")]),
        ("once", [*UP, *DOWN, rollout(weight=0, candidate=None, handled=["u", "u"])]),
        ("once", [*UP, *DOWN, rollout(weight=0, candidate=None, history=[ENTRY, ENTRY])]),
        ("once", [*UP, *DOWN, ("rolloutincidents", "a", RECORD), ("rolloutincidents", "b", RECORD)]),
    ],
)
def test_the_other_ways_to_break_them(invariant: str, states: list[tuple[str, str, Any]]) -> None:
    assert invariant in {text.split(":")[0] for text in said(states).violations}


def test_what_a_fault_breaks_with_its_own_hands_is_not_held_against_the_operator() -> None:
    waived = Terms(rollout="ranker", replicas=2, specs=1, waived=frozenset({"asked"}))
    assert said(BROKEN["asked"], waived).violations == []
