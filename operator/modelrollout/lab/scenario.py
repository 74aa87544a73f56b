"""Traffic as a person describes it: how much, how good, what is wrong with the candidate, and how noisy it all is.

The format is in ``docs/scenarios.md``. Everything is checked on reading: an error names the field, the value and the
remedy. Times are seconds from the candidate's first request; shares are between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

from modelrollout.api.grammar import parse_duration

__all__ = ["Blips", "Curve", "Effect", "Latency", "Metric", "Noise", "Scenario", "Shared", "Wander", "find_scenario"]

DAY: Final = 86_400.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Curve:
    """A value over time: straight lines between points, level before the first and after the last."""

    times: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def level(cls, value: float) -> Curve:
        """Always the same."""
        return cls((0.0,), (value,))


@dataclass(frozen=True, slots=True)
class Diurnal:
    """Traffic times ``1 + amplitude · sin(2π (t - phase) / period)``."""

    amplitude: float
    period: float = DAY
    phase: float = 0.0


@dataclass(frozen=True, slots=True)
class Effect:
    """What is different about the candidate: its share (or time) is ``value``, or the baseline's ``times`` and
    ``plus``; from ``at`` on, after growing for ``ramp``, and until ``until``."""

    value: float | None = None
    times: float = 1.0
    plus: float = 0.0
    at: float = 0.0
    ramp: float = 0.0
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class Wander:
    """The logarithm of a share follows an AR(1) process: ``rho`` from one interval to the next, ``sigma`` its standard
    deviation."""

    rho: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Failures:
    """Every now and then (a Poisson process with this mean distance) shares are multiplied for a while."""

    every: float
    lasts: float
    times: float


@dataclass(frozen=True, slots=True)
class Shared:
    """What hits both arms at once."""

    wander: Wander | None = None
    failures: Failures | None = None


@dataclass(frozen=True, slots=True)
class Blips:
    """Single intervals of one arm in which a share is this high, on average so often."""

    every: float
    share: float


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes counts vary more than coin flips do. ``bursty``: coefficient of variation of a share from interval to
    interval, each arm by itself."""

    bursty: float = 0.0
    wander: Wander | None = None
    shared: Shared = Shared()
    blips: Blips | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A counter of events that are a share of another's. ``lag``: mean delay of an event in seconds."""

    name: str
    share: Curve
    total: str = "requests"
    lag: float = 0.0
    noise: Noise = Noise()


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram of log-normal times, in seconds."""

    name: str
    median: float
    p95: float
    buckets: tuple[float, ...]
    total: str = "requests"
    noise: Noise = Noise()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic of both arms. ``rate``: requests per second, both together; ``gaps``: pairs of (begin, end) without
    metrics; ``lost``: share of intervals without metrics; ``history``: seconds of the baseline before the candidate;
    ``length``: how
    long traffic goes on at most; None for as long as whoever asks wants it."""

    rate: Curve
    metrics: tuple[Metric, ...]
    latencies: tuple[Latency, ...] = ()
    diurnal: Diurnal | None = None
    effects: Mapping[str, Effect] | None = None
    gaps: tuple[tuple[float, float], ...] = ()
    lost: float = 0.0
    history: float = 43_200.0
    length: float | None = None

    @property
    def has_effect(self) -> bool:
        """Whether the candidate differs from the baseline."""
        return bool(self.effects)


def find_scenario(documents: Sequence[Mapping[str, Any]]) -> Scenario:
    """The scenario among some documents: the one with ``metrics`` or ``latencies`` and without a ``kind``.

    Raises
    ------
    ValueError
        If there is none, more than one, or one that is wrong.
    """
    found = [one for one in documents if ("metrics" in one or "latencies" in one) and "kind" not in one]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} scenarios: give one mapping with traffic and metrics, in the same file as the policy or in "
            "a second one (see docs/scenarios.md)"
        )
    return _scenario(_Fields("", found[0]))


def _scenario(fields: _Fields) -> Scenario:
    noise = fields.nested("noise", _noise) or Noise()
    rate, diurnal = fields.required("traffic", _traffic)
    metrics = tuple(fields.each("metrics", lambda name, path, given: _metric(name, path, given, noise)))
    latencies = tuple(fields.each("latencies", lambda name, path, given: _latency(name, path, given, noise)))
    effects = dict(fields.each("candidate", lambda name, path, given: (name, _effect(path, given))))
    known = {one.name for one in metrics} | {one.name for one in latencies}
    for name in effects:
        if name not in known:
            raise ValueError(f"candidate.{name}: no such metric: there are {', '.join(sorted(known))}")
    for latency in latencies:
        effect = effects.get(latency.name)
        if effect is not None and (effect.value is not None or effect.plus):
            raise ValueError(f"candidate.{latency.name}: times can only be multiplied: write {{times: 1.5}}")
    found = Scenario(
        rate=rate,
        diurnal=diurnal,
        metrics=metrics,
        latencies=latencies,
        effects=effects,
        gaps=tuple(fields.listed("gaps", _gap)),
        lost=fields.optional("lost", _share, 0.0),
        history=fields.optional("history", _duration, 43_200.0),
        length=fields.optional("length", _some_time, None),
    )
    fields.nothing_else()
    return found


