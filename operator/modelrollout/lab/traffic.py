"""Counts drawn from a scenario, interval by interval, while the policy moves the weights.

Requests arrive as Poisson processes, so both arms are independent given the weights. What happens to them is a
binomial draw at the scenario's share, times the noise of the arm and of what both arms go through. Everything is drawn
for all runs at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.random import Generator

from modelrollout.gates.eprocess import Array
from modelrollout.lab.columns import BASELINE, CANDIDATE, Recording
from modelrollout.lab.scenario import Effect, Latency, Metric, Noise, Scenario, Wander

__all__ = ["Traffic"]

_REPLICAS: Final = ("0", "1")
"""Pods of the baseline in the history."""
_NORMAL_P95: Final = NormalDist().inv_cdf(0.95)
_LARGEST: Final = 0.999


class Traffic:
    """A :class:`modelrollout.lab.runner.Source` that follows the weights (closed loop).

    ``interval`` in seconds; the same seed gives the same traffic for the same weights. ``length`` in seconds, for a
    scenario that does not say how long it lasts.
    """

    def __init__(self, scenario: Scenario, *, interval: float, runs: int, seed: int, length: float = 86_400.0) -> None:
        self.scenario, self.interval, self.runs = scenario, interval, runs
        self._random = np.random.default_rng(seed)
        count = max(1, math.floor((scenario.length or length) / interval + 1e-9))
        self.times: Array = np.arange(count, dtype=np.float64) * interval
        self._totals = sorted({one.total for one in self._kinds})
        self.columns = tuple(sorted({*self._totals, *(column for one in self._kinds for column in _columns(one))}))
        self._states = {one.name: _MetricNoise(one.noise, runs, interval, self._random) for one in self._kinds}
        self._pools = {(arm, one.name): np.zeros(runs) for arm in (BASELINE, CANDIDATE) for one in scenario.metrics}
        self.history: Recording | None = self._history()
        self._slot = -1
        self._now: dict[str, dict[str, Array]] = {}

    @property
    def _kinds(self) -> tuple[Metric | Latency, ...]:
        return (*self.scenario.metrics, *self.scenario.latencies)

    def advance(self, share: Array) -> None:
        """Draw the next interval with these shares of the candidate."""
        self._slot += 1
        begins = self._slot * self.interval
        expected = self._rate(begins + self.interval / 2.0) * self.interval
        requests = {
            CANDIDATE: self._random.poisson(expected * share).astype(np.float64),
            BASELINE: self._random.poisson(expected * (1.0 - share)).astype(np.float64),
        }
        for state in self._states.values():
            state.advance((CANDIDATE, BASELINE))
        self._now = {arm: self._draw(arm, count, begins) for arm, count in requests.items()}
        self._lose(begins)

    def counts(self, arm: str, columns: Sequence[str]) -> list[Array]:
        """The arm's increments in this interval; NaN where they were not measured."""
        return [self._now[arm][column] for column in columns]

    def _rate(self, time: float) -> float:
        rate = float(np.interp(time, self.scenario.rate.times, self.scenario.rate.values))
        day = self.scenario.diurnal
        return (
            rate
            if day is None
            else rate * (1.0 + day.amplitude * math.sin(2 * math.pi * (time - day.phase) / day.period))
        )

    def _draw(self, arm: str, requests: Array, time: float) -> dict[str, Array]:
        """Every column of one arm in one interval."""
        found = dict.fromkeys(self._totals, requests)
        for metric in self.scenario.metrics:
            share = self._share(metric, arm, time)
            events = self._random.binomial(requests.astype(np.int64), share).astype(np.float64)
            found[metric.name] = self._arrived(metric, arm, events)
        for latency in self.scenario.latencies:
            found |= self._durations(latency, arm, requests, time)
        return found

    def _share(self, metric: Metric, arm: str, time: float) -> Array:
        share = float(np.interp(time, metric.share.times, metric.share.values))
        if arm == CANDIDATE:
            share = _changed(share, (self.scenario.effects or {}).get(metric.name), time)
        return self._states[metric.name].share(arm, share)

    def _durations(self, latency: Latency, arm: str, requests: Array, time: float) -> dict[str, Array]:
        """A histogram: requests beyond each bound are drawn from those beyond the bound before."""
        effect = (self.scenario.effects or {}).get(latency.name) if arm == CANDIDATE else None
        scale = _changed(1.0, effect, time)
        spread = math.log(latency.p95 / latency.median) / _NORMAL_P95
        left, before = requests, np.ones(self.runs)
        noise = self._states[latency.name]
        factor, least = noise.bursting(arm), noise.least()
        found = {}
        for bound, column in zip(latency.buckets, _columns(latency), strict=False):
            slow = 1.0 - NormalDist(math.log(latency.median * scale), spread).cdf(math.log(bound))
            beyond = np.minimum(np.maximum(np.minimum(slow * factor, max(slow, _LARGEST)), least), before)
            part = np.where(before > 0.0, beyond / np.maximum(before, 1e-300), 0.0)
            left = self._random.binomial(left.astype(np.int64), np.clip(part, 0.0, 1.0)).astype(np.float64)
            found[column] = requests - left
            before = beyond
        return found | {_columns(latency)[-1]: requests}

    def _arrived(self, metric: Metric, arm: str, events: Array) -> Array:
        """What is counted now of events that come late: delays are exponential, so nothing but their number has to be
        remembered."""
        if metric.lag <= 0.0:
            return events
        ratio = self.interval / metric.lag
        later = math.exp(-ratio)
        at_once = 1.0 - (1.0 - later) / ratio
        key = (arm, metric.name)
        waiting = self._pools[key].astype(np.int64)
        due = self._random.binomial(waiting, 1.0 - later)
        now = self._random.binomial(events.astype(np.int64), at_once)
        self._pools[key] = waiting - due + events - now
        return np.asarray((due + now).astype(np.float64))

    def _lose(self, begins: float) -> None:
        """Intervals whose metrics were not read, of both arms alike."""
        middle = begins + self.interval / 2.0
        gone = np.full(self.runs, any(low <= middle < high for low, high in self.scenario.gaps))
        if self.scenario.lost > 0.0:
            gone |= self._random.random(self.runs) < self.scenario.lost
        if gone.any():
            for columns in self._now.values():
                for name, values in columns.items():
                    columns[name] = np.where(gone, np.nan, values)

    def _history(self) -> Recording | None:
        """The baseline alone, in two pods with noise of their own."""
        count = math.floor(self.scenario.history / self.interval)
        if count <= 0:
            return None
        shape = (self.runs, count)
        pods = {pod: {column: np.empty(shape) for column in self.columns} for pod in _REPLICAS}
        for metric in self.scenario.metrics:
            self._pools |= {(pod, metric.name): np.zeros(self.runs) for pod in _REPLICAS}
        for slot in range(count):
            time = (slot - count) * self.interval
            expected = self._rate(time + self.interval / 2.0) * self.interval / len(_REPLICAS)
            for state in self._states.values():
                state.advance(_REPLICAS)
            for pod in _REPLICAS:
                requests = self._random.poisson(expected, self.runs).astype(np.float64)
                for column, values in self._draw(pod, requests, time).items():
                    pods[pod][column][:, slot] = values
        for metric in self.scenario.metrics:
            self._pools[BASELINE, metric.name] = np.sum([self._pools[pod, metric.name] for pod in _REPLICAS], axis=0)
        times = np.arange(-count, 0, dtype=np.float64) * self.interval
        return Recording(times, self.interval, {BASELINE: pods})


