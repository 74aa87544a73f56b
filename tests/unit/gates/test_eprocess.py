"""One stratum's evidence is at most 1 on average, exactly: every outcome of small strata is counted."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from modelrollout.gates import eprocess
from modelrollout.gates.eprocess import BETS, Array, Line
from tests.unit.gates import scalar

_LINES = (Line(1.0, 0.002), Line(1.0, 0.2), Line(0.99, 0.01), Line(1.1, 0.0), Line(0.5, 0.1), Line(2.0, 0.001))
_SHIFTS = np.array([[0.05, 0.4, 1.5, 4.0, 6.0]])


def _mean(line: Line, theirs: float, ours: float, expected: float, nc: int, nb: int, phi: float, sign: float) -> float:
    """The largest over the bets of the evidence's mean; exact."""
    outcomes = list(itertools.product(range(nc + 1), range(nb + 1)))
    chance = np.array([_binomial(nc, xc, ours) * _binomial(nb, xb, theirs) for xc, xb in outcomes])
    counts = np.array([(nc, xc, nb, xb) for xc, xb in outcomes], dtype=float).T[:, :, None]
    share, one = np.array([[expected]]), np.array([[phi]])
    found = eprocess.log_evidence(*counts, line=line, share=share, phi_c=one, phi_b=one, shifts=sign * _SHIFTS)
    return float((chance @ np.exp(found)).max())


def _binomial(n: int, k: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1.0 - p) ** (n - k)


@pytest.mark.parametrize("line", _LINES)
@pytest.mark.parametrize(("nc", "nb"), [(1, 1), (1, 6), (6, 1), (3, 5), (6, 6)])
def test_evidence_against_a_limit_that_holds_is_at_most_one_on_average(line: Line, nc: int, nb: int) -> None:
    """On the line itself, which is the worst case, whatever the rate is and whatever was expected of it."""
    for theirs, expected in itertools.product((0.001, 0.05, 0.3, 0.7), (0.0, 0.02, 0.3, 0.95)):
        ours = line.at(theirs)
        if line.factor * theirs + line.offset < 1.0:
            assert _mean(line, theirs, ours, expected, nc, nb, 1.0, 1.0) <= 1.0 + 1e-9
            assert _mean(line, theirs, ours / 2.0, expected, nc, nb, 1.0, 1.0) <= 1.0 + 1e-9


@pytest.mark.parametrize("line", _LINES)
@pytest.mark.parametrize(("nc", "nb"), [(1, 6), (6, 1), (6, 6)])
def test_evidence_for_a_limit_that_is_broken_is_at_most_one_on_average(line: Line, nc: int, nb: int) -> None:
    for theirs, expected in itertools.product((0.001, 0.05, 0.3), (0.0, 0.02, 0.3, 0.95)):
        ours = line.at(theirs)
        for beyond in (ours, (1.0 + ours) / 2.0):
            assert _mean(line, theirs, beyond, expected, nc, nb, 1.0, -1.0) <= 1.0 + 1e-9


@pytest.mark.parametrize("phi", [1.5, 4.0])
def test_deflated_evidence_is_at_most_one_on_average(phi: float) -> None:
    for line, theirs in itertools.product(_LINES[:4], (0.01, 0.3)):
        for sign in (1.0, -1.0):
            assert _mean(line, theirs, line.at(theirs), 0.1, 5, 6, phi, sign) <= 1.0 + 1e-9


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.4])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_evidence_of_one_arm_is_exactly_one_on_average_on_the_limit(limit: float, sign: float) -> None:
    """Without deflation it is a ratio of likelihoods."""
    assert _mean(Line(0.0, limit), 0.5, limit, 0.5, 6, 1, 1.0, sign) == pytest.approx(1.0)
    within = limit / 2.0 if sign > 0.0 else (1.0 + limit) / 2.0
    assert _mean(Line(0.0, limit), 0.5, within, 0.5, 6, 1, 1.0, sign) < 1.0


def test_the_guards_evidence_is_at_most_one_when_the_candidate_is_no_worse() -> None:
    for theirs, expected in itertools.product((0.01, 0.3, 0.9), (0.02, 0.6)):
        assert _mean(Line(1.0, 0.0), theirs, theirs, expected, 6, 6, 1.0, 1.0) <= 1.0 + 1e-9


def test_a_wrong_limit_would_be_noticed_by_these_tests() -> None:
    """Beyond the line the mean is above 1: the bound above is not empty."""
    assert _mean(Line(1.0, 0.002), 0.05, 0.3, 0.05, 6, 6, 1.0, 1.0) > 1.2


@pytest.mark.parametrize("seed", range(5))
def test_arrays_compute_what_single_numbers_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    for line in (*_LINES, Line(0.0, 0.05)):
        nc, nb = (float(random.integers(0, 50)) for _ in range(2))
        xc, xb = float(random.binomial(int(nc), 0.3)), float(random.binomial(int(nb), 0.2))
        p, phi_c, phi_b = float(random.uniform(0.0, 0.5)), 1.0 + random.exponential(), 1.0 + random.exponential()
        both = np.concatenate([_SHIFTS, -_SHIFTS], axis=1)
        cells = [np.array([[value]]) for value in (nc, xc, nb, xb, p, phi_c, phi_b)]
        found = eprocess.log_evidence(
            *cells[:4], line=line, share=cells[4], phi_c=cells[5], phi_b=cells[6], shifts=both
        )
        for got, psi in zip(found[0], both[0], strict=True):
            slow = scalar.evidence(nc, xc, nb, xb, line.factor, line.offset, p, phi_c, phi_b, float(psi))
            assert got == pytest.approx(slow, abs=1e-9, rel=1e-9)


