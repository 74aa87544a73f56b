"""Pictures as text: small SVG charts, and pages of them that need nothing from anywhere else.

No script, no font, no style sheet is fetched, so that a page can be sent by mail, kept beside an incident, or put into
a repository. Colours follow the reader's light or dark setting; every series also differs by its dash or its marks, so
that the charts survive printing and colour blindness (the palette is Okabe and Ito's, "Color Universal Design", 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from modelrollout.api.grammar import format_duration

__all__ = ["Bar", "Level", "Mark", "Series", "bars", "lines", "number", "page", "percent", "seconds"]

_WIDTH: Final = 760.0
_HEIGHT: Final = 300.0
_LEFT: Final = 76.0
_RIGHT: Final = 18.0
_TOP: Final = 58.0
_BOTTOM: Final = 46.0
_INNER_WIDTH: Final = _WIDTH - _LEFT - _RIGHT
_INNER_HEIGHT: Final = _HEIGHT - _TOP - _BOTTOM
_COLOURS: Final = 6
_TICKS: Final = 6
_MOST_POINTS: Final = 1200
_LEGEND_ROW: Final = 18.0
_CHARACTER: Final = 6.7
"""Width of a character at the font size of the legend."""
_DASHES: Final = {"solid": "", "dashed": "7 4", "dotted": "2 4"}
_TIMES: Final = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
_STYLE: Final = """
svg.chart{font:12px system-ui,sans-serif;max-width:100%;height:auto;background:var(--paper)}
svg.chart,.page{--paper:#fff;--ink:#222;--faint:#ddd;--limit:#a00;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#a8518a;--c4:#b37400;--c5:#2a8fc4}
@media(prefers-color-scheme:dark){svg.chart,.page{--paper:#16181c;--ink:#ddd;--faint:#3a3d44;--limit:#ff7b72;
--c0:#56b4e9;--c1:#f28e4e;--c2:#35c79a;--c3:#e0a3c8;--c4:#e6b84c;--c5:#8ecdf0}}
svg.chart text{fill:var(--ink)}svg.chart .title{font-weight:600;font-size:14px}
svg.chart .grid{stroke:var(--faint);fill:none}svg.chart .axis{stroke:var(--ink);fill:none}
svg.chart .limit{stroke:var(--limit);stroke-dasharray:5 3;fill:none}svg.chart .limit-text{fill:var(--limit)}
svg.chart .mark{stroke:var(--ink);stroke-dasharray:2 3;fill:none}
"""
_PAGE_STYLE: Final = """
body{margin:0;background:var(--paper);color:var(--ink)}
.page{max-width:820px;margin:0 auto;padding:1.5rem;font:15px/1.5 system-ui,sans-serif;background:var(--paper);
color:var(--ink);min-height:100vh;box-sizing:border-box}
.page pre{overflow-x:auto;font:12px/1.45 ui-monospace,monospace}
html{background:#fff}@media(prefers-color-scheme:dark){html{background:#16181c}}
"""

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """One line: ``ys`` over ``xs``, broken where a value is not finite. ``style``: solid, dashed, dotted or points."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line: a limit."""

    label: str
    y: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line: something that happened."""

    label: str
    x: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; ``error`` is the half length of its whisker."""

    label: str
    value: float
    error: float = 0.0


def number(value: float) -> str:
    """A number with as many digits as an axis needs: ``0.05``, ``12``, ``3,000``, ``2e+06``."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"


def percent(value: float) -> str:
    """A share as a percentage: ``2.5 %``."""
    return f"{100.0 * value:.3g} %"


def seconds(value: float) -> str:
    """A time as a person says it: ``1h30m``; before zero with a minus."""
    return ("-" if value < 0 else "") + format_duration(abs(value))


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range of values, its ticks, and where a value lies in it: 0 at the low end, 1 at the high one."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(max(value, self.low)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def lines(
    title: str,
    series: Sequence[Series],
    *,
    limits: Sequence[Level] = (),
    marks: Sequence[Mark] = (),
    x_label: str = "",
    y_label: str = "",
    x_format: Format = seconds,
    y_format: Format = number,
    log: bool = False,
) -> str:
    """A chart of lines as SVG. ``log``: the vertical axis is logarithmic; values that are not positive are left out."""
    drawn = [_thinned(one) for one in series]
    ys = [y for one in drawn for y in one.ys] + [limit.y for limit in limits]
    xs = [x for one in drawn for x in one.xs] + [mark.x for mark in marks]
    across = _axis(xs, as_time=x_format is seconds, tight=True)
    up = _logarithmic(ys) if log else _axis(ys)
    legend, rows = _legend(drawn)
    more = _LEGEND_ROW * (rows - 1)
    parts = [
        _text(_LEFT / 4, 20, title, "title"),
        *legend,
        f'<g transform="translate(0 {more:.0f})">',
        *_frame(across, up, x_format, y_format, x_label, y_label),
        *(_limit(limit, up) for limit in limits),
        *_marks(marks, across),
        *(_line(one, number % _COLOURS, across, up) for number, one in enumerate(drawn)),
        "</g>",
    ]
    return _svg(title, parts, _HEIGHT + more)


def bars(
    title: str,
    values: Sequence[Bar],
    *,
    limits: Sequence[Level] = (),
    y_format: Format = number,
    log: bool = False,
) -> str:
    """A chart of horizontal bars as SVG, one below the other; limits are vertical lines across them."""
    row, label_width = 24.0, 8.0 + _CHARACTER * max((len(bar.label) for bar in values), default=0)
    height = _TOP + row * len(values) + _BOTTOM
    ends = [bar.value + bar.error for bar in values] + [limit.y for limit in limits]
    axis = _logarithmic(ends) if log else _axis([0.0, *ends])
    left = min(label_width + 8.0, _WIDTH / 2.0)
    width = _WIDTH - left - 90.0

    def x(value: float) -> float:
        return left + width * min(max(axis.at(value), 0.0), 1.0)

    parts = [_text(_LEFT / 4, 20, title, "title")]
    for tick in axis.ticks:
        parts.append(_path("grid", f"M{x(tick):.1f} {_TOP - 8:.1f}V{height - _BOTTOM:.1f}"))
        parts.append(_text(x(tick), height - _BOTTOM + 18, y_format(tick), anchor="middle"))
    for index, bar in enumerate(values):
        parts += _bar(bar, _TOP + row * index, left, x, y_format)
    for limit in limits:
        parts.append(_path("limit", f"M{x(limit.y):.1f} {_TOP - 8:.1f}V{height - _BOTTOM:.1f}"))
        parts.append(_text(x(limit.y), _TOP - 12, limit.label, "limit-text", anchor="middle"))
    return _svg(title, parts, height)


def page(title: str, parts: Sequence[str]) -> str:
    """One self-contained HTML page. ``parts`` are charts, or texts that are shown as they are written."""
    body = "\n".join(part if part.startswith("<svg") else f"<pre>{escape(part)}</pre>" for part in parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f'<style>{_PAGE_STYLE}</style></head>\n<body class="page"><h1>{escape(title)}</h1>\n{body}\n</body></html>\n'
    )


def _bar(bar: Bar, top: float, left: float, x: Callable[[float], float], y_format: Format) -> list[str]:
    end = x(bar.value)
    found = [
        _text(left - 8, top + 14, bar.label, anchor="end"),
        f'<rect x="{left:.1f}" y="{top + 3:.1f}" width="{max(end - left, 0.5):.1f}" height="15" fill="var(--c0)"/>',
        _text(x(bar.value + bar.error) + 6, top + 15, y_format(bar.value)),
    ]
    if bar.error > 0.0:
        low, high, middle = x(bar.value - bar.error), x(bar.value + bar.error), top + 10.5
        found.append(_path("axis", f"M{low:.1f} {middle:.1f}H{high:.1f}M{high:.1f} {middle - 4:.1f}v8"))
    return found


def _svg(title: str, parts: Sequence[str], height: float) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" '
        f'width="{_WIDTH:.0f}" height="{height:.0f}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>\n"
        f'<rect width="100%" height="100%" fill="var(--paper)"/>\n{inside}\n</svg>'
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def _path(kind: str, way: str) -> str:
    return f'<path class="{kind}" d="{way}"/>'


def _x(axis: _Axis, value: float) -> float:
    return _LEFT + _INNER_WIDTH * axis.at(value)


def _y(axis: _Axis, value: float) -> float:
    return _TOP + _INNER_HEIGHT * (1.0 - axis.at(value))


def _frame(across: _Axis, up: _Axis, x_format: Format, y_format: Format, x_label: str, y_label: str) -> list[str]:
    bottom = _TOP + _INNER_HEIGHT
    parts = []
    for tick in up.ticks:
        parts.append(_path("grid", f"M{_LEFT:.1f} {_y(up, tick):.1f}h{_INNER_WIDTH:.1f}"))
        parts.append(_text(_LEFT - 8, _y(up, tick) + 4, y_format(tick), anchor="end"))
    for tick in across.ticks:
        parts.append(_path("axis", f"M{_x(across, tick):.1f} {bottom:.1f}v5"))
        parts.append(_text(_x(across, tick), bottom + 19, x_format(tick), anchor="middle"))
    parts.append(_path("axis", f"M{_LEFT:.1f} {_TOP:.1f}V{bottom:.1f}h{_INNER_WIDTH:.1f}"))
    if x_label:
        parts.append(_text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 8, x_label, anchor="middle"))
    if y_label:
        middle = _TOP + _INNER_HEIGHT / 2
        parts.append(
            f'<text x="14" y="{middle:.1f}" text-anchor="middle" transform="rotate(-90 14 {middle:.1f})">'
            f"{escape(y_label)}</text>"
        )
    return parts


def _limit(limit: Level, up: _Axis) -> str:
    y = _y(up, limit.y)
    line = _path("limit", f"M{_LEFT:.1f} {y:.1f}h{_INNER_WIDTH:.1f}")
    return line + _text(_LEFT + _INNER_WIDTH - 4, y - 5, limit.label, "limit-text", anchor="end")


def _marks(marks: Sequence[Mark], across: _Axis) -> list[str]:
    """Lines for what happened; labels that are near each other stand on lines of their own."""
    parts, taken = [], [-math.inf] * 3
    for mark in sorted(marks, key=lambda one: one.x):
        x, width = _x(across, mark.x), _CHARACTER * len(mark.label)
        ends = x + 4 + width > _LEFT + _INNER_WIDTH
        start = x - 4 - width if ends else x + 4
        row = next((row for row, until in enumerate(taken) if until < start), 0)
        taken[row] = max(taken[row], start + width)
        parts.append(_path("mark", f"M{x:.1f} {_TOP:.1f}v{_INNER_HEIGHT:.1f}"))
        parts.append(_text(start, _TOP + 12 + 14 * row, mark.label))
    return parts


def _line(series: Series, colour: int, across: _Axis, up: _Axis) -> str:
    points, way, pen = [], "", "M"
    for x, y in zip(series.xs, series.ys, strict=True):
        if not math.isfinite(y) or (up.logarithmic and y <= 0.0):
            pen = "M"
            continue
        at = f"{_x(across, x):.1f} {_y(up, y):.1f}"
        points.append(at)
        way, pen = way + pen + at, "L"
    if series.style == "points":
        dots = "".join(f"M{at}h0" for at in points)
        return f'<path d="{dots}" fill="none" stroke="var(--c{colour})" stroke-width="5" stroke-linecap="round"/>'
    dash = _DASHES[series.style]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{way}" fill="none" stroke="var(--c{colour})" stroke-width="1.8"{dashed}/>'


def _legend(series: Sequence[Series]) -> tuple[list[str], int]:
    """The names of the lines, and in how many rows they stand."""
    parts, x, row = [], _LEFT, 0
    for index, one in enumerate(series):
        width = 46 + _CHARACTER * len(one.label)
        if x > _LEFT and x + width - 18 > _WIDTH:
            x, row = _LEFT, row + 1
        y = 38 + _LEGEND_ROW * row
        dash = _DASHES.get(one.style, "1 5")
        parts.append(
            f'<path d="M{x:.1f} {y:.0f}h22" fill="none" stroke="var(--c{index % _COLOURS})" stroke-width="3"'
            + (f' stroke-dasharray="{dash}"/>' if dash else "/>")
        )
        parts.append(_text(x + 28, y + 4, one.label))
        x += width
    return parts, row + 1


def _thinned(series: Series) -> Series:
    """A line with no more points than can be told apart: of each stretch its lowest and its highest."""
    count = len(series.xs)
    if count <= _MOST_POINTS:
        return series
    stride = math.ceil(2 * count / _MOST_POINTS)
    kept: list[int] = []
    for start in range(0, count, stride):
        stretch = range(start, min(start + stride, count))
        seen = [index for index in stretch if math.isfinite(series.ys[index])]
        ends = {min(seen, key=series.ys.__getitem__), max(seen, key=series.ys.__getitem__)} if seen else {start}
        kept += sorted(ends)
    return Series(series.label, [series.xs[i] for i in kept], [series.ys[i] for i in kept], series.style)


def _axis(values: Sequence[float], *, as_time: bool = False, tight: bool = False) -> _Axis:
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if high <= low:
        low, high = (low, low + 1.0) if tight else (min(low, 0.0), max(high, 0.0) or 1.0)
    if not tight and 0.0 < low < high / 2.0:
        low = 0.0
    step = _time_step(high - low) if as_time else _step(high - low)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [index * step for index in range(first, last + 1)]
    if tight:
        inside = tuple(tick for tick in ticks if low - 1e-9 <= tick <= high + 1e-9)
        return _Axis(low, high, inside)
    return _Axis(ticks[0], ticks[-1], tuple(ticks))


def _step(span: float) -> float:
    rough = span / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * (1 - 1e-9))


def _time_step(span: float) -> float:
    return next((float(step) for step in _TIMES if span / step <= _TICKS + 2), _step(span))


def _logarithmic(values: Sequence[float]) -> _Axis:
    known = [value for value in values if math.isfinite(value) and value > 0.0] or [1.0, 10.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    high = max(high, low + 1)
    stride = max(1, math.ceil((high - low) / _TICKS))
    ticks = tuple(10.0**power for power in range(low, high + 1, stride))
    return _Axis(10.0**low, 10.0**high, ticks, logarithmic=True)
