"""The figures as a page and charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from modelrollout.lab import plot
from tests.bench.verdicts.cases import INTERVAL
from tests.bench.verdicts.measure import Measured

__all__ = ["goals", "write"]

_LEAST_INTERVALS: Final = 2
_RIVALS: Final = {"flagger": "Flagger 5", "argo 0": "Argo 0", "argo 3": "Argo 3", "kayenta": "Kayenta"}
_NORMAL_95: Final = 1.645
"""One-sided: the bound below which the true rate lies with 95 %."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure to reach: in how many scenarios it is, of how many, and the worst."""

    text: str
    met: int
    of: int
    worst: str


def _upper(one: Measured) -> float:
    """Upper 95 % bound of a share (Wilson)."""
    n, p, z2 = one.sizes["ours"], one.caught["ours"], _NORMAL_95**2
    half = _NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (p + z2 / (2 * n) + half) / (1 + z2 / n)


def goals(found: Sequence[Measured]) -> list[Goal]:
    """What was to be reached, and whether it is."""
    nulls = [one for one in found if not one.case.harmful and one.case.pressed]
    harms = [one for one in found if one.case.harmful]
    runs = sum(one.sizes["ours"] for one in nulls)
    pooled = sum(one.caught["ours"] * one.sizes["ours"] for one in nulls) / max(runs, 1)
    error = math.sqrt(pooled * (1 - pooled) / max(runs, 1))
    return [
        _goal("false rollbacks: upper 95 % bound ≤ 2 %", nulls, _upper, 0.02, plot.percent),
        _goal("false rollbacks ≤ 1 % (point estimate)", nulls, lambda one: one.caught["ours"], 0.01, plot.percent),
        Goal(
            "false rollbacks, pooled ≤ 0.5 %",
            int(pooled <= 0.005),
            1,
            f"{100 * pooled:.2f} % (±{100 * error:.2f}) of {runs:,} rollouts",
        ),
        *_delays(harms),
        _goal(
            "false “proven” ≤ 5 %",
            [one for one in found if one.false_proofs],
            lambda one: one.false_proofs[0],
            0.05,
            plot.percent,
        ),
    ]


def _delays(harms: Sequence[Measured]) -> list[Goal]:
    def seen(name: str) -> list[Measured]:
        return [one for one in harms if math.isfinite(one.delay.get(name, math.inf))]

    def over(name: str) -> float:
        return _LEAST_INTERVALS * INTERVAL if name else 0.0

    def ratio(name: str, slack: float) -> list[tuple[Measured, float]]:
        return [(one, (one.delay["ours"] - slack) / one.delay[name]) for one in seen(name)]

    least = over("m")
    smooth = [
        (one, value)
        for one, value in ratio("oracle", least)
        if not one.case.noise.bursty and not one.case.noise.wander and one.case.at == 0.0 and _share(one) <= 10
    ]
    both = [(one, value) for one, value in ratio("oracle2", least) if one.case.at == 0.0]
    late = [(one, value) for one, value in ratio("oracle", least) if one.case.at > 0.0]
    down = [one for one in harms if one.case.outage and one.case.share <= 0.01]
    outages = [one for one in down if one.case.rate * _share(one) / 100 >= 1.0]
    thin = [one for one in down if one.case.rate == 0.1 and _share(one) == 50]
    return [
        _ratio_goal("delay ≤ 2.0 × one-arm oracle + 2 intervals (independent, share ≤ 10 %)", smooth, 2.0),
        _ratio_goal("delay ≤ 2.3 × two-arm oracle + 2 intervals", both, 2.3),
        _ratio_goal("turns bad after an hour: ≤ 3 × oracle + 2 intervals", late, 3.0),
        _goal(
            "outage (1 % → 50 %) from 1 candidate request/s on: 2 intervals",
            outages,
            lambda one: one.delay["ours"],
            least,
            plot.seconds,
        ),
        _goal(
            "outage at 0.1 requests/s, half of them the candidate's: ≤ 25 requests",
            thin,
            lambda one: one.exposed["ours"],
            25.0,
            plot.number,
        ),
    ]


