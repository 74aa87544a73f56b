"""Asking Prometheus what the demo shows beside the operator's own words."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from demo.measuring import Point, Series

__all__ = ["Prometheus"]

_TIMEOUT: Final = 3.0


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus server; every question raises OSError when it does not answer."""

    url: str

    def number(self, query: str) -> float | None:
        """The value of a query that has one result; None when there is nothing to be seen."""
        result = self._ask(query)
        return float(result[0]["value"][1]) if len(result) == 1 else None

    def samples(self, selector: str, seconds: float) -> list[Series]:
        """What was scraped in the last so many seconds, with the times of the scrapes."""
        result = self._ask(f"{selector}[{max(1, round(seconds))}s]")
        return [[Point(float(at), float(value)) for at, value in series["values"]] for series in result]

    def _ask(self, query: str) -> list[dict[str, Any]]:
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
