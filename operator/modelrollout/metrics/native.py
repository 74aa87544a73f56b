"""Native histograms: exact differences and sums, and cumulative counts at chosen bounds. Pure.

A native histogram's bucket ``i`` holds what is above ``2^((i-1)/2^schema)`` and at most ``2^(i/2^schema)``; around zero
there is one bucket of its own. Every schema's bounds are among those of the next finer one, so a resolution that was
reduced is met by reducing the other side likewise, without any error. Histograms with custom bounds have just these.

Source: Prometheus, "Native histograms" specification (schemas, zero bucket, resolution reduction) and the HTTP API's
format of a histogram: ``[boundary rule, lower, upper, count]``, buckets that are empty left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Final, TypeVar

from modelrollout.gates.evidence import Histogram

__all__ = ["Native", "bounds_around", "bounds_everywhere", "cumulative", "parse_native", "total"]

_K = TypeVar("_K")
_COARSEST: Final = -4
_FINEST: Final = 8
_NEAR: Final = 1e-6
_OCTAVES: Final = (-14, 20)
"""From 0.06 ms to 12 days in seconds or milliseconds; what is beyond lies in the outermost buckets."""
_DISPLAY_OCTAVES: Final = 3
_DISPLAY_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Native:
    """Counts of a native histogram since its process began, or in an interval.

    ``positive[i]`` and ``negative[i]`` are bucket ``i`` of the schema; with custom bounds (schema None) ``custom`` is
    by (lower, upper).
    """

    count: float = 0.0
    schema: int | None = _FINEST
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Mapping[int, float] = field(default_factory=dict)
    negative: Mapping[int, float] = field(default_factory=dict)
    custom: Mapping[tuple[float, float], float] = field(default_factory=dict)

    def since(self, before: Native) -> Native:
        """What was added; everything, if the process began anew in between (some count fell)."""
        if (self.schema is None) != (before.schema is None):
            return self
        mine, earlier = _alike(self, before)
        pairs = [*_pairs(mine.positive, earlier.positive), *_pairs(mine.negative, earlier.negative)]
        pairs += [*_pairs(mine.custom, earlier.custom), (mine.zero_count, earlier.zero_count)]
        if mine.count < earlier.count or any(now < then for now, then in pairs):
            return self
        return _combined(mine, earlier, -1.0)

    def __add__(self, other: Native) -> Native:
        if self.count == 0.0 or other.count == 0.0:
            return other if self.count == 0.0 else self
        if (self.schema is None) != (other.schema is None):
            raise ValueError("one pod has a native histogram with custom bounds and one without: give both the same")
        return _combined(*_alike(self, other), 1.0)

    def reduced(self, schema: int) -> Native:
        """The same at a coarser resolution."""
        if self.schema is None or schema >= self.schema:
            return self
        positive, negative = (_coarser(some, self.schema - schema) for some in (self.positive, self.negative))
        return replace(self, schema=schema, positive=positive, negative=negative)

    def widened(self, threshold: float) -> Native:
        """The same with a zero bucket that reaches further."""
        if self.schema is None or threshold <= self.zero_threshold:
            return self
        moved = 0.0
        kept: list[dict[int, float]] = []
        for some in (self.positive, self.negative):
            inside = {i for i in some if _bound(i, self.schema) <= threshold * (1.0 + _NEAR)}
            moved += sum(some[i] for i in inside)
            kept.append({i: count for i, count in some.items() if i not in inside})
        return replace(
            self,
            zero_threshold=threshold,
            zero_count=self.zero_count + moved,
            positive=kept[0],
            negative=kept[1],
        )


def _alike(a: Native, b: Native) -> tuple[Native, Native]:
    threshold = max(a.zero_threshold, b.zero_threshold)
    schema = min(a.schema, b.schema) if a.schema is not None and b.schema is not None else _FINEST
    return a.reduced(schema).widened(threshold), b.reduced(schema).widened(threshold)


def _pairs(now: Mapping[_K, float], then: Mapping[_K, float]) -> list[tuple[float, float]]:
    return [(now.get(key, 0.0), count) for key, count in then.items()]


def _combined(a: Native, b: Native, sign: float) -> Native:
    def together(x: Mapping[_K, float], y: Mapping[_K, float]) -> dict[_K, float]:
        sums = {key: x.get(key, 0.0) + sign * y.get(key, 0.0) for key in {**x, **y}}
        return {key: count for key, count in sums.items() if count}

    return replace(
        a,
        count=a.count + sign * b.count,
        zero_count=a.zero_count + sign * b.zero_count,
        positive=together(a.positive, b.positive),
        negative=together(a.negative, b.negative),
        custom={key: a.custom.get(key, 0.0) + sign * b.custom.get(key, 0.0) for key in {**a.custom, **b.custom}},
    )


def _coarser(some: Mapping[int, float], by: int) -> dict[int, float]:
    found: dict[int, float] = {}
    for i, count in some.items():
        wider = ((i - 1) >> by) + 1
        found[wider] = found.get(wider, 0.0) + count
    return found


def _bound(index: int, schema: int) -> float:
    return float(2.0 ** (index / 2.0**schema))


def parse_native(histogram: Mapping[str, Any]) -> Native:
    """Read the API's ``histogram`` of a sample.

    Raises
    ------
    ValueError
        If a number in it cannot be read.
    """
    rows = [(int(rule), float(low), float(high), float(n)) for rule, low, high, n in histogram.get("buckets") or []]
    count = float(histogram["count"])
    schema = _schema([(low, high) for _, low, high, _ in rows])
    if schema is None:
        return Native(count, None, custom={(low, high): n for _, low, high, n in rows})
    threshold, zero = 0.0, 0.0
    positive: dict[int, float] = {}
    negative: dict[int, float] = {}
    for _, low, high, n in rows:
        if low <= 0.0 <= high:
            threshold, zero = high, n
        elif low > 0.0:
            positive[_index(high, schema)] = n
        else:
            negative[_index(-low, schema)] = n
    return Native(count, schema, threshold, zero, positive, negative)


def _index(bound: float, schema: int) -> int:
    return round(math.log2(bound) * 2.0**schema)


def _schema(buckets: Sequence[tuple[float, float]]) -> int | None:
    """The resolution that the buckets' bounds tell; None when they are no powers of one base."""
    found: int | None = _FINEST
    for low, high in buckets:
        small, large = sorted((abs(low), abs(high)))
        if low <= 0.0 <= high and -low == high:
            continue  # the zero bucket
        if small == 0.0 or not math.isfinite(large):
            return None
        octaves = math.log2(large) - math.log2(small)
        schema = round(-math.log2(octaves))
        steps = math.log2(large) * 2.0**schema
        if abs(octaves * 2.0**schema - 1.0) > _NEAR or abs(steps - round(steps)) > _NEAR * max(1.0, abs(steps)):
            return None
        found = schema
    return found


