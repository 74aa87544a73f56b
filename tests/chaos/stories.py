"""The releases of the campaign: what people do, and how it must have ended, whatever went wrong meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from localcluster import eventually
from localcluster.api import ApiError
from tests.chaos.stage import REPLICAS, Stage

__all__ = ["STORIES", "Story"]

Body = dict[str, Any]
Middle = Callable[[Stage], None]

_NOT_YET: Final = (AssertionError, ApiError, OSError, LookupError)


@dataclass(frozen=True, slots=True)
class Story:
    """``play`` tells it, calling its last argument when the candidate has its first traffic, and returns when all is
    quiet; it raises AssertionError when it does not end as it should, within so many seconds."""

    name: str
    about: str
    play: Callable[[Stage, float, Middle], None]
    loses: bool = False
    """Its own pods lose requests; nobody else could answer them."""


def good(stage: Stage, patience: float, middle: Middle) -> None:
    """A good version is promoted, and what it replaced is cleaned up."""
    version = stage.release()
    _first_traffic(stage, version, patience)
    middle(stage)
    ends_promoted(stage, version, patience)


def ends_promoted(stage: Stage, version: str, patience: float) -> None:
    """The version serves alone, once in the history; of the older ones the previous one is kept without pods."""
    stage.scene.reach("Stable", version=version, timeout=patience)
    _quiet(stage, version, patience)
    _outcomes(stage, version, "Promoted")
    _told(stage, version, times=0)


def bad(stage: Stage, patience: float, middle: Middle) -> None:
    """A version of which half the answers are errors is rolled back: one record, one ticket, one key."""
    stable = stage.scene.status["stable"]["version"]
    version = stage.release(ERRORS="0.5")
    _first_traffic(stage, version, patience)
    middle(stage)
    ends_rolled_back(stage, version, stable, patience)


def ends_rolled_back(stage: Stage, version: str, stable: str, patience: float) -> None:
    """The stable version serves alone, and it was told once."""
    stage.scene.reach("RolledBack", version=stable, timeout=patience)
    _quiet(stage, stable, patience)
    _outcomes(stage, version, "RolledBack")
    _told(stage, version, times=1)


def aborted(stage: Stage, patience: float, middle: Middle) -> None:
    """A person aborts a good version at its first traffic."""
    stable = stage.scene.status["stable"]["version"]
    version = stage.release()
    _first_traffic(stage, version, patience)
    decision = _decided(stage, "abort")
    middle(stage)
    _answered(stage, decision, patience)
    ends_rolled_back(stage, version, stable, patience)


def undone(stage: Stage, patience: float, middle: Middle) -> None:
    """A person undoes a promotion: the version before serves again."""
    before = stage.scene.status["stable"]["version"]
    version = stage.release()
    ends_promoted(stage, version, patience)
    decision = _decided(stage, "undo")
    middle(stage)
    _answered(stage, decision, patience)
    stage.scene.until(
        lambda s: s["stable"]["version"] == before and s["phase"] == "RolledBack", "undo", timeout=patience
    )
    _quiet(stage, before, patience)


def crashing(stage: Stage, patience: float, middle: Middle) -> None:
    """The pods of a version crash from the first moment on."""
    stable = stage.scene.status["stable"]["version"]
    version = stage.release(CRASH="no such file: model.bin")
    stage.injected["crashing pods"] += REPLICAS
    middle(stage)
    ends_rolled_back(stage, version, stable, patience)


def spoilt(stage: Stage, patience: float, middle: Middle) -> None:
    """A good version whose pods somebody takes away for good: it is rolled back."""
    stable = stage.scene.status["stable"]["version"]
    version = stage.release()
    _first_traffic(stage, version, patience)
    middle(stage)
    ends_rolled_back(stage, version, stable, patience)


def rescued(stage: Stage, patience: float, middle: Middle) -> None:
    """Somebody takes the stable revision away: it is said, and a person gives the candidate everybody."""
    version = stage.release()
    _first_traffic(stage, version, patience)
    middle(stage)
    stage.scene.reach("Stalled", reason="StableMissing", timeout=patience)
    _answered(stage, stage.scene.decide("promote", full=True), patience)
    ends_promoted(stage, version, patience)


def crashing_later(stage: Stage, patience: float, middle: Middle) -> None:
    """The pods of a version crash, again and again, once they have traffic. What they answered then is lost by them."""
    stable = stage.scene.status["stable"]["version"]
    version = stage.release(CRASH_WHEN=str(stage.mark))
    _first_traffic(stage, version, patience)
    stage.mark.touch()
    stage.injected["crashing pods"] += REPLICAS
    middle(stage)
    ends_rolled_back(stage, version, stable, patience)


def deleted(cascade: str) -> Callable[[Stage, float, Middle], None]:
    """The ModelRollout is deleted at the first traffic, and applied again."""

    def play(stage: Stage, patience: float, middle: Middle) -> None:
        stable = stage.scene.status["stable"]["version"]
        version = stage.release()
        _first_traffic(stage, version, patience)
        stage.scene.kubectl("delete", "mro", "ranker", f"--cascade={cascade}", "--wait=false")
        stage.injected["object deleted"] += 1
        middle(stage)
        eventually(lambda: not stage.scene.rollout, "the object to go", timeout=patience, errors=_NOT_YET)
        serving = eventually(lambda: stage.scene.weights, "the route", timeout=patience, errors=_NOT_YET)
        assert serving == {f"ranker-{stage.scene.revision(stable)}": 100}, f"left behind: {serving}"
        stage.apply(stable)
        stage.scene.reach("Stable", version=stable, timeout=patience)
        _quiet(stage, stable, patience)

    return play


def namespace_deleted(stage: Stage, patience: float, middle: Middle) -> None:
    """The whole namespace goes at the first traffic, in any order; made again, it takes a first version again."""
    version = stage.release()
    _first_traffic(stage, version, patience)
    stage.cluster.kubectl("delete", "namespace", stage.namespace, "--timeout=90s")
    stage.injected["namespace deleted"] += 1
    middle(stage)
    stage.make_namespace()
    stage.apply(version)
    stage.scene.reach("Stable", version=version, timeout=patience)
    _quiet(stage, version, patience)


def _first_traffic(stage: Stage, version: str, patience: float) -> None:
    """Until the version has traffic, or its story is over already."""

    def there() -> bool:
        status = stage.scene.status
        names = [(status.get(role) or {}).get("version") for role in ("candidate", "stable", "failed")]
        assert version in names, f"{status.get('phase')} {status.get('reason')}: {status.get('message')}"
        return status.get("observedWeight", 0) > 0 or version in names[1:]

    eventually(there, f"version {version} to have traffic", timeout=patience, interval=0.1, errors=_NOT_YET)


def _decided(stage: Stage, action: str) -> str:
    return stage.scene.decide(action)


def _answered(stage: Stage, decision: str, patience: float) -> None:
    def state() -> str:
        return str((stage.scene.get("rolloutdecisions", decision).get("status") or {}).get("state", ""))

    found = eventually(state, f"an answer to {decision}", timeout=patience, errors=_NOT_YET)
    assert found == "Applied", f"{decision} is {found}"


def _quiet(stage: Stage, version: str, patience: float) -> None:
    """Nothing is left to be done: weights, roles, pods, Services, finalizers."""

    def check() -> bool:
        scene, status = stage.scene, stage.scene.status
        serving = scene.revision(version)
        assert scene.weights == {f"ranker-{serving}": 100}, f"weights {scene.weights}"
        assert not status.get("candidate"), f"still a candidate: {status['candidate']}"
        assert not scene.rollout["metadata"].get("finalizers"), "a finalizer is left"
        roles = {}
        for one in scene.every("deployments"):
            labels = one["metadata"]["labels"]
            roles[labels["modelrollout.io/revision"]] = (labels["modelrollout.io/role"], one["spec"]["replicas"])
        assert roles.pop(serving) == ("stable", REPLICAS), f"{serving}: {roles}"
        assert all(role != "stable" and replicas == 0 for role, replicas in roles.values()), f"{roles}"
        assert sum(role == "retired" for role, _ in roles.values()) <= 1, f"more than one is kept: {roles}"
        services = {one["metadata"]["name"] for one in scene.every("services")}
        assert services == {f"ranker-{revision}" for revision in (*roles, serving)}, f"{services} for {roles}"
        assert len(scene.every("httproutes")) == 1
        return True

    eventually(check, "all to be quiet", timeout=max(20.0, patience / 2), interval=0.25, errors=_NOT_YET)


def _outcomes(stage: Stage, version: str, outcome: str) -> None:
    found = [one["outcome"] for one in stage.scene.status["history"] if one["version"] == version]
    assert found == [outcome], f"history of version {version}: {found}"


def _told(stage: Stage, version: str, *, times: int) -> None:
    """One record, one ticket, one key: no more, no less."""

    def check() -> bool:
        about = [one for one in stage.scene.every("rolloutincidents") if one["spec"]["version"] == version]
        assert len(about) == times, f"{len(about)} records of version {version}"
        names = {one["metadata"]["name"] for one in about}
        tickets = [one for one in list(stage.tracker.issues) if any(name in one["body"] for name in names)]
        assert len(tickets) == times, f"{len(tickets)} tickets of version {version}"
        calls = [call for call in stage.tracker.to("/hook") if call[3]["incidentName"] in names]
        keys = {headers["idempotency-key"] for _, _, headers, _ in calls}
        assert len(keys) == times, f"{len(keys)} keys of version {version}"
        return True

    eventually(check, f"version {version} to be told {times} times", timeout=40, interval=0.25, errors=_NOT_YET)


STORIES: Final = {
    one.name: one
    for one in (
        Story("good", "a good release, promoted and cleaned up", good),
        Story("bad", "a bad release, rolled back and told", bad),
        Story("spoilt", "a good release that loses its pods, rolled back and told", spoilt),
        Story("rescued", "the stable revision is lost; a person gives the candidate everybody", rescued),
        Story("crashing", "a release whose pods crash at once", crashing),
        Story("crashing-later", "a release whose pods crash when they have traffic", crashing_later, loses=True),
        Story("abort", "aborted by a person at its first traffic", aborted),
        Story("undo", "promoted, then undone by a person", undone),
        Story("delete-background", "deleted at its first traffic", deleted("background")),
        Story("delete-foreground", "deleted at its first traffic", deleted("foreground")),
        Story("delete-orphan", "deleted at its first traffic", deleted("orphan")),
        Story("namespace", "its namespace is deleted at its first traffic", namespace_deleted, loses=True),
    )
}
