"""The drift gate: a distribution of scores or of a feature against the baseline's, or against a fixed reference.

The usual rule "PSI above 0.2 is an alarm" fires on small samples of one and the same thing. Here a limit is breached
only when the distance is shown to lie beyond it, at whatever look, and proven only when it is shown to lie within.
Against a reference the baseline is watched as well: when it is beyond the limit too, the inputs have moved and the
candidate is not to blame (``shared``).

How the distances are bounded is in ``gates/divergence.py``, how the strata are kept in ``gates/strata.py``, and what
all this was measured to do in ``docs/drift.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from modelrollout.api.enums import Verdict
from modelrollout.api.gate import DriftMeasure
from modelrollout.api.grammar import Limit
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.buckets import Reference, cells, equal_shares, listed
from modelrollout.gates.divergence import (
    Bounds,
    ks_bounds,
    ks_design_effect,
    ks_gradient,
    psi_bounds,
    psi_design_effect,
    psi_gradient,
)
from modelrollout.gates.evidence import Arm, Histogram, Interval
from modelrollout.gates.strata import Cells, Comparison, read_numbers, write_numbers

__all__ = ["DriftState", "DriftTest"]

_MOST_BUCKETS: Final = 20
"""More are merged: a state has to stay small."""
_MERGED_TO: Final = {DriftMeasure.PSI: 10, DriftMeasure.KS: 20}
"""PSI is usually read by tenths; KS loses the distances between the edges that are left, so it keeps more."""
_PILOT_EVENTS: Final = 100.0
"""The baseline's events from which buckets are chosen when there are too many."""
_PER_BUCKET: Final = 10.0
_FEWEST_STRATA: Final = 10
_LEANING: Final = 2.0
"""Standard errors beyond the limit from which more users are not risked."""


@dataclass(frozen=True, slots=True)
class DriftState:
    """What is kept: the edges of the buckets, the events to choose them from until then, and the comparisons.

    Without a reference the candidate is compared with the baseline; with one, each is compared with the reference.
    """

    edges: tuple[float, ...] = ()
    pilot: tuple[tuple[float, float], ...] = ()
    """(upper bound, events) of the baseline's buckets that hold any."""
    candidate: Comparison | None = None
    baseline: Comparison | None = None


