"""Steps that wait for people: who must speak, and whether enough of them did."""

from __future__ import annotations

from modelrollout.engine.draft import Draft

__all__ = ["wanted", "what_to_type"]


def wanted(d: Draft) -> str:
    """Whom this step still waits for; empty when it waits for nobody."""
    step = d.status.step
    if step is None or not step.role:
        return ""
    return f"step {step.name} waits for an approval with the role {step.role}"


def what_to_type(d: Draft) -> str:
    """The command for the people that are waited for."""
    role = d.status.step.role if d.status.step is not None else ""
    return f'type: {d.command("approve")} --role {role} -m "why" (or reject)'
