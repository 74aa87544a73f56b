"""What every kind of gate can do, so that the engine need not know which kind it has before it.

A test is a frozen value: what the gate says, compiled. Its state is plain data of fixed size, changed only by folding
in one interval after the other, and written to status as one short string that reads back exactly.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from modelrollout.gates.assessment import Assessment
from modelrollout.gates.evidence import Interval

__all__ = ["GateTest"]

S = TypeVar("S")


class GateTest(Protocol[S]):
    """One gate's test; ``S`` is its state."""

    def start(self) -> S:
        """A state before the first interval."""
        ...

    def fold(self, state: S, interval: Interval, *, judged: bool = True) -> S:
        """The state after one more interval; one that is not judged (warm-up) teaches about the baseline at most."""
        ...

    def begin_step(self, state: S) -> S:
        """Another weight begins: counts of different splits are never mixed."""
        ...

    def end_hold(self, state: S) -> S:
        """The step's hold is over: the time for a planned look."""
        ...

    def assess(self, state: S) -> Assessment:
        """The verdict, with the numbers that it rests on."""
        ...

    def dump(self, state: S) -> str:
        """The state as text for status."""
        ...

    def load(self, text: str) -> S:
        """The state from text.

        Raises
        ------
        ValueError
            If the text is not a state of this kind of test.
        """
        ...
