"""Detail 26: what kstatus, Flux and Argo CD make of our status, by their own code; the objects are the engine's."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

import lupa.lua51
import pytest

from modelrollout.api.enums import Phase, Reason
from tests.support.captured import Body, captured, expected, untouched
from tests.support.kstatus import FLUX, verdicts
from tests.support.lua import ARGOCD, run

HEALTH: Final = (ARGOCD / "health.lua").read_text(encoding="utf-8")
_HANDS_OVER: Final = FLUX
_WAITS: Final = FLUX.with_name("kustomization-until-released.yaml")


def _objects() -> dict[str, Body]:
    """Everything that was captured, and objects that the operator has not judged yet."""
    edited = deepcopy(captured()["Stable-Promoted"])
    edited["metadata"]["generation"] += 1
    return captured() | {"untouched": untouched(), "edited": edited}


def _condition(body: Body, kind: str) -> str:
    found = [one["status"] for one in body["status"].get("conditions") or [] if one["type"] == kind]
    return str(found[0]) if found else ""


def test_detail_26_every_phase_is_captured() -> None:
    """Nothing is judged before the first status, so there is no object that is Pending."""
    phases = {name.split("-")[0] for name in captured()}
    assert phases == set(Phase) - {Phase.PENDING}
    for reason in (Reason.ROUTE_CONTESTED, Reason.INVALID_SPEC, Reason.INVALID_TEMPLATE, Reason.ROUTE_NOT_FOUND):
        assert f"Stalled-{reason}" in captured()


def test_detail_26_kstatus_says_of_every_phase_what_it_is() -> None:
    found = {name: one["kstatus"] for name, one in verdicts(_objects()).items()}
    wanted = {name: expected(name) for name in captured()} | {"untouched": "InProgress", "edited": "InProgress"}
    assert found == wanted


def test_detail_26_flux_that_waits_for_the_release_agrees_with_kstatus() -> None:
    alive = {name: body for name, body in _objects().items() if "deletionTimestamp" not in body["metadata"]}
    for name, found in verdicts(alive, _WAITS).items():
        assert found["flux"] == found["kstatus"], name


def test_detail_26_flux_that_hands_over_waits_for_nothing_but_a_stable_version_that_serves() -> None:
    objects = _objects()
    found = verdicts(objects, _HANDS_OVER)
    for name in captured():
        serves, stalled = (_condition(objects[name], kind) == "True" for kind in ("Available", "Stalled"))
        assert found[name]["flux"] == ("Failed" if stalled else "Current" if serves else "InProgress"), name
    assert found["Progressing-Holding"]["flux"] == found["Paused-PausedByDecision"]["flux"] == "Current"
    assert found["Starting-FirstRevision"]["flux"] == found["edited"]["flux"] == "InProgress"


@pytest.mark.parametrize("name", sorted(captured()))
def test_detail_26_conditions_never_contradict_each_other(name: str) -> None:
    body = captured()[name]
    ready, reconciling, stalled = (_condition(body, kind) for kind in ("Ready", "Reconciling", "Stalled"))
    assert (reconciling, stalled) != ("True", "True")
    assert ready != "True" or (reconciling, stalled) == ("False", "False")
    assert ready != "Unknown" or reconciling == "True"
    assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
    judged = {one["observedGeneration"] for one in body["status"]["conditions"]}
    assert judged == {body["metadata"]["generation"]} or name == "Stalled-InvalidSpec"


@pytest.mark.parametrize("name", sorted(captured()))
def test_detail_26_argo_cd_health_fits_kstatus(name: str) -> None:
    """Argo CD has two words more: Suspended while people are waited for, and Degraded as soon as a rollback begins."""
    body = captured()[name]
    phase, failed = body["status"]["phase"], "failed" in body["status"]
    found = run(HEALTH, body)
    allowed = {
        "Current": {"Healthy"},
        "Failed": {"Degraded"},
        "InProgress": {"Progressing"},
        "Terminating": {"Progressing"},
    }[expected(name)]
    if phase in (Phase.PAUSED, Phase.AWAITING_APPROVAL):
        allowed = {"Suspended"}
    elif phase == Phase.ROLLING_BACK and failed:
        allowed = {"Degraded"}
    assert found["status"] in allowed
    assert body["status"]["message"] in found["message"] or expected(name) == "Terminating"


@pytest.mark.parametrize("name", ["untouched", "edited"])
def test_detail_26_argo_cd_does_not_trust_a_status_of_another_generation(name: str) -> None:
    assert run(HEALTH, _objects()[name])["status"] == "Progressing"


def test_detail_26_argo_cd_health_bears_an_object_without_status() -> None:
    body: dict[str, Any] = untouched()
    del body["status"]
    assert run(HEALTH, body)["status"] == "Progressing"


def test_the_sandbox_has_no_more_than_argo_cd_gives() -> None:
    with pytest.raises(lupa.lua51.LuaError):
        run('return {status = string.upper("x")}', untouched())
    with pytest.raises(lupa.lua51.LuaError):
        run('return {status = io.open("/etc/passwd")}', untouched())
