"""Counts drawn from a scenario, interval by interval, while the policy moves the weights.

Requests arrive as Poisson processes, so both arms are independent given the weights. What happens to them is a
binomial draw at the scenario's share, times the noise of the arm and of what both arms go through. Everything is drawn
for all runs at once, and for many intervals at once where no weight depends on them: arrays are of shape (runs,
intervals).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.random import Generator

from modelrollout.gates.eprocess import Array
from modelrollout.lab.columns import BASELINE, CANDIDATE, Ints, Recording
from modelrollout.lab.scenario import Curve, Effect, Latency, Metric, Noise, Scenario, Wander

__all__ = ["Traffic"]

_REPLICAS: Final = ("0", "1")
"""Pods of the baseline in the history."""
_NORMAL_P95: Final = NormalDist().inv_cdf(0.95)
_LARGEST: Final = 0.999
_BLOCK: Final = 500_000
"""Numbers that are drawn at once: memory stays small however many runs there are."""


class Traffic:
    """A :class:`modelrollout.lab.runner.Source` that follows the weights (closed loop).

    ``interval`` in seconds; the same seed gives the same traffic for the same weights. ``length`` in seconds, for a
    scenario that does not say how long it lasts.
    """

    def __init__(
        self, scenario: Scenario, *, interval: float, runs: int, seed: int | Sequence[int], length: float = 86_400.0
    ) -> None:
        self.scenario, self.interval, self.runs = scenario, interval, runs
        self._random = np.random.default_rng(seed)
        count = max(1, math.floor((scenario.length or length) / interval + 1e-9))
        self.times: Array = np.arange(count, dtype=np.float64) * interval
        self._kinds: tuple[Metric | Latency, ...] = (*scenario.metrics, *scenario.latencies)
        self._totals = sorted({one.total for one in self._kinds})
        self.columns = tuple(sorted({*self._totals, *(column for one in self._kinds for column in _columns(one))}))
        self._noise = {one.name: _MetricNoise(one.noise, runs, interval, self._random) for one in self._kinds}
        self._late: dict[tuple[str, str], Ints] = {}
        self.history: Recording | None = self._history()
        self._slot = -1
        self._now: dict[str, dict[str, Array]] = {}
        self.moved = np.zeros(runs, dtype=np.bool_)

    def advance(self, share: Array) -> None:
        """Draw the next interval with these shares of the candidate."""
        self._slot += 1
        begins = np.array([self._slot * self.interval])
        expected = self._expected(begins)[0]
        for noise in self._noise.values():
            noise.advance(1, (CANDIDATE, BASELINE))
        self._now = {
            arm: self._draw(arm, self._random.poisson(expected * part)[:, None], begins)
            for arm, part in ((CANDIDATE, share), (BASELINE, 1.0 - share))
        }
        self._lose(float(begins[0]))

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """The arm's increments in this interval; NaN where they were not measured."""
        return [self._now[arm][column][:, 0] for column in columns]

    def _expected(self, begins: Array) -> Array:
        """Requests of both arms in the intervals that begin then."""
        middle = begins + self.interval / 2.0
        rate, day = _at(self.scenario.rate, middle), self.scenario.diurnal
        if day is not None:
            rate = rate * (1.0 + day.amplitude * np.sin(2.0 * np.pi * (middle - day.phase) / day.period))
        return rate * self.interval

    def _draw(self, arm: str, requests: Ints, begins: Array) -> dict[str, Array]:
        """Every column of one arm, given its requests."""
        found = dict.fromkeys(self._totals, requests.astype(np.float64))
        for metric in self.scenario.metrics:
            share = _at(metric.share, begins)
            if arm == CANDIDATE:
                share = _changed(share, self._effect(metric.name), begins)
            events = self._random.binomial(requests, self._noise[metric.name].shares(arm, share))
            found[metric.name] = self._arrived(metric, arm, events)
        for latency in self.scenario.latencies:
            found |= self._durations(latency, arm, requests, begins)
        return found

    def _effect(self, name: str) -> Effect | None:
        return (self.scenario.effects or {}).get(name)

    def _durations(self, latency: Latency, arm: str, requests: Ints, begins: Array) -> dict[str, Array]:
        """A histogram: requests beyond each bound are drawn from those beyond the bound before."""
        scale = np.ones_like(begins)
        if arm == CANDIDATE:
            scale = _changed(scale, self._effect(latency.name), begins)
        spread = math.log(latency.p95 / latency.median) / _NORMAL_P95
        noise = self._noise[latency.name]
        factor, least = noise.factors(arm), noise.least()
        left, before = requests, np.ones(requests.shape)
        found = {}
        *columns, every = _columns(latency)
        for bound, column in zip(latency.buckets, columns, strict=True):
            slow = np.array([1.0 - _lognormal_cdf(bound, latency.median * one, spread) for one in scale])
            beyond = np.minimum(np.maximum(np.minimum(slow * factor, np.maximum(slow, _LARGEST)), least), before)
            part = np.divide(beyond, before, out=np.zeros_like(before), where=before > 0.0)
            left = self._random.binomial(left, np.minimum(part, 1.0))
            found[column] = (requests - left).astype(np.float64)
            before = beyond
        return found | {every: requests.astype(np.float64)}

    def _arrived(self, metric: Metric, arm: str, events: Ints) -> Array:
        """What is counted when, of events that come late: delays are exponential, so nothing but the number of events
        under way has to be remembered."""
        if metric.lag <= 0.0:
            return events.astype(np.float64)
        ratio = self.interval / metric.lag
        later = math.exp(-ratio)
        at_once = self._random.binomial(events, 1.0 - (1.0 - later) / ratio)
        waiting: Ints = self._late.get((arm, metric.name), np.zeros(self.runs, dtype=np.int64))
        found = np.empty(events.shape)
        for i in range(events.shape[1]):
            due = self._random.binomial(waiting, 1.0 - later)
            waiting = waiting - due + events[:, i] - at_once[:, i]
            found[:, i] = due + at_once[:, i]
        self._late[arm, metric.name] = waiting
        return found

    def _lose(self, begins: float) -> None:
        """Intervals whose metrics were not read, of both arms alike."""
        middle = begins + self.interval / 2.0
        gone = np.full(self.runs, any(low <= middle < high for low, high in self.scenario.gaps))
        if self.scenario.lost > 0.0:
            gone |= self._random.random(self.runs) < self.scenario.lost
        if gone.any():
            for columns in self._now.values():
                for name, values in columns.items():
                    columns[name] = np.where(gone[:, None], np.nan, values)

    def _history(self) -> Recording | None:
        """The baseline alone, in two pods with noise of their own."""
        count = math.floor(self.scenario.history / self.interval)
        if count <= 0:
            return None
        times = np.arange(-count, 0, dtype=np.float64) * self.interval
        blocks: dict[str, list[dict[str, Array]]] = {pod: [] for pod in _REPLICAS}
        size = max(1, _BLOCK // self.runs)
        for first in range(0, count, size):
            begins = times[first : first + size]
            expected = self._expected(begins) / len(_REPLICAS)
            for noise in self._noise.values():
                noise.advance(len(begins), _REPLICAS)
            for pod in _REPLICAS:
                requests = self._random.poisson(expected, (self.runs, len(begins)))
                blocks[pod].append(self._draw(pod, requests, begins))
        for metric in self.scenario.metrics:
            under_way = [self._late[pod, metric.name] for pod in _REPLICAS if (pod, metric.name) in self._late]
            if under_way:
                self._late[BASELINE, metric.name] = np.sum(under_way, axis=0)
        pods = {
            pod: {column: np.concatenate([one[column] for one in drawn], axis=1) for column in self.columns}
            for pod, drawn in blocks.items()
        }
        return Recording(times, self.interval, {BASELINE: pods})


def _at(curve: Curve, times: Array) -> Array:
    return np.interp(times, curve.times, curve.values)


def _lognormal_cdf(value: float, median: float, spread: float) -> float:
    return NormalDist(math.log(median), spread).cdf(math.log(value))


def _columns(kind: Metric | Latency) -> tuple[str, ...]:
    if isinstance(kind, Metric):
        return (kind.name,)
    bounds = [f"{bound:g}" for bound in kind.buckets]
    return tuple(f"{kind.name}_bucket_le_{bound}" for bound in (*bounds, "+Inf"))


def _changed(values: Array, effect: Effect | None, times: Array) -> Array:
    """Shares (or times) of the candidate."""
    if effect is None:
        return values
    target = values * effect.times + effect.plus if effect.value is None else np.full_like(values, effect.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = np.ones_like(times) if effect.ramp <= 0.0 else np.clip((times - effect.at) / effect.ramp, 0.0, 1.0)
    now = (times >= effect.at) & (times < effect.until)
    return np.where(now, values + (target - values) * grown, values)


class _MetricNoise:
    """The noise of one metric over the intervals that are being drawn: what all arms share, and what each has for
    itself."""

    def __init__(self, noise: Noise, runs: int, interval: float, random: Generator) -> None:
        self._noise, self._interval, self._random = noise, interval, random
        self._shape = (runs, 0)
        self._shared = _Walk(noise.shared.wander, runs, random)
        self._own: dict[str, _Walk] = {}
        self._left = np.zeros(runs)
        self._failing: Array = np.ones((runs, 0))

    def advance(self, count: int, arms: Sequence[str]) -> None:
        """Go on by so many intervals."""
        runs = self._shape[0]
        self._shape = (runs, count)
        self._shared.advance(count)
        for arm in arms:
            if arm not in self._own:
                self._own[arm] = _Walk(self._noise.wander, runs, self._random)
            self._own[arm].advance(count)
        self._fail(count)

    def _fail(self, count: int) -> None:
        failures = self._noise.shared.failures
        if failures is None:
            return
        begins = self._random.random(self._shape) < self._interval / failures.every
        self._failing = np.ones(self._shape)
        for i in range(count):
            self._left = np.where(begins[:, i], failures.lasts, np.maximum(self._left - self._interval, 0.0))
            self._failing[:, i] = np.where(self._left > 0.0, failures.times, 1.0)

    def shares(self, arm: str, share: Array) -> Array:
        """The shares of an arm; ``share``: without noise, of shape (intervals,)."""
        found = np.minimum(share * self._factor(arm), np.maximum(share, _LARGEST))
        found = np.clip(found, 0.0, 1.0)
        return np.maximum(_bursts(found, self._noise.bursty, self._random), self.least())

    def factors(self, arm: str) -> Array:
        """By what every share of an arm is multiplied, where there are several."""
        factor = np.broadcast_to(self._factor(arm), self._shape)
        if self._noise.bursty <= 0.0:
            return factor
        size = 1.0 / self._noise.bursty**2
        return factor * self._random.gamma(size, 1.0 / size, self._shape)

    def least(self) -> Array:
        """What a share is at least, in an interval that may be a blip."""
        blips = self._noise.blips
        if blips is None:
            return np.zeros(1)
        return np.where(self._random.random(self._shape) < self._interval / blips.every, blips.share, 0.0)

    def _factor(self, arm: str) -> Array:
        factor = np.broadcast_to(self._shared.factor * self._own[arm].factor, self._shape)
        return factor if self._noise.shared.failures is None else factor * self._failing


class _Walk:
    """An AR(1) process in the logarithm, as a factor of mean 1."""

    def __init__(self, wander: Wander | None, runs: int, random: Generator) -> None:
        self._wander, self._random = wander, random
        self.factor: Array = np.ones((runs, 1))
        self._at = np.zeros(runs) if wander is None else random.normal(0.0, wander.sigma, runs)

    def advance(self, count: int) -> None:
        """Go on by so many intervals."""
        if self._wander is None:
            return
        rho, sigma = self._wander.rho, self._wander.sigma
        steps = self._random.normal(0.0, sigma * math.sqrt(1.0 - rho * rho), (len(self._at), count))
        for i in range(count):
            self._at = rho * self._at + steps[:, i]
            steps[:, i] = self._at
        self.factor = np.exp(steps - sigma * sigma / 2.0)


def _bursts(share: Array, cv: float, random: Generator) -> Array:
    """Beta-distributed shares around their mean with this coefficient of variation (or the largest that a share can
    have)."""
    if cv <= 0.0:
        return share
    inside = (share > 0.0) & (share < 1.0)
    mean = np.where(inside, share, 0.5)
    squared = np.minimum(cv * cv, 0.5 * (1.0 - mean) / mean)
    size = (1.0 - mean) / (mean * squared) - 1.0
    return np.asarray(np.where(inside, random.beta(mean * size, (1.0 - mean) * size), share))
