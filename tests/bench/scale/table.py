"""The results as a table for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.bench.scale.meters import Cost
from tests.bench.scale.scenario import Result

__all__ = ["insert", "render"]

_BEGIN: Final = "<!-- begin: python -m tests.bench.scale -->"
_END: Final = "<!-- end -->"
_READS: Final = ("get", "list")
_NONE: Final = "–"


def _per_rollout_and_minute(result: Result, count: float) -> str:
    assert result.steady is not None
    return f"{60.0 * count / result.steady.seconds / result.number:.2f}"


def _requests(result: Result, cost: Cost) -> str:
    return _per_rollout_and_minute(result, sum(cost.requests.values()))


def _reads(result: Result, cost: Cost) -> str:
    return _per_rollout_and_minute(result, sum(n for what, n in cost.requests.items() if what.split()[0] in _READS))


def _cpu(process: str) -> Callable[[Result, Cost], str]:
    return lambda _result, cost: f"{60.0 * cost.cpu.get(process, 0.0) / cost.seconds:.1f}"


def _steady(show: Callable[[Result, Cost], str]) -> Callable[[Result], str]:
    return lambda result: _NONE if result.steady is None else show(result, result.steady)


def _spent(cost: Cost | None, number: int) -> str:
    """CPU seconds and requests of the operator for each rollout."""
    if cost is None:
        return _NONE
    return f"{cost.cpu['operator'] / number:.2f}, {sum(cost.requests.values()) / number:.0f}"


def _judged_again(result: Result) -> str:
    return _NONE if result.all_looked_at_seconds is None else f"{result.all_looked_at_seconds:.0f}"


def _setting(result: Result) -> str:
    setting = result.setting
    return f"{setting.min_breach_time}, {setting.errors_above}, {setting.false_rollback_rate}"


def _count(number: int | None) -> str:
    return _NONE if number is None else str(number)


_ROWS: Final[Sequence[tuple[str, Callable[[Result], str]]]] = (
    ("setting: minBreachTime, errorsAbove, falseRollbackRate", _setting),
    ("first versions stable, s", lambda one: f"{one.stable_seconds:.0f}"),
    ("  operator's CPU s and API requests for each", lambda one: _spent(one.first, one.number)),
    ("start → weight 10, all at once, p50 / p99 / max, s", lambda one: str(one.start or _NONE)),
    ("  operator's CPU s and API requests for each", lambda one: _spent(one.starting, one.number)),
    ("API requests, per rollout and minute", _steady(_requests)),
    ("  of which reads", _steady(_reads)),
    ("Prometheus requests, per rollout and minute", _steady(lambda r, c: _per_rollout_and_minute(r, c.queries))),
    ("operator CPU s per minute, all rollouts", _steady(_cpu("operator"))),
    ("API server CPU s per minute", _steady(_cpu("kube-apiserver"))),
    ("etcd CPU s per minute", _steady(_cpu("etcd"))),
    ("Prometheus CPU s per minute", _steady(_cpu("prometheus"))),
    ("operator memory at most, MiB", lambda one: f"{one.memory_mib:.0f}"),
    ("largest status, bytes of JSON", lambda one: f"{one.status_bytes}"),
    ("breach → weight 0, p50 / p99 / max, s", lambda one: str(one.breach or _NONE)),
    ("kill -9 and breach → weight 0, p50 / p99 / max, s", lambda one: str(one.kill or _NONE)),
    ("  of which until the operator works again, s", lambda one: f"{one.restart_seconds:.1f}" if one.kill else _NONE),
    ("  until every rollout was judged again, at most, s", _judged_again),
    ("good ones rolled back by a 60 s outage of Prometheus", lambda one: _count(one.outage_rollbacks)),
    ("good ones rolled back in the whole run", lambda one: f"{one.false_rollbacks}"),
    ("  in so many rollout-minutes of good candidates", lambda one: f"{one.good_minutes:.0f}"),
    ("chance of a catastrophe in one look at a good one", lambda one: f"{one.chance:.0e}"),
)


def render(results: Sequence[Result]) -> str:
    """A Markdown table, a column for each result, and the operator's requests by verb below it."""
    head = ["", *(f"N={one.number}, {one.setting.interval}" for one in results)]
    rows = [head, ["---"] * len(head), *([name, *(show(one) for one in results)] for name, show in _ROWS)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    for one in results:
        if one.steady is not None:
            lines.append(f"\nN={one.number}, {one.setting.interval}: {_by_verb(one.steady.requests)}")
        lines += [f"  rolled back though good: {note}" for note in one.notes]
    return "\n".join(lines)


def _by_verb(requests: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(requests.items(), key=lambda one: -one[1])) or "none"


def insert(page: str, table: str) -> str:
    """A page with the table in place of the one that it had.

    Raises
    ------
    ValueError
        If the page has no place for it.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no place for a table: add the lines {_BEGIN} and {_END}")
    return f"{before}{begin}\n{table}\n{end}{after}"
