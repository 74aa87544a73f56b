"""What is known *about* metrics: names, types, labels; and what to tell people when one is not as a gate says.

Answers are a minute old at most, and a few seconds when there was nothing to know: a target that was just found has not
told anything yet.
"""

from __future__ import annotations

import asyncio
import difflib
import math
import re
import time
from collections.abc import Sequence
from typing import Final

from modelrollout.api.gate import Gate
from modelrollout.api.grammar import Selector
from modelrollout.api.presets.registry import BORN_WITH_FIRST_EVENT
from modelrollout.engine.model import Problem, ProblemKind
from modelrollout.metrics.base import Arm
from modelrollout.metrics.client import Client, RefusedQueryError
from modelrollout.metrics.identity import told_by

__all__ = ["Knowledge", "missing_arm", "refuse_bucketless", "refuse_uncountable"]

_KNOWN_FOR_SECONDS: Final = 60.0
_UNKNOWN_FOR_SECONDS: Final = 5.0
_QUOTED: Final = re.compile(r'"(\\.|[^"\\])*"')
_LABEL_NAME: Final = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*[=!]")
_NOT_COUNTERS: Final = frozenset({"gauge", "gaugehistogram", "summary", "info", "stateset"})


class Knowledge:
    """Looks things up, once for all who ask."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], tuple[float, asyncio.Future[object]]] = {}
        self._names: tuple[float, list[str]] = (-math.inf, [])

    async def types_of(self, name: str) -> frozenset[str]:
        """The types under which targets export a metric; empty when nobody says (not every store keeps them)."""
        found = await self._look_up("metadata", "metric", name)
        entries = found.get(name) if isinstance(found, dict) else None
        return frozenset(str(one.get("type", "")) for one in entries or []) - {"", "unknown"}

    async def never_seen(self, selector: Selector, namespace: str, *, same_name: bool) -> Problem | None:
        """Whether events that nobody has seen can happen at all: a healthy service has no series of its errors.

        A name that Prometheus does not know, or a label that the metric does not have, is a slip of the pen that would
        let every candidate pass. ``same_name``: the metric itself is known to be there. Counters of known servers may
        be missing altogether until something fails.
        """
        if not same_name and selector.name not in await self._all_names(with_=selector.name):
            if selector.name in BORN_WITH_FIRST_EVENT:
                return None
            return await self.unknown_name(selector, namespace)
        named = set(_LABEL_NAME.findall(_QUOTED.sub("", selector.matchers)))
        if not named:
            return None
        known = await self._labels_of(selector.name)
        unknown = sorted(named - known)
        if not unknown or not known:
            return None
        has = ", ".join(sorted(known - {"__name__"}))
        text = f"no series of {selector.name} has a label {unknown[0]} (its labels are {has})"
        return Problem(ProblemKind.METRIC_UNKNOWN, text)

    async def unknown_name(self, selector: Selector, namespace: str) -> Problem:
        """What to say of a metric without any series."""
        names = await self._all_names(with_=selector.name)
        near = difflib.get_close_matches(selector.name, names, n=3, cutoff=0.6)
        kind = ProblemKind.METRIC_MISSING if selector.name in near else ProblemKind.METRIC_UNKNOWN
        if selector.name in near:
            text = f"{selector.name} has no series in namespace {namespace} that match {selector.promql()}"
        else:
            hint = f"; near names are {', '.join(near)}" if near else ""
            text = f"Prometheus knows no metric {selector.name}{hint}"
        return Problem(kind, f"{text}. Are the pods scraped, and have they had requests?")

    async def _labels_of(self, name: str) -> frozenset[str]:
        found = await self._look_up("labels", "match[]", name)
        return frozenset(str(label) for label in found) if isinstance(found, list) else frozenset()

    async def _all_names(self, *, with_: str) -> list[str]:
        at, names = self._names
        if time.monotonic() - at < (_KNOWN_FOR_SECONDS if with_ in names else _UNKNOWN_FOR_SECONDS):
            return names
        names = await self._client.names()
        self._names = (time.monotonic(), names)
        return names

    async def _look_up(self, what: str, parameter: str, name: str) -> object:
        at, known = self._known.get((what, name), (-math.inf, None))
        nothing = known is not None and known.done() and not known.result()
        if known is None or time.monotonic() - at >= (_UNKNOWN_FOR_SECONDS if nothing else _KNOWN_FOR_SECONDS):
            before, known = known, asyncio.ensure_future(self._client.about(what, {parameter: name}))
            self._known[what, name] = (time.monotonic(), known)
            if before is not None and before.done() and not nothing:
                return before.result()  # what was so a minute ago does, while the new answer comes
        return known.result() if known.done() else await asyncio.shield(known)


def missing_arm(
    name: str, gate: Gate, *, ours: bool, theirs: bool, anybody: bool, arms: Sequence[Arm]
) -> Problem | None:
    """Which arm has no series of a metric, if any; None also when nobody has, which needs a look at its name."""
    candidate, baseline = arms
    if ours and theirs:
        return None
    if theirs:
        text = f"no series of {name} for the candidate ({told_by(gate.identity, candidate)})"
        return Problem(ProblemKind.CANDIDATE_MISSING, text)
    if ours:
        text = f"no series of {name} for the baseline ({told_by(gate.identity, baseline)})"
        return Problem(ProblemKind.BASELINE_MISSING, text)
    if not anybody:
        return None
    text = (
        f"{name} has series, but none with {told_by(gate.identity, candidate)}; relabel the pod's name to `pod` "
        "(a PodMonitor does), or say gates[].identity"
    )
    return Problem(ProblemKind.METRIC_MISSING, text)


def refuse_uncountable(name: str, types: frozenset[str]) -> None:
    """Raise RefusedQueryError for what is no counter."""
    if types and types <= _NOT_COUNTERS:
        kind = sorted(types)[0]
        raise RefusedQueryError(f"{name} is a {kind}, but a ratio counts events: name a counter")
    if types == {"histogram"}:
        raise RefusedQueryError(f"{name} is a histogram, but a ratio counts events: name {name}_count")


def refuse_bucketless(name: str, types: frozenset[str], what: str) -> None:
    """Raise RefusedQueryError for what is no histogram. ``what``: the kind of gate."""
    if types and "histogram" not in types:
        kind = sorted(types)[0]
        raise RefusedQueryError(f"{name} is a {kind}, but a {what} needs a histogram (there is no {name}_bucket)")
