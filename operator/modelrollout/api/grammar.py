"""The small languages inside a manifest: durations, percents, limits and metric selectors.

A limit must read like the sentence a person would say and be hard to get wrong, so the grammar is tiny and strict:

    atMost:  200ms | 1% | 0.02 | baseline + 0.2pp | 110% of baseline | 110% of baseline + 0.1pp
    atLeast: 3%  | 0.90 | baseline - 0.5pp | 99% of baseline
    of a value or a report also: 17179869184 | -40 | baseline + 12 | baseline - 0.02

A bare ``%`` in a difference (``baseline + 0.2%``) has two readings a factor of hundred apart and is refused, and so is
a bare number in a difference of shares (``baseline + 0.2``). Which limits fit which kind of gate is one table,
:data:`LIMITS_BY_KIND`. The patterns are shared by the CRD's CEL rules and by the parsers here, so both refuse the same
things.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

__all__ = [
    "BUCKET_PATTERN",
    "DURATION_PATTERN",
    "LIMITS_BY_KIND",
    "LIMIT_PATTERN",
    "LOOKS_PATTERN",
    "MATCHERS_PATTERN",
    "PERCENT_PATTERN",
    "QUANTILE_PATTERN",
    "REFERENCE_TOLERANCE",
    "RISKS",
    "SELECTOR_PATTERN",
    "Limit",
    "Selector",
    "format_duration",
    "parse_duration",
    "parse_limit",
    "parse_looks",
    "parse_percent",
    "parse_reference",
    "parse_risk",
    "parse_selector",
]

_NUMBER: Final = r"[0-9]{1,9}(\.[0-9]{1,9})?"
_PLAIN: Final = r"[0-9]{1,15}(\.[0-9]{1,9})?"
"""Of any size, like bytes: a double holds every integer of 15 digits exactly."""

DURATION_PATTERN: Final = r"^([0-9]{1,5}(h|ms|m|s)){1,4}$"
"""GEP-2257 duration format (Gateway API)."""
PERCENT_PATTERN: Final = rf"^{_NUMBER}%$"
QUANTILE_PATTERN: Final = r"^0\.[0-9]{1,6}$"
LOOKS_PATTERN: Final = "^[1-9][0-9]? of [1-9][0-9]?$"
BUCKET_PATTERN: Final = r"^([+]Inf|-?[0-9]{1,15}(\.[0-9]{1,15})?(e[+-]?[0-9]{1,3})?)$"
"""The upper bound of a histogram's bucket, as Prometheus writes it in the label ``le``."""
LIMIT_PATTERN: Final = rf"^({_NUMBER}(%|ms|s)|-?{_PLAIN}|({_NUMBER}% of )?baseline( [+-] ({_NUMBER}pp|{_PLAIN}))?)$"
LIMITS_BY_KIND: Final = {
    "ratio": (
        rf"^({_NUMBER}%?|({_NUMBER}% of )?baseline( [+-] {_NUMBER}pp)?)$",
        'the limit of a ratio is a share, not a time: write it like 1% or "baseline + 0.2pp"',
    ),
    "latency": (
        rf"^({_NUMBER}m?s|{_NUMBER}% of baseline)$",
        'the limit of a latency is a time or relative: write atMost: 200ms or "110% of baseline"',
    ),
    "drift": (
        rf"^{_NUMBER}$",
        "the limit of a drift is a distance, a bare number (from the baseline or the reference already): write atMost: "
        '"0.2"',
    ),
    "report": (
        rf"^(-?{_PLAIN}|({_NUMBER}% of )?baseline( [+-] {_PLAIN})?)$",
        "the limit of a report is a number without a unit, in the unit of the report: write it like 512, 0.9, "
        '"98% of baseline" or "baseline - 0.02"',
    ),
}
"""For each kind of gate the limits that fit it, and what to say of others. A value takes any limit: times are seconds
and percents are shares there, as Prometheus' base units are."""
_LABEL_MATCHER: Final = r'[a-zA-Z_][a-zA-Z0-9_]*(=|!=|=~|!~)"([^"\\\n]|\\.)*"'
MATCHERS_PATTERN: Final = rf"^{_LABEL_MATCHER}( *, *{_LABEL_MATCHER})*$"
SELECTOR_PATTERN: Final = rf"^[a-zA-Z_:][a-zA-Z0-9_:]*([{{] *({_LABEL_MATCHER}( *, *{_LABEL_MATCHER})*)? *,? *[}}])?$"
"""An instant vector selector of PromQL, nothing more: no functions, no ranges, no offsets."""

_DURATION_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@lru_cache(maxsize=1024)
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


@lru_cache(maxsize=1024)
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


RISKS: Final = (0.0001, 0.2)
"""How rarely and how often a wrong rollback may be accepted: below, no traffic is enough for a verdict; above, good
models would be rolled back as a habit."""


