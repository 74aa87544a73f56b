"""The small languages inside a manifest: durations, percents, limits and metric selectors.

A limit must read like the sentence a person would say and be hard to get wrong, so the grammar is tiny and strict:

    atMost:  200ms | 1% | 0.02 | baseline + 0.2pp | 110% of baseline | 110% of baseline + 0.1pp
    atLeast: 3%  | 0.90 | baseline - 0.5pp | 99% of baseline

A bare ``%`` in a difference (``baseline + 0.2%``) has two readings a factor of hundred apart and is refused.
The patterns are shared by the CRD's CEL rules and by the parsers here, so both refuse the same things.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

__all__ = [
    "DURATION_PATTERN",
    "LIMIT_PATTERN",
    "PERCENT_PATTERN",
    "QUANTILE_PATTERN",
    "SELECTOR_PATTERN",
    "Limit",
    "Selector",
    "format_duration",
    "parse_duration",
    "parse_limit",
    "parse_percent",
    "parse_selector",
]

_NUMBER: Final = r"[0-9]{1,9}(\.[0-9]{1,9})?"

DURATION_PATTERN: Final = r"^([0-9]{1,5}(h|ms|m|s)){1,4}$"
"""GEP-2257 duration format (Gateway API)."""
PERCENT_PATTERN: Final = rf"^{_NUMBER}%$"
QUANTILE_PATTERN: Final = r"^0\.[0-9]{1,6}$"
LIMIT_PATTERN: Final = rf"^({_NUMBER}(%|ms|s)?|({_NUMBER}% of )?baseline( [+-] {_NUMBER}pp)?)$"
_LABEL_MATCHER: Final = r'[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\\n]|\\.)*"'
SELECTOR_PATTERN: Final = rf"^[a-zA-Z_:][a-zA-Z0-9_:]*([{{] *({_LABEL_MATCHER}( *, *{_LABEL_MATCHER})*)? *,? *[}}])?$"
"""An instant vector selector of PromQL, nothing more: no functions, no ranges, no offsets."""

_DURATION_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> timedelta:
    """Read a GEP-2257 duration such as ``1h30m`` or ``500ms``.

    Raises
    ------
    ValueError
        If the text is not such a duration; the message shows how to write one.
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f'"{text}" is not a duration: write it like 30s, 15m, 1h30m or 168h')
    parts = re.findall(r"([0-9]+)(ms|h|m|s)", text)
    return timedelta(seconds=sum(int(number) * _DURATION_UNITS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Seconds as a short human duration: ``0s``, ``45s``, ``12m``, ``1h30m``, ``7d``."""
    left = max(0, round(seconds))
    if left >= 172_800 and left % 86_400 == 0:
        return f"{left // 86_400}d"
    hours, rest = divmod(left, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{secs}s" if secs and not hours else ""]
    return "".join(parts) or "0s"


def parse_percent(text: str) -> float:
    """Read ``25%`` as the share 0.25.

    Raises
    ------
    ValueError
        If the text is not a percentage.
    """
    if not re.fullmatch(PERCENT_PATTERN, text):
        raise ValueError(f'"{text}" is not a percentage: write it like 25% or 0.5%')
    return float(text[:-1]) / 100.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as numbers: ``factor · baseline + offset``.

    ``offset`` is a share (0.002 for 0.2pp) or, when ``seconds`` is true, seconds. An absolute limit has factor 0.
    """

    text: str
    factor: float
    offset: float
    seconds: bool = False

    @property
    def relative(self) -> bool:
        """Whether the limit is measured from the baseline."""
        return self.factor > 0.0

    def at(self, baseline: float | None) -> float | None:
        """The limit as one number, given the baseline's value; None when it needs a baseline that is not there."""
        if not self.relative:
            return self.offset
        return None if baseline is None else self.factor * baseline + self.offset


def parse_limit(text: str) -> Limit:
    """Read a limit.

    Raises
    ------
    ValueError
        If the text is no limit; for a bare ``%`` in a difference the message shows both readings.
    """
    ambiguous = re.match(rf"^baseline ([+-]) ({_NUMBER})%$", text)
    if ambiguous:
        sign, number = ambiguous.group(1), ambiguous.group(2)
        relative = 100 + float(f"{sign}{number}")
        raise ValueError(
            f'"{text}" has two readings: write "baseline {sign} {number}pp" for percentage points '
            f'or "{relative:g}% of baseline" for a relative difference'
        )
    if not re.fullmatch(LIMIT_PATTERN, text):
        raise ValueError(
            f'"{text}" is not a limit: write it like 200ms, 1%, 0.02, "99% of baseline" or "baseline + 0.2pp"'
        )
    if "baseline" in text:
        share = re.match(rf"^({_NUMBER})% of ", text)
        shift = re.search(rf"([+-]) ({_NUMBER})pp$", text)
        offset = float(shift.group(1) + shift.group(2)) / 100.0 if shift else 0.0
        return Limit(text, float(share.group(1)) / 100.0 if share else 1.0, offset)
    if text.endswith("s"):
        return Limit(text, 0.0, parse_seconds(text), seconds=True)
    return Limit(text, 0.0, parse_percent(text) if text.endswith("%") else float(text))


def parse_seconds(text: str) -> float:
    """Read ``200ms`` or ``0.2s`` as seconds."""
    return float(text[:-2]) / 1000.0 if text.endswith("ms") else float(text[:-1])


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant vector selector: a metric name and label matchers (as written, without braces)."""

    name: str
    matchers: str

    def promql(self, *, suffix: str = "", extra: str = "") -> str:
        """The selector as PromQL, with a name suffix (``_bucket``) and further matchers put in front."""
        inside = ",".join(part for part in (extra, self.matchers) if part)
        return f"{self.name}{suffix}{{{inside}}}"


def parse_selector(text: str) -> Selector:
    """Read a metric selector such as ``requests_total{code=~"5.."}``.

    A matcher on ``namespace`` is refused: the operator adds the namespace of the rollout itself, so that one team's
    gate can never read (or be misled by) another team's series.

    Raises
    ------
    ValueError
        If the text is anything but a plain selector, or names the namespace.
    """
    if not re.fullmatch(SELECTOR_PATTERN, text):
        raise ValueError(
            f'"{text}" is not a metric selector: write a metric name with optional label matchers, '
            'like requests_total{code=~"5.."}; functions and ranges are added by the operator'
        )
    name, _, inside = text.partition("{")
    matchers = inside.rstrip("} ").strip().rstrip(",").strip()
    if re.search(r"(^|,)\s*namespace\s*(=|!)", matchers):
        raise ValueError(f'"{text}" names the label namespace: leave it out, the operator adds it')
    return Selector(name, matchers)
