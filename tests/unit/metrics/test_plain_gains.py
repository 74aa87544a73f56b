"""Plain differences and careful counting never differ. How often the first do for random histories:
``pytest tests/unit/metrics/test_plain_gains.py --hypothesis-show-statistics``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from modelrollout.metrics.answers import SeriesBook
from modelrollout.metrics.counting import careful_gains, gains, plain_gains
from modelrollout.metrics.native import Native
from modelrollout.metrics.snapshot import Group, Line, Row, Snapshot, Target, Want

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=15)
OWNER = "ranker-0123456789"
PODS = (f"{OWNER}-7d9c5b6f4-abcde", f"{OWNER}-7d9c5b6f4-fghij")
ERRORS, TOTAL = Want("requests_total", 'code=~"5.."'), Want("requests_total")
BUCKETS = Want("seconds_bucket")
SERIES = (
    *((ERRORS, {"code": "500", "method": method}) for method in ("GET", "POST")),
    *((TOTAL, {"code": code, "method": "GET"}) for code in ("200", "500")),
    *((BUCKETS, {"le": le, "path": path}) for path in ("/a", "/b") for le in ("0.1", "0.5", "+Inf")),
)
ODD = ("fell", "gone", "gone before", "absent", "absent before", "replaced", "native")
"""What may become of one series."""
OF_A_TARGET = ("failing", "failing before", "found", "lost", "other labels")
"""What may become of who scrapes."""


@dataclass
class _End:
    """What is seen at one end of an interval."""

    rows: dict[Want, list[Row]] = field(default_factory=dict)
    targets: dict[Group, tuple[Target, ...]] = field(default_factory=dict)

    def snapshot(self, book: SeriesBook, at: datetime) -> Snapshot:
        lines: dict[Want, dict[str, Line]] = {want: {OWNER: book.line(some)} for want, some in self.rows.items()}
        return Snapshot(at, lines, self.targets)


@st.composite
def _histories(draw: st.DrawFn) -> tuple[Snapshot, Snapshot, bool]:
    """Two ends of an interval, and whether nothing odd happened in it."""
    book = SeriesBook()
    before, after = _End(), _End()
    pods = PODS[: draw(st.integers(1, 2))]
    scrapers = [(pod, replica) for pod in pods for replica in ("ab" if draw(st.integers(0, 4)) == 4 else "a")]
    places = [(scraper, number) for scraper in scrapers for number in range(len(SERIES))]
    odd = draw(st.dictionaries(st.sampled_from(places), st.sampled_from(ODD), max_size=2))
    scraped = draw(st.dictionaries(st.sampled_from(scrapers), st.sampled_from(OF_A_TARGET), max_size=1))
    for pod, replica in scrapers:
        scraper = {"namespace": "recs", "pod": pod, "job": "pods", "replica": replica}
        _scraped(before, after, scraper, scraped.get((pod, replica), ""))
        for number, (want, more) in enumerate(SERIES):
            became = odd.get(((pod, replica), number), "")
            then = float(draw(st.integers(1, 9)))
            value = then - 1.0 if became == "fell" else then + draw(st.integers(0, 3))
            series = book.of(scraper | more)
            if became != "absent before":
                before.rows.setdefault(want, []).append(Row(series, then, became == "gone before"))
            if became != "absent":
                series = book.of(scraper | more | {"path": "/new"}) if became == "replaced" else series
                shown = Native(value, 0, 0.0, value) if became == "native" else value
                after.rows.setdefault(want, []).append(Row(series, shown, became == "gone"))
    plain = not odd and len(scrapers) == len(pods) and "other labels" not in scraped.values()
    return before.snapshot(book, START), after.snapshot(book, START + STEP), plain


def _scraped(before: _End, after: _End, scraper: dict[str, str], became: str) -> None:
    group = (scraper["namespace"], scraper["pod"])
    labels = frozenset(scraper.items())
    if became != "found":
        one = Target(labels, became != "failing before", scraped=became != "failing before")
        before.targets[group] = (*before.targets.get(group, ()), one)
    if became != "lost":
        others = frozenset(name for name in labels if name[0] != "replica") if became == "other labels" else labels
        after.targets[group] = (*after.targets.get(group, ()), Target(others, became != "failing", scraped=True))


@settings(max_examples=400, deadline=None)
@given(_histories(), st.booleans())
def test_detail_22_plain_differences_are_what_careful_counting_gives(
    history: tuple[Snapshot, Snapshot, bool], young: bool
) -> None:
    before, after, nothing_odd = history
    owners = dict.fromkeys((ERRORS, TOTAL, BUCKETS), OWNER)
    born = dict.fromkeys(PODS, START - STEP) if young else {}
    plain, careful = plain_gains(before, after, owners), careful_gains(before, after, owners, born)
    event(f"{'plain' if plain is not None else 'careful'}, {'nothing odd' if nothing_odd else 'odd'}")
    assert gains(before, after, owners, born) == careful
    if plain is not None:
        assert plain == careful
    if nothing_odd:
        assert plain is not None, "nothing happened that needs care"


def test_detail_22_one_scraper_speaks_for_a_pod_in_both_parts_of_a_ratio() -> None:
    """Errors as one replica counted them are no part of the requests that the other did."""
    book, ends = SeriesBook(), []
    for value in (1.0, 2.0):
        end = _End()
        for want, replica in ((ERRORS, "b"), (TOTAL, "a")):
            scraper = {"namespace": "recs", "pod": PODS[0], "job": "pods", "replica": replica}
            _scraped(end, _End(), scraper, "")
            end.rows[want] = [Row(book.of(scraper), value)]
        ends.append(end.snapshot(book, START))
    assert plain_gains(ends[0], ends[1], {ERRORS: OWNER}) is not None
    assert plain_gains(ends[0], ends[1], {ERRORS: OWNER, TOTAL: OWNER}) is None


def test_detail_22_who_scraped_is_found_out_anew_when_other_targets_are_seen() -> None:
    """A label that `up` lacks tells series apart; one that it has tells who scraped."""
    book = SeriesBook()
    scrapers = [{"namespace": "recs", "pod": PODS[0], "job": "pods", "shard": shard} for shard in "ab"]

    def ends(*targets: dict[str, str]) -> tuple[Snapshot, Snapshot]:
        found = []
        for value in (1.0, 2.0):
            end = _End({TOTAL: [Row(book.of(one), value) for one in scrapers]})
            for one in targets:
                _scraped(end, _End(), one, "")
            found.append(end.snapshot(book, START))
        return found[0], found[1]

    one = ends({name: value for name, value in scrapers[0].items() if name != "shard"})
    two = ends(*scrapers)
    for (before, after), expected in ((one, 2.0), (two, 1.0), (one, 2.0)):
        [gain] = gains(before, after, {TOTAL: OWNER}, {})[TOTAL].values()
        assert gain.by_bound == {"": expected}


def test_the_same_series_seen_together_again_are_one_shape_and_forgotten_with_the_last_line() -> None:
    book = SeriesBook()
    rows = [Row(book.of({"pod": PODS[0], "le": le}), 1.0) for le in ("0.1", "+Inf")]
    first, second = book.line(rows), book.line(reversed(rows))
    assert first.shape is second.shape
    assert len(book._shapes) == 1
    del first, second
    assert len(book._shapes) == 0


def test_series_of_pods_that_are_gone_are_forgotten_and_the_others_stay_the_same() -> None:
    book = SeriesBook()
    lives, gone = {"namespace": "recs", "pod": PODS[0]}, {"namespace": "recs", "pod": PODS[1]}
    first = book.of(lives)
    book.of(gone)
    for _ in range(2):
        book.turn()
        assert book.of(dict(reversed(lives.items()))) is first
        assert book.of(lives) is first
    assert {series.labels["pod"] for series in (*book._known.values(), *book._before.values())} == {PODS[0]}
