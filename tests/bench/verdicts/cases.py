"""The scenarios on which verdicts are measured: how much traffic, how noisy, and what is wrong with the candidate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from modelrollout.gates.eprocess import Line
from modelrollout.lab.scenario import (
    Blips,
    Curve,
    Diurnal,
    Effect,
    Failures,
    Metric,
    Noise,
    Scenario,
    Shared,
    Wander,
)

__all__ = ["HOUR", "INTERVAL", "RAMP", "Case", "core", "matrix"]

INTERVAL: Final = 15.0
HOUR: Final = 3600.0
RAMP: Final = ((1, "40m"), (10, "40m"), (50, "40m"))
SMOOTH: Final = Noise()
BURSTY: Final = Noise(bursty=0.5)
WANDER: Final = Noise(wander=Wander(0.9, 0.3))
SHARED: Final = Noise(shared=Shared(Wander(0.9, 0.5), Failures(2 * HOUR, 300.0, 20.0)))
BLIPS: Final = Noise(blips=Blips(1800.0, 0.5))


@dataclass(frozen=True, slots=True)
class Kind:
    """A gate, the counters that it judges, and the good events' nature."""

    gate: dict[str, Any]
    column: str
    line: Line
    good: bool = False


ERRORS: Final = Kind(
    {"name": "errors", "ratio": {"bad": "errors", "total": "requests"}, "atMost": "baseline + 0.2pp"},
    "errors",
    Line(1.0, 0.002),
)
SLOW: Final = Kind(
    {"name": "slow", "ratio": {"bad": "slow", "total": "requests"}, "atMost": "5%"}, "slow", Line(0.0, 0.05)
)
CLICKS: Final = Kind(
    {"name": "ctr", "ratio": {"good": "clicks", "total": "requests"}, "atLeast": "99% of baseline"},
    "clicks",
    Line(0.99, 0.01),
    good=True,
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the tables.

    ``share`` and ``candidate``: the counted events' share in the baseline and in a candidate (after ``at`` seconds);
    ``floor``: κ² of one interval that the oracles know. ``steps``: weights and holds. A case without harm is one whose
    candidate is within its limit.
    """

    group: str
    name: str
    kind: Kind
    rate: float
    steps: tuple[tuple[int, str], ...]
    share: float
    candidate: float
    at: float = 0.0
    noise: Noise = SMOOTH
    also: tuple[tuple[Kind, float], ...] = ()
    """Further gates, whose counters do not differ between the arms."""
    floor: float | None = 0.0
    """None where a test of the candidate alone would err: both arms go through the same shocks."""
    diurnal: float = 0.0
    gaps: float = 0.0
    lag: float = 0.0
    labels_within: str = ""
    history: float = 12 * HOUR
    length: float = 2 * HOUR
    outage: bool = False
    pressed: bool = True
    """Whether the goals hold for it: single bursts of half the requests cannot be told from the outage's beginning."""

    @property
    def harmful(self) -> bool:
        """Whether the candidate is beyond the limit."""
        baseline, candidate = self.bad(self.share), self.bad(self.candidate)
        return candidate > self.kind.line.at(baseline) + 1e-9

    def bad(self, share: float) -> float:
        """A share of counted events as a share of bad ones."""
        return 1.0 - share if self.kind.good else share

    def policy(self) -> dict[str, Any]:
        """As a manifest says it."""
        gate = dict(self.kind.gate)
        if self.labels_within:
            gate["labelsWithin"] = self.labels_within
        return {
            "warmup": "0s",
            "steps": [{"weight": weight, "hold": hold} for weight, hold in self.steps],
            "gates": [gate, *(kind.gate for kind, _ in self.also)],
        }

    def scenario(self) -> Scenario:
        """As the laboratory takes it."""
        metric = Metric(self.kind.column, Curve.level(self.share), lag=self.lag, noise=self.noise)
        more = (Metric(kind.column, Curve.level(share), noise=self.noise) for kind, share in self.also)
        effects = {}
        if self.candidate != self.share:
            effects[self.kind.column] = Effect(value=self.candidate, at=self.at)
        return Scenario(
            rate=Curve.level(self.rate),
            metrics=(metric, *more),
            diurnal=Diurnal(self.diurnal) if self.diurnal else None,
            effects=effects,
            lost=self.gaps,
            history=self.history,
            length=self.length,
        )


def margin(kind: Kind, share: float) -> float:
    """The share of counted events that lies exactly on the limit."""
    bad = kind.line.at(1.0 - share if kind.good else share)
    return 1.0 - bad if kind.good else bad


def wander_floor(wander: Wander) -> float:
    """κ² of one interval that a lasting wander has in the long run."""
    return math.expm1(wander.sigma**2) * (1.0 + wander.rho) / (1.0 - wander.rho)


def _hold(hours: float) -> str:
    return f"{round(hours * 3600)}s"


def _case(
    group: str, name: str, kind: Kind, rate: float, weight: int, share: float, candidate: float, **more: Any
) -> Case:
    length = more.get("length", 2 * HOUR)
    steps = more.pop("steps", ((weight, _hold(length / HOUR)),))
    return Case(group, name, kind, rate, steps, share, candidate, **more)


def core() -> list[Case]:
    """A few of everything, for a quick look."""
    m = margin(ERRORS, 0.01)
    cases = [
        _case("smooth", f"{rate:g} rps {w} %, A/A", ERRORS, rate, w, 0.01, 0.01)
        for rate, w in ((0.1, 50), (1, 10), (50, 10), (1000, 10), (10_000, 1))
    ]
    cases += [
        _case("smooth", f"{rate:g} rps {w} %, margin", ERRORS, rate, w, 0.01, m)
        for rate, w in ((1, 10), (50, 10), (1000, 50), (10_000, 10))
    ]
    for label, noise in (("bursty", BURSTY), ("wandering", WANDER), ("shared shocks", SHARED)):
        cases += [
            _case(label, f"{rate} rps 10 %, A/A", ERRORS, rate, 10, 0.01, 0.01, noise=noise) for rate in (50, 1000)
        ]
    for label, noise in (("bursty", BURSTY), ("wandering", WANDER)):
        cases.append(_case(label, "200 rps 10 %, margin", ERRORS, 200, 10, 0.01, m, noise=noise))
    cases += [
        _case("blips", "50 rps 10 %, A/A", ERRORS, 50, 10, 0.01, 0.01, noise=BLIPS, pressed=False),
        _case("diurnal", "50 rps 10 %, margin", ERRORS, 50, 10, 0.01, m, diurnal=0.8),
        _case("gaps", "50 rps 10 %, margin", ERRORS, 50, 10, 0.01, m, gaps=0.2, steps=((10, "2h"),), length=3 * HOUR),
        _case("no history", "50 rps 10 %, A/A", ERRORS, 50, 10, 0.01, 0.01, history=0.0),
        _case("no history", "bursty 200 rps 10 %, A/A", ERRORS, 200, 10, 0.01, 0.01, history=0.0, noise=BURSTY),
        _case("ramp", "50 rps 1→10→50 %, A/A", ERRORS, 50, 1, 0.01, 0.01, steps=RAMP),
        _case("ramp", "50 rps 1→10→50 %, margin", ERRORS, 50, 1, 0.01, m, steps=RAMP),
        _case("errors 10 %", "10 rps 10 %, A/A", ERRORS, 10, 10, 0.1, 0.1),
        _case("errors 10 %", "50 rps 10 %, A/A", ERRORS, 50, 10, 0.1, 0.1),
        _case("slow", "50 rps 10 %, on the limit", SLOW, 50, 10, 0.05, 0.05),
        _case("slow", "wandering 50 rps 10 %, on the limit", SLOW, 50, 10, 0.05, 0.05, noise=WANDER),
        _case("clicks", "1000 rps 10 %, margin", CLICKS, 1000, 10, 0.03, 0.03 * 0.99),
        _case("clicks", "bursty 1000 rps 10 %, A/A", CLICKS, 1000, 10, 0.03, 0.03, noise=BURSTY),
        _late("late labels, 30 s: 1000 rps, A/A", 1000, 30.0, "150s"),
    ]
    return cases + _harms_quick()


def _late(name: str, rate: float, lag: float, within: str) -> Case:
    steps = ((1, "40m"), (10, "40m"))
    return _case("clicks", name, CLICKS, rate, 1, 0.03, 0.03, steps=steps, lag=lag, labels_within=within)


def _harms_quick() -> list[Case]:
    burst, walk = 0.25, wander_floor(Wander(0.9, 0.3))
    return [
        _case("harm", "0.1 rps 50 %: 1→50 %", ERRORS, 0.1, 50, 0.01, 0.5, outage=True),
        _case("harm", "10 rps 10 %: 1→50 %", ERRORS, 10, 10, 0.01, 0.5, outage=True),
        _case("harm", "1 rps 10 %: 1→5 %", ERRORS, 1, 10, 0.01, 0.05),
        _case("harm", "50 rps 10 %: 1→1.5 %", ERRORS, 50, 10, 0.01, 0.015),
        _case("harm", "50 rps 10 %: 1→2 %", ERRORS, 50, 10, 0.01, 0.02),
        _case("harm", "50 rps 10 %: 1→5 %", ERRORS, 50, 10, 0.01, 0.05),
        _case("harm", "50 rps 50 %: 1→1.5 %", ERRORS, 50, 50, 0.01, 0.015),
        _case("harm", "1000 rps 10 %: 1→1.5 %", ERRORS, 1000, 10, 0.01, 0.015),
        _case("harm", "1000 rps 10 %: 1→2 %", ERRORS, 1000, 10, 0.01, 0.02),
        _case("harm", "50 rps 10 %: 0.1→0.5 %", ERRORS, 50, 10, 0.001, 0.005),
        _case("harm", "bursty 50 rps 10 %: 1→2 %", ERRORS, 50, 10, 0.01, 0.02, noise=BURSTY, floor=burst),
        _case("harm", "bursty 1000 rps 10 %: 1→2 %", ERRORS, 1000, 10, 0.01, 0.02, noise=BURSTY, floor=burst),
        _case("harm", "wandering 50 rps 10 %: 1→2 %", ERRORS, 50, 10, 0.01, 0.02, noise=WANDER, floor=walk),
        _case("harm", "wandering 1000 rps 10 %: 1→2 %", ERRORS, 1000, 10, 0.01, 0.02, noise=WANDER, floor=walk),
        _case("harm", "slow 50 rps 10 %: 4→6 %", SLOW, 50, 10, 0.04, 0.06),
        _case("harm", "slow 50 rps 10 %: 4→10 %", SLOW, 50, 10, 0.04, 0.10),
        _case("harm", "clicks 1000 rps 10 %: −10 %", CLICKS, 1000, 10, 0.03, 0.027),
        _case("harm", "clicks 50 rps 10 %: −50 %", CLICKS, 50, 10, 0.03, 0.015),
        _case("turns bad", "after 1 h, 50 rps 10 %: 1→2 %", ERRORS, 50, 10, 0.01, 0.02, at=HOUR),
        _case("turns bad", "after 1 h, 50 rps 10 %: 1→5 %", ERRORS, 50, 10, 0.01, 0.05, at=HOUR),
        _case("turns bad", "after 1 h, 1000 rps 10 %: 1→2 %", ERRORS, 1000, 10, 0.01, 0.02, at=HOUR),
    ]


def matrix() -> list[Case]:
    """Everything."""
    return [*_nulls(), *_days(), *_harms(), *_harms_in_time()]


def _nulls() -> Iterator[Case]:
    for share in (0.001, 0.01, 0.1):
        for rate in (0.1, 1.0, 10.0, 50.0, 1000.0, 10_000.0):
            for weight in (1, 10, 50):
                name = f"{rate:g} rps {weight} %, errors {share:.1%}"
                yield _case("smooth", f"{name}, A/A", ERRORS, rate, weight, share, share)
                yield _case("smooth", f"{name}, margin", ERRORS, rate, weight, share, margin(ERRORS, share))
    noises = (("bursty", BURSTY), ("wandering", WANDER), ("shared shocks", SHARED), ("blips", BLIPS))
    for group, noise in noises:
        pressed = group != "blips"
        for rate in (10.0, 50.0, 200.0, 1000.0, 10_000.0):
            aa = _case(group, f"{rate:g} rps 10 %, A/A", ERRORS, rate, 10, 0.01, 0.01, noise=noise, pressed=pressed)
            yield aa
            if group != "shared shocks":
                yield replace(aa, name=f"{rate:g} rps 10 %, margin", candidate=margin(ERRORS, 0.01))
    yield from _nulls_in_time()
    yield from _nulls_of_other_kinds()
    yield from _together()


def _nulls_in_time() -> Iterator[Case]:
    for rate in (1.0, 50.0, 1000.0):
        for label, candidate in (("A/A", 0.01), ("margin", margin(ERRORS, 0.01))):
            name = f"{rate:g} rps 10 %, {label}"
            yield _case("diurnal", name, ERRORS, rate, 10, 0.01, candidate, diurnal=0.8)
            yield _case("gaps", name, ERRORS, rate, 10, 0.01, candidate, gaps=0.2, steps=((10, "2h"),), length=3 * HOUR)
            yield _case("no history", name, ERRORS, rate, 10, 0.01, candidate, history=0.0)
            yield _case("ramp", f"{rate:g} rps 1→10→50 %, {label}", ERRORS, rate, 1, 0.01, candidate, steps=RAMP)
        for label, noise in (("bursty", BURSTY), ("wandering", WANDER), ("shared shocks", SHARED)):
            name = f"{label} {rate:g} rps"
            yield _case("ramp", f"{name} 1→10→50 %, A/A", ERRORS, rate, 1, 0.01, 0.01, steps=RAMP, noise=noise)
            yield _case("no history", f"{name} 10 %, A/A", ERRORS, rate, 10, 0.01, 0.01, history=0.0, noise=noise)


def _nulls_of_other_kinds() -> Iterator[Case]:
    for rate in (1.0, 50.0, 1000.0):
        yield _case("slow", f"{rate:g} rps 10 %, on the limit", SLOW, rate, 10, 0.05, 0.05)
        yield _case("clicks", f"{rate:g} rps 10 %, margin", CLICKS, rate, 10, 0.03, 0.0297)
        yield _case("clicks", f"{rate:g} rps 50 %, margin", CLICKS, rate, 50, 0.03, 0.0297)
        for label, noise in (("bursty", BURSTY), ("wandering", WANDER)):
            yield _case("slow", f"{label} {rate:g} rps 10 %, on the limit", SLOW, rate, 10, 0.05, 0.05, noise=noise)
            yield _case("clicks", f"{label} {rate:g} rps 10 %, A/A", CLICKS, rate, 10, 0.03, 0.03, noise=noise)
        yield _late(f"late labels, 30 s: {rate:g} rps, A/A", rate, 30.0, "150s")
        yield _late(f"late labels, 2 min: {rate:g} rps, A/A", rate, 120.0, "10m")


def _together() -> Iterator[Case]:
    """Errors, slow requests and clicks on one way up."""
    also = ((SLOW, 0.045), (CLICKS, 0.03))
    for rate in (1.0, 50.0, 1000.0):
        for label, candidate in (("A/A", 0.01), ("margin", margin(ERRORS, 0.01))):
            name = f"{rate:g} rps 1→10→50 %, {label}"
            yield _case("three gates", name, ERRORS, rate, 1, 0.01, candidate, steps=RAMP, also=also)
        for label, noise in (("bursty", BURSTY), ("wandering", WANDER), ("shared shocks", SHARED)):
            name = f"{label} {rate:g} rps 1→10→50 %, A/A"
            also_quiet = ((SLOW, 0.02), (CLICKS, 0.03)) if label == "shared shocks" else also
            yield _case("three gates", name, ERRORS, rate, 1, 0.01, 0.01, steps=RAMP, also=also_quiet, noise=noise)


def _days() -> Iterator[Case]:
    more: dict[str, Any] = {"length": 24 * HOUR}
    for label, candidate in (("A/A", 0.01), ("margin", margin(ERRORS, 0.01))):
        yield _case("24 h", f"50 rps 10 %, {label}", ERRORS, 50, 10, 0.01, candidate, **more)
        yield _case("24 h", f"diurnal 50 rps 10 %, {label}", ERRORS, 50, 10, 0.01, candidate, diurnal=0.8, **more)
    for label, noise in (("bursty", BURSTY), ("wandering", WANDER), ("shared shocks", SHARED)):
        yield _case("24 h", f"{label} 1000 rps 10 %, A/A", ERRORS, 1000, 10, 0.01, 0.01, noise=noise, **more)
    yield _case("24 h", "clicks 1000 rps 10 %, margin", CLICKS, 1000, 10, 0.03, 0.0297, **more)


def _harms() -> Iterator[Case]:
    for share in (0.001, 0.01, 0.1):
        for rate in (0.1, 1.0, 10.0, 50.0, 1000.0, 10_000.0):
            for weight in (1, 10, 50):
                for label, bad in (("×1.5", 1.5 * share), ("×2", 2 * share), ("×5", 5 * share), ("outage", 0.5)):
                    if bad <= ERRORS.line.at(share) or (bad == 0.5 and label != "outage"):
                        continue
                    name = f"{rate:g} rps {weight} %, errors {share:.1%} {label}"
                    yield _case("harm", name, ERRORS, rate, weight, share, bad, outage=label == "outage")


def _harms_in_time() -> Iterator[Case]:
    burst, walk = 0.25, wander_floor(Wander(0.9, 0.3))
    for rate in (10.0, 50.0, 1000.0):
        for times in (1.5, 2.0, 5.0):
            name, bad = f"{rate:g} rps 10 %, errors ×{times:g}", 0.01 * times
            yield _case("harm, bursty", name, ERRORS, rate, 10, 0.01, bad, noise=BURSTY, floor=burst)
            yield _case("harm, wandering", name, ERRORS, rate, 10, 0.01, bad, noise=WANDER, floor=walk)
            yield _case("harm, shared shocks", name, ERRORS, rate, 10, 0.01, bad, noise=SHARED, floor=None)
            yield _case("harm, diurnal", name, ERRORS, rate, 10, 0.01, bad, diurnal=0.8)
            yield _case(
                "harm, ramp", f"{rate:g} rps 1→10→50 %, errors ×{times:g}", ERRORS, rate, 1, 0.01, bad, steps=RAMP
            )
            yield _case("turns bad", f"after 1 h, {name}", ERRORS, rate, 10, 0.01, bad, at=HOUR)
        for fall in (0.03, 0.1, 0.5):
            name = f"{rate:g} rps 10 %, clicks −{fall:.0%}"
            yield _case("harm, clicks", name, CLICKS, rate, 10, 0.03, 0.03 * (1 - fall))
        for slow in (0.06, 0.075, 0.1, 0.5):
            name = f"{rate:g} rps 10 %, slow 4→{slow:.1%}"
            yield _case("harm, slow", name, SLOW, rate, 10, 0.04, slow)
