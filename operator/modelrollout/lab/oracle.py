"""The limit of what is possible: tests that know what no controller can know.

Both know the baseline's and the candidate's true share, the true overdispersion and when the harm begins. Wald's test
needs no baseline at all and is the fastest test there is at its error rate; the second one knows the shares but, like
every honest test, measures the baseline beside the candidate.

Sources: A. Wald, "Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16 (1945); P.
Grünwald, R. de Heide, W. Koolen, "Safe testing" (2019, arXiv 1906.07801), for the growth-optimal bet; R. Turner et al.,
see :mod:`modelrollout.gates.eprocess`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelrollout.gates import eprocess, noise
from modelrollout.gates.eprocess import Array, Line
from modelrollout.lab.columns import Ints
from modelrollout.lab.rivals import NEVER, Arms

__all__ = ["Truth", "one_arm", "two_arms"]


@dataclass(frozen=True, slots=True)
class Truth:
    """What the oracles know. ``baseline`` and ``candidate``: shares of bad events; ``floor``: κ² of one interval (see
    :mod:`modelrollout.gates.noise`); ``good``: whether the noise is in good events; ``begins``: index of the interval
    in which the harm begins."""

    baseline: float
    candidate: float
    line: Line
    alpha: float
    floor: float = 0.0
    good: bool = False
    begins: int = 0


def _dispersion(truth: Truth, requests: Array, share: float) -> Array:
    return noise.dispersion(requests, 1.0 - share if truth.good else share, share, truth.floor)


def one_arm(arms: Arms, truth: Truth) -> Ints:
    """Index of the interval in which Wald's test of the candidate alone rejects, of shape (runs,); -1 for never."""
    nc, xc = np.nan_to_num(arms.nc[:, truth.begins :]), np.nan_to_num(arms.xc[:, truth.begins :])
    limit = truth.line.at(truth.baseline)
    gain = xc * math.log(truth.candidate / limit) + (nc - xc) * math.log((1.0 - truth.candidate) / (1.0 - limit))
    return _first(np.cumsum(gain / _dispersion(truth, nc, limit), axis=1), truth, 1)


def two_arms(arms: Arms, truth: Truth) -> Ints:
    """The same for the growth-optimal bet on both arms. Intervals are pooled until about five of the baseline's and
    one of the candidate's requests are in each."""
    ours, theirs = float(np.nanmean(arms.nc)), float(np.nanmean(arms.nb))
    fewest = max(1.0 / max(ours, 1e-9), 5.0 / max(theirs, 1e-9))
    late = arms.since(truth.begins)
    pooled, size = late.per(math.ceil(fewest) * arms.interval)
    limit = truth.line.at(truth.baseline)
    shift = math.log(truth.candidate / (1.0 - truth.candidate)) - math.log(limit / (1.0 - limit))
    flat = [values.reshape(-1, 1) for values in (pooled.nc, pooled.xc, pooled.nb, pooled.xb)]
    gain = eprocess.log_evidence(
        *flat,
        line=truth.line,
        share=np.full_like(flat[0], truth.baseline),
        phi_c=_dispersion(truth, flat[0], limit),
        phi_b=_dispersion(truth, flat[2], truth.baseline),
        shifts=np.full_like(flat[0], shift),
    )
    return _first(np.cumsum(gain.reshape(pooled.nc.shape), axis=1), truth, size)


def _first(nats: Array, truth: Truth, size: int) -> Ints:
    reached = nats >= math.log(1.0 / truth.alpha)
    found = (reached.argmax(axis=1) + 1) * size - 1 + truth.begins
    return np.where(reached.any(axis=1), found, NEVER)