@dataclass(frozen=True, slots=True)
class DriftTest:
    """One drift gate. ``alpha``: probability of a false breach over all looks together; ``beta``: of a false proof.

    ``limit`` is a plain number (0.2 for PSI, 0.1 for KS). ``min_samples`` are wanted of each arm on top of the test's
    own demands: ten independent samples per bucket, and ten strata.
    """

    measure: DriftMeasure
    limit: Limit
    alpha: float
    beta: float = 0.05
    min_samples: int = 100
    reference: Reference | None = None

    def __post_init__(self) -> None:
        largest = 1.0 if self.measure is DriftMeasure.KS else math.inf
        if self.limit.relative or self.limit.seconds or not 0.0 < self.limit.offset < largest:
            raise ValueError(f'limit: "{self.limit.text}" is no distance: write a positive number like 0.2')
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0.0 < value < 0.5:
                raise ValueError(f"{name}: {value} is not a probability between 0 and 0.5")
        if self.reference is not None:
            self._merged(self.reference)

    def start(self) -> DriftState:
        """Nothing seen yet."""
        if self.reference is None:
            return DriftState()
        merged = self._merged(self.reference)
        shares = self._cells(merged.shares)
        empty = Comparison.empty(len(shares), shares)
        return DriftState(merged.bounds, (), empty, empty)

    def fold(self, state: DriftState, interval: Interval, *, judged: bool = True) -> DriftState:
        """The state after one more interval; one that is not judged is left out.

        Raises
        ------
        ValueError
            If an arm is no histogram, or the buckets are not those that are compared.
        """
        ours, theirs = _histogram(interval.candidate), _histogram(interval.baseline)
        if not judged:
            return state
        if self.reference is not None:
            candidate = self._folded(state.candidate, state.edges, ours, None)
            baseline = self._folded(state.baseline, state.edges, theirs, None)
            return replace(state, candidate=candidate, baseline=baseline)
        if theirs is None:
            return state
        if ours is not None and ours.bounds != theirs.bounds:
            raise ValueError(
                f"the candidate's buckets end at {listed(ours.bounds)}, the baseline's at {listed(theirs.bounds)}: "
                "give both revisions the same buckets"
            )
        if state.candidate is None and len(theirs.bounds) > _MOST_BUCKETS:
            return self._piloted(state, theirs)
        if state.candidate is None:
            state = self._compared_in(theirs.bounds)
        return replace(state, candidate=self._folded(state.candidate, state.edges, ours, theirs))

    def begin_step(self, state: DriftState) -> DriftState:
        """Another split begins: a stratum does not reach across."""
        cut = [one and one.cut(self._slopes) for one in (state.candidate, state.baseline)]
        return replace(state, candidate=cut[0], baseline=cut[1])

    def end_hold(self, state: DriftState) -> DriftState:
        """The same: every look is judged alike."""
        return state

    def assess(self, state: DriftState) -> Assessment:
        """The verdict; a PSI or KS that both arms show against a reference is ``shared``."""
        ours, limit = state.candidate, self.limit.offset
        waiting = self._waits_for(ours)
        found = None if ours is None or ours.samples <= 0.0 else self._bounds(ours)
        if waiting or found is None:
            return self._assessment(state, Verdict.TOO_EARLY, waiting, None if found is None else found.value)
        verdict = Verdict.NO_HARM_SEEN
        if found.low > limit:
            verdict = Verdict.BREACHED
        elif found.high < limit:
            verdict = Verdict.PROVEN
        theirs = state.baseline
        baseline = None if theirs is None or self._waits_for(theirs) else self._bounds(theirs)
        shared = verdict is Verdict.BREACHED and baseline is not None and baseline.low > limit
        return replace(
            self._assessment(state, verdict, self._message(verdict, found, baseline, shared), found.value),
            baseline=None if baseline is None else baseline.value,
            difference=found.estimate - limit,
            low=found.low - limit,
            high=found.high - limit,
            would_have_seen=found.would_have_seen if verdict is Verdict.NO_HARM_SEEN else None,
            shared=shared,
            leaning=found.estimate - limit > _LEANING * found.error,
            evidence=min(1.0, (max(found.estimate - limit, 0.0) / (found.estimate - found.low)) ** 2),
            stake=1.0 if verdict is Verdict.BREACHED else 0.0,
        )

    def dump(self, state: DriftState) -> str:
        """The state as text: kind, edges, pilot and the comparisons, between semicolons."""
        pilot = write_numbers(number for pair in state.pilot for number in pair)
        compared = ["" if one is None else one.dump() for one in (state.candidate, state.baseline)]
        return ";".join((self._kind, write_numbers(state.edges), pilot, *compared))

    def load(self, text: str) -> DriftState:
        """The state from text.

        Raises
        ------
        ValueError
            If the text is not a state of this test: of another measure, another reference, or rubbish.
        """
        fields = text.split(";")
        if len(fields) != 5 or fields[0] != self._kind:
            raise ValueError(f"the state is not one of a {self._name} gate")
        edges, pilot = read_numbers(fields[1]), read_numbers(fields[2])
        if self.reference is None:
            pairs = tuple(zip(pilot[::2], pilot[1::2], strict=True))
            if not fields[3]:
                return DriftState((), pairs)
            empty = self._compared_in(edges)
            return replace(empty, candidate=_loaded(empty.candidate, fields[3]))
        empty = self.start()
        if edges != empty.edges:
            raise ValueError("the state was made with another reference")
        candidate, baseline = _loaded(empty.candidate, fields[3]), _loaded(empty.baseline, fields[4])
        return replace(empty, candidate=candidate, baseline=baseline)

    # Folding

    def _merged(self, reference: Reference) -> Reference:
        few = len(reference.bounds) <= _MOST_BUCKETS
        return reference.merged(_MOST_BUCKETS if few else _MERGED_TO[self.measure])

    def _compared_in(self, edges: tuple[float, ...]) -> DriftState:
        if len(edges) < 2:
            raise ValueError("the histogram has a single bucket, which tells nothing apart: give it bounds")
        return DriftState(edges, (), Comparison.empty(len(self._cells(edges))))

    def _piloted(self, state: DriftState, theirs: Histogram) -> DriftState:
        """The baseline's first events, until there are enough to choose the buckets from; they are not compared."""
        seen = dict(state.pilot)
        for bound, count in zip(theirs.bounds, cells(theirs, theirs.bounds), strict=True):
            if count > 0.0:
                seen[bound] = seen.get(bound, 0.0) + count
        held = tuple(sorted(seen.items()))
        if sum(seen.values()) < _PILOT_EVENTS:
            return DriftState(pilot=held)
        if len(held) == 1:
            at = theirs.bounds.index(held[0][0])
            return self._compared_in(tuple(dict.fromkeys((*theirs.bounds[max(at - 1, 0) : at + 1], math.inf))))
        bounds, counts = zip(*held, strict=True)
        return self._compared_in(equal_shares(bounds, counts, _MERGED_TO[self.measure]))

    def _cells(self, per_bucket: Cells) -> Cells:
        """Buckets as the measure counts them: PSI each by itself, KS all up to each edge but the last."""
        return per_bucket if self.measure is DriftMeasure.PSI else tuple(accumulate(per_bucket))[:-1]

    def _folded(
        self, compared: Comparison | None, edges: tuple[float, ...], ours: Histogram | None, theirs: Histogram | None
    ) -> Comparison | None:
        """The comparison with one more interval; the same where an arm that it needs was not measured."""
        if compared is None or ours is None or (theirs is None and compared.fixed is None):
            return compared
        mine, other = cells(ours, edges), () if theirs is None else cells(theirs, edges)
        if min(*mine, *other) < 0.0:
            # The buckets were scraped apart; the next interval has what is missing here.
            return compared
        total = 0.0 if theirs is None else theirs.total
        return compared.add(self._cells(mine), ours.total, self._cells(other), total, self._slopes)

    def _slopes(self, compared: Comparison) -> tuple[Cells, Cells] | None:
        """None at first: the slopes of a few events are chance, and would stand for a variance that is not there."""
        if compared.strata < _FEWEST_STRATA or self._independent(compared) < 2.0 * self._wanted(compared):
            return None
        return psi_gradient(compared) if self.measure is DriftMeasure.PSI else ks_gradient(compared)

    # Reading

    @property
    def _name(self) -> str:
        return self.measure.value.upper()

    @property
    def _kind(self) -> str:
        return f"{self.measure.value}1"

    def _bounds(self, compared: Comparison) -> Bounds:
        bounds = psi_bounds if self.measure is DriftMeasure.PSI else ks_bounds
        return bounds(compared, self.limit.offset, self.alpha, self.beta)

    def _waits_for(self, compared: Comparison | None) -> str:
        """What is missing before anything can be said; empty when nothing is."""
        if compared is None:
            return "the baseline has no events yet"
        counts = [("candidate", int(compared.samples)), ("baseline", int(compared.their_samples))]
        for arm, count in counts if compared.fixed is None else counts[:1]:
            if count < self.min_samples:
                return f"{count} of {self.min_samples} samples of the {arm}"
        if compared.strata < _FEWEST_STRATA:
            return f"{compared.strata} of {_FEWEST_STRATA} stretches of time with enough events"
        independent, wanted = self._independent(compared), self._wanted(compared)
        return f"{int(independent)} of {wanted:g} independent samples" if independent < wanted else ""

    def _wanted(self, compared: Comparison) -> float:
        buckets = compared.size if self.measure is DriftMeasure.PSI else compared.size + 1
        return _PER_BUCKET * buckets

    def _independent(self, compared: Comparison) -> float:
        """The number of independent requests that the smaller arm is worth."""
        effect = psi_design_effect if self.measure is DriftMeasure.PSI else ks_design_effect
        return min(compared.samples, compared.effective_theirs) / effect(compared)

    def _assessment(self, state: DriftState, verdict: Verdict, message: str, value: float | None) -> Assessment:
        ours, theirs = state.candidate, state.baseline
        samples = 0.0 if ours is None else ours.samples
        their_samples = 0.0 if ours is None else ours.their_samples if theirs is None else theirs.samples
        limit = f"{self._name} at most {self.limit.text}"
        return Assessment(
            verdict, limit, message, value=value, samples=int(samples), baseline_samples=int(their_samples)
        )

    def _message(self, verdict: Verdict, found: Bounds, baseline: Bounds | None, shared: bool) -> str:
        against = "the baseline" if self.reference is None else "the reference"
        text = f"{self._name} {found.value:.3g} to {against}, limit {self.limit.text}"
        if baseline is not None:
            text += f"; the baseline's is {baseline.value:.3g}"
        if shared:
            return f"{text}: input drift, both revisions moved"
        if verdict is Verdict.BREACHED:
            return f"{text}; shown to be above it"
        if verdict is Verdict.PROVEN:
            return f"{text}; shown to be below it"
        return f"{text}; would have seen {self.limit.offset + found.would_have_seen:.3g}"


def _histogram(arm: Arm | None) -> Histogram | None:
    if arm is None or isinstance(arm, Histogram):
        return arm if arm is not None and arm.total > 0.0 else None
    raise ValueError("a drift is judged from histograms: name a histogram metric without _bucket")


def _loaded(like: Comparison | None, text: str) -> Comparison:
    if like is None:
        raise ValueError("the state holds a comparison that this gate does not make")
    return like.load(text)