def _columns(kind: Metric | Latency) -> tuple[str, ...]:
    if isinstance(kind, Metric):
        return (kind.name,)
    bounds = [f"{bound:g}" for bound in kind.buckets]
    return tuple(f"{kind.name}_bucket_le_{bound}" for bound in (*bounds, "+Inf"))


def _changed(value: float, effect: Effect | None, time: float) -> float:
    """A share (or time) of the candidate."""
    if effect is None or not effect.at <= time < effect.until:
        return value
    target = effect.value if effect.value is not None else value * effect.times + effect.plus
    grown = 1.0 if effect.ramp <= 0.0 else min(1.0, (time - effect.at) / effect.ramp)
    return min(max(value + (target - value) * grown, 0.0), 1.0 if effect.value is not None or effect.plus else target)


class _MetricNoise:
    """The noise of one metric: what is shared by all arms, and what each has for itself."""

    def __init__(self, noise: Noise, runs: int, interval: float, random: Generator) -> None:
        self._noise, self._runs, self._interval, self._random = noise, runs, interval, random
        self._own: dict[str, _Walk] = {}
        self._shared = _Walk(noise.shared.wander, runs, random)
        self._failing = np.zeros(runs)

    def advance(self, arms: Sequence[str]) -> None:
        """Go on by one interval."""
        self._shared.advance()
        for arm in arms:
            if arm not in self._own:
                self._own[arm] = _Walk(self._noise.wander, self._runs, self._random)
            self._own[arm].advance()
        failures = self._noise.shared.failures
        if failures is not None:
            self._failing = np.maximum(self._failing - self._interval, 0.0)
            begins = self._random.random(self._runs) < self._interval / failures.every
            self._failing = np.where(begins, failures.lasts, self._failing)

    def share(self, arm: str, share: float) -> Array:
        """The share of an arm in this interval, in each run."""
        found = np.minimum(share * self._factor(arm), max(share, _LARGEST))
        return np.maximum(_bursts(found, self._noise.bursty, self._random), self.least())

    def bursting(self, arm: str) -> Array:
        """By what every share of an arm is multiplied in this interval, in each run."""
        factor = self._factor(arm)
        if self._noise.bursty <= 0.0:
            return factor
        shape = 1.0 / self._noise.bursty**2
        return np.asarray(factor * self._random.gamma(shape, 1.0 / shape, self._runs))

    def least(self) -> Array:
        """What a share is at least, in an interval that may be a blip."""
        blips = self._noise.blips
        if blips is None:
            return np.zeros(self._runs)
        return np.where(self._random.random(self._runs) < self._interval / blips.every, blips.share, 0.0)

    def _factor(self, arm: str) -> Array:
        factor = self._shared.factor * self._own[arm].factor
        failures = self._noise.shared.failures
        return factor if failures is None else factor * np.where(self._failing > 0.0, failures.times, 1.0)


class _Walk:
    """An AR(1) process in the logarithm, as a factor of mean 1."""

    def __init__(self, wander: Wander | None, runs: int, random: Generator) -> None:
        self._wander, self._random = wander, random
        self.factor: Array = np.ones(runs)
        self._at = np.zeros(runs) if wander is None else random.normal(0.0, wander.sigma, runs)

    def advance(self) -> None:
        """Go on by one interval."""
        if self._wander is None:
            return
        rho, sigma = self._wander.rho, self._wander.sigma
        self._at = rho * self._at + math.sqrt(1.0 - rho * rho) * self._random.normal(0.0, sigma, len(self._at))
        self.factor = np.exp(self._at - sigma * sigma / 2.0)


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
