"""What a human says of a rollout: which revision is meant, and what becomes of the RolloutDecision."""

from __future__ import annotations

from typing import Any, Final

from modelrollout.api.decision import DecisionState
from modelrollout.api.meta import EXTERNAL, LABEL_REVISION
from modelrollout.api.objects import Rollout
from modelrollout.cli.cluster import DECISIONS, Cluster
from modelrollout.cli.errors import FAILED, TIMED_OUT, CliError

__all__ = ["exit_code", "outcome", "resolve_revision"]

_SHORTEST: Final = 8
"""A revision in a decision has at least so many digits."""


def resolve_revision(rollout: Rollout, deployments: list[dict[str, Any]], wanted: str) -> str:
    """The revision that a person means by its first digits or by its version.

    Raises
    ------
    CliError
        When nothing, or more than one revision, fits; the remedy lists what there is.
    """
    known = {entry.revision: entry.version for entry in reversed(rollout.status.history)}
    if rollout.status.stable:
        known[rollout.status.stable.revision] = rollout.status.stable.version
    if rollout.spec.adopt is not None:
        known.setdefault(EXTERNAL, "")
    for body in deployments:
        known.setdefault((body["metadata"].get("labels") or {}).get(LABEL_REVISION, ""), "")
    known.pop("", None)
    fits = [revision for revision, version in known.items() if version == wanted]
    fits = fits or [revision for revision in known if revision.startswith(wanted)]
    if len(fits) == 1:
        return fits[0]
    if not fits and len(wanted) >= _SHORTEST and all(digit in "0123456789abcdef" for digit in wanted):
        return wanted
    listed = ", ".join(f"{revision} (version {version or '?'})" for revision, version in known.items()) or "none"
    problem = "fits several revisions" if fits else "is no revision or version of this rollout"
    raise CliError(f'"{wanted}" {problem}', f"known are: {listed}")


def outcome(cluster: Cluster, created: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The decision with its outcome, or without when the operator did not answer in time."""
    found = created
    for items in cluster.follow(DECISIONS, fields=f"metadata.name={created['metadata']['name']}", seconds=seconds):
        for found in items:
            if (found.get("status") or {}).get("state"):
                return found
    return found


def exit_code(decision: dict[str, Any]) -> int:
    """0 when it was done, 1 when it was refused or came too late, 124 when nobody acted on it in time."""
    state = (decision.get("status") or {}).get("state")
    if state is None:
        return TIMED_OUT
    return 0 if state == DecisionState.APPLIED else FAILED
