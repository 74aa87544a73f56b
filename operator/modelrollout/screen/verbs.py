"""What a person can say of a rollout, and how: the object, and the plain kubectl command that creates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from modelrollout.api.enums import Action
from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import Rollout

__all__ = ["Said", "manifest", "plain_command"]


@dataclass(frozen=True, slots=True)
class Said:
    """What the person typed."""

    action: Action
    comment: str = ""
    full: bool = False
    revision: str = ""


def manifest(rollout: Rollout, said: Said, author: str) -> dict[str, Any]:
    """The RolloutDecision. It names the revision that the person sees, so that it cannot hit a later one."""
    spec: dict[str, Any] = {"rollout": rollout.name, "action": str(said.action)}
    revision = said.revision or _meant(rollout, said.action)
    if revision:
        spec["revision"] = revision
    if said.full:
        spec["full"] = True
    if author:
        spec["author"] = author
    if said.comment:
        spec["comment"] = said.comment
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "RolloutDecision",
        "metadata": {"generateName": f"{rollout.name}-{said.action}-", "namespace": rollout.namespace},
        "spec": spec,
    }


def _meant(rollout: Rollout, action: Action) -> str:
    status = rollout.status
    if action is Action.RETRY:
        return status.failed.revision if status.failed else ""
    if action is Action.UNDO:
        return ""
    return status.candidate.revision if status.candidate else ""


def plain_command(body: dict[str, Any], flags: str = "") -> str:
    """The same with kubectl alone, ready to be pasted into a shell."""
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=10_000)
    return f"kubectl create{flags} -f - <<'EOF'\n{text}EOF"
