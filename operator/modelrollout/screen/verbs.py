"""What a person can say of a rollout, and how: the object, and the plain kubectl command that creates it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

from modelrollout.api.enums import Action, Outcome, Reason
from modelrollout.api.meta import GROUP, VERSION
from modelrollout.api.objects import Rollout
from modelrollout.api.status import ModelRolloutStatus

__all__ = ["DOES", "Said", "command", "command_for_anybody", "manifest", "plain_command", "sensible"]

DOES: Final = {
    Action.PAUSE: "Stop the steps upward; the weights stay as they are.",
    Action.RESUME: "Go on after a pause.",
    Action.ABORT: "Put all traffic back to the stable version, at once.",
    Action.RETRY: "Try a version again that was rolled back.",
    Action.PROMOTE: "End the current step now and go to the next one.",
    Action.UNDO: "Go back to the version that was stable before.",
    Action.APPROVE: "Agree, in a role that this step asks for. With enough people the steps go on.",
    Action.REJECT: "Refuse the version, in a role that a step asks for. All traffic goes back, for good.",
}
_DOES_IN_FULL: Final = "Skip every step that is left."
_OVERRIDES: Final = " Passes over the freeze or the closed window, on record."
_CLOSED: Final = (Reason.FROZEN, Reason.OUTSIDE_WINDOW)
_SAY_WHY: Final = "why"
_WHO_PASTES: Final = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"


@dataclass(frozen=True, slots=True)
class Said:
    """What the person typed."""

    action: Action
    comment: str = ""
    full: bool = False
    revision: str = ""
    override_freeze: bool = False
    accept_breached: tuple[str, ...] = ()
    role: str = ""

    @property
    def does(self) -> str:
        """What follows, as a sentence."""
        text = _DOES_IN_FULL if self.full else DOES[self.action]
        return text + (_OVERRIDES if self.override_freeze else "")


def manifest(rollout: Rollout, said: Said, author: str) -> dict[str, Any]:
    """The RolloutDecision. It names the revision that the person sees, so that it cannot hit a later one."""
    spec: dict[str, Any] = {"rollout": rollout.name, "action": str(said.action)}
    revision = said.revision or _meant(rollout, said.action)
    if revision:
        spec["revision"] = revision
    if said.role:
        spec["role"] = said.role
    if said.full:
        spec["full"] = True
    if said.override_freeze:
        spec["overrideFreeze"] = True
    if said.accept_breached:
        spec["acceptBreached"] = list(said.accept_breached)
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


def sensible(rollout: Rollout) -> list[Said]:
    """What makes sense now, the most urgent first. Others are refused, or do nothing."""
    status = rollout.status
    found: list[Said] = []
    if status.candidate is not None and not status.phase.is_leaving:
        found += [Said(Action.ABORT)] if status.stable is not None else []
        found += [*_pausing(rollout), *_ways_up(rollout)]
    resting = status.candidate is None
    if resting and (status.failed is not None or status.pinned is not None):
        found.append(Said(Action.RETRY))
    elif resting and _has_a_past(status):
        found.append(Said(Action.UNDO))
    return found


def _has_a_past(status: ModelRolloutStatus) -> bool:
    """Whether something served before what is stable: an earlier version of ours, or what was adopted."""
    promoted = sum(entry.outcome is Outcome.PROMOTED for entry in status.history)
    return promoted > 1 or (status.adopted is not None and status.adopted.retired_at is not None)


def _pausing(rollout: Rollout) -> list[Said]:
    status = rollout.status
    if status.paused is None and status.contest is None:
        return [Said(Action.PAUSE)]
    return [] if rollout.spec.paused else [Said(Action.RESUME)]


def _ways_up(rollout: Rollout) -> list[Said]:
    """What brings the candidate on: people with the role where a step waits for them, else a promotion."""
    status, step = rollout.status, rollout.status.step
    if step is None or step.number == 0 or status.contest is not None:
        return []
    if step.role:
        return [Said(action, _SAY_WHY, role=step.role) for action in (Action.APPROVE, Action.REJECT)]
    closed = status.reason in _CLOSED
    comment = _SAY_WHY if closed else ""
    one = Said(Action.PROMOTE, comment, override_freeze=closed)
    full = Said(Action.PROMOTE, comment, full=True, override_freeze=closed)
    ahead = any(later.approval is not None for later in rollout.spec.steps[step.number :])
    return ([] if status.blind else [one]) + ([] if ahead else [full])


def command(rollout: Rollout, said: Said) -> str:
    """The verb of this project's command that says it; the comment is left to the person."""
    flags = " --full" * said.full + " --override-freeze" * said.override_freeze
    flags += f" --role {said.role}" if said.role else ""
    return f'kubectl modelrollout {said.action} {rollout.name} -n {rollout.namespace}{flags} -m "{_SAY_WHY}"'


def command_for_anybody(rollout: Rollout, said: Said) -> str:
    """The same with kubectl alone, for whoever pastes it: the shell asks who that is, because a cluster may insist that
    the author is true. Nothing else in it is the shell's: names, a hash, and a comment to be replaced."""
    body = manifest(rollout, said if said.comment else replace(said, comment=_SAY_WHY), _WHO_PASTES)
    return plain_command(body).replace("<<'EOF'", "<<EOF", 1)


def plain_command(body: dict[str, Any], flags: str = "") -> str:
    """The same with kubectl alone, ready to be pasted into a shell."""
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=10_000)
    return f"kubectl create{flags} -f - <<'EOF'\n{text}EOF"
