"""The charts are well-formed, self-contained, and show what they were given."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from modelrollout.lab import plot
from modelrollout.lab.plot import Bar, Level, Mark, Series

_SVG = "{http://www.w3.org/2000/svg}"


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def _ways(svg: str) -> list[str]:
    """The paths of the series, without axes, grid and legend."""
    paths = ElementTree.fromstring(svg).iter(f"{_SVG}path")
    return [path.get("d", "") for path in paths if path.get("stroke-width") == "1.8"]


def test_a_chart_shows_its_title_its_series_its_limits_and_its_marks() -> None:
    svg = plot.lines(
        "Errors <candidate>",
        [Series("candidate", [0, 3600], [0.01, 0.05]), Series("baseline", [0, 3600], [0.01, 0.01], "dashed")],
        limits=[Level("limit 1.2 %", 0.012)],
        marks=[Mark("rolled back", 3000)],
        y_format=plot.percent,
    )
    texts = _texts(svg)
    assert {"Errors <candidate>", "candidate", "baseline", "limit 1.2 %", "rolled back"} <= set(texts)
    assert {"0 %", "5 %", "0s", "1h"} <= set(texts)


def test_a_line_is_broken_where_there_is_no_value() -> None:
    svg = plot.lines("gap", [Series("one", [0, 1, 2, 3, 4], [1.0, 2.0, math.nan, 3.0, 4.0])])
    assert _ways(svg)[0].count("M") == 2


def test_points_lie_where_their_values_say() -> None:
    svg = plot.lines("one", [Series("one", [0, 50, 100], [0.0, 50.0, 100.0])], x_format=plot.number)
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", _ways(svg)[0])]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 < x1 < x2 and y0 > y1 > y2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and y0 - y1 == pytest.approx(y1 - y2, abs=0.2)


def test_a_logarithmic_axis_spaces_decades_evenly_and_leaves_out_zero() -> None:
    svg = plot.lines("log", [Series("one", [0, 1, 2, 3], [0.0, 1.0, 10.0, 100.0])], log=True, x_format=plot.number)
    ys = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", _ways(svg)[0])]
    assert len(ys) == 3 and ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)


def test_long_series_are_thinned_without_losing_their_extremes() -> None:
    ys = [0.0] * 50_000
    ys[31_234] = 7.0
    svg = plot.lines("long", [Series("one", range(50_000), ys)])
    assert len(svg) < 40_000
    top = min(float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", _ways(svg)[0]))
    assert top < 100.0


def test_labels_of_marks_at_the_same_place_stand_apart() -> None:
    svg = plot.lines("marks", [Series("one", [0, 100], [0, 1])], marks=[Mark("first", 50), Mark("second", 50.1)])
    at = {t.text: t.get("y") for t in ElementTree.fromstring(svg).iter(f"{_SVG}text") if t.text in ("first", "second")}
    assert at["first"] != at["second"]


def test_many_names_stand_in_several_rows_within_the_picture() -> None:
    series = [Series(f"a rule with a long name, number {i}", [0, 1], [0, i]) for i in range(6)]
    root = ElementTree.fromstring(plot.lines("many", series))
    names = [t for t in root.iter(f"{_SVG}text") if (t.text or "").startswith("a rule")]
    assert len({t.get("y") for t in names}) > 1
    assert all(float(t.get("x", "0")) + 6 * len(t.text or "") < 760 for t in names)
    assert float(root.get("height", "0")) > 300


@pytest.mark.parametrize("ys", [[], [math.nan], [0.0], [3.0], [-2.0, -2.0]], ids=str)
def test_little_data_makes_a_chart_too(ys: list[float]) -> None:
    ElementTree.fromstring(plot.lines("few", [Series("one", list(range(len(ys))), ys)]))
    ElementTree.fromstring(plot.lines("few", [Series("one", list(range(len(ys))), ys)], log=True))


def test_bars_show_values_errors_and_limits() -> None:
    svg = plot.bars("rates", [Bar("ours", 0.01, 0.005), Bar("threshold", 0.96)], limits=[Level("1 %", 0.01)])
    assert {"rates", "ours", "threshold", "0.96", "1 %"} <= set(_texts(svg))
    widths = [float(r.get("width", "0")) for r in ElementTree.fromstring(svg).iter(f"{_SVG}rect") if r.get("x")]
    assert widths[1] > 50 * widths[0]


def test_a_page_needs_nothing_from_elsewhere_and_follows_the_reader_s_colours() -> None:
    page = plot.page("A <title>", [plot.lines("chart", [Series("one", [0, 1], [0, 1])]), "plain <text>"])
    assert "<script" not in page and "<link" not in page
    assert set(re.findall(r'https?://[^"\s]+', page)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme:dark" in page and "plain &lt;text&gt;" in page and "A &lt;title&gt;" in page