def _traffic(path: str, given: Any) -> tuple[Curve, Diurnal | None]:
    if not isinstance(given, dict):
        return _curve(_positive)(path, given), None
    fields = _Fields(path, given)
    rate = fields.required("rate", _curve(_positive))
    diurnal = fields.nested("diurnal", _diurnal)
    fields.nothing_else()
    return rate, diurnal


def _diurnal(fields: _Fields) -> Diurnal:
    return Diurnal(
        fields.required("amplitude", _share),
        fields.optional("period", _some_time, DAY),
        fields.optional("phase", _duration, 0.0),
    )


def _metric(name: str, path: str, given: Any, noise: Noise) -> Metric:
    if not isinstance(given, dict):
        return Metric(name, _curve(_share)(path, given), noise=noise)
    fields = _Fields(path, given)
    found = Metric(
        name,
        fields.required("share", _curve(_share)),
        fields.optional("of", _name, "requests"),
        fields.optional("lag", _duration, 0.0),
        fields.nested("noise", _noise) or noise,
    )
    fields.nothing_else()
    if found.total == name:
        raise ValueError(f"{path}.of: {name} cannot be a share of itself: name another counter, like requests")
    return found


def _latency(name: str, path: str, given: Any, noise: Noise) -> Latency:
    fields = _Fields(path, given)
    found = Latency(
        name,
        fields.required("median", _some_time),
        fields.required("p95", _some_time),
        tuple(sorted(fields.listed("buckets", _some_time))),
        fields.optional("of", _name, "requests"),
        fields.nested("noise", _noise) or noise,
    )
    fields.nothing_else()
    if found.p95 <= found.median:
        raise ValueError(f"{path}.p95: {found.p95:g}s is not above the median {found.median:g}s: give a longer time")
    if not found.buckets:
        raise ValueError(f"{path}.buckets: none: give the bounds of the histogram, like [50ms, 100ms, 200ms, 400ms]")
    return found


def _effect(path: str, given: Any) -> Effect:
    if not isinstance(given, dict):
        return Effect(value=_share(path, given))
    fields = _Fields(path, given)
    value = fields.optional("value", _share, None)
    times, plus = fields.optional("times", _positive, None), fields.optional("plus", _points, None)
    if sum(one is not None for one in (value, times, plus)) != 1:
        raise ValueError(f"{path}: say how the candidate differs: give exactly one of value, times, plus")
    found = Effect(
        value,
        1.0 if times is None else times,
        0.0 if plus is None else plus,
        fields.optional("at", _duration, 0.0),
        fields.optional("ramp", _duration, 0.0),
        fields.optional("until", _duration, float("inf")),
    )
    fields.nothing_else()
    return found


def _noise(fields: _Fields) -> Noise:
    def bursty(inside: _Fields) -> float:
        return inside.required("cv", _positive)

    return Noise(
        fields.nested("bursty", bursty) or 0.0,
        fields.nested("wander", _wander),
        fields.nested("shared", _shared) or Shared(),
        fields.nested("blips", _blips),
    )


def _wander(fields: _Fields) -> Wander:
    return Wander(fields.required("rho", _correlation), fields.required("sigma", _positive))


def _shared(fields: _Fields) -> Shared:
    failures = fields.nested("failures", _failures)
    rho, sigma = fields.optional("rho", _correlation, None), fields.optional("sigma", _positive, None)
    if (rho is None) != (sigma is None):
        raise ValueError(f"{fields.path}: give rho and sigma together, or neither")
    return Shared(None if rho is None or sigma is None else Wander(rho, sigma), failures)


def _failures(fields: _Fields) -> Failures:
    return Failures(
        fields.required("every", _some_time), fields.required("for", _some_time), fields.required("times", _positive)
    )


def _blips(fields: _Fields) -> Blips:
    return Blips(fields.required("every", _some_time), fields.required("share", _share))


def _gap(path: str, given: Any) -> tuple[float, float]:
    fields = _Fields(path, given)
    at, lasts = fields.required("at", _duration), fields.required("for", _some_time)
    fields.nothing_else()
    return at, at + lasts


