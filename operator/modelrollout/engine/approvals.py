"""Steps that wait for people: who must speak, whose word counts, and whether enough of them did.

Different people are counted, and whoever changed what is released does not count alone. An approval is of one revision
and of the way in which it was judged: another revision, a limit that is loosened, a gate that is taken away or does
something else, another mode, evaluation or warm-up void it, and so does a retreat to the start. Who voids what was
approved sends the candidate back to the people, however far it is.
"""

from __future__ import annotations

import hashlib

from modelrollout.api.enums import Reason
from modelrollout.api.memo import once
from modelrollout.api.meta import ApiModel
from modelrollout.api.rollout import Approval, ModelRolloutSpec
from modelrollout.api.status import Approved
from modelrollout.engine.draft import Draft
from modelrollout.engine.model import Human

__all__ = ["count", "note_author", "note_terms", "passed_by", "void", "wanted", "what_to_type", "why_not"]

_MOST_AUTHORS = 8
_MOST_APPROVALS = 40
_COMMENT = 160
_UNKNOWN = (
    "nobody vouches for who made the change (kubectl apply -k manifests/policies), so one more person than asked is "
    "needed"
)


def note_author(d: Draft) -> None:
    """Whoever changed what is released stays on record as long as this candidate is on trial."""
    author, known = d.input.author, d.status.authors
    if d.candidate and author and author not in known:
        d.set(authors=[author, *known][:_MOST_AUTHORS])


def note_terms(d: Draft) -> None:
    """Whoever approved did so of a candidate that is judged in a certain way; another way is not what they saw."""
    if not d.status.approvals:
        return
    now = set(_terms(d.input.spec).split())
    if any(not set(one.terms.split()) <= now for one in d.status.approvals):
        void(d, "gates, mode, evaluation or warmup were changed")


@once
def _terms(spec: ModelRolloutSpec) -> str:
    """How the candidate is judged, apart from the limits (:func:`void` is told of those that are loosened): a hash for
    each gate and one for the rest, so that another gate may be added."""
    gates = (f"{_said(one, 'at_most', 'at_least')} {one.at_least is None}" for one in spec.gates)
    return " ".join(map(_hashed, (f"{spec.mode} {spec.warmup} {_said(spec.evaluation)}", *gates)))


def _said(part: ApiModel, *but: str) -> str:
    return part.model_dump_json(by_alias=True, exclude=set(but), exclude_defaults=True)


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def passed_by(d: Draft) -> int:
    """The number of the first step before the current one that waits for people and was approved by nobody; 0 when
    there is none. No name given to another step, and no approval that is void, may carry a candidate past it."""
    before = d.input.spec.steps[: max((d.status.step.number if d.status.step is not None else 0) - 1, 0)]
    given = {(one.step, one.role) for one in d.status.approvals}
    numbered = ((number, one.title, one.approval) for number, one in enumerate(before, 1))
    return next((number for number, title, asked in numbered if asked and (title, asked.role) not in given), 0)


def wanted(d: Draft) -> str:
    """Whom this step still waits for; empty when it waits for nobody."""
    approval = _asked(d)
    if approval is None:
        return ""
    people = _people(d)
    missing, why = _missing(d, approval, people)
    if not missing:
        return ""
    step = d.status.step
    have = f"; {', '.join(people)} approved" if people else ""
    number = "one person" if missing == 1 and not people else f"{missing} more" if people else f"{missing} people"
    name = step.name if step is not None else ""
    return f"step {name} waits for {number} with the role {approval.role}{have}{why}"


def _asked(d: Draft) -> Approval | None:
    """What the current step asks for; None when it is no approval."""
    step = d.status.step
    if step is None or not step.role:
        return None
    return next((one.approval for one in d.input.spec.steps if one.title == step.name), None)


def _people(d: Draft) -> list[str]:
    """Who approved this step in its role, each once, the first one first."""
    step = d.status.step
    asked = (step.name, step.role) if step is not None else None
    given = [one.author for one in reversed(d.status.approvals) if (one.step, one.role) == asked]
    return list(dict.fromkeys(given))


def _missing(d: Draft, approval: Approval, people: list[str]) -> tuple[int, str]:
    """How many people are missing, and why more than were asked for."""
    if not d.status.authors or not d.input.author:
        return max(0, approval.count + 1 - len(people)), f"; {_UNKNOWN}"
    others = [one for one in people if one not in d.status.authors]
    missing = max(approval.count - len(people), 0 if others else 1)
    alone = bool(people) and not others
    return missing, "; whoever made the change does not count alone" if alone else ""


def what_to_type(d: Draft) -> str:
    """The command for the people that are waited for."""
    role = d.status.step.role if d.status.step is not None else ""
    return f'type: {d.command("approve")} --role {role} -m "why" (or reject)'


def why_not(d: Draft, human: Human) -> str:
    """Why an approval does not count, and what to do; empty when it does."""
    step = d.status.step
    if human.unverified:
        return f"an approval that nobody vouches for does not count: {human.unverified}"
    if step is None or not step.role:
        ahead = [one.title for one in d.input.spec.steps[step.number if step else 0 :] if one.approval]
        coming = f"{ahead[0]} is still ahead: say it when status says AwaitingApproval" if ahead else "none is ahead"
        return f"no step waits for an approval now; {coming}"
    if human.role != step.role:
        return f"step {step.name} waits for role {step.role}, not for {human.role}"
    if not human.author:
        return "an approval without an author does not count: fill in spec.author"
    if human.author in _people(d):
        return f"{human.author} approved step {step.name} already; somebody else has to"
    return ""


def count(d: Draft, human: Human) -> str:
    """Take an approval down; what still stands in the way."""
    step = d.status.step
    assert step is not None
    given = Approved(
        step=step.name,
        role=human.role,
        author=human.author,
        decision=human.name,
        at=human.created,
        comment=human.comment[:_COMMENT],
        terms=_terms(d.input.spec),
    )
    d.set(approvals=[given, *d.status.approvals][:_MOST_APPROVALS])
    return wanted(d) or f"step {step.name} is approved"


def void(d: Draft, why: str) -> None:
    """What was approved is no more what would be released: everybody has to look again."""
    if d.status.approvals:
        d.event(Reason.APPROVALS_VOIDED, f"{len(d.status.approvals)} approvals are void: {why}", warning=True)
        d.set(approvals=[])
