"""What a preset is: the part of a gate that follows from who exports the metrics. Plain data, and no more than that.

A preset is expanded when a manifest is read, so that everything behind it (engine, metrics, laboratory) sees a gate as
a person would have written it, and a preset can do nothing that a person could not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["ERRORS", "Preset", "Server", "by_service", "narrowed"]

ERRORS: Final = "errors"
"""The part after the slash by which the API server knows a preset that is a ratio; all others are latencies."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One gate that a server's or a gateway's metrics allow.

    Either ``bad`` with ``total`` or ``others`` (selectors of counters), or ``histogram`` with ``unit`` (``s``, ``ms``
    or ``us``; empty: the histogram's name says it). ``at_most``: the limit when the manifest gives none.
    ``identity``: as in a gate; empty: by the pod's name.
    """

    name: str
    """Like ``vllm/ttft``."""
    what: str
    """What is counted, for people."""
    at_most: str
    bad: str = ""
    total: str = ""
    others: str = ""
    histogram: str = ""
    unit: str = ""
    quantile: str = "0.95"
    identity: Mapping[str, str] = field(default_factory=dict)
    caveat: str = ""
    """What it does not see, and what has to be switched on."""

    @property
    def is_ratio(self) -> bool:
        """Whether it counts events of two kinds."""
        return self.bad != ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The selectors that must have series, the one that tells traffic first."""
        return (self.total or self.others, self.bad) if self.is_ratio else (self.histogram,)

    def measured(self, where: str, quantile: str | None) -> dict[str, Any]:
        """What a gate says of the measurement: ``ratio`` or ``latency``, ``labelsWithin``.

        ``where``: label matchers of the manifest, put into every selector.
        """
        if not self.is_ratio:
            latency = {"histogram": narrowed(self.histogram, where), "quantile": quantile or self.quantile}
            return {"latency": latency | ({"unit": self.unit} if self.unit else {})}
        rest = {"total": self.total} if self.total else {"others": self.others}
        ratio = {name: narrowed(text, where) for name, text in ({"bad": self.bad} | rest).items()}
        return {"ratio": ratio, "labelsWithin": "0s"}


@dataclass(frozen=True, slots=True)
class Server:
    """A model server or a gateway. ``source``: where its metrics are described; ``left_out``: what its metrics do not
    allow, and what to use for that."""

    title: str
    presets: tuple[Preset, ...]
    source: str
    left_out: str = ""
    bounds: str = ""
    """Its buckets' bounds, as a person needs them to choose a limit."""


def by_service(label: str, value: str) -> dict[str, str]:
    """The identity of a gateway's metrics: a label that names the Service."""
    return {"by": "service", "label": label, "value": value}


def narrowed(selector: str, where: str) -> str:
    """A selector with further label matchers."""
    if not where:
        return selector
    name, _, inside = selector.partition("{")
    rest = re.sub(r"[\s,]*\}$", "", inside).strip()
    return f"{name}{{{', '.join(part for part in (rest, where.strip()) if part)}}}"
