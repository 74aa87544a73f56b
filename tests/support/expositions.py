"""Text that servers export, as a Prometheus that scraped it would answer: selectors over samples, nothing more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "Exposition"]

FOLDER = Path(__file__).parents[1] / "unit" / "presets" / "expositions"
_TYPE = re.compile(r"^# TYPE (\S+) (\w+)$", re.M)
_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$", re.M)
_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')


class Exposition:
    """One scrape of one target. ``target``: the labels that Prometheus adds."""

    def __init__(self, server: str, **target: str) -> None:
        text = (FOLDER / f"{server}.prom").read_text(encoding="utf-8")
        self.types = dict(_TYPE.findall(text))
        self.samples = [
            (name, {label: value for label, _, value in _MATCHER.findall(labels)} | target, float(value))
            for name, labels, value in _SAMPLE.findall(text)
        ]

    def rows(self, selector: str) -> Iterator[dict[str, Any]]:
        """The series of an instant query for a selector, all at the instant 0."""
        wanted, _, inside = selector.partition("{")
        matchers = _MATCHER.findall(inside)
        for name, labels, value in self.samples:
            every = labels | {"__name__": name}
            if wanted in ("", name) and all(_matches(every.get(label, ""), *rest) for label, *rest in matchers):
                yield {"metric": every, "value": [0, f"{value:.17g}"]}


def _matches(value: str, operator: str, pattern: str) -> bool:
    unquoted = pattern.replace('\\"', '"').replace("\\\\", "\\")
    same = value == unquoted if operator in ("=", "!=") else re.fullmatch(unquoted, value) is not None
    return same is not operator.startswith("!")
