"""How often the plain test is wrong when it is looked at every fifteen seconds for two hours; seeded, so repeatable.

It makes no promise (see `gates/plain.py`); this watches that it stays usable: independent requests, 480 looks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from modelrollout.gates.evidence import Counts
from modelrollout.gates.plain import STANDARD_ERRORS, distance

_LOOKS = 480
_RUNS = 2000

Floats = npt.NDArray[np.float64]


def _breached(
    rate: float, base_rate: float, *, per_look: float, share: float, factor: float, offset: float, seed: int
) -> npt.NDArray[np.bool_]:
    """For each run and look, whether the gate is breached; the formula of `distance` on whole arrays."""
    random = np.random.default_rng(seed)

    def arm(p: float, requests: float) -> tuple[Floats, Floats]:
        total = random.poisson(requests, (_RUNS, _LOOKS))
        bad = random.binomial(total, p)
        return np.cumsum(bad, axis=1).astype(float), np.cumsum(total, axis=1).astype(float)

    (bad, total), (base_bad, base_total) = arm(rate, per_look * share), arm(base_rate, per_look * (1 - share))
    p, q = (bad + 1) / (total + 2), (base_bad + 1) / (base_total + 2)
    error = np.sqrt(p * (1 - p) / (total + 2) + factor**2 * q * (1 - q) / (base_total + 2))
    enough = (total >= 100) & (base_total >= 100)
    return (p - factor * q - offset - STANDARD_ERRORS * error > 0) & enough


def test_the_arrays_compute_what_the_gate_computes() -> None:
    found = distance(Counts(31, 900), Counts(60, 9000), factor=1.0, offset=0.002)
    p, q = 32 / 902, 61 / 9002
    error = np.sqrt(p * (1 - p) / 902 + q * (1 - q) / 9002)
    assert found.low == pytest.approx(p - q - 0.002 - 4 * error)


@pytest.mark.parametrize("per_look", [75.0, 750.0])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_two_equal_versions_hardly_ever_breach_even_without_any_margin(per_look: float, share: float) -> None:
    """No margin at all is the hardest case; a difference of 0.2 points leaves room on top."""
    hardest = _breached(0.02, 0.02, per_look=per_look, share=share, factor=1.0, offset=0.0, seed=7)
    assert hardest.any(axis=1).mean() < 0.005
    usual = _breached(0.02, 0.02, per_look=per_look, share=share, factor=1.0, offset=0.002, seed=8)
    assert usual.any(axis=1).mean() < 0.002


def test_the_gate_of_the_smallest_manifest_spares_a_good_version_at_five_requests_a_second() -> None:
    """The case in which five bad looks in a row roll back every good version within two hours."""
    breached = _breached(0.01, 0.01, per_look=75.0, share=0.1, factor=1.0, offset=0.002, seed=9)
    assert breached.any(axis=1).mean() < 0.005


def test_a_bad_version_is_caught_in_minutes() -> None:
    breached = _breached(0.05, 0.01, per_look=750.0, share=0.1, factor=1.0, offset=0.002, seed=10)
    assert breached[:, 19].mean() > 0.95, "five times the errors, 5 requests a second, five minutes"
    assert breached[:, -1].mean() > 0.999