def parse_risk(text: str) -> float:
    """Read ``1%`` as the probability 0.01.

    Raises
    ------
    ValueError
        If the text is not a percentage, or outside of :data:`RISKS`.
    """
    risk = parse_percent(text)
    lowest, highest = RISKS
    if not lowest <= risk <= highest:
        raise ValueError(f'"{text}" is out of reach: write at least {lowest:.2%} and at most {highest:.0%}')
    return risk


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as numbers: ``factor · baseline + offset``.

    ``offset`` is a share (0.002 for 0.2pp), or seconds when ``seconds`` is true; a number without a unit is in the unit
    of whatever is measured. An absolute limit has factor 0.
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

    def may_be_beyond(self, other: Limit, *, at_least: bool) -> bool:
        """Whether there is any baseline (not negative) at which this limit is worse than another one."""
        sign = -1.0 if at_least else 1.0
        return sign * (self.factor - other.factor) > 0.0 or sign * (self.offset - other.offset) > 0.0


@lru_cache(maxsize=1024)
def parse_limit(text: str, *, kind: str | None = None) -> Limit:
    """Read a limit; with ``kind`` (ratio, latency, drift, value, report) only one that fits such a gate.

    Raises
    ------
    ValueError
        If the text is no limit or does not fit the kind. For a bare ``%`` in a difference, and for a bare number in a
        difference of shares, the message shows both readings.
    """
    _refuse_two_readings(text, kind)
    if not re.fullmatch(LIMIT_PATTERN, text):
        raise ValueError(
            f'"{text}" is not a limit: write it like 200ms, 1%, 0.02, "99% of baseline" or "baseline + 0.2pp"'
        )
    pattern, remedy = LIMITS_BY_KIND.get(kind or "value", (LIMIT_PATTERN, ""))
    if not re.fullmatch(pattern, text):
        raise ValueError(f'"{text}" does not fit: {remedy}')
    if "baseline" in text:
        return _parse_relative(text)
    if text.endswith("s"):
        return Limit(text, 0.0, parse_seconds(text), seconds=True)
    if kind == "ratio" and (share := parse_percent(text) if text.endswith("%") else float(text)) > 1.0:
        raise ValueError(f'"{text}" is {share:g} as a share, and none is above 1: write it like 5% or 0.05')
    return Limit(text, 0.0, parse_percent(text) if text.endswith("%") else float(text))


def _refuse_two_readings(text: str, kind: str | None) -> None:
    found = re.match(
        rf"^(?P<before>({_NUMBER}% of )?baseline) (?P<sign>[+-]) (?P<number>{_PLAIN})(?P<percent>%?)$", text
    )
    if found is None:
        return
    before, sign, number, percent = found.group("before", "sign", "number", "percent")
    points = f'"{before} {sign} {number}pp" for percentage points'
    if percent and before == "baseline":
        other = f'"{100 + float(f"{sign}{number}"):g}% of baseline" for a relative difference'
    elif not percent and kind == "ratio":
        other = f'"{before} {sign} {100 * float(number):g}pp" for a share of {number}'
    else:
        return
    raise ValueError(f'"{text}" has two readings: write {points} or {other}')


def _parse_relative(text: str) -> Limit:
    _, _, shift = text.partition("baseline ")
    factor = float(text.split("%")[0]) / 100.0 if "% of" in text else 1.0
    if shift.endswith("pp"):
        return Limit(text, factor, float(shift[:-2].replace(" ", "")) / 100.0)
    return Limit(text, factor, float(shift.replace(" ", "") or 0.0))


def parse_seconds(text: str) -> float:
    """Read ``200ms`` or ``0.2s`` as seconds."""
    return float(text[:-2]) / 1000.0 if text.endswith("ms") else float(text[:-1])


def parse_looks(text: str) -> tuple[int, int]:
    """Read ``3 of 5`` as (3, 5).

    Raises
    ------
    ValueError
        If the text is not such a pair, or asks for more looks than it looks at.
    """
    if not re.fullmatch(LOOKS_PATTERN, text):
        raise ValueError(f'"{text}" is not a number of looks: write it like "3 of 5"')
    wanted, looked_at = (int(number) for number in text.split(" of "))
    if wanted > looked_at:
        raise ValueError(f'"{text}" wants more looks than it looks at: write it like "{looked_at} of {wanted}"')
    return wanted, looked_at


REFERENCE_TOLERANCE: Final = 0.005
"""The shares of a reference are rounded by whoever writes them down, so their sum may be off by half a percent."""


def parse_reference(reference: Mapping[str, str]) -> tuple[tuple[float, float], ...]:
    """Read a reference distribution: pairs of (upper bound of the bucket, share of events inside it), rising.

    The shares are scaled to sum to exactly 1.

    Raises
    ------
    ValueError
        If a bound is no number, is there twice or "+Inf" is missing, or if the shares do not sum to 100%.
    """
    for bound in reference:
        if not re.fullmatch(BUCKET_PATTERN, bound):
            raise ValueError(f'reference: "{bound}" is not the bound of a bucket: write a number like "0.5", or "+Inf"')
    shares = {float(bound): parse_percent(share) for bound, share in reference.items()}
    if len(shares) < len(reference):
        raise ValueError(f"reference: {', '.join(reference)} name one bound twice: give each bound once")
    if float("inf") not in shares:
        raise ValueError('reference: the last bucket is missing: give the share of "+Inf" too')
    total = sum(shares.values())
    if abs(total - 1.0) > REFERENCE_TOLERANCE:
        raise ValueError(f"reference: the shares sum to {100 * total:g}%: they must sum to 100%")
    return tuple((bound, share / total) for bound, share in sorted(shares.items()))


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
