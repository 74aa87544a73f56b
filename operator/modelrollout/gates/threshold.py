"""A plain threshold on a number that a query gave: breached when so many of the last looks were beyond the limit.

A gauge has no counts behind it, so nothing can be said of chance: such a gate cannot prove anything, and one that is
looked at for long enough will breach by chance if the number is noisy and near its limit. "3 of 5" keeps a single
spike from rolling back; it is no guarantee. Looks without a number (a scrape was missed) count as nothing at all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final

from modelrollout.api.enums import Verdict
from modelrollout.api.grammar import Limit
from modelrollout.gates.assessment import Assessment
from modelrollout.gates.evidence import Arm, Interval, Reading

__all__ = ["ThresholdState", "ThresholdTest"]

_KIND: Final = "t1"


@dataclass(frozen=True, slots=True)
class ThresholdState:
    """The last looks, oldest first: ``beyond`` holds a letter each, ``x`` beyond the limit and ``.`` within."""

    beyond: str = ""
    baseline_beyond: str = ""
    value: float | None = None
    baseline: float | None = None
    looks: int = 0


@dataclass(frozen=True, slots=True)
class ThresholdTest:
    """One gate: ``needed`` of the last ``window`` looks beyond the limit breach it; no harm is said to be unseen before
    ``min_looks``."""

    limit: Limit
    at_least: bool = False
    needed: int = 3
    window: int = 5
    min_looks: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= self.window:
            raise ValueError(f'for: "{self.needed} of {self.window}" cannot be: write it like "3 of 5"')

    @classmethod
    def read(cls, limit: Limit, looks: str, *, at_least: bool = False, min_looks: int = 1) -> ThresholdTest:
        """From a manifest, where ``for`` is like "3 of 5".

        Raises
        ------
        ValueError
            If it is not.
        """
        found = re.fullmatch(r"([0-9]{1,2}) of ([0-9]{1,2})", looks)
        if not found:
            raise ValueError(f'for: "{looks}" is not a number of looks: write it like "3 of 5"')
        return cls(limit, at_least, int(found.group(1)), int(found.group(2)), min_looks)

    def start(self) -> ThresholdState:
        """No look yet."""
        return ThresholdState()

    def fold(self, state: ThresholdState, interval: Interval, *, judged: bool = True) -> ThresholdState:
        """The state after one more look; one without a number, or not judged, leaves it as it is.

        Raises
        ------
        ValueError
            If an arm holds counts instead of a number.
        """
        value, baseline = _number(interval.candidate), _number(interval.baseline)
        at = self.limit.at(baseline)
        if not judged or value is None or at is None:
            return state
        theirs = state.baseline_beyond
        if baseline is not None and not self.limit.relative:
            theirs = self._shifted(theirs, self._is_beyond(baseline, at))
        ours = self._shifted(state.beyond, self._is_beyond(value, at))
        return ThresholdState(ours, theirs, value, baseline, state.looks + 1)

    def begin_step(self, state: ThresholdState) -> ThresholdState:
        """The looks at another weight say nothing of this one; what they gave stays to be read."""
        return replace(state, beyond="", baseline_beyond="")

    def end_hold(self, state: ThresholdState) -> ThresholdState:
        """The same: every look is judged alike."""
        return state

    def assess(self, state: ThresholdState) -> Assessment:
        """The verdict; never Proven. ``shared`` when the baseline breaks an absolute limit just as often."""
        beyond, looks = state.beyond.count("x"), len(state.beyond)
        verdict = Verdict.NO_HARM_SEEN
        if beyond >= self.needed:
            verdict = Verdict.BREACHED
        elif looks < self.window or state.looks < self.min_looks:
            verdict = Verdict.TOO_EARLY
        at = self.limit.at(state.baseline)
        return Assessment(
            verdict,
            f"at {'least' if self.at_least else 'most'} {self.limit.text}",
            self._message(state, verdict, at),
            value=state.value,
            baseline=state.baseline,
            difference=None if state.value is None or at is None else self._excess(state.value, at),
            samples=state.looks,
            baseline_samples=0 if state.baseline is None else state.looks,
            shared=verdict is Verdict.BREACHED and state.baseline_beyond.count("x") >= self.needed,
            leaning=state.beyond.endswith("x"),
            evidence=min(1.0, beyond / self.needed),
            stake=1.0 if verdict is Verdict.BREACHED else 0.0,
        )

    def dump(self, state: ThresholdState) -> str:
        """The state as text: ``t1;x..x.;.....;0.93;0.95;41``."""
        numbers = ["" if number is None else repr(number) for number in (state.value, state.baseline)]
        return ";".join((_KIND, state.beyond, state.baseline_beyond, *numbers, str(state.looks)))

    def load(self, text: str) -> ThresholdState:
        """The state from text; a window that was made shorter keeps its last looks.

        Raises
        ------
        ValueError
            If the text is not the state of a plain threshold.
        """
        fields = text.split(";")
        if len(fields) != 6 or fields[0] != _KIND or not re.fullmatch("[x.]*", fields[1] + fields[2]):
            raise ValueError("the state is not one of a plain threshold")
        value, baseline = (float(field) if field else None for field in fields[3:5])
        beyond, theirs = fields[1][-self.window :], fields[2][-self.window :]
        return ThresholdState(beyond, theirs, value, baseline, int(fields[5]))

    def _excess(self, value: float, at: float) -> float:
        """How far beyond the limit, in the number's own unit; negative within."""
        return at - value if self.at_least else value - at

    def _is_beyond(self, value: float, at: float) -> bool:
        return self._excess(value, at) > 0.0

    def _shifted(self, looks: str, beyond: bool) -> str:
        return (looks + ("x" if beyond else "."))[-self.window :]

    def _message(self, state: ThresholdState, verdict: Verdict, at: float | None) -> str:
        if state.value is None or at is None:
            return "the query gave no number yet"
        beside = f", {at:.4g} now" if self.limit.relative else ""
        way = "least" if self.at_least else "most"
        text = f"{state.value:.4g} (at {way} {self.limit.text}{beside}): "
        text += f"{state.beyond.count('x')} of the last {len(state.beyond)} looks beyond it"
        if verdict is Verdict.TOO_EARLY:
            return f"{text}, {max(self.window - len(state.beyond), self.min_looks - state.looks)} more to come"
        return text if verdict is Verdict.BREACHED else f"{text}; a plain threshold proves nothing"


def _number(arm: Arm | None) -> float | None:
    """A number, or None where there is none: no arm, not a number, or infinite."""
    if arm is None:
        return None
    if not isinstance(arm, Reading):
        raise ValueError("a plain threshold is judged from one number per look: give a query that yields one")
    return arm.value if math.isfinite(arm.value) else None
