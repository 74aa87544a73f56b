"""What users of many models do, as the counters that the models' pods would export. Pure, but for its seeded chance.

Every pod has a rate of requests and a share that fails. Requests are Poisson, and everything else is drawn from them:
which fail, how long they take, who clicks. So the counters of a pod add up as a real server's do.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BOUNDS", "CLICKS", "ERRORS", "Pod", "Traffic", "latency_shares"]

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the latency's buckets in seconds; +Inf follows."""
ERRORS: Final = 0.005
"""Share of requests that fail in a good model."""
CLICKS: Final = 0.05
"""Share of requests that end in a click."""
_MEDIAN_SECONDS: Final = 0.06
_SPREAD: Final = 0.5
"""Standard deviation of the logarithm of a latency: the 95 % quantile is then at 137 ms."""
_GOOD, _BAD, _LATENCY = 0, 1, 2
_CLICKED: Final = _LATENCY + len(BOUNDS) + 1
_COLUMNS: Final = _CLICKED + 1
_TYPES: Final = (
    b"# TYPE ranker_requests_total counter\n# TYPE ranker_request_seconds histogram\n"
    b"# TYPE ranker_impressions_total counter\n# TYPE ranker_clicks_total counter\n"
)

Pod = tuple[str, str]
"""(namespace, name)."""


def latency_shares() -> npt.NDArray[np.float64]:
    """Share of the requests in each bucket: log-normal."""
    normal = NormalDist(math.log(_MEDIAN_SECONDS), _SPREAD)
    upto = [0.0, *(normal.cdf(math.log(bound)) for bound in BOUNDS), 1.0]
    return np.diff(np.array(upto))


@dataclass
class _Shard:
    """The pods of one scrape target; its text is made by one format string."""

    pods: dict[Pod, int] = field(default_factory=dict)
    template: str | None = None


class Traffic:
    """All pods' counters, in a few arrays: a thousand rollouts are counted in a few milliseconds."""

    def __init__(self, seed: int, shards: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._shards = [_Shard() for _ in range(shards)]
        self._where: dict[Pod, tuple[_Shard, int]] = {}
        self._next_shard = itertools.cycle(self._shards)
        self._free: list[int] = []
        self._rates, self._errors, self._upto = np.zeros(0), np.zeros(0), np.zeros(0)
        self._counts = np.zeros((0, _COLUMNS), dtype=np.int64)
        self._latency = latency_shares()

    def add(self, pod: Pod, now: float) -> None:
        """A pod begins to be scraped, with counters at zero."""
        if pod in self._where:
            return
        if not self._free:
            self._grow()
        row, shard = self._free.pop(), next(self._next_shard)
        self._counts[row], self._rates[row], self._errors[row], self._upto[row] = 0, 0.0, ERRORS, now
        self._where[pod] = shard, row
        shard.pods[pod], shard.template = row, None

    def remove(self, pod: Pod) -> None:
        """A pod is gone."""
        found = self._where.pop(pod, None)
        if found is not None:
            shard, row = found
            del shard.pods[pod]
            shard.template = None
            self._free.append(row)

    def set(self, pod: Pod, now: float, *, rate: float | None = None, errors: float | None = None) -> None:
        """From now on so many requests a second, of which such a share fails; what was before stays as it was."""
        row = self._where[pod][1]
        self._advance(np.array([row]), now)
        if rate is not None:
            self._rates[row] = rate
        if errors is not None:
            self._errors[row] = errors

    def text(self, shard: int, now: float) -> bytes:
        """What a scrape of one target sees, in Prometheus' text format."""
        one = self._shards[shard]
        rows = np.fromiter(one.pods.values(), dtype=np.int64, count=len(one.pods))
        self._advance(rows, now)
        if one.template is None:
            one.template = "".join(_lines(pod) for pod in one.pods)
        counts = self._counts[rows]
        latency = np.cumsum(counts[:, _LATENCY:_CLICKED], axis=1)
        requests = latency[:, -1:]
        shown = np.hstack([counts[:, : _BAD + 1], latency, requests, requests, counts[:, _CLICKED:]])
        return _TYPES + (one.template % tuple(shown.ravel().tolist())).encode()

    def _advance(self, rows: npt.NDArray[np.int64], now: float) -> None:
        """Count what happened up to now."""
        seconds = np.maximum(0.0, now - self._upto[rows])
        requests = self._random.poisson(self._rates[rows] * seconds)
        bad = self._random.binomial(requests, self._errors[rows])
        counts = np.zeros((len(rows), _COLUMNS), dtype=np.int64)
        counts[:, _GOOD], counts[:, _BAD] = requests - bad, bad
        counts[:, _LATENCY:_CLICKED] = self._random.multinomial(requests, self._latency)
        counts[:, _CLICKED] = self._random.binomial(requests, CLICKS)
        self._counts[rows] += counts
        self._upto[rows] = now

    def _grow(self) -> None:
        size = len(self._rates)
        more = max(64, size)
        self._rates, self._errors, self._upto = (
            np.concatenate([array, np.zeros(more)]) for array in (self._rates, self._errors, self._upto)
        )
        self._counts = np.concatenate([self._counts, np.zeros((more, _COLUMNS), dtype=np.int64)])
        self._free.extend(range(size + more - 1, size - 1, -1))


def _lines(pod: Pod) -> str:
    """A pod's lines, with a place for each number.

    It says its own ``up``: Prometheus writes one for each target, and one target for each of thousands of pods would be
    a bench of Prometheus. With ``honor_labels`` the series are those of a scrape of the pod itself, as in federation.
    """
    of = f'namespace="{pod[0]}",pod="{pod[1]}"'
    bounds = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
    lines = [f'ranker_requests_total{{{of},code="200"}} %d', f'ranker_requests_total{{{of},code="500"}} %d']
    lines += [f'ranker_request_seconds_bucket{{{of},le="{bound}"}} %d' for bound in bounds]
    lines += [f"ranker_request_seconds_count{{{of}}} %d", f"ranker_impressions_total{{{of}}} %d"]
    lines += [f"ranker_clicks_total{{{of}}} %d", f"up{{{of}}} 1"]
    return "\n".join(lines) + "\n"