def test_an_arm_without_requests_gives_no_evidence() -> None:
    zero, many = np.array([[0.0]]), np.array([[50.0]])
    one = np.array([[1.0]])
    for nc, nb in ((zero, many), (many, zero), (zero, zero)):
        found = eprocess.log_evidence(
            nc, zero, nb, zero, line=_LINES[0], share=one * 0.1, phi_c=one, phi_b=one, shifts=_SHIFTS
        )
        assert (found == 0.0).all()


def test_bets_reach_from_below_the_smallest_effect_to_an_outage() -> None:
    found = eprocess.bets(np.array([0.1, 1e-9, 50.0]))
    assert found.shape == (3, BETS)
    assert found[0, 0] == pytest.approx(0.07) and found[0, -1] == pytest.approx(6.0)
    assert (np.diff(found, axis=1) > 0.0).all()
    assert np.diff(np.log(found[0])) == pytest.approx(np.log(6.0 / 0.07) / (BETS - 1))


def test_weights_of_bets_sum_to_one_and_cannot_be_changed() -> None:
    for count in (1, 5, BETS, 13):
        assert eprocess.prior(count).sum() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="read-only"):
        eprocess.prior(BETS)[0] = 1.0


@pytest.mark.parametrize("alpha", [0.01, 0.001, 0.0003])
@pytest.mark.parametrize("intervals", [2, 3, 8])
def test_one_interval_less_never_reaches_what_a_breach_needs_and_the_fewest_can(alpha: float, intervals: int) -> None:
    most = eprocess.cap(alpha, intervals)
    assert (intervals - 1) * most < math.log(1.0 / alpha) < intervals * most


def test_the_divergence_is_the_likelihood_ratios_drift() -> None:
    """Against one fixed limit it is the textbook's; a baseline that is known ever better brings it there."""
    alone = eprocess.divergence(0.1, 0.0, Line(0.0, 0.05), ratio=1.0)
    assert alone == pytest.approx(0.1 * math.log(2.0) + 0.9 * math.log(0.9 / 0.95))
    known = eprocess.divergence(0.1, 0.048, Line(1.0, 0.002), ratio=1e-6)
    assert known == pytest.approx(alone, rel=1e-3)
    assert eprocess.divergence(0.1, 0.048, Line(1.0, 0.002), ratio=1.0) < alone


def test_more_requests_see_smaller_harm() -> None:
    seen = [eprocess.smallest_seen(n, 0.01, Line(1.0, 0.002), alpha=0.01, ratio=1 / 9) or 9.0 for n in (20, 500, 5e4)]
    assert 1.0 > seen[0] > seen[1] > seen[2] > 0.012
    assert eprocess.smallest_seen(0.0, 0.01, Line(1.0, 0.002), alpha=0.01, ratio=1 / 9) is None


@pytest.mark.parametrize("line", [Line(1.0, 0.01), Line(0.8, 0.2), Line(0.0, 0.05), Line(1.2, 0.001), Line(0.9, 0.0)])
@pytest.mark.parametrize("baseline", [0.001, 0.003, 0.2, 0.7])
@pytest.mark.parametrize("ratio", [0.01, 0.1, 3.0])
def test_the_smallest_that_is_seen_is_where_the_evidence_is_just_enough(
    line: Line, baseline: float, ratio: float
) -> None:
    rest: dict[str, float] = {"ratio": ratio, "phi_c": 1.3, "phi_b": 1.7}
    seen = 0
    for requests in (100.0, 3_000.0, 1e5):
        share = eprocess.smallest_seen(requests, baseline, line, alpha=0.002, **rest)
        if share is None:
            continue
        seen += 1
        assert line.at(baseline) < share < 1.0
        more, less = (
            eprocess.needed_to_breach(eprocess.divergence(at, baseline, line, **rest), 0.002)
            for at in (min(share * 1.001 + 1e-6, 1.0 - 1e-9), share - 0.001 * (share - line.at(baseline)) - 1e-9)
        )
        assert more <= requests * 1.001 and less >= requests * 0.999
    assert seen


@pytest.mark.parametrize("line", [Line(1.0, 0.01), Line(0.8, 0.2), Line(1.2, 0.0)])
def test_the_divergence_is_the_least_over_all_pairs_on_the_limit(line: Line) -> None:
    rest: dict[str, float] = {"ratio": 0.2, "phi_c": 1.4, "phi_b": 2.0}
    for candidate, baseline in ((0.3, 0.1), (0.05, 0.001), (0.9, 0.5), (0.2, 0.4)):
        shares = np.linspace(1e-6, (1.0 - 1e-6 - line.offset) / line.factor, 20_001)
        shares = shares[shares < 1.0]
        limits = line.factor * shares + line.offset

        def apart(p: float, q: Array) -> Array:
            return p * np.log(p / q) + (1.0 - p) * np.log((1.0 - p) / (1.0 - q))

        least = float((apart(candidate, limits) / 1.4 + apart(baseline, shares) / (0.2 * 2.0)).min())
        assert eprocess.divergence(candidate, baseline, line, **rest) == pytest.approx(least, rel=1e-3, abs=1e-7)
