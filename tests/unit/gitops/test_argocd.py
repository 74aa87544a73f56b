"""Argo CD's actions: when they are offered, what they create, and that the CRD and the engine take it."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from modelrollout.api.decision import RolloutDecisionSpec
from modelrollout.api.enums import Action, Phase
from tests.support.captured import captured, untouched
from tests.support.kubectl import kustomize
from tests.support.lua import ARGOCD, run
from tests.unit.engine.test_contest import TOOL
from tests.unit.engine.test_rules import stepping

_RAW: Final = (ARGOCD / "actions.yaml").read_text(encoding="utf-8")
ACTIONS: Final[dict[str, Any]] = yaml.safe_load(_RAW)
SCRIPTS: Final[dict[str, str]] = {one["name"]: one["action.lua"] for one in ACTIONS["definitions"]}
AUTHOR: Final = "system:serviceaccount:argocd:argocd-server"


def _offered(name: str) -> set[str]:
    found = run(ACTIONS["discovery.lua"], captured()[name])
    assert set(found) == set(SCRIPTS)
    return {action for action, how in found.items() if not how["disabled"]}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Stable-Promoted", {"undo"}),
        ("Starting-WaitingForRoute", {"pause", "abort", "undo"}),
        ("Progressing-Holding", {"pause", "abort", "promote", "promote-full", "undo"}),
        ("Paused-PausedByDecision", {"resume", "abort", "promote", "promote-full", "undo"}),
        ("Paused-PausedBySpec", {"pause", "abort", "promote", "promote-full", "undo"}),
        ("AwaitingApproval-AwaitingApproval", {"pause", "abort", "undo"}),
        ("RollingBack-GateBreached", {"undo"}),
        ("RolledBack-RolledBack", {"retry"}),
        ("RolledBack-RevertedToPrevious", {"retry"}),
        ("RollingBack-Deleted-deleting", set()),
        ("Stalled-RouteContested", {"resume", "abort", "undo"}),
        ("Stalled-InvalidTemplate", set()),
    ],
)
def test_detail_26_argo_cd_offers_what_can_be_done(name: str, wanted: set[str]) -> None:
    assert _offered(name) == wanted


def test_detail_26_argo_cd_offers_nothing_for_an_object_that_no_operator_has_seen() -> None:
    assert all(how["disabled"] for how in run(ACTIONS["discovery.lua"], untouched()).values())


@pytest.mark.parametrize("action", sorted(SCRIPTS))
def test_detail_26_an_action_of_argo_cd_creates_a_decision(action: str) -> None:
    body = captured()["Progressing-Holding"]
    (made,) = run(SCRIPTS[action], body)
    assert made["operation"] == "create"
    decision = made["resource"]
    assert (decision["apiVersion"], decision["kind"]) == ("modelrollout.io/v1alpha1", "RolloutDecision")
    assert decision["metadata"]["namespace"] == "recs"
    assert re.fullmatch(rf"ranker-{action}-\d{{14}}", decision["metadata"]["name"])
    spec = RolloutDecisionSpec.model_validate(decision["spec"])
    assert (spec.rollout, spec.author) == ("ranker", AUTHOR)
    assert spec.action == Action(action.removesuffix("-full"))
    assert spec.full == action.endswith("-full")
    about_the_candidate = action not in ("undo", "retry")
    assert spec.revision == (body["status"]["candidate"]["revision"] if about_the_candidate else None)


def test_detail_26_approvals_are_not_offered_by_argo_cd() -> None:
    assert not [name for name in SCRIPTS if "approve" in name or "reject" in name]


def test_the_rights_of_the_actions_are_their_verbs() -> None:
    made = kustomize(ARGOCD.parent)
    role = next(one for one in made if one["kind"] == "ClusterRole")
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {
        "create",
        *(name.removesuffix("-full") for name in SCRIPTS),
    }


def test_kustomize_makes_the_config_map_that_argo_cd_reads() -> None:
    (found,) = [one for one in kustomize(ARGOCD.parent) if one["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
    data = found["data"]
    assert yaml.safe_load(data["resource.customizations.actions.modelrollout.io_ModelRollout"]) == ACTIONS
    health = (ARGOCD / "health.lua").read_text(encoding="utf-8")
    assert data["resource.customizations.health.modelrollout.io_ModelRollout"] == health


def test_detail_5_resume_in_argo_cd_ends_a_contest() -> None:
    """What is offered for a contested route is what the engine takes."""
    world = stepping(50)
    for _ in range(3):
        world.edit_route({}, by=TOOL)
        world.run(2)
    assert world.status.phase is Phase.STALLED
    said = world.say("resume")
    world.run(5)
    assert world.answers[said].state == "Applied"
