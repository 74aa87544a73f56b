"""A gate over counts, from what it says to a verdict in words and numbers: ratios and latency quantiles.

Both share one machinery (:mod:`modelrollout.gates.sequential`): a latency quantile "p95 ≤ 200 ms" is "the share of
requests slower than 200 ms is at most 5 %". A limit between two buckets' bounds is bracketed: breached only by what is
slower than the next higher bound, proven only by what is slower than the next lower one.

An absolute limit is broken only by a candidate that is also worse than the baseline: when a dependency slows both
revisions down, rolling one of them back helps nobody; then the gate says ``shared``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit
from modelrollout.gates import eprocess, noise, sequential, words
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.catastrophe import catastrophic
from modelrollout.gates.eprocess import Line
from modelrollout.gates.evidence import Counts, Histogram, Interval
from modelrollout.gates.packed import pack_all, unpack
from modelrollout.gates.sequential import Conclusions, Design, Slot

__all__ = ["Budget", "History", "RateState", "RateTest", "Worked", "budget", "keep"]

_BETA: Final = 0.05
_UNLATCH: Final = math.log(10.0)
_LEAN: Final = 2.0
_PROCESS_PART: Final = 0.6
_LOOKS_PART: Final = 0.3
_SHOWN_ALPHA: Final = 0.05
FEWEST_INTERVALS: Final = 60
_EMPTY: Final = Histogram((), ())
_RECENTLY: Final = 8192
"""States that are kept beside their texts: those of a thousand rollouts with three gates, and of the look before."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A gate's part of ``falseRollbackRate``: of its process, and of each of its planned looks."""

    alpha: float
    look_alpha: float


def budget(rate: float, gates: int, steps: int) -> Budget:
    """Each of so many gates' part. A tenth of the rate is left to the catastrophe rule."""
    return Budget(_PROCESS_PART * rate / max(1, gates), _LOOKS_PART * rate / max(1, gates) / max(1, steps))


@dataclass(frozen=True, slots=True)
class History:
    """What the baseline's past teaches before the first interval: its noise floor (κ²·Δt in seconds, None when
    unknown; ``split``: from two halves of its pods), and its recent requests and bad ones, fading."""

    floor: float | None = None
    split: bool = True
    requests: float = 0.0
    bad: float = 0.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What follows from a state: numbers that a verdict rests on, and the state as text."""

    concluded: Conclusions
    text: str


@dataclass(frozen=True)
class RateState:
    """State of one gate."""

    counts: sequential.State
    candidate: Histogram = _EMPTY
    baseline: Histogram = _EMPTY
    """Durations since the step began, for people to read; empty for a ratio."""
    memory: Histogram = _EMPTY
    """Durations of the baseline, fading, from which a relative limit of a latency is foreseen."""
    worked: Worked | None = field(default=None, compare=False, repr=False)
    """What follows from all this, where it was worked out together with others' states."""

    @property
    def parts(self) -> tuple[sequential.State, tuple[Histogram, Histogram, Histogram]]:
        """What is packed."""
        return self.counts, (self.candidate, self.baseline, self.memory)


_recent: dict[str, RateState] = {}


def keep(states: Sequence[RateState], texts: Sequence[str]) -> Sequence[str]:
    """Remember for a while which states these texts are, so that the next look need not read them; the texts."""
    for state, text in zip(states, texts, strict=True):
        _recent[text] = replace(state, worked=None) if state.worked is not None else state
    while len(_recent) > _RECENTLY:
        del _recent[next(iter(_recent))]
    return texts


@lru_cache(maxsize=4096)
def _the_one(design: Design) -> Design:
    """The same object for equal ones: which gates are alike is asked at every look."""
    return design


class _Said(NamedTuple):
    """A verdict in words."""

    verdict: Verdict
    message: str
    would_have_seen: float | None = None
    unseen: str = ""


