"""Exact counting: resets, series and pods that come and go, who is scraped twice, and whose series is whose."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from modelrollout.api.gate import IdentityBy, MetricIdentity
from modelrollout.metrics.answers import SeriesBook
from modelrollout.metrics.base import Arm
from modelrollout.metrics.counting import ALL, gains
from modelrollout.metrics.identity import identity_pattern, identity_value, owner_of
from modelrollout.metrics.snapshot import Row, Snapshot, Target, Want

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OLD = START - timedelta(hours=1)
REVISION = "0123456789"
POD, OTHER = f"ranker-{REVISION}-7d9c5b6f4-abcde", f"ranker-{REVISION}-7d9c5b6f4-fghij"
OWNER = f"ranker-{REVISION}"
TOTAL = Want("requests_total")
ERRORS = Want("requests_total", 'code=~"5.."')
BUCKETS = Want("seconds_bucket")


def _up(pod: str = POD, *, healthy: bool = True, scraped: bool = True, **labels: str) -> Target:
    every = {"namespace": "recs", "pod": pod, "job": "pods"} | labels
    return Target(frozenset(every.items()), healthy, scraped)


BOOK = SeriesBook()
"""One for all, so that what is the same at both ends of an interval is known to be."""


def _row(value: float, pod: str = POD, *, gone: bool = False, **labels: str) -> Row:
    return Row(BOOK.of({"namespace": "recs", "pod": pod, "job": "pods"} | labels), value, gone)


def _snapshot(*rows: Row, up: list[Target] | None = None, errors: list[Row] | None = None) -> Snapshot:
    targets: dict[tuple[str, str], list[Target]] = {}
    for one in up or []:
        targets.setdefault(("recs", dict(one.labels)["pod"]), []).append(one)
    lines = {want: {OWNER: BOOK.line(some)} if some else {} for want, some in ((TOTAL, rows), (ERRORS, errors))}
    return Snapshot(START, lines, {group: tuple(some) for group, some in targets.items()})


def _gained(before: Snapshot, after: Snapshot, want: Want = TOTAL, *, born: dict[str, datetime] | None = None) -> float:
    found = gains(before, after, {ERRORS: OWNER, TOTAL: OWNER}, born or {})[want]
    return sum(gain.by_bound.get(ALL, 0.0) for gain in found.values())


def test_increments_are_differences_summed_over_pods() -> None:
    before = _snapshot(_row(10.0), _row(5.0, OTHER))
    assert _gained(before, _snapshot(_row(13.0), _row(6.0, OTHER))) == 4.0


def test_detail_22_each_series_is_differenced_before_any_sum() -> None:
    """A series that was reset beside one that grew: the sum did not fall, yet nothing is lost."""
    before = _snapshot(_row(100.0, code="200"), _row(50.0, code="500"))
    after = _snapshot(_row(200.0, code="200"), _row(3.0, code="500"))
    assert _gained(before, after) == 103.0


def test_a_counter_that_fell_was_reset() -> None:
    assert _gained(_snapshot(_row(1000.0)), _snapshot(_row(7.0))) == 7.0


def test_a_pod_that_vanished_counts_up_to_its_last_value() -> None:
    before = _snapshot(_row(10.0), _row(5.0, OTHER))
    assert _gained(before, _snapshot(_row(11.0), _row(7.0, OTHER, gone=True))) == 3.0
    assert _gained(before, _snapshot(_row(11.0))) == 1.0


def test_a_series_that_appears_on_a_scraped_pod_began_at_zero() -> None:
    assert _gained(_snapshot(up=[_up()]), _snapshot(_row(3.0), up=[_up()])) == 3.0


def test_a_series_that_appears_beside_another_of_the_same_exporter_began_at_zero() -> None:
    """What is pushed or federated has no `up`."""
    before = _snapshot(_row(10.0, code="200"))
    assert _gained(before, _snapshot(_row(10.0, code="200"), _row(3.0, code="500"))) == 3.0


def test_a_pod_created_in_the_interval_began_at_zero() -> None:
    born = {POD: START + timedelta(seconds=1)}
    assert _gained(_snapshot(), _snapshot(_row(3.0)), born=born) == 3.0


def test_a_young_pod_brings_all_it_did_with_its_first_scrape() -> None:
    born = {POD: START - timedelta(seconds=40)}
    before = _snapshot(_row(10.0, OTHER))
    assert _gained(before, _snapshot(_row(3.0), _row(10.0, OTHER)), born=born) == 3.0


def test_detail_17_what_was_counted_before_an_empty_answer_is_not_counted_again() -> None:
    """An empty answer is no proof that a young pod had done nothing yet."""
    born = {POD: START - timedelta(seconds=40), OTHER: START + timedelta(seconds=1)}
    assert _gained(_snapshot(), _snapshot(_row(300.0), _row(2.0, OTHER)), born=born) == 2.0


def test_an_unknown_start_is_left_out_rather_than_invented() -> None:
    assert _gained(_snapshot(), _snapshot(_row(90_000.0), up=[_up()]), born={POD: OLD}) == 0.0
    assert _gained(_snapshot(_row(1.0, OTHER)), _snapshot(_row(90_000.0), _row(2.0, OTHER))) == 1.0


def test_a_target_whose_scrapes_all_failed_was_not_scraped() -> None:
    before = _snapshot(up=[_up(healthy=False, scraped=False)])
    assert _gained(before, _snapshot(_row(90_000.0), up=[_up()])) == 0.0


def test_increments_of_a_missed_scrape_come_one_interval_later_in_both_parts_of_a_ratio() -> None:
    first = _snapshot(_row(10.0), up=[_up()], errors=[_row(1.0)])
    missed = _snapshot(_row(10.0, gone=True), up=[_up(healthy=False)], errors=[_row(1.0, gone=True)])
    last = _snapshot(_row(25.0), up=[_up()], errors=[_row(4.0)])
    assert [_gained(first, missed), _gained(missed, last)] == [0.0, 15.0]
    assert [_gained(first, missed, ERRORS), _gained(missed, last, ERRORS)] == [0.0, 3.0]


def test_a_series_that_ended_and_came_back_began_at_zero() -> None:
    """After a restart a client has no series of errors until the first one: five before are not five of these seven."""
    running = _snapshot(_row(100.0), up=[_up()], errors=[_row(5.0)])
    restarted = _snapshot(_row(7.0), up=[_up()], errors=[_row(5.0, gone=True)])
    later = _snapshot(_row(20.0), up=[_up()], errors=[_row(7.0)])
    assert [_gained(running, restarted), _gained(restarted, later)] == [7.0, 13.0]
    assert [_gained(running, restarted, ERRORS), _gained(restarted, later, ERRORS)] == [0.0, 7.0]


def test_increments_of_adjacent_intervals_add_up() -> None:
    snapshots = [_snapshot(_row(value)) for value in (0.0, 4.0, 4.0, 9.0, 2.0)]
    assert sum(_gained(a, b) for a, b in itertools.pairwise(snapshots)) == 9.0 + 2.0


def test_two_replicas_count_once() -> None:
    up = [_up(replica="a"), _up(replica="b")]
    before = _snapshot(_row(10.0, replica="a"), _row(12.0, replica="b"), up=up)
    after = _snapshot(_row(30.0, replica="a"), _row(33.0, replica="b"), up=up)
    assert _gained(before, after) == 20.0


def test_a_pod_scraped_by_two_jobs_counts_once() -> None:
    up = [_up(job="pods", endpoint="http"), _up(job="services", endpoint="web", service="ranker")]
    before = _snapshot(
        _row(10.0, job="pods", endpoint="http"), _row(9.0, job="services", endpoint="web", service="ranker"), up=up
    )
    after = _snapshot(
        _row(15.0, job="pods", endpoint="http"), _row(15.0, job="services", endpoint="web", service="ranker"), up=up
    )
    assert _gained(before, after) == 5.0


def test_the_replica_that_scrapes_well_speaks_for_the_pod() -> None:
    dead, alive = _up(replica="a", healthy=False), _up(replica="b")
    before = _snapshot(_row(10.0, replica="a"), _row(10.0, replica="b"), up=[_up(replica="a"), alive])
    after = _snapshot(_row(10.0, replica="a", gone=True), _row(40.0, replica="b"), up=[dead, alive])
    assert _gained(before, after) == 30.0


def test_labels_of_the_metric_itself_tell_series_apart() -> None:
    """`replica` and `service` belong to the metric where `up` does not have them (Ray Serve, Traefik)."""
    before = _snapshot(_row(1.0, replica="x", service="s"), _row(2.0, replica="y", service="t"), up=[_up()])
    after = _snapshot(_row(4.0, replica="x", service="s"), _row(7.0, replica="y", service="t"), up=[_up()])
    assert _gained(before, after) == 8.0


def test_a_label_that_the_metric_keeps_for_itself_tells_series_apart() -> None:
    """With honor_labels a metric's own `service` wins over the target's; job and instance still tell who scraped."""
    up = [_up(instance="10.0.0.1:80", service="ranker")]
    before = _snapshot(_row(1.0, instance="10.0.0.1:80", service="a"), up=up)
    rows = (_row(3.0, instance="10.0.0.1:80", service="a"), _row(5.0, instance="10.0.0.1:80", service="b"))
    assert _gained(before, _snapshot(*rows, up=up)) == 7.0


def test_replicas_without_an_up_of_their_own_count_once() -> None:
    before = _snapshot(_row(10.0, prometheus_replica="0"), _row(11.0, prometheus_replica="1"))
    after = _snapshot(_row(20.0, prometheus_replica="0"), _row(21.0, prometheus_replica="1"))
    assert _gained(before, after) == 10.0


def test_bad_events_are_never_more_than_all_whatever_series_fall() -> None:
    before_all = [_row(10.0, code="200"), _row(1.0, code="500")]
    after_all = [_row(5.0, code="200"), _row(35.0, code="500")]
    before = _snapshot(*before_all, up=[_up()], errors=before_all[1:])
    after = _snapshot(*after_all, up=[_up()], errors=after_all[1:])
    assert _gained(before, after) == 39.0
    assert _gained(before, after, ERRORS) == 34.0


def test_the_buckets_of_one_histogram_are_reset_together() -> None:
    """The smallest bucket grew past its old value, but its process began anew all the same."""

    def buckets(*counts: float) -> Snapshot:
        rows = [_row(n, le=le) for le, n in zip(("0.1", "0.5", "+Inf"), counts, strict=True)]
        return Snapshot(START, {BUCKETS: {OWNER: BOOK.line(rows)}}, {})

    [gain] = gains(buckets(5.0, 10.0, 100.0), buckets(7.0, 8.0, 50.0), {BUCKETS: OWNER}, {})[BUCKETS].values()
    assert gain.by_bound == {"0.1": 7.0, "0.5": 8.0, "+Inf": 50.0}


@pytest.mark.parametrize(
    ("pod", "ours"),
    [
        (POD, True),
        (f"ranker-{REVISION}-7d9c5b6f4-abcde-x", False),
        (f"ranker-{REVISION}", False),
        (f"my-ranker-{REVISION}-7d9c5b6f4-abcde", False),
        ("ranker-9999999999-7d9c5b6f4-abcde", False),
    ],
)
def test_detail_21_a_pod_is_known_by_its_deployments_exact_name(pod: str, ours: bool) -> None:
    assert (owner_of({"pod": pod}, "") == OWNER) is ours


def test_by_service_and_by_label() -> None:
    arm = Arm(REVISION, "recs", OWNER, 80, {})
    service = MetricIdentity(by=IdentityBy.SERVICE)
    assert identity_value(service, arm) == f"recs_ranker-{REVISION}_80"
    assert identity_pattern("{namespace}_{service}_{port}", "recs") == "recs_.+_.+"
    label = MetricIdentity(by=IdentityBy.LABEL, label="model", value="m:{revision}")
    assert identity_value(label, arm) == owner_of({"pod": "frontend", "model": f"m:{REVISION}"}, "model")
