"""Gates and steps for a service, from what its metrics show now and what can be seen at its traffic. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelrollout.api.grammar import parse_seconds
from modelrollout.api.presets.registry import GATEWAYS, PRESETS
from modelrollout.gates import words
from modelrollout.lab.plan import GatePlan, Plan, Traffic, plan
from modelrollout.lab.policy import find_policy
from modelrollout.starting.evidence import Seen
from modelrollout.starting.template import Body

__all__ = ["Proposal", "Said", "propose"]

_WEIGHTS: Final = (10, 50, 100)
_HOLDS: Final = ("30m", "1h", "2h", "4h", "8h", "24h")
_DEFAULT_HOLD: Final = "1h"
_LAST_HOLD: Final = "30m"
_POINTS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)
"""Percentage points that errors may rise by."""
_USUAL_POINTS: Final = 0.5
_REGRESSION: Final = 0.5
"""Errors may rise by so much of themselves: a release that fails half as often again is not what anybody wants."""
_SLOWER: Final = 1.2
"""A quantile may become so much slower before its limit; then the next bound of the histogram is taken."""
_MOST_LATENCIES: Final = 3
_LOOSEST: Final = 1.0
"""Percentage points: a looser limit of errors is no protection, so rather a longer hold."""
_SHORT_HOLDS: Final = 2
"""So many of the holds are short enough that a tighter limit is worth them."""


@dataclass(frozen=True, slots=True)
class Said:
    """An entry of a list, and why it is as it is."""

    entry: Body
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Gates and steps. ``warnings``: what a person should know before relying on them."""

    gates: tuple[Said, ...]
    steps: tuple[Said, ...]
    warnings: tuple[str, ...] = ()
    holdback: bool = False
    """No gate has an absolute limit, so nothing would watch the step of weight 100."""


def propose(seen: Sequence[Seen]) -> Proposal:
    """Gates for what is there: errors where users meet them (at the gateway, if it counts), and the latencies."""
    busy = [one for one in seen if one.rate > 0.0]
    chosen = _chosen(busy or seen)
    if not chosen:
        return Proposal((), _steps(_DEFAULT_HOLD, None))
    if not busy:
        gates = _gates(chosen, _USUAL_POINTS)
        silent = "there is no traffic now, so limits and holds are the usual ones: look again when there is"
        return Proposal(gates, _steps(_DEFAULT_HOLD, None), (silent,), _all_relative(gates))
    hold, gates, found = _sharp_enough(chosen)
    told = tuple(Said(said.entry, (*said.why, _sees(one))) for said, one in zip(gates, found.gates, strict=True))
    warnings = tuple(f"{one.gate}: {text}" for one in found.gates for text in one.warnings)
    return Proposal(told, _steps(hold, found), warnings, _all_relative(gates))


def _all_relative(gates: Sequence[Said]) -> bool:
    return all("baseline" in str(said.entry["atMost"]) for said in gates)


def _chosen(seen: Sequence[Seen]) -> list[Seen]:
    """One of the error ratios, at the gateway rather than at pods that may die with their counters; the server's own
    latencies, which are nearer to the model than the gateway's."""
    at_gateway = {preset.name for server in GATEWAYS for preset in server.presets}
    errors = [one for one in seen if one.preset.is_ratio]
    latencies = [one for one in seen if not one.preset.is_ratio]
    errors.sort(key=lambda one: one.preset.name not in at_gateway)
    own = [one for one in latencies if one.preset.name not in at_gateway]
    return errors[:1] + (own or latencies)[:_MOST_LATENCIES]


def _sharp_enough(chosen: Sequence[Seen]) -> tuple[str, tuple[Said, ...], Plan]:
    """The tightest limit of errors, and for it the shortest hold, with which every gate sees what it allows; a longer
    hold for the loosest limit when nobody would wait for a tighter one."""
    share = max((one.bad or 0.0 for one in chosen), default=0.0)
    least = next((one for one in _POINTS if one / 100.0 >= _REGRESSION * share), _POINTS[-1])
    points = [one for one in _POINTS if one == least or least < one <= _LOOSEST]
    tries = [(each, hold) for each in points for hold in _HOLDS[:_SHORT_HOLDS]]
    tries += [(points[-1], hold) for hold in _HOLDS[_SHORT_HOLDS:]]
    found = [(hold, *_tried(chosen, each, hold)) for each, hold in tries]
    fitting = (one for one in found if not any(gate.warnings for gate in one[2].gates))
    return next(fitting, found[-1])


