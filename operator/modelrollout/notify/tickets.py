"""What trackers have in common: one ticket for one incident, found again by a label, and text from a template.

A tracker knows no idempotency keys. So each ticket carries a label made from the message's id; whoever is about to
create one asks for that label first. There is one worker per receiver, so nobody else asks at the same time.

Templates are files of this package, filled by :class:`string.Template`: nothing in the text that is filled in is ever
read as a template, and each tracker's escape keeps it from being read as markup.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

from modelrollout.notify.base import Message
from modelrollout.notify.payload import rfc3339

__all__ = ["TITLE", "filled", "label_of", "title"]

TITLE: Final = 240
_GAP: Final = re.compile(r"\s+")


def label_of(message: Message) -> str:
    """The label by which a message's ticket is found again; at most 50 characters, no spaces."""
    return "modelrollout-" + hashlib.sha256(message.id.encode()).hexdigest()[:24]


def title(message: Message) -> str:
    """One line of plain text."""
    return _GAP.sub(" ", message.title)[:TITLE]


@cache
def _template(name: str) -> Template:
    return Template(files("modelrollout.notify").joinpath("templates", name).read_text(encoding="utf-8"))


def filled(template: str, message: Message, escape: Callable[[str], str], row: Callable[[list[str]], str]) -> str:
    """The body of a ticket. ``escape`` makes text harmless, ``row`` makes a table's row of escaped cells."""
    notice, incident = message.notice, message.incident
    evidence = incident.evidence if incident is not None else []
    timeline = incident.timeline if incident is not None else []
    gates = [
        [g.name, str(g.verdict), g.value, g.baseline, g.limit, f"{g.samples} / {g.baseline_samples}"] for g in evidence
    ]
    return _template(template).substitute(
        message=escape(notice.message),
        reason=escape(str(notice.cause or notice.reason)),
        namespace=escape(message.namespace),
        name=escape(message.name),
        version=escape(notice.version),
        revision=escape(notice.revision),
        stable=escape(message.stable),
        at=rfc3339(notice.at),
        weight=str(incident.weight) if incident is not None else "0",
        incident=escape(notice.incident),
        gates="\n".join(row([escape(cell) for cell in gate]) for gate in gates),
        sentences="\n".join(f"* {escape(g.name)}: {escape(g.message)}" for g in evidence if g.message) or "* none",
        queries="\n".join(f"* {escape(g.name)}: {escape(g.query)}" for g in evidence if g.query) or "* none",
        timeline="\n".join(f"* {rfc3339(one.at)} {escape(one.what)}" for one in timeline) or "* none",
        links="\n".join(f"* {escape(link.name)}: {link.url}" for link in message.links) or "* none",
        commands="\n".join(f"    {' '.join(one.split())}" for one in message.commands),
        key=label_of(message),
    )
