"""Links to dashboards in incidents and messages, from templates of whoever runs the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from modelrollout.api.incident import Link

__all__ = ["WORDS", "LinkTemplate", "links"]

WORDS: Final = ("namespace", "name", "revision", "version", "from", "to")
_WORD: Final = re.compile(r"\{([^{}]*)\}")
_AROUND: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LinkTemplate:
    """A name and an address with words in braces."""

    name: str
    url: str

    @classmethod
    def parse(cls, text: str) -> LinkTemplate:
        """From ``NAME=URL``.

        Raises
        ------
        ValueError
            If it is not of that form, or a word in braces is none of those that there are.
        """
        name, sign, url = text.partition("=")
        if not (name and sign and re.match(r"https?://", url)):
            raise ValueError(f"{text!r} is no link; write it like Grafana=https://grafana.example/d/x?ns={{namespace}}")
        unknown = [word for word in _WORD.findall(url) if word not in WORDS]
        if unknown:
            known = ", ".join(f"{{{word}}}" for word in WORDS)
            raise ValueError(f"{text!r}: there is no {{{unknown[0]}}}; there are {known}")
        return cls(name, url)


def links(templates: tuple[LinkTemplate, ...], words: Mapping[str, str], at: datetime) -> tuple[Link, ...]:
    """The links for something that happened ``at``; ``{from}`` and ``{to}`` (milliseconds since 1970, as Grafana has
    them) are an hour before and after. Words are quoted, so that none of them can change where a link leads."""
    times = {name: str(int(t.timestamp() * 1000)) for name, t in (("from", at - _AROUND), ("to", at + _AROUND))}
    known = {name: quote(value, safe="") for name, value in {**words, **times}.items()}
    return tuple(
        Link(name=one.name[:63], url=_WORD.sub(lambda found: known.get(found.group(1), ""), one.url)[:2048])
        for one in templates[:8]
    )
