"""What a gate can see: the smallest harm that it would notice at this traffic, and the traffic that a wish needs. Pure.

A gate that breaches nothing says something only together with what it would have seen. The forecast is the arithmetic
of :mod:`modelrollout.gates.eprocess`: each candidate request brings so many nats against the limit, and a gate is sure
enough after so many. Nats of stretches with different weights add up, because the test is stratified.

"Seen" means here: in four of five rollouts with such a candidate, by the test that looks at every interval. The look
at the end of a step sees a little more and is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelrollout.api.grammar import format_duration
from modelrollout.gates import eprocess, words
from modelrollout.gates.eprocess import Line

__all__ = ["Forecast", "Stretch", "dispersions", "forecast", "needed", "smallest", "underpowered"]

_NO_WORSE: Final = Line(1.0, 0.0)
_TOLERATED: Final = 3.0
"""A gate without `mustSee` is called underpowered when the distance that it sees is more than so many times the one
that it allows: half an order of magnitude between what people read in the manifest and what it does."""
_TOLERATED_CHANGE: Final = 0.5
"""The same for a limit that allows nothing beyond the baseline: a change of the counted events by so much of them."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some time at one weight: requests of the candidate, and how many of them for one of the baseline (infinity: the
    baseline has none). ``phi_*``: how much more the counts vary than coin flips do, at least 1."""

    requests: float
    ratio: float
    phi_c: float = 1.0
    phi_b: float = 1.0


@dataclass(frozen=True, slots=True)
class Forecast:
    """``smallest``: the smallest share of bad events that is seen; None when not even a candidate that fails always
    is. ``needed``: candidate requests until the wanted share is seen; None without a wish or when it is not beyond the
    limit. ``to_prove``: candidate requests until a candidate just like the baseline is proven within the limit; None
    when the baseline itself is not within."""

    smallest: float | None
    needed: float | None
    to_prove: float | None


def dispersions(
    candidate: float, baseline: float, share: float, floor: float, *, good: bool = False
) -> tuple[float, float]:
    """The factors φ of both arms at so many requests per second, with a noise floor κ²·Δt in seconds.

    They do not depend on the interval's length: twice the time has twice the requests and half the relative variance.
    """
    event = 1.0 - share if good else share
    each = floor * event * event / max(share * (1.0 - share), 1e-12)
    return 1.0 + candidate * each, 1.0 + baseline * each


def forecast(
    line: Line,
    baseline: float,
    stretches: Sequence[Stretch],
    alpha: float,
    *,
    wanted: float | None = None,
    guard: bool = False,
    beta: float = 0.05,
) -> Forecast:
    """What is seen over the stretches together; what is needed is counted at the split of the first one.

    ``baseline``: its share of bad events; ``alpha``: the test's own share of false breaches; ``beta``: of false
    proofs; ``guard``: an absolute limit that counts only for a candidate that is also worse than the baseline.
    """
    seen = smallest(line, baseline, stretches, alpha, guard=guard)
    if not stretches:
        return Forecast(seen, None, None)
    first = stretches[0]
    wish = needed(line, baseline, first, alpha, wanted, guard=guard) if wanted is not None else None
    proof = None
    if baseline < line.at(baseline) and (math.isfinite(first.ratio) or not line.relative):
        proof = eprocess.needed_to_prove(_nats(line, baseline, baseline, first, guard=False), beta)
    return Forecast(seen, wish, proof)


def smallest(
    line: Line, baseline: float, stretches: Sequence[Stretch], alpha: float, *, guard: bool = False
) -> float | None:
    """The smallest share of bad events that is seen over the stretches together; None when none is."""
    enough = eprocess.needed_to_breach(1.0, alpha)

    def caught(share: float) -> bool:
        total = sum(one.requests * _nats(line, share, baseline, one, guard=guard) for one in stretches)
        return total >= enough

    low = max(line.at(baseline), baseline) if guard else line.at(baseline)
    high = 1.0 - 1e-9
    if not caught(high):
        return None
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high


def needed(
    line: Line, baseline: float, at: Stretch, alpha: float, wanted: float, *, guard: bool = False
) -> float | None:
    """Candidate requests until a candidate with the wanted share of bad events is seen, at the split of a stretch."""
    if wanted <= line.at(baseline) or (guard and wanted <= baseline):
        return None
    nats = _nats(line, wanted, baseline, at, guard=guard)
    return eprocess.needed_to_breach(nats, alpha) if nats > 0.0 else None


def _nats(line: Line, share: float, baseline: float, at: Stretch, *, guard: bool) -> float:
    """Nats that one candidate request brings; the guard must be convinced as well."""
    if not math.isfinite(at.ratio):
        return 0.0 if line.relative else eprocess.divergence(share, baseline, line, ratio=1.0, phi_c=at.phi_c)
    rest = {"ratio": at.ratio, "phi_c": at.phi_c, "phi_b": at.phi_b}
    own = eprocess.divergence(share, baseline, line, **rest)
    return min(own, eprocess.divergence(share, baseline, _NO_WORSE, **rest)) if guard else own


def underpowered(
    line: Line,
    *,
    baseline: float,
    smallest: float | None,
    wanted: float | None,
    seconds: float,
    rate: float,
    good: bool = False,
    events: str = "bad events",
) -> str:
    """A sentence when a gate cannot see in so many seconds, at so many candidate requests per second, what it should;
    empty when it can.

    ``wanted``: the share of bad events that must be seen (``mustSee``), None for a limit that stands alone; ``good``:
    people count the good events; ``events``: what they call the bad ones, like "errors".
    """
    limit = line.at(baseline)
    if smallest is not None and smallest <= (wanted if wanted is not None else _tolerable(limit, baseline, good)):
        return ""
    wish = limit if wanted is None else wanted
    when = f"in {format_duration(seconds)} at {rate:.3g} candidate requests/s"
    if good:
        cannot = f"a drop of {_drop(wish, baseline)}" if wish > baseline else "a small drop"
        can = "not even a candidate without any" if smallest is None else f"a drop of {_drop(smallest, baseline)}"
    else:
        cannot = f"{words.percent(wish)} {events}"
        can = "not even a candidate that always fails" if smallest is None else f"{words.percent(smallest)}"
    known = f"baseline {words.percent(1.0 - baseline if good else baseline)}"
    return f"this gate cannot see {cannot} {when}; it can see {can} ({known})"


def _tolerable(limit: float, baseline: float, good: bool) -> float:
    """The largest share that may go unseen without a word, when nobody said what must be seen."""
    allowed = limit - baseline
    if allowed <= 0.0:
        return max(limit, baseline) + _TOLERATED_CHANGE * (1.0 - baseline if good else baseline)
    return baseline + _TOLERATED * allowed


def _drop(share: float, baseline: float) -> str:
    """A relative drop of the good events."""
    return words.percent((share - baseline) / max(1.0 - baseline, 1e-12))