def _tried(chosen: Sequence[Seen], points: float, hold: str) -> tuple[tuple[Said, ...], Plan]:
    gates = _gates(chosen, points)
    traffics = {str(said.entry["name"]): _traffic(one, said.entry) for one, said in zip(chosen, gates, strict=True)}
    steps = [said.entry for said in _steps(hold, None)]
    return gates, plan(find_policy([{"steps": steps, "gates": [said.entry for said in gates]}]), traffics)


def _gates(chosen: Sequence[Seen], points: float) -> tuple[Said, ...]:
    short = [one.preset.name.partition("/")[2] for one in chosen]
    names = [
        name if short.count(name) == 1 else seen.preset.name.replace("/", "-")
        for name, seen in zip(short, chosen, strict=True)
    ]
    return tuple(_gate(name, seen, points) for name, seen in zip(names, chosen, strict=True))


def _gate(name: str, seen: Seen, points: float) -> Said:
    preset = seen.preset
    entry: Body = {"name": name, "preset": preset.name}
    if preset.name not in PRESETS:
        entry = {"name": name} | preset.measured("", None)
        entry.pop("labelsWithin", None)
    elif not preset.is_ratio:
        entry["quantile"] = preset.quantile
    check = (preset.caveat,) if preset.name not in PRESETS else ()
    if preset.is_ratio:
        now = "no request in an hour" if seen.bad is None else f"now {words.percent(seen.bad)} of {_rate(seen)}"
        return Said(entry | {"atMost": f"baseline + {points:g}pp"}, (f"{preset.what}: {now}", *check))
    quantile = seen.quantile
    limit = "" if quantile is None else _next_bound(seen.durations.bounds, quantile)
    if quantile is None or not limit:
        return Said(entry | {"atMost": preset.at_most}, (f"{preset.what}: no value to choose a limit by", *check))
    told = f"{preset.what}: p{100.0 * float(preset.quantile):g} is {_time(quantile, 3)} now, of {_rate(seen)}"
    return Said(entry | {"atMost": limit}, (f"{told}; the limit is a bound of its buckets", *check))


def _next_bound(bounds: Sequence[float], quantile: float) -> str:
    """The first bound that leaves room above the quantile, as a limit; empty when there is none."""
    bound = next((one for one in bounds if math.isfinite(one) and one >= _SLOWER * quantile), None)
    return "" if bound is None else _time(bound, 6)


def _time(seconds: float, digits: int) -> str:
    return f"{seconds * 1000:.{digits}g}ms" if seconds < 1.0 else f"{seconds:.{digits}g}s"


def _rate(seen: Seen) -> str:
    return f"{seen.rate:,.0f} requests/s" if seen.rate >= 100.0 else f"{seen.rate:.3g} requests/s"


def _traffic(seen: Seen, entry: Body) -> Traffic:
    if seen.preset.is_ratio:
        return Traffic(seen.rate, seen.bad or 0.0)
    limit = str(entry["atMost"])
    if not limit.endswith("s"):
        return Traffic(seen.rate, 1.0 - float(seen.preset.quantile))
    return Traffic(seen.rate, seen.durations.share_above(parse_seconds(limit)) or 0.0)


def _steps(hold: str, found: Plan | None) -> tuple[Said, ...]:
    last = min(hold, _LAST_HOLD, key=_HOLDS.index)
    steps: list[Said] = []
    for number, weight in enumerate(_WEIGHTS):
        entry: Body = {"weight": weight, "hold": last if weight == 100 else hold}
        steps.append(Said(entry, () if found is None else (_step_sees(found, number),)))
    return tuple(steps)


def _step_sees(found: Plan, number: int) -> str:
    steps = [(gate, gate.steps[number]) for gate in found.gates]
    seen = [f"{gate.gate}: {_share(gate, one.smallest)}" for gate, one in steps if one.sighted and one.smallest]
    requests = f"about {max(one.requests for _, one in steps):,.0f} requests of the new version"
    return f"{requests}: enough to notice {'; '.join(seen)}" if seen else f"{requests}: too few to notice anything"


def _sees(gate: GatePlan) -> str:
    if gate.whole.smallest is None:
        return "sees nothing at this traffic"
    return f"all steps together notice, four times of five, {_share(gate, gate.whole.smallest)}"


def _share(gate: GatePlan, share: float) -> str:
    limit = gate.limit.removeprefix("at most ")
    return f"{words.percent(share)}{f' slower than {limit}' if limit.endswith('s') else ''}"