def bounds_around(limit: float, some: Sequence[Native]) -> tuple[float, ...]:
    """Bounds at which the share beyond a limit can be told: the two around it at every resolution from the coarsest
    that was seen down, and a few for display. They do not depend on what is in the buckets, so those of one interval
    are those of the next."""
    if any(one.schema is None for one in some):
        return _custom_bounds(some)
    schema = min((one.schema for one in some if one.schema is not None), default=0)
    found: set[float] = set()
    for coarser in range(_COARSEST, schema + 1):
        exact = math.log2(limit) * 2.0**coarser
        near = round(exact) if abs(exact - round(exact)) < _NEAR else None
        found |= {_bound(math.floor(exact) if near is None else near, coarser)}
        found |= {_bound(math.ceil(exact) if near is None else near, coarser)}
    shown = min(schema, _DISPLAY_SCHEMA)
    middle, reach = round(math.log2(limit) * 2.0**shown), round(_DISPLAY_OCTAVES * 2.0**shown)
    return tuple(sorted(found | {_bound(i, shown) for i in range(middle - reach, middle + reach + 1)}))


def bounds_everywhere(some: Sequence[Native], finest: int) -> tuple[float, ...]:
    """Bounds over the whole range, at most at the resolution ``finest``, the same whatever is in the buckets."""
    if any(one.schema is None for one in some):
        return _custom_bounds(some)
    schema = min((one.schema for one in some if one.schema is not None), default=finest)
    schema = min(schema, finest)
    low, high = (math.ceil(octave * 2.0**schema) for octave in _OCTAVES)
    above = [_bound(i, schema) for i in range(low, high + 1)]
    below = [-bound for bound in reversed(above)] if any(one.negative for one in some) else []
    return (*below, *above)


def _custom_bounds(some: Sequence[Native]) -> tuple[float, ...]:
    ends = {end for one in some for pair in one.custom for end in pair}
    return tuple(sorted(end for end in ends if math.isfinite(end)))


def cumulative(native: Native, bounds: Sequence[float], unit: float = 1.0) -> Histogram:
    """Counts at most as large as each bound, then all; ``unit``: seconds per unit of a bound.

    A bound that lies inside a bucket with anything in it has no exact count and is left out.
    """
    cells = _cells(native)
    inside = [bound for bound in bounds if not any(_straddles(low, high, bound) and n for low, high, n in cells)]
    counts = [sum(n for _, high, n in cells if high <= bound * (1.0 + _NEAR * (bound > 0))) for bound in inside]
    return Histogram((*(bound * unit for bound in inside), math.inf), (*counts, native.count))


def _straddles(low: float, high: float, bound: float) -> bool:
    slack = abs(bound) * _NEAR
    return low < bound - slack and high > bound + slack


def _cells(native: Native) -> list[tuple[float, float, float]]:
    if native.schema is None:
        return [(low, high, n) for (low, high), n in native.custom.items()]
    schema, threshold = native.schema, native.zero_threshold
    above = [(_bound(i - 1, schema), _bound(i, schema), n) for i, n in native.positive.items()]
    below = [(-_bound(i, schema), -_bound(i - 1, schema), n) for i, n in native.negative.items()]
    return [*below, (-threshold, threshold, native.zero_count), *above]


def total(some: Sequence[Native]) -> Native:
    """The sum of several."""
    return reduce(lambda a, b: a + b, some, Native())
