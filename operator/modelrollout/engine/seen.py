"""What was known of a rollout when a person spoke: it goes into the record beside what they said."""

from __future__ import annotations

from typing import Final

from modelrollout.api.decision import Seen, SeenGate
from modelrollout.engine.draft import Draft

__all__ = ["what_is_seen"]

_ROOM: Final = 4000
"""Letters for the sentences of all gates together: the record stays small with twenty of them."""


def what_is_seen(d: Draft) -> Seen:
    """The candidate, where it is, and each gate with its numbers."""
    status, step = d.status, d.status.step
    room = min(512, _ROOM // max(1, len(status.gates)))
    return Seen(
        revision=d.candidate,
        version=status.candidate.version if status.candidate else "",
        step=step.name if step is not None else "",
        weight=status.weight,
        gates=[
            SeenGate(
                name=gate.name,
                verdict=gate.verdict,
                value=gate.value,
                baseline=gate.baseline,
                limit=gate.limit,
                samples=gate.samples,
                message=gate.message[:room],
            )
            for gate in status.gates
        ],
        evaluated_at=status.evaluated_at,
    )