@dataclass(frozen=True)
class RateTest:
    """What a gate says, compiled.

    ``quantile`` is None for a ratio; ``good``: the ratio counts good events. ``must_see``: how bad a candidate has to
    be sure to be noticed. ``intervals``: how many intervals a breach takes at least; ``seconds``: their length.
    """

    name: str
    limit: Limit
    at_least: bool
    min_samples: int
    alpha: float
    look_alpha: float
    quantile: float | None = None
    good: bool = False
    must_see: Limit | None = None
    intervals: int = 2
    seconds: float = 15.0
    later_steps: int = 0
    horizon: float = 480.0
    history: History = History()

    @cached_property
    def line(self) -> Line:
        """The limit as a line on shares of bad events."""
        return self._line(self.limit)

    @cached_property
    def design(self) -> Design:
        """The sequential test of it."""
        found = Design(
            line=self.line,
            alpha=self.alpha,
            look_alpha=self.look_alpha,
            guard=not self.limit.relative or self.quantile is not None,
            intervals=self.intervals,
            seconds=self.seconds,
            good=self.good,
            later_steps=self.later_steps,
            horizon=self.horizon,
        )
        return _the_one(found)

    @cached_property
    def _alone(self) -> Design:
        return _the_one(replace(self.design, guard=False))

    def _line(self, limit: Limit) -> Line:
        if self.quantile is not None:
            return Line(0.0, 1.0 - self.quantile)
        if self.good:
            return Line(limit.factor, 1.0 - limit.factor - limit.offset)
        return Line(limit.factor, limit.offset)

    def start(self) -> RateState:
        """A state before the first interval."""
        past = self.history
        return RateState(sequential.start(1, floor=past.floor, split=past.split, requests=past.requests, bad=past.bad))

    def fold(self, state: RateState, interval: Interval, *, judged: bool = True) -> RateState:
        """The state after one more interval.

        Raises
        ------
        TypeError
            If the interval holds another kind of evidence than the gate judges.
        """
        counted, counts = self.counted(state, interval), state.counts
        if counted is not None:
            slot = Slot(*(np.array([value]) for value in counted))
            counts = sequential.fold(counts, self.against(interval.baseline), slot, np.array([judged]))
        return self.folded(state, interval, counts, judged=judged)

    def counted(self, state: RateState, interval: Interval) -> tuple[float, float, float, float, float] | None:
        """The counts of an interval, as in :class:`modelrollout.gates.sequential.Slot`; None while the limit is not
        known. Errors as :meth:`fold`."""
        if self.quantile is not None:
            return self._slow_ones(state, interval)
        ours, theirs = interval.candidate, interval.baseline
        if not (isinstance(ours, Counts | None) and isinstance(theirs, Counts | None)):
            raise TypeError(f"{self.name} counts events, and was given something else")
        return _counts(ours, ours, theirs)

    def _slow_ones(self, state: RateState, interval: Interval) -> tuple[float, float, float, float, float] | None:
        ours, theirs = interval.candidate or _EMPTY, interval.baseline or _EMPTY
        if not (isinstance(ours, Histogram) and isinstance(theirs, Histogram)):
            raise TypeError(f"{self.name} judges durations, and was given something else")
        limit = self._seconds(state.memory)
        if limit is None:
            return None
        return _counts(_slower(ours, limit, up=True), _slower(ours, limit, up=False), _slower(theirs, limit, up=True))

    def against(self, baseline: object | None) -> Design:
        """The test of one interval: where there is no baseline (at 100 %), an absolute limit stands alone."""
        return self.design if baseline is not None or self.limit.relative else self._alone

    def folded(self, state: RateState, interval: Interval, counts: sequential.State, *, judged: bool) -> RateState:
        """The state after one more interval whose counts are folded in."""
        if self.quantile is None:
            return RateState(counts, state.candidate, state.baseline, state.memory)
        ours, theirs = interval.candidate or _EMPTY, interval.baseline or _EMPTY
        assert isinstance(ours, Histogram) and isinstance(theirs, Histogram)
        memory = _faded(state.memory, theirs) if self.limit.relative else _EMPTY
        if not judged:
            return replace(state, counts=counts, memory=memory, worked=None)
        return RateState(counts, state.candidate + ours, state.baseline + theirs, memory)

    def concluded(self, state: RateState) -> Conclusions:
        """What follows from the counts."""
        if state.worked is not None:
            return state.worked.concluded
        return sequential.conclusions(state.counts, self.design)[0]

    def _seconds(self, baseline: Histogram) -> float | None:
        """The limit of a latency in seconds, given what the baseline is known to take."""
        return self.limit.at(baseline.quantile(self.quantile or 0.0) if self.limit.relative else None)

    def begin_step(self, state: RateState) -> RateState:
        """Another weight begins."""
        return RateState(sequential.seal(state.counts, self.design), memory=state.memory)

    def end_hold(self, state: RateState) -> RateState:
        """The step's hold is over: take the planned look."""
        return replace(state, counts=sequential.look(state.counts, self.design), worked=None)

    def baseline_share(self, state: RateState) -> float:
        """The baseline's share of bad events, as it is known."""
        return self.concluded(state).share

    def noise_floor(self, state: RateState) -> float:
        """κ²·Δt in seconds, as it is believed."""
        return self.concluded(state).floor

    def catastrophe(self, state: RateState, interval: Interval, *, share: float, requests: int) -> bool:
        """Whether one interval alone is reason to roll back; only for ratios of bad events."""
        ours, theirs = interval.candidate, interval.baseline or Counts(0.0, 0.0)
        if self.quantile is not None or self.good or not isinstance(ours, Counts) or not isinstance(theirs, Counts):
            return False
        if ours.total < requests or (ours.rate or 0.0) <= share:  # most intervals, and much cheaper
            return False
        numbers = (np.array([value]) for value in (ours.total, ours.bad, theirs.total, theirs.bad))
        floor = sequential.floor_of_one(state.counts, self.design) / (interval.end - interval.start).total_seconds()
        expected = np.array([self.baseline_share(state)])
        return bool(catastrophic(*numbers, share=share, requests=requests, expected=expected, floor=floor)[0])

    def assess(self, state: RateState) -> Assessment:
        """The verdict."""
        known = self.concluded(state)
        needed = math.log(1.0 / self.alpha)
        alone = self.quantile is None and self.limit.relative
        shared = not known.beyond and not alone and known.line >= needed
        value, baseline = self._measured(state, known)
        show = words.percent if self.quantile is None else words.milliseconds
        limit = words.limit(self.limit, baseline, at_least=self.at_least, show=show)
        message = f"{words.maybe(value, show)} against {words.maybe(baseline, show)} of the baseline; {limit}"
        estimate, low, high = self._interval(known)
        said = self._said(f"{message}{self._bracket(state)}", state, known, shared=shared)
        return Assessment(
            verdict=said.verdict,
            limit=limit,
            message=said.message,
            value=value,
            baseline=baseline,
            difference=estimate,
            low=low,
            high=high,
            would_have_seen=said.would_have_seen,
            samples=int(known.requests),
            baseline_samples=int(known.baseline_requests),
            shared=shared,
            leaning=known.weight > 0.0 and known.distance / math.sqrt(known.weight) >= _LEAN,
            unseen=said.unseen,
            evidence=1.0 if known.beyond else min(max(known.breach / needed, 0.0), 1.0),
            stake=1.0 if known.beyond else min(1.0, self.alpha * math.exp(min(known.breach, 50.0))),
        )

    def _measured(self, state: RateState, known: Conclusions) -> tuple[float | None, float | None]:
        """The value of both arms, in the gate's own unit."""
        if self.quantile is not None:
            return state.candidate.quantile(self.quantile), state.baseline.quantile(self.quantile)
        ours, theirs = Counts(known.bad, known.requests), Counts(known.baseline_bad, known.baseline_requests)
        return self._shown(ours.rate), self._shown(theirs.rate)

    def _said(self, numbers: str, state: RateState, known: Conclusions, *, shared: bool) -> _Said:
        """The verdict; ``numbers``: the beginning of its sentence."""
        if known.beyond or shared:
            return _Said(Verdict.BREACHED, numbers)
        early = self._too_early(known)
        if early:
            return _Said(Verdict.TOO_EARLY, early)
        if known.proof >= math.log(1.0 / _BETA) and known.breach <= _UNLATCH:
            return _Said(Verdict.PROVEN, f"{numbers}; shown to be within the limit")
        seen = self._smallest_seen(known)
        distance = None if seen is None else seen - self.line.at(known.share)
        message = f"{numbers}; no harm seen, {self._would_have(seen)}"
        return _Said(Verdict.NO_HARM_SEEN, message, distance, self._unseen(seen, known.share, state))

    def _too_early(self, known: Conclusions) -> str:
        if known.requests < self.min_samples:
            return f"{known.requests:.0f} of {self.min_samples} samples of the candidate"
        if self.limit.relative and known.baseline_requests < self.min_samples:
            return f"{known.baseline_requests:.0f} of {self.min_samples} samples of the baseline"
        return ""

    def _shown(self, bad: float | None) -> float | None:
        return bad if bad is None or not self.good else 1.0 - bad

    def _bracket(self, state: RateState) -> str:
        """Where a latency's limit lies between two buckets' bounds: by which it is judged."""
        seconds = None if self.quantile is None else self._seconds(state.memory)
        if seconds is None or not state.candidate.bounds:
            return ""
        above, below = state.candidate.bound_at_or_above(seconds), state.candidate.bound_at_or_below(seconds)
        return "" if above == below else f"; judged at {words.milliseconds(above)} (next bucket)"

    def _interval(self, known: Conclusions) -> tuple[float | None, float | None, float | None]:
        """Distance beyond the limit in this step, with an interval that may be looked at at any time.

        Source: H. Robbins, Annals of Mathematical Statistics 41 (1970), the normal mixture.
        """
        s, v = known.distance, known.weight
        if v <= 0.0:
            return None, None, None
        base = self.line.at(known.share)
        odds = math.exp(max(known.shift, 1e-3) / 0.7) * base / (1.0 - base)
        rho = 2.4 / max(odds / (1.0 + odds) - base, 1e-6) ** 2
        width = math.sqrt((v + rho) * (math.log((v + rho) / rho) - 2.0 * math.log(_SHOWN_ALPHA))) / v
        return s / v, s / v - width, s / v + width

    def _smallest_seen(self, known: Conclusions) -> float | None:
        """The smallest share of bad events that would have been caught with what this step has seen."""
        floor = known.floor / self.seconds
        share = known.share if self.line.relative else self.line.at(0.0)
        event = 1.0 - share if self.good else share
        strata = max(known.strata, 1.0)
        phi_c, phi_b = (
            noise.dispersion_of_one(requests / strata, event, share, floor)
            for requests in (known.requests, known.baseline_requests)
        )
        return eprocess.smallest_seen(
            known.requests,
            known.share,
            self.line,
            alpha=self.alpha,
            ratio=known.requests / max(known.baseline_requests, 1.0),
            phi_c=phi_c,
            phi_b=phi_b,
        )

    def _would_have(self, seen: float | None) -> str:
        if seen is None:
            return "and nothing could have been"
        if self.quantile is not None:
            return f"would have seen ≥ {words.percent(seen)} of requests beyond the limit"
        return f"would have seen {'≤' if self.good else '≥'} {words.percent(self._shown(seen) or 0.0)}"

    def _unseen(self, seen: float | None, base: float, state: RateState) -> str:
        if self.must_see is None:
            return "" if seen is not None else f"{self.name} could not have seen any harm yet"
        wanted = self._line(self.must_see).at(base) if self.quantile is None else self._slow_share(state)
        if seen is not None and seen <= wanted:
            return ""
        return f"{self.name} must see {self.must_see.text}, and {self._would_have(seen)}"

    def _slow_share(self, state: RateState) -> float:
        """Share beyond the limit of a candidate whose quantile is ``mustSee``, if it is slower than the baseline by the
        same factor in every request; 1 while nothing is known of the baseline."""
        usual, limit = state.baseline.quantile(self.quantile or 0.0), self._seconds(state.memory)
        worst = self.must_see.at(usual) if self.must_see is not None else None
        if usual is None or limit is None or not worst:
            return 1.0
        share = state.baseline.share_above(limit * usual / worst)
        return 1.0 if share is None else share

    def dump(self, state: RateState) -> str:
        """The state as text."""
        if state.worked is not None:
            return state.worked.text
        return keep([state], pack_all([state.parts]))[0]

    def load(self, text: str) -> RateState:
        """The state from text; see :class:`modelrollout.gates.base.GateTest`."""
        known = _recent.get(text)
        if known is None:
            counts, (candidate, baseline, memory) = unpack(text)
            known = RateState(counts, candidate, baseline, memory)
        return known

    def learn(self, intervals: Sequence[Interval]) -> History:
        """What the baseline's past teaches: intervals of one length (not always the test's own), in order of time."""
        if not intervals:
            return History()
        length = (intervals[0].end - intervals[0].start).total_seconds()
        found = _learn(replace(self, seconds=length), intervals)
        scale = self.seconds / length
        return replace(found, requests=found.requests * scale, bad=found.bad * scale)


