"""The pure parts of the soak: what has to become of a release, the slope of the memory, and what counts as drift."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.bench.soak.book import Book
from tests.bench.soak.drift import KINDS, complaints, counts, sizes
from tests.bench.soak.samples import Sample, slope


def _seen(phase: str, stable: str, *, current: bool = True) -> dict[str, Any]:
    return {"phase": phase, "stable": stable, "message": "why", "current": current}


def _book(*keys: str) -> Book:
    book = Book(seed=1)
    for key in keys:
        book.serves(key, "0")
    return book


def test_no_more_releases_are_under_way_than_asked() -> None:
    book = _book("a", "b", "c")
    assert len(list(book.next(2, 0.0))) == 2 and book.under_way == 2
    assert not list(book.next(2, 1.0))


def test_a_release_ends_as_its_version_deserves() -> None:
    book = _book("a")
    for at in range(40):
        [(key, release)] = book.next(1, at)
        end = _seen("Stable", release.version) if release.good else _seen("RolledBack", book.stable_version(key))
        book.note({key: end}, at)
    assert book.counts["promoted"] + book.counts["rolledBack"] == 40
    assert book.counts["promoted"] > 20 and book.counts["rolledBack"] > 5 and not book.complaints


def test_what_must_never_be_is_noticed() -> None:
    book = _book("a")
    [(key, release)] = book.next(1, 0.0)
    wrong = _seen("RolledBack", "0") if release.good else _seen("Stable", release.version)
    book.note({key: wrong}, 5.0)
    assert len(book.complaints) == 1
    list(book.next(1, 6.0))
    for at in (700.0, 701.0):
        book.note({key: _seen("Progressing", "0")}, at)
    assert dict(book.never)["late"] == 1 and len(book.complaints) == 2


def test_what_was_before_the_release_is_not_taken_for_its_end() -> None:
    book = _book("a")
    [(key, _release)] = book.next(1, 0.0)
    book.note({key: _seen("RolledBack", "0", current=False)}, 1.0)
    assert book.under_way == 1


def _samples(life: int, start: float, level: float, per_hour: float) -> list[Sample]:
    return [
        Sample(start + at, life, at, level + per_hour * at / 3600 + (at // 10 % 3) * 0.1, 20, 10, 5)
        for at in range(0, 3600, 10)
    ]


def test_the_slope_is_that_of_all_lives_together() -> None:
    samples = [*_samples(0, 0.0, 90.0, 3.0), *_samples(1, 3600.0, 120.0, 3.0)]
    found = slope(samples, warm_up=120.0)
    assert found.per_hour == pytest.approx(3.0, abs=0.05) and found.error < 0.05
    assert abs(slope(_samples(0, 0.0, 90.0, 0.0), 120.0).per_hour) < 0.1


def test_the_warm_up_does_not_count() -> None:
    warm = [Sample(float(at), 0, float(at), 50.0 + min(at, 300) / 10, 20, 10, 5) for at in range(0, 3600, 10)]
    assert slope(warm, 0.0).per_hour > 1.0
    assert abs(slope(warm, 360.0).per_hour) < 0.01


def test_too_few_samples_give_no_slope() -> None:
    assert math.isnan(slope(_samples(0, 0.0, 90.0, 0.0)[:5], 0.0).per_hour)


def _object(name: str, *, role: str = "", version: str = "", spec: dict[str, Any] | None = None) -> dict[str, Any]:
    labels = {"modelrollout.io/name": "ranker"} | ({"modelrollout.io/role": role} if role else {})
    annotations = {"modelrollout.io/version": version} if version else {}
    metadata = {"namespace": "team", "name": name, "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "spec": spec or {}, "status": {}}


def _at_rest() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    found["modelrollouts"] = [_object("ranker")]
    found["deployments"] = [_object("ranker-new", role="stable", version="2", spec={"replicas": 1})]
    found["deployments"] += [_object("ranker-old", role="previous", version="1", spec={"replicas": 0})]
    found["services"] = [_object("ranker-new"), _object("ranker-old")]
    found["pods"] = [_object("ranker-new-x")]
    rules = [{"backendRefs": [{"name": "ranker-new", "weight": 100}]}]
    found["httproutes"] = [_object("ranker", spec={"rules": rules})]
    return found


def test_a_rollout_at_rest_has_nothing_to_complain_of() -> None:
    assert complaints(_at_rest(), {"team/ranker": "2"}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["deployments"].pop(0), "0 Deployments are stable"),
        (lambda found: found["services"].pop(), "1 Services for 2 Deployments"),
        (lambda found: found["pods"].clear(), "0 pods, and 1 are asked for"),
        (lambda found: found["httproutes"].clear(), "0 HTTPRoutes"),
        (
            lambda found: found["httproutes"][0]["spec"]["rules"][0]["backendRefs"].append(
                {"name": "ranker-old", "weight": 0}
            ),
            "the route has",
        ),
        (lambda found: found["deployments"].extend(found["deployments"][1:] * 2), "4 Deployments are left"),
    ],
)
def test_what_is_left_over_is_said(change: Any, said: str) -> None:
    found = _at_rest()
    change(found)
    assert any(said in one for one in complaints(found, {"team/ranker": "2"}))


def test_another_version_than_the_last_good_one_is_said() -> None:
    assert "version 2 is stable, and 3 should be" in complaints(_at_rest(), {"team/ranker": "3"})[0]
    assert any("which is no rollout" in one for one in complaints(_at_rest(), {}))


def test_objects_and_their_sizes_are_counted() -> None:
    found = _at_rest()
    assert counts(found)["deployments"] == 2
    assert sizes(found)["Deployment's annotations"] == len('{"modelrollout.io/version": "2"}')