class _Fields:
    """The fields of a mapping, each asked for once, so that slips of the pen are found."""

    def __init__(self, path: str, given: Any) -> None:
        if not isinstance(given, dict):
            raise ValueError(f"{path}: {given!r} is not a mapping: write it like {{field: value}}")
        self.path, self._given, self._known = path, given, set[str]()

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def required(self, name: str, read: Callable[[str, Any], T]) -> T:
        """A field that must be there."""
        if name not in self._given:
            raise ValueError(f"{self._at(name)}: missing: give it (see docs/scenarios.md)")
        self._known.add(name)
        return read(self._at(name), self._given[name])

    def optional(self, name: str, read: Callable[[str, Any], Any], default: T) -> T:
        """A field that may be left out."""
        self._known.add(name)
        found: T = read(self._at(name), self._given[name]) if name in self._given else default
        return found

    def nested(self, name: str, read: Callable[[_Fields], T]) -> T | None:
        """A mapping that may be left out."""
        self._known.add(name)
        if name not in self._given:
            return None
        inside = _Fields(self._at(name), self._given[name])
        found = read(inside)
        inside.nothing_else()
        return found

    def each(self, name: str, read: Callable[[str, str, Any], T]) -> list[T]:
        """A mapping from names of metrics."""
        self._known.add(name)
        given = self._given.get(name) or {}
        if not isinstance(given, dict):
            raise ValueError(f"{self._at(name)}: {given!r} is not a mapping: write it like {{errors: 1%}}")
        return [read(str(key), f"{self._at(name)}.{key}", value) for key, value in given.items()]

    def listed(self, name: str, read: Callable[[str, Any], T]) -> list[T]:
        """A list that may be left out."""
        self._known.add(name)
        given = self._given.get(name, [])
        if not isinstance(given, list):
            raise ValueError(f"{self._at(name)}: {given!r} is not a list: write it like [a, b]")
        return [read(f"{self._at(name)}[{i}]", one) for i, one in enumerate(given)]

    def nothing_else(self) -> None:
        """Refuse what nobody asked for."""
        unknown = sorted(str(name) for name in self._given if name not in self._known)
        if unknown:
            raise ValueError(f"{self._at(unknown[0])}: no such field: there are {', '.join(sorted(self._known))}")


def _number(path: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"{path}: {given!r} is not a number: write it like 50 or 0.5")
    return float(given)


def _positive(path: str, given: Any) -> float:
    value = _number(path, given)
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"{path}: {given} is below zero or infinite: give a number from 0 up")
    return value


def _correlation(path: str, given: Any) -> float:
    value = _number(path, given)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{path}: {given} is no correlation of a lasting process: give a number from 0 to below 1")
    return value


def _percentage(path: str, given: Any, unit: str) -> float:
    text = given.strip() if isinstance(given, str) else ""
    if text.endswith(unit):
        try:
            return float(text[: -len(unit)]) / 100.0
        except ValueError:
            pass
    if isinstance(given, str):
        raise ValueError(f'{path}: "{given}" cannot be read: write it like 5{unit}')
    return _number(path, given)


def _share(path: str, given: Any) -> float:
    value = _percentage(path, given, "%")
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{path}: {given} is not a share: give 0% to 100%, or 0 to 1")
    return value


def _points(path: str, given: Any) -> float:
    return _percentage(path, given, "pp")


def _duration(path: str, given: Any) -> float:
    if given == 0:
        return 0.0
    try:
        return parse_duration(str(given)).total_seconds()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _some_time(path: str, given: Any) -> float:
    value = _duration(path, given)
    if value <= 0.0:
        raise ValueError(f"{path}: {given} is no time: give more than zero, like 30s")
    return value


def _name(path: str, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise ValueError(f"{path}: {given!r} is not a name: name a counter, like requests")
    return given


def _curve(read: Callable[[str, Any], float]) -> Callable[[str, Any], Curve]:
    """A value, or points ``[[0h, 20], [6h, 80]]``."""

    def curve(path: str, given: Any) -> Curve:
        if not isinstance(given, list):
            return Curve.level(read(path, given))
        points = []
        for i, point in enumerate(given):
            if not isinstance(point, list) or len(point) != 2:
                raise ValueError(f"{path}[{i}]: {point!r} is not a point: write [time, value], like [2h, 50]")
            points.append((_duration(f"{path}[{i}][0]", point[0]), read(f"{path}[{i}][1]", point[1])))
        times = tuple(time for time, _ in points)
        if not points or any(a >= b for a, b in pairwise(times)):
            raise ValueError(f"{path}: the times of the points must rise, and there must be one at least")
        return Curve(times, tuple(value for _, value in points))

    return curve
