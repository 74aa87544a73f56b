"""A policy: what a ModelRollout says of steps and gates, without the cluster that it would run on.

Read from the same manifest, by the same models as the operator, so that what is simulated is what will run. People
without a cluster may leave out everything but ``steps`` and ``gates``. The metrics of a gate name columns of a
recording instead of series of Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError

from modelrollout.api.gate import AdvanceOn, Gate, OnBreach, OnUndecided
from modelrollout.api.grammar import parse_duration, parse_percent, parse_risk, parse_selector
from modelrollout.api.meta import ApiModel
from modelrollout.api.rollout import ModelRolloutSpec, Step
from modelrollout.gates.eprocess import Array
from modelrollout.gates.rate import RateTest, budget

__all__ = ["Bound", "Buckets", "CountedGate", "Pair", "Policy", "PolicyStep", "find_policy", "read_documents"]

_T = TypeVar("_T")
_PLACEHOLDERS: Final[dict[str, Any]] = {
    "model": {"version": "candidate"},
    "workload": {"template": {"spec": {"containers": [{"name": "server", "image": "server"}]}}},
    "traffic": {"gatewayAPI": {}},
}
"""What only a cluster needs."""


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One step: the candidate's share of the traffic (0 to 1), and how long it is held, in seconds."""

    name: str
    share: float
    hold: float


@dataclass(frozen=True, slots=True)
class CountedGate:
    """A gate over counts, and what it does. ``labels`` and ``max_hold`` are in seconds."""

    gate: Gate
    labels: float = 0.0
    max_hold: float = inf

    @property
    def name(self) -> str:
        """The gate's name."""
        return self.gate.name

    @property
    def rolls_back(self) -> bool:
        """Whether a breach of it ends the rollout."""
        return self.gate.on_breach is OnBreach.ROLLBACK

    @property
    def waits_for_proof(self) -> bool:
        """Whether a step waits until it is proven."""
        return self.gate.advance_on is AdvanceOn.PROVEN

    @property
    def on_undecided(self) -> OnUndecided:
        """What happens at the end of its longest hold."""
        return self.gate.on_undecided

    @property
    def good(self) -> bool:
        """Whether it counts good events."""
        return self.gate.ratio is not None and self.gate.ratio.good is not None


@dataclass(frozen=True, slots=True)
class Pair:
    """The columns of a ratio: events and what they are a share of, or (``adds_up``) all others, so that both together
    are all."""

    events: str
    total: str
    adds_up: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Both."""
        return self.events, self.total

    def counted(self, counts: Sequence[Array]) -> tuple[Array, Array]:
        """The events and all of them, from the counts of both columns."""
        events, rest = counts
        return events, rest + events if self.adds_up else rest


@dataclass(frozen=True, slots=True)
class Buckets:
    """The columns of a histogram: requests within each bound (seconds, rising, the last one infinite)."""

    bounds: tuple[float, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A gate that knows its columns and its part of the allowed errors."""

    counted: CountedGate
    source: Pair | Buckets
    test: RateTest


@dataclass(frozen=True, slots=True)
class Policy:
    """Steps and gates, all times in seconds.

    ``catastrophe``: share of failed requests and number of requests from which one interval is enough.
    ``skipped``: names of gates that need more than counts, which a recording does not hold.
    ``approvals``: names of the steps that wait for people, who are taken to agree at once.
    """

    steps: tuple[PolicyStep, ...]
    gates: tuple[CountedGate, ...]
    warmup: float
    interval: float
    min_breach_time: float
    false_rollback_rate: float
    catastrophe: tuple[float, int]
    skipped: tuple[str, ...] = ()
    approvals: tuple[str, ...] = ()

    @property
    def planned(self) -> float:
        """Seconds that it takes when nothing holds it up: every step's warm-up and hold, and late labels."""
        labels = max((counted.labels for counted in self.gates), default=0.0)
        return sum(self.warmup + labels + step.hold for step in self.steps)

    def horizon(self, interval: float) -> float:
        """What the candidate will be asked, in units of one interval at the first step's weight."""
        return sum(step.hold / interval * step.share / self.steps[0].share for step in self.steps)

    def bind(self, columns: Collection[str], interval: float) -> tuple[Bound, ...]:
        """The gates over these columns, with intervals of so many seconds.

        Raises
        ------
        ValueError
            If a gate's metric is not among the columns; the message names gate, metric and the columns there are.
        """
        breaching = sum(counted.rolls_back for counted in self.gates)
        share = budget(self.false_rollback_rate, breaching, len(self.steps))
        bound = []
        for counted in self.gates:
            gate = counted.gate
            test = RateTest(
                name=gate.name,
                limit=gate.limit,
                at_least=gate.at_least is not None,
                min_samples=gate.min_samples,
                alpha=share.alpha,
                look_alpha=share.look_alpha,
                quantile=float(gate.latency.quantile) if gate.latency else None,
                good=counted.good,
                must_see=gate.must_see_limit,
                intervals=max(2, ceil(self.min_breach_time / interval - 1e-9)),
                seconds=interval,
                later_steps=len(self.steps) - 1,
                horizon=self.horizon(interval),
            )
            bound.append(Bound(counted, _source(gate, columns), test))
        return tuple(bound)


