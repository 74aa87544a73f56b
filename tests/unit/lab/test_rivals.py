"""The rules of other controllers decide as they document it."""

from __future__ import annotations

import numpy as np
import pytest

from modelrollout.gates.eprocess import Array, Line
from modelrollout.lab.rivals import NEVER, Arms, argo, flagger, kayenta

LINE = Line(1.0, 0.002)


def arms(candidate: list[float], baseline: float = 0.01, interval: float = 60.0) -> Arms:
    """Shares of bad events per interval; NaN for no requests."""
    share = np.array([candidate])
    requests: Array = np.where(np.isnan(share), 0.0, 1000.0)
    theirs = np.full_like(share, 9000.0)
    return Arms(requests, np.nan_to_num(share) * requests, theirs, theirs * baseline, interval)


def test_flagger_rolls_back_at_the_fifth_failed_check_in_all() -> None:
    assert flagger([arms([0.02, 0.01] * 10)], [LINE]).tolist() == [8]
    assert flagger([arms([0.02, 0.01] * 4)], [LINE]).tolist() == [NEVER]


def test_argo_fails_with_one_more_than_its_failure_limit() -> None:
    seen = arms([0.01, 0.02, 0.01, 0.02, 0.02, 0.02])
    assert argo([seen], [LINE]).tolist() == [1]
    assert argo([seen], [LINE], failure_limit=3).tolist() == [5]


def test_argo_counts_each_metric_by_itself_and_flagger_all_together() -> None:
    one, other = arms([0.02, 0.01] * 6), arms([0.01, 0.02] * 6)
    assert argo([one, other], [LINE, LINE], failure_limit=5).tolist() == [10]
    assert flagger([one, other], [LINE, LINE]).tolist() == [4]


def test_a_check_spans_a_minute() -> None:
    seen = arms([0.02, 0.01, 0.01, 0.01, 0.05, 0.01, 0.01, 0.01], interval=15.0)
    assert argo([seen], [Line(1.0, 0.005)]).tolist() == [7]


def test_minutes_without_requests_are_no_checks() -> None:
    assert argo([arms([float("nan"), float("nan"), 0.02])], [LINE]).tolist() == [2]


def test_an_absolute_limit_needs_no_baseline() -> None:
    seen = arms([0.01, 0.06])
    alone = Arms(seen.nc, seen.xc, np.zeros_like(seen.nb), np.zeros_like(seen.xb), seen.interval)
    assert argo([alone], [Line(0.0, 0.05)]).tolist() == [1]


def test_kayenta_judges_every_ten_minutes_whether_the_points_lie_higher() -> None:
    rng = np.random.default_rng(1)
    higher = rng.normal(0.012, 0.001, 30).tolist()
    assert kayenta([_scattered(higher)]).tolist() == [9]
    assert kayenta([_scattered(rng.normal(0.010, 0.001, 30).tolist())]).tolist() == [NEVER]
    # The lower bound is the difference of rank ½ - 2.33 √(81/19200) = 35 % of the pairs: 12 of 40 are fewer.
    assert kayenta([_scattered([0.010] * 12 + [0.03] * 28)]).tolist() == [39]


def _scattered(candidate: list[float]) -> Arms:
    seen = arms(candidate)
    share = np.random.default_rng(2).normal(0.01, 0.001, seen.nb.shape)
    return Arms(seen.nc, seen.xc, seen.nb, seen.nb * share, seen.interval)


def test_the_confidence_interval_of_the_shift_is_the_published_one() -> None:
    """The data of Hollander and Wolfe, "Nonparametric Statistical Methods" (1973), table 4.1 (permeability of the human
    chorioamnion), as in the documentation of R's wilcox.test: the shift is estimated as 0.305 and its 96 % interval's
    lower bound lies below zero, so nothing is shifted; ten times the shift is."""
    term = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
    early = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
    apart = np.sort((term[:, None] - early[None, :]).ravel())
    assert float(np.median(apart)) == pytest.approx(0.305)

    def judged(shift: float) -> int:
        ours, theirs = np.full((1, 10), np.nan), np.full((1, 10), np.nan)
        ours[0], theirs[0, :5] = term + shift, early
        have = np.isfinite(theirs)
        ones = np.ones((1, 10))
        return int(kayenta([Arms(ones, ours, have * 1.0, np.nan_to_num(theirs), 60.0)])[0])

    assert judged(0.0) == NEVER
    assert judged(3.0) == 9