def _counts(
    strict: Counts | None, lenient: Counts | None, baseline: Counts | None
) -> tuple[float, float, float, float, float]:
    one = strict or Counts(0.0, 0.0)
    two = lenient or one
    base = baseline or Counts(0.0, 0.0)
    return float(one.total), float(one.bad), float(two.bad), float(base.total), float(base.bad)


def _slower(histogram: Histogram, limit: float, *, up: bool) -> Counts:
    """Requests slower than the limit: those beyond doubt (the next higher bound), or every one that may be."""
    if up:
        return histogram.slower_than(histogram.bound_at_or_above(limit)) if histogram.bounds else Counts(0.0, 0.0)
    below = histogram.bound_at_or_below(limit)
    return Counts(histogram.total, histogram.total) if below is None else histogram.slower_than(below)


def _faded(memory: Histogram, more: Histogram) -> Histogram:
    kept = Histogram(memory.bounds, tuple(count * sequential.MEMORY for count in memory.counts))
    return kept + more


def _learn(test: RateTest, intervals: Sequence[Interval]) -> History:
    whole = [_bad_of(test, interval.baseline) for interval in intervals]
    n = np.array([counts.total for counts in whole])
    x = np.array([counts.bad for counts in whole])
    fading = sequential.MEMORY ** np.arange(len(n))[::-1]
    requests, bad = float((n * fading).sum()), float((x * fading).sum())
    if len(intervals) < FEWEST_INTERVALS or requests <= 0.0:
        return History(None, False, requests, bad)
    split = _floor_from_halves(test, intervals)
    floor = noise.within_series(n, x, test.seconds, good=test.good) if split is None else split
    return History(floor, split is not None, requests, bad)


def _floor_from_halves(test: RateTest, intervals: Sequence[Interval]) -> float | None:
    halves = [one.halves for one in intervals if one.halves is not None]
    if len(halves) < len(intervals) / 2:
        return None
    first, second = ([_bad_of(test, pair[side]) for pair in halves] for side in (0, 1))
    n1, n2 = (np.array([counts.total for counts in side]) for side in (first, second))
    x1, x2 = (np.array([counts.bad for counts in side]) for side in (first, second))
    return noise.between_halves(n1, x1, n2, x2, test.seconds, good=test.good)


def _bad_of(test: RateTest, arm: object) -> Counts:
    if isinstance(arm, Counts):
        return arm
    if isinstance(arm, Histogram) and arm.bounds and test.quantile is not None:
        limit = test._seconds(arm)
        return _slower(arm, limit, up=True) if limit is not None else Counts(0.0, 0.0)
    return Counts(0.0, 0.0)