def read_documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file.

    Raises
    ------
    ValueError
        If it cannot be read, is not YAML, or holds anything but mappings.
    """
    try:
        found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: give a file that can be read") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not text in UTF-8: give a YAML file") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    documents = [one for one in found if one is not None]
    for one in documents:
        if not isinstance(one, dict):
            raise ValueError(f"{path}: holds a {type(one).__name__}: every document has to be a mapping")
    return documents


def find_policy(documents: Sequence[Mapping[str, Any]]) -> Policy:
    """The policy among some documents: a ModelRollout, or a mapping with ``steps`` and ``gates``.

    Raises
    ------
    ValueError
        If there is none, more than one, or one that is wrong; the message names the field, the value and the remedy.
    """
    found = [one for one in documents if one.get("kind") == "ModelRollout" or ("steps" in one and "kind" not in one)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} policies: give one ModelRollout, or one mapping with steps and gates")
    raw = found[0].get("spec", {}) if "kind" in found[0] else found[0]
    if not isinstance(raw, dict):
        raise ValueError(f"spec: is {raw!r}: give a mapping with steps and gates")
    _refuse_unknown(raw)
    try:
        spec = ModelRolloutSpec.model_validate(_PLACEHOLDERS | raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']} (given: {first.get('input')!r})") from error
    return _policy(spec)


def _refuse_unknown(raw: Mapping[str, Any]) -> None:
    """The models take no notice of unknown fields, as older operators must; here they are slips of the pen."""
    gates = raw.get("gates") or []
    if not isinstance(gates, list):
        raise ValueError(f"gates: {gates!r} is not a list: write each gate in a line that begins with a dash")
    levels: list[tuple[str, Any, type[ApiModel]]] = [("", raw, ModelRolloutSpec)]
    levels += [(f"gates[{i}].", gate, Gate) for i, gate in enumerate(gates)]
    for where, given, model in levels:
        known = {field.alias or name for name, field in model.model_fields.items()}
        unknown = sorted(set(given) - known) if isinstance(given, dict) else []
        if unknown:
            raise ValueError(f"{where}{unknown[0]}: no such field: there are {', '.join(sorted(known))}")


def _policy(spec: ModelRolloutSpec) -> Policy:
    look = spec.evaluation
    _check_steps(spec.steps)
    for before, after in pairwise(spec.weight_steps):
        if after.weight <= before.weight:
            raise ValueError(f"steps: weight {after.weight} follows {before.weight}: the weights must rise")
    counted = [gate for gate in spec.gates if _checked_kind(gate) in ("ratio", "latency")]
    names = [gate.name for gate in spec.gates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"gates: {twice[0]} is there twice: give each gate a name of its own")
    return Policy(
        steps=tuple(
            PolicyStep(one.name, _share(one.weight, spec.baseline_holdback), _seconds("steps: hold", one.hold))
            for one in spec.weight_steps
        ),
        gates=tuple(_counted(gate) for gate in counted),
        warmup=_seconds("warmup", spec.warmup),
        interval=_seconds("evaluation.interval", look.interval),
        min_breach_time=_seconds("evaluation.minBreachTime", look.min_breach_time),
        false_rollback_rate=_told("evaluation.falseRollbackRate", parse_risk, look.false_rollback_rate),
        catastrophe=(
            _told("evaluation.catastrophe.errorsAbove", parse_percent, look.catastrophe.errors_above),
            look.catastrophe.min_requests,
        ),
        skipped=tuple(gate.name for gate in spec.gates if gate not in counted),
        approvals=tuple(step.title for step in spec.steps if step.approval is not None),
    )


def _check_steps(steps: Sequence[Step]) -> None:
    """What the API server would refuse."""
    for step in steps:
        if (step.weight is None) == (step.approval is None) or (step.weight is None) != (step.hold is None):
            raise ValueError(
                f"steps: {step.title}: a step is either a weight with a hold or an approval: write "
                "{weight: 10, hold: 30m} or {approval: {role: risk}}"
            )
    if all(step.weight is None for step in steps):
        raise ValueError("steps: none has a weight: add one, like {weight: 10, hold: 30m}")


def _share(weight: int, holdback: int | None) -> float:
    return (100 - (holdback or 0) if weight == 100 else weight) / 100.0


def _checked_kind(gate: Gate) -> str:
    """The gate's kind, after what the API server would refuse was refused."""
    kind = gate.kind
    _ = gate.limit, gate.must_see_limit
    if gate.ratio is not None:
        if (gate.ratio.good is None) == (gate.ratio.bad is None):
            raise ValueError(f"gate {gate.name}: ratio: count either good or bad events: give exactly one of them")
        if (gate.ratio.total is None) == (gate.ratio.others is None):
            raise ValueError(f"gate {gate.name}: ratio: say what all events are: give exactly one of total, others")
        if (gate.ratio.good is not None) != (gate.at_least is not None):
            raise ValueError(
                f"gate {gate.name}: the limit points the wrong way: bad events take atMost, good events take atLeast"
            )
    elif kind == "latency" and gate.at_least is not None:
        raise ValueError(f"gate {gate.name}: a latency has an upper limit: write atMost: 200ms")
    return kind


