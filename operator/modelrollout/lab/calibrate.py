"""The noise floor of each metric, and limits that lie beyond it.

Two equal models differ, too: by coin flips, and by what a service does beyond them (sessions, caches, a pod that
stutters). A limit nearer than that asks a question to which chance has the answer. The distance that is not noise is
what two equal models stay within, in all but ``falseRollbackRate`` of rollouts, when they are compared once at the end
of a step; the limit that is proposed adds the regression that the owner accepts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from modelrollout.api.grammar import format_duration
from modelrollout.gates import noise, words
from modelrollout.gates.eprocess import Array
from modelrollout.lab import plot
from modelrollout.lab.columns import BASELINE, Recording
from modelrollout.lab.policy import Bound, Buckets, Policy, PolicyStep
from modelrollout.lab.runner import taught

__all__ = ["Calibration", "Floor", "calibrate", "chart", "measure", "text"]

_POINTS: Final = 120


@dataclass(frozen=True, slots=True)
class Floor:
    """What the baseline's history tells of one gate's metric.

    ``rate``: requests (or whatever the share is of) per second; ``share``: of bad events; ``floor``: κ²·Δt in seconds,
    None when the history is too short; ``good``: people count the good events; ``seconds``: how much was measured.
    """

    gate: str
    rate: float
    share: float
    floor: float | None
    good: bool
    seconds: float
    interval: float

    @property
    def events(self) -> float:
        """Share of the events that people count."""
        return 1.0 - self.share if self.good else self.share

    @property
    def believed(self) -> float:
        """The floor that a rollout begins with."""
        return noise.UNKNOWN if self.floor is None else self.floor

    @property
    def wander(self) -> float:
        """κ: by how much, relative to itself, the share of the events changes from interval to interval beyond coin
        flips."""
        return math.sqrt(self.believed / self.interval)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One gate. All distances are shares of bad events, beyond the baseline.

    ``flips`` and ``beyond``: standard deviations of the difference of two equal models over the first step, by coin
    flips and by the noise floor; ``noise``: the distance that is not noise; ``now``: what the manifest allows;
    ``accepted``: the regression that is accepted; ``limit``: the limit that is proposed, as one writes it, or why none.
    """

    found: Floor
    step: PolicyStep
    flips: float
    beyond: float
    noise: float
    now: float
    accepted: float
    limit: str
    proposed: bool

    def summary(self) -> dict[str, Any]:
        """For machines."""
        found = self.found
        return {
            "gate": found.gate,
            "requestsPerSecond": _rounded(found.rate),
            "share": _rounded(found.events),
            "noiseFloor": None if found.floor is None else _rounded(found.floor),
            "wander": _rounded(found.wander),
            "noise": _rounded(self.noise),
            "allowedNow": _rounded(self.now),
            "accepted": _rounded(self.accepted),
            "limit": self.limit if self.proposed else None,
        }


def measure(policy: Policy, recording: Recording) -> tuple[Floor, ...]:
    """What the baseline's part of a recording tells of each gate; the candidate's rows are not looked at.

    Raises
    ------
    ValueError
        If a gate's metric is not among the columns, or the baseline never had any of it.
    """
    return tuple(_measure(one, recording) for one in policy.bind(recording.columns, recording.interval))


def _measure(bound: Bound, recording: Recording) -> Floor:
    total, bad, floor = taught(bound, recording)
    seen = np.isfinite(total[0])
    requests, seconds = float(np.nansum(total[0])), float(seen.sum()) * recording.interval
    name = bound.counted.name
    if requests <= 0.0:
        raise ValueError(f"gate {name}: the baseline has no {bound.source.columns[-1]}: give its history")
    share = float(bad[0][seen].sum()) / requests
    known = None if floor[0] < 0.0 else float(floor[0])
    return Floor(name, requests / seconds, share, known, bound.test.good, seconds, recording.interval)


def calibrate(
    policy: Policy, recording: Recording, accepted: Mapping[str, float] | None = None
) -> tuple[Calibration, ...]:
    """The noise of each gate, and a limit for it.

    ``accepted``: by gate, the regression that is accepted, as a relative change of the events that are counted (0.02: a
    fiftieth fewer clicks, or more errors). Without one, what the manifest's limit allows is what is accepted; of a
    latency nothing, because its limit is a time.
    """
    bound = policy.bind(recording.columns, recording.interval)
    found = zip(measure(policy, recording), bound, strict=True)
    return tuple(_calibrate(policy, floor, one, recording, (accepted or {}).get(floor.gate)) for floor, one in found)


def _calibrate(policy: Policy, found: Floor, bound: Bound, recording: Recording, wish: float | None) -> Calibration:
    step = policy.steps[0]
    seconds = max(step.hold - bound.counted.labels, found.interval)
    share = min(max(found.share, 1e-9), 1.0 - 1e-9)
    ours, theirs = found.rate * step.share * seconds, found.rate * max(1.0 - step.share, 1e-9) * seconds
    flips = math.sqrt(share * (1.0 - share) * (1.0 / max(ours, 1.0) + 1.0 / max(theirs, 1.0)))
    beyond = found.events * math.sqrt(2.0 * found.believed / seconds)
    distance = NormalDist().inv_cdf(1.0 - policy.false_rollback_rate) * math.hypot(flips, beyond)
    now = bound.test.line.at(found.share) - found.share
    meant = 0.0 if bound.test.quantile is not None else max(now, 0.0)
    accepted = wish * found.events if wish is not None else meant
    limit, proposed = _propose(bound, found, distance + accepted, recording)
    return Calibration(found, step, flips, beyond, distance, now, accepted, limit, proposed)


