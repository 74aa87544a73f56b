"""Who is stable, and who is wanted.

The stable revision is written on its own objects (role label, promoted-at), because status can be lost with a delete
and re-apply, a restore or a re-creation while production goes on serving. Status only caches it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from modelrollout.api.enums import Role
from modelrollout.api.status import RevisionRef
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RevisionView

__all__ = ["find_stable", "kept_revisions", "ref", "wanted"]

_NEVER = datetime.min.replace(tzinfo=UTC)


def ref(d: Draft, revision: str, since: datetime | None) -> RevisionRef:
    """A revision with its version, for status."""
    view = d.view(revision)
    version = view.version if view is not None else ""
    if not version and revision == d.input.target.revision:
        version = d.input.target.version
    return RevisionRef(revision=revision, version=version, since=since)


def find_stable(d: Draft) -> None:
    """The revision labelled stable; of several (a crash in the middle of a promotion) the one promoted last."""
    stable = [view for view in d.input.revisions.values() if view.role is Role.STABLE]
    if not stable:
        return
    newest = max(stable, key=lambda view: (view.promoted_at or _NEVER, view.revision))
    if newest.revision != d.stable:
        d.set(stable=ref(d, newest.revision, newest.promoted_at))


def wanted(d: Draft) -> str:
    """The revision that should serve: what ``spec`` names, unless someone undid exactly that."""
    pinned, target = d.status.pinned, d.input.target.revision
    if pinned is None:
        return target
    if pinned.instead_of == target and (pinned.revision == d.stable or d.view(pinned.revision) is not None):
        return pinned.revision
    d.set(pinned=None)
    return target


def kept_revisions(d: Draft) -> list[RevisionView]:
    """Earlier promoted revisions whose objects are kept, the one retired last first."""
    retired = [
        view
        for view in d.input.revisions.values()
        if view.role is Role.RETIRED and view.promoted_at is not None and view.revision not in (d.stable, d.candidate)
    ]
    return sorted(retired, key=lambda view: (view.retired_at or _NEVER, view.revision), reverse=True)
