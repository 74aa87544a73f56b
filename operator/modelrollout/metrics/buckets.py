"""Classic histograms: which buckets to read, and what they add up to. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from modelrollout.api.gate import TimeUnit
from modelrollout.gates.evidence import Histogram

__all__ = ["around", "bounds_text", "histogram", "le_matcher", "note_on_limit", "seconds_per_unit"]

_SHOWN_BELOW: Final = 4
_SHOWN_ABOVE: Final = 3
"""One bound on each side of the limit is judged; the others let people see where the quantile lies."""
_SHOWN_IN_NOTE: Final = 6
_SAME: Final = 1e-9
_SECONDS: Final = {TimeUnit.SECONDS: 1.0, TimeUnit.MILLISECONDS: 1e-3, TimeUnit.MICROSECONDS: 1e-6}


def seconds_per_unit(histogram_name: str, said: TimeUnit | None = None) -> float:
    """The unit of a histogram: what the gate says, else by its name: seconds, unless the name says otherwise or it is
    one of Envoy's.

    Sources: Prometheus' naming practices; Envoy's statistics ("upstream_rq_time … milliseconds"); Istio's
    ``istio_request_duration_milliseconds``.
    """
    if said is not None:
        return _SECONDS[said]
    if histogram_name.endswith(("_microseconds", "_us")):
        return 1e-6
    envoy = histogram_name.startswith("envoy_") and histogram_name.endswith(("_time", "_length_ms"))
    return 0.001 if envoy or histogram_name.endswith(("_milliseconds", "_ms", "_millis")) else 1.0


def histogram(by_bound: Mapping[str, float], unit: float = 1.0) -> Histogram:
    """The increments of a classic histogram; cumulative, ordered by bound. ``unit``: seconds per unit of a bound."""
    bounds, parts = _ordered(tuple(by_bound), unit)
    counts = list(by_bound.values())
    return Histogram(bounds, tuple([sum([counts[number] for number in those]) for those in parts]))


@lru_cache(maxsize=1_024)
def _ordered(written: tuple[str, ...], unit: float) -> tuple[tuple[float, ...], tuple[tuple[int, ...], ...]]:
    """The bounds in order, once for all histograms that have them; and of each, where among those as written it is:
    "1" and "1.0" are the same."""
    places: dict[float, list[int]] = {}
    for number, le in enumerate(written):
        if le:
            places.setdefault(float(le) * unit, []).append(number)
    return tuple(sorted(places)), tuple(tuple(places[bound]) for bound in sorted(places))


def around(bounds: Iterable[str], limit: float, unit: float) -> tuple[str, ...]:
    """The bounds (as written) that a limit in seconds needs: the nearest on both sides, a few more, and infinity."""
    by_value: dict[float, list[str]] = {}
    for le in bounds:
        by_value.setdefault(float(le) * unit, []).append(le)
    finite = sorted(value for value in by_value if math.isfinite(value))
    below = [value for value in finite if value <= limit * (1.0 + _SAME)][-_SHOWN_BELOW:]
    above = [value for value in finite if value > limit * (1.0 + _SAME)][:_SHOWN_ABOVE]
    return tuple(sorted(le for value in (*below, *above, math.inf) for le in by_value.get(value, [])))


def le_matcher(bounds: Iterable[str]) -> str:
    """The matcher that takes these buckets alone."""
    inside = "|".join(re.escape(le) for le in sorted(bounds))
    return 'le=~"' + inside.replace("\\", "\\\\") + '"'


def bounds_text(bounds: Iterable[float], *, seconds: bool = True) -> str:
    """Finite bounds for people."""
    return ", ".join(_show(bound) if seconds else f"{bound:g}" for bound in bounds if math.isfinite(bound)) or "none"


def _show(seconds: float) -> str:
    return f"{seconds * 1000:.4g}ms" if seconds < 1.0 else f"{seconds:.4g}s"


def note_on_limit(bounds: Iterable[float], limit: float) -> str:
    """What to know when a limit (seconds) is no bound; empty when it is one."""
    finite = sorted(bound for bound in bounds if math.isfinite(bound))
    if not finite or any(abs(bound - limit) <= _SAME * limit for bound in finite):
        return ""
    higher = next((bound for bound in finite if bound > limit), None)
    near = sorted(sorted(finite, key=lambda bound: abs(math.log(max(bound, 1e-9) / limit)))[:_SHOWN_IN_NOTE])
    found = f"{_show(limit)} is no bucket's bound (found: {bounds_text(near)})"
    if higher is None:
        return f"{found}: what is slower than {_show(finite[-1])} cannot be told apart, so nothing can breach the limit"
    return f"judged at {_show(higher)} (next bucket): {found}"