def _propose(bound: Bound, found: Floor, distance: float, recording: Recording) -> tuple[str, bool]:
    """A limit at this distance from the baseline, in the words that the manifest used."""
    limit = bound.counted.gate.limit
    if isinstance(bound.source, Buckets):
        return _slower_bound(bound, bound.source, distance, recording)
    relative, points = 100.0 * distance / max(found.events, 1e-12), 100.0 * distance
    if found.good and relative >= 100.0:
        return "none: chance alone can take all of the events away in this step: hold longer or give more weight", False
    if found.good:
        floor = f"{_written(100.0 - relative, relative, up=False)}% of baseline"
        absolute = f"{_written(100.0 * found.events - points, points, up=False)}%"
        return f"atLeast: {floor if limit.relative else absolute}", True
    if not limit.relative:
        return f"atMost: {_written(100.0 * found.share + points, points, up=True)}%", True
    if limit.factor != 1.0:
        return f"atMost: {_written(100.0 + relative, relative, up=True)}% of baseline", True
    return f"atMost: baseline + {_written(points, points, up=True)}pp", True


def _slower_bound(bound: Bound, source: Buckets, distance: float, recording: Recording) -> tuple[str, bool]:
    """The first bound of the histogram that leaves so much room above the baseline's share of slower requests."""
    if bound.counted.gate.limit.relative:
        return "none: a limit relative to the baseline's quantile moves with it; it is kept", False
    counts = [float(np.nansum(values)) for values in recording.counts(BASELINE, source.columns)]
    allowed, now = 1.0 - (bound.test.quantile or 0.0), bound.counted.gate.limit.offset
    for seconds, within in zip(source.bounds[:-1], counts, strict=False):
        if seconds >= now - 1e-12 and 1.0 - within / counts[-1] + distance <= allowed:
            return f"atMost: {words.milliseconds(seconds).replace(' ', '')}", True
    return "none: no bound of the histogram is far enough from the baseline; add buckets above the limit", False


def text(calibrations: Sequence[Calibration]) -> str:
    """What was found, with the reasoning."""
    return "\n\n".join("\n".join(_told(one)) for one in calibrations) or "no gate counts events: nothing to calibrate"


def _told(one: Calibration) -> list[str]:
    found, hold = one.found, format_duration(one.step.hold)
    source = (
        f"measured over {format_duration(found.seconds)}" if found.floor is not None else "assumed: under 1h of data"
    )
    events = "events" if found.good else "bad events"
    relative = words.percent(one.noise / max(found.events, 1e-12))
    lines = [
        f"{found.gate}: {words.percent(found.events)} {events} of {found.rate:.3g} requests/s",
        f"  noise floor    the share wanders by ± {words.percent(found.wander)} of itself from interval to interval "
        f"({found.interval:g}s) beyond coin flips ({source})",
        f"  in a step      over {hold} at {one.step.share:.0%}, two equal models differ by ± {_points(one.flips)} by "
        f"coin flips and ± {_points(one.beyond)} beyond them",
        f"  not noise      a difference of {_points(one.noise)} or more ({relative} of the share)",
        f"  allowed now    {_points(one.now)}{_judged(one)}",
        f"  proposed       {one.limit}",
    ]
    if one.proposed:
        lines.append(f"                 = noise {_points(one.noise)} + accepted regression {_points(one.accepted)}")
    return lines


def _judged(one: Calibration) -> str:
    if one.now < 0.0:
        return ": the baseline itself is beyond the limit"
    if one.now < one.noise:
        return ": within the noise, so that one step cannot tell harm of this size from chance"
    return f": {one.now / max(one.noise, 1e-12):.1f} times the noise"


def chart(policy: Policy, recording: Recording, calibrations: Sequence[Calibration]) -> list[str]:
    """For each gate, the baseline's share of bad events over time, with the band that is noise in one step."""
    bound = policy.bind(recording.columns, recording.interval)
    return [_drawn(one, found, recording) for one, found in zip(bound, calibrations, strict=True)]


def _drawn(bound: Bound, one: Calibration, recording: Recording) -> str:
    total, bad, _ = taught(bound, recording)
    size = max(1, math.ceil(total.shape[1] / _POINTS))
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = _batched(np.where(np.isfinite(total[0]), bad[0], 0.0), size) / _batched(np.nan_to_num(total[0]), size)
    at = recording.times[size - 1 :: size][: len(rate)] - recording.times[0]
    shares = 1.0 - rate if one.found.good else rate
    sign = -1.0 if one.found.good else 1.0
    levels = [plot.Level("not noise in a step", one.found.events + sign * one.noise)]
    series = [plot.Series("baseline", at.tolist(), shares.tolist())]
    return plot.lines(f"{one.found.gate}: the baseline over time", series, limits=levels, y_format=plot.percent)


def _batched(values: Array, size: int) -> Array:
    return np.asarray(values[: len(values) // size * size].reshape(-1, size).sum(axis=1))


def _points(share: float) -> str:
    return f"{100.0 * share:.2g} pp"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _written(value: float, scale: float, *, up: bool) -> str:
    """A number to two digits of what matters, rounded away from the baseline."""
    unit = 10.0 ** (math.floor(math.log10(max(scale, 1e-9))) - 1)
    whole = math.ceil(value / unit - 1e-9) if up else math.floor(value / unit + 1e-9)
    text = f"{whole * unit:.9f}"
    return text.rstrip("0").rstrip(".")