def _counted(gate: Gate) -> CountedGate:
    return CountedGate(
        gate,
        labels=_seconds(f"gate {gate.name}: labelsWithin", gate.labels_within) if gate.labels_within else 0.0,
        max_hold=_seconds(f"gate {gate.name}: maxHold", gate.max_hold) if gate.max_hold else inf,
    )


def _seconds(field: str, text: str) -> float:
    return _told(field, parse_duration, text).total_seconds()


def _told(field: str, parse: Callable[[str], _T], text: str) -> _T:
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from error


def _source(gate: Gate, columns: Collection[str]) -> Pair | Buckets:
    if gate.latency is not None:
        return _buckets(gate, gate.latency.histogram, columns)
    assert gate.ratio is not None
    events, rest = _column(gate, gate.ratio.counted, columns), _column(gate, gate.ratio.rest, columns)
    if events == rest:
        raise ValueError(
            f'gate {gate.name}: events and total are both read from column "{rest}": name the columns like the '
            f"selectors, here {gate.ratio.counted} and {gate.ratio.rest}"
        )
    return Pair(events, rest, adds_up=gate.ratio.others is not None)


def _column(gate: Gate, selector: str, columns: Collection[str]) -> str:
    """The column of a selector: of its exact text, or else of its metric's name."""
    for name in (selector, parse_selector(selector).name):
        if name in columns:
            return name
    raise ValueError(f'gate {gate.name}: no column "{selector}": {_listed(columns)}; name the metrics like the columns')


def _buckets(gate: Gate, histogram: str, columns: Collection[str]) -> Buckets:
    for name in (histogram, parse_selector(histogram).name):
        found = _bounds(name, columns)
        total = next((one for one in (f"{name}_bucket_le_+Inf", f"{name}_count") if one in columns), None)
        if found and total is not None:
            return Buckets((*(bound for bound, _ in found), inf), (*(column for _, column in found), total))
    raise ValueError(
        f"gate {gate.name}: no columns {histogram}_bucket_le_<seconds> with {histogram}_bucket_le_+Inf (or "
        f"{histogram}_count): {_listed(columns)}; a column of slow requests is judged by a ratio, like "
        "ratio: {bad: slow, total: requests}, atMost: 5%"
    )


def _bounds(name: str, columns: Collection[str]) -> list[tuple[float, str]]:
    prefix = f"{name}_bucket_le_"
    texts = [column for column in columns if column.startswith(prefix)]
    pattern = re.compile(r"[0-9.]+(e[+-]?[0-9]+)?")
    return sorted((float(text[len(prefix) :]), text) for text in texts if pattern.fullmatch(text[len(prefix) :]))


def _listed(columns: Collection[str]) -> str:
    return f"the columns are {', '.join(sorted(columns)) or 'none'}"
