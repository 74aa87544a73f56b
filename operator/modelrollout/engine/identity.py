"""Who is stable, and who is wanted.

The stable revision is written on its own objects (role label, promoted-at), because status can be lost with a delete
and re-apply, a restore or a re-creation while production goes on serving. Status only caches it. What ``spec.adopt``
names carries no label: it is stable while nothing else is labelled so.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelrollout.api.enums import Reason, Role
from modelrollout.api.meta import EXTERNAL
from modelrollout.api.status import RevisionRef
from modelrollout.engine import adoption
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import RevisionView, SetRole

__all__ = ["find_stable", "forget_lost_stable", "kept_revisions", "promotion_time", "ref", "wanted", "ways_back"]

_NEVER = datetime.min.replace(tzinfo=UTC)


def ref(d: Draft, revision: str, since: datetime | None) -> RevisionRef:
    """A revision with its version, for status."""
    view = d.view(revision)
    version = view.version if view is not None else ""
    if not version and revision == d.input.target.revision:
        version = d.input.target.version
    return RevisionRef(revision=revision, version=version, since=since)


def find_stable(d: Draft) -> None:
    """The revision labelled stable; of several (a crash in the middle of a promotion) the one promoted last.

    What status remembers of a later promotion stands: labels are written before status, so they can only be seen late.
    """
    stable = [view for view in d.input.revisions.values() if view.role is Role.STABLE]
    if not stable:
        if adoption.may_be_stable(d):
            _adopt(d)
        return
    newest = max(stable, key=lambda view: (view.promoted_at or _NEVER, view.revision))
    if newest.revision == d.stable:
        return
    since = d.status.stable.since if d.status.stable else None
    if since is not None and since > (newest.promoted_at or _NEVER) and d.view(d.stable) is not None:
        if d.stable != EXTERNAL:
            d.then.append(SetRole(d.stable, Role.STABLE, since))
        return
    d.set(stable=ref(d, newest.revision, newest.promoted_at))


def _adopt(d: Draft) -> None:
    """It serves: from the beginning, or since an undo whose end a crash kept out of status."""
    undone = d.candidate == EXTERNAL
    d.set(stable=ref(d, EXTERNAL, promotion_time(d) if undone else None))
    if not undone and d.input.adopted is not None:
        message = f"{d.input.adopted.name} serves users: it is the stable revision, and is left as it is"
        d.event(Reason.ADOPTED, message)


def promotion_time(d: Draft) -> datetime:
    """Now, but after every earlier promotion, also when the clock was set back: the last one must stay the last."""
    earlier = [view.promoted_at for view in d.input.revisions.values() if view.promoted_at is not None]
    if d.status.stable is not None and d.status.stable.since is not None:  # of what was adopted no label tells
        earlier.append(d.status.stable.since)
    return max([d.now, *(at + timedelta(milliseconds=1) for at in earlier)])


def forget_lost_stable(d: Draft) -> None:
    """A stable revision without objects serves nobody: what is named next is deployed like a first one."""
    if d.stable and d.stable != EXTERNAL and d.view(d.stable) is None and d.status.weight == 0:
        message = f"the objects of the stable revision {d.stable} are gone: what spec names is deployed without steps"
        d.event(Reason.STABLE_MISSING, message, warning=True)
        d.set(stable=None)


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


def ways_back(d: Draft) -> list[RevisionView]:
    """Where an undo can go: the kept revisions and what was adopted, the one that served last first."""
    kept, adopted = kept_revisions(d), adoption.way_back(d)
    if adopted is None:
        return kept
    retired = d.status.adopted.retired_at if d.status.adopted is not None else None
    later = [view for view in kept if (view.retired_at or _NEVER) >= (retired or _NEVER)]
    return [*later, adopted, *(view for view in kept if view not in later)]