def _share(one: Measured) -> int:
    return max(weight for weight, _ in one.case.steps)


def _goal(text: str, found: Sequence[Measured], value: object, most: float, show: object) -> Goal:
    assert callable(value)
    assert callable(show)
    pairs = [(one, float(value(one))) for one in found]
    worst = max(pairs, key=lambda pair: pair[1], default=None)
    shown = "–" if worst is None else f"{show(worst[1])} ({worst[0].case.group}: {worst[0].case.name})"
    return Goal(text, sum(one <= most + 1e-9 for _, one in pairs), len(pairs), shown)


def _ratio_goal(text: str, pairs: Sequence[tuple[Measured, float]], most: float) -> Goal:
    worst = max(pairs, key=lambda pair: pair[1], default=None)
    shown = "–" if worst is None else f"{worst[1]:.2f} × ({worst[0].case.group}: {worst[0].case.name})"
    return Goal(text, sum(value <= most + 1e-9 for _, value in pairs), len(pairs), shown)


def write(found: Sequence[Measured], docs: Path, command: str, seconds: float) -> None:
    """``docs/verdicts.md`` and its charts."""
    (docs / "img").mkdir(exist_ok=True)
    nulls = [one for one in found if not one.case.harmful]
    harms = [one for one in found if one.case.harmful]
    (docs / "img" / "verdicts-false.svg").write_text(_false_chart(nulls), encoding="utf-8")
    (docs / "img" / "verdicts-delay.svg").write_text(_delay_chart(harms), encoding="utf-8")
    parts = [_INTRODUCTION.format(command=command, minutes=seconds / 60, cases=len(found))]
    parts += ["## Goals\n", *_table(("goal", "reached in", "worst"), _goal_rows(found))]
    parts += ["\n## False rollbacks\n", "![](img/verdicts-false.svg)\n", _FALSE]
    parts += _table(_NULL_HEAD, _group_rows(nulls))
    parts += ["\n## Detection\n", "![](img/verdicts-delay.svg)\n", _DETECTION]
    parts += _table(_HARM_HEAD, [_harm_row(one) for one in harms])
    parts += ["\n## False rollbacks, every scenario\n", *_table(_NULL_HEAD, [_null_row(one) for one in nulls])]
    (docs / "verdicts.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


_INTRODUCTION: Final = """# Verdicts, measured

Written by `{command}` ({minutes:.0f} minutes on two cores, {cases} scenarios, fixed seeds). Scenarios are in
`tests/bench/verdicts/cases.py`; the other controllers' rules, with their sources and how they were read, in
`operator/modelrollout/lab/rivals.py`; the oracles in `operator/modelrollout/lab/oracle.py`. Every rule sees the very
same counts: intervals of 15 s for ours, checks of one minute for the others. Ours has its defaults (`falseRollbackRate:
1%`, `minBreachTime: 30s`, `catastrophe` on), no warm-up, and learns its noise floor from twelve hours of the baseline.
"""
_FALSE: Final = """\
Share of rollouts of a model within its limits that were rolled back, in %. A/A: no difference. Margin: exactly on the
limit. Means over the group's scenarios, the worst in brackets; ±: one standard error of the Monte Carlo. *By*:
evidence / looks at ends of steps / catastrophe. *Waiting*: neither rolled back nor promoted when the traffic ended.
Blips are single intervals in which half the requests of one arm fail: where that is far beyond the noise that history
shows, the catastrophe rule acts on it by intent, so goals are not measured on them.
"""
_DETECTION: Final = """\
Median minutes (candidate requests) from the beginning of the harm to the rollback, – where fewer than half were rolled
back in time. Oracle: Wald's test of the candidate alone that knows both shares; two-arm oracle: knows both, measures
the baseline. Share caught in % where it is below 99.5. The others' times are to be read beside their false rollbacks.
"""
_NULL_HEAD: Final = ("scenario", "runs", "ours", "by", "waiting", *_RIVALS.values())
_HARM_HEAD: Final = (
    "scenario",
    "ours",
    "oracle",
    "two-arm oracle",
    "ours / oracle",
    "ours / two-arm",
    *_RIVALS.values(),
)


def _goal_rows(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    return [(one.text, f"{one.met} of {one.of}", one.worst) for one in goals(found)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _causes(found: Sequence[Measured]) -> str:
    return " / ".join(str(sum(one.causes[name] for one in found)) for name in ("evidence", "look", "catastrophe"))


def _group_rows(nulls: Sequence[Measured]) -> list[tuple[str, ...]]:
    rows = []
    for group in dict.fromkeys(one.case.group for one in nulls):
        some = [one for one in nulls if one.case.group == group]
        runs = sum(one.sizes["ours"] for one in some)
        mean = fmean(one.caught["ours"] for one in some)
        error = math.sqrt(max(mean * (1 - mean), 0.25 / runs) / runs)
        worst = max(one.caught["ours"] for one in some)
        others = [
            f"{100 * fmean(one.caught[name] for one in some):.1f} ({100 * max(one.caught[name] for one in some):.0f})"
            for name in _RIVALS
        ]
        ours = f"**{100 * mean:.2f}** ±{100 * error:.2f} ({100 * worst:.1f})"
        waiting = f"{100 * fmean(one.waiting for one in some):.1f}"
        rows.append((f"{group} ({len(some)})", f"{runs:,}", ours, _causes(some), waiting, *others))
    return rows


def _null_row(one: Measured) -> tuple[str, ...]:
    ours = f"**{100 * one.caught['ours']:.1f}** ±{100 * one.error():.1f}"
    others = [f"{100 * one.caught[name]:.1f}" for name in _RIVALS]
    name = f"{one.case.group}: {one.case.name}"
    return name, str(one.sizes["ours"]), ours, _causes([one]), f"{100 * one.waiting:.1f}", *others


def _harm_row(one: Measured) -> tuple[str, ...]:
    def took(name: str) -> str:
        if name not in one.delay:
            return ""
        caught = one.caught[name]
        some = f" {100 * caught:.0f} %" if caught < 0.995 else ""
        if math.isinf(one.delay[name]):
            return f"–{some}"
        return f"{one.delay[name] / 60:.2f} ({one.exposed[name]:,.0f}){some}"

    def over(name: str) -> str:
        other = one.delay.get(name, math.inf)
        known = math.isfinite(other) and math.isfinite(one.delay["ours"])
        return f"{one.delay['ours'] / other:.2f}" if known else ""

    shown = (took("ours"), took("oracle"), took("oracle2"), over("oracle"), over("oracle2"))
    return f"{one.case.group}: {one.case.name}", *shown, *(took(name) for name in _RIVALS)


def _false_chart(nulls: Sequence[Measured]) -> str:
    methods = {"ours": "ModelRollout", **_RIVALS}
    some = [one for one in nulls if one.case.pressed]
    bars = [plot.Bar(label, fmean(one.caught[name] for one in some)) for name, label in methods.items()]
    return plot.bars("Good models rolled back, mean over all scenarios", bars, y_format=plot.percent)


def _delay_chart(harms: Sequence[Measured]) -> str:
    known = [one for one in harms if math.isfinite(one.delay.get("oracle", math.inf))]
    known.sort(key=lambda one: one.delay["oracle"])
    number = [float(i) for i in range(len(known))]
    series = [
        plot.Series(label, number, [one.delay[name] / 60 for one in known], style)
        for name, label, style in (
            ("oracle", "one-arm oracle", "solid"),
            ("oracle2", "two-arm oracle", "dashed"),
            ("ours", "ModelRollout", "points"),
            ("kayenta", "Kayenta", "points"),
        )
    ]
    return plot.lines(
        "Median minutes to the rollback, scenarios in the order of the oracle's",
        series,
        x_label="scenario",
        y_label="minutes",
        x_format=plot.number,
        log=True,
    )
